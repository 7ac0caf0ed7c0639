//! [`LvmRig`]: logical volumes in groups of their own, on slices of `/dev/rig/lvm` in the rig's virtual machine.
//!
//! ```text
//! /dev/rig/lvm                  the machine's data disk
//! └── keiki-kit-slice<N>        a piece of it (device mapper, linear)
//!     └── keiki-kit<N>          a volume group; with the thin pool `pool` in it for the thin rig
//! ```
//!
//! A group serves one ground at a time and is emptied in between: making one takes seconds in an emulated machine. The groups and
//! slices go with the rig.

mod disk;
mod stranger;

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::store::BackingStore;
use keiki_core::volume::{Properties, Volume};
use keiki_dir::DirStore;
use keiki_lvm::LvmStore;

use super::{Filler, Ground, Missing, Rig, Stranger};
use crate::verdict::{Failure, Verdict};
use disk::{Disk, Lease, Room, lvm};

/// What volumes are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort {
    /// Extents of their own.
    Plain,
    /// A thin pool.
    Thin,
}

/// The thin pool of every group that has one.
const POOL: &str = "pool";

/// What takes the space of a group.
const BALLAST: &str = "ballast";

/// The lvm store, plain or thin, on the data disk of the virtual machine.
pub struct LvmRig {
    sort: Sort,
    disk: Arc<Disk>,
}

impl fmt::Debug for LvmRig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl LvmRig {
    /// Returns the rig of volumes of one sort.
    #[must_use]
    pub fn new(sort: Sort) -> Self {
        Self { sort, disk: Disk::shared() }
    }

    fn ground(&self, room: Room) -> Result<Ground, Missing> {
        let lease = Disk::lease(&self.disk, self.sort, room)?;
        let directory = tempfile::Builder::new().prefix("keiki-kit.").tempdir_in("/var/tmp");
        let ground = directory.and_then(Ground::in_directory);
        let ground = ground.map_err(|e| Missing(format!("a writable directory ({e})")))?;
        Ok(ground.with_pool(self.options(&lease, room), lease))
    }

    fn options(&self, lease: &Lease, room: Room) -> Properties {
        let size = if room == Room::Ample { "64M" } else { "16M" };
        let mut options = vec![("vgname", lease.group()), ("fssize", size.to_owned())];
        options.push(("fstype", "ext4".to_owned()));
        if self.sort == Sort::Thin {
            options.push(("thinpool", POOL.to_owned()));
        }
        options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn group(ground: &Ground) -> String {
    ground.options().get("vgname").cloned().unwrap_or_default()
}

/// Returns `VG/LV` of a volume.
fn full_name(volume: &Volume) -> String {
    volume.source.location().trim_start_matches("/dev/").to_owned()
}

fn needs(what: &str) -> impl Fn(String) -> Missing + '_ {
    move |said| Missing(format!("{what} ({said})"))
}

/// A device that somebody has open.
#[derive(Debug)]
struct Busy {
    name: String,
    was_active: bool,
    file: Option<File>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.file.take());
        if !self.was_active {
            let _gone = lvm(&["lvchange", "-y", "-an", &self.name]);
        }
    }
}

/// What takes all the space; given back when dropped.
#[derive(Debug)]
struct Taken(String);

impl Drop for Taken {
    fn drop(&mut self) {
        give_back(&self.0);
    }
}

fn give_back(group: &str) {
    let _gone = lvm(&["lvremove", "-y", "-f", &format!("{group}/{BALLAST}")]);
}

fn take_all(sort: Sort, group: &str) -> Result<Taken, Missing> {
    let taken = Taken(group.to_owned());
    let cannot = needs("a group that can be filled");
    if sort == Sort::Plain {
        lvm(&["lvcreate", "-y", "-an", "-l", "100%FREE", "-n", BALLAST, group]).map_err(cannot)?;
        return Ok(taken);
    }
    let size = ["--thinpool", POOL, "-V", "256M"];
    lvm(&[["lvcreate", "-y", "-n", BALLAST].as_slice(), &size, &[group]].concat()).map_err(&cannot)?;
    disk::fill(&PathBuf::from(format!("/dev/{group}/{BALLAST}"))).map_err(|e| cannot(e.to_string()))?;
    Ok(taken)
}

