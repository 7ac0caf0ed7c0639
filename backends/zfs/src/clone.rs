//! Snapshots, and clones of heads and of snapshots.
//!
//! ```text
//! clone of a head       zfs snapshot -o keiki:clone=… HEAD@keiki-clone-<short>     once for a batch
//!                       zfs clone    -o keiki:id=…    HEAD@keiki-clone-<short> CLONE
//! clone of a snapshot   zfs clone    -o keiki:id=…    HEAD@keiki-<short> CLONE
//! ```
//!
//! A dataset takes one snapshot a command, so a batch shares one; it goes with the last of its clones. Each clone waits for
//! a transaction group of the pool; several at once wait for the same one.
//!
//! Nothing is asked first: the commands refuse a name that is taken, and only then it is looked at who has it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use keiki_core::context::Context;
use keiki_core::store::{CloneJob, Presence};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};

use crate::create::{foreign, missing, presence, taken, with_properties};
use crate::dataset::{Place, internal_name};
use crate::parse::{CLONES, MARK};
use crate::tool;

/// Clones that stand on one snapshot: their identities fit into a property (8 KiB).
const TOGETHER: usize = 128;

/// Commands that run at once.
const AT_ONCE: usize = 8;

/// Makes every target begin as `source`; see `Clones::clone_from`.
pub(crate) fn clone_all(context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
    let from = match Place::of(source) {
        Ok(place) => place,
        Err(error) => return refused(&error, jobs),
    };
    if from.snapshot.is_some() {
        return clones_of(context, &from.name(), jobs, Writes::Allowed);
    }
    jobs.chunks(TOGETHER).flat_map(|jobs| batch(context, &from, jobs)).collect()
}

/// Makes `target` a snapshot of `source`; see `Snapshots::snapshot`.
pub(crate) fn snapshot(context: &Context, source: &Volume, target: &Volume) -> Result<()> {
    let (from, to) = (Place::of(source)?, Place::of(target)?);
    if to.snapshot.is_none() {
        let job = CloneJob { target: target.clone() };
        return clones_of(context, &from.name(), &[job], Writes::Refused).into_iter().collect();
    }
    if to.dataset != from.dataset || from.snapshot.is_some() {
        let message = format!("`{}` cannot be a snapshot of `{}`", to.name(), from.name());
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let name = to.name();
    context.step("zfs.snapshot")?;
    let mark = format!("{MARK}={}", target.id);
    match tool::require(context, &["snapshot", "-o", &mark, &name], "make the snapshot", &name) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => taken(context, target, error),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing(&from).with_source(error)),
        other => other.map(drop),
    }
}

/// What may be done to a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    Allowed,
    Refused,
}

/// Makes clones of a head upon one snapshot.
fn batch(context: &Context, from: &Place, jobs: &[CloneJob]) -> Vec<Result<()>> {
    let Some(first) = jobs.first() else { return Vec::new() };
    let name = format!("{}@{}", from.dataset, internal_name(first.target.id));
    if let Err(error) = take_internal(context, from, &name, jobs) {
        return refused(&error, jobs);
    }
    let results = clones_of(context, &name, jobs, Writes::Allowed);
    if results.iter().any(Result::is_err) {
        // It goes unless something stands on it; what is left of it is found when the targets are destroyed.
        let _gone = tool::zfs(context, &["destroy", &name]);
    }
    results
}

/// Takes the snapshot that clones will stand on.
fn take_internal(context: &Context, from: &Place, name: &str, jobs: &[CloneJob]) -> Result<()> {
    let ids: Vec<String> = jobs.iter().map(|job| job.target.id.to_string()).collect();
    let made_for = format!("{CLONES}={}", ids.join(","));
    let take = || tool::require(context, &["snapshot", "-o", &made_for, name], "make the snapshot", name);
    context.step("zfs.snapshot")?;
    match take() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let sight = tool::look(context, &[name])?;
            // One that nothing stands on was left by an attempt that broke off; what it holds may be old.
            if sight.get(name).is_some_and(|object| object.clones.is_empty()) {
                tool::require(context, &["destroy", name], "destroy the snapshot", name)?;
                return take().map(drop);
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing(from).with_source(error)),
        other => other.map(drop),
    }
}

/// Makes clones of one snapshot, several at once; one result a job, in order.
fn clones_of(context: &Context, origin: &str, jobs: &[CloneJob], writes: Writes) -> Vec<Result<()>> {
    if let [job] = jobs {
        return vec![clone_one(context, origin, &job.target, writes)];
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return done };
            done.push((index, clone_one(context, origin, &job.target, writes)));
        }
    };
    let mut results: Vec<(usize, Result<()>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.len().min(AT_ONCE)).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn clone_one(context: &Context, origin: &str, target: &Volume, writes: Writes) -> Result<()> {
    let place = Place::of(target)?;
    let name = place.name();
    let mut options = with_properties(target.id);
    if writes == Writes::Refused {
        options.extend(["-o".to_owned(), "readonly=on".to_owned()]);
    }
    let front = ["clone"].into_iter().chain(options.iter().map(String::as_str));
    let arguments: Vec<&str> = front.chain([origin, name.as_str()]).collect();
    let make = || tool::require(context, &arguments, "make the clone", &name);
    context.step("zfs.clone")?;
    match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let (place, sight) = tool::look_at(context, target)?;
            match presence(&place, target, &sight) {
                Presence::Complete(id) if id == target.id => Ok(()),
                // Made and not marked before the power went; what it holds may be older than the source is now.
                Presence::Partial => {
                    tool::insist(context, &["destroy", &name], "destroy", &name)?;
                    make().map(drop)
                }
                Presence::Complete(_) | Presence::Foreign => Err(foreign(&place, &sight)),
                Presence::Absent => Err(error),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(error.with_hint(format!("`zfs list -t all {origin}` shows whether its origin is there")))
        }
        other => other.map(drop),
    }
}

fn refused(error: &Error, jobs: &[CloneJob]) -> Vec<Result<()>> {
    let copy = || {
        let copied = Error::new(error.kind(), error.full_message());
        error.hints().iter().fold(copied, |copied, hint| copied.with_hint(hint))
    };
    jobs.iter().map(|_| Err(copy())).collect()
}
