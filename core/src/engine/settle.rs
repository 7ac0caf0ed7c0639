//! Names that are being made: on disk already, not in the catalogue yet.
//!
//! Between the commit point of a create, clone or rename and its last transaction a home stands in its place without rows, and looks
//! like a container of LXC. Whoever needs to know what it is waits for the other operation, or finishes it when its
//! owner is dead.

use std::thread;
use std::time::{Duration, Instant};

use super::catalogue::ContainerRow;
use super::discover::Discovered;
use super::request::ContainerKey;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};

/// What a name is.
#[derive(Debug)]
pub(super) enum Known {
    /// One of ours.
    Ours(ContainerRow),
    /// One of LXC that is not adopted yet.
    Lxc(Discovered),
    /// No container.
    Nothing,
}

impl Engine {
    /// Returns what a name is, once nobody is making it.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] naming who makes it, when patience or the deadline ends.
    pub(super) fn settled(&self, context: &Context, key: &ContainerKey) -> Result<Known> {
        let patience = Instant::now() + self.locks.patience();
        let end = context.deadline().map_or(patience, |deadline| deadline.min(patience));
        let mut nap = Duration::from_millis(1);
        loop {
            if let Some(row) = self.catalogue.container(key)? {
                return Ok(Known::Ours(row));
            }
            let Some((_, operation, owner)) = self.catalogue.reservation(key)? else {
                if let Some(known) = self.settled_on_disk(key)? {
                    return Ok(known);
                }
                continue;
            };
            // Whoever makes it may be dead: then this finishes or undoes it.
            if self.catalogue.obstacle().is_none() {
                self.recover()?;
            }
            if Instant::now() >= end {
                return Err(Error::new(ErrorKind::Busy, format!("container `{}` is being made", key.name))
                    .with_context("holder", format!("{owner}, {operation}"))
                    .with_hint("wait for it to end, then repeat the command"));
            }
            // There is nothing to wait upon: a reservation is a row.
            thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }

    /// Looks at the disk; `None` when the catalogue has learned of the name meanwhile.
    fn settled_on_disk(&self, key: &ContainerKey) -> Result<Option<Known>> {
        let found = self.discover(key)?;
        // In this order: a reservation goes in the moment in which the rows come, so one of the two is seen.
        let ours_by_now =
            self.catalogue.reservation(key)?.is_some() || self.catalogue.container(key)?.is_some();
        Ok((!ours_by_now).then(|| found.map_or(Known::Nothing, Known::Lxc)))
    }

    /// Returns whether a home without rows is one that somebody is publishing right now.
    pub(super) fn is_being_made(&self, key: &ContainerKey) -> Result<bool> {
        // A container of LXC has no mark, so this costs one look at most of them.
        Ok(home::read_mark(&key.home())?.is_some() && self.catalogue.reservation(key)?.is_some())
    }
}
