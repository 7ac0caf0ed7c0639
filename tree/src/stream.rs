//! [`pack_tree`] and [`unpack_tree`]: a tree as a stream of records, with nothing lost, whole or as what changed.
//!
//! Kept is what [`copy_tree`](crate::copy_tree) keeps: types, contents with their holes, modes, owners, access and modification times,
//! every extended attribute except our marks, hard links, symbolic links, devices, pipes, sockets, and flags.
//!
//! The order is fixed: depth first, by name, a directory's metadata behind its content. The same tree gives the same stream,
//! which is what makes a cut stream continue: both ends count records and chain their digests ([`Position`]), the sender
//! makes the stream anew, compares the chain where the receiver stopped, and sends what follows. The walk is therefore its
//! own, on one thread; the parallel walk of copies has no order.
//!
//! # What changed
//! Against a [`Base`], an entry is passed over when inode number, time of change, time of modification and size are equal and
//! the time of change is older than the base (a file written in the very moment of the snapshot may keep its time). Every
//! other file is compared byte by byte, and only the stretches that differ are sent; of everything else, type,
//! mode, owner, time of modification, attributes, flags, device number and link text are compared. Times of access are not.
//!
//! # Hostile streams
//! The receiver follows no path: records name single components, checked, below directories that it has open itself, never
//! through symbolic links. Lengths are bounded before memory is taken. What is left after an error lies below the target.

use std::fmt;
use std::os::fd::BorrowedFd;

mod compare;
mod emit;
mod meta;
mod pack;
mod record;
mod unpack;

pub use pack::{PackReport, pack_tree};
pub use unpack::{UnpackReport, unpack_tree};

/// How far a stream has come: how many records, and the chained digest over all of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Position {
    /// Records so far.
    pub records: u64,
    /// The digest of the digest before and the last record.
    pub chain: [u8; 32],
}

impl Position {
    /// Returns whether nothing was done yet.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.records == 0
    }

    fn advance(&mut self, record: &[u8]) {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.chain);
        hash.update(record);
        self.records += 1;
        self.chain = hash.finalize().into();
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.records)?;
        self.chain.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An older state of the same tree, which the receiver has as well.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// Its root.
    pub root: BorrowedFd<'a>,
    /// When it was kept, in seconds since 1970; `None` compares every file byte by byte.
    pub taken: Option<u64>,
}

/// How a tree is packed.
#[derive(Default)]
pub struct PackOptions<'a> {
    /// Only what changed since then.
    pub base: Option<Base<'a>>,
    /// Only what follows: the receiver has the records before.
    pub from: Position,
    /// Is told how many entries and bytes of content were gone through.
    pub progress: Option<&'a dyn Fn(crate::Progress)>,
}

/// How a tree is unpacked.
#[derive(Default)]
pub struct UnpackOptions<'a> {
    /// What the target has already.
    pub from: Position,
    /// Is told the position after every record. An error ends the unpacking.
    pub reached: Option<&'a mut dyn FnMut(Position, crate::Progress) -> std::io::Result<()>>,
}

impl fmt::Debug for PackOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackOptions")
            .field("base", &self.base)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnpackOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnpackOptions").field("from", &self.from).finish_non_exhaustive()
    }
}
