//! The btrfs store on a real btrfs: a sparse image, loop-mounted for the test and taken away with it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects and why it was skipped"
)]

mod ground;
mod nested;
mod quotas;
mod user_namespace;

use std::process::Command;

use keiki_btrfs::BtrfsStore;
use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::store::{BackingStore, CloneJob, Destroyed, Pool, Presence};
use keiki_core::volume::Properties;

use crate::ground::{Ground, root, wait};

#[test]
fn a_volume_is_made_marked_cloned_and_destroyed_with_what_hangs_below() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let base = ground.volume("base");
    assert_eq!(wait(store.probe(&base)).unwrap(), Presence::Absent);
    wait(store.create(&context, &base)).unwrap();
    wait(store.create(&context, &base)).unwrap();
    assert_eq!(wait(store.probe(&base)).unwrap(), Presence::Complete(base.id));
    std::fs::write(root(&base).join("file"), "one").unwrap();

    let clones: Vec<_> = (0..20).map(|n| ground.volume(&format!("clone{n}"))).collect();
    let jobs: Vec<_> = clones.iter().map(|target| CloneJob { target: target.clone() }).collect();
    for result in wait(store.clones().unwrap().clone_from(&context, &base, &jobs)) {
        result.unwrap();
    }
    wait(store.sync_barrier(&context, &clones)).unwrap();
    std::fs::write(root(&base).join("file"), "two").unwrap();
    for clone in &clones {
        assert_eq!(wait(store.probe(clone)).unwrap(), Presence::Complete(clone.id));
        assert_eq!(std::fs::read(root(clone).join("file")).unwrap(), b"one");
    }
    assert_eq!(
        wait(store.list(&Pool { path: ground.pool(), options: Properties::new() })).unwrap().len(),
        21
    );

    // A container made subvolumes of its own, one below the other.
    let nested = format!(
        "cd {} && btrfs -q subvolume create a && mkdir a/b && btrfs -q subvolume create a/b/c",
        root(&base).display()
    );
    assert!(Command::new("/bin/sh").arg("-c").arg(nested).status().unwrap().success());
    assert_eq!(wait(store.destroy(&context, &base)).unwrap(), Destroyed::Removed);
    assert_eq!(wait(store.destroy(&context, &base)).unwrap(), Destroyed::Absent);
    assert!(!root(&base).exists());
    assert_eq!(std::fs::read(root(&clones[0]).join("file")).unwrap(), b"one");
}

#[test]
fn a_snapshot_refuses_writes_and_an_unmarked_one_is_partial() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let (base, snapshot, other) = (ground.volume("base"), ground.volume("snapshot"), ground.volume("other"));
    wait(store.create(&context, &base)).unwrap();
    wait(store.snapshots().unwrap().snapshot(&context, &base, &snapshot)).unwrap();
    let refused = std::fs::write(root(&snapshot).join("x"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);

    // Killed between the snapshot and the mark: it carries the mark of its source.
    let by_hand = format!("btrfs -q subvolume snapshot {} {}", root(&base).display(), root(&other).display());
    assert!(Command::new("/bin/sh").arg("-c").arg(by_hand).status().unwrap().success());
    assert_eq!(wait(store.probe(&other)).unwrap(), Presence::Partial);

    // What a restore does: a writable clone of the snapshot takes the head's place, once.
    let successor = ground.volume("successor");
    let job = CloneJob { target: successor.clone() };
    wait(store.clones().unwrap().clone_from(&context, &snapshot, &[job])).remove(0).unwrap();
    std::fs::write(root(&successor).join("x"), "x").unwrap();
    wait(store.exchange().unwrap().exchange(&context, &base, &successor)).unwrap();
    wait(store.exchange().unwrap().exchange(&context, &base, &successor)).unwrap();
    assert_eq!(wait(store.probe(&base)).unwrap(), Presence::Complete(successor.id));
}

#[test]
fn foreign_directories_are_refused_and_left_alone() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let volume = ground.volume("taken");
    std::fs::create_dir(root(&volume)).unwrap();
    std::fs::write(root(&volume).join("precious"), "data").unwrap();
    assert_eq!(wait(store.create(&context, &volume)).unwrap_err().kind(), ErrorKind::Foreign);
    assert_eq!(wait(store.destroy(&context, &volume)).unwrap_err().kind(), ErrorKind::Foreign);
    assert_eq!(std::fs::read(root(&volume).join("precious")).unwrap(), b"data");
}

#[test]
fn a_directory_off_btrfs_is_unavailable_with_a_reason() {
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let pool = Pool { path: elsewhere.path().to_owned(), options: Properties::new() };
    let availability = wait(BtrfsStore::new().availability(&pool));
    assert!(format!("{availability:?}").contains("not on a btrfs"), "{availability:?}");
}
