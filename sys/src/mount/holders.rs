//! Which process keeps a directory busy: by a mount, a working directory, a root or an open file.
//!
//! The scan serves an error message, so it is bounded: it stops after a few holders or half a second, and what it
//! may not read it passes over. Mount tables are read once for each mount namespace, not for each process.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx};

use super::table;

/// Holders that are named at most.
const HOLDERS_MAX: usize = 8;
/// Open files that are looked at in one process.
const FILES_MAX: usize = 4096;
/// How long the whole scan may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How a process holds a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Something is mounted on or from it in the process's mount namespace.
    Mount(PathBuf),
    /// It works in it.
    WorkingDirectory,
    /// It is its root.
    Root,
    /// It has a file in it open.
    OpenFile(PathBuf),
}

/// One process that holds a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// What it does.
    pub hold: Hold,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (`{}`) ", self.pid, self.name)?;
        match &self.hold {
            Hold::Mount(point) => write!(f, "has it mounted at `{}`", point.display()),
            Hold::WorkingDirectory => f.write_str("works in it"),
            Hold::Root => f.write_str("has its root in it"),
            Hold::OpenFile(path) => write!(f, "has `{}` open", path.display()),
        }
    }
}

/// Returns processes that hold `directory` or something below it; the calling process is not counted.
///
/// # Behavior
/// Best effort and bounded: an empty answer does not prove that nobody holds it.
#[must_use]
pub fn holders_of(directory: &Path) -> Vec<Holder> {
    scan(What::Below(directory))
}

/// Returns processes that hold anything on the file system whose `st_dev` is `device`, or have the block device of that number
/// open; the calling process is not counted.
///
/// # Behavior
/// As [`holders_of`]; it finds a mount that no table shows by the files that are open in it.
#[must_use]
pub fn holders_of_device(device: u64) -> Vec<Holder> {
    scan(What::On(device))
}

fn scan(what: What<'_>) -> Vec<Holder> {
    let mut scan =
        Scan { what, deadline: Instant::now() + PATIENCE, namespaces: HashSet::new(), found: Vec::new() };
    for pid in processes() {
        if scan.is_over() {
            break;
        }
        if pid != std::process::id() {
            scan.look_at(pid);
        }
    }
    scan.found
}

/// What is held.
enum What<'a> {
    /// A directory or something below it.
    Below(&'a Path),
    /// A file system.
    On(u64),
}

struct Scan<'a> {
    what: What<'a>,
    deadline: Instant,
    namespaces: HashSet<PathBuf>,
    found: Vec<Holder>,
}

impl Scan<'_> {
    fn is_over(&self) -> bool {
        self.found.len() >= HOLDERS_MAX || Instant::now() >= self.deadline
    }

    fn look_at(&mut self, pid: u32) {
        let process = PathBuf::from(format!("/proc/{pid}"));
        if let Some(hold) = self.hold_of(&process) {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            self.found.push(Holder { pid, name: name.trim_end().to_owned(), hold });
        }
    }

    fn hold_of(&mut self, process: &Path) -> Option<Hold> {
        if self.is_inside(&process.join("cwd")).is_some() {
            return Some(Hold::WorkingDirectory);
        }
        if self.is_inside(&process.join("root")).is_some() {
            return Some(Hold::Root);
        }
        self.mount_in(process).or_else(|| self.file_of(process))
    }

    /// Reads a link of /proc; `Some` when it points into what is held.
    fn is_inside(&self, link: &Path) -> Option<PathBuf> {
        let target = std::fs::read_link(link).ok()?;
        let is_held = match self.what {
            What::Below(directory) => target.starts_with(directory),
            What::On(device) => is_on(link, device),
        };
        is_held.then_some(target)
    }

    fn is_shown_by(&self, entry: &table::MountEntry) -> bool {
        match self.what {
            What::Below(directory) => entry.uses(directory),
            What::On(device) => makedev(entry.device.0, entry.device.1) == device,
        }
    }

    fn mount_in(&mut self, process: &Path) -> Option<Hold> {
        let namespace = std::fs::read_link(process.join("ns/mnt")).ok()?;
        if !self.namespaces.insert(namespace) {
            return None;
        }
        let entries = table::parse(&std::fs::read(process.join("mountinfo")).ok()?);
        entries.into_iter().find(|entry| self.is_shown_by(entry)).map(|entry| Hold::Mount(entry.point))
    }

    fn file_of(&self, process: &Path) -> Option<Hold> {
        let files = std::fs::read_dir(process.join("fd")).ok()?;
        files.flatten().take(FILES_MAX).find_map(|file| self.is_inside(&file.path())).map(Hold::OpenFile)
    }
}

/// Whether what is behind a link of /proc is on a file system or is its device, from what the kernel has at hand: a dead server must
/// not hold us up.
fn is_on(link: &Path, device: u64) -> bool {
    let Ok(seen) = statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE) else { return false };
    let is_block = FileType::from_raw_mode(seen.stx_mode.into()) == FileType::BlockDevice;
    let is_itself = is_block && makedev(seen.stx_rdev_major, seen.stx_rdev_minor) == device;
    is_itself || makedev(seen.stx_dev_major, seen.stx_dev_minor) == device
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_found_by_the_file_system_that_it_is_on() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().metadata().unwrap().dev();
        let mut sleeper = Command::new("sleep").arg("60").current_dir(directory.path()).spawn().unwrap();
        assert!(is_on(&PathBuf::from(format!("/proc/{}/cwd", sleeper.id())), device));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(holders_of_device(device).len() <= HOLDERS_MAX);
    }

    #[test]
    fn a_process_that_works_in_a_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        assert_eq!(holders_of(&path), []);
        let mut sleeper = Command::new("sleep").arg("60").current_dir(&path).spawn().unwrap();
        let found = holders_of(&path);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let holder = found.iter().find(|holder| holder.pid == sleeper.id()).unwrap();
        assert_eq!(holder.hold, Hold::WorkingDirectory);
        assert!(holder.to_string().ends_with("works in it"), "{holder}");
    }
}
