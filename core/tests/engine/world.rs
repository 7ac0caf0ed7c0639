//! What can be seen of an installation, in a form that is equal for two installations in which the same was done:
//! identities, times and the place of the installation are taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use keiki_core::engine::{ContainerKey, Engine};

use crate::rig::{Rig, Tree};

/// One container, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    store: Option<String>,
    source: Option<String>,
    origin: Option<String>,
    dependents: Vec<String>,
    config: String,
    content: Tree,
    relations: BTreeSet<(String, String)>,
    rdepends: String,
    snapshots: Vec<SeenSnapshot>,
    startable: bool,
    files: BTreeSet<String>,
}

impl Seen {
    /// Whether nothing differs but where copies came from.
    pub(crate) fn is_same_but_for_origins(&self, other: &Self) -> bool {
        Self { origin: None, ..self.clone() } == Self { origin: None, ..other.clone() }
    }
}

/// One snapshot, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenSnapshot {
    name: String,
    comment: Option<String>,
    source: String,
    config: String,
    content: Tree,
    dependents: Vec<String>,
}

/// Everything, seen from outside.
pub(crate) type World = BTreeMap<String, Seen>;

/// Looks at everything.
pub(crate) fn look(rig: &Rig, engine: &Engine) -> World {
    let records = engine.containers(&rig.lxcpath()).unwrap();
    let see = |record: keiki_core::engine::ContainerRecord| {
        let home = record.key.home();
        let read = |name: &str| plain(rig, &std::fs::read_to_string(home.join(name)).unwrap_or_default());
        let seen = Seen {
            store: record.store.as_ref().map(ToString::to_string),
            source: record.volume.as_ref().map(|volume| plain(rig, &volume.source.to_string())),
            origin: record.origin,
            dependents: record.dependents,
            config: read("config"),
            content: record.volume.as_ref().map(|volume| rig.contents(volume)).unwrap_or_default(),
            relations: pairs(&read("lxc_snapshots")),
            rdepends: read("lxc_rdepends"),
            snapshots: snapshots(rig, engine, &record.key),
            startable: engine.permit_start(&record.key).is_ok(),
            files: names(&home).iter().map(|name| plain(rig, name)).collect(),
        };
        (record.key.name.to_string(), seen)
    };
    let world: World = records.into_iter().map(see).collect();
    let homes: BTreeSet<String> = world.keys().cloned().collect();
    let on_disk: BTreeSet<String> =
        names(&rig.lxcpath()).into_iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(homes, on_disk, "the listing and the disk disagree");
    world
}

/// Asserts that nothing is on the disk that the catalogue does not know, and nothing waits for being reclaimed.
#[track_caller]
pub(crate) fn assert_clean(rig: &Rig, engine: &Engine, what: &str) {
    for aside in ["staging", "trash"] {
        let left = names(&rig.lxcpath().join(".keiki").join(aside));
        assert!(left.is_empty(), "{what}: left in {aside}: {left:?}");
    }
    let lineage = engine.lineage(&rig.lxcpath()).unwrap();
    let known: BTreeSet<String> = lineage.nodes().iter().map(|node| node.id.to_string()).collect();
    assert_eq!(rig.physical(), known, "{what}: physical volumes, and those in the catalogue");
    assert_eq!(rig.disk.violations(), Vec::<String>::new(), "{what}: violations");
    let locks = names(&rig.state().join("locks"));
    let intents: Vec<_> = locks.iter().filter(|name| name.starts_with("intent-")).collect();
    assert!(intents.is_empty(), "{what}: locks of intents are left: {intents:?}");
}

fn snapshots(rig: &Rig, engine: &Engine, key: &ContainerKey) -> Vec<SeenSnapshot> {
    let records = engine.snapshots(key).unwrap();
    let see = |record: keiki_core::engine::SnapshotRecord| {
        let config = std::fs::read_to_string(key.snapshot_home(&record.name).join("config")).unwrap();
        SeenSnapshot {
            name: record.name.to_string(),
            comment: record.comment,
            source: plain(rig, &record.volume.source.to_string()),
            config: plain(rig, &config),
            content: rig.contents(&record.volume),
            dependents: record.dependents,
        }
    };
    records.into_iter().map(see).collect()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Takes out the installation's place and the short ends of identities.
fn plain(rig: &Rig, text: &str) -> String {
    let text = text.replace(&*rig.root().to_string_lossy(), "$R");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(dash) = rest.find('-') {
        let (before, after) = rest.split_at(dash + 1);
        plain.push_str(before);
        let is_id = after.len() >= 12 && after.as_bytes()[..12].iter().all(u8::is_ascii_hexdigit);
        rest = if is_id { &after[12..] } else { after };
        if is_id {
            plain.push_str("ID");
        }
    }
    plain.push_str(rest);
    plain
}

fn pairs(text: &str) -> BTreeSet<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks(2).map(|pair| (pair[0].to_owned(), pair.get(1).copied().unwrap_or("").to_owned())).collect()
}
