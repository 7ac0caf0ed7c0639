//! A sparse image with a btrfs in it, mounted for one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use keiki_btrfs::BtrfsStore;
use keiki_core::name::ContainerName;
use keiki_core::store::BackingStore;
use keiki_core::volume::{Placement, Properties, Volume, VolumeId, VolumeRole};

pub(crate) struct Ground {
    directory: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn make() -> Option<Self> {
        Self::mounted("loop")
    }

    /// Makes a ground that is mounted with these options.
    pub(crate) fn mounted(options: &str) -> Option<Self> {
        // In memory where there is such a place: a commit then waits for no disk.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (image, mount) = (directory.path().join("image"), directory.path().join("mount"));
        std::fs::create_dir(&mount).unwrap();
        let script = format!(
            "truncate -s 512M {0} && mkfs.btrfs -q {0} && mount -o {options} {0} {1}",
            image.display(),
            mount.display()
        );
        let made = Command::new("/bin/sh").arg("-c").arg(script).status().unwrap().success();
        if !made {
            println!("skipped: needs mkfs.btrfs and loop devices");
            return None;
        }
        Some(Self { directory })
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    pub(crate) fn volume(&self, name: &str) -> Volume {
        let home = self.pool().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let placement = Placement {
            id: VolumeId::generate(),
            container: ContainerName::parse(name).unwrap(),
            role: VolumeRole::Head,
            home,
            options: Properties::new(),
        };
        Volume::new(placement.id, BtrfsStore::new().place(&placement, None).unwrap())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg(self.pool()).status();
    }
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn root(volume: &Volume) -> &Path {
    Path::new(volume.source.location())
}

/// Runs a line of shell, which must succeed.
pub(crate) fn shell(line: &str) -> String {
    let output = Command::new("/bin/sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
