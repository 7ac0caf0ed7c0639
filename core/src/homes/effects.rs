//! What changes at a [`Place`]: an object is made aside, marked and renamed into place, swapped, and removed the other way round.
//!
//! What is in place is therefore complete or foreign, and what is aside is ours. A crash at any moment leaves something that
//! [`Place::presence`] names and [`Place::destroy`] clears.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use keiki_sys::mount::holders::holders_of;
use keiki_tree::{RemoveOptions, mark, remove_tree};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fsync, mkdirat, openat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::place::{Attempt, Place, Seen, Shape, absent};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::store::Destroyed;
use crate::volume::VolumeId;

/// The steps of making an object, as the observer hears them.
#[derive(Debug)]
pub struct MakeSteps {
    /// Before it is made aside.
    pub make: &'static str,
    /// Before it is marked.
    pub mark: &'static str,
    /// Before it is renamed into place.
    pub publish: &'static str,
}

/// The steps of removing an object, as the observer hears them.
#[derive(Debug)]
pub struct DestroySteps {
    /// Before it is renamed aside.
    pub aside: &'static str,
    /// Before it is removed.
    pub remove: &'static str,
}

impl Place {
    /// Makes an object whose content comes from `fill`, which gets it empty; success without doing anything when it is there.
    ///
    /// # Errors
    /// `Foreign` when something else is there, what `fill` returns, and what the kernel says.
    pub fn make(
        &self,
        context: &Context,
        steps: &MakeSteps,
        fill: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<()> {
        if self.is_complete()? {
            return Ok(());
        }
        context.step(steps.make)?;
        let (object, _) = self.fresh_aside(context)?;
        fill(&object)?;
        context.step(steps.mark)?;
        self.mark(&object)?;
        context.step(steps.publish)?;
        self.publish()
    }

    /// Makes an empty object aside, for us alone, in place of what an earlier attempt left there: that may be older than its source.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fresh_aside(&self, context: &Context) -> Result<(OwnedFd, Attempt)> {
        let shown = || format!("cannot make a {} for `{}`", self.shape, self.path().display());
        match self.make_aside() {
            Err(Errno::EXIST) => {
                self.remove_aside(context)?;
                Ok((self.make_aside().or_err(shown)?, Attempt::Repeated))
            }
            made => Ok((made.or_err(shown)?, Attempt::First)),
        }
    }

    fn make_aside(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self.shape {
            Shape::Directory => {
                mkdirat(self.parent(), &self.aside, Mode::RWXU)?;
                openat(self.parent(), &self.aside, flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            }
            Shape::File => {
                let flags = flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
                openat(self.parent(), &self.aside, flags, Mode::RUSR | Mode::WUSR)
            }
        }
    }

    /// Writes the volume's mark on an open object.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn mark(&self, object: &OwnedFd) -> Result<()> {
        mark::write_mark(object.as_fd(), &self.id.to_string()).or_err(|| {
            format!("cannot mark `{}`: its file system must keep extended attributes", self.path().display())
        })
    }

    /// Marks the object in place, which is not ours yet; see `BackingStore::adopt`.
    ///
    /// # Errors
    /// As [`Place::adoptable`] and [`Place::mark`].
    pub fn adopt(&self, context: &Context, step: &str, copied: Option<VolumeId>) -> Result<()> {
        let Some(object) = self.adoptable(copied)? else { return Ok(()) };
        context.step(step)?;
        self.mark(&object)
    }

