//! Homes: directories of containers and snapshots, on their way in and out, and the small files in them.
//!
//! ```text
//! <lxcpath>/.keiki/staging/<id>/   a home in the making, marked with its volume's id
//! <lxcpath>/.keiki/trash/<id>/     a home that was destroyed
//! ```
//!
//! A home carries the mark of the volume that it was made for; that mark tells recovery whether a home in its place is the
//! one that the intent speaks of. Files are replaced by write, fsync, rename, fsync of the directory.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use keiki_tree::{RemoveOptions, mark, remove_tree};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::volume::VolumeId;

/// The name below an lxcpath that is ours; no container may have it, because it begins with a point.
pub(super) const OURS: &str = ".keiki";

/// How the names of files begin that will replace others.
const TEMPORARY: &str = ".keiki-";

/// LXC gives a container's directory to its owner and group.
const HOME_MODE: u32 = 0o770;
/// LXC's mode of a config.
const CONFIG_MODE: u32 = 0o640;

/// Returns where a home with this id is made.
pub(super) fn staging(lxcpath: &Path, id: VolumeId) -> PathBuf {
    lxcpath.join(OURS).join("staging").join(id.to_string())
}

/// Returns where a home goes that is destroyed.
pub(super) fn trash(lxcpath: &Path, id: VolumeId) -> PathBuf {
    lxcpath.join(OURS).join("trash").join(id.to_string())
}

/// Makes a staging home; one that is there already stays.
pub(super) fn make_staging(path: &Path, id: VolumeId) -> Result<()> {
    make_parent(path)?;
    let made = DirBuilder::new().mode(HOME_MODE).create(path);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other.or_err(|| format!("cannot make the directory `{}`", path.display()))?,
    }
    write_mark(path, id)
}

/// Makes the directory that holds staging homes or trash.
pub(super) fn make_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    // Others need to pass through to a rootfs (user namespaces), not to list.
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(parent)
        .or_err(|| format!("cannot make the directory `{}`", parent.display()))
}

fn open_directory(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    File::options().read(true).custom_flags(flags).open(path)
}

/// Puts a mark on a home.
pub(super) fn write_mark(path: &Path, id: VolumeId) -> Result<()> {
    let shown = || format!("cannot mark `{}`", path.display());
    let directory = open_directory(path).or_err(shown)?;
    mark::write_mark(directory.as_fd(), &id.to_string()).or_err(shown)
}

/// Returns the mark of a home; `None` when it is absent or carries none of ours.
pub(super) fn read_mark(path: &Path) -> Result<Option<VolumeId>> {
    let shown = || format!("cannot look at `{}`", path.display());
    match open_directory(path) {
        Ok(directory) => {
            let text = mark::read_mark(directory.as_fd()).or_err(shown)?;
            Ok(text.and_then(|text| text.parse().ok()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // A file or link under the name is nobody's home.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error).or_err(shown),
    }
}

/// Returns whether anything is at `path`, without following a link.
pub(super) fn exists(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).or_err(|| format!("cannot look at `{}`", path.display())),
    }
}

/// Moves a directory to a name that must be free.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when it is taken; nothing changed then.
pub(super) fn move_to_free(from: &Path, to: &Path) -> Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => Err(Error::new(ErrorKind::AlreadyExists, format!("`{}` exists", to.display()))
            .with_hint("move it away, or choose another name; keiki does not touch what it did not make")),
        other => other.or_err(|| format!("cannot rename `{}` to `{}`", from.display(), to.display())),
    }
}

/// Waits until the entries of a directory are on the disk.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .or_err(|| format!("cannot sync the directory `{}`", path.display()))
}

/// Waits until everything on the file system of `path` is on the disk.
pub(super) fn sync_filesystem(path: &Path) -> Result<()> {
    let shown = || format!("cannot sync the file system of `{}`", path.display());
    let directory = File::open(path).or_err(shown)?;
    rustix::fs::syncfs(&directory).or_err(shown)
}

/// Writes a new file into a home that nobody sees yet.
pub(super) fn write_new(home: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = home.join(name);
    let shown = || format!("cannot write `{}`", path.display());
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(CONFIG_MODE);
    options.open(&path).and_then(|mut file| file.write_all(content)).or_err(shown)
}

