//! The overlay store on the real kernel. Mounts are detached and read through their descriptors, so there is nothing
//! to clean up; what only looks at directories needs no privilege beyond the marks.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects and why it was skipped"
)]

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use keiki_core::context::{Context, Observer, Progress};
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe, Upper, execute};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::store::{BackingStore, CloneJob, Destroyed, Pool, Presence, Usage};
use keiki_core::volume::{Placement, Properties, StoreKind, Volume, VolumeId, VolumeRole, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};
use keiki_overlay::OverlayStore;
use keiki_tree::{DescribeOptions, describe_tree, mark};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

const STORE: OverlayStore = OverlayStore;

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A name in a home, and how something foreign gets there.
type Obstacle = (&'static str, fn(&Path));

struct Ground(tempfile::TempDir);

impl Ground {
    fn make() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Some tests mount; without the privilege there is no ground for them.
    fn with_mounts() -> Option<Self> {
        let ground = Self::make();
        let recipe = MountRecipe::Directory { path: ground.0.path().to_owned() };
        if execute(&MountPlan { recipe, read_only: false }).is_ok() {
            return Some(ground);
        }
        println!("skipped: needs CAP_SYS_ADMIN and Linux 5.12");
        None
    }

    fn pool(&self) -> Pool {
        Pool { path: self.0.path().to_owned(), options: Properties::new() }
    }

    fn home(&self, name: &str) -> PathBuf {
        let home = self.0.path().join(name);
        fs::create_dir_all(&home).unwrap();
        home
    }

    fn placement(&self, name: &str, role: VolumeRole) -> Placement {
        let home = match &role {
            VolumeRole::Snapshot(snapshot) => self.home(&format!("{name}/snaps/{snapshot}")),
            VolumeRole::Head | VolumeRole::Successor => self.home(name),
        };
        let container = ContainerName::existing(name).unwrap();
        Placement { id: VolumeId::generate(), container, role, home, options: Properties::new() }
    }

    fn placed(&self, name: &str, role: VolumeRole, origin: Option<&Volume>) -> Volume {
        let placement = self.placement(name, role);
        Volume::new(placement.id, STORE.place(&placement, origin).unwrap())
    }

    fn created(&self, name: &str) -> Volume {
        let volume = self.placed(name, VolumeRole::Head, None);
        wait(STORE.create(&Context::default(), &volume)).unwrap();
        volume
    }

    fn cloned(&self, name: &str, origin: &Volume) -> Volume {
        self.cloned_as(name, VolumeRole::Head, origin)
    }

    fn cloned_as(&self, name: &str, role: VolumeRole, origin: &Volume) -> Volume {
        let target = self.placed(name, role, Some(origin));
        clone_one(origin, &target).unwrap();
        target
    }

    /// Makes a volume of the dir store, as that store would.
    fn directory(&self, name: &str) -> Volume {
        let root = self.home(name).join("rootfs");
        fs::create_dir(&root).unwrap();
        let volume =
            Volume::new(VolumeId::generate(), VolumeSource::at_path(StoreKind::new("dir"), &root).unwrap());
        let opened = fs::File::open(&root).unwrap();
        mark::write_mark(opened.as_fd(), &volume.id.to_string()).unwrap();
        volume
    }
}

fn clone_one(origin: &Volume, target: &Volume) -> Result<()> {
    let jobs = [CloneJob { target: target.clone() }];
    wait(STORE.clones().unwrap().clone_from(&Context::default(), origin, &jobs)).remove(0)
}

fn destroy(volume: &Volume) -> Result<Destroyed> {
    wait(STORE.destroy(&Context::default(), volume))
}

fn probe(volume: &Volume) -> Presence {
    wait(STORE.probe(volume)).unwrap()
}

fn attach(volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
    wait(STORE.attach(&Context::default(), volume, mode))
}

fn mounted(volume: &Volume, mode: AttachMode) -> OwnedFd {
    execute(&attach(volume, mode).unwrap()).unwrap()
}

fn read(root: &OwnedFd, name: &str) -> Option<String> {
    let file = openat(root, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    fs::File::from(file).read_to_string(&mut text).unwrap();
    Some(text)
}

fn write(root: &OwnedFd, name: &str, text: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(root, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}

fn fill(volume: &Volume) {
    let root = mounted(volume, AttachMode::Fill);
    write(&root, "kept", "1").unwrap();
    write(&root, "gone", "2").unwrap();
    mkdirat(&root, "dir", Mode::from_raw_mode(0o755)).unwrap();
    write(&root, "dir/a", "3").unwrap();
}

fn location(volume: &Volume) -> Vec<PathBuf> {
    volume.source.location().split(':').map(PathBuf::from).collect()
}

fn upper(volume: &Volume) -> PathBuf {
    location(volume).pop().unwrap()
}

#[test]
fn a_created_volume_is_filled_into_its_base_and_written_into_its_layer() {
    let Some(ground) = Ground::with_mounts() else { return };
    let volume = ground.placed("a", VolumeRole::Head, None);
    assert_eq!(probe(&volume), Presence::Absent);
    wait(STORE.create(&Context::default(), &volume)).unwrap();
    wait(STORE.create(&Context::default(), &volume)).unwrap();
    assert_eq!(probe(&volume), Presence::Complete(volume.id));
    fill(&volume);
    let base = ground.home("a").join("rootfs");
    assert_eq!(fs::read_to_string(base.join("kept")).unwrap(), "1");
    assert_eq!(fs::read_dir(upper(&volume)).unwrap().count(), 0);
    let root = mounted(&volume, AttachMode::ReadWrite);
    write(&root, "kept", "changed").unwrap();
    assert_eq!(fs::read_to_string(base.join("kept")).unwrap(), "1");
    assert_eq!(fs::read_to_string(upper(&volume).join("kept")).unwrap(), "changed");
}

#[test]
fn the_root_looks_like_the_base_even_when_that_was_filled_later() {
    let Some(ground) = Ground::with_mounts() else { return };
    let volume = ground.created("a");
    let base = ground.home("a").join("rootfs");
    fs::write(base.join("f"), "1").unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o2750)).unwrap();
    // In a user namespace of one id there is nobody else to give it to.
    let is_alone = std::os::unix::fs::chown(&base, Some(100), Some(200)).is_err();
    let owner = if is_alone { (0, 0) } else { (100, 200) };
    let clone = ground.cloned("b", &volume);
    for volume in [&volume, &clone] {
        for mode in [AttachMode::ReadOnly, AttachMode::ReadWrite] {
            let stat = rustix::fs::fstat(mounted(volume, mode)).unwrap();
            assert_eq!((stat.st_mode & 0o7777, (stat.st_uid, stat.st_gid)), (0o2750, owner));
        }
    }
    // From now on the layer speaks for itself.
    let root = mounted(&volume, AttachMode::ReadWrite);
    rustix::fs::fchmod(
        fs::File::from(openat(&root, ".", OFlags::RDONLY, Mode::empty()).unwrap()),
        Mode::RWXU,
    )
    .unwrap();
    drop(root);
    assert_eq!(rustix::fs::fstat(mounted(&volume, AttachMode::ReadWrite)).unwrap().st_mode & 0o7777, 0o700);
}

#[test]
fn writes_of_a_clone_do_not_reach_its_parent() {
    let Some(ground) = Ground::with_mounts() else { return };
    for parent in [ground.directory("d"), {
        let volume = ground.created("o");
        fill(&volume);
        volume
    }] {
        if parent.kind().as_str() == "dir" {
            fs::write(ground.home("d").join("rootfs/kept"), "1").unwrap();
            fs::write(ground.home("d").join("rootfs/gone"), "2").unwrap();
            fs::create_dir(ground.home("d").join("rootfs/dir")).unwrap();
            fs::write(ground.home("d").join("rootfs/dir/a"), "3").unwrap();
        }
        let name = format!("{}-clone", parent.kind());
        let clone = ground.cloned(&name, &parent);
        let root = mounted(&clone, AttachMode::ReadWrite);
        write(&root, "kept", "changed").unwrap();
        unlinkat(&root, "gone", AtFlags::empty()).unwrap();
        renameat(&root, "dir/a", &root, "dir/b").unwrap();
        assert_eq!(read(&root, "dir/b").as_deref(), Some("3"));
        let delta = upper(&clone);
        let whiteout = fs::symlink_metadata(delta.join("gone")).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        let below = location(&parent)[0].clone();
        let below = if below.starts_with("/") { below } else { PathBuf::from(parent.source.location()) };
        assert_eq!(fs::read_to_string(below.join("kept")).unwrap(), "1");
        assert_eq!(fs::read_to_string(below.join("dir/a")).unwrap(), "3");
        assert!(below.join("gone").exists() && !below.join("dir/b").exists());
    }
}

#[test]
fn a_home_has_the_scratch_directory_that_lxc_takes_as_long_as_it_has_a_layer() {
    let ground = Ground::make();
    let head = ground.created("a");
    let next = ground.cloned_as("a", VolumeRole::Successor, &head);
    let flat = ground.placed("a", VolumeRole::Successor, None);
    wait(STORE.create(&Context::default(), &flat)).unwrap();
    for gone in [&next, &head] {
        destroy(gone).unwrap();
        assert!(ground.home("a").join("overlay/work").is_dir());
    }
    // LXC was here.
    fs::create_dir(ground.home("a").join("overlay/work/work")).unwrap();
    destroy(&flat).unwrap();
    assert_eq!(fs::read_dir(ground.home("a")).unwrap().count(), 0);
}

#[test]
fn a_directory_made_anew_in_a_clone_is_opaque() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("a");
    fill(&parent);
    let clone = ground.cloned("b", &parent);
    let root = mounted(&clone, AttachMode::ReadWrite);
    unlinkat(&root, "dir/a", AtFlags::empty()).unwrap();
    unlinkat(&root, "dir", AtFlags::REMOVEDIR).unwrap();
    mkdirat(&root, "dir", Mode::from_raw_mode(0o755)).unwrap();
    write(&root, "dir/new", "4").unwrap();
    drop(root);
    // Also as a lower layer of the next clone.
    let root = mounted(&ground.cloned("c", &clone), AttachMode::ReadWrite);
    assert_eq!((read(&root, "dir/a"), read(&root, "dir/new").as_deref()), (None, Some("4")));
}

