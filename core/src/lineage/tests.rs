//! The rules as claims, on small families that people know.

use super::*;
use crate::capability::{ParentDelete, ParentWrite};
use crate::engine::DestroyScope;
use crate::name::ContainerName;
use crate::volume::StoreKind;

const HOME: &str = "/var/lib/lxc";

fn key(text: &str) -> ContainerKey {
    let (lxcpath, name) = text.rsplit_once('/').unwrap_or((HOME, text));
    ContainerKey { lxcpath: lxcpath.into(), name: ContainerName::parse(name).unwrap() }
}

/// A family in the making: names stand for volumes, `a@s` for snapshots, `a#1` for layers, `a!1` for ghosts.
#[derive(Default)]
struct Family {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    ids: HashMap<String, VolumeId>,
}

impl Family {
    fn node(mut self, text: &str) -> Self {
        let id = VolumeId::generate();
        self.ids.insert(text.to_owned(), id);
        let (container, role) = match text.split_once(['@', '#', '!']) {
            None => (text, NodeRole::Head),
            Some((name, rest)) if text.contains('@') => {
                (name, NodeRole::Snapshot(SnapshotName::parse(rest).unwrap()))
            }
            Some((name, _)) if text.contains('#') => (name, NodeRole::Layer),
            Some((name, _)) => (name, NodeRole::Ghost),
        };
        self.nodes.push(Node { id, container: key(container), role, store: StoreKind::new("any") });
        self
    }

    fn nodes(self, texts: &[&str]) -> Self {
        texts.iter().fold(self, |family, text| family.node(text))
    }

    fn edge(mut self, child: &str, parent: &str, terms: Option<Dependency>) -> Self {
        let kind = terms.map_or(EdgeKind::Provenance, EdgeKind::Dependency);
        self.edges.push(Edge { child: self.ids[child], parent: self.ids[parent], kind });
        self
    }

    fn stacked(self, child: &str, parent: &str) -> Self {
        let (write, delete) = (ParentWrite::Forbidden, ParentDelete::Refused);
        self.edge(child, parent, Some(Dependency { write, delete, binding: Binding::Path }))
    }

    fn deferred(self, child: &str, parent: &str) -> Self {
        let (write, delete) = (ParentWrite::Free, ParentDelete::Deferred);
        self.edge(child, parent, Some(Dependency { write, delete, binding: Binding::Store }))
    }

    fn refused(self, child: &str, parent: &str) -> Self {
        let (write, delete) = (ParentWrite::Free, ParentDelete::Refused);
        self.edge(child, parent, Some(Dependency { write, delete, binding: Binding::Store }))
    }

    fn copied(self, child: &str, parent: &str) -> Self {
        self.edge(child, parent, None)
    }

    fn try_build(&self) -> Result<Lineage> {
        Lineage::build(Path::new(HOME), self.nodes.clone(), self.edges.clone())
    }

    fn build(&self) -> Lineage {
        self.try_build().unwrap()
    }

    fn id(&self, text: &str) -> VolumeId {
        self.ids[text]
    }

    fn plan(&self, text: &str, scope: DestroyScope) -> DestroyPlan {
        let target = match text.split_once('@') {
            None => Target::Container(key(text)),
            Some((name, snapshot)) => Target::Snapshot(key(name), SnapshotName::parse(snapshot).unwrap()),
        };
        self.build().plan_destroy(&[target], scope).unwrap()
    }

    fn text(&self, id: VolumeId) -> &str {
        self.ids.iter().find(|(_, other)| **other == id).map(|(text, _)| text.as_str()).unwrap()
    }

    fn steps(&self, text: &str, scope: DestroyScope) -> Vec<&str> {
        let plan = self.plan(text, scope).permitted().unwrap();
        plan.steps.iter().map(|step| self.text(step.volume)).collect()
    }

    fn blockers(&self, text: &str, scope: DestroyScope) -> Vec<&str> {
        let plan = self.plan(text, scope);
        assert!(plan.steps.is_empty() || plan.blockers.is_empty());
        plan.blockers.iter().map(|blocker| self.text(blocker.volume)).collect()
    }
}

