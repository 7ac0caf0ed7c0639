//! Control groups: the version 2 tree for placement, killing and freezing; version 1 hierarchies where a limit needs one.
//!
//! ```text
//! /sys/fs/cgroup                     version 2 (unified)
//! /sys/fs/cgroup/unified             version 2 beside version 1 (hybrid)
//! /sys/fs/cgroup/<controller>        version 1
//! ```
//!
//! Paths here are the kernel's own file system, which no container writes to, so they are plain paths.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::call::{CallError, CallExt, Result};

const ROOT: &str = "/sys/fs/cgroup";
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// LXC gives up there too.
const SUFFIX_MAX: u32 = 999;
/// How long a kernel may take to let go of a cgroup whose processes are gone.
const REMOVAL_TIME: Duration = Duration::from_secs(2);

/// Which trees the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Only version 2.
    Unified,
    /// Version 1 with the version 2 tree beside it.
    Hybrid,
    /// Only version 1.
    Legacy,
}

/// Finds out which trees are mounted.
#[must_use]
pub fn layout() -> Layout {
    if is_version_2(Path::new(ROOT)) {
        Layout::Unified
    } else if is_version_2(&Path::new(ROOT).join("unified")) {
        Layout::Hybrid
    } else {
        Layout::Legacy
    }
}

fn is_version_2(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|magic| magic == CGROUP2_MAGIC))
}

impl Layout {
    /// Returns the directory in which containers' cgroups are made: the version 2 tree, or `pids` of version 1.
    #[must_use]
    pub fn base(self) -> PathBuf {
        match self {
            Self::Unified => ROOT.into(),
            Self::Hybrid => Path::new(ROOT).join("unified"),
            Self::Legacy => Path::new(ROOT).join("pids"),
        }
    }

    /// Returns whether a process can be born in a cgroup.
    #[must_use]
    pub fn has_version_2(self) -> bool {
        self != Self::Legacy
    }
}

/// Returns the directory of a version 1 controller, if the host has it.
#[must_use]
pub fn version_1(controller: &str) -> Option<PathBuf> {
    let plain = !controller.is_empty() && controller != "unified" && !controller.contains(['/', '.']);
    let path = Path::new(ROOT).join(controller);
    (plain && path.join("cgroup.procs").exists()).then_some(path)
}