#[test]
fn a_snapshot_freezes_the_head_and_both_go_on_from_it() {
    let Some(ground) = Ground::with_mounts() else { return };
    let head = ground.created("a");
    fill(&head);
    write(&mounted(&head, AttachMode::ReadWrite), "when", "before").unwrap();
    let role = VolumeRole::Snapshot(SnapshotName::parse("snap0").unwrap());
    let snapshot = ground.cloned_as("a", role, &head);
    let next = ground.cloned_as("a", VolumeRole::Successor, &head);
    write(&mounted(&next, AttachMode::ReadWrite), "when", "after").unwrap();
    let frozen = mounted(&snapshot, AttachMode::ReadOnly);
    assert_eq!(read(&frozen, "when").as_deref(), Some("before"));
    assert_eq!(write(&frozen, "when", "x"), Err(Errno::ROFS));
    assert_eq!(read(&mounted(&next, AttachMode::ReadOnly), "when").as_deref(), Some("after"));
    // The successor goes, and what it stood upon stays.
    assert_eq!(destroy(&next).unwrap(), Destroyed::Removed);
    assert_eq!(probe(&head), Presence::Complete(head.id));
    assert_eq!(read(&mounted(&snapshot, AttachMode::ReadOnly), "kept").as_deref(), Some("1"));
    let restored = ground.cloned_as("a", VolumeRole::Successor, &snapshot);
    assert_eq!(read(&mounted(&restored, AttachMode::ReadWrite), "when").as_deref(), Some("before"));
}

