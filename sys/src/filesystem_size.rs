//! Growing a mounted file system to the size of its device: one wrapper a type, by descriptor.
//!
//! Requests and layouts are those of `ext4.h` (`EXT4_IOC_RESIZE_FS`), `xfs_fs.h` (`XFS_IOC_FSGROWFSDATA`) and `<linux/btrfs.h>`
//! (`BTRFS_IOC_RESIZE`). The tools that wrap them insist on a mount point in the caller's own mount table.
//!
//! What it does not do: no shrinking, and no growing of the device.
#![expect(unsafe_code, reason = "ioctl(2) has no safe wrapper for these requests")]

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fstat, fstatvfs, major, minor, openat};
use rustix::io::Errno;

use crate::call::{CallError, CallExt, Result};

/// `_IOW('f', 16, __u64)`.
const EXT4_RESIZE_FS: libc::Ioctl = 0x4008_6610;
/// `_IOW('X', 110, struct xfs_growfs_data)`.
const XFS_FSGROWFSDATA: libc::Ioctl = 0x4010_586E;
/// `_IOR('X', 126, struct xfs_fsop_geom)`.
const XFS_FSGEOMETRY: libc::Ioctl = 0x8100_587E_u32 as libc::Ioctl;
/// `_IOW(0x94, 3, struct btrfs_ioctl_vol_args)`.
const BTRFS_RESIZE: libc::Ioctl = 0x5000_9403;

#[repr(C)]
struct XfsGrow {
    new_blocks: u64,
    inode_percent: u32,
    padding: u32,
}

/// The beginning of `struct xfs_fsop_geom`; the rest is not looked at.
#[repr(C)]
struct XfsGeometry {
    block_size: u32,
    counts_and_sizes: [u32; 6],
    inode_percent: u32,
    data_blocks: u64,
    rest: [u8; 216],
}

#[repr(C)]
struct BtrfsResize {
    fd: i64,
    name: [u8; 4088],
}

const _: () = assert!(size_of::<XfsGrow>() == 16);
const _: () = assert!(size_of::<XfsGeometry>() == 256);
const _: () = assert!(size_of::<BtrfsResize>() == 4096);

/// Opens the directory of an `O_PATH` descriptor (a detached mount is one) for calls that need a real one.
///
/// # Errors
/// `ENOTDIR` when it is none.
pub fn reopen(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, c".", flags, Mode::empty()).of_call(|| "openat(mount, \".\", O_DIRECTORY)".to_owned())
}

fn call<T>(fd: BorrowedFd<'_>, request: libc::Ioctl, name: &str, argument: &mut T) -> Result<()> {
    // SAFETY: every caller passes the struct whose size is encoded in `request`, so the kernel reads and writes within
    // `argument`, which is exclusively borrowed for the call; `fd` is open for as long as it is borrowed.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result < 0 { Err(CallError::last(format!("ioctl(filesystem, {name})"))) } else { Ok(()) }
}

/// Grows the ext4 that `root` is in to the size of its device, and returns its size in bytes.
///
/// # Errors
/// `EPERM` without `CAP_SYS_RESOURCE`, `EROFS`, `EOPNOTSUPP` for an old format.
pub fn grow_ext4(root: BorrowedFd<'_>) -> Result<u64> {
    let block = block_size(root)?;
    let mut blocks = device_bytes(root)? / block;
    call(root, EXT4_RESIZE_FS, "EXT4_IOC_RESIZE_FS", &mut blocks)?;
    Ok(blocks * block)
}

/// Grows the XFS that `root` is in to the size of its device, and returns its size in bytes.
///
/// # Errors
/// `EPERM`, `EROFS`, `EWOULDBLOCK` while another process grows it.
pub fn grow_xfs(root: BorrowedFd<'_>) -> Result<u64> {
    let mut geometry = XfsGeometry {
        block_size: 0,
        counts_and_sizes: [0; 6],
        inode_percent: 0,
        data_blocks: 0,
        rest: [0; 216],
    };
    call(root, XFS_FSGEOMETRY, "XFS_IOC_FSGEOMETRY", &mut geometry)?;
    let block = u64::from(geometry.block_size);
    let blocks = device_bytes(root)? / block;
    if blocks > geometry.data_blocks {
        let mut grow = XfsGrow { new_blocks: blocks, inode_percent: geometry.inode_percent, padding: 0 };
        call(root, XFS_FSGROWFSDATA, "XFS_IOC_FSGROWFSDATA", &mut grow)?;
    }
    Ok(blocks.max(geometry.data_blocks) * block)
}

/// Grows the btrfs that `root` is in to the size of its only device, and returns its size in bytes.
///
/// # Errors
/// `EPERM`, `EROFS`, `EINPROGRESS` while it is balanced.
pub fn grow_btrfs(root: BorrowedFd<'_>) -> Result<u64> {
    const WHOLE: &[u8] = b"1:max";
    let mut resize = Box::new(BtrfsResize { fd: 0, name: [0; 4088] });
    resize.name[..WHOLE.len()].copy_from_slice(WHOLE);
    call(root, BTRFS_RESIZE, "BTRFS_IOC_RESIZE(1:max)", &mut *resize)?;
    let space = fstatvfs(root).of_call(|| "fstatvfs(filesystem)".to_owned())?;
    Ok(space.f_blocks * space.f_frsize)
}

fn block_size(root: BorrowedFd<'_>) -> Result<u64> {
    let size = fstatvfs(root).of_call(|| "fstatvfs(filesystem)".to_owned())?.f_bsize;
    if size == 0 { Err(CallError::new("fstatvfs(filesystem)", Errno::INVAL)) } else { Ok(size) }
}

/// Returns the size of the block device that the file system of `root` lies on.
fn device_bytes(root: BorrowedFd<'_>) -> Result<u64> {
    let device = fstat(root).of_call(|| "fstat(filesystem)".to_owned())?.st_dev;
    let path = format!("/sys/dev/block/{}:{}/size", major(device), minor(device));
    let text = fs::read_to_string(&path).of_call(|| format!("read({path:?})"))?;
    // Always in units of 512 bytes, whatever the sector size.
    let sectors: u64 =
        text.trim().parse().map_err(|_| CallError::new(format!("read({path:?})"), Errno::IO))?;
    Ok(sectors * 512)
}
