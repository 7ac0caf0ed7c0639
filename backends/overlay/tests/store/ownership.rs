//! Whose is what: making, finding, adopting, refusing, removing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::mount_plan::AttachMode;
use keiki_core::name::SnapshotName;
use keiki_core::store::{BackingStore, CloneJob, Destroyed, Pool, Presence, Usage};
use keiki_core::volume::{Properties, Volume, VolumeId, VolumeRole, VolumeSource};
use keiki_core::{ErrorKind, Result};

use crate::ground::*;

/// A name in a home, and how something foreign gets there.
type Obstacle = (&'static str, fn(&Path));

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
        wait(STORE.adopt(&Context::default(), &other, None)),
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
        wait(STORE.adopt(&Context::default(), &volume, None)).unwrap();
        wait(STORE.adopt(&Context::default(), &volume, None)).unwrap();
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
    assert_eq!(
        wait(STORE.adopt(&Context::default(), &missing, None)).unwrap_err().kind(),
        ErrorKind::NotFound
    );
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

#[test]
fn the_store_is_available_where_layers_can_live() {
    use keiki_core::capability::Availability;
    let ground = Ground::make();
    assert_eq!(wait(STORE.availability(&ground.pool())), Availability::Ready);
    let missing = Pool { path: ground.0.path().join("missing"), options: Properties::new() };
    assert!(matches!(wait(STORE.availability(&missing)), Availability::Unavailable { .. }));
}
