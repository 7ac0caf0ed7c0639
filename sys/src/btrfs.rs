//! Subvolumes of btrfs by ioctl: one wrapper a call, by descriptor.
//!
//! The layouts and numbers are those of `<linux/btrfs.h>`; sizes are asserted at compile time. The `btrfs` tool would cost 10 to
//! 30 ms a call for the same ioctl, and `libbtrfsutil`'s Rust binding is unsound (`docs/decisions/0006-btrfs-by-ioctl.md`).
//!
//! What it does not do: no policy, no paths beyond a single name below an open directory.
#![expect(unsafe_code, reason = "ioctl(2) has no safe wrapper for these requests")]

mod quota;
mod transfer;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

pub use quota::{
    Accounting, QuotaGroup, accounting, enable_quotas, limit_subvolume, quota_group, quota_groups,
};
pub use transfer::{send_subvolume, set_received};

/// The inode number of every subvolume's root directory.
pub const SUBVOLUME_INODE: u64 = 256;

const MAGIC: u64 = 0x94;
const SUBVOL_RDONLY: u64 = 1 << 1;
const SUBVOL_SPEC_BY_ID: u64 = 1 << 4;
const NAME_MAX: usize = 255;

#[repr(C)]
struct VolumeArgs {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

#[repr(C)]
struct SubvolumeInfoArgs {
    tree_id: u64,
    name: [u8; 256],
    parent_id: u64,
    directory_id: u64,
    generation: u64,
    flags: u64,
    uuid: [u8; 16],
    parent_uuid: [u8; 16],
    received_uuid: [u8; 16],
    transactions: [u64; 4],
    times: [[u64; 2]; 4],
    reserved: [u64; 8],
}

#[repr(C)]
struct RootRefArgs {
    min_tree_id: u64,
    references: [[u64; 2]; 255],
    count: u8,
    align: [u8; 7],
}

#[repr(C)]
struct InodeLookupUserArgs {
    directory_id: u64,
    tree_id: u64,
    name: [u8; 256],
    path: [u8; 3824],
}

const _: () = assert!(size_of::<VolumeArgs>() == 4096);
const _: () = assert!(size_of::<SubvolumeInfoArgs>() == 504);
const _: () = assert!(size_of::<RootRefArgs>() == 4096);
const _: () = assert!(size_of::<InodeLookupUserArgs>() == 4096);

const WRITE: u64 = 1;
const READ: u64 = 2;

const fn request(direction: u64, number: u64, size: usize) -> libc::Ioctl {
    // _IOC(direction, type, number, size) of <asm-generic/ioctl.h>.
    ((direction << 30) | ((size as u64) << 16) | (MAGIC << 8) | number) as libc::Ioctl
}

const SNAP_CREATE_V2: libc::Ioctl = request(WRITE, 23, 4096);
const SUBVOL_CREATE_V2: libc::Ioctl = request(WRITE, 24, 4096);
const SNAP_DESTROY_V2: libc::Ioctl = request(WRITE, 63, 4096);
const SUBVOL_GETFLAGS: libc::Ioctl = request(READ, 25, 8);
const SUBVOL_SETFLAGS: libc::Ioctl = request(WRITE, 26, 8);
const GET_SUBVOL_INFO: libc::Ioctl = request(READ, 60, 504);
const GET_SUBVOL_ROOTREF: libc::Ioctl = request(READ | WRITE, 61, 4096);
const INO_LOOKUP_USER: libc::Ioctl = request(READ | WRITE, 62, 4096);
const START_SYNC: libc::Ioctl = request(READ, 24, 8);
const WAIT_SYNC: libc::Ioctl = request(WRITE, 22, 8);

/// Who a subvolume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subvolume {
    /// Its id within the file system.
    pub tree_id: u64,
    /// Its identity; a snapshot gets a new one.
    pub uuid: [u8; 16],
    /// The identity of the subvolume that it is a snapshot of; zeros for none.
    pub parent_uuid: [u8; 16],
    /// The identity that it had where it was sent from; zeros for none.
    pub received_uuid: [u8; 16],
    /// Whether it refuses writes.
    pub read_only: bool,
}

/// A subvolume below another: where it hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    /// Its id within the file system.
    pub tree_id: u64,
    /// The directory that holds it, relative to the directory asked; empty or ending in `/`.
    pub directory: CString,
    /// Its name there.
    pub name: CString,
}

fn call<T>(fd: BorrowedFd<'_>, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: every caller passes the struct whose size is encoded in `request`, so the kernel reads and writes within
    // `argument`, which is exclusively borrowed for the call; `fd` is open for as long as it is borrowed.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn volume_args(name: &CStr) -> io::Result<Box<VolumeArgs>> {
    let bytes = name.to_bytes_with_nul();
    if bytes.len() > NAME_MAX + 1 {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    let mut args = Box::new(VolumeArgs { fd: 0, transaction: 0, flags: 0, unused: [0; 4], name: [0; 4040] });
    args.name[..bytes.len()].copy_from_slice(bytes);
    Ok(args)
}

/// Makes an empty subvolume `name` in `parent` (`BTRFS_IOC_SUBVOL_CREATE_V2`).
///
/// # Errors
/// `ENOTTY` when the directory is not on btrfs, `EEXIST`, `EPERM`, `ENOSPC`.
pub fn create_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    call(parent, SUBVOL_CREATE_V2, &mut *volume_args(name)?)
}

