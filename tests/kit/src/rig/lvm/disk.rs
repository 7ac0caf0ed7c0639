//! The data disk of the machine, cut into slices with a volume group each.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::super::Missing;
use super::{POOL, Sort};

const DISK: &str = "/dev/rig/lvm";
const SECTOR: u64 = 512;

/// How large a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Room {
    Ample,
    Small,
}

impl Room {
    fn megabytes(self) -> u64 {
        match self {
            Self::Ample => 2048,
            Self::Small => 160,
        }
    }

    fn pool_megabytes(self) -> &'static str {
        match self {
            Self::Ample => "1920M",
            Self::Small => "96M",
        }
    }
}

/// The rigs of one process share the disk.
static SHARED: Mutex<Weak<Disk>> = Mutex::new(Weak::new());

#[derive(Debug, Default)]
pub(super) struct Disk {
    slices: Mutex<Slices>,
}

#[derive(Debug, Default)]
struct Slices {
    /// Groups that are nobody's at the moment.
    free: BTreeMap<(Sort, Room), Vec<u32>>,
    made: Vec<u32>,
    used_megabytes: u64,
}

/// A group for one ground; emptied and given back when dropped.
pub(super) struct Lease {
    disk: Arc<Disk>,
    number: u32,
    kind: (Sort, Room),
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.group())
    }
}

impl Lease {
    pub(super) fn group(&self) -> String {
        group(self.number)
    }
}

fn group(number: u32) -> String {
    format!("keiki-kit{number}")
}

fn slice(number: u32) -> String {
    format!("keiki-kit-slice{number}")
}

impl Disk {
    pub(super) fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let disk = Arc::new(Self::default());
            *shared = Arc::downgrade(&disk);
            disk
        })
    }

    /// Hands out an empty group.
    pub(super) fn lease(disk: &Arc<Self>, sort: Sort, room: Room) -> Result<Lease, Missing> {
        if !Path::new(DISK).exists() {
            return Err(Missing(format!("a virtual machine with {DISK} (tests/rig/kit-in-vm.sh)")));
        }
        let mut slices = disk.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slices.free.entry((sort, room)).or_default().pop();
        let number = match free {
            Some(number) => number,
            None => slices.cut(sort, room).map_err(|said| Missing(format!("a volume group ({said})")))?,
        };
        Ok(Lease { disk: Arc::clone(disk), number, kind: (sort, room) })
    }
}

impl Slices {
    fn cut(&mut self, sort: Sort, room: Room) -> Result<u32, String> {
        let number = u32::try_from(self.made.len()).map_err(|e| e.to_string())?;
        // Not at the front: LVM would find the label of the first slice on the whole disk too.
        let (start, length) = ((self.used_megabytes + 1) << 20, room.megabytes() << 20);
        let size =
            File::open(DISK).and_then(|mut disk| disk.seek(SeekFrom::End(0))).map_err(|e| e.to_string())?;
        if start + length > size {
            return Err(format!("`{DISK}` is full"));
        }
        let table = format!("0 {} linear {DISK} {}", length / SECTOR, start / SECTOR);
        run("dmsetup", &["create", &slice(number), "--table", &table])?;
        self.made.push(number);
        self.used_megabytes += room.megabytes();
        let device = format!("/dev/mapper/{}", slice(number));
        lvm(&["pvcreate", "-y", "-ff", &device])?;
        lvm(&["vgcreate", &group(number), &device])?;
        if sort == Sort::Thin {
            let full = format!("{}/{POOL}", group(number));
            lvm(&[
                "lvcreate",
                "-y",
                "--type",
                "thin-pool",
                "-L",
                room.pool_megabytes(),
                "-n",
                POOL,
                &group(number),
            ])?;
            // A test must not wait a minute for each write that does not fit.
            lvm(&["lvchange", "-y", "--errorwhenfull", "y", &full])?;
        }
        Ok(number)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What is full or was damaged by a test is not worth keeping; neither is one that cannot be emptied.
        let emptied = lvm(&["lvremove", "-y", "-f", "--select", &format!("lv_name!={POOL}"), &self.group()]);
        if emptied.is_ok() {
            let mut slices = self.disk.slices.lock().unwrap_or_else(PoisonError::into_inner);
            slices.free.entry(self.kind).or_default().push(self.number);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let slices = self.slices.get_mut().unwrap_or_else(PoisonError::into_inner);
        for number in slices.made.drain(..) {
            let _gone = lvm(&["vgremove", "-y", "-ff", &group(number)]);
            let _gone = lvm(&["pvremove", "-y", "-ff", &format!("/dev/mapper/{}", slice(number))]);
            let _gone = run("dmsetup", &["remove", "--retry", &slice(number)]);
        }
    }
}

/// Runs a command of LVM; the error is what it said.
pub(super) fn lvm(words: &[&str]) -> Result<String, String> {
    run("lvm", words)
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Writes to a device until it takes no more.
pub(super) fn fill(device: &Path) -> io::Result<()> {
    const DIRECT: i32 = 0o40_000;
    let mut file = OpenOptions::new().write(true).custom_flags(DIRECT).open(device)?;
    let block = Aligned([0xA5; BLOCK]);
    while file.write(&block.0).is_ok_and(|written| written > 0) {}
    Ok(())
}

const BLOCK: usize = 1 << 16;

/// The size of a pool's chunk, as direct writes want it.
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);
