//! Whether volumes with a name space of their own can be destroyed, found out while there is a way back.
//!
//! What lies below a home is out of reach once the home is in the trash, and a mount in it is seen beforehand. A logical volume
//! or a dataset is neither: its tool may be absent, its group away, its device held open. So its store is asked first, and
//! the first of them goes before the deletion is recorded: an error that leaves it whole takes the deletion back.

use std::collections::BTreeSet;

use super::Engine;
use super::intent::Destroy;
use crate::capability::Residence;
use crate::context::Context;
use crate::error::{ErrorKind, Result};
use crate::store::{Pool, Presence};
use crate::volume::Volume;

impl Engine {
    /// Refuses while a store cannot even be asked about what is to go; one question a store.
    ///
    /// # Errors
    /// What the store says: [`ErrorKind::Unavailable`] without its tool or pool.
    pub(super) fn require_within_reach(&self, destroy: &Destroy) -> Result<()> {
        let mut asked = BTreeSet::new();
        for volume in self.named(destroy)? {
            if asked.insert(volume.kind().clone()) {
                self.wait(self.store_of(volume)?.probe(volume))?;
            }
        }
        Ok(())
    }

    /// Destroys the first volume that has a name of its own, if there is one.
    ///
    /// # Errors
    /// What the store says, if the volume is still whole: nothing is lost then, and the deletion can be taken back. Any
    /// other error is left for the reclaiming, which meets it again.
    pub(super) fn destroy_first(&self, context: &Context, destroy: &Destroy) -> Result<()> {
        let Some(volume) = self.named(destroy)?.first().copied() else { return Ok(()) };
        let store = self.store_of(volume)?;
        let Err(error) = self.wait(store.destroy(context, volume)) else { return Ok(()) };
        let whole = match self.wait(store.probe(volume)) {
            Ok(presence) => presence == Presence::Complete(volume.id),
            Err(_) => error.kind() == ErrorKind::Unavailable,
        };
        if whole { Err(error) } else { Ok(()) }
    }

    fn named<'a>(&self, destroy: &'a Destroy) -> Result<Vec<&'a Volume>> {
        let mut named = Vec::new();
        for volume in &destroy.volumes {
            let Some(near) = destroy.homes.first().and_then(|leaving| leaving.home.parent()) else {
                continue;
            };
            let pool = Pool { path: near.to_owned(), options: volume.properties.clone() };
            if self.store_of(volume)?.capabilities(&pool)?.residence == Residence::Named {
                named.push(volume);
            }
        }
        Ok(named)
    }
}
