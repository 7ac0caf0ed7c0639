//! Snapshots and clones: `lvcreate -s`, one process of LVM for a batch.
//!
//! A thin snapshot is whole when it appears, so it is given its mark at creation. A plain one is made in two changes of the
//! metadata (a volume, then its tie to the origin), and a btrfs gets an identity of its own: those are marked last.

use keiki_core::context::Context;
use keiki_core::store::CloneJob;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result};
use keiki_filesystem::{FileSystemType, renew_uuid};

use crate::create::clear_way;
use crate::mark::{self, Mark};
use crate::place::Place;
use crate::pool;
use crate::report;
use crate::spec::{Spec, check_form};
use crate::tool::{self, CONFIG_WORDS, lvm, run, run_script};

/// What every clone of a batch begins as.
struct Source {
    place: Place,
    spec: Spec,
}

impl Source {
    fn of(volume: &Volume) -> Result<Self> {
        Ok(Self { place: Place::of(volume)?, spec: Spec::parse(&volume.properties)? })
    }

    /// Returns whether a clone is whole when it appears.
    fn is_whole_at_once(&self) -> bool {
        // Two btrfs of one identity cannot be mounted side by side before Linux 6.7.
        self.spec.thinpool.is_some() && self.spec.fstype != Some(FileSystemType::Btrfs)
    }

    fn arguments(&self, target: &Place, id: VolumeId) -> Vec<String> {
        let tag = if self.is_whole_at_once() { mark::complete(id) } else { mark::partial(id) };
        match &self.spec.thinpool {
            Some(_) => tool::thin_snapshot(&self.place, target, &tag),
            None => {
                let size = (self.spec.snapshot_size, self.spec.size);
                tool::plain_snapshot(&self.place, target, &tag, size)
            }
        }
    }

    /// Refuses before anything is made.
    fn admit(&self, context: &Context) -> Result<()> {
        match &self.spec.thinpool {
            Some(name) => pool::admit(context, &self.place.vg, name, self.spec.limits),
            None => Ok(()),
        }
    }
}

/// Makes every target begin as `source`; see `Clones::clone_from`.
pub(crate) fn clone_all(context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
    let begun = Source::of(source).and_then(|from| {
        jobs.iter().try_for_each(|job| check_form(&job.target.properties, source))?;
        from.admit(context)?;
        if jobs.len() > 1 {
            batch(context, &from, jobs)?;
        }
        Ok(from)
    });
    match begun {
        Ok(from) if jobs.len() > 1 => finish_batch(context, &from, jobs),
        Ok(from) => jobs.iter().map(|job| one(context, &from, &job.target)).collect(),
        Err(error) => jobs.iter().map(|_| Err(again(&error))).collect(),
    }
}

/// Makes `target` hold what `source` holds now; see `Snapshots::snapshot`.
pub(crate) fn snapshot(context: &Context, source: &Volume, target: &Volume) -> Result<()> {
    let from = Source::of(source)?;
    from.admit(context)?;
    one(context, &from, target)
}

fn one(context: &Context, from: &Source, target: &Volume) -> Result<()> {
    let place = Place::of(target)?;
    if place.vg != from.place.vg {
        let text = format!("a clone in `{}` cannot share data with `{}`", place.vg, from.place.full());
        return Err(Error::new(ErrorKind::Unsupported, text).with_hint("copy instead: `keiki clone --copy`"));
    }
    let take = || {
        context.step("lvm.snapshot")?;
        run(context, lvm("lvcreate").args(from.arguments(&place, target.id)), &place).map(drop)
    };
    match take() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !clear_way(context, target, &place)? {
                return Ok(());
            }
            take()
        }
        other => other,
    }
    .map_err(|error| of_source(error, &from.place))?;
    finish(context, from, &place, target.id)
}

/// Says which volume it was that could not be snapshotted.
fn of_source(error: Error, source: &Place) -> Error {
    match error.kind() {
        ErrorKind::Unsupported => {
            error.while_doing(format!("`{}` is a plain snapshot, and has none itself", source.full()))
        }
        ErrorKind::NotFound => report::missing(source),
        _ => error,
    }
}

fn finish(context: &Context, from: &Source, place: &Place, id: VolumeId) -> Result<()> {
    if from.is_whole_at_once() {
        return Ok(());
    }
    if from.spec.fstype == Some(FileSystemType::Btrfs) {
        context.step("lvm.identity")?;
        tool::activate(context, place, id)?;
        renew_uuid(context, FileSystemType::Btrfs, &place.device())?;
        crate::attach::let_go(context, place, id)?;
    }
    tool::finish(context, place, id)
}

/// Makes all of them in one process; what became of each is looked at afterwards.
fn batch(context: &Context, from: &Source, jobs: &[CloneJob]) -> Result<()> {
    let mut script = String::new();
    for job in jobs {
        let place = Place::of(&job.target)?;
        if place.vg == from.place.vg {
            let words = from.arguments(&place, job.target.id).join(" ");
            script.push_str(&format!("lvcreate {CONFIG_WORDS} {words}\n"));
        }
    }
    context.step("lvm.snapshot")?;
    run_script(context, script).map(drop)
}

/// Finishes what the batch made, and makes singly what it did not, so that each failure says why.
fn finish_batch(context: &Context, from: &Source, jobs: &[CloneJob]) -> Vec<Result<()>> {
    let targets: Vec<Volume> = jobs.iter().map(|job| job.target.clone()).collect();
    let found = match report::many(context, &targets) {
        Ok(found) => found,
        Err(error) => return jobs.iter().map(|_| Err(again(&error))).collect(),
    };
    let each = |target: &Volume| {
        let place = Place::of(target)?;
        match found.get(&place).map(|lv| lv.mark) {
            Some(Mark::Complete(id)) if id == target.id => Ok(()),
            Some(Mark::Partial(id)) if id == target.id && !from.is_whole_at_once() => {
                finish(context, from, &place, id)
            }
            _ => one(context, from, target),
        }
    };
    targets.iter().map(each).collect()
}

/// Says the same once more, to another job.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.full_message());
    error.hints().iter().fold(copy, Error::with_hint)
}
