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
use crate::store::CloneJob;
use crate::volume::Properties;

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
        let shown = || format!("cannot restore `{}@{snapshot}`", key.name);
        match to {
            RestoreTarget::InPlace => {
                self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
                let held = self
                    .take_to_replace(context, key, "restore")
                    .map_err(|error| error.while_doing(shown()))?;
                let outcome = self.restore_in_place(context, key, snapshot);
                drop(held);
                outcome.map_err(|error| error.while_doing(shown()))
            }
            RestoreTarget::New(target) => {
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
                let mut made = self
                    .clone_all(context, &request, "restore")
                    .map_err(|error| error.while_doing(shown()))?;
                made.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a restore made nothing"))
            }
        }
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
        if head.volume.kind() != row.volume.kind() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the snapshot is a {} volume, the container a {} one",
                    row.volume.kind(),
                    head.volume.kind()
                ),
            )
            .with_hint("restore it as a new container: `--as NAME`"));
        }
        let store = self.store_of(&head.volume)?.clone();
        let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, Some(&head.volume))?;
        let origin = ancestry.content_of(&row);
        let native = capabilities.snapshot_of_snapshot && store.clones().is_some();
        let new = if native {
            ancestry.may_build_upon(origin, &capabilities)?;
            let edge = Edge::of_clone(head.volume.id, origin.volume.id, &capabilities);
            let edge = capabilities.clones_depend().then_some(edge);
            NewHead { verb: "restore", key, head: &head, origin: Some(origin), edge }
        } else {
            NewHead { verb: "restore", key, head: &head, origin: None, edge: None }
        };
        let plan = self.plan_replace(&new, &ancestry, &self.read_config(key)?)?;
        let volume = self.replace(context, plan, |built| match store.clones().filter(|_| native) {
            Some(group) => {
                let job = CloneJob { target: built.clone() };
                let results =
                    self.wait(group.clone_from(context, &origin.volume, std::slice::from_ref(&job)));
                results.into_iter().collect::<Result<Vec<()>>>().map(drop)
            }
            None => self.copy_aside(context, &origin.volume, built),
        })?;
        let cost = if native { capabilities.clone_cost } else { Cost::PerByte };
        let means = if cost == Cost::Constant { Means::Snapshot } else { Means::Copy };
        Ok(Outcome { name: key.name.to_string(), volume, means: Some(means), cost })
    }
}
