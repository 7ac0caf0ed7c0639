//! Clones and snapshots: a writable snapshot of the source's subvolume, marked as its own.
//!
//! Each snapshot ioctl waits for a commit of the file system, and two in one directory wait for each other; taken from
//! several threads into distinct directories they share commits. A batch therefore runs on a few threads.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use keiki_core::context::Context;
use keiki_core::homes::Place;
use keiki_core::store::{CloneJob, Presence};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs;
use rustix::fs::fsync;

use crate::create::explain;
use crate::nested;
use crate::subvolume::{self, not_ours, opened, presence};

/// When a clone or snapshot is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// By now.
    OnDisk,
    /// With the next commit.
    WithCommit,
}

/// Snapshots that wait for one commit together; more gains nothing (measured: 64 threads are as fast as 128).
const TOGETHER: usize = 64;

/// Makes every target begin as `source`; see `Clones::clone_from`.
pub(crate) fn clone_all(context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<Settled>> {
    let open = match open_source(source) {
        Ok(open) => open,
        Err(error) => {
            let refused = || Error::new(error.kind(), error.full_message());
            return jobs.iter().map(|_| Err(refused())).collect();
        }
    };
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((index, job)) = take(&next, jobs) {
            let end = if jobs.len() == 1 { End::Synced } else { End::Open };
            done.push((index, one(context, &open, &job.target, end)));
        }
        done
    };
    let mut results: Vec<(usize, Result<Settled>)> = if jobs.len() == 1 {
        worker()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs.len().min(TOGETHER)).map(|_| scope.spawn(worker)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    };
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a>(next: &AtomicUsize, jobs: &'a [CloneJob]) -> Option<(usize, &'a CloneJob)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}

/// Makes `target` a read-only snapshot of `source`; see `Snapshots::snapshot`.
pub(crate) fn snapshot(context: &Context, source: &Volume, target: &Volume) -> Result<Settled> {
    one(context, &open_source(source)?, target, End::Closed)
}

/// What follows the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing: one commit is waited for when all of a batch are made.
    Open,
    /// The mark is waited for. The kernel committed everything else when it took the snapshot, and writing one attribute to its
    /// log is cheaper than another commit.
    Synced,
    /// It is closed for writing, which waits for a commit.
    Closed,
}

fn open_source(source: &Volume) -> Result<OwnedFd> {
    let place = subvolume::require(source)?;
    let fd = opened(&place)?;
    if subvolume::is_subvolume(&fd)? {
        return Ok(fd);
    }
    Err(Error::new(ErrorKind::Unsupported, format!("`{}` is not a subvolume", place.path().display()))
        .with_hint("copy instead: `keiki clone --copy`"))
}

fn one(context: &Context, source: &OwnedFd, target: &Volume, end: End) -> Result<Settled> {
    let place = subvolume::require(target)?;
    let found = presence(&place)?;
    let made = match found {
        // Only its closing may be left to do.
        Presence::Complete(id) if id == target.id => opened(&place)?,
        Presence::Absent => take_snapshot(context, source, &place)?,
        // Taken and not marked before a crash; what it holds may be older than the source is now, so it is taken anew.
        Presence::Partial => {
            crate::destroy::remove(&place)?;
            take_snapshot(context, source, &place)?
        }
        Presence::Complete(_) | Presence::Foreign => return Err(not_ours(&place)),
    };
    context.step("btrfs.mark")?;
    // Over the source's mark, which the snapshot inherited: at no moment is it without one, or it would pass for foreign.
    subvolume::write_mark(&made, target.id)?;
    match end {
        End::Open => return Ok(Settled::WithCommit),
        End::Synced => {
            fsync(&made).or_err(|| format!("cannot write the mark of `{}`", place.path().display()))?;
        }
        End::Closed => nested::close(&made, place.path())?,
    }
    // What somebody else took may wait for its commit still.
    Ok(if found == Presence::Absent { Settled::OnDisk } else { Settled::WithCommit })
}

fn take_snapshot(context: &Context, source: &OwnedFd, place: &Place) -> Result<OwnedFd> {
    context.step("btrfs.snapshot")?;
    btrfs::snapshot_subvolume(source.as_fd(), place.parent().as_fd(), place.name())
        .map_err(|error| explain(error, place, "make"))?;
    let made = opened(place)?;
    nested::copy(context, source, &made, place.path())?;
    Ok(made)
}
