//! Plans for every small graph, and for random larger ones.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use proptest::prelude::*;

use crate::capability::{ParentDelete, ParentWrite};
use crate::engine::{ContainerKey, DestroyScope};
use crate::lineage::{
    Action, Binding, Cause, Dependency, DestroyPlan, Edge, EdgeKind, Lineage, Node, NodeRole, Target,
};
use crate::name::{ContainerName, SnapshotName};
use crate::volume::{StoreKind, VolumeId};

const KINDS: [Option<(ParentWrite, ParentDelete)>; 5] = [
    None,
    Some((ParentWrite::Forbidden, ParentDelete::Refused)),
    Some((ParentWrite::Free, ParentDelete::Refused)),
    Some((ParentWrite::Free, ParentDelete::Deferred)),
    Some((ParentWrite::Free, ParentDelete::Independent)),
];
const SCOPES: [DestroyScope; 3] =
    [DestroyScope::Only, DestroyScope::WithSnapshots, DestroyScope::WithDependents];

fn key(container: usize) -> ContainerKey {
    let name = ContainerName::parse(&format!("c{container}")).unwrap();
    ContainerKey { lxcpath: "/l".into(), name }
}

fn node(id: VolumeId, number: usize, container: usize, role: usize) -> Node {
    let role = match role {
        0 => NodeRole::Head,
        1 => NodeRole::Snapshot(SnapshotName::parse(&format!("s{number}")).unwrap()),
        2 => NodeRole::Layer,
        _ => NodeRole::Ghost,
    };
    Node { id, container: key(container), role, store: StoreKind::new("any") }
}

fn edge(child: VolumeId, parent: VolumeId, kind: usize) -> Edge {
    let kind = KINDS[kind].map_or(EdgeKind::Provenance, |(write, delete)| {
        EdgeKind::Dependency(Dependency { write, delete, binding: Binding::Path })
    });
    Edge { child, parent, kind }
}

/// A graph as lists, so that it can be taken apart and put together again.
#[derive(Debug, Clone)]
struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl Graph {
    fn build(&self) -> Lineage {
        Lineage::build(Path::new("/l"), self.nodes.clone(), self.edges.clone()).unwrap()
    }

    fn targets(&self) -> Vec<Target> {
        let target = |node: &Node| match &node.role {
            NodeRole::Head => Some(Target::Container(node.container.clone())),
            NodeRole::Snapshot(name) => Some(Target::Snapshot(node.container.clone(), name.clone())),
            NodeRole::Layer | NodeRole::Ghost => None,
        };
        self.nodes.iter().filter_map(target).collect()
    }

    fn holding(&self) -> impl Iterator<Item = (&Edge, ParentDelete)> {
        self.edges.iter().filter_map(|edge| match edge.kind {
            EdgeKind::Dependency(terms) if terms.holds() => Some((edge, terms.delete)),
            _ => None,
        })
    }

    fn role(&self, id: VolumeId) -> &NodeRole {
        &self.nodes.iter().find(|node| node.id == id).unwrap().role
    }

    /// Everything that needs one of `ids`, over and over until nothing is added.
    fn all_dependents(&self, ids: &BTreeSet<VolumeId>) -> BTreeSet<VolumeId> {
        let mut found = ids.clone();
        loop {
            let more: Vec<_> = self.holding().filter(|(edge, _)| found.contains(&edge.parent)).collect();
            let before = found.len();
            found.extend(more.into_iter().map(|(edge, _)| edge.child));
            if found.len() == before {
                return found.difference(ids).copied().collect();
            }
        }
    }

    fn members(&self, key: &ContainerKey) -> BTreeSet<VolumeId> {
        let own = |node: &&Node| node.container == *key && node.role != NodeRole::Ghost;
        self.nodes.iter().filter(own).map(|node| node.id).collect()
    }

    /// What a user has asked for in so many words: the most that may lose its name.
    fn asked(&self, target: &Target, scope: DestroyScope) -> BTreeSet<VolumeId> {
        let mut asked = match target {
            Target::Container(key) if scope == DestroyScope::Only => {
                let heads = self.members(key).into_iter().filter(|id| *self.role(*id) == NodeRole::Head);
                return heads.collect();
            }
            Target::Container(key) => self.members(key),
            Target::Snapshot(key, name) => {
                let named =
                    |node: &&Node| node.container == *key && node.role == NodeRole::Snapshot(name.clone());
                self.nodes.iter().filter(named).map(|node| node.id).collect()
            }
        };
        if scope != DestroyScope::WithDependents {
            return asked;
        }
        loop {
            let before = asked.len();
            asked.extend(self.all_dependents(&asked));
            let heads: Vec<_> = self.nodes.iter().filter(|node| asked.contains(&node.id)).collect();
            let heads = heads.into_iter().filter(|node| node.role == NodeRole::Head);
            let whole: Vec<_> = heads.flat_map(|node| self.members(&node.container)).collect();
            asked.extend(whole);
            if asked.len() == before {
                return asked;
            }
        }
    }

    /// The graph after a plan was carried out.
    fn after(&self, plan: &DestroyPlan) -> Self {
        let acted: HashMap<_, _> = plan.steps.iter().map(|step| (step.volume, step.action)).collect();
        let is_gone = |id: &VolumeId| acted.get(id) == Some(&Action::Destroy);
        let mut nodes: Vec<_> = self.nodes.iter().filter(|node| !is_gone(&node.id)).cloned().collect();
        for node in &mut nodes {
            if acted.contains_key(&node.id) {
                node.role = NodeRole::Ghost;
            }
        }
        let edges = self.edges.iter().filter(|edge| !is_gone(&edge.child)).copied();
        // An edge that needs nothing is only history once its parent is gone.
        let edges = edges.map(|edge| match edge.kind {
            EdgeKind::Dependency(terms) if !terms.holds() => Edge { kind: EdgeKind::Provenance, ..edge },
            _ => edge,
        });
        Self { nodes, edges: edges.collect() }
    }

    /// The graph after some volumes got data of their own.
    fn flattened(&self, ids: &[VolumeId]) -> Self {
        let edges = self.edges.iter().filter(|edge| !ids.contains(&edge.child)).copied().collect();
        Self { nodes: self.nodes.clone(), edges }
    }

    fn garbage(&self) -> BTreeSet<VolumeId> {
        self.build().garbage().iter().map(|node| node.id).collect()
    }
}

