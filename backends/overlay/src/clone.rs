//! Clones: an empty upper layer upon everything that the origin shows. No data is read or moved.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::homes::{DIRECTORY, absent};
use keiki_core::store::CloneJob;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::{RootMetadata, mark};
use rustix::fs::{Mode, open};
use rustix::io::Errno;

use crate::attach::settle;
use crate::create::{Steps, make_upper};
use crate::layers::Layers;
use crate::place;
use crate::spec::KIND;

const CLONE: Steps =
    Steps { base: "clone.base", mkdir: "clone.mkdir", mark: "clone.mark", publish: "clone.publish" };

/// What every job of a batch shares.
struct Origin {
    layers: Vec<std::path::PathBuf>,
    root: RootMetadata,
}

/// Makes every target an empty layer upon `source`; see `Clones::clone_from`.
pub(crate) fn clone_all(context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>> {
    let origin = match look_at(source) {
        Ok(origin) => origin,
        Err(error) => {
            let again = || hints(&error, Error::new(error.kind(), error.full_message()));
            return jobs.iter().map(|_| Err(again())).collect();
        }
    };
    jobs.iter().map(|job| one(context, source, &origin, &job.target)).collect()
}

/// An error is reported once a job, and cannot be copied.
fn hints(from: &Error, to: Error) -> Error {
    from.hints().iter().fold(to, Error::with_hint)
}

fn look_at(source: &Volume) -> Result<Origin> {
    let layers = Layers::upon(source)?;
    let top = if source.kind().as_str() == KIND { open_upper(source)? } else { open_directory(source)? };
    let root =
        RootMetadata::of(top.as_fd()).or_err(|| format!("cannot read the root of `{}`", source.source))?;
    Ok(Origin { layers, root })
}

fn one(context: &Context, source: &Volume, origin: &Origin, target: &Volume) -> Result<()> {
    let layers = Layers::of(target)?;
    if layers.lowers != origin.layers {
        let text = format!("`{}` was not placed upon `{}`", target.source, source.source);
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    make_upper(context, target.id, &layers, &origin.root, &CLONE)
}

/// Opens the upper layer of a volume of ours, as it shows when it is mounted.
pub(crate) fn open_upper(volume: &Volume) -> Result<OwnedFd> {
    let layers = Layers::of(volume)?;
    let upper = require(volume, &layers)?;
    settle(volume, &layers, &upper)?;
    Ok(upper)
}

/// Opens the upper layer of a volume, which must be complete.
pub(crate) fn require(volume: &Volume, layers: &Layers) -> Result<OwnedFd> {
    place::upper(layers, volume.id)?.ok_or_else(|| absent(&layers.upper))?.open_ours()
}

/// Opens the directory of another store's volume, whose mark begins with the volume's id.
fn open_directory(volume: &Volume) -> Result<OwnedFd> {
    let path = Path::new(volume.source.location());
    let directory = match open(path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Err(absent(path)),
        other => other.or_err(|| format!("cannot open `{}`", path.display()))?,
    };
    let mark = mark::read_mark(directory.as_fd())
        .or_err(|| format!("cannot read the mark of `{}`", path.display()))?;
    if mark.is_some_and(|mark| mark.starts_with(&volume.id.to_string())) {
        return Ok(directory);
    }
    Err(Error::new(
        ErrorKind::Foreign,
        format!("`{}` does not belong to volume {}", path.display(), volume.id),
    ))
}