    /// Renames what is aside into place, unless something appeared there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn publish(&self) -> Result<()> {
        renameat_with(self.parent(), &self.aside, self.parent(), self.name(), RenameFlags::NOREPLACE)
            .or_err(|| format!("cannot put `{}` in place", self.path().display()))
    }

    /// Renames what is in place aside, so that the name is free and the data out of reach.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn put_aside(&self) -> Result<()> {
        renameat_with(self.parent(), self.name(), self.parent(), &self.aside, RenameFlags::NOREPLACE)
            .or_err(|| format!("cannot take `{}` out of its place", self.path().display()))
    }

    /// Removes what is aside, whatever it holds; success when there is nothing.
    ///
    /// # Errors
    /// `Busy` naming the holder; what the kernel says.
    pub fn remove_aside(&self, context: &Context) -> Result<()> {
        self.remove(context, &self.aside)
    }

    /// Removes `name` beside the object; success when there is nothing.
    ///
    /// # Errors
    /// `Busy` naming the holder; what the kernel says.
    pub fn remove(&self, context: &Context, name: &OsStr) -> Result<()> {
        let flags = match self.shape {
            Shape::Directory => AtFlags::REMOVEDIR,
            Shape::File => AtFlags::empty(),
        };
        // Most often a directory is empty, and then no worker is needed.
        if let Ok(()) | Err(Errno::NOENT) = unlinkat(self.parent(), name, flags) {
            return Ok(());
        }
        let progress =
            |done: keiki_tree::Progress| context.progress(Progress { entries: done.entries, bytes: 0 });
        let options = RemoveOptions { progress: Some(&progress), ..RemoveOptions::default() };
        let removed = remove_tree(self.parent().as_fd(), name, &options);
        removed
            .map(drop)
            .or_err(|| format!("cannot remove what was `{}`", self.path().display()))
            .map_err(|error| self.name_holders(error, name))
    }

    fn name_holders(&self, error: Error, name: &OsStr) -> Error {
        if error.kind() != ErrorKind::Busy {
            return error;
        }
        let holders = holders_of(&self.path().with_file_name(name));
        holders.iter().fold(error, |error, holder| error.with_context("holder", holder.to_string()))
    }

    /// Removes a volume that has one object, in place or aside; see `BackingStore::destroy`.
    ///
    /// `release` gets the object in place before anything happens to it, and may refuse.
    ///
    /// # Errors
    /// `Foreign` when something else is in place and nothing aside; what `release` returns; as [`Self::remove`].
    pub fn destroy(
        &self,
        context: &Context,
        steps: &DestroySteps,
        release: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<Destroyed> {
        let in_place = match self.look()? {
            Seen::Ours(object) => Some(object),
            Seen::Nothing => None,
            // Remains of ours beside something foreign still go: an interrupted `create` that lost the race.
            other if !self.is_aside()? => return Err(self.foreign(&other)),
            Seen::Other(..) | Seen::Misshapen => None,
        };
        if in_place.is_none() && !self.is_aside()? {
            return Ok(Destroyed::Absent);
        }
        if let Some(object) = in_place {
            release(&object)?;
            // Only an interrupted attempt to make the same volume can have left something there.
            self.remove_aside(context)?;
            context.step(steps.aside)?;
            self.put_aside()?;
            // A crash must never bring the name back with half of its data.
            fsync(self.parent())
                .or_err(|| format!("cannot take `{}` out of its place", self.path().display()))?;
        }
        context.step(steps.remove)?;
        self.remove_aside(context)?;
        Ok(Destroyed::Removed)
    }

    /// Makes each of two volumes take the other's place; success when they have.
    ///
    /// # Errors
    /// `NotFound` when one is not there, `Foreign` when something else is.
    pub fn exchange(context: &Context, step: &str, a: &Self, b: &Self) -> Result<()> {
        let (at_a, at_b) = (a.look()?, b.look()?);
        if a.holds(&at_a, b.id) && b.holds(&at_b, a.id) {
            return Ok(());
        }
        let both = [(a, at_a), (b, at_b)];
        if let Some((place, _)) = both.iter().find(|(_, seen)| matches!(seen, Seen::Nothing)) {
            return Err(absent(place.path()));
        }
        if let Some((place, seen)) = both.iter().find(|(_, seen)| !matches!(seen, Seen::Ours(_))) {
            return Err(place.foreign(seen));
        }
        context.step(step)?;
        a.swap(b)
    }

    /// Swaps what is in two places: one rename, so that nobody ever sees neither.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn swap(&self, other: &Self) -> Result<()> {
        renameat_with(self.parent(), self.name(), other.parent(), other.name(), RenameFlags::EXCHANGE)
            .or_err(|| format!("cannot swap `{}` and `{}`", self.path().display(), other.path().display()))
    }
}
