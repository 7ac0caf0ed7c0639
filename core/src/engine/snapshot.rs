//! `keiki snapshot create`: a volume that keeps this moment, in `snaps/<name>` as LXC lays it out.
//!
//! Two styles. *Beside*: the store makes a second object. *Freeze*: no data moves; the present head becomes a layer where it is,
//! and both the snapshot and the container's new head are made upon it; the commit point is the snapshot's home, and the
//! configuration that names the new head follows it.

use std::path::Path;

use keiki_sys::clock::{self, LocalTime};

use super::ancestry::Ancestry;
use super::catalogue::{Neighbourhood, VolumeRow};
use super::intent::{Freeze, Made, Make};
use super::locks::Hold;
use super::make::Plan;
use super::request::{ContainerKey, Means, Outcome, SnapshotContainer};
use super::{Engine, home};
use crate::capability::{Capabilities, Cost, SnapshotStyle};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Edge;
use crate::name::SnapshotName;
use crate::store::BackingStore;
use crate::volume::{Placement, Properties, Volume, VolumeId, VolumeRole};

impl Engine {
    /// Takes a snapshot; the outcome's name is the snapshot's.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] for a taken name; [`ErrorKind::Busy`] while the container runs, where its store minds;
    /// [`ErrorKind::Unsupported`] where the store has no snapshots. Nothing was changed then.
    pub fn snapshot(&self, context: &Context, request: &SnapshotContainer) -> Result<Outcome> {
        let key = &request.key;
        let shown = || format!("cannot take a snapshot of `{}`", key.name);
        self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
        let held = self.locks.take(context, &[(key, Hold::Exclusive)], "snapshot")?;
        let outcome =
            self.snapshot_locked(context, request, None).map_err(|error| error.while_doing(shown()));
        drop(held);
        outcome
    }

    /// Takes a snapshot of a container whose lock is held; `past` makes it one that was taken elsewhere.
    pub(super) fn snapshot_locked(
        &self,
        context: &Context,
        request: &SnapshotContainer,
        past: Option<&Past<'_>>,
    ) -> Result<Outcome> {
        let key = &request.key;
        let ancestry = self.ancestry(key, Neighbourhood::Upwards)?;
        let head = ancestry.find(key, None)?;
        let store = self.store_of(&head.volume)?.clone();
        let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, Some(&head.volume))?;
        self.require_quiet(key, "take a snapshot of", capabilities.live)?;
        let name = self.snapshot_name(request, &ancestry)?;
        let config = self.read_config(key)?;
        let mut make = match capabilities.snapshot_style {
            SnapshotStyle::Beside => self.plan_beside(key, &name, &ancestry, &head, &capabilities)?,
            SnapshotStyle::Freeze => {
                self.plan_freeze(key, &name, &ancestry, &head, &capabilities, &config)?
            }
        };
        if let Some(past) = past {
            make.made[0].created = past.created.unwrap_or(make.made[0].created);
        }
        let made = make.made[0].clone();
        self.make(context, make, &[], |make| {
            context.step("snapshot.config")?;
            let config = past.map_or(config.as_slice(), |past| past.config);
            self.describe_snapshot(&made, config, request.comment.as_deref())?;
            past.map_or(Ok(()), |past| past.note(&made.staging))?;
            make.write_back()?;
            context.step("snapshot.volume")?;
            self.take(context, store.as_ref(), &head.volume, make)
        })?;
        let means = if capabilities.snapshot_cost == Cost::Constant { Means::Snapshot } else { Means::Copy };
        Ok(Outcome {
            name: name.to_string(),
            volume: made.volume,
            means: Some(means),
            cost: capabilities.snapshot_cost,
        })
    }

    /// Writes the files of a snapshot's home.
    pub(super) fn describe_snapshot(&self, made: &Made, config: &[u8], comment: Option<&str>) -> Result<()> {
        let text = self.editor.with_rootfs(config, &made.volume.source.to_string())?;
        home::write_new(&made.staging, "config", &text)?;
        home::write_new(&made.staging, "ts", render_time(made.created).as_bytes())?;
        comment.map_or(Ok(()), |text| write_comment(made, text))
    }

    /// Returns the name that was asked for, or LXC's choice: the lowest free number.
    fn snapshot_name(&self, request: &SnapshotContainer, ancestry: &Ancestry) -> Result<SnapshotName> {
        let key = &request.key;
        let is_free = |name: &SnapshotName| -> Result<bool> {
            Ok(ancestry.lineage.snapshot(key, name).is_none() && !home::exists(&key.snapshot_home(name))?)
        };
        if let Some(name) = &request.name {
            return if is_free(name)? {
                Ok(name.clone())
            } else {
                Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("container `{}` has a snapshot `{name}`", key.name),
                )
                .with_hint("choose another name, or none for the next free one"))
            };
        }
        for number in 0_u32.. {
            let name = SnapshotName::parse(&format!("snap{number}"))?;
            if is_free(&name)? {
                return Ok(name);
            }
        }
        Err(Error::new(ErrorKind::LimitExceeded, "there is no free snapshot name"))
    }

    pub(super) fn plan_beside(
        &self,
        key: &ContainerKey,
        name: &SnapshotName,
        ancestry: &Ancestry,
        head: &VolumeRow,
        capabilities: &Capabilities,
    ) -> Result<Make> {
        ancestry.may_build_upon(head, capabilities)?;
        let store = self.store_of(&head.volume)?;
        let plan = Plan {
            store: store.as_ref(),
            container: key,
            snapshot: Some(name),
            options: &head.volume.properties,
            origin: Some(&head.volume),
        };
        let edge = |id| vec![Edge::of_clone(id, head.volume.id, capabilities)];
        let made = plan.decide(edge, &ancestry.containers_above(head, key))?;
        Ok(Make { verb: "snapshot".to_owned(), made: vec![made], freeze: None })
    }

    fn plan_freeze(
        &self,
        key: &ContainerKey,
        name: &SnapshotName,
        ancestry: &Ancestry,
        head: &VolumeRow,
        capabilities: &Capabilities,
        config: &[u8],
    ) -> Result<Make> {
        let mut make = self.plan_beside(key, name, ancestry, head, capabilities)?;
        let store = self.store_of(&head.volume)?;
        let id = VolumeId::generate();
        let new = successor(store.as_ref(), key, id, &head.volume.properties, Some(&head.volume))?;
        make.freeze = Some(Freeze {
            container: key.clone(),
            old: head.volume.id,
            config: self.editor.with_rootfs(config, &new.source.to_string())?,
            head: new,
            edges: vec![Edge::of_clone(id, head.volume.id, capabilities)],
        });
        Ok(make)
    }

    fn take(&self, context: &Context, store: &dyn BackingStore, source: &Volume, make: &Make) -> Result<()> {
        let staged = make.made.iter().map(Made::staged_volume);
        match &make.freeze {
            None => {
                let group = store.snapshots().ok_or_else(|| unsupported(store))?;
                staged.into_iter().try_for_each(|target| self.wait(group.snapshot(context, source, &target)))
            }
            Some(freeze) => {
                let group = store.clones().ok_or_else(|| unsupported(store))?;
                self.clone_natively(context, group, source, staged.chain([freeze.head.clone()]))?;
                self.keep_limit(context, source, &freeze.head)
            }
        }
    }

    /// Replaces the comment of a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn set_comment(&self, key: &ContainerKey, snapshot: &SnapshotName, comment: &str) -> Result<()> {
        let context = Context::default();
        self.know(&context, std::slice::from_ref(key))?;
        let _held = self.locks.take(&context, &[(key, Hold::Exclusive)], "comment")?;
        self.ancestry(key, Neighbourhood::Upwards)?.find(key, Some(snapshot))?;
        home::replace_file(&key.snapshot_home(snapshot).join("comment"), comment.as_bytes())
    }
}

