//! Write-back that begins before somebody waits for the disk.
#![expect(unsafe_code, reason = "sync_file_range(2) has no safe wrapper")]

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::call::{CallError, Result};

/// Writes the content of a file back and waits for that, but neither for its metadata nor for the disk's cache.
///
/// It makes nothing durable by itself. A sync that follows finds less to do: on btrfs the commit of anything else takes the file
/// along, and its own `fsync` has nothing left to wait for.
///
/// # Errors
/// The kernel's error of the write-back, which a later sync by another descriptor may not tell again.
pub fn write_back(file: BorrowedFd<'_>) -> Result<()> {
    let how = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: takes numbers alone, and the descriptor is open for as long as it is borrowed. A length of 0 is up to the end.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) } {
        0 => Ok(()),
        _ => Err(CallError::last("sync_file_range(write)")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    #[test]
    fn a_file_is_written_back_and_a_pipe_is_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        super::write_back(file.as_fd()).unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(super::write_back(reader.as_fd()).unwrap_err().errno, Errno::SPIPE);
    }
}
