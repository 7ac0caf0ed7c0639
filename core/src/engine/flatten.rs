//! `keiki flatten`: a head that needs others gets data of its own.
//!
//! A store may have a verb for it; every other store gets a new volume into which the tree is copied. Those who need the old head
//! keep it as a ghost.

use super::busy::require_unmounted;
use super::catalogue::Neighbourhood;
use super::replace::NewHead;
use super::request::{ContainerKey, Means, Outcome};
use super::{Engine, relations};
use crate::capability::Cost;
use crate::context::Context;
use crate::error::Result;

impl Engine {
    /// Makes a container depend on nobody. One that depends on nobody already stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](crate::error::ErrorKind::Busy) while it runs; [`ErrorKind::HasDependents`](crate::error::ErrorKind::HasDependents) while others need its head;
    /// [`ErrorKind::NoSpace`](crate::error::ErrorKind::NoSpace). The container is as it was then.
    pub fn flatten(&self, context: &Context, key: &ContainerKey) -> Result<Outcome> {
        let flattened = || {
            self.know(context, std::slice::from_ref(key))?;
            let _held = self.take_to_replace(context, key, "flatten")?;
            self.flatten_locked(context, key)
        };
        flattened().map_err(|error| error.while_doing(format!("cannot flatten `{}`", key.name)))
    }

    fn flatten_locked(&self, context: &Context, key: &ContainerKey) -> Result<Outcome> {
        self.require_idle(key, "flatten")?;
        require_unmounted([key.home().as_path()], "flatten")?;
        relations::refuse_counted(key, "flatten")?;
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let head = ancestry.find(key, None)?;
        let name = key.name.to_string();
        if ancestry.lineage.parent(head.volume.id).is_none() {
            return Ok(Outcome { name, volume: head.volume, means: None, cost: Cost::Constant });
        }
        ancestry.lineage.may_flatten(head.volume.id)?;
        let new = NewHead { verb: "flatten", key, head: &head, origin: None, edge: None };
        let plan = self.plan_replace(&new, &ancestry, &self.read_config(key)?)?;
        let volume = self.replace(context, plan, |built| self.copy_aside(context, &head.volume, built))?;
        Ok(Outcome { name, volume, means: Some(Means::Copy), cost: Cost::PerByte })
    }
}
