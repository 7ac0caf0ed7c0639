//! Recovery: what dead processes left is finished or undone, by looking at the disk.
//!
//! Run when an engine is opened and before every operation. An intent whose lock is taken belongs to a living process and is left
//! alone. Everything here may be interrupted and repeated; a second recovery finds nothing to do.

use super::catalogue::StoredIntent;
use super::intent::{Intent, Touched};
use super::journal::Begun;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::volume::VolumeId;

impl Engine {
    /// Resolves the intents of dead owners. Those that cannot be resolved now stay.
    ///
    /// # Errors
    /// When the journal itself cannot be read.
    pub(super) fn recover(&self) -> Result<()> {
        for id in self.catalogue.intent_ids()? {
            // One that fails must not keep the others, nor the caller, from going on: it stays, and `check` shows why.
            let _unresolved = self.resolve(id);
        }
        Ok(())
    }

    /// Finishes what can be finished now and returns how many intents were resolved.
    ///
    /// # Errors
    /// The first reason why one could not be resolved, after all were tried.
    pub fn gc(&self, _context: &Context) -> Result<usize> {
        let mut resolved = 0;
        let mut first: Option<Error> = None;
        for id in self.catalogue.intent_ids()? {
            match self.resolve(id) {
                Ok(Resolved::Done) => resolved += 1,
                Ok(Resolved::OwnerLives) => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(resolved), Err)
    }

    pub(super) fn resolve(&self, id: VolumeId) -> Result<Resolved> {
        let Some((begun, stored)) = self.take_over(id)? else { return Ok(Resolved::OwnerLives) };
        let StoredIntent { operation, owner, .. } = &stored;
        let shown = format!("cannot finish or undo a {operation} that {owner} left");
        self.carry_on(begun, &stored.intent).map_err(|error| error.while_doing(shown))?;
        self.sweep(&stored.intent)?;
        Ok(Resolved::Done)
    }

    /// Removes files that were to replace others when their writer died.
    fn sweep(&self, intent: &Intent) -> Result<()> {
        for key in Touched::by(intent).keys {
            let _held = self.locks.relations(&Context::default(), &key)?;
            home::sweep(&key.home())?;
        }
        Ok(())
    }

    fn carry_on(&self, begun: Begun, intent: &Intent) -> Result<()> {
        let context = Context::default();
        match intent {
            Intent::Make(make) => self.recover_make(&context, begun, make),
            Intent::Replace(replace) => self.recover_replace(&context, begun, replace),
            Intent::Destroy(destroy) => self.recover_destroy(&context, begun, destroy),
            Intent::Rename(rename) => self.recover_rename(&context, begun, rename),
            Intent::Promote(promotion) => self.recover_promote(&context, begun, promotion),
            Intent::Resize(resizing) => self.recover_resize(&context, begun, resizing),
        }
    }
}

/// What became of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolved {
    /// It is finished or undone.
    Done,
    /// It is somebody else's business.
    OwnerLives,
}