/// Makes `name` in `parent` a writable snapshot of the subvolume `source` (`BTRFS_IOC_SNAP_CREATE_V2`).
///
/// # Errors
/// `EXDEV` when source and parent are on two file systems, else as [`create_subvolume`].
pub fn snapshot_subvolume(source: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut args = volume_args(name)?;
    args.fd = i64::from(source.as_raw_fd());
    call(parent, SNAP_CREATE_V2, &mut *args)
}

/// Destroys the subvolume `name` in `parent` (`BTRFS_IOC_SNAP_DESTROY_V2`). Its space is reclaimed later, by the kernel.
///
/// # Errors
/// `ENOTEMPTY` while it holds another subvolume, `EBUSY` while it is mounted or a send reads it, `EROFS`.
pub fn destroy_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    call(parent, SNAP_DESTROY_V2, &mut *volume_args(name)?)
}

/// Destroys the subvolume with id `tree_id` of the file system that `anchor` is on, wherever it hangs.
///
/// # Errors
/// As [`destroy_subvolume`]; needs a privilege that plain users lack.
pub fn destroy_subvolume_by_id(anchor: BorrowedFd<'_>, tree_id: u64) -> io::Result<()> {
    let mut args = volume_args(c"")?;
    args.flags = SUBVOL_SPEC_BY_ID;
    args.name[..8].copy_from_slice(&tree_id.to_ne_bytes());
    call(anchor, SNAP_DESTROY_V2, &mut *args)
}

/// Returns who the subvolume that holds `fd` is (`BTRFS_IOC_GET_SUBVOL_INFO`).
///
/// # Errors
/// `ENOTTY` when it is not on btrfs.
pub fn subvolume_info(fd: BorrowedFd<'_>) -> io::Result<Subvolume> {
    let mut args = Box::new(SubvolumeInfoArgs {
        tree_id: 0,
        name: [0; 256],
        parent_id: 0,
        directory_id: 0,
        generation: 0,
        flags: 0,
        uuid: [0; 16],
        parent_uuid: [0; 16],
        received_uuid: [0; 16],
        transactions: [0; 4],
        times: [[0; 2]; 4],
        reserved: [0; 8],
    });
    call(fd, GET_SUBVOL_INFO, &mut *args)?;
    let mut flags = 0_u64;
    call(fd, SUBVOL_GETFLAGS, &mut flags)?;
    Ok(Subvolume {
        tree_id: args.tree_id,
        uuid: args.uuid,
        parent_uuid: args.parent_uuid,
        received_uuid: args.received_uuid,
        read_only: flags & SUBVOL_RDONLY != 0,
    })
}

/// What a subvolume does with writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It takes them.
    Allowed,
    /// It refuses them with `EROFS`.
    Refused,
}

/// Sets whether the subvolume takes writes (`BTRFS_IOC_SUBVOL_SETFLAGS`); idempotent.
///
/// # Errors
/// `EPERM` for somebody else's, `ENOTTY` off btrfs.
pub fn set_writes(subvolume: BorrowedFd<'_>, writes: Writes) -> io::Result<()> {
    let mut flags = 0_u64;
    call(subvolume, SUBVOL_GETFLAGS, &mut flags)?;
    match writes {
        Writes::Allowed => flags &= !SUBVOL_RDONLY,
        Writes::Refused => flags |= SUBVOL_RDONLY,
    }
    call(subvolume, SUBVOL_SETFLAGS, &mut flags)
}

/// Returns the subvolumes directly below the subvolume `fd` (its root directory), without walking its files.
///
/// # Errors
/// `ENOTTY` off btrfs.
pub fn nested_subvolumes(fd: BorrowedFd<'_>) -> io::Result<Vec<Nested>> {
    let mut found = Vec::new();
    let mut args =
        Box::new(RootRefArgs { min_tree_id: 0, references: [[0; 2]; 255], count: 0, align: [0; 7] });
    loop {
        // EOVERFLOW means that there are more than fit; the 255 of this call are valid, and the next begins behind them.
        let more = match call(fd, GET_SUBVOL_ROOTREF, &mut *args) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => true,
            Err(error) => return Err(error),
        };
        for [tree_id, directory_id] in &args.references[..usize::from(args.count)] {
            found.push(locate(fd, *tree_id, *directory_id)?);
        }
        if !more {
            return Ok(found);
        }
    }
}

fn locate(fd: BorrowedFd<'_>, tree_id: u64, directory_id: u64) -> io::Result<Nested> {
    let mut args = Box::new(InodeLookupUserArgs { directory_id, tree_id, name: [0; 256], path: [0; 3824] });
    call(fd, INO_LOOKUP_USER, &mut *args)?;
    Ok(Nested { tree_id, directory: text(&args.path)?, name: text(&args.name)? })
}

fn text(bytes: &[u8]) -> io::Result<CString> {
    CStr::from_bytes_until_nul(bytes).map(CStr::to_owned).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Waits until everything done so far on the file system of `fd` is on the disk, by joining the running commit.
///
/// # Errors
/// The error of the commit.
pub fn commit(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut transaction = 0_u64;
    call(fd, START_SYNC, &mut transaction)?;
    call(fd, WAIT_SYNC, &mut transaction)
}

/// Returns whether `fd` is on btrfs.
///
/// # Errors
/// What `fstatfs` says.
pub fn is_btrfs(fd: BorrowedFd<'_>) -> io::Result<bool> {
    const BTRFS_SUPER_MAGIC: i64 = 0x9123_683E;
    Ok(rustix::fs::fstatfs(fd)?.f_type == BTRFS_SUPER_MAGIC)
}
