//! Loop devices: block devices whose content is a file.
//!
//! A device is bound in one call (`LOOP_CONFIGURE`, Linux 5.8) and clears itself when its last user closes it: a mount
//! counts as a user. Whatever kills us between binding and mounting therefore leaves nothing behind. Two processes that are
//! given the same free number are told apart by the kernel (`EBUSY`), and the loser asks for another.
//!
//! Direct input and output is asked for, so that content is not cached twice; where the file's own file system cannot do it, the kernel
//! goes through the page cache, and [`LoopDevice::is_direct`] says so. Crate `loopdev` binds in two calls and does not try
//! again (`docs/decisions/0010-loop-devices.md`).
//!
//! What it does not do: it neither formats nor mounts, and it keeps nobody from binding a file twice.
#![expect(unsafe_code, reason = "ioctl(2) has no safe wrapper for these requests")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;

use crate::call::{CallError, CallExt, Result};

const CONTROL: &str = "/dev/loop-control";

const SET_CAPACITY: libc::Ioctl = 0x4C07;
const GET_STATUS64: libc::Ioctl = 0x4C05;
const CONFIGURE: libc::Ioctl = 0x4C0A;
const CTL_GET_FREE: libc::Ioctl = 0x4C82;

const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// How often another device is asked for when somebody was faster. Each loss is another's gain, so this many of them means that
/// something else is wrong.
const ATTEMPTS: usize = 1024;

/// `struct loop_info64` of `<linux/loop.h>`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Info>() == 232);
const _: () = assert!(size_of::<Config>() == 304);

impl Info {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// Whether a device takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It does; the file must be open for writing.
    ReadWrite,
    /// It does not.
    ReadOnly,
}

/// An open loop device that is bound to a file, and stays so while this lives or something is mounted from it.
#[derive(Debug)]
pub struct LoopDevice {
    fd: OwnedFd,
    path: PathBuf,
    flags: u32,
}

