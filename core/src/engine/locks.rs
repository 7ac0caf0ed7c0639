//! Locks: `flock` files, because the kernel lets go of them however a process ends.
//!
//! ```text
//! <state>/locks/
//! ├── <hash of lxcpath and name>     who works on an existing container; the text names the holder
//! ├── <hash>.relations               held for one replacement of the container's lxc_snapshots or lxc_rdepends
//! └── intent-<id>                    held by whoever carries an intent out: free means that its owner is dead
//! ```
//!
//! Order: containers sorted by file name, then relations, one at a time. Nobody waits for a container while holding
//! relations, so there is no cycle. A name that does not exist yet is not locked but reserved in the catalogue.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::ContainerKey;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::volume::VolumeId;

/// How a container is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Beside others who only read it, too.
    Shared,
    /// Alone.
    Exclusive,
}

/// Held locks; dropping lets go.
#[derive(Debug, Default)]
pub(super) struct Held {
    files: Vec<(PathBuf, File)>,
}

impl Held {
    /// Removes the files of locks that nobody will want again, while they are still held.
    pub(super) fn retire(self) {
        for (path, _file) in &self.files {
            // Whoever waits for it finds another file behind the path afterwards, and starts anew. A file that stays is
            // a few bytes.
            let _kept = std::fs::remove_file(path);
        }
    }
}

impl Drop for Held {
    /// Lets go by word and not only by closing: a program that another thread is starting at this moment has inherited
    /// the descriptor, and would hold the lock until it is executed.
    fn drop(&mut self) {
        for (_path, file) in &self.files {
            // Closing it, which follows, is the other way.
            let _closed_anyway = file.unlock();
        }
    }
}

/// The directory of locks.
#[derive(Debug)]
pub(super) struct Locks {
    directory: PathBuf,
    wait: Duration,
}

impl Locks {
    /// Returns the locks of an installation; `wait` is the patience without a deadline.
    pub(super) fn new(state: &Path, wait: Duration) -> Self {
        Self { directory: state.join("locks"), wait }
    }

    /// Returns how long is waited without a deadline.
    pub(super) fn patience(&self) -> Duration {
        self.wait
    }

    /// Takes the locks of containers, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] naming the holder when patience or the deadline ends.
    pub(super) fn take(
        &self,
        context: &Context,
        wanted: &[(&ContainerKey, Hold)],
        operation: &str,
    ) -> Result<Held> {
        let mut files: Vec<(PathBuf, Hold, &ContainerKey)> =
            wanted.iter().map(|(key, hold)| (self.of(key), *hold, *key)).collect();
        files.sort_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
        // The stricter of two wishes for one container came first and stays.
        files.dedup_by(|later, first| later.0 == first.0);
        let mut held = Held::default();
        for (path, hold, key) in files {
            let file = self.wait_for(context, &path, hold, &format!("container `{}`", key.name))?;
            if hold == Hold::Exclusive {
                write_holder(&file, operation);
            }
            held.files.push((path, file));
        }
        Ok(held)
    }

    /// Takes the lock under which a container's relation files are replaced.
    pub(super) fn relations(&self, context: &Context, key: &ContainerKey) -> Result<Held> {
        let mut path = self.of(key).into_os_string();
        path.push(".relations");
        let path = PathBuf::from(path);
        let what = format!("the relations of container `{}`", key.name);
        let file = self.wait_for(context, &path, Hold::Exclusive, &what)?;
        Ok(Held { files: vec![(path, file)] })
    }

