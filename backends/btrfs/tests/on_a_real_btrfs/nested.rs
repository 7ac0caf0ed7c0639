//! Subvolumes that a container makes inside.

use std::path::Path;

use keiki_btrfs::BtrfsStore;
use keiki_core::context::Context;
use keiki_core::store::{BackingStore, CloneJob, Presence};
use keiki_core::volume::Volume;

use crate::ground::{Ground, root, shell, wait};

fn with_nested(ground: &Ground) -> Volume {
    let base = ground.volume("base");
    wait(BtrfsStore::new().create(&Context::default(), &base)).unwrap();
    shell(&format!(
        "cd {}; mkdir -p var/lib; btrfs -q subvolume create var/lib/machines; echo one > var/lib/machines/image
         btrfs -q subvolume create var/lib/machines/deep; echo two > var/lib/machines/deep/file; echo three > top",
        root(&base).display()
    ));
    base
}

fn content(root: &Path) -> String {
    shell(&format!("cd {}; cat var/lib/machines/image var/lib/machines/deep/file top", root.display()))
}

#[test]
fn clones_snapshots_and_restores_keep_what_nested_subvolumes_hold() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let base = with_nested(&ground);
    let (snapshot, clone, restored) =
        (ground.volume("snapshot"), ground.volume("clone"), ground.volume("restored"));
    wait(store.snapshots().unwrap().snapshot(&context, &base, &snapshot)).unwrap();
    let job = CloneJob { target: clone.clone() };
    wait(store.clones().unwrap().clone_from(&context, &base, &[job])).remove(0).unwrap();
    shell(&format!(
        "cd {}; for file in var/lib/machines/image var/lib/machines/deep/file top; do echo new > $file; done",
        root(&base).display()
    ));
    assert_eq!(content(root(&clone)), "one\ntwo\nthree\n");
    assert_eq!(content(root(&snapshot)), "one\ntwo\nthree\n");
    // A snapshot refuses writes everywhere, a clone of it nowhere.
    for place in ["", "var/lib/machines", "var/lib/machines/deep"] {
        let refused = std::fs::write(root(&snapshot).join(place).join("x"), "x").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{place}");
    }
    let job = CloneJob { target: restored.clone() };
    wait(store.clones().unwrap().clone_from(&context, &snapshot, &[job])).remove(0).unwrap();
    assert_eq!(content(root(&restored)), "one\ntwo\nthree\n");
    for place in ["", "var/lib/machines", "var/lib/machines/deep"] {
        std::fs::write(root(&restored).join(place).join("x"), "x").unwrap();
    }
    let usage = wait(store.usage(&context, std::slice::from_ref(&restored))).unwrap().remove(0);
    assert!(usage.referenced.is_some_and(|bytes| bytes.0 > 0), "{usage:?}");
    for volume in [&base, &snapshot, &clone, &restored] {
        wait(store.destroy(&context, volume)).unwrap();
        assert_eq!(wait(store.probe(volume)).unwrap(), Presence::Absent);
    }
    assert_eq!(shell(&format!("btrfs subvolume list {}", ground.pool().display())), "", "left over");
}

#[test]
fn a_snapshot_that_was_never_marked_is_taken_anew_with_all_that_is_nested() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let base = with_nested(&ground);
    let clone = ground.volume("clone");
    shell(&format!("btrfs -q subvolume snapshot {} {}", root(&base).display(), root(&clone).display()));
    assert_eq!(wait(store.probe(&clone)).unwrap(), Presence::Partial);
    let job = CloneJob { target: clone.clone() };
    wait(store.clones().unwrap().clone_from(&context, &base, &[job])).remove(0).unwrap();
    assert_eq!(content(root(&clone)), "one\ntwo\nthree\n");
}

#[test]
fn hundreds_of_nested_subvolumes_are_cloned_and_destroyed() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let (base, clone) = (ground.volume("base"), ground.volume("clone"));
    wait(store.create(&context, &base)).unwrap();
    // One call of the kernel names 255.
    shell(&format!(
        "cd {}; for n in $(seq 300); do btrfs -q subvolume create $n; done; echo last > 300/file",
        root(&base).display()
    ));
    let job = CloneJob { target: clone.clone() };
    wait(store.clones().unwrap().clone_from(&context, &base, &[job])).remove(0).unwrap();
    assert_eq!(std::fs::read(root(&clone).join("300/file")).unwrap(), b"last\n");
    wait(store.destroy(&context, &base)).unwrap();
    wait(store.destroy(&context, &clone)).unwrap();
    assert_eq!(shell(&format!("btrfs subvolume list {}", ground.pool().display())), "", "left over");
}

#[test]
fn what_was_written_into_a_new_volume_is_on_the_disk_after_the_barrier() {
    let Some(ground) = Ground::make() else { return };
    let (store, context) = (BtrfsStore::new(), Context::default());
    let volume = ground.volume("base");
    wait(store.create(&context, &volume)).unwrap();
    let file = root(&volume).join("file");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    wait(store.sync_barrier(&context, std::slice::from_ref(&volume))).unwrap();
    // An extent that waits to be written has no place on the disk yet.
    let extents = shell(&format!("filefrag -v {}", file.display()));
    assert!(!extents.contains("delalloc"), "{extents}");
}
