//! The life of an intent: begun, finished, or left for recovery.

use super::Engine;
use super::catalogue::journal as rows;
use super::catalogue::{Durable, StoredIntent};
use super::intent::Intent;
use super::locks::Held;
use super::request::ContainerKey;
use crate::error::{Error, Result};
use crate::volume::VolumeId;

/// An intent that this process carries out. Dropping it leaves the intent for recovery: the lock is free then, and a
/// free lock is what says that the owner is gone.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: VolumeId,
    held: Held,
}

impl Engine {
    /// Writes an intent; it is on the disk when this returns.
    pub(super) fn begin(&self, operation: &str, intent: Intent, reserve: &[ContainerKey]) -> Result<Begun> {
        let id = VolumeId::generate();
        let held = self.locks.intent(id)?;
        let owner = format!("process {}", std::process::id());
        let stored = StoredIntent { id, operation: operation.to_owned(), owner, intent };
        match self.catalogue.write(|db| rows::put_intent(db, &stored, reserve)) {
            Ok(()) => Ok(Begun { id, held }),
            Err(error) => {
                held.retire();
                Err(error)
            }
        }
    }

    /// Removes an intent together with the changes of rows that end it.
    pub(super) fn finish(
        &self,
        begun: Begun,
        changes: impl FnOnce(&rusqlite::Connection) -> Result<()>,
    ) -> Result<()> {
        self.finish_as(Durable::Now, begun, changes)
    }

    /// As [`Self::finish`]; not durable at once where recovery would only repeat it, and repeating it overwrites nothing that
    /// others may have changed since.
    pub(super) fn finish_as(
        &self,
        durable: Durable,
        begun: Begun,
        changes: impl FnOnce(&rusqlite::Connection) -> Result<()>,
    ) -> Result<()> {
        self.catalogue.write_as(durable, |db| {
            changes(db)?;
            rows::drop_intent(db, begun.id)
        })?;
        begun.held.retire();
        Ok(())
    }

    /// Undoes what was done after an error, and says so when that fails too: the intent stays for recovery then.
    pub(super) fn take_back(&self, begun: Begun, error: Error, undo: impl FnOnce() -> Result<()>) -> Error {
        match undo().and_then(|()| self.finish(begun, |_| Ok(()))) {
            Ok(()) => error,
            Err(failed) => error
                .with_context("rollback", failed.full_message())
                .with_hint("the next keiki command, or `keiki check --repair`, removes what is left"),
        }
    }

    /// Takes over the intent of a dead owner; `None` while the owner lives, or when the intent is gone by now.
    pub(super) fn take_over(&self, id: VolumeId) -> Result<Option<(Begun, StoredIntent)>> {
        let Some(held) = self.locks.try_intent(id)? else { return Ok(None) };
        match self.catalogue.intent(id)? {
            Some(stored) => Ok(Some((Begun { id, held }, stored))),
            None => {
                held.retire();
                Ok(None)
            }
        }
    }
}

/// Says of an error behind the commit point that the operation stands nevertheless.
pub(super) fn unfinished(error: Error) -> Error {
    error
        .while_doing("it is done, but not all of it is written down yet")
        .with_hint("the next keiki command goes on with it, or `keiki check --repair` does so now")
}
