//! Pools and datasets of a test, destroyed when dropped, and what fills them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::super::Missing;

const DISK: &str = "/dev/rig/zfs";
const NAME: &str = "keiki-kit";
const BALLAST: &str = "ballast";

/// The smallest that zfs takes is 64 MiB; half of a pool so small is kept by zfs itself.
const SMALL: u64 = 96 << 20;

/// What is left of a full pool at most, in bytes: no block of a file fits in beside its metadata.
const RESIDUE: u64 = 16 << 10;

static SMALL_POOLS: AtomicU32 = AtomicU32::new(0);

/// Runs `zfs` and returns what it prints.
pub(super) fn zfs(arguments: &[&str]) -> Result<String, Missing> {
    run("zfs", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, Missing> {
    let missing = |why: String| Missing(format!("`{program} {}` ({why})", arguments.join(" ")));
    let output = Command::new(program).args(arguments).output().map_err(|e| missing(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    Err(missing(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// A pool.
#[derive(Debug)]
pub(super) struct Pool {
    name: String,
    file: Option<PathBuf>,
}

impl Pool {
    /// Makes the pool on the machine's disk.
    pub(super) fn on_disk() -> Result<Self, Missing> {
        let device = std::fs::canonicalize(DISK);
        let device = device.map_err(|_| Missing(format!("a virtual machine with {DISK}")))?;
        Self::make(NAME.to_owned(), &partition_of(&device)?, None)
    }

    /// Makes a small pool in memory.
    pub(super) fn small() -> Result<Self, Missing> {
        let number = SMALL_POOLS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME}-small-{}-{number}", std::process::id());
        let file = Path::new("/dev/shm").join(&name);
        let made = File::create(&file).and_then(|made| made.set_len(SMALL));
        made.map_err(|e| Missing(format!("room for a pool in memory ({e})")))?;
        Self::make(name, &file.clone(), Some(file))
    }

    fn make(name: String, on: &Path, file: Option<PathBuf>) -> Result<Self, Missing> {
        let pool = Self { name, file };
        let on = on.to_string_lossy();
        // What cases write is all alike; compressed it would take no space.
        let options = ["-O", "mountpoint=none", "-O", "canmount=off", "-O", "compression=off"];
        let arguments: Vec<&str> =
            ["create", "-f"].into_iter().chain(options).chain([pool.name.as_str(), &on]).collect();
        run("zpool", &arguments)?;
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _gone = run("zpool", &["destroy", "-f", &self.name]);
        if let Some(file) = &self.file {
            let _removed = std::fs::remove_file(file);
        }
    }
}

/// Gives a disk one partition and returns it: on a whole disk zfs makes its own and waits for udev, which the machine lacks.
fn partition_of(disk: &Path) -> Result<PathBuf, Missing> {
    const FIRST: u32 = 2048;
    let shown = disk.to_string_lossy();
    let sectors: u64 = run("blockdev", &["--getsz", &shown])?
        .parse()
        .map_err(|_| Missing(format!("a disk `{shown}` with a size")))?;
    let count = u32::try_from(sectors.saturating_sub(u64::from(FIRST) * 2)).unwrap_or(u32::MAX);
    let mut sector = [0_u8; 512];
    sector[450] = 0x83;
    sector[454..458].copy_from_slice(&FIRST.to_le_bytes());
    sector[458..462].copy_from_slice(&count.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    let written = File::options().write(true).open(disk).and_then(|mut file| file.write_all(&sector));
    written.map_err(|e| Missing(format!("a disk `{shown}` that can be written ({e})")))?;
    run("blockdev", &["--rereadpt", &shown])?;
    let partition = PathBuf::from(format!("{shown}1"));
    let end = Instant::now() + Duration::from_secs(5);
    while !partition.exists() {
        if Instant::now() > end {
            return Err(Missing(format!("the partition `{}`", partition.display())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(partition)
}

/// The dataset of one ground.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) name: String,
    _pool: Arc<Pool>,
}

impl Dataset {
    pub(super) fn make(pool: Arc<Pool>, name: &str) -> Result<Self, Missing> {
        let name = format!("{}/{name}", pool.name);
        zfs(&["create", "-o", "canmount=off", "-o", "mountpoint=none", &name])?;
        Ok(Self { name, _pool: pool })
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        for name in [format!("{}-lost", self.name), self.name.clone()] {
            let _gone = zfs(&["destroy", "-R", "-f", &name]);
        }
    }
}

/// All the space that a pool had; given back when dropped.
#[derive(Debug)]
pub(super) struct Ballast {
    name: String,
}

impl Ballast {
    /// Takes what is left of the pool of `root`.
    pub(super) fn take(root: &str) -> Result<Self, Missing> {
        let ballast = Self { name: Self::name_for(root) };
        zfs(&["create", "-o", "canmount=off", "-o", "mountpoint=none", &ballast.name])?;
        let mut held = 0;
        for _ in 0..20 {
            let left = number(&zfs(&["get", "-Hp", "-o", "value", "available", root])?)?;
            if left < RESIDUE {
                break;
            }
            held += left;
            zfs(&["set", &format!("reservation={held}"), &ballast.name])?;
        }
        Ok(ballast)
    }

    /// Gives back what a process took that was killed.
    pub(super) fn give_back(root: &str) {
        let _gone = zfs(&["destroy", &Self::name_for(root)]);
    }

    fn name_for(root: &str) -> String {
        let pool = root.split('/').next().unwrap_or(root);
        format!("{pool}/{BALLAST}")
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _gone = zfs(&["destroy", &self.name]);
    }
}

fn number(text: &str) -> Result<u64, Missing> {
    text.parse().map_err(|_| Missing(format!("a number, not `{text}`")))
}
