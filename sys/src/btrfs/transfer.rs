//! Streams: what the kernel sends of a snapshot, and the identity that a received one keeps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{READ, WRITE, call, request};

#[repr(C)]
struct SendArgs {
    out: i64,
    clone_sources_count: u64,
    clone_sources: *const u64,
    parent_root: u64,
    flags: u64,
    version: u32,
    reserved: [u8; 28],
}

#[repr(C)]
#[derive(Default)]
struct TimeArgs {
    seconds: u64,
    nanoseconds: u32,
}

#[repr(C)]
struct ReceivedArgs {
    uuid: [u8; 16],
    sent_transaction: u64,
    received_transaction: u64,
    sent: TimeArgs,
    received: TimeArgs,
    flags: u64,
    reserved: [u64; 16],
}

const _: () = assert!(size_of::<SendArgs>() == 72);
const _: () = assert!(size_of::<ReceivedArgs>() == 200);

const SEND: libc::Ioctl = request(WRITE, 38, 72);
const SET_RECEIVED_SUBVOL: libc::Ioctl = request(READ | WRITE, 37, 200);

/// Writes the read-only subvolume `snapshot` into `out` as a stream of version 1 (`BTRFS_IOC_SEND`): whole, or what changed since
/// the subvolume with the id `base`, whose data the stream may refer to.
///
/// # Errors
/// `EPERM` without privilege or for a subvolume that takes writes, `EPIPE` when nobody reads, `ENAMETOOLONG` for a path beyond
/// `PATH_MAX`.
pub fn send_subvolume(snapshot: BorrowedFd<'_>, base: Option<u64>, out: BorrowedFd<'_>) -> io::Result<()> {
    let sources = [base.unwrap_or_default()];
    let mut args = SendArgs {
        out: i64::from(out.as_raw_fd()),
        clone_sources_count: u64::from(base.is_some()),
        clone_sources: sources.as_ptr(),
        parent_root: base.unwrap_or_default(),
        flags: 0,
        version: 0,
        reserved: [0; 28],
    };
    // The kernel reads as many numbers as the count says from `sources`, which lives until the call returns.
    call(snapshot, SEND, &mut args)
}

/// Notes where a subvolume that takes writes came from (`BTRFS_IOC_SET_RECEIVED_SUBVOL`): what is sent of it, or since it, is known by
/// this identity.
///
/// # Errors
/// `EPERM` for somebody else's, `EROFS` for one that refuses writes.
pub fn set_received(subvolume: BorrowedFd<'_>, uuid: [u8; 16], transaction: u64) -> io::Result<()> {
    let mut args = ReceivedArgs {
        uuid,
        sent_transaction: transaction,
        received_transaction: 0,
        sent: TimeArgs::default(),
        received: TimeArgs::default(),
        flags: 0,
        reserved: [0; 16],
    };
    call(subvolume, SET_RECEIVED_SUBVOL, &mut args)
}