impl Rig for LvmRig {
    fn name(&self) -> String {
        format!("lvm-{}@vm", if self.sort == Sort::Plain { "plain" } else { "thin" })
    }

    fn store(&self) -> Arc<dyn BackingStore> {
        Arc::new(LvmStore)
    }

    fn companions(&self) -> Vec<Arc<dyn BackingStore>> {
        vec![Arc::new(DirStore::new())]
    }

    fn fresh_pool(&self) -> Result<Ground, Missing> {
        self.ground(Room::Ample)
    }

    fn small_pool(&self) -> Result<Ground, Missing> {
        self.ground(Room::Small)
    }

    fn filler(&self, ground: &Ground) -> Filler {
        let (sort, group) = (self.sort, group(ground));
        Box::new(move || Ok(Box::new(take_all(sort, &group)?)))
    }

    fn give_back(&self, ground: &Ground) {
        give_back(&group(ground));
    }

    fn hold_busy(&self, volume: &Volume) -> Result<Box<dyn Any>, Missing> {
        let device = Path::new(volume.source.location());
        let (name, was_active) = (full_name(volume), device.exists());
        lvm(&["lvchange", "-y", "-ay", "-K", &name]).map_err(needs("a volume that can be activated"))?;
        let file = File::open(device).map_err(|e| Missing(format!("a device that can be opened ({e})")))?;
        Ok(Box::new(Busy { name, was_active, file: Some(file) }))
    }

    fn plant_stranger(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        let name = full_name(volume);
        let (group, lv) = name.split_once('/').unwrap_or((&name, ""));
        let size: &[&str] =
            if self.sort == Sort::Plain { &["-L", "8M"] } else { &["--thinpool", POOL, "-V", "8M"] };
        lvm(&[["lvcreate", "-y", "-n", lv].as_slice(), size, &[group]].concat())
            .map_err(needs("room for a stranger"))?;
        stranger::planted(volume)
    }

    fn unmark(&self, _ground: &Ground, volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
        let tag = format!("keiki.id={}", volume.id);
        lvm(&["lvchange", "--deltag", &tag, &full_name(volume)]).map_err(needs("a tag to take off"))?;
        stranger::watched(volume)
    }

    fn carry_mark(&self, _original: &Volume, _copy: &Volume) -> Result<(), Missing> {
        Err(Missing("a store whose copies carry marks; LVM's tags are not in the tree".to_owned()))
    }

    fn lose(&self, _ground: &Ground, volume: &Volume) -> Result<(), Missing> {
        lvm(&["lvremove", "-y", "-f", &full_name(volume)]).map_err(needs("a volume to lose")).map(drop)
    }

    fn identity(&self, volume: &Volume) -> Result<String, Missing> {
        let found = lvm(&["lvs", "--noheadings", "-o", "lv_uuid", &full_name(volume)]);
        found.map(|uuid| uuid.trim().to_owned()).map_err(needs("a volume"))
    }

    fn objects(&self, ground: &Ground) -> Verdict<Vec<String>> {
        report(ground, "lv_name,lv_tags")
    }

    fn held(&self, ground: &Ground) -> Verdict<Vec<String>> {
        let lines = report(ground, "lv_name,lv_active")?;
        let active = lines.into_iter().filter_map(|line| line.strip_suffix(",active").map(str::to_owned));
        Ok(active.map(|name| format!("{name} is active")).collect())
    }
}

/// Returns a line for each volume of a ground, its pool apart.
fn report(ground: &Ground, fields: &str) -> Verdict<Vec<String>> {
    let text = lvm(&["lvs", "--noheadings", "--separator", ",", "-o", fields, &group(ground)]);
    let text = text.map_err(Failure::new)?;
    let lines = text.lines().map(|line| line.trim().to_owned());
    let mut lines: Vec<String> =
        lines.filter(|line| !line.is_empty() && line.split(',').next() != Some(POOL)).collect();
    lines.sort();
    Ok(lines)
}
