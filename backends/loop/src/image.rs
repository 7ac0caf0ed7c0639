//! Where a volume is: its image, the directory above, and the name aside.
//!
//! Everything is opened by one name below the directory above, never through a symbolic link, and only when it is a file.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::loop_device::LoopDevice;
use keiki_sys::mount::holders;
use keiki_tree::mark;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, open, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use crate::spec::is_plain;

/// A pipe in an image's place must not make us wait.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// How long the mounts of something that has just ended may take to go: the kernel takes them away in the background.
const PATIENCE: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(2);

/// The place of one volume, with the directory above it open.
#[derive(Debug)]
pub(crate) struct Place {
    /// The absolute path of the image, for messages, tools and mount plans.
    pub(crate) path: PathBuf,
    /// The directory above.
    pub(crate) parent: OwnedFd,
    /// The image's name in it.
    pub(crate) name: OsString,
    /// The name under which the image is made and removed.
    pub(crate) aside: OsString,
}

/// Whether an image is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Use {
    /// By nobody.
    Idle,
    /// This loop device is bound to it.
    Bound(PathBuf),
}

impl Use {
    /// Returns whether nobody uses it.
    pub(crate) fn is_idle(&self) -> bool {
        *self == Self::Idle
    }
}

/// What is at a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A file that carries this mark.
    Marked(OwnedFd, String),
    /// A file without a mark.
    Unmarked(OwnedFd),
    /// Something else.
    NoFile,
}

