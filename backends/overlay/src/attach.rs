//! How a stack is mounted, and what must be true before.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_core::homes::Seen;
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe, Upper};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_tree::RootMetadata;
use rustix::fs::Dir;
use rustix::io::Errno;

use crate::clone::require;
use crate::layers::{Layers, owner_of};
use crate::spec::Writes;
use crate::{place, scratch};

/// Tells how to mount a volume.
///
/// To be filled, a created volume shows its base, as in LXC: what comes first is the base, not a change.
pub(crate) fn plan(volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
    let layers = Layers::of(volume)?;
    let upper = require(volume, &layers)?;
    check_lowers(&layers)?;
    if mode == AttachMode::Fill && own_base(volume, &layers)?.is_some() {
        let recipe = MountRecipe::Directory { path: layers.lowers[0].clone() };
        return Ok(MountPlan { recipe, read_only: false });
    }
    match settle(volume, &layers, &upper) {
        // Looking changes nothing: where nothing can be written, the root shows what it shows.
        Err(error) if mode == AttachMode::ReadOnly && error.kind() == ErrorKind::ReadOnly => {}
        settled => settled?,
    }
    if mode == AttachMode::ReadOnly {
        let lowers = std::iter::once(layers.upper).chain(layers.lowers).collect();
        return Ok(stacked(lowers, Upper::None, true));
    }
    let writes = match Writes::of(volume) {
        Writes::Memory => Upper::Memory { size: None },
        Writes::Disk => Upper::Directory { work: scratch::ready(&layers)?, upper: layers.upper },
    };
    Ok(stacked(layers.lowers, writes, false))
}

fn stacked(lowers: Vec<PathBuf>, upper: Upper, read_only: bool) -> MountPlan {
    MountPlan { recipe: MountRecipe::Overlay { lowers, upper, options: Vec::new() }, read_only }
}

/// Refuses a missing layer by the name of the container that it belonged to.
fn check_lowers(layers: &Layers) -> Result<()> {
    for (index, lower) in layers.lowers.iter().enumerate() {
        let shown = || format!("cannot look at `{}`", lower.display());
        match std::fs::metadata(lower) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(missing(layers, index, lower, "is not a directory")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing(layers, index, lower, "is missing"));
            }
            Err(error) => return Err(Error::io(shown(), error)),
        }
    }
    Ok(())
}

fn missing(layers: &Layers, index: usize, lower: &Path, what: &str) -> Error {
    let (count, owner) = (layers.lowers.len(), owner_of(lower));
    let whose = owner.as_ref().map_or_else(String::new, |owner| format!(" of `{owner}`"));
    let text = format!(
        "the layer `{}`{whose} {what} ({} of {count} below `{}`)",
        lower.display(),
        index + 1,
        layers.upper.display()
    );
    let error = Error::new(ErrorKind::NotFound, text);
    match owner {
        Some(owner) => {
            error.with_hint(format!("bring back the files of `{owner}`; `keiki tree` shows who needs them"))
        }
        None => error,
    }
}

/// Makes the root of a volume that was never started look like its base, which was filled after the layer was made.
///
/// Once it has been mounted for writing, the layer's root speaks for itself. The kernel leaves its traces in our scratch
/// directory then; LXC takes another one, but what it starts writes into the layer.
pub(crate) fn settle(volume: &Volume, layers: &Layers, upper: &OwnedFd) -> Result<()> {
    let Some(base) = own_base(volume, layers)? else { return Ok(()) };
    let shown = || format!("cannot prepare `{}`", layers.upper.display());
    if scratch::was_used(layers)? || !is_empty(upper).or_err(shown)? {
        return Ok(());
    }
    RootMetadata::of(base.as_fd()).or_err(shown)?.apply(upper.as_fd()).or_err(shown)
}

fn is_empty(directory: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens the base that belongs to the volume, if it has one.
fn own_base(volume: &Volume, layers: &Layers) -> Result<Option<OwnedFd>> {
    let Some(place) = place::base(layers, volume.id)? else { return Ok(None) };
    match place.look()? {
        Seen::Ours(base) => Ok(Some(base)),
        Seen::Nothing | Seen::Other(..) | Seen::Misshapen => Ok(None),
    }
}

/// Opens every directory that the volume owns: the upper layer, and the base that it brought along.
pub(crate) fn own_directories(volume: &Volume) -> Result<Vec<OwnedFd>> {
    let layers = Layers::of(volume)?;
    let mut directories = Vec::new();
    if let Some(place) = place::upper(&layers, volume.id)?
        && let Seen::Ours(upper) = place.look()?
    {
        directories.push(upper);
        directories.extend(own_base(volume, &layers)?);
    }
    Ok(directories)
}
