//! Waiting for a state without asking again and again: inotify on the run directory, and the processes themselves.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use keiki_core::engine::ContainerKey;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::rundir::{self, Process, RunDir};

/// Sees changes of one container's run directory from the moment it is made.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: OwnedFd,
    parent: std::path::PathBuf,
    directory: RunDir,
}

impl Watch {
    pub(crate) fn new(run: &Path, key: &ContainerKey) -> Result<Self> {
        let shown = || "cannot watch the run directory".to_owned();
        let inotify =
            inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).or_err(shown)?;
        let parent = rundir::parent(run, &key.lxcpath);
        Ok(Self { inotify, parent, directory: RunDir::of(run, key) })
    }

    /// Arms the watch. What changes after this returns ends a later [`Self::wait`].
    pub(crate) fn arm(&self) -> Result<()> {
        let changes = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE_SELF;
        let shown = || "cannot watch the run directory".to_owned();
        loop {
            rundir::make_directory(&self.parent)?;
            match inotify::add_watch(&self.inotify, &self.parent, changes) {
                Ok(_) => break,
                // The last container of the lxcpath has just stopped, and the directory went with it.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).or_err(shown),
            }
        }
        match inotify::add_watch(&self.inotify, self.directory.path(), changes) {
            // The parent tells when it is made.
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).or_err(shown),
        }
    }

    /// Waits for a change, for the end of `process`, or for the deadline; returns whether there was time left.
    pub(crate) fn wait(&self, process: Option<&OwnedFd>, deadline: Option<Instant>) -> Result<bool> {
        let mut fds = vec![PollFd::new(&self.inotify, PollFlags::IN)];
        fds.extend(process.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit =
            left.map(|left| Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.forget_events();
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno).or_err(|| "cannot wait for the container".to_owned()),
        }
    }

    fn forget_events(&self) {
        let mut buffer = [0_u8; 4096];
        while rustix::io::read(&self.inotify, &mut buffer).is_ok_and(|length| length > 0) {}
    }
}

/// Waits for the end of a process; returns whether it came in time.
pub(crate) fn for_end(process: Option<Process>, timeout: Duration) -> Result<bool> {
    let Some(pidfd) = process.and_then(Process::open) else { return Ok(true) };
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        match poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&limit)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).or_err(|| "cannot wait for a process".to_owned()),
        }
    }
}

/// Returns the error of a wait that took too long.
pub(crate) fn too_long(message: String) -> Error {
    Error::new(ErrorKind::Timeout, message)
}
