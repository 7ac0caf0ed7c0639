//! Random lives of containers in stores of several kinds: whatever the rules allow is done to data, and nobody else may
//! notice.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use crate::capability::{Capabilities, ParentWrite, SnapshotStyle};
use crate::engine::{ContainerKey, DestroyScope};
use crate::lineage::{Action, Edge, EdgeKind, Lineage, Node, NodeRole, Target};
use crate::name::{ContainerName, SnapshotName};
use crate::reference::ReferenceOptions;
use crate::volume::{StoreKind, VolumeId};

/// What a user does next; numbers choose among what exists.
#[derive(Debug, Clone)]
enum Deed {
    Create,
    Snapshot(usize),
    Clone(usize),
    Write(usize),
    Restore(usize),
    Destroy(usize, DestroyScope),
}

/// What a volume holds itself, and how it sees its parent's data.
#[derive(Debug, Clone)]
struct Data {
    own: Vec<u32>,
    stands_on: Option<VolumeId>,
}

#[derive(Debug)]
struct World {
    capabilities: Capabilities,
    nodes: BTreeMap<VolumeId, Node>,
    edges: Vec<Edge>,
    data: BTreeMap<VolumeId, Data>,
    clock: u32,
}

impl World {
    fn new(options: ReferenceOptions) -> Self {
        Self {
            capabilities: options.capabilities,
            nodes: BTreeMap::new(),
            edges: Vec::new(),
            data: BTreeMap::new(),
            clock: 0,
        }
    }

    fn lineage(&self) -> Lineage {
        Lineage::build(Path::new("/l"), self.nodes.values().cloned(), self.edges.clone()).unwrap()
    }

    fn tick(&mut self) -> u32 {
        self.clock += 1;
        self.clock
    }

    fn add(&mut self, container: ContainerKey, role: NodeRole, data: Data) -> VolumeId {
        let id = VolumeId::generate();
        self.nodes.insert(id, Node { id, container, role, store: StoreKind::new("any") });
        self.data.insert(id, data);
        id
    }

    /// Makes a volume from `source` as the store would.
    fn derive(&mut self, source: VolumeId, container: ContainerKey, role: NodeRole) -> VolumeId {
        let edge = Edge::of_clone(source, source, &self.capabilities);
        let data = match edge.kind {
            EdgeKind::Dependency(terms) if terms.write == ParentWrite::Forbidden => {
                Data { own: Vec::new(), stands_on: Some(source) }
            }
            _ => Data { own: self.view(source), stands_on: None },
        };
        let id = self.add(container, role, data);
        self.edges.push(Edge { child: id, ..edge });
        id
    }

    /// What the volume shows; a parent that is gone would be a panic here.
    fn view(&self, id: VolumeId) -> Vec<u32> {
        let mut chain = vec![&self.data[&id]];
        while let Some(parent) = chain.last().and_then(|data| data.stands_on) {
            chain.push(&self.data[&parent]);
        }
        chain.iter().rev().flat_map(|data| data.own.iter().copied()).collect()
    }

    /// What the users see: every named volume's content.
    fn views(&self) -> BTreeMap<VolumeId, Vec<u32>> {
        let named = self.nodes.values().filter(|node| node.role.is_named());
        named.map(|node| (node.id, self.view(node.id))).collect()
    }

    fn pick(&self, number: usize, wanted: impl Fn(&Node) -> bool) -> Option<Node> {
        let candidates: Vec<_> = self.nodes.values().filter(|node| wanted(node)).collect();
        candidates.get(number.checked_rem(candidates.len())?).map(|node| (*node).clone())
    }

    fn new_key(&mut self) -> ContainerKey {
        let name = ContainerName::parse(&format!("c{}", self.tick())).unwrap();
        ContainerKey { lxcpath: "/l".into(), name }
    }