#[test]
fn a_chain_of_sixty_four_works_and_the_sixty_fifth_is_refused() {
    let Some(ground) = Ground::with_mounts() else { return };
    let mut volume = ground.created("c0");
    write(&mounted(&volume, AttachMode::Fill), "f0", "1").unwrap();
    for depth in 1..=64 {
        volume = ground.cloned(&format!("c{depth}"), &volume);
        fs::write(upper(&volume).join(format!("f{depth}")), "1").unwrap();
    }
    let root = mounted(&volume, AttachMode::ReadWrite);
    assert!((0..=64).all(|depth| read(&root, &format!("f{depth}")).is_some()));
    assert!(read(&mounted(&volume, AttachMode::ReadOnly), "f64").is_some());
    assert!(wait(STORE.list(&ground.pool())).unwrap().iter().any(|found| found.source == volume.source));
    let error = STORE.place(&ground.placement("c65", VolumeRole::Head), Some(&volume)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn changes_in_memory_vanish_with_the_mount() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("a");
    fill(&parent);
    let mut clone = ground.cloned("b", &parent);
    clone.properties.insert("upper".to_owned(), "memory".to_owned());
    let plan = attach(&clone, AttachMode::ReadWrite).unwrap();
    assert!(matches!(&plan.recipe, MountRecipe::Overlay { upper: Upper::Memory { .. }, .. }));
    let root = execute(&plan).unwrap();
    write(&root, "kept", "changed").unwrap();
    assert_eq!(read(&root, "kept").as_deref(), Some("changed"));
    drop(root);
    assert_eq!(read(&execute(&plan).unwrap(), "kept").as_deref(), Some("1"));
    assert_eq!(fs::read_dir(upper(&clone)).unwrap().count(), 0);
}

#[test]
fn names_with_commas_and_spaces_work_and_colons_are_refused() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("a, b=c");
    fill(&parent);
    let clone = ground.cloned(r"d\e f,", &parent);
    let root = mounted(&clone, AttachMode::ReadWrite);
    write(&root, "new", "1").unwrap();
    assert!(upper(&clone).join("new").exists());
    let error = STORE.place(&ground.placement("x:y", VolumeRole::Head), Some(&parent)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("x:y"), "{error}");
}