/// What a snapshot that was taken elsewhere brings with it.
#[derive(Debug)]
pub(super) struct Past<'a> {
    /// When it was taken.
    pub(super) created: Option<u64>,
    /// The container's configuration then.
    pub(super) config: &'a [u8],
    /// Who it is, wherever it is.
    pub(super) identity: VolumeId,
}

impl Past<'_> {
    /// Writes into a snapshot's home who it is elsewhere.
    pub(super) fn note(&self, home: &Path) -> Result<()> {
        home::write_new(home, IDENTITY_FILE, format!("{}\n", self.identity).as_bytes())
    }
}

/// Returns who a snapshot is, wherever it is: what it was where it was taken.
pub(super) fn identity(key: &ContainerKey, name: &SnapshotName, own: VolumeId) -> Result<VolumeId> {
    let noted = home::read_file(&key.snapshot_home(name).join(IDENTITY_FILE))?;
    let noted = noted.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
    Ok(noted.unwrap_or(own))
}

/// The file in the home of a snapshot that was received.
const IDENTITY_FILE: &str = "keiki.identity";

/// Chooses the place of a new head beside the present one, in the container's home.
pub(super) fn successor(
    store: &dyn BackingStore,
    key: &ContainerKey,
    id: VolumeId,
    options: &Properties,
    origin: Option<&Volume>,
) -> Result<Volume> {
    let placement = Placement {
        id,
        container: key.name.clone(),
        role: VolumeRole::Successor,
        home: key.home(),
        options: options.clone(),
    };
    Ok(Volume { id, source: store.place(&placement, origin)?, properties: options.clone() })
}

/// Returns the refusal of a store that lacks what an operation needs.
fn unsupported(store: &dyn BackingStore) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the {} store has no snapshots", store.kind()))
        .with_hint("`keiki clone --copy` keeps this moment in a container of its own")
}

fn write_comment(made: &Made, text: &str) -> Result<()> {
    home::write_new(&made.staging, "comment", text.as_bytes())
}

/// Returns LXC's form of a moment: local time, without a zone and a line end.
fn render_time(seconds: u64) -> String {
    clock::local_time(seconds).map_or_else(String::new, |at| {
        format!(
            "{:04}:{:02}:{:02} {:02}:{:02}:{:02}",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        )
    })
}

/// Reads LXC's form of a moment; `None` for anything else.
pub(super) fn parse_time(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (date, time) = text.split_once(' ')?;
    let numbers = |text: &str| -> Option<[i32; 3]> {
        let found: Option<Vec<i32>> = text.split(':').map(|part| part.parse().ok()).collect();
        found?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date)?, numbers(time)?);
    clock::seconds_of(&LocalTime { year, month, day, hour, minute, second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_lxc_does_and_read_back() {
        let text = render_time(1_795_000_000);
        assert_eq!(text.len(), "2026:11:24 11:34:37".len());
        assert_eq!(parse_time(text.as_bytes()), Some(1_795_000_000));
        for bad in ["", "2026:11:24", "2026:11 11:34:37", "x:y:z 1:2:3"] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad}");
        }
    }
}