/// An overlay container `a` with a snapshot, and a clone `b` of that snapshot.
fn overlay_family() -> Family {
    Family::default()
        .nodes(&["a", "a@s", "a#1", "b"])
        .stacked("a", "a#1")
        .stacked("a@s", "a#1")
        .stacked("b", "a@s")
}

/// A zfs container `a` with a snapshot, and a clone `b` of it.
fn zfs_family() -> Family {
    Family::default().nodes(&["a", "a@s", "b"]).deferred("a@s", "a").deferred("b", "a@s")
}

use DestroyScope::{Only, WithDependents, WithSnapshots};

#[test]
fn a_parent_whose_writes_show_is_not_started_written_renamed_or_replaced() {
    let family = Family::default().nodes(&["a", "b", "/srv/c"]).stacked("b", "a").stacked("/srv/c", "a");
    let lineage = family.build();
    let verdicts = [
        lineage.may_start(family.id("a")),
        lineage.may_write(family.id("a")),
        lineage.may_rename(&key("a")),
        lineage.may_restore_in_place(family.id("a")),
        lineage.may_flatten(family.id("a")),
    ];
    for verdict in verdicts {
        let error = verdict.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HasDependents);
        assert_eq!(error.context(), [("dependents", "/srv/c, b".to_owned())]);
        assert!(error.hints().iter().any(|hint| hint.starts_with("`keiki flatten b`")), "{error:?}");
        assert!(
            error.hints().iter().any(|hint| hint.starts_with("`keiki --lxcpath /srv flatten c`")),
            "{error:?}"
        );
    }
    lineage.may_start(family.id("b")).unwrap();
    lineage.may_rename(&key("b")).unwrap();
}

