//! What the dir store promises, on the file system of the temporary directory.
#![expect(clippy::unwrap_used, reason = "a test says what it expects and what it skips")]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use keiki_core::capability::Availability;
use keiki_core::context::{Context, Observer, Progress};
use keiki_core::mount_plan::{AttachMode, MountRecipe};
use keiki_core::name::ContainerName;
use keiki_core::store::{BackingStore, CloneJob, Destroyed, Pool, Presence, Usage};
use keiki_core::volume::{Placement, Properties, StoreKind, Volume, VolumeId, VolumeRole, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};
use keiki_dir::DirStore;
use tokio::runtime::{Builder, Runtime};

struct Rig {
    place: tempfile::TempDir,
    store: DirStore,
    runtime: Runtime,
    cx: Context,
}

impl Rig {
    fn new() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
            store: DirStore::new(),
            runtime: Builder::new_current_thread().build().unwrap(),
            cx: Context::default(),
        }
    }

    fn home(&self, name: &str) -> PathBuf {
        let home = self.place.path().join(name);
        fs::create_dir_all(&home).unwrap();
        home
    }

    fn volume(&self, name: &str) -> Volume {
        let path = self.home(name).join("rootfs");
        Volume::new(VolumeId::generate(), VolumeSource::at_path(StoreKind::new("dir"), &path).unwrap())
    }

    fn path(volume: &Volume) -> PathBuf {
        PathBuf::from(volume.source.location())
    }

    fn create(&self, volume: &Volume) -> Result<()> {
        self.runtime.block_on(self.store.create(&self.cx, volume))
    }

    fn created(&self, name: &str) -> Volume {
        let volume = self.volume(name);
        self.create(&volume).unwrap();
        volume
    }

    fn destroy(&self, volume: &Volume) -> Result<Destroyed> {
        self.runtime.block_on(self.store.destroy(&self.cx, volume))
    }

    fn probe(&self, volume: &Volume) -> Presence {
        self.runtime.block_on(self.store.probe(volume)).unwrap()
    }

    fn clone(&self, source: &Volume, target: &Volume) -> Result<()> {
        let jobs = [CloneJob { target: target.clone() }];
        let work = self.store.clones().unwrap().clone_from(&self.cx, source, &jobs);
        self.runtime.block_on(work).remove(0)
    }

    fn pool(&self) -> Pool {
        Pool { path: self.place.path().to_owned(), options: Properties::new() }
    }

    fn names(&self, home: &str) -> Vec<String> {
        let entries = fs::read_dir(self.home(home)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn a_created_volume_is_complete_marked_open_to_read_and_created_again_without_change() {
    let rig = Rig::new();
    let volume = rig.volume("web1");
    assert_eq!(rig.probe(&volume), Presence::Absent);
    rig.create(&volume).unwrap();
    fs::write(Rig::path(&volume).join("file"), "x").unwrap();
    rig.create(&volume).unwrap();
    assert_eq!(rig.probe(&volume), Presence::Complete(volume.id));
    assert_eq!(fs::metadata(Rig::path(&volume)).unwrap().mode() & 0o7777, 0o755);
    assert!(Rig::path(&volume).join("file").exists());
    assert_eq!(rig.names("web1"), ["rootfs"]);
}

#[test]
fn what_keiki_did_not_make_is_foreign_to_every_verb_that_changes_and_stays_as_it_was() {
    let rig = Rig::new();
    let ours = rig.created("ours");
    let home = rig.home("theirs");
    fs::create_dir(home.join("rootfs")).unwrap();
    fs::write(home.join("rootfs/file"), "x").unwrap();
    let volume = rig.volume("theirs");
    let foreign = |error: Error| assert_eq!(error.kind(), ErrorKind::Foreign, "{error:?}");
    assert_eq!(rig.probe(&volume), Presence::Foreign);
    foreign(rig.create(&volume).unwrap_err());
    foreign(rig.destroy(&volume).unwrap_err());
    foreign(rig.clone(&ours, &volume).unwrap_err());
    foreign(rig.clone(&volume, &rig.volume("new")).unwrap_err());
    let exchange = rig.store.exchange().unwrap().exchange(&rig.cx, &ours, &volume);
    foreign(rig.runtime.block_on(exchange).unwrap_err());
    let imposter = Volume::new(VolumeId::generate(), ours.source.clone());
    foreign(rig.destroy(&imposter).unwrap_err());
    foreign(rig.runtime.block_on(rig.store.adopt(&rig.cx, &imposter, None)).unwrap_err());
    // Mounting it is how a container of LXC is started before anybody adopted it.
    rig.runtime.block_on(rig.store.attach(&rig.cx, &volume, AttachMode::ReadWrite)).unwrap();
    assert!(home.join("rootfs/file").exists());
    assert_eq!(rig.probe(&ours), Presence::Complete(ours.id));
}

#[test]
fn a_symbolic_link_in_place_is_foreign_and_never_followed() {
    let rig = Rig::new();
    let victim = rig.created("victim");
    let volume = rig.volume("link");
    symlink(Rig::path(&victim), Rig::path(&volume)).unwrap();
    let linked = Volume::new(victim.id, volume.source.clone());
    assert_eq!(rig.probe(&linked), Presence::Foreign);
    assert_eq!(rig.destroy(&linked).unwrap_err().kind(), ErrorKind::Foreign);
    assert_eq!(rig.probe(&victim), Presence::Complete(victim.id));
}

#[test]
fn adoption_marks_what_lxc_made_and_nothing_else_changes() {
    let rig = Rig::new();
    let volume = rig.volume("lxc");
    let adopt = |volume: &Volume| rig.runtime.block_on(rig.store.adopt(&rig.cx, volume, None));
    assert_eq!(adopt(&volume).unwrap_err().kind(), ErrorKind::NotFound);
    fs::create_dir(Rig::path(&volume)).unwrap();
    let before = fs::metadata(Rig::path(&volume)).unwrap();
    adopt(&volume).unwrap();
    adopt(&volume).unwrap();
    let after = fs::metadata(Rig::path(&volume)).unwrap();
    assert_eq!(rig.probe(&volume), Presence::Complete(volume.id));
    assert_eq!((before.mtime(), before.mode()), (after.mtime(), after.mode()));
}

#[test]
fn destroying_twice_is_absent_the_second_time_and_leaves_nothing() {
    let rig = Rig::new();
    let volume = rig.created("web1");
    fs::create_dir_all(Rig::path(&volume).join("a/b/c")).unwrap();
    assert_eq!(rig.destroy(&volume).unwrap(), Destroyed::Removed);
    assert_eq!(rig.destroy(&volume).unwrap(), Destroyed::Absent);
    assert_eq!(rig.names("web1"), [""; 0]);
    fs::remove_dir(rig.place.path().join("web1")).unwrap();
    let elsewhere = Volume::new(volume.id, volume.source.clone());
    assert_eq!(rig.destroy(&elsewhere).unwrap(), Destroyed::Absent);
}

#[test]
fn clones_and_snapshots_are_independent_copies_with_marks_of_their_own() {
    let rig = Rig::new();
    let source = rig.created("web1");
    fs::write(Rig::path(&source).join("file"), "x").unwrap();
    let (clone, snapshot) = (rig.volume("web2"), rig.volume("web1/snaps/snap0"));
    rig.clone(&source, &clone).unwrap();
    rig.clone(&source, &clone).unwrap();
    let work = rig.store.snapshots().unwrap().snapshot(&rig.cx, &source, &snapshot);
    rig.runtime.block_on(work).unwrap();
    fs::write(Rig::path(&source).join("file"), "changed").unwrap();
    rig.destroy(&source).unwrap();
    for copy in [&clone, &snapshot] {
        assert_eq!(rig.probe(copy), Presence::Complete(copy.id));
        assert_eq!(fs::read_to_string(Rig::path(copy).join("file")).unwrap(), "x");
    }
    let error = rig.clone(&source, &rig.volume("web3")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn an_exchange_swaps_both_and_repeating_it_changes_nothing() {
    let rig = Rig::new();
    let (a, b) = (rig.created("a"), rig.created(".keiki/staging/b"));
    let exchange =
        |a: &Volume, b: &Volume| rig.runtime.block_on(rig.store.exchange().unwrap().exchange(&rig.cx, a, b));
    for _ in 0..2 {
        exchange(&a, &b).unwrap();
        assert_eq!(rig.probe(&a), Presence::Complete(b.id));
        assert_eq!(rig.probe(&b), Presence::Complete(a.id));
    }
    assert_eq!(exchange(&a, &rig.volume("c")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_list_finds_volumes_and_snapshots_but_no_base_of_an_overlay() {
    let rig = Rig::new();
    let mut made: Vec<_> =
        ["a", "b", "a/snaps/s0", "a/snaps/s1"].iter().map(|name| rig.created(name)).collect();
    fs::create_dir(rig.home("foreign").join("rootfs")).unwrap();
    let base = rig.created("overlay");
    fs::create_dir_all(rig.home("overlay/overlay/delta")).unwrap();
    let delta = fs::File::open(rig.home("overlay/overlay/delta")).unwrap();
    keiki_tree::mark::write_mark(std::os::fd::AsFd::as_fd(&delta), &base.id.to_string()).unwrap();
    let mut found = rig.runtime.block_on(rig.store.list(&rig.pool())).unwrap();
    found.sort_by_key(|found| found.id);
    made.sort_by_key(|volume| volume.id);
    let expected: Vec<_> = made.iter().map(|volume| (volume.id, volume.source.clone())).collect();
    assert_eq!(found.into_iter().map(|found| (found.id, found.source)).collect::<Vec<_>>(), expected);
}

#[test]
fn attach_names_the_directory_and_refuses_what_is_not_there() {
    let rig = Rig::new();
    let volume = rig.created("web1");
    let attach = |volume: &Volume, mode| rig.runtime.block_on(rig.store.attach(&rig.cx, volume, mode));
    let plan = attach(&volume, AttachMode::ReadOnly).unwrap();
    assert_eq!(plan.recipe, MountRecipe::Directory { path: Rig::path(&volume) });
    assert!(plan.read_only && !attach(&volume, AttachMode::Fill).unwrap().read_only);
    let error = attach(&rig.volume("web2"), AttachMode::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn usage_counts_what_du_counts_and_a_missing_volume_is_unknown() {
    let rig = Rig::new();
    let volume = rig.created("web1");
    fs::write(Rig::path(&volume).join("file"), vec![1; 100_000]).unwrap();
    fs::hard_link(Rig::path(&volume).join("file"), Rig::path(&volume).join("again")).unwrap();
    let volumes = [volume, rig.volume("none")];
    rig.runtime.block_on(rig.store.sync_barrier(&rig.cx, &volumes)).unwrap();
    let usage = rig.runtime.block_on(rig.store.usage(&rig.cx, &volumes)).unwrap();
    let referenced = usage[0].referenced.unwrap().0;
    assert!((100_000..150_000).contains(&referenced), "{referenced}");
    assert_eq!(usage[1], Usage::default());
}

#[test]
fn places_lie_in_the_home_or_where_the_user_says() {
    let rig = Rig::new();
    let mut placement = Placement {
        id: VolumeId::generate(),
        container: ContainerName::parse("web1").unwrap(),
        role: VolumeRole::Head,
        home: PathBuf::from("/var/lib/lxc/web1"),
        options: Properties::new(),
    };
    assert_eq!(rig.store.place(&placement, None).unwrap().to_string(), "dir:/var/lib/lxc/web1/rootfs");
    placement.options.insert("dir".into(), "/srv/web1".into());
    assert_eq!(rig.store.place(&placement, None).unwrap().to_string(), "dir:/srv/web1");
    placement.options.insert("vgname".into(), "vg0".into());
    let error = rig.store.place(&placement, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("vgname"));
    let foreign = Volume::new(VolumeId::generate(), "zfs:tank/x".parse().unwrap());
    placement.options.clear();
    assert_eq!(rig.store.place(&placement, Some(&foreign)).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn availability_tells_a_usable_place_from_others() {
    let rig = Rig::new();
    let availability = |path: &str| {
        let pool = Pool { path: path.into(), options: Properties::new() };
        rig.runtime.block_on(rig.store.availability(&pool))
    };
    assert_eq!(availability(rig.place.path().to_str().unwrap()), Availability::Ready);
    assert_eq!(fs::read_dir(rig.place.path()).unwrap().count(), 0);
    for bad in ["/nonexistent", "/proc"] {
        let Availability::Unavailable { remedy, .. } = availability(bad) else {
            panic!("{bad} cannot hold containers")
        };
        assert!(!remedy.is_empty());
    }
}

/// Notes every step, and fails at one of them.
#[derive(Default)]
struct Failing {
    at: Option<usize>,
    heard: Mutex<Vec<String>>,
}

impl Observer for Failing {
    fn step(&self, name: &str) -> Result<()> {
        let mut heard = self.heard.lock().unwrap();
        heard.push(name.to_owned());
        if self.at.is_some_and(|at| at + 1 == heard.len()) {
            return Err(Error::new(ErrorKind::Io, format!("injected at {name}")));
        }
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

#[test]
fn an_operation_that_fails_at_any_step_leaves_what_destroy_clears_and_a_retry_completes() {
    let rig = Rig::new();
    let source = rig.created("source");
    fs::create_dir_all(Rig::path(&source).join("a/b")).unwrap();
    let mut steps = 0;
    for at in 0.. {
        let target = rig.volume(&format!("target{at}"));
        let observer = Arc::new(Failing { at: Some(at), ..Failing::default() });
        let cx = Context::new(Arc::clone(&observer) as Arc<dyn Observer>);
        let jobs = [CloneJob { target: target.clone() }];
        let result =
            rig.runtime.block_on(rig.store.clones().unwrap().clone_from(&cx, &source, &jobs)).remove(0);
        if result.is_ok() {
            break;
        }
        steps += 1;
        assert!(matches!(rig.probe(&target), Presence::Absent | Presence::Partial));
        if at % 2 == 0 {
            rig.destroy(&target).unwrap();
            assert_eq!(rig.names(&format!("target{at}")), [""; 0]);
        }
        rig.clone(&source, &target).unwrap();
        assert_eq!(rig.probe(&target), Presence::Complete(target.id));
        assert_eq!(rig.names(&format!("target{at}")), ["rootfs"]);
    }
    assert_eq!(steps, 4, "mkdir, copy, mark, publish");
    for at in 0..2 {
        let volume = rig.created(&format!("doomed{at}"));
        let observer = Arc::new(Failing { at: Some(at), ..Failing::default() });
        let cx = Context::new(observer as Arc<dyn Observer>);
        rig.runtime.block_on(rig.store.destroy(&cx, &volume)).unwrap_err();
        assert_eq!(rig.probe(&volume), [Presence::Complete(volume.id), Presence::Partial][at]);
        assert_eq!(rig.destroy(&volume).unwrap(), Destroyed::Removed);
        assert_eq!(rig.names(&format!("doomed{at}")), [""; 0]);
    }
}

#[test]
fn a_mount_in_a_volume_stops_its_destruction_as_busy_and_names_who_sees_it() {
    let rig = Rig::new();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let volume = rig.created("web1");
    let inside = Rig::path(&volume).join("mnt");
    fs::create_dir(&inside).unwrap();
    let other = rig.place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    if rustix::mount::mount_bind(&other, &inside).is_err() {
        println!("skipped: needs the privilege to mount");
        return;
    }
    let result = rig.destroy(&volume);
    let aside = rig.home("web1").join(format!(".keiki-{}", volume.id)).join("mnt");
    let mounted_at = if aside.exists() { aside } else { inside };
    rustix::mount::unmount(&mounted_at, rustix::mount::UnmountFlags::DETACH).unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    // Everybody in our mount namespace sees the mount; the one who is named is whoever comes first.
    assert!(error.context().iter().any(|(key, _)| *key == "holder"), "{error:?}");
    assert!(other.join("precious").exists());
    assert_eq!(rig.destroy(&volume).unwrap(), Destroyed::Removed);
}