impl LoopDevice {
    /// Binds a free device to the whole of `image`.
    ///
    /// # Requires
    /// `CAP_SYS_ADMIN` and Linux 5.8.
    ///
    /// # Errors
    /// `ENOENT` where there are no loop devices, `EBUSY` when somebody was faster more often than can be, `EINVAL` for what is no
    /// file or device.
    pub fn bind(image: BorrowedFd<'_>, access: Access) -> Result<Self> {
        let control = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .of_call(|| format!("open({CONTROL:?})"))?;
        let mut refused = CallError::new("ioctl(loop, LOOP_CONFIGURE)", Errno::BUSY);
        for _ in 0..ATTEMPTS {
            let number = free_number(control.as_fd())?;
            match bind_number(number, image, access) {
                Ok(bound) => return Ok(bound),
                // Taken, or removed, since its number was given out; or its node is not there yet.
                Err(error) if matches!(error.errno, Errno::BUSY | Errno::NXIO | Errno::NOENT) => {
                    refused = error;
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Returns the device that is bound to the same file as `image`, held open; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of_file(image: BorrowedFd<'_>) -> Result<Option<Self>> {
        let wanted = fstat(image).of_call(|| "fstat(image)".to_owned())?;
        for (path, backing) in bound()? {
            if may_be(&backing, (wanted.st_dev, wanted.st_ino), image)
                && let Some(device) = Self::open_if(path, (wanted.st_dev, wanted.st_ino))?
            {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    /// Opens a device and looks again: only while it is open can it not be cleared and bound to something else.
    fn open_if(path: PathBuf, identity: (u64, u64)) -> Result<Option<Self>> {
        let Some(fd) = open_node(&path)? else { return Ok(None) };
        match status(fd.as_fd()) {
            Ok(info) if (info.device, info.inode) == identity && info.offset == 0 => {
                Ok(Some(Self { fd, path, flags: info.flags }))
            }
            // Cleared since we saw it, or bound to another file.
            Ok(_) | Err(CallError { errno: Errno::NXIO, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the path of its node, `/dev/loopN`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether it passes requests on past the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.flags & DIRECT_IO != 0
    }

    /// Returns whether it refuses writes.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags & READ_ONLY != 0
    }

    /// Takes over the size of the file, which has changed.
    ///
    /// # Errors
    /// `ENXIO` when it is not bound any more.
    pub fn refresh_size(&self) -> Result<()> {
        // SAFETY: LOOP_SET_CAPACITY ignores its argument; `fd` is open.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), SET_CAPACITY, 0) };
        if result < 0 {
            Err(CallError::last(format!("ioctl({:?}, LOOP_SET_CAPACITY)", self.path)))
        } else {
            Ok(())
        }
    }
}

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Opens a node; `None` when it is gone.
fn open_node(path: &Path) -> Result<Option<OwnedFd>> {
    match open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NXIO) => Ok(None),
        Err(errno) => Err(CallError::new(format!("open({path:?})"), errno)),
    }
}

fn free_number(control: BorrowedFd<'_>) -> Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument; `control` is open for as long as it is borrowed.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE) };
    u32::try_from(number).map_err(|_| CallError::last("ioctl(loop-control, LOOP_CTL_GET_FREE)"))
}

fn bind_number(number: u32, image: BorrowedFd<'_>, access: Access) -> Result<LoopDevice> {
    let path = node(number);
    let flags = match access {
        Access::ReadWrite => OFlags::RDWR,
        Access::ReadOnly => OFlags::RDONLY,
    };
    let fd = open(&path, flags | OFlags::CLOEXEC, Mode::empty()).of_call(|| format!("open({path:?})"))?;
    let mut info = Info { flags: AUTOCLEAR | DIRECT_IO, ..Info::EMPTY };
    if access == Access::ReadOnly {
        info.flags |= READ_ONLY;
    }
    name_of(image, &mut info.file_name);
    let image =
        u32::try_from(image.as_raw_fd()).map_err(|_| CallError::new("LOOP_CONFIGURE", Errno::BADF))?;
    let config = Config { fd: image, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, which `config` is, and keeps no pointer to it; `fd` and the image are open.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), CONFIGURE, std::ptr::from_ref(&config)) };
    if result < 0 {
        return Err(CallError::last(format!("ioctl({path:?}, LOOP_CONFIGURE)")));
    }
    // What the kernel could not do of it is missing from the flags now.
    let flags = status(fd.as_fd())?.flags;
    Ok(LoopDevice { fd, path, flags })
}

/// Puts the path of a file where `losetup` shows it; cut, if it is long.
fn name_of(image: BorrowedFd<'_>, name: &mut [u8; 64]) {
    let path = path_of(image).unwrap_or_default();
    let bytes = path.as_os_str().as_bytes();
    let length = bytes.len().min(name.len() - 1);
    name[..length].copy_from_slice(&bytes[..length]);
}

fn path_of(image: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", image.as_raw_fd())).ok()
}

fn status(device: BorrowedFd<'_>) -> Result<Info> {
    let mut info = Info::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64`, which `info` is; `device` is open for as long as it is borrowed.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), GET_STATUS64, std::ptr::from_mut(&mut info)) };
    if result < 0 { Err(CallError::last("ioctl(loop, LOOP_GET_STATUS64)")) } else { Ok(info) }
}

/// Returns the nodes of the bound devices with the paths of their files, as sysfs shows them (`sysfs-block-loop`).
///
/// # Behavior
/// No device is opened: that would keep one from clearing itself. A machine without sysfs shows none.
///
/// # Errors
/// When the list of block devices cannot be read.
pub fn bound() -> Result<Vec<(PathBuf, PathBuf)>> {
    const BLOCK: &str = "/sys/block";
    let entries = match std::fs::read_dir(BLOCK) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.of_call(|| format!("readdir({BLOCK:?})"))?,
    };
    let devices = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_prefix("loop")?.parse::<u32>().ok()?;
        let backing = std::fs::read(entry.path().join("loop/backing_file")).ok()?;
        let text = backing.strip_suffix(b"\n").unwrap_or(&backing);
        Some((node(number), PathBuf::from(std::ffi::OsStr::from_bytes(text))))
    });
    Ok(devices.collect())
}

/// Returns whether a device that shows this path may be bound to the file: the path leads to it, or leads nowhere that we can see and
/// ends in the same name.
fn may_be(backing: &Path, identity: (u64, u64), image: BorrowedFd<'_>) -> bool {
    match std::fs::symlink_metadata(backing) {
        Ok(found) => (found.dev(), found.ino()) == identity,
        Err(_) => path_of(image).is_some_and(|path| path.file_name() == backing.file_name()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::os::unix::fs::FileExt;

    use super::*;

    struct Images(tempfile::TempDir);

    impl Images {
        /// Returns `None` where loop devices cannot be had.
        fn make() -> Option<Self> {
            let images = Self(tempfile::tempdir().unwrap());
            match LoopDevice::bind(images.image("probe", 4096).as_fd(), Access::ReadWrite) {
                Ok(_) => Some(images),
                Err(error) => {
                    println!("skipped: needs loop devices and root ({error})");
                    None
                }
            }
        }

        fn image(&self, name: &str, size: u64) -> File {
            let path = self.0.path().join(name);
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
            file.set_len(size).unwrap();
            file
        }
    }

    fn read(device: &Path, at: u64) -> u8 {
        let mut byte = [0];
        File::open(device).unwrap().read_exact_at(&mut byte, at).unwrap();
        byte[0]
    }

    #[test]
    fn eight_threads_that_bind_at_once_lose_nothing_and_share_nothing() {
        let Some(images) = Images::make() else { return };
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let images = &images;
                scope.spawn(move || {
                    let image = images.image(&format!("image{thread}"), 1 << 16);
                    image.write_all_at(&[thread; 1 << 16], 0).unwrap();
                    image.sync_all().unwrap();
                    for round in 0..20 {
                        let device = LoopDevice::bind(image.as_fd(), Access::ReadWrite)
                            .unwrap_or_else(|error| panic!("thread {thread}, round {round}: {error}"));
                        assert_eq!(read(device.path(), 0), thread, "{:?} in round {round}", device.path());
                    }
                });
            }
        });
        let left = bound().unwrap();
        let ours = left.iter().filter(|(_, path)| path.starts_with(images.0.path()));
        assert_eq!(ours.count(), 0, "{left:?}");
    }

    #[test]
    fn the_device_of_a_file_is_found_by_the_file_and_only_while_it_is_bound() {
        let Some(images) = Images::make() else { return };
        let (image, other) = (images.image("rootdev", 1 << 16), images.image("other", 1 << 16));
        assert!(LoopDevice::of_file(image.as_fd()).unwrap().is_none());
        let device = LoopDevice::bind(image.as_fd(), Access::ReadWrite).unwrap();
        let found = LoopDevice::of_file(image.as_fd()).unwrap().unwrap();
        assert_eq!(found.path(), device.path());
        assert!(LoopDevice::of_file(other.as_fd()).unwrap().is_none());
        fs::rename(images.0.path().join("rootdev"), images.0.path().join("moved")).unwrap();
        assert!(LoopDevice::of_file(image.as_fd()).unwrap().is_some(), "after a rename");
        fs::remove_file(images.0.path().join("moved")).unwrap();
        assert!(LoopDevice::of_file(image.as_fd()).unwrap().is_some(), "after it was unlinked");
        drop((device, found));
        assert!(LoopDevice::of_file(image.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_device_grows_with_its_file_when_it_is_told() {
        let Some(images) = Images::make() else { return };
        let image = images.image("image", 1 << 16);
        let device = LoopDevice::bind(image.as_fd(), Access::ReadWrite).unwrap();
        image.set_len(1 << 17).unwrap();
        image.write_all_at(&[7], 0x1_8000).unwrap();
        device.refresh_size().unwrap();
        assert_eq!(read(device.path(), 0x1_8000), 7);
        println!("direct: {}", device.is_direct());
    }

    #[test]
    fn a_read_only_device_refuses_writes() {
        let Some(images) = Images::make() else { return };
        let image = images.image("image", 1 << 16);
        let device = LoopDevice::bind(image.as_fd(), Access::ReadOnly).unwrap();
        assert!(device.is_read_only());
        let open = OpenOptions::new().write(true).open(device.path());
        assert!(open.and_then(|file| file.write_all_at(&[1; 4096], 0).and(file.sync_all())).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused_with_the_call() {
        let Some(images) = Images::make() else { return };
        let directory = File::open(images.0.path()).unwrap();
        let error = LoopDevice::bind(directory.as_fd(), Access::ReadOnly).unwrap_err();
        assert!(error.to_string().contains("LOOP_CONFIGURE"), "{error}");
    }
}