    fn set_role(&mut self, id: VolumeId, role: NodeRole) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.role = role;
        }
    }

    /// Does the deed if the rules allow it; returns the volumes whose content was meant to change or go.
    fn act(&mut self, deed: &Deed) -> Vec<VolumeId> {
        match deed {
            Deed::Create => {
                let key = self.new_key();
                self.add(key, NodeRole::Head, Data { own: Vec::new(), stands_on: None });
                Vec::new()
            }
            Deed::Snapshot(number) => self.snapshot(*number).into_iter().collect(),
            Deed::Clone(number) => {
                if let Some(source) = self.pick(*number, |node| node.role.is_named()) {
                    let key = self.new_key();
                    self.derive(source.id, key, NodeRole::Head);
                }
                Vec::new()
            }
            Deed::Write(number) => self.write(*number).into_iter().collect(),
            Deed::Restore(number) => self.restore(*number).into_iter().collect(),
            Deed::Destroy(number, scope) => self.destroy(*number, *scope),
        }
    }

    /// Takes a snapshot; a frozen head is no head any more, and its successor must show the same.
    fn snapshot(&mut self, number: usize) -> Option<VolumeId> {
        let head = self.pick(number, |node| node.role == NodeRole::Head)?;
        let name = SnapshotName::parse(&format!("s{}", self.tick())).unwrap();
        let before = self.view(head.id);
        let freezes = self.capabilities.snapshot_style == SnapshotStyle::Freeze;
        if freezes {
            self.set_role(head.id, NodeRole::Layer);
        }
        let snapshot = self.derive(head.id, head.container.clone(), NodeRole::Snapshot(name));
        assert_eq!(self.view(snapshot), before);
        if freezes {
            let successor = self.derive(head.id, head.container, NodeRole::Head);
            assert_eq!(self.view(successor), before);
        }
        freezes.then_some(head.id)
    }

    fn write(&mut self, number: usize) -> Option<VolumeId> {
        let head = self.pick(number, |node| node.role == NodeRole::Head)?;
        self.lineage().may_start(head.id).ok()?;
        let value = self.tick();
        self.data.get_mut(&head.id)?.own.push(value);
        Some(head.id)
    }

    /// Clones the snapshot aside, makes that the head, and destroys the old head as the rules say.
    fn restore(&mut self, number: usize) -> Option<VolumeId> {
        let snapshot = self.pick(number, |node| matches!(node.role, NodeRole::Snapshot(_)))?;
        let head = self.lineage().head(&snapshot.container)?.id;
        self.lineage().may_restore_in_place(head).ok()?;
        self.set_role(head, NodeRole::Layer);
        self.derive(snapshot.id, snapshot.container, NodeRole::Head);
        self.collect_garbage();
        Some(head)
    }

    fn collect_garbage(&mut self) {
        let garbage: Vec<_> = self.lineage().garbage().iter().map(|node| node.id).collect();
        garbage.into_iter().for_each(|id| self.forget(id));
    }

    fn forget(&mut self, id: VolumeId) {
        self.nodes.remove(&id);
        self.data.remove(&id);
        self.edges.retain(|edge| edge.child != id);
    }

    fn destroy(&mut self, number: usize, scope: DestroyScope) -> Vec<VolumeId> {
        let Some(node) = self.pick(number, |node| node.role.is_named()) else { return Vec::new() };
        let target = match node.role {
            NodeRole::Snapshot(name) => Target::Snapshot(node.container, name),
            _ => Target::Container(node.container),
        };
        let plan = self.lineage().plan_destroy(&[target], scope).unwrap();
        let Ok(plan) = plan.permitted() else { return Vec::new() };
        for step in &plan.steps {
            match step.action {
                Action::Destroy => self.forget(step.volume),
                Action::Defer => self.set_role(step.volume, NodeRole::Ghost),
            }
        }
        plan.steps.into_iter().map(|step| step.volume).collect()
    }
}

fn live(options: ReferenceOptions, deeds: &[Deed]) {
    let mut world = World::new(options);
    world.act(&Deed::Create);
    for deed in deeds {
        let mut before = world.views();
        let meant = world.act(deed);
        before.retain(|id, _| !meant.contains(id));
        let after = world.views();
        for (id, view) in before {
            assert_eq!(after.get(&id), Some(&view), "{deed:?} was noticed by {id}: {world:#?}");
        }
        assert!(world.lineage().garbage().is_empty(), "{deed:?} left garbage: {world:#?}");
    }
    // However they lived, all of it can go, and then nothing is left.
    while let Some(head) = world.pick(0, |node| node.role == NodeRole::Head) {
        let target = Target::Container(head.container);
        let plan = world.lineage().plan_destroy(&[target], DestroyScope::WithDependents).unwrap();
        plan.permitted().unwrap().steps.iter().for_each(|step| world.forget(step.volume));
    }
    assert!(world.nodes.is_empty(), "{world:#?}");
}

fn deed() -> impl Strategy<Value = Deed> {
    let scope = prop_oneof![
        Just(DestroyScope::Only),
        Just(DestroyScope::WithSnapshots),
        Just(DestroyScope::WithDependents)
    ];
    prop_oneof![
        1 => Just(Deed::Create),
        3 => any::<usize>().prop_map(Deed::Snapshot),
        3 => any::<usize>().prop_map(Deed::Clone),
        4 => any::<usize>().prop_map(Deed::Write),
        2 => any::<usize>().prop_map(Deed::Restore),
        3 => (any::<usize>(), scope).prop_map(|(number, scope)| Deed::Destroy(number, scope)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn nobody_notices_what_the_rules_allow(deeds in prop::collection::vec(deed(), 1..40)) {
        for options in [
            ReferenceOptions::independent(),
            ReferenceOptions::freezing(),
            ReferenceOptions::deferring(),
            ReferenceOptions::refusing(),
        ] {
            live(options, &deeds);
        }
    }
}
