//! `keiki snapshot restore`: a clone of the snapshot is made aside and takes the head's place when it is durable; where the store
//! cannot clone a snapshot, a copy. A restore that fails leaves the container as it was.

use super::busy::require_unmounted;
use super::catalogue::Neighbourhood;
use super::replace::NewHead;
use super::request::{
    CloneContainer, CloneMode, ContainerKey, Identity, Means, Outcome, Payload, RestoreTarget,
};
use super::{Engine, relations};
use crate::capability::Cost;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Edge;
use crate::name::SnapshotName;
use crate::registry::StoreChoice;
use crate::volume::{Properties, Volume};

impl Engine {
    /// Restores a snapshot, in place or as a new container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Busy`] while the container runs; [`ErrorKind::HasDependents`] while
    /// others need the present head. The container is as it was then.
    pub fn restore(
        &self,
        context: &Context,
        key: &ContainerKey,
        snapshot: &SnapshotName,
        to: &RestoreTarget,
    ) -> Result<Outcome> {
        let restored = || match to {
            RestoreTarget::InPlace => {
                self.know(context, std::slice::from_ref(key))?;
                let _held = self.take_to_replace(context, key, "restore")?;
                self.restore_in_place(context, key, snapshot)
            }
            RestoreTarget::New(target) => self.restore_as(context, key, snapshot, target),
        };
        restored().map_err(|error| error.while_doing(format!("cannot restore `{}@{snapshot}`", key.name)))
    }

    fn restore_as(
        &self,
        context: &Context,
        key: &ContainerKey,
        snapshot: &SnapshotName,
        target: &ContainerKey,
    ) -> Result<Outcome> {
        let request = CloneContainer {
            source: key.clone(),
            snapshot: Some(snapshot.clone()),
            targets: vec![target.clone()],
            mode: CloneMode::SnapshotOrCopy,
            store: StoreChoice::Default,
            options: Properties::new(),
            identity: Identity::Fresh,
            payload: Payload::Persistent,
        };
        let mut made = self.clone_all(context, &request, "restore")?;
        made.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a restore made nothing"))
    }

    pub(super) fn restore_in_place(
        &self,
        context: &Context,
        key: &ContainerKey,
        snapshot: &SnapshotName,
    ) -> Result<Outcome> {
        self.require_idle(key, "restore")?;
        require_unmounted([key.home().as_path()], "restore")?;
        relations::refuse_counted(key, "restore")?;
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let head = ancestry.find(key, None)?;
        let row = ancestry.find(key, Some(snapshot))?;
        ancestry.lineage.may_restore_in_place(head.volume.id)?;
        require_same_store(&head.volume, &row.volume)?;
        let store = self.store_of(&head.volume)?.clone();
        let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, Some(&head.volume))?;
        let origin = ancestry.content_of(&row);
        let native = store.clones().filter(|_| capabilities.snapshot_of_snapshot);
        let mut new = NewHead { verb: "restore", key, head: &head, origin: None, edge: None };
        if native.is_some() {
            ancestry.may_build_upon(origin, &capabilities)?;
            let edge = Edge::of_clone(head.volume.id, origin.volume.id, &capabilities);
            new = NewHead { origin: Some(origin), edge: capabilities.clones_depend().then_some(edge), ..new };
        }
        let plan = self.plan_replace(&new, &ancestry, &self.read_config(key)?)?;
        let volume = self.replace(context, plan, |built| match native {
            Some(group) => self.clone_natively(context, group, &origin.volume, [built.clone()]),
            None => self.copy_aside(context, &origin.volume, built),
        })?;
        let cost = if native.is_some() { capabilities.clone_cost } else { Cost::PerByte };
        let means = if cost == Cost::Constant { Means::Snapshot } else { Means::Copy };
        Ok(Outcome { name: key.name.to_string(), volume, means: Some(means), cost })
    }
}

/// Refuses a snapshot that was taken when the container was in another store.
fn require_same_store(head: &Volume, snapshot: &Volume) -> Result<()> {
    let (store, other) = (head.kind(), snapshot.kind());
    if store == other {
        return Ok(());
    }
    let text = format!("the snapshot is a {other} volume, the container a {store} one");
    Err(Error::new(ErrorKind::Unsupported, text).with_hint("restore it as a new container: `--as NAME`"))
}