/// One cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a cgroup called `name` in `base`, with a suffix `-1`, `-2`, … when somebody else has the name.
    ///
    /// # Errors
    /// `EEXIST` when a thousand of them are there; `EACCES`, `EROFS`.
    pub fn make(base: &Path, name: &str) -> Result<Self> {
        for suffix in 0..=SUFFIX_MAX {
            let full = if suffix == 0 { name.to_owned() } else { format!("{name}-{suffix}") };
            let path = base.join(full);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).of_call(|| format!("mkdir({path:?})")),
            }
        }
        Err(CallError::new(format!("mkdir({:?})", base.join(name)), Errno::EXIST))
    }

    /// Makes the cgroup called `name` in a version 1 hierarchy; `cpuset` gets the processors of its parent, because
    /// nobody can enter one without.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_version_1(hierarchy: &Path, name: &str) -> Result<Self> {
        let made = Self::make(hierarchy, name)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read_to_string(hierarchy.join(file)) {
                made.write(file, value.trim())?;
            }
        }
        Ok(made)
    }

    /// Returns the cgroup at a path that was recorded.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Opens its directory, for being born in it.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.0, flags, Mode::empty()).of_call(|| format!("open({:?}, O_PATH)", self.0))
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// `ENOENT` for a file that this kernel or hierarchy does not have, `EINVAL` for a bad value.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.0.join(file);
        let write =
            || io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(&path)?, value.as_bytes());
        write().of_call(|| format!("write({path:?}, {value:?})"))
    }

    /// Kills every process in it and below.
    ///
    /// # Behavior
    /// Works on a frozen one. Before Linux 5.14 and in version 1 the processes are killed one by one until none is left.
    ///
    /// # Errors
    /// `EACCES`. A cgroup that is not there has no processes.
    pub fn kill(&self) -> Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(error) if error.errno == Errno::NOENT && self.0.exists() => self.kill_each(),
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NODEV) => Ok(()),
            other => other,
        }
    }

    fn kill_each(&self) -> Result<()> {
        let deadline = Instant::now() + REMOVAL_TIME;
        loop {
            let pids = self.processes();
            if pids.is_empty() || Instant::now() > deadline {
                return Ok(());
            }
            let own = pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid));
            for pid in own {
                // Read from this cgroup just now; the worst case is a number that was reused within microseconds.
                if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
                    && self.processes().contains(&pid.as_raw_nonzero().get())
                {
                    crate::signal::send(&pidfd, libc::SIGKILL).or_else(gone_is_fine)?;
                }
            }
        }
    }

    fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Gives it to a user and group, who may then make cgroups below it and move their processes among them; its limits stay
    /// out of their reach.
    ///
    /// # Behavior
    /// The files are those that the kernel names in `/sys/kernel/cgroup/delegate` (cgroups(7), "Delegation").
    ///
    /// # Errors
    /// `EPERM`.
    pub fn delegate(&self, user: u32, group: u32) -> Result<()> {
        let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
        let give = |path: &Path| {
            let given = rustix::fs::chown(path, Some(user), Some(group));
            given.of_call(|| format!("chown({path:?}, {}, {})", user.as_raw(), group.as_raw()))
        };
        give(&self.0)?;
        let listed =
            fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| DELEGATED.to_owned());
        for file in listed.lines().map(|name| self.0.join(name)).filter(|path| path.exists()) {
            give(&file)?;
        }
        Ok(())
    }

    /// Returns whether all its processes are suspended.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "frozen 1"))
    }

    /// Suspends or resumes all its processes.
    ///
    /// # Errors
    /// `ENOENT` in version 1, where this tree does not reach.
    pub fn freeze(&self, freeze: Freeze) -> Result<()> {
        self.write("cgroup.freeze", if freeze == Freeze::On { "1" } else { "0" })
    }

    /// Waits until all its processes are suspended, or none is.
    ///
    /// # Errors
    /// `ETIMEDOUT`: a process that waits in the kernel is suspended when it comes back.
    pub fn wait_until_frozen(&self, freeze: Freeze, timeout: Duration) -> Result<()> {
        self.wait_while(if freeze == Freeze::On { "frozen 0" } else { "frozen 1" }, timeout)
    }

    /// Waits until no process is in it, without asking again and again.
    ///
    /// # Errors
    /// `ETIMEDOUT`.
    pub fn wait_until_empty(&self, timeout: Duration) -> Result<()> {
        self.wait_while("populated 1", timeout)
    }

    /// Waits as long as the kernel says `line` of it.
    fn wait_while(&self, line: &str, timeout: Duration) -> Result<()> {
        let path = self.0.join("cgroup.events");
        let deadline = Instant::now() + timeout;
        while let Ok(events) = fs::File::open(&path) {
            let text = io::read_to_string(&events).unwrap_or_default();
            if !text.lines().any(|said| said == line) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let changed = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&limit));
            if left.is_zero() || (changed == Ok(0)) {
                return Err(CallError::new(format!("poll({path:?})"), Errno::TIMEDOUT));
            }
        }
        Ok(())
    }

    /// Returns what one of its files says, without the last line's end.
    ///
    /// # Errors
    /// `EINVAL` for a name that is a path, `ENOENT`, `EOPNOTSUPP` for one that can only be written.
    pub fn read(&self, file: &str) -> Result<String> {
        let shown = || format!("read({:?})", self.0.join(file));
        if file.contains('/') || file == ".." || file.is_empty() {
            return Err(CallError::new(shown(), Errno::INVAL));
        }
        let text = fs::read_to_string(self.0.join(file)).of_call(shown)?;
        Ok(text.strip_suffix('\n').map_or(text.clone(), str::to_owned))
    }

    /// Kills what is in it, waits, and removes it with everything below.
    ///
    /// # Behavior
    /// One that is not there is removed already.
    ///
    /// # Errors
    /// `EBUSY` when the kernel does not let go of it, `ETIMEDOUT` when a process in it cannot die.
    pub fn remove(&self) -> Result<()> {
        // The usual case: everything in it is dead and it has no children.
        match rmdir(&self.0) {
            Err(error) if error.errno == Errno::BUSY => {}
            other => return other,
        }
        self.kill()?;
        self.wait_until_empty(REMOVAL_TIME)?;
        let deadline = Instant::now() + REMOVAL_TIME;
        loop {
            match remove_tree(&self.0) {
                // Version 1 counts a dying process for a moment longer and tells nobody when it stops.
                Err(error) if error.errno == Errno::BUSY && Instant::now() < deadline => {
                    std::thread::yield_now()
                }
                other => return other,
            }
        }
    }
}

/// What is delegated on kernels before 4.15, which do not say.
const DELEGATED: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

/// Whether processes are suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    /// They are.
    On,
    /// They run.
    Off,
}

fn gone_is_fine(error: CallError) -> Result<()> {
    if error.errno == Errno::SRCH { Ok(()) } else { Err(error) }
}

fn remove_tree(path: &Path) -> Result<()> {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove_tree(&entry.path())?;
        }
    }
    rmdir(path)
}

fn rmdir(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.of_call(|| format!("rmdir({path:?})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_made_beside_others_killed_and_removed_with_children() {
        let base = layout().base();
        let name = format!("keiki-test-{}", std::process::id());
        let Ok(first) = Cgroup::make(&base, &name) else {
            println!("skipped: needs a writable cgroup tree");
            return;
        };
        let second = Cgroup::make(&base, &name).unwrap();
        assert!(second.path().ends_with(format!("{name}-1")));
        fs::create_dir(second.path().join("below")).unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        Cgroup::at(second.path().join("below")).write("cgroup.procs", &sleeper.id().to_string()).unwrap();
        assert_eq!(second.wait_until_empty(Duration::ZERO).unwrap_err().errno, Errno::TIMEDOUT);
        second.kill().unwrap();
        sleeper.wait().unwrap();
        second.remove().unwrap();
        first.remove().unwrap();
        first.remove().unwrap();
        first.kill().unwrap();
        assert!(!first.path().exists() && !second.path().exists());
    }

    #[test]
    fn a_controller_is_one_word() {
        for bad in ["", "..", "a/b", "unified", "no-such"] {
            assert_eq!(version_1(bad), None, "{bad}");
        }
    }
}
