//! [`View`]: everything that a user can see, in a form that does not differ from run to run.

use std::collections::BTreeMap;
use std::fmt::Write;

use keiki_core::context::Context;
use keiki_core::engine::ContainerRecord;
use keiki_core::units::Bytes;
use keiki_core::volume::VolumeId;

use super::Yard;
use crate::bench::Content;
use crate::verdict::{Failure, Verdict};

/// Everything that a user can see in one lxcpath.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The containers by name.
    pub containers: BTreeMap<String, ContainerView>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// The word of its store.
    pub store: Option<String>,
    /// Where it came from.
    pub origin: Option<String>,
    /// Who depends on it.
    pub dependents: Vec<String>,
    /// Its configuration without the physical place and without random hardware addresses.
    pub config: String,
    /// The most that it may hold.
    pub limit: Option<Bytes>,
    /// What it holds.
    pub content: Seen,
    /// Its snapshots by name.
    pub snapshots: BTreeMap<String, SnapshotView>,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotView {
    /// Its comment.
    pub comment: Option<String>,
    /// Who depends on it.
    pub dependents: Vec<String>,
    /// What it holds.
    pub content: Seen,
}

/// Content whose differences in the root's own times do not count: renames move them.
#[derive(Debug, Clone)]
pub struct Seen(pub Content);

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        self.0.differences(&other.0).is_empty()
    }
}

impl Eq for Seen {}

impl View {
    /// Returns what differs in `other`, a line a difference.
    #[must_use]
    pub fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        let names: std::collections::BTreeSet<_> =
            self.containers.keys().chain(other.containers.keys()).collect();
        for name in names {
            let _infallible = match (self.containers.get(name), other.containers.get(name)) {
                (Some(_), None) => write!(text, "`{name}` is missing; "),
                (None, Some(_)) => write!(text, "`{name}` is there; "),
                (Some(left), Some(right)) if left != right => {
                    write!(text, "`{name}`: {}; ", left.differences(right))
                }
                _ => Ok(()),
            };
        }
        text
    }
}

impl ContainerView {
    fn differences(&self, other: &Self) -> String {
        let mut words = Vec::new();
        let mut compare = |what: &str, left: String, right: String| {
            if left != right {
                words.push(format!("{what} {right}, not {left}"));
            }
        };
        compare("store", format!("{:?}", self.store), format!("{:?}", other.store));
        compare("origin", format!("{:?}", self.origin), format!("{:?}", other.origin));
        compare("dependents", format!("{:?}", self.dependents), format!("{:?}", other.dependents));
        compare("limit", format!("{:?}", self.limit), format!("{:?}", other.limit));
        compare("config", self.config.clone(), other.config.clone());
        let names = |view: &Self| format!("{:?}", view.snapshots.keys().collect::<Vec<_>>());
        compare("snapshots", names(self), names(other));
        words.push(self.content.0.differences(&other.content.0));
        for (name, snapshot) in &self.snapshots {
            if let Some(right) = other.snapshots.get(name).filter(|right| *right != snapshot) {
                let differences = snapshot.content.0.differences(&right.content.0);
                words.push(format!(
                    "@{name}: comment {:?}/{:?} dependents {:?}/{:?} {differences}",
                    snapshot.comment, right.comment, snapshot.dependents, right.dependents
                ));
            }
        }
        words.retain(|word| !word.is_empty());
        words.join(", ")
    }
}

impl Yard<'_> {
    /// Looks at everything.
    ///
    /// # Errors
    /// What cannot be looked at.
    #[track_caller]
    pub fn view(&self) -> Verdict<View> {
        let mut view = View::default();
        let records = self.engine.containers(&self.lxcpath)?;
        let limits = self.limits(&records)?;
        for record in records {
            let name = record.key.name.to_string();
            let limit = record.volume.as_ref().and_then(|volume| *limits.get(&volume.id)?);
            let seen = self.view_of(record, limit).map_err(|e| e.during(&format!("looking at `{name}`")))?;
            view.containers.insert(name, seen);
        }
        Ok(view)
    }

    /// One question a store.
    fn limits(&self, records: &[ContainerRecord]) -> Verdict<BTreeMap<VolumeId, Option<Bytes>>> {
        let mut limits = BTreeMap::new();
        for store in self.rig.registry().stores() {
            let volumes = records.iter().filter(|one| one.adopted).filter_map(|one| one.volume.clone());
            let own: Vec<_> = volumes.filter(|volume| *volume.kind() == store.kind()).collect();
            let told = super::wait(store.usage(&Context::default(), &own))??;
            limits.extend(own.iter().map(|volume| volume.id).zip(told.iter().map(|usage| usage.limit)));
        }
        Ok(limits)
    }

    fn view_of(&self, record: ContainerRecord, limit: Option<Bytes>) -> Verdict<ContainerView> {
        let mut snapshots = BTreeMap::new();
        for snapshot in self.engine.snapshots(&record.key)? {
            let content = Seen(self.content_of(&snapshot.volume)?);
            let seen = SnapshotView { comment: snapshot.comment, dependents: snapshot.dependents, content };
            snapshots.insert(snapshot.name.to_string(), seen);
        }
        let volume = record.volume.ok_or_else(|| Failure::new("it has no volume"))?;
        Ok(ContainerView {
            store: record.store.map(|kind| kind.to_string()),
            origin: record.origin,
            dependents: record.dependents,
            config: self.plain_config(&self.engine.read_config(&record.key)?),
            limit,
            content: Seen(self.content_of(&volume)?),
            snapshots,
        })
    }

    fn plain_config(&self, config: &[u8]) -> String {
        let text = String::from_utf8_lossy(config);
        let plain = |line: &&str| !line.starts_with("lxc.rootfs.path") && !line.contains("hwaddr");
        let lines =
            text.lines().filter(plain).map(|line| line.replace(&*self.lxcpath.to_string_lossy(), "LXCPATH"));
        lines.collect::<Vec<_>>().join("\n")
    }
}
