//! What the file system below an lxcpath can do for volumes that live in homes.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use keiki_tree::probe;
use rustix::fs::{Mode, OFlags, fstat, open};

use super::DIRECTORY;
use crate::capability::Availability;
use crate::error::{Error, Result, ResultExt};
use crate::store::Pool;

/// Which devices share blocks between files; asked once each.
#[derive(Debug, Default)]
pub struct Reflinks(Mutex<HashMap<u64, bool>>);

impl Reflinks {
    /// Returns whether files in the open directory `path` can share blocks; one that cannot be asked cannot.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub fn at(&self, path: &Path, directory: &OwnedFd) -> Result<bool> {
        let device = fstat(directory).or_err(|| format!("cannot look at `{}`", path.display()))?.st_dev;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(can) = known.get(&device) {
            return Ok(*can);
        }
        let answer = probe(directory.as_fd());
        if let Ok(abilities) = &answer {
            known.insert(device, abilities.reflink);
        }
        Ok(answer.is_ok_and(|abilities| abilities.reflink))
    }

    /// Returns whether files in a pool can share blocks.
    ///
    /// # Errors
    /// When the pool cannot be opened.
    pub fn in_pool(&self, pool: &Pool) -> Result<bool> {
        self.at(&pool.path, &open_pool(pool)?)
    }
}

/// Opens the directory of a pool.
///
/// # Errors
/// What the kernel says.
pub fn open_pool(pool: &Pool) -> Result<OwnedFd> {
    open(&pool.path, DIRECTORY - OFlags::NOFOLLOW, Mode::empty())
        .or_err(|| format!("cannot open `{}`", pool.path.display()))
}

/// Returns why no marked object can be kept in a pool, if there is a reason.
#[must_use]
pub fn obstacle(pool: &Pool) -> Option<Availability> {
    let unavailable = |error: &Error, remedy: &str| {
        Some(Availability::Unavailable { reason: error.full_message(), remedy: remedy.to_owned() })
    };
    let directory = match open_pool(pool) {
        Ok(directory) => directory,
        Err(error) => return unavailable(&error, "make the directory, or choose another with --lxcpath"),
    };
    match probe(directory.as_fd()).or_err(|| format!("cannot write in `{}`", pool.path.display())) {
        Ok(abilities) if abilities.marks => None,
        Ok(_) => Some(Availability::Unavailable {
            reason: format!("the file system of `{}` keeps no extended attributes", pool.path.display()),
            remedy: "choose an lxcpath on ext4, xfs, btrfs or tmpfs".to_owned(),
        }),
        Err(error) => unavailable(&error, "choose a writable lxcpath with --lxcpath"),
    }
}
