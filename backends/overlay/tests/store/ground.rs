//! Where the tests stand: a directory with homes, and short words for the verbs of the store.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe, execute};
use keiki_core::name::ContainerName;
use keiki_core::store::{BackingStore, CloneJob, Destroyed, Pool, Presence};
use keiki_core::volume::{Placement, Properties, StoreKind, Volume, VolumeId, VolumeRole, VolumeSource};
use keiki_overlay::OverlayStore;
use keiki_tree::mark;
use rustix::fs::{Mode, OFlags, mkdirat, openat};

pub(crate) const STORE: OverlayStore = OverlayStore;

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) struct Ground(pub(crate) tempfile::TempDir);

impl Ground {
    pub(crate) fn make() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Some tests mount; without the privilege there is no ground for them.
    pub(crate) fn with_mounts() -> Option<Self> {
        let ground = Self::make();
        let recipe = MountRecipe::Directory { path: ground.0.path().to_owned() };
        if execute(&MountPlan { recipe, read_only: false }).is_ok() {
            return Some(ground);
        }
        println!("skipped: needs CAP_SYS_ADMIN and Linux 5.12");
        None
    }

    pub(crate) fn pool(&self) -> Pool {
        Pool { path: self.0.path().to_owned(), options: Properties::new() }
    }

    pub(crate) fn home(&self, name: &str) -> PathBuf {
        let home = self.0.path().join(name);
        fs::create_dir_all(&home).unwrap();
        home
    }

    pub(crate) fn placement(&self, name: &str, role: VolumeRole) -> Placement {
        let home = match &role {
            VolumeRole::Snapshot(snapshot) => self.home(&format!("{name}/snaps/{snapshot}")),
            VolumeRole::Head | VolumeRole::Successor => self.home(name),
        };
        let container = ContainerName::existing(name).unwrap();
        Placement { id: VolumeId::generate(), container, role, home, options: Properties::new() }
    }

    pub(crate) fn placed(&self, name: &str, role: VolumeRole, origin: Option<&Volume>) -> Volume {
        let placement = self.placement(name, role);
        Volume::new(placement.id, STORE.place(&placement, origin).unwrap())
    }

    pub(crate) fn created(&self, name: &str) -> Volume {
        let volume = self.placed(name, VolumeRole::Head, None);
        wait(STORE.create(&Context::default(), &volume)).unwrap();
        volume
    }

    pub(crate) fn cloned(&self, name: &str, origin: &Volume) -> Volume {
        self.cloned_as(name, VolumeRole::Head, origin)
    }

    pub(crate) fn cloned_as(&self, name: &str, role: VolumeRole, origin: &Volume) -> Volume {
        let target = self.placed(name, role, Some(origin));
        clone_one(origin, &target).unwrap();
        target
    }

    /// Makes a volume of the dir store, as that store would.
    pub(crate) fn directory(&self, name: &str) -> Volume {
        let root = self.home(name).join("rootfs");
        fs::create_dir(&root).unwrap();
        let volume =
            Volume::new(VolumeId::generate(), VolumeSource::at_path(StoreKind::new("dir"), &root).unwrap());
        let opened = fs::File::open(&root).unwrap();
        mark::write_mark(opened.as_fd(), &volume.id.to_string()).unwrap();
        volume
    }
}

pub(crate) fn clone_one(origin: &Volume, target: &Volume) -> Result<()> {
    let jobs = [CloneJob { target: target.clone() }];
    wait(STORE.clones().unwrap().clone_from(&Context::default(), origin, &jobs)).remove(0)
}

pub(crate) fn destroy(volume: &Volume) -> Result<Destroyed> {
    wait(STORE.destroy(&Context::default(), volume))
}

pub(crate) fn probe(volume: &Volume) -> Presence {
    wait(STORE.probe(volume)).unwrap()
}

pub(crate) fn attach(volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
    wait(STORE.attach(&Context::default(), volume, mode))
}

pub(crate) fn mounted(volume: &Volume, mode: AttachMode) -> OwnedFd {
    execute(&attach(volume, mode).unwrap()).unwrap()
}

pub(crate) fn read(root: &OwnedFd, name: &str) -> Option<String> {
    let file = openat(root, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    fs::File::from(file).read_to_string(&mut text).unwrap();
    Some(text)
}

pub(crate) fn write(root: &OwnedFd, name: &str, text: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(root, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}

pub(crate) fn fill(volume: &Volume) {
    let root = mounted(volume, AttachMode::Fill);
    write(&root, "kept", "1").unwrap();
    write(&root, "gone", "2").unwrap();
    mkdirat(&root, "dir", Mode::from_raw_mode(0o755)).unwrap();
    write(&root, "dir/a", "3").unwrap();
}

pub(crate) fn location(volume: &Volume) -> Vec<PathBuf> {
    volume.source.location().split(':').map(PathBuf::from).collect()
}

pub(crate) fn upper(volume: &Volume) -> PathBuf {
    location(volume).pop().unwrap()
}