#[test]
fn a_missing_layer_is_told_with_the_container_that_it_belonged_to() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("web1");
    let clone = ground.cloned("web2", &parent);
    fs::remove_dir_all(ground.home("web1").join("rootfs")).unwrap();
    let error = attach(&clone, AttachMode::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("`web1`") && error.message().contains("web1/rootfs`"), "{error}");
    fs::remove_dir_all(upper(&clone)).unwrap();
    assert_eq!(attach(&clone, AttachMode::ReadWrite).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn flattening_gives_the_same_tree_without_anybody_below() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("a");
    fill(&parent);
    let middle = ground.cloned("b", &parent);
    let root = mounted(&middle, AttachMode::ReadWrite);
    unlinkat(&root, "gone", AtFlags::empty()).unwrap();
    unlinkat(&root, "dir/a", AtFlags::empty()).unwrap();
    unlinkat(&root, "dir", AtFlags::REMOVEDIR).unwrap();
    mkdirat(&root, "dir", Mode::from_raw_mode(0o700)).unwrap();
    write(&root, "dir/new", "x").unwrap();
    drop(root);
    let clone = ground.cloned("c", &middle);
    write(&mounted(&clone, AttachMode::ReadWrite), "kept", "top").unwrap();
    let before =
        describe_tree(mounted(&clone, AttachMode::ReadOnly).as_fd(), DescribeOptions::default()).unwrap();
    let flat = ground.placed("c", VolumeRole::Successor, None);
    let operations = STORE.lineage_ops().unwrap();
    wait(operations.flatten(&Context::default(), &clone, &flat)).unwrap();
    wait(operations.flatten(&Context::default(), &clone, &flat)).unwrap();
    for gone in [&clone, &middle, &parent] {
        assert_eq!(destroy(gone).unwrap(), Destroyed::Removed);
    }
    let root = mounted(&flat, AttachMode::ReadWrite);
    let after = describe_tree(root.as_fd(), DescribeOptions::default()).unwrap();
    assert_eq!(before.diff(&after), []);
    assert_eq!(before.hash(), after.hash());
    let base = location(&flat)[0].clone();
    assert!(!base.join("gone").exists() && base.join("dir/new").exists());
    assert_eq!(fs::read_dir(upper(&flat)).unwrap().count(), 0);
    assert_eq!(destroy(&flat).unwrap(), Destroyed::Removed);
    assert_eq!(fs::read_dir(ground.home("c")).unwrap().count(), 0);
}