/// Writes the files of a home back without making them durable.
pub(super) fn write_back_home(home: &Path) -> Result<()> {
    let shown = || format!("cannot write `{}` back", home.display());
    for path in files(home)? {
        let file = File::open(&path).or_err(shown)?;
        keiki_sys::write_back::write_back(file.as_fd()).or_err(shown)?;
    }
    Ok(())
}

/// Waits until the files of a home that nobody sees yet are on the disk, and their names.
pub(super) fn sync_home(home: &Path) -> Result<()> {
    // The names first: listing them changes the time of the last access, and the disk would be waited for because of that.
    sync_directory(home)?;
    for path in files(home)? {
        File::open(&path)
            .and_then(|file| file.sync_all())
            .or_err(|| format!("cannot sync `{}`", path.display()))?;
    }
    Ok(())
}

/// Returns the files in a home: none of what a volume keeps there in directories.
fn files(home: &Path) -> Result<Vec<PathBuf>> {
    let shown = || format!("cannot list `{}`", home.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(home).or_err(shown)? {
        let entry = entry.or_err(shown)?;
        if entry.file_type().or_err(shown)?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Replaces a file, so that at every moment either the old or the new content is there.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    copy_beside(path, path, content)
}

/// Writes a file at once or not at all, with the owner and the mode of another one.
pub(super) fn copy_beside(model: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let shown = || format!("cannot replace `{}`", path.display());
    let parent = path.parent().ok_or_else(|| Error::new(ErrorKind::Internal, shown()))?;
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(parent).or_err(shown)?;
    temporary.write_all(content).or_err(shown)?;
    keep_owner(model, temporary.as_file()).or_err(shown)?;
    temporary.as_file().sync_all().or_err(shown)?;
    temporary.persist(path).map_err(|error| error.error).or_err(shown)?;
    sync_directory(parent)
}

fn keep_owner(old: &Path, new: &File) -> std::io::Result<()> {
    match std::fs::symlink_metadata(old) {
        Ok(before) => {
            if (before.uid(), before.gid())
                != (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
            {
                fchown(new, Some(before.uid()), Some(before.gid()))?;
            }
            new.set_permissions(Permissions::from_mode(before.mode() & 0o7777))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            new.set_permissions(Permissions::from_mode(CONFIG_MODE))
        }
        Err(error) => Err(error),
    }
}

/// Reads a file; `None` when it is not there.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error).or_err(|| format!("cannot read `{}`", path.display())),
    }
}

/// Removes what a killed [`replace_file`] left in a home.
pub(super) fn sweep(home: &Path) -> Result<()> {
    let shown = || format!("cannot sweep `{}`", home.display());
    let read = match std::fs::read_dir(home) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.or_err(shown)?,
    };
    for entry in read {
        let entry = entry.or_err(shown)?;
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
        if is_ours && entry.file_type().or_err(shown)?.is_file() {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file; success when it is not there.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.or_err(|| format!("cannot remove `{}`", path.display())),
    }
}

/// Removes a directory of ours with everything in it; success when it is not there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let shown = || format!("cannot remove `{}`", path.display());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::Internal, shown()));
    };
    let parent = match File::open(parent) {
        Ok(parent) => parent,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).or_err(shown),
    };
    remove_named(&parent, name).or_err(shown)
}

fn remove_named(parent: &File, name: &OsStr) -> std::io::Result<()> {
    remove_tree(parent.as_fd(), name, &RemoveOptions::default()).map(drop).map_err(std::io::Error::from)
}

/// Removes a directory when it is empty; leaves it otherwise.
pub(super) fn remove_if_empty(path: &Path) {
    // ENOTEMPTY and ENOENT are both what is wanted here.
    let _stays = std::fs::remove_dir(path);
}

/// Returns the directories in a directory, by name; none when it is not there.
pub(super) fn entries(directory: &Path) -> Result<Vec<OsString>> {
    let shown = || format!("cannot list `{}`", directory.display());
    let read = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.or_err(shown)?,
    };
    let mut found = Vec::new();
    for entry in read {
        let entry = entry.or_err(shown)?;
        // The type comes with the entry: no further call for each of 10,000 containers.
        if entry.file_type().or_err(shown)?.is_dir() {
            found.push(entry.file_name());
        }
    }
    Ok(found)
}
