//! A file system in an image file: a loop device is bound and mounted under one lock.
//!
//! Two devices on one file would be two caches that know nothing of each other, and two writers would destroy it. So the image is
//! locked (`flock`, only while this runs), and a device that is bound to it already, by us, by LXC or by `mount -o loop`, is mounted
//! again: the kernel then shows the same file system twice.
//!
//! The device clears itself with its last mount. Nobody but the mount holds it when this returns.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use keiki_sys::loop_device::{Access, LoopDevice};
use keiki_sys::mount;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::Errno;

use super::{explain, mount_device};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Mounts the file system in `image`.
///
/// A mount for reading beside one for writing shows what is written: the two are one file system.
pub(super) fn mount_image(
    fstype: &str,
    image: &Path,
    options: &[String],
    read_only: bool,
) -> Result<OwnedFd> {
    let shown = || format!("cannot mount `{}` as {fstype}", image.display());
    let locked = open_locked(image).map_err(|error| error.while_doing(shown()))?;
    let device = device_of(&locked).map_err(|error| error.while_doing(shown()))?;
    let node = device.path().to_string_lossy().into_owned();
    mount_shared(fstype, &node, options, read_only).map_err(|error| explain(error, shown()))
}

/// Mounts a device beside whoever has it mounted already, for reading or for writing: the kernel wants all of them alike.
fn mount_shared(fstype: &str, node: &str, options: &[String], read_only: bool) -> mount::Result<OwnedFd> {
    let reading: &[&str] = &["ro"];
    let (wanted, other) = if read_only { (reading, &[][..]) } else { (&[][..], reading) };
    match mount_device(fstype, node, options, wanted) {
        Err(error) if error.errno == Errno::BUSY => {
            let mounted = mount_device(fstype, node, options, other)?;
            // Those that only read go on doing so: their mounts refuse writes themselves. And so will this one, if it is for reading.
            if !read_only {
                mount::make_filesystem_writable(&mounted)?;
            }
            Ok(mounted)
        }
        other => other,
    }
}

/// Opens an image and waits for its lock, which the descriptor holds.
fn open_locked(image: &Path) -> Result<OwnedFd> {
    let shown = || format!("cannot open `{}`", image.display());
    // A pipe in its place must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(image, flags, Mode::empty()).or_err(shown)?;
    if FileType::from_raw_mode(fstat(&file).or_err(shown)?.st_mode) != FileType::RegularFile {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is not a file", image.display())));
    }
    flock(&file, FlockOperation::LockExclusive).or_err(|| format!("cannot lock `{}`", image.display()))?;
    Ok(file)
}

fn device_of(image: &OwnedFd) -> Result<LoopDevice> {
    if let Some(device) =
        LoopDevice::of_file(image.as_fd()).or_err(|| "cannot look for its loop device".to_owned())?
    {
        return Ok(device);
    }
    bind(image).map_err(|error| {
        let is_missing = error.kind() == ErrorKind::NotFound;
        let error = error.while_doing("cannot bind a loop device");
        if is_missing { error.with_hint("load the kernel module: `modprobe loop`") } else { error }
    })
}

/// Binds a device that takes writes where the file does: a journal is replayed even for whoever only reads.
fn bind(image: &OwnedFd) -> Result<LoopDevice> {
    // Another description of the same file: the device keeps the one that it is given, and would keep the lock with it.
    let path = format!("/proc/self/fd/{}", image.as_raw_fd());
    let again = |flags: OFlags| open(&path, flags | OFlags::CLOEXEC, Mode::empty());
    let (file, access) = match again(OFlags::RDWR) {
        Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) => (again(OFlags::RDONLY), Access::ReadOnly),
        other => (other, Access::ReadWrite),
    };
    let file = file.or_err(|| "cannot open it again".to_owned())?;
    LoopDevice::bind(file.as_fd(), access).or_err(|| "the kernel refuses".to_owned())
}
