//! Finding our volumes in an lxcpath, by their marks.
//!
//! A volume's place names the layers below it, which its upper layer does not tell. They are therefore noted on the
//! scratch directory when a volume is made: `./…` for what is in the same home (which may be renamed), else absolute.
//! The configuration of the container stays the truth; the note serves whoever must find volumes without it.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_core::homes::{self, Shape, as_path, directories, enter, marked};
use keiki_core::store::{Found, Pool};
use keiki_core::volume::{StoreKind, VolumeSource};
use keiki_core::{Result, ResultExt};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;

use crate::layers::{Layers, after_rename};
use crate::scratch;
use crate::spec::KIND;

/// The note, with the name for those who may not write trusted attributes behind it.
const NOTES: [&CStr; 2] = [c"trusted.keiki.lowers", c"user.keiki.lowers"];
/// Longer notes do not exist: 64 layers of 255 bytes.
const NOTE_MAX: usize = 16 * 1024;
/// What every file system takes; ext4 has one block for all attributes of a directory.
const NOTE_SURE: usize = 1024;

/// Notes on the scratch directory which layers the volume stands upon.
pub(crate) fn record(work: &OwnedFd, layers: &Layers) -> Result<()> {
    let home = layers.home();
    let relative = |lower: &PathBuf| match lower.strip_prefix(home) {
        Ok(rest) => format!("./{}", rest.display()),
        Err(_) => lower.display().to_string(),
    };
    let note = layers.lowers.iter().map(relative).collect::<Vec<_>>().join(":");
    let write = |name| fsetxattr(work, name, note.as_bytes(), XattrFlags::empty());
    let written = match write(NOTES[0]) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => write(NOTES[1]),
        other => other,
    };
    match written {
        // The file system has no room for so many layers; the volume is found by its configuration only.
        Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) if note.len() > NOTE_SURE => Ok(()),
        other => other.or_err(|| format!("cannot note the layers of `{}`", layers.upper.display())),
    }
}

/// Returns every marked upper layer of containers and snapshots below the pool.
pub(crate) fn list(pool: &Pool) -> Result<Vec<Found>> {
    homes::list(&pool.path, |home, path| {
        look_into_home(home, path).or_err(|| format!("cannot read `{}`", path.display()))
    })
}

fn look_into_home(home: &OwnedFd, path: &Path) -> Result<Vec<Found>, Errno> {
    let mut found = Vec::from_iter(volume_at(home, path, path, c"delta0")?);
    let Some(overlay) = enter(home, c"overlay")? else { return Ok(found) };
    for name in directories(&overlay)? {
        if name.to_bytes().starts_with(b"delta") {
            found.extend(volume_at(&overlay, &path.join("overlay"), path, &name)?);
        }
    }
    Ok(found)
}

/// Returns the volume whose upper layer is `name`, if it is one of ours.
fn volume_at(above: &OwnedFd, path: &Path, home: &Path, name: &CStr) -> Result<Option<Found>, Errno> {
    let Some(id) = marked(above, name, Shape::Directory)? else { return Ok(None) };
    let upper = path.join(as_path(name));
    // Only to learn the name of the scratch directory; the lower does not matter for that.
    let Ok(layers) = Layers::new(vec![home.join("rootfs")], upper.clone()) else { return Ok(None) };
    let work = CString::new(scratch::name(&layers).as_bytes()).map_err(|_| Errno::INVAL)?;
    let Some(note) = note_on(above, &work)? else { return Ok(None) };
    let lowers = note.split(':').map(|lower| match lower.strip_prefix("./") {
        Some(rest) => home.join(rest),
        None => where_it_is(PathBuf::from(lower), home),
    });
    let source = Layers::new(lowers.collect(), upper)
        .and_then(|layers| VolumeSource::new(StoreKind::new(KIND), layers.to_string()));
    // A path that no configuration can name is no place of ours.
    Ok(source.ok().map(|source| Found { id, source }))
}

/// A container with snapshots may have been renamed since; its snapshots note their layers absolutely.
fn where_it_is(noted: PathBuf, home: &Path) -> PathBuf {
    if noted.exists() {
        return noted;
    }
    after_rename(&noted, home).filter(|moved| moved.is_dir()).unwrap_or(noted)
}

fn note_on(above: &OwnedFd, work: &CStr) -> Result<Option<String>, Errno> {
    let Some(work) = enter(above, work)? else { return Ok(None) };
    let mut value = vec![0_u8; NOTE_MAX];
    for name in NOTES {
        match fgetxattr(&work, name, &mut value[..]) {
            Ok(length) => return Ok(String::from_utf8(value[..length].to_vec()).ok()),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}
