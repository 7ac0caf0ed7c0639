//! [`Ballast`]: a file that takes all the space of a file system while it exists.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Blocks get smaller towards the end, so that not even a small file fits beside the ballast.
const BLOCKS: [usize; 3] = [1 << 20, 1 << 12, 1];

const NAME: &str = "ballast";

/// All the space that a file system had; given back when dropped.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// Gives back what a process took that was killed.
    pub fn give_back(directory: &Path) {
        remove(&directory.join(NAME));
    }

    /// Fills the file system of `directory`.
    ///
    /// # Errors
    /// Whatever is not "no space left".
    pub fn take(directory: &Path) -> io::Result<Self> {
        let ballast = Self { path: directory.join(NAME) };
        let mut file = File::create(&ballast.path)?;
        for size in BLOCKS {
            fill(&mut file, &vec![0xA5; size])?;
        }
        match file.sync_all() {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(ballast),
        }
    }
}

fn fill(file: &mut File, block: &[u8]) -> io::Result<()> {
    loop {
        match file.write_all(block) {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Drop for Ballast {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    // Truncating needs no new block even where unlinking would; the file itself goes with its ground.
    let _emptied = File::options().write(true).truncate(true).open(path);
    let _removed = std::fs::remove_file(path);
}