#[test]
fn a_snapshot_by_freezing_frees_the_head() {
    let family = overlay_family();
    let lineage = family.build();
    lineage.may_start(family.id("a")).unwrap();
    lineage.may_restore_in_place(family.id("a")).unwrap();
    assert_eq!(lineage.may_rename(&key("a")).unwrap_err().kind(), ErrorKind::HasDependents);
    let bound: Vec<_> = lineage.bound_within(&key("a")).iter().map(|node| family.text(node.id)).collect();
    assert_eq!(bound.len(), 2, "{bound:?}");
    for snapshot in ["a@s", "a#1"] {
        assert_eq!(lineage.may_start(family.id(snapshot)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn free_parents_are_started_and_renamed_and_replaced_where_the_old_head_may_linger() {
    let family = zfs_family();
    let lineage = family.build();
    lineage.may_start(family.id("a")).unwrap();
    lineage.may_rename(&key("a")).unwrap();
    lineage.may_restore_in_place(family.id("a")).unwrap();
    let plain = Family::default().nodes(&["a", "a@s"]).refused("a@s", "a");
    plain.build().may_start(plain.id("a")).unwrap();
    plain.build().may_restore_in_place(plain.id("a")).unwrap();
    plain.build().may_flatten(plain.id("a")).unwrap();
}

#[test]
fn copies_forbid_nothing() {
    let family = Family::default().nodes(&["a", "a@s", "b"]).copied("a@s", "a").copied("b", "a");
    let lineage = family.build();
    lineage.may_start(family.id("a")).unwrap();
    lineage.may_restore_in_place(family.id("a")).unwrap();
    assert_eq!(lineage.origin_of(&key("b")).map(|node| node.id), Some(family.id("a")));
    assert!(lineage.dependents_of(&key("a")).is_empty());
    assert_eq!(family.blockers("a", Only), ["a@s"]);
    assert_eq!(family.steps("a", WithSnapshots), ["a@s", "a"]);
    assert_eq!(family.steps("a", WithDependents), ["a@s", "a"]);
}

#[test]
fn a_container_with_snapshots_is_refused_and_everybody_in_the_way_is_named() {
    let family = overlay_family();
    assert_eq!(family.blockers("a", Only), ["a@s", "b"]);
    assert_eq!(family.blockers("a", WithSnapshots), ["b"]);
    assert_eq!(family.steps("a", WithDependents), ["a", "b", "a@s", "a#1"]);
    let error = family.plan("a", WithSnapshots).permitted().unwrap_err();
    assert_eq!(error.message(), "cannot destroy `a`: its data is needed by b");
    assert_eq!(error.hints().len(), 2);
    assert!(error.hints()[1].starts_with("`keiki destroy --with-dependents a`"), "{error:?}");
    let error = Family::default().nodes(&["a", "a@s"]).plan("a", Only).permitted().unwrap_err();
    assert_eq!(error.message(), "cannot destroy `a`: it has snapshots: a@s");
    assert!(error.hints()[0].starts_with("`keiki destroy --with-snapshots a`"), "{error:?}");
}

#[test]
fn destroying_a_clone_never_takes_the_snapshot_that_it_came_from() {
    assert_eq!(overlay_family().steps("b", WithDependents), ["b"]);
    assert_eq!(zfs_family().steps("b", Only), ["b"]);
}

#[test]
fn a_layer_goes_with_the_last_volume_that_needs_it_and_not_before() {
    let family = Family::default().nodes(&["a", "a@s", "a#1"]).stacked("a", "a#1").stacked("a@s", "a#1");
    assert_eq!(family.steps("a@s", Only), ["a@s"]);
    assert_eq!(family.steps("a", WithSnapshots), ["a", "a@s", "a#1"]);
    let alone = Family::default().nodes(&["a", "a#1", "a#2", "x"]);
    let alone = alone.stacked("a", "a#2").stacked("a#2", "a#1").stacked("a#1", "x");
    assert_eq!(alone.steps("a", Only), ["a", "a#2", "a#1"], "and upwards, but not a container");
}

#[test]
fn garbage_elsewhere_is_none_of_a_plans_business() {
    let family = Family::default().nodes(&["a", "a#1", "a#2", "b#1", "c!1"]);
    let family = family.stacked("a", "a#1").stacked("a#2", "a#1");
    let mut steps = family.steps("a", Only);
    steps.sort_unstable();
    assert_eq!(steps, ["a", "a#1", "a#2"]);
}

#[test]
fn ones_own_volumes_behind_a_ghost_are_nobody_elses() {
    let family = Family::default().nodes(&["a", "a@s", "a!1", "b"]);
    let family = family.stacked("a!1", "a").stacked("a@s", "a!1").stacked("b", "a!1");
    let dependents: Vec<_> = family.build().dependents_of(&key("a")).iter().map(|node| node.id).collect();
    assert_eq!(dependents, [family.id("b")]);
}

#[test]
fn a_snapshot_that_the_present_head_stands_on_is_kept() {
    let family = Family::default().nodes(&["a", "a@s"]).stacked("a", "a@s");
    assert_eq!(family.blockers("a@s", Only), ["a"]);
    assert_eq!(family.steps("a", WithSnapshots), ["a", "a@s"]);
}

#[test]
fn a_deferring_store_frees_the_name_and_reclaims_when_the_last_child_goes() {
    let family = zfs_family();
    let plan = family.plan("a", WithSnapshots).permitted().unwrap();
    assert_eq!(plan.deferred().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["a@s", "a"]);
    let later = Family::default().nodes(&["b", "a!2", "a!1"]).deferred("b", "a!2").deferred("a!2", "a!1");
    assert_eq!(later.steps("b", Only), ["b", "a!2", "a!1"]);
    let plan = later.plan("b", Only);
    assert_eq!(plan.reclaimed().count(), 2);
    assert_eq!(plan.steps[1].describe(), "reclaim a ghost of `a` that nobody needs any more");
    let shared = Family::default().nodes(&["b", "c", "a!1"]).deferred("b", "a!1").deferred("c", "a!1");
    assert_eq!(shared.steps("b", Only), ["b"]);
}

#[test]
fn a_volume_that_would_linger_holds_what_it_stands_on() {
    let family = Family::default().nodes(&["a", "a@s", "b"]).refused("a@s", "a").deferred("b", "a@s");
    assert_eq!(family.blockers("a", WithSnapshots), ["b"]);
    assert_eq!(family.steps("a", WithDependents), ["b", "a@s", "a"]);
}

#[test]
fn dependents_that_go_take_their_own_snapshots_and_dependents_along() {
    let family = Family::default()
        .nodes(&["a", "b", "b@s", "c", "d", "d@s"])
        .stacked("b", "a")
        .copied("b@s", "b")
        .stacked("c", "b@s")
        .stacked("d@s", "a");
    let steps = family.steps("a", WithDependents);
    assert_eq!(steps.len(), 5, "{steps:?}");
    assert!(!steps.contains(&"d"), "only the snapshot of `d` needs it: {steps:?}");
    let plan = family.plan("a", WithDependents);
    let containers: Vec<_> = plan.containers().iter().map(|key| key.name.to_string()).collect();
    assert_eq!(containers.last().map(String::as_str), Some("a"));
}

#[test]
fn several_targets_are_planned_as_one() {
    let family = Family::default().nodes(&["a", "b"]).stacked("b", "a");
    let targets = [Target::Container(key("a")), Target::Container(key("b"))];
    let plan = family.build().plan_destroy(&targets, Only).unwrap().permitted().unwrap();
    assert_eq!(plan.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    let missing = family.build().plan_destroy(&[Target::Container(key("x"))], Only).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn names_are_seen_from_the_lxcpath_of_the_user() {
    let family = Family::default().nodes(&["a", "/srv/a", "/srv/a@s"]).stacked("/srv/a", "a");
    let lineage = family.build();
    assert_eq!(lineage.display(family.id("a")), "a");
    assert_eq!(lineage.display(family.id("/srv/a@s")), "/srv/a@s");
    let dependents = lineage.dependents_of(&key("a"));
    assert_eq!(dependents.iter().map(|node| node.display(lineage.lxcpath())).collect::<Vec<_>>(), ["/srv/a"]);
    let family = overlay_family();
    let origin = family.build().origin_of(&key("b")).map(|node| node.display(Path::new(HOME)));
    assert_eq!(origin.as_deref(), Some("a@s"));
}

#[test]
fn a_damaged_catalogue_is_refused_in_words() {
    let twice = Family::default().nodes(&["a", "a"]);
    let two_parents = Family::default().nodes(&["a", "b", "c"]).stacked("a", "b").stacked("a", "c");
    let cycle = Family::default().nodes(&["a", "b"]).stacked("a", "b").copied("b", "a");
    let itself = Family::default().nodes(&["a"]).stacked("a", "a");
    let snapshots = Family::default().nodes(&["a@s", "a@s"]);
    let mut orphan = Family::default().nodes(&["a", "b"]).stacked("a", "b");
    orphan.nodes.pop();
    for (family, why) in [
        (twice, "two heads"),
        (two_parents, "two parents"),
        (cycle, "descends from itself"),
        (itself, "descends from itself"),
        (snapshots, "recorded twice"),
        (orphan, "not recorded"),
    ] {
        let error = family.try_build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(why), "{error}");
    }
    let mut gone = Family::default().nodes(&["a", "b"]).copied("a", "b");
    gone.nodes.pop();
    assert!(gone.build().origin_of(&key("a")).is_none(), "provenance may lead nowhere");
}

#[test]
fn garbage_is_what_no_named_volume_needs() {
    let family = Family::default().nodes(&["a", "a#1", "a#2", "b!1", "b!2"]);
    let family = family.stacked("a", "a#1").stacked("b!2", "b!1");
    let lineage = family.build();
    let garbage: Vec<_> = lineage.garbage().iter().map(|node| family.text(node.id)).collect();
    let position = |text| garbage.iter().position(|other| *other == text).unwrap();
    assert_eq!(garbage.len(), 3, "{garbage:?}");
    assert!(position("b!2") < position("b!1"));
}

#[test]
fn a_chain_of_ten_thousand_is_answered_quickly_and_without_recursion() {
    let texts: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let mut family = texts.iter().fold(Family::default(), |family, text| family.node(text));
    for pair in texts.windows(2) {
        family = family.stacked(&pair[1], &pair[0]);
    }
    let lineage = family.build();
    let begun = std::time::Instant::now();
    assert_eq!(lineage.depth(family.id("c9999")), 9_999);
    assert_eq!(lineage.all_dependents(family.id("c0")).len(), 9_999);
    assert_eq!(
        lineage.may_deepen(family.id("c9999"), Some(9_999)).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
    lineage.may_deepen(family.id("c9999"), Some(10_000)).unwrap();
    lineage.may_deepen(family.id("c9999"), None).unwrap();
    let tree = lineage.tree();
    assert_eq!(tree.rows.last().map(|row| row.depth), Some(9_999));
    let plan = lineage.plan_destroy(&[Target::Container(key("c0"))], WithDependents).unwrap();
    assert_eq!(plan.steps.len(), 10_000);
    assert_eq!(plan.steps[0].name, "c9999");
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn the_tree_shows_every_volume_once_as_people_count() {
    let family = Family::default()
        .nodes(&["b10", "b9", "a", "a@snap10", "a@snap2", "a#1", "c"])
        .stacked("a", "a#1")
        .stacked("a@snap2", "a#1")
        .stacked("a@snap10", "a#1")
        .copied("c", "a@snap2");
    let rows = |tree: Tree| -> Vec<String> {
        let rows = tree.rows.iter();
        rows.map(|row| {
            format!(
                "{}{}{}",
                "  ".repeat(row.depth),
                family.text(row.volume),
                if row.is_last { "." } else { "" }
            )
        })
        .collect()
    };
    let whole = ["a#1", "  a", "  a@snap2", "    c.", "  a@snap10.", "b9", "b10."];
    assert_eq!(rows(family.build().tree()), whole);
    assert_eq!(
        rows(family.build().tree_of(&key("a")))[..],
        ["a#1.", "  a", "  a@snap2", "    c.", "  a@snap10."]
    );
    let relations: Vec<_> = family.build().tree().rows.iter().map(|row| row.relation).collect();
    assert_eq!(
        relations[1..4],
        [Some(Relation::Dependency), Some(Relation::Dependency), Some(Relation::Provenance)]
    );
}

#[test]
fn a_clone_hangs_on_what_it_needs_and_names_what_it_was_made_from() {
    let family = Family::default().nodes(&["a#1", "a@s", "b", "c"]);
    let family = family.stacked("a@s", "a#1").stacked("b", "a#1").copied("b", "a@s").copied("c", "a@s");
    let tree = family.build().tree();
    let row = |text: &str| tree.rows.iter().find(|row| row.volume == family.id(text)).unwrap();
    assert_eq!((row("b").parent, row("b").origin.as_deref()), (Some(family.id("a#1")), Some("a@s")));
    assert_eq!((row("c").parent, row("c").origin.as_deref()), (Some(family.id("a@s")), None));
}

#[test]
fn edges_carry_what_the_store_of_the_child_promises() {
    use crate::reference::ReferenceOptions;
    let (a, b) = (VolumeId::generate(), VolumeId::generate());
    let kind = |options: ReferenceOptions| Edge::of_clone(a, b, &options.capabilities).kind;
    assert_eq!(kind(ReferenceOptions::independent()), EdgeKind::Provenance);
    let EdgeKind::Dependency(terms) = kind(ReferenceOptions::freezing().in_home()) else {
        panic!("no dependency")
    };
    assert_eq!((terms.write, terms.binding), (ParentWrite::Forbidden, Binding::Path));
    let EdgeKind::Dependency(terms) = kind(ReferenceOptions::deferring()) else { panic!("no dependency") };
    assert_eq!((terms.delete, terms.binding), (ParentDelete::Deferred, Binding::Store));
}

#[test]
fn a_plan_is_data() {
    let plan = zfs_family().plan("b", Only);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["steps"][0]["name"], "b");
    assert_eq!(json["steps"][0]["action"], "destroy");
    assert_eq!(json["steps"][0]["cause"], "named");
}
