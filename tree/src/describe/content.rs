//! The digest of a file's content, the same wherever its holes lie, and the map of its holes.

use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread, retry_on_intr};
use sha2::{Digest, Sha256};

/// Zeros of this length at a multiple of it are passed over, stored or not.
const BLOCK: u64 = 4096;

/// Returns the stretches of a file that are not holes.
pub(crate) fn data_map(file: &OwnedFd, size: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut map = Vec::new();
    let mut offset = 0;
    while offset < size {
        let start = match seek(file, SeekFrom::Data(offset)) {
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                map.push((offset, size));
                break;
            }
            other => other?,
        };
        offset = seek(file, SeekFrom::Hole(start))?.min(size);
        if start >= offset {
            break;
        }
        map.push((start, offset));
    }
    Ok(map)
}

/// Returns the digest of every block that is not zero, with its place; holes are not even read.
pub(super) fn digest(
    file: &OwnedFd,
    size: u64,
    map: &[(u64, u64)],
    buffer: &mut [u8],
) -> Result<[u8; 32], Errno> {
    let mut hash = Sha256::new();
    let mut done = 0;
    for (start, stop) in map {
        let mut offset = done.max(start - start % BLOCK);
        let end = stop.next_multiple_of(BLOCK).min(size);
        while offset < end {
            let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let read = read_fully(file, &mut buffer[..length], offset)?;
            if read == 0 {
                return Ok(hash.finalize().into());
            }
            absorb_blocks(&mut hash, &buffer[..read], offset);
            offset += read as u64;
        }
        done = done.max(end);
    }
    Ok(hash.finalize().into())
}

fn absorb_blocks(hash: &mut Sha256, bytes: &[u8], offset: u64) {
    let mut place = offset;
    for block in bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX)) {
        if block.iter().any(|byte| *byte != 0) {
            hash.update(place.to_le_bytes());
            hash.update(block);
        }
        place += BLOCK;
    }
}

/// Fills the buffer, so that blocks stay whole; less only at the end of the file.
pub(crate) fn read_fully(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut read = 0;
    while read < buffer.len() {
        match retry_on_intr(|| pread(file, &mut buffer[read..], offset + read as u64))? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}