fn check_every_plan(graph: &Graph) {
    let lineage = graph.build();
    for target in graph.targets() {
        for scope in SCOPES {
            let plan = lineage.plan_destroy(std::slice::from_ref(&target), scope).unwrap();
            if plan.blockers.is_empty() {
                check_permitted(graph, &plan, &graph.asked(&target, scope));
            } else {
                check_refused(graph, &plan, &target, scope);
            }
        }
    }
}

fn check_permitted(graph: &Graph, plan: &DestroyPlan, asked: &BTreeSet<VolumeId>) {
    let place: HashMap<_, _> =
        plan.steps.iter().enumerate().map(|(rank, step)| (step.volume, rank)).collect();
    let is_gone =
        |id: &VolumeId| place.get(id).is_some_and(|rank| plan.steps[*rank].action == Action::Destroy);
    assert_eq!(place.len(), plan.steps.len(), "a volume has two steps");
    for (edge, _) in graph.holding() {
        assert!(
            !is_gone(&edge.parent) || is_gone(&edge.child),
            "a child lost its parent: {graph:#?} {plan:#?}"
        );
        if let (Some(child), Some(parent)) = (place.get(&edge.child), place.get(&edge.parent)) {
            assert!(child < parent, "a parent goes before its child: {graph:#?} {plan:#?}");
        }
    }
    for id in asked {
        assert!(place.contains_key(id), "something that was asked for stays: {graph:#?} {plan:#?}");
    }
    for step in &plan.steps {
        let was_asked = asked.contains(&step.volume);
        assert!(was_asked || !step.role.is_named(), "nobody asked for {step:?}: {graph:#?}");
        let holders: Vec<_> = graph.holding().filter(|(edge, _)| edge.parent == step.volume).collect();
        let mut staying = holders.iter().filter(|(edge, _)| !is_gone(&edge.child));
        match step.action {
            Action::Destroy => assert_eq!(staying.count(), 0),
            Action::Defer => {
                assert!(staying.clone().count() > 0, "a ghost without a reason: {graph:#?} {plan:#?}");
                assert!(staying.all(|(_, delete)| *delete == ParentDelete::Deferred), "{graph:#?} {plan:#?}");
            }
        }
    }
    let after = graph.after(plan);
    assert!(after.garbage().is_subset(&graph.garbage()), "garbage is left: {graph:#?} {plan:#?}");
}