/// Returns the path that a volume's source names.
pub(crate) fn path_of(volume: &Volume) -> Result<&Path> {
    let path = Path::new(volume.source.location());
    if is_plain(path) {
        return Ok(path);
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is not an absolute path", volume.source)))
}

/// Returns whether a mark is that of `id`.
pub(crate) fn is(mark: &str, id: VolumeId) -> bool {
    mark.parse().is_ok_and(|marked: VolumeId| marked == id)
}

/// Returns the error for an image that is not there.
pub(crate) fn absent(volume: &Volume) -> Error {
    Error::new(ErrorKind::NotFound, format!("`{}` does not exist", volume.source))
}

/// Opens a file below a directory; `None` when nothing is there, an error of kind `Foreign` for what is no file.
pub(crate) fn open_file(
    parent: &OwnedFd,
    name: impl rustix::path::Arg + Copy,
) -> Result<Option<OwnedFd>, Errno> {
    // Looked at first: opening a device or a pipe may do things.
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {}
        Ok(_) => return Err(Errno::BADF),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    match openat(parent, name, OFlags::RDONLY | FILE, Mode::empty()) {
        Ok(file) if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile => Ok(Some(file)),
        Ok(_) | Err(Errno::LOOP) => Err(Errno::BADF),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

impl Place {
    /// Opens the directory above a volume; `None` when even that is not there.
    pub(crate) fn open(volume: &Volume) -> Result<Option<Self>> {
        let path = path_of(volume)?;
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` has no name", path.display())));
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = match open(above, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.or_err(|| format!("cannot open `{}`", above.display()))?,
        };
        let aside = format!(".keiki-{}", volume.id).into();
        Ok(Some(Self { path: path.to_owned(), parent, name: name.to_owned(), aside }))
    }

    /// Opens the directory above a volume that is to be made.
    pub(crate) fn for_new(volume: &Volume) -> Result<Self> {
        Self::open(volume)?.ok_or_else(|| {
            let text = format!("cannot make `{}`: the directory above does not exist", volume.source);
            Error::new(ErrorKind::NotFound, text)
        })
    }

    /// Looks at what is in place.
    pub(crate) fn look(&self) -> Result<Found> {
        let file = match open_file(&self.parent, &self.name) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Found::Nothing),
            Err(Errno::BADF) => return Ok(Found::NoFile),
            Err(errno) => return Err(errno).or_err(|| format!("cannot open `{}`", self.path.display())),
        };
        let mark = mark::read_mark(file.as_fd())
            .or_err(|| format!("cannot read the mark of `{}`", self.path.display()))?;
        Ok(match mark {
            Some(mark) => Found::Marked(file, mark),
            None => Found::Unmarked(file),
        })
    }

    /// Opens the image of a volume.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when something else is.
    pub(crate) fn open_volume(volume: &Volume) -> Result<(Self, OwnedFd)> {
        let place = Self::open(volume)?.ok_or_else(|| absent(volume))?;
        match place.look()? {
            Found::Nothing => Err(absent(volume)),
            Found::Marked(file, mark) if is(&mark, volume.id) => Ok((place, file)),
            other => Err(place.foreign(volume, &other)),
        }
    }

    /// Opens the image in place, whoever made it.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Foreign` when it is no file.
    pub(crate) fn open_any(volume: &Volume) -> Result<(Self, OwnedFd)> {
        let place = Self::open(volume)?.ok_or_else(|| absent(volume))?;
        match place.look()? {
            Found::Nothing => Err(absent(volume)),
            Found::Marked(file, _) | Found::Unmarked(file) => Ok((place, file)),
            other @ Found::NoFile => Err(place.foreign(volume, &other)),
        }
    }

    /// Returns the path of the name aside, for tools.
    pub(crate) fn aside_path(&self) -> PathBuf {
        self.path.with_file_name(&self.aside)
    }

    /// Returns whether something is aside.
    pub(crate) fn is_aside(&self) -> Result<bool> {
        match statat(&self.parent, &self.aside, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                Err(errno).or_err(|| format!("cannot look for remains of `{}`", self.path.display()))
            }
        }
    }

    /// Removes what is aside, if anything is.
    pub(crate) fn remove_aside(&self) -> Result<()> {
        match unlinkat(&self.parent, &self.aside, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other.or_err(|| format!("cannot remove `{}`", self.aside_path().display())),
        }
    }

    /// Renames what is aside into place, unless something appeared there.
    pub(crate) fn publish(&self) -> Result<()> {
        renameat_with(&self.parent, &self.aside, &self.parent, &self.name, RenameFlags::NOREPLACE)
            .or_err(|| format!("cannot put `{}` in place", self.path.display()))
    }

    /// Returns the refusal of what is in place of `volume`.
    pub(crate) fn foreign(&self, volume: &Volume, found: &Found) -> Error {
        let what = match found {
            Found::Marked(_, mark) => format!("belongs to volume {mark}, not to {}", volume.id),
            Found::Unmarked(_) => "was not made by keiki".to_owned(),
            Found::Nothing | Found::NoFile => "is not a file".to_owned(),
        };
        Error::new(ErrorKind::Foreign, format!("`{}` {what}", self.path.display()))
            .with_hint("move it away, or choose another name; keiki does not touch what it did not make")
    }

    /// Waits until nothing uses an image, and keeps it so: whoever mounts it takes the lock first, which the descriptor holds.
    ///
    /// # Errors
    /// `Busy` naming the device and, where they can be seen, the processes that use it.
    pub(crate) fn wait_idle(&self, image: &OwnedFd, verb: &str) -> Result<()> {
        flock(image, FlockOperation::LockExclusive)
            .or_err(|| format!("cannot lock `{}`", self.path.display()))?;
        match self.becomes_idle(image)? {
            Use::Idle => Ok(()),
            Use::Bound(device) => Err(self.busy(&device, verb)),
        }
    }

    /// Waits a moment for an image to be used by nobody.
    pub(crate) fn becomes_idle(&self, image: &OwnedFd) -> Result<Use> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(device) = self.device(image)? {
            let path = device.path().to_owned();
            // Held by us, it could never clear itself.
            drop(device);
            if Instant::now() >= deadline {
                return Ok(Use::Bound(path));
            }
            thread::sleep(NAP);
        }
        Ok(Use::Idle)
    }

    /// Returns the loop device of an image, if it has one.
    pub(crate) fn device(&self, image: &OwnedFd) -> Result<Option<LoopDevice>> {
        LoopDevice::of_file(image.as_fd())
            .or_err(|| format!("cannot look for the loop device of `{}`", self.path.display()))
    }

    /// Returns the refusal of an image that is in use.
    pub(crate) fn busy(&self, device: &Path, verb: &str) -> Error {
        let text = format!("cannot {verb} `{}`: `{}` is bound to it", self.path.display(), device.display());
        let number = std::fs::metadata(device).map(|found| std::os::unix::fs::MetadataExt::rdev(&found));
        let found = number.map(holders::holders_of_device).unwrap_or_default();
        let error = found.iter().fold(Error::new(ErrorKind::Busy, text), |error, holder| {
            error.with_context("holder", holder.to_string())
        });
        error.with_hint(if found.is_empty() {
            format!("`losetup -d {}`, or stop what uses it, then repeat the command", device.display())
        } else {
            "stop the container or unmount it, then repeat the command".to_owned()
        })
    }
}