#[test]
fn destroying_takes_what_was_made_and_leaves_the_home_empty() {
    let ground = Ground::make();
    let parent = ground.created("a");
    fs::write(ground.home("a").join("rootfs/f"), "1").unwrap();
    let clone = ground.cloned("b", &parent);
    // As the kernel leaves them: closed to everybody, and never to be used again.
    let scratch = ground.home("b").join("overlay/work/work");
    fs::create_dir_all(scratch.join("incompat/volatile")).unwrap();
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(destroy(&clone).unwrap(), Destroyed::Removed);
    assert_eq!(destroy(&clone).unwrap(), Destroyed::Absent);
    assert_eq!(fs::read_dir(ground.home("b")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(ground.home("a").join("rootfs/f")).unwrap(), "1");
    assert_eq!(destroy(&parent).unwrap(), Destroyed::Removed);
    assert_eq!(fs::read_dir(ground.home("a")).unwrap().count(), 0);
    let nowhere = ground.placed("a", VolumeRole::Head, None);
    fs::remove_dir(ground.home("a")).unwrap();
    assert_eq!((probe(&nowhere), destroy(&nowhere).unwrap()), (Presence::Absent, Destroyed::Absent));
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_was() {
    let ground = Ground::make();
    let parent = ground.created("parent");
    let obstacles: [Obstacle; 5] = [
        ("overlay/delta", |path| fs::create_dir(path).unwrap()),
        ("overlay/delta", |path| fs::write(path, "x").unwrap()),
        ("overlay/delta", |path| std::os::unix::fs::symlink("/etc", path).unwrap()),
        ("overlay/work", |path| fs::create_dir(path).unwrap()),
        ("rootfs", |path| fs::create_dir(path).unwrap()),
    ];
    for (index, (name, put)) in obstacles.iter().enumerate() {
        let home = ground.home(&format!("x{index}"));
        fs::create_dir(home.join("overlay")).unwrap();
        put(&home.join(name));
        let created = ground.placed(&format!("x{index}"), VolumeRole::Head, None);
        let refused =
            |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Foreign, "{index} {name}");
        refused(wait(STORE.create(&Context::default(), &created)));
        if *name != "rootfs" {
            let cloned = ground.placed(&format!("x{index}"), VolumeRole::Head, Some(&parent));
            refused(clone_one(&parent, &cloned));
            if *name == "overlay/delta" {
                assert_eq!(destroy(&cloned).unwrap_err().kind(), ErrorKind::Foreign);
                assert_eq!(probe(&cloned), Presence::Foreign);
            }
        }
        // What `create` had to make before it met the obstacle goes with `destroy`; the obstacle does not.
        let _refused_or_removed = destroy(&created);
        assert!(fs::symlink_metadata(home.join(name)).is_ok(), "{index} {name}");
        let left: Vec<_> =
            fs::read_dir(home.join("overlay")).unwrap().chain(fs::read_dir(&home).unwrap()).collect();
        assert!(left.len() <= 2, "{left:?}");
    }
}

#[test]
fn a_volume_of_another_id_is_neither_overwritten_nor_destroyed() {
    let ground = Ground::make();
    let ours = ground.created("a");
    let other = Volume::new(VolumeId::generate(), ours.source.clone());
    assert_eq!(probe(&other), Presence::Complete(ours.id));
    for result in [
        wait(STORE.create(&Context::default(), &other)),
        destroy(&other).map(drop),
        wait(STORE.adopt(&Context::default(), &other)),
        attach(&other, AttachMode::ReadWrite).map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Foreign);
    }
    assert_eq!(probe(&ours), Presence::Complete(ours.id));
}

#[test]
fn clones_are_made_in_batches_one_result_a_job() {
    let ground = Ground::make();
    let parent = ground.created("a");
    let mut jobs: Vec<_> = (0..20)
        .map(|n| CloneJob { target: ground.placed(&format!("b{n}"), VolumeRole::Head, Some(&parent)) })
        .collect();
    fs::create_dir_all(ground.home("b7").join("overlay/delta")).unwrap();
    jobs[9].target.source = "overlay:/elsewhere:/nowhere/delta".parse().unwrap();
    for _ in 0..2 {
        let results = wait(STORE.clones().unwrap().clone_from(&Context::default(), &parent, &jobs));
        let failed: Vec<_> =
            results.iter().enumerate().filter(|(_, result)| result.is_err()).map(|(n, _)| n).collect();
        assert_eq!(failed, [7, 9]);
    }
    let missing = ground.placed("none", VolumeRole::Head, None);
    let results = wait(STORE.clones().unwrap().clone_from(&Context::default(), &missing, &jobs));
    assert_eq!(results.len(), 20);
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound)));
}