    /// Takes the lock of a new intent.
    pub(super) fn intent(&self, id: VolumeId) -> Result<Held> {
        self.try_intent(id)?
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("intent `{id}` is held already")))
    }

    /// Takes the lock of an intent; `None` while its owner lives.
    pub(super) fn try_intent(&self, id: VolumeId) -> Result<Option<Held>> {
        let path = self.directory.join(format!("intent-{id}"));
        let file = self.try_file(&path, Hold::Exclusive)?;
        Ok(file.map(|file| Held { files: vec![(path, file)] }))
    }

    fn of(&self, key: &ContainerKey) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(key.lxcpath.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(key.name.as_str());
        let digits: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(digits)
    }

    fn wait_for(&self, context: &Context, path: &Path, hold: Hold, what: &str) -> Result<File> {
        let patience = Instant::now() + self.wait;
        let end = context.deadline().map_or(patience, |deadline| deadline.min(patience));
        // flock(2) knows no deadline; short naps at first, because most holders are gone in milliseconds.
        let mut nap = Duration::from_millis(1);
        loop {
            if let Some(file) = self.try_file(path, hold)? {
                return Ok(file);
            }
            if Instant::now() >= end {
                return Err(Error::new(ErrorKind::Busy, format!("{what} is in use"))
                    .with_context("holder", holder(path))
                    .with_hint("wait for it to end, then repeat the command"));
            }
            thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }

    fn try_file(&self, path: &Path, hold: Hold) -> Result<Option<File>> {
        let shown = || format!("cannot lock `{}`", path.display());
        loop {
            let file = self.open(path).or_err(shown)?;
            let tried = match hold {
                Hold::Shared => file.try_lock_shared(),
                Hold::Exclusive => file.try_lock(),
            };
            match tried {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).or_err(shown),
            }
            // A holder may have retired the file between our open and our lock: then we hold nothing that counts.
            let ours = file.metadata().or_err(shown)?;
            match std::fs::metadata(path) {
                Ok(current) if current.ino() == ours.ino() && current.dev() == ours.dev() => {
                    return Ok(Some(file));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).or_err(shown),
            }
        }
    }

    fn open(&self, path: &Path) -> std::io::Result<File> {
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        match options().open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.directory)?;
                options().open(path)
            }
            other => other,
        }
    }
}

/// Says in the file who holds it. For messages alone, so a failure does not matter.
fn write_holder(mut file: &File, operation: &str) {
    let text = format!("process {}, {operation}\n", std::process::id());
    let _unsaid = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(200).read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ContainerName;

    fn key(name: &str) -> ContainerKey {
        ContainerKey { lxcpath: "/p".into(), name: ContainerName::parse(name).unwrap() }
    }

    #[test]
    fn a_held_container_is_busy_and_names_its_holder() {
        let state = tempfile::tempdir().unwrap();
        let locks = Locks::new(state.path(), Duration::from_millis(5));
        let context = Context::default();
        let _held =
            locks.take(&context, &[(&key("a"), Hold::Exclusive), (&key("b"), Hold::Shared)], "test").unwrap();
        let refused = locks.take(&context, &[(&key("a"), Hold::Shared)], "other").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(refused.context()[0].1.contains("test"), "{refused:?}");
        locks.take(&context, &[(&key("b"), Hold::Shared)], "other").unwrap();
    }

    #[test]
    fn two_wishes_for_one_container_do_not_wait_for_each_other() {
        let state = tempfile::tempdir().unwrap();
        let locks = Locks::new(state.path(), Duration::from_millis(5));
        let both = [(&key("a"), Hold::Shared), (&key("a"), Hold::Exclusive)];
        let _held = locks.take(&Context::default(), &both, "test").unwrap();
        assert!(locks.take(&Context::default(), &[(&key("a"), Hold::Shared)], "other").is_err());
    }

    #[test]
    fn a_lock_that_a_starting_program_inherited_is_free_when_it_is_let_go() {
        let state = tempfile::tempdir().unwrap();
        let locks = Locks::new(state.path(), Duration::from_millis(5));
        let id = VolumeId::generate();
        let held = locks.intent(id).unwrap();
        // What fork(2) does to every descriptor until the child calls execve(2).
        let inherited: Vec<File> = held.files.iter().map(|(_, file)| file.try_clone().unwrap()).collect();
        drop(held);
        assert!(locks.try_intent(id).unwrap().is_some(), "the owner let go and is taken for alive");
        drop(inherited);
    }

    #[test]
    fn a_retired_lock_is_taken_anew() {
        let state = tempfile::tempdir().unwrap();
        let locks = Locks::new(state.path(), Duration::from_millis(5));
        locks.take(&Context::default(), &[(&key("a"), Hold::Exclusive)], "test").unwrap().retire();
        locks.take(&Context::default(), &[(&key("a"), Hold::Exclusive)], "test").unwrap();
    }
}
