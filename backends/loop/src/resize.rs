//! Larger and smaller images, with the file systems in them.
//!
//! | | mounted | not mounted |
//! |---|---|---|
//! | grow | image, device, then the file system, by the kernel | image, then the file system |
//! | shrink | refused, `Busy` | ext4: file system, then the image; others `Unsupported` |
//!
//! In this order a crash leaves an image that is larger than its file system, which is whole; the same command finishes it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use keiki_core::context::Context;
use keiki_core::homes::{Place, Shape};
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::store::Resized;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Result, ResultExt};
use keiki_filesystem::{FileSystemType, Reached};
use keiki_sys::loop_device::{Access, LoopDevice};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, ftruncate, open};

use crate::attach::{plan, superblock};
use crate::idle::{self, wait_idle};
use crate::spec::{FSSIZE, rounded};

/// How long a device may take to clear itself before its image counts as mounted.
const MOMENT: Duration = Duration::from_millis(200);

/// Makes a volume `size` large; returns what that is in whole blocks.
pub(crate) fn resize(context: &Context, volume: &Volume, size: Bytes) -> Result<Resized> {
    let size = resize_image(context, volume, rounded(size)?)?;
    let mut properties = volume.properties.clone();
    properties.insert(FSSIZE.to_owned(), size.0.to_string());
    Ok(Resized { size, properties })
}

fn resize_image(context: &Context, volume: &Volume, size: Bytes) -> Result<Bytes> {
    let place = Place::of_existing(volume, Shape::File)?;
    let file = place.open_ours()?;
    let shown = || format!("cannot resize `{}`", place.path().display());
    // Again, by the descriptor and not by the name: for writing, and with a lock of its own.
    let again = format!("/proc/self/fd/{}", file.as_raw_fd());
    let image = open(&again, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).or_err(shown)?;
    let fstype = superblock(file, place.path())?.fstype;
    let present = u64::try_from(fstat(&image).or_err(shown)?.st_size).unwrap_or_default();
    if size.0 < present {
        return shrink(context, fstype, &place, &image, size).map_err(|error| error.while_doing(shown()));
    }
    flock(&image, FlockOperation::LockExclusive).or_err(shown)?;
    // What was unmounted a moment ago may still clear itself; a container's stays.
    idle::becomes_idle(&place, &image, MOMENT)?;
    match idle::device(&place, &image)? {
        Some(device) => grow_mounted(context, fstype, &place, (&image, &device), size),
        None => grow_idle(context, fstype, &image, place.path(), size),
    }
    .map_err(|error| error.while_doing(shown()))
}

fn shrink(
    context: &Context,
    fstype: FileSystemType,
    place: &Place,
    image: &OwnedFd,
    size: Bytes,
) -> Result<Bytes> {
    wait_idle(place, image, "shrink")?;
    keiki_filesystem::shrink(context, fstype, place.path(), size)?;
    set_size(context, image, size)?;
    Ok(size)
}

/// Grows an image that nothing is mounted from; whoever might mount it is locked out.
pub(crate) fn grow_idle(
    context: &Context,
    fstype: FileSystemType,
    image: &OwnedFd,
    path: &Path,
    size: Bytes,
) -> Result<Bytes> {
    set_size(context, image, size)?;
    if fstype == FileSystemType::Ext4 {
        keiki_filesystem::grow(context, fstype, Reached::Device(path))?;
    } else {
        // The device keeps the description that it is given, and would keep the lock of this one.
        let again = format!("/proc/self/fd/{}", image.as_raw_fd());
        let file = open(&again, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .or_err(|| format!("cannot open `{}` again", path.display()))?;
        let device = LoopDevice::bind(file.as_fd(), Access::ReadWrite)
            .or_err(|| format!("cannot bind a loop device to `{}`", path.display()))?;
        keiki_filesystem::grow(context, fstype, Reached::Device(device.path()))?;
    }
    Ok(size)
}

/// Grows what is mounted, on a further mount of it: the one of a container is in nobody's reach.
fn grow_mounted(
    context: &Context,
    fstype: FileSystemType,
    place: &Place,
    (image, device): (&OwnedFd, &LoopDevice),
    size: Bytes,
) -> Result<Bytes> {
    set_size(context, image, size)?;
    let path = device.path().display();
    device.refresh_size().or_err(|| format!("cannot tell `{path}` that its file has grown"))?;
    // Mounting takes the lock.
    flock(image, FlockOperation::Unlock).or_err(|| format!("cannot unlock `{}`", place.path().display()))?;
    let mount = execute(&plan(fstype, place.path(), AttachMode::ReadWrite))?;
    keiki_filesystem::grow(context, fstype, Reached::Mounted(mount.as_fd()))?;
    Ok(size)
}

fn set_size(context: &Context, image: &OwnedFd, size: Bytes) -> Result<()> {
    context.step("loop.size")?;
    ftruncate(image, size.0).or_err(|| format!("cannot make the image {} bytes large", size.0))
}
