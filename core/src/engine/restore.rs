//! `keiki snapshot restore`: a clone of the snapshot is made aside and takes the head's place when it is durable. A restore that
//! fails leaves the container as it was.

use super::busy::require_unmounted;
use super::catalogue::Neighbourhood;
use super::locks::Hold;
use super::replace::NewHead;
use super::request::{
    CloneContainer, CloneMode, ContainerKey, Identity, Means, Outcome, Payload, RestoreTarget,
};
use super::{Engine, relations};
use crate::capability::{Capabilities, Cost};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Edge;
use crate::name::SnapshotName;
use crate::registry::StoreChoice;
use crate::store::CloneJob;
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
        let shown = || format!("cannot restore `{}@{snapshot}`", key.name);
        match to {
            RestoreTarget::InPlace => {
                self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
                let held = self.locks.take(context, &[(key, Hold::Exclusive)], "restore")?;
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

    fn restore_in_place(
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
        ancestry.lineage.may_deepen(origin.volume.id, capabilities.max_depth)?;
        let edge = capabilities
            .clones_depend()
            .then(|| Edge::of_clone(head.volume.id, origin.volume.id, &capabilities));
        let new = NewHead { verb: "restore", key, head: &head, origin: Some(origin), edge };
        let plan = self.plan_replace(&new, &ancestry, &self.read_config(key)?)?;
        let volume = self.replace(context, plan, |built| {
            let group = store.clones().ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, format!("the {} store has no clones", store.kind()))
            })?;
            let job = CloneJob { target: built.clone() };
            let results = self.wait(group.clone_from(context, &origin.volume, std::slice::from_ref(&job)));
            results.into_iter().collect::<Result<Vec<()>>>().map(drop)
        })?;
        Ok(outcome(key, volume, &capabilities))
    }
}

fn outcome(key: &ContainerKey, volume: Volume, capabilities: &Capabilities) -> Outcome {
    let means = if capabilities.clone_cost == Cost::Constant { Means::Snapshot } else { Means::Copy };
    Outcome { name: key.name.to_string(), volume, means: Some(means), cost: capabilities.clone_cost }
}
