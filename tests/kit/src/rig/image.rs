//! [`FileSystem`]: the file systems that stores are tried on: the machine's own, tmpfs, and images on loop devices.
//!
//! Images are sparse files on `/dev/shm` where there is one: a test's `fsync` then costs no disk.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use keiki_sys::btrfs::{Accounting, enable_quotas};
use nix::mount::{MsFlags, mount};
use tempfile::TempDir;

use super::Missing;
use super::ground::{Ground, MountGuard};

/// A file system to try a store on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileSystem {
    /// The machine's own, below `/var/tmp`.
    Native,
    /// Memory.
    Tmpfs,
    /// ext4 in an image.
    Ext4,
    /// xfs in an image; it shares blocks by reflink.
    Xfs,
    /// btrfs in an image; it shares blocks by reflink and has subvolumes.
    Btrfs,
}

/// How large a ground is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Ample,
    /// As small as the file system allows.
    Small,
}

impl FileSystem {
    /// Returns the word that stands behind the `@` in a rig's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tmpfs => "tmpfs",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Makes the file system's shared instance for many grounds.
    pub(crate) fn mount_shared(self) -> Result<(TempDir, MountGuard), Missing> {
        let directory = scratch()?;
        let guard = self.mount(directory.path(), Room::Ample)?;
        Ok((directory, guard))
    }

    /// Makes a ground that is a small file system of its own.
    pub(crate) fn small_ground(self) -> Result<Ground, Missing> {
        // The machine's disk is nobody's to fill: ext4 in an image stands for it.
        let chosen = if self == Self::Native { Self::Ext4 } else { self };
        let directory = scratch()?;
        let guard = chosen.mount(directory.path(), Room::Small)?;
        Ground::on_mount(directory, guard)
            .map_err(|e| Missing(format!("a writable `{}`: {e}", chosen.word())))
    }

    /// Makes ground on a btrfs of its own that keeps accounts: only there can volumes be limited.
    pub(super) fn ground_with_quotas() -> Result<Ground, Missing> {
        let ground = Self::Btrfs.small_ground()?;
        let opened =
            std::fs::File::open(ground.lxcpath()).map_err(|e| Missing(format!("a directory ({e})")))?;
        enable_quotas(opened.as_fd(), Accounting::Simple)
            .map_err(|e| Missing(format!("a kernel with simple quotas ({e})")))?;
        Ok(ground)
    }

    fn mount(self, below: &Path, room: Room) -> Result<MountGuard, Missing> {
        let point = below.join("mount");
        std::fs::create_dir(&point).map_err(|e| Missing(format!("a directory to mount on ({e})")))?;
        match self {
            Self::Native => Err(Missing("nothing: it is mounted already".to_owned())),
            Self::Tmpfs => mount_memory(point, room),
            Self::Ext4 => mount_image(below, point, &["mkfs.ext4", "-q", "-F"], megabytes(room, 24)),
            Self::Xfs => mount_image(below, point, &["mkfs.xfs", "-q", "-f"], megabytes(room, 304)),
            Self::Btrfs => mount_image(below, point, &["mkfs.btrfs", "-q", "-f"], megabytes(room, 128)),
        }
    }
}

fn megabytes(room: Room, smallest: u64) -> u64 {
    match room {
        Room::Ample => 6144,
        Room::Small => smallest,
    }
}

fn mount_memory(point: PathBuf, room: Room) -> Result<MountGuard, Missing> {
    let size = format!("size={}m,mode=755", megabytes(room, 12));
    mount(Some("keiki-kit"), &point, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
        .map_err(|errno| Missing(format!("the right to mount a tmpfs ({errno})")))?;
    Ok(MountGuard::of(point))
}

fn mount_image(below: &Path, point: PathBuf, mkfs: &[&str], megabytes: u64) -> Result<MountGuard, Missing> {
    let image = below.join("image");
    let file = std::fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20));
    file.map_err(|e| Missing(format!("room for an image ({e})")))?;
    run(mkfs[0], Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image))?;
    run("loop devices", Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point))?;
    let guard = MountGuard::of(point);
    // The loop device holds it; without a name nothing is left if we are killed.
    std::fs::remove_file(&image).map_err(|e| Missing(format!("an image without a name ({e})")))?;
    Ok(guard)
}

fn run(needs: &str, command: &mut Command) -> Result<(), Missing> {
    let output = command.output().map_err(|e| Missing(format!("{needs} ({e})")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Missing(format!("{needs} ({})", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Makes a directory for images: in memory where the machine has `/dev/shm`.
fn scratch() -> Result<TempDir, Missing> {
    let builder = || tempfile::Builder::new().prefix("keiki-kit.").to_owned();
    let made = builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir_in("/var/tmp"));
    made.map_err(|e| Missing(format!("a temporary directory ({e})")))
}
