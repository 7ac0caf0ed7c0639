//! The content of one file: shared, or copied around its holes.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::{Copier, Reflink, Worker};
use crate::entries::Meta;
use crate::error::{Result, TreeError};
use crate::walk::Place;

/// The kernel copies at most this much in one call, so that a failing thread stops soon.
const MOST_AT_ONCE: u64 = 64 << 20;

/// Holes in files up to this size are seen by their blocks alone.
const SMALLEST_HOLE: u64 = 4096;

/// What was learned about this pair of file systems.
#[derive(Debug)]
pub(super) struct Contents {
    reflink: Reflink,
    /// The file system said that it has no reflinks (between these two).
    no_reflink: AtomicBool,
    /// The kernel said that it cannot copy within itself here.
    no_kernel_copy: AtomicBool,
}

/// Where the content of a file lies: a source, a target and the errors of an entry.
struct Transfer<'a, 'c> {
    at: &'a Place<'a, Copier<'c>>,
    name: &'a CStr,
    source: &'a OwnedFd,
    target: &'a OwnedFd,
}

impl Contents {
    pub(super) fn new(reflink: Reflink) -> Self {
        Self {
            reflink,
            no_reflink: AtomicBool::new(reflink == Reflink::Never),
            no_kernel_copy: AtomicBool::new(false),
        }
    }

    /// Makes the new file `target` hold what `source` holds.
    pub(super) fn copy(
        &self,
        worker: &mut Worker,
        at: &Place<'_, Copier<'_>>,
        name: &CStr,
        (source, target): (&OwnedFd, &OwnedFd),
        meta: &Meta,
    ) -> Result<()> {
        let (size, stored) = (meta.size(), meta.size().min(meta.allocated()));
        if size == 0 {
            return Ok(());
        }
        let transfer = Transfer { at, name, source, target };
        if self.share(&transfer)? {
            worker.report.reflinked_files += 1;
            worker.report.reflinked_bytes += stored;
            worker.report.bytes += stored;
            return Ok(());
        }
        // Blocks can say that there are holes, but not that there are none: attributes and preallocation count as well.
        let copied = if meta.allocated() < size || size > SMALLEST_HOLE {
            self.copy_around_holes(&mut worker.buffer, &transfer, size)?
        } else {
            self.copy_range(&mut worker.buffer, &transfer, 0, size)?;
            size
        };
        worker.report.sparse_files += u64::from(copied < size);
        worker.report.copied_files += 1;
        worker.report.copied_bytes += copied;
        worker.report.bytes += copied;
        Ok(())
    }

    /// Shares the blocks; returns whether it did.
    fn share(&self, transfer: &Transfer<'_, '_>) -> Result<bool> {
        if self.no_reflink.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match retry_on_intr(|| ioctl_ficlone(transfer.target, transfer.source)) {
            Ok(()) => Ok(true),
            Err(errno) if self.reflink == Reflink::Require => {
                Err(TreeError::ReflinkRefused { path: transfer.at.node.path_of(transfer.name), errno })
            }
            // About this pair of file systems: asked once.
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => {
                self.no_reflink.store(true, Ordering::Relaxed);
                Ok(false)
            }
            // About this file (btrfs without checksums, a swap file).
            Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM) => Ok(false),
            Err(errno) => Err(transfer.error("ioctl(FICLONE)", errno)),
        }
    }

    /// Copies what is not a hole, and returns how much that was.
    fn copy_around_holes(&self, buffer: &mut [u8], transfer: &Transfer<'_, '_>, size: u64) -> Result<u64> {
        let mut copied = 0;
        let mut end = 0;
        while let Some((start, stop)) = transfer.next_data(end, size)? {
            self.copy_range(buffer, transfer, start, stop)?;
            copied += stop - start;
            end = stop;
        }
        if end < size {
            ftruncate(transfer.target, size).map_err(|errno| transfer.error("ftruncate", errno))?;
        }
        Ok(copied)
    }

    /// Copies the bytes from `offset` to `end`.
    fn copy_range(
        &self,
        buffer: &mut [u8],
        transfer: &Transfer<'_, '_>,
        offset: u64,
        end: u64,
    ) -> Result<()> {
        let small = end - offset <= buffer.len() as u64;
        let offset = if small || self.no_kernel_copy.load(Ordering::Relaxed) {
            offset
        } else {
            self.copy_in_kernel(transfer, offset, end)?
        };
        transfer.copy_by_hand(buffer, offset, end)
    }

    /// Lets the kernel copy; returns where it stopped, which is before `end` where it cannot.
    fn copy_in_kernel(&self, transfer: &Transfer<'_, '_>, mut offset: u64, end: u64) -> Result<u64> {
        while offset < end {
            let length = usize::try_from((end - offset).min(MOST_AT_ONCE)).unwrap_or(usize::MAX);
            let (mut from, mut to) = (offset, offset);
            let copied = retry_on_intr(|| {
                copy_file_range(transfer.source, Some(&mut from), transfer.target, Some(&mut to), length)
            });
            match copied {
                // Nothing, though the file has more: some file systems answer so; reading tells.
                Ok(0) => return Ok(offset),
                Ok(_) => offset = from,
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.no_kernel_copy.store(true, Ordering::Relaxed);
                    return Ok(offset);
                }
                Err(errno) => return Err(transfer.error("copy_file_range", errno)),
            }
        }
        Ok(offset)
    }
}

impl Transfer<'_, '_> {
    fn error(&self, call: &'static str, errno: Errno) -> TreeError {
        self.at.error(call, self.name)(errno)
    }

    /// Returns the next stretch of the source from `offset` on that is not a hole.
    fn next_data(&self, offset: u64, size: u64) -> Result<Option<(u64, u64)>> {
        if offset >= size {
            return Ok(None);
        }
        let start = match seek(self.source, SeekFrom::Data(offset)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => return Ok(None),
            // A file system without holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((offset, size))),
            other => other.map_err(|errno| self.error("lseek(SEEK_DATA)", errno))?,
        };
        let stop = seek(self.source, SeekFrom::Hole(start))
            .map_err(|errno| self.error("lseek(SEEK_HOLE)", errno))?;
        // A source that grows meanwhile is copied up to its old size and then found out.
        Ok((start < size).then_some((start, stop.min(size))))
    }

    fn copy_by_hand(&self, buffer: &mut [u8], mut offset: u64, end: u64) -> Result<()> {
        while offset < end {
            let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let read = retry_on_intr(|| pread(self.source, &mut buffer[..length], offset))
                .map_err(|errno| self.error("pread", errno))?;
            if read == 0 {
                return Err(TreeError::SourceChanged { path: self.at.node.path_of(self.name) });
            }
            let mut written = 0;
            while written < read {
                written +=
                    retry_on_intr(|| pwrite(self.target, &buffer[written..read], offset + written as u64))
                        .map_err(|errno| self.error("pwrite", errno))?;
            }
            offset += read as u64;
        }
        Ok(())
    }
}