#[test]
fn volumes_are_listed_where_they_are_after_their_home_was_renamed_too() {
    let ground = Ground::make();
    let parent = ground.created("a");
    let clone = ground.cloned("b", &parent);
    let snapshot = ground.cloned_as("b", VolumeRole::Snapshot(SnapshotName::parse("s").unwrap()), &clone);
    let next = ground.cloned_as("b", VolumeRole::Successor, &clone);
    ground.directory("plain");
    fs::create_dir_all(ground.home("lxc").join("overlay/delta")).unwrap();
    let sources = || {
        let mut found: Vec<_> = wait(STORE.list(&ground.pool())).unwrap();
        found.sort_by_key(|found| found.id);
        found.into_iter().map(|found| (found.id, found.source)).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = [&parent, &clone, &snapshot, &next].map(|v| (v.id, v.source.clone())).to_vec();
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!(sources(), expected);
    // A home that is renamed takes its base along.
    let staged = ground.created("staged");
    fs::rename(ground.home("staged"), ground.0.path().join("final")).unwrap();
    let moved = staged.source.to_string().replace("/staged/", "/final/");
    assert!(sources().iter().any(|(id, source)| *id == staged.id && source.to_string() == moved));
    // And with it what its snapshots and its head stand upon.
    fs::rename(ground.home("b"), ground.0.path().join("c")).unwrap();
    for volume in [&clone, &snapshot, &next] {
        let moved = volume.source.to_string().replace("/b/", "/c/");
        assert!(
            sources().iter().any(|(id, source)| *id == volume.id && source.to_string() == moved),
            "{moved}"
        );
    }
}

#[test]
fn containers_of_lxc_are_adopted_where_they_are() {
    let Some(ground) = Ground::with_mounts() else { return };
    let lxc = |name: &str, upper: &str, work: Option<&str>| {
        let home = ground.home(name);
        fs::create_dir_all(home.join(upper)).unwrap();
        if let Some(work) = work {
            fs::create_dir_all(home.join(work)).unwrap();
        }
        home
    };
    let created = lxc("c", "overlay/delta", Some("overlay/work"));
    fs::create_dir(created.join("rootfs")).unwrap();
    fs::write(created.join("rootfs/f"), "1").unwrap();
    let old = lxc("old", "delta0", Some("olwork"));
    let older = lxc("older", "delta0", None);
    let base = created.join("rootfs");
    let table = [(&created, "overlay/delta"), (&old, "delta0"), (&older, "delta0")];
    for (home, upper) in table {
        let location = format!("{}:{}", base.display(), home.join(upper).display());
        let source = VolumeSource::new(STORE.kind(), location).unwrap();
        let volume = Volume::new(VolumeId::generate(), source);
        assert_eq!(probe(&volume), Presence::Foreign);
        wait(STORE.adopt(&Context::default(), &volume)).unwrap();
        wait(STORE.adopt(&Context::default(), &volume)).unwrap();
        assert_eq!(probe(&volume), Presence::Complete(volume.id));
        assert!(
            wait(STORE.list(&ground.pool()))
                .unwrap()
                .iter()
                .any(|f| f.id == volume.id && f.source == volume.source)
        );
        let root = mounted(&volume, AttachMode::ReadWrite);
        assert_eq!(read(&root, "f").as_deref(), Some("1"));
        write(&root, "g", "2").unwrap();
        assert_eq!(fs::read_to_string(home.join(upper).join("g")).unwrap(), "2");
        drop(root);
        if *home != created {
            assert_eq!(destroy(&volume).unwrap(), Destroyed::Removed);
            assert_eq!(fs::read_dir(home).unwrap().count(), 0);
            assert!(base.join("f").exists());
        }
    }
    let missing = ground.placed("nothing", VolumeRole::Head, None);
    assert_eq!(wait(STORE.adopt(&Context::default(), &missing)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn usage_counts_what_destroying_would_free() {
    let ground = Ground::make();
    let parent = ground.created("a");
    fs::write(ground.home("a").join("rootfs/big"), vec![1_u8; 1 << 20]).unwrap();
    let clone = ground.cloned("b", &parent);
    fs::write(upper(&clone).join("small"), vec![1_u8; 1 << 16]).unwrap();
    let missing = ground.placed("c", VolumeRole::Head, None);
    wait(STORE.sync_barrier(&Context::default(), &[parent.clone(), clone.clone()])).unwrap();
    let found = wait(STORE.usage(&Context::default(), &[parent, missing, clone])).unwrap();
    assert!(found[0].exclusive.unwrap().0 >= 1 << 20);
    assert_eq!(found[1], Usage::default());
    let small = found[2].exclusive.unwrap().0;
    assert!((1 << 16..1 << 20).contains(&small), "{small}");
}

/// Fails at the n-th step; counts steps otherwise.
#[derive(Debug, Default)]
struct Failing {
    at: usize,
    seen: Mutex<Vec<String>>,
}

impl Observer for Failing {
    fn step(&self, name: &str) -> Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.push(name.to_owned());
        if seen.len() == self.at {
            Err(Error::new(ErrorKind::NoSpace, format!("planted at {name}")))
        } else {
            Ok(())
        }
    }

    fn progress(&self, _progress: Progress) {}
}

/// Runs `verb` failing at its first step, its second, and so on, until it succeeds; `check` sees what each left.
fn failing_everywhere(verb: &dyn Fn(&Context) -> Result<()>, check: &dyn Fn(&str)) -> usize {
    for at in 1.. {
        let observer = Arc::new(Failing { at, seen: Mutex::default() });
        let result = verb(&Context::new(Arc::clone(&observer) as Arc<dyn Observer>));
        let step = observer.seen.lock().unwrap().last().cloned().unwrap();
        if result.is_ok() {
            return at - 1;
        }
        check(&step);
    }
    0
}

#[test]
fn making_and_destroying_can_fail_at_every_step_and_be_repeated_or_undone() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("parent");
    fill(&parent);
    let homes = |name: &str| fs::read_dir(ground.home(name)).unwrap().count();
    let created = ground.placed("a", VolumeRole::Head, None);
    let undone = |volume: &Volume, name: &str, step: &str| {
        assert!(matches!(probe(volume), Presence::Partial | Presence::Absent), "{step}");
        destroy(volume).unwrap();
        assert_eq!(probe(volume), Presence::Absent, "{step}");
        // At most the empty directory `overlay`, made before anything of ours was in it.
        assert!(homes(name) <= 1, "{step}");
    };
    let make = |context: &Context| wait(STORE.create(context, &created));
    assert_eq!(failing_everywhere(&make, &|step| undone(&created, "a", step)), 4);
    destroy(&created).unwrap();
    // Repeated instead of undone: each attempt goes on where the last one stopped.
    failing_everywhere(&make, &|step| assert_ne!(probe(&created), Presence::Complete(created.id), "{step}"));
    assert_eq!(probe(&created), Presence::Complete(created.id));

    let clone = ground.placed("b", VolumeRole::Head, Some(&parent));
    let make = |context: &Context| {
        let jobs = [CloneJob { target: clone.clone() }];
        wait(STORE.clones().unwrap().clone_from(context, &parent, &jobs)).remove(0)
    };
    assert_eq!(failing_everywhere(&make, &|step| undone(&clone, "b", step)), 3);

    let flat = ground.placed("b", VolumeRole::Successor, None);
    let make = |context: &Context| wait(STORE.lineage_ops().unwrap().flatten(context, &clone, &flat));
    let check = |step: &str| {
        undone(&flat, "b", step);
        assert_eq!(probe(&clone), Presence::Complete(clone.id));
    };
    assert_eq!(failing_everywhere(&make, &check), 5);

    let remove = |context: &Context| wait(STORE.destroy(context, &flat)).map(drop);
    failing_everywhere(&remove, &|step| assert_ne!(probe(&flat), Presence::Absent, "{step}"));
    assert_eq!(probe(&flat), Presence::Absent);
    assert_eq!(read(&mounted(&clone, AttachMode::ReadOnly), "kept").as_deref(), Some("1"));
}

#[test]
fn the_store_is_available_where_layers_can_live() {
    use keiki_core::capability::Availability;
    let ground = Ground::make();
    assert_eq!(wait(STORE.availability(&ground.pool())), Availability::Ready);
    let missing = Pool { path: ground.0.path().join("missing"), options: Properties::new() };
    assert!(matches!(wait(STORE.availability(&missing)), Availability::Unavailable { .. }));
}

/// Set for the run inside of a user namespace, which must not start another one.
const INSIDE: &str = "KEIKI_TEST_IN_USER_NAMESPACE";

#[test]
fn everything_holds_in_a_user_namespace_too() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let unshare = |program: &Path| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(program).env(INSIDE, "1");
        command
    };
    if !unshare(Path::new("true")).status().is_ok_and(|status| status.success()) {
        println!("skipped: needs unshare(1) and user namespaces");
        return;
    }
    let output = unshare(&std::env::current_exe().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