fn check_refused(graph: &Graph, plan: &DestroyPlan, target: &Target, scope: DestroyScope) {
    assert!(plan.steps.is_empty(), "a refused plan does nothing");
    assert_ne!(
        scope,
        DestroyScope::WithDependents,
        "nothing is in the way of everything: {graph:#?} {plan:#?}"
    );
    let (snapshots, dependents): (Vec<_>, Vec<_>) =
        plan.blockers.iter().partition(|blocker| blocker.cause == Cause::Snapshot);
    if let Target::Container(key) = target {
        let own = graph.nodes.iter().filter(|node| {
            node.container == *key
                && matches!(node.role, NodeRole::Snapshot(_))
                && scope == DestroyScope::Only
        });
        let own: BTreeSet<_> = own.map(|node| node.id).collect();
        assert_eq!(own, snapshots.iter().map(|blocker| blocker.volume).collect(), "{graph:#?} {plan:#?}");
    }
    assert!(dependents.iter().all(|blocker| blocker.role.is_named()));
    // Exactly these: without all of them nobody is in the way, with any one of them, that one is.
    let ids: Vec<_> = dependents.iter().map(|blocker| blocker.volume).collect();
    assert_eq!(dependents_in_the_way(&graph.flattened(&ids), target, scope), [], "{graph:#?} {plan:#?}");
    for kept in &ids {
        let others: Vec<_> = ids.iter().filter(|id| *id != kept).copied().collect();
        assert_eq!(dependents_in_the_way(&graph.flattened(&others), target, scope), [*kept], "{graph:#?}");
    }
}

fn dependents_in_the_way(graph: &Graph, target: &Target, scope: DestroyScope) -> Vec<VolumeId> {
    let plan = graph.build().plan_destroy(std::slice::from_ref(target), scope).unwrap();
    let dependents = plan.blockers.iter().filter(|blocker| blocker.cause == Cause::Dependent);
    dependents.map(|blocker| blocker.volume).collect()
}

/// Builds the graph that a list of choices means, unless a container would have two heads.
fn graph_of(ids: &[VolumeId], choices: &[(usize, usize, usize, usize)]) -> Option<Graph> {
    let mut graph = Graph { nodes: Vec::new(), edges: Vec::new() };
    for (number, (container, role, parent, kind)) in choices.iter().copied().enumerate() {
        graph.nodes.push(node(ids[number], number, container, role));
        if parent < number {
            graph.edges.push(edge(ids[number], ids[parent], kind));
        }
    }
    let heads = graph.nodes.iter().filter(|node| node.role == NodeRole::Head).map(|node| &node.container);
    let distinct: BTreeSet<_> = heads.clone().collect();
    (distinct.len() == heads.count()).then_some(graph)
}

#[test]
fn no_plan_for_any_small_graph_breaks_a_rule() {
    let ids: Vec<_> = (0..3).map(|_| VolumeId::generate()).collect();
    let places: Vec<(usize, usize)> = (0..2).flat_map(|c| (0..4).map(move |role| (c, role))).collect();
    // A parent that does not come before its child stands for none.
    let second: Vec<(usize, usize)> = (0..5).map(|kind| (0, kind)).chain([(9, 0)]).collect();
    let third: Vec<(usize, usize)> =
        (0..2).flat_map(|p| (0..5).map(move |kind| (p, kind))).chain([(9, 0)]).collect();
    let mut count = 0;
    for a in &places {
        for b in places.iter().flat_map(|place| second.iter().map(move |edge| (place, edge))) {
            for c in places.iter().flat_map(|place| third.iter().map(move |edge| (place, edge))) {
                let choices = [(a.0, a.1, 9, 0), (b.0.0, b.0.1, b.1.0, b.1.1), (c.0.0, c.0.1, c.1.0, c.1.1)];
                if let Some(graph) = graph_of(&ids, &choices) {
                    check_every_plan(&graph);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 20_000, "only {count} graphs were looked at");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_for_a_random_graph_breaks_a_rule(
        choices in prop::collection::vec((0..4_usize, 0..4_usize, 0..12_usize, 0..5_usize), 1..12)
    ) {
        let ids: Vec<_> = choices.iter().map(|_| VolumeId::generate()).collect();
        if let Some(graph) = graph_of(&ids, &choices) {
            check_every_plan(&graph);
        }
    }
}
