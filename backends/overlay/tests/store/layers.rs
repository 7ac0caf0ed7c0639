//! What a stack shows, and where its changes go.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, MountRecipe, Upper, execute};
use keiki_core::name::SnapshotName;
use keiki_core::store::{BackingStore, Destroyed, Presence};
use keiki_core::volume::VolumeRole;
use keiki_tree::{DescribeOptions, describe_tree};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::ground::*;

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
