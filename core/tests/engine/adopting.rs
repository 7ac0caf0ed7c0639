//! Containers that LXC made: listed as they are, taken over at the first change, and kept so that LXC's tools agree.

use std::path::PathBuf;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{CloneMode, DestroyScope, Engine, RestoreTarget};
use keiki_core::mount_plan::AttachMode;
use keiki_core::name::ContainerName;

use crate::rig::{Profile, Rig, refused};
use crate::world::assert_clean;

/// Lays a container out as `lxc-create` does.
fn lxc_create(rig: &Rig, name: &str) {
    let home = rig.lxcpath().join(name);
    std::fs::create_dir_all(home.join("rootfs")).unwrap();
    std::fs::write(home.join("rootfs/f"), "1").unwrap();
    lxc_config(rig, name, &format!("dir:{}/rootfs", home.display()));
}

fn lxc_config(rig: &Rig, name: &str, source: &str) {
    let config = format!("# Template\nlxc.uts.name = {name}\nlxc.rootfs.path = {source}\n");
    std::fs::write(rig.lxcpath().join(name).join("config"), config).unwrap();
}

/// Lays a clone out as `lxc-copy -s` does.
fn lxc_clone(rig: &Rig, source: &str, name: &str, word: &str) {
    let (lxcpath, home) = (rig.lxcpath(), rig.lxcpath().join(name));
    for directory in ["overlay/delta", "overlay/work", "rootfs"] {
        std::fs::create_dir_all(home.join(directory)).unwrap();
    }
    let place = format!("{word}:{0}/{source}/rootfs:{0}/{name}/overlay/delta", lxcpath.display());
    lxc_config(rig, name, &place);
    std::fs::write(home.join("lxc_rdepends"), format!("{}\n{source}\n", lxcpath.display())).unwrap();
    let file = lxcpath.join(source).join("lxc_snapshots");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(file, format!("{before}{}\n{name}\n", lxcpath.display())).unwrap();
}

/// Lays a snapshot out as `lxc-snapshot` does.
fn lxc_snapshot(rig: &Rig, name: &str, snapshot: &str, time: &str, content: &str) {
    let home = rig.lxcpath().join(name).join("snaps").join(snapshot);
    std::fs::create_dir_all(home.join("rootfs")).unwrap();
    std::fs::write(home.join("rootfs/f"), content).unwrap();
    std::fs::write(home.join("ts"), time).unwrap();
    let source = format!("lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}/rootfs\n", home.display());
    std::fs::write(home.join("config"), source).unwrap();
}

fn rigs() -> Vec<Rig> {
    Profile::named(&["dir", "overlay"]).iter().map(Rig::new).collect()
}

fn everything(rig: &Rig) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    let mut pending = vec![rig.lxcpath()];
    while let Some(path) = pending.pop() {
        let entries = std::fs::read_dir(&path).map(|entries| entries.map(|entry| entry.unwrap().path()));
        pending.extend(entries.into_iter().flatten());
        found.push((path.clone(), path.metadata().unwrap().modified().unwrap()));
    }
    found.sort();
    found
}

fn destroy(rig: &Rig, engine: &Engine, name: &str) -> keiki_core::Result<()> {
    rig.destroy(engine, name, DestroyScope::Only)
}

#[test]
fn listing_shows_them_and_touches_nothing() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        lxc_clone(&rig, "t", "c", "overlay");
        lxc_snapshot(&rig, "t", "snap0", "2024:05:06 07:08:09", "0");
        let engine = rig.engine();
        let before = everything(&rig);
        let records = engine.containers(&rig.lxcpath()).unwrap();
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.key.name.as_str(), record.adopted, record.store.as_ref().unwrap().as_str()))
            .collect();
        assert_eq!(seen, [("c", false, "overlay"), ("t", false, "dir")]);
        assert_eq!(records[0].origin.as_deref(), Some("t"));
        assert_eq!(records[1].dependents, ["c"]);
        assert_eq!(records[1].snapshots.len(), 1);
        assert_eq!(engine.snapshots(&rig.key("t")).unwrap().len(), 1);
        assert_eq!(engine.container(&rig.key("t")).unwrap().dependents, ["c"]);
        refused(engine.permit_start(&rig.key("t")), ErrorKind::HasDependents, "start");
        assert_eq!(everything(&rig), before);
        assert!(rig.physical().is_empty());
    }
}

#[test]
fn the_first_change_takes_a_container_over_unchanged() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        let engine = rig.engine();
        let config = rig.text("t/config");
        assert_eq!(rig.snapshot(&engine, "t"), "snap0");
        let record = engine.container(&rig.key("t")).unwrap();
        assert!(record.adopted, "{record:?}");
        assert_eq!(rig.text("t/config"), config);
        assert_eq!(rig.text("t/rootfs/f").as_deref(), Some("1"));
        assert_eq!(rig.read_snapshot(&engine, "t", "snap0", "f").as_deref(), Some("1"));
        assert_clean(&rig, &engine, "adopted");
        rig.destroy(&engine, "t", DestroyScope::WithSnapshots).unwrap();
        assert!(rig.names(&engine).is_empty());
        assert_clean(&rig, &engine, "destroyed");
    }
}

#[test]
fn the_first_start_takes_a_container_over_so_that_it_can_be_mounted() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        lxc_clone(&rig, "t", "c", "overlay");
        let engine = rig.engine();
        let permit = engine.permit_start(&rig.key("c")).unwrap();
        engine.attach(&Context::default(), &rig.key("c"), AttachMode::ReadWrite).unwrap();
        drop(permit);
        assert!(engine.container(&rig.key("c")).unwrap().adopted);
        assert_eq!(rig.read(&engine, "c", "f").as_deref(), Some("1"));
        assert_clean(&rig, &engine, "started");
    }
}

#[test]
fn a_bare_path_and_lxcs_other_word_for_overlay_are_understood() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        lxc_config(&rig, "t", &format!("{}/t/rootfs", rig.lxcpath().display()));
        lxc_clone(&rig, "t", "c", "overlayfs");
        let engine = rig.engine();
        let kinds: Vec<_> = engine
            .containers(&rig.lxcpath())
            .unwrap()
            .into_iter()
            .map(|record| record.store.unwrap().to_string())
            .collect();
        assert_eq!(kinds, ["overlay", "dir"]);
        refused(destroy(&rig, &engine, "t"), ErrorKind::HasDependents, "bare");
        destroy(&rig, &engine, "c").unwrap();
        destroy(&rig, &engine, "t").unwrap();
        assert_clean(&rig, &engine, "bare");
    }
}

#[test]
fn relations_that_lxc_wrote_protect_a_parent_and_are_kept() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        lxc_clone(&rig, "t", "c", "overlay");
        lxc_clone(&rig, "t", "d", "overlay");
        let engine = rig.engine();
        let error = refused(engine.permit_start(&rig.key("t")), ErrorKind::HasDependents, "start");
        assert!(format!("{error:?}").contains("c, d"), "{error:?}");
        let error = refused(destroy(&rig, &engine, "t"), ErrorKind::HasDependents, "destroy");
        assert!(format!("{error:?}").contains("dependents: c, d"), "{error:?}");
        let to = ContainerName::parse("z").unwrap();
        refused(engine.rename(&Context::default(), &rig.key("t"), &to), ErrorKind::HasDependents, "rename");
        destroy(&rig, &engine, "c").unwrap();
        let lxcpath = rig.lxcpath().display().to_string();
        assert_eq!(rig.text("t/lxc_snapshots"), Some(format!("{lxcpath}\nd\n")));
        assert_eq!(rig.read(&engine, "d", "f").as_deref(), Some("1"));
        rig.clone(&engine, "t", "e").unwrap();
        assert_eq!(rig.text("t/lxc_snapshots"), Some(format!("{lxcpath}\nd\n{lxcpath}\ne\n")));
        destroy(&rig, &engine, "d").unwrap();
        destroy(&rig, &engine, "e").unwrap();
        assert!(!rig.exists("t/lxc_snapshots"));
        engine.permit_start(&rig.key("t")).unwrap();
        assert_clean(&rig, &engine, "relations");
    }
}

#[test]
fn a_count_of_an_old_lxc_protects_a_parent_too() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        std::fs::write(rig.lxcpath().join("t/lxc_snapshots"), "2").unwrap();
        let engine = rig.engine();
        for scope in [DestroyScope::Only, DestroyScope::WithDependents] {
            refused(rig.destroy(&engine, "t", scope), ErrorKind::HasDependents, "count");
        }
        refused(engine.permit_start(&rig.key("t")), ErrorKind::HasDependents, "count");
        assert_eq!(rig.text("t/rootfs/f").as_deref(), Some("1"));
        std::fs::remove_file(rig.lxcpath().join("t/lxc_snapshots")).unwrap();
        destroy(&rig, &engine, "t").unwrap();
    }
}

#[test]
fn relation_files_that_are_none_never_read_as_nobody() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        std::fs::write(rig.lxcpath().join("t/lxc_snapshots"), "some garbage\n").unwrap();
        let engine = rig.engine();
        refused(destroy(&rig, &engine, "t"), ErrorKind::Corrupt, "garbage");
        assert_eq!(rig.text("t/rootfs/f").as_deref(), Some("1"));
    }
}

#[test]
fn a_clone_that_other_hands_removed_does_not_hold_its_parent_for_ever() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        lxc_clone(&rig, "t", "c", "overlay");
        std::fs::remove_dir_all(rig.lxcpath().join("c")).unwrap();
        let engine = rig.engine();
        engine.permit_start(&rig.key("t")).unwrap();
        destroy(&rig, &engine, "t").unwrap();
        assert_clean(&rig, &engine, "removed");
    }
}

#[test]
fn snapshots_of_lxc_are_restored_cloned_and_destroyed() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        lxc_snapshot(&rig, "t", "snap1", "2024:05:06 07:08:09", "one");
        lxc_snapshot(&rig, "t", "snap0", "2025:05:06 07:08:09", "two");
        let engine = rig.engine();
        let order: Vec<_> =
            engine.snapshots(&rig.key("t")).unwrap().iter().map(|record| record.name.to_string()).collect();
        assert_eq!(order, ["snap1", "snap0"]);
        rig.restore(&engine, "t", "snap1", &RestoreTarget::InPlace).unwrap();
        assert_eq!(rig.text("t/rootfs/f").as_deref(), Some("one"));
        rig.restore(&engine, "t", "snap0", &RestoreTarget::New(rig.key("n"))).unwrap();
        assert_eq!(rig.read(&engine, "n", "f").as_deref(), Some("two"));
        assert_eq!(rig.snapshot(&engine, "t"), "snap2");
        rig.destroy_snapshot(&engine, "t", "snap1").unwrap();
        assert!(!rig.exists("t/snaps/snap1"));
        let order: Vec<_> =
            engine.snapshots(&rig.key("t")).unwrap().iter().map(|record| record.name.to_string()).collect();
        assert_eq!(order, ["snap0", "snap2"]);
        refused(destroy(&rig, &engine, "t"), ErrorKind::HasDependents, "snapshots");
        rig.destroy(&engine, "t", DestroyScope::WithDependents).unwrap();
        assert_clean(&rig, &engine, "snapshots");
    }
}

#[test]
fn a_container_with_a_rootfs_of_nobody_is_listed_and_refused() {
    for rig in rigs() {
        std::fs::create_dir(rig.lxcpath().join("t")).unwrap();
        lxc_config(&rig, "t", "rbd:pool/t");
        let engine = rig.engine();
        let record = engine.container(&rig.key("t")).unwrap();
        assert!(record.store.is_none() && record.volume.is_none() && !record.adopted, "{record:?}");
        refused(destroy(&rig, &engine, "t"), ErrorKind::Unsupported, "rbd");
        let request = rig.clone_request("t", &["n"], CloneMode::Copy);
        refused(engine.clone_container(&Context::default(), &request), ErrorKind::Unsupported, "rbd");
        assert!(rig.exists("t/config") && !rig.exists("n"));
    }
}

#[test]
fn a_copy_and_a_rename_of_theirs_work_like_ours() {
    for rig in rigs() {
        lxc_create(&rig, "t");
        let engine = rig.engine();
        let request = rig.clone_request("t", &["n"], CloneMode::Copy);
        engine.clone_container(&Context::default(), &request).unwrap();
        assert_eq!(rig.read(&engine, "n", "f").as_deref(), Some("1"));
        engine.rename(&Context::default(), &rig.key("t"), &ContainerName::parse("z").unwrap()).unwrap();
        assert_eq!(rig.names(&engine), ["n", "z"]);
        assert_eq!(rig.read(&engine, "z", "f").as_deref(), Some("1"));
        assert_clean(&rig, &engine, "theirs");
    }
}

#[test]
fn a_name_whose_container_other_hands_removed_is_free_and_inherits_nothing() {
    for profile in Profile::named(&["independent-home", "freezing-home", "dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        std::fs::remove_dir_all(rig.lxcpath().join("a")).unwrap();
        assert!(rig.names(&engine).is_empty(), "{}", profile.name);
        refused(engine.container(&rig.key("a")), ErrorKind::NotFound, profile.name);
        rig.create(&engine, "a", "2");
        assert!(engine.container(&rig.key("a")).unwrap().snapshots.is_empty(), "{}", profile.name);
        let report = engine.check(&rig.lxcpath()).unwrap();
        assert!(report.findings.is_empty(), "{}: {report:?}", profile.name);
        rig.create(&engine, "b", "3");
        rig.snapshot(&engine, "b");
        std::fs::remove_dir_all(rig.lxcpath().join("b")).unwrap();
        engine.rename(&Context::default(), &rig.key("a"), &ContainerName::parse("b").unwrap()).unwrap();
        assert!(engine.container(&rig.key("b")).unwrap().snapshots.is_empty(), "{}", profile.name);
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("2"), "{}", profile.name);
        let report = engine.check(&rig.lxcpath()).unwrap();
        assert!(report.findings.is_empty(), "{}: {report:?}", profile.name);
    }
}

#[test]
fn a_copy_by_other_hands_that_took_our_marks_along_becomes_a_container_of_its_own() {
    for rig in rigs() {
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let (from, to) = (rig.lxcpath().join("a"), rig.lxcpath().join("b"));
        let copied = std::process::Command::new("cp").arg("-a").args([&from, &to]).status().unwrap();
        assert!(copied.success());
        // As long as its configuration names the root of the original, it is refused, and the original is safe.
        assert!(destroy(&rig, &engine, "b").is_err());
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"));
        let config = rig.text("b/config").unwrap();
        let own = config.replace(&*from.to_string_lossy(), &to.to_string_lossy());
        std::fs::write(to.join("config"), own).unwrap();
        rig.snapshot(&engine, "b");
        rig.write(&engine, "b", "f", "2");
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"));
        rig.destroy(&engine, "b", DestroyScope::WithSnapshots).unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"));
        assert_clean(&rig, &engine, "copied");
    }
}

#[test]
fn an_overlay_of_lxc_and_its_snapshot_share_a_base_that_nobody_takes_away() {
    for rig in rigs() {
        let (lxcpath, home) = (rig.lxcpath().display().to_string(), rig.lxcpath().join("t"));
        for directory in [
            "rootfs",
            "overlay/delta",
            "overlay/work",
            "snaps/snap0/overlay/delta",
            "snaps/snap0/overlay/work",
        ] {
            std::fs::create_dir_all(home.join(directory)).unwrap();
        }
        std::fs::write(home.join("rootfs/f"), "1").unwrap();
        lxc_config(&rig, "t", &format!("overlay:{lxcpath}/t/rootfs:{lxcpath}/t/overlay/delta"));
        let source = format!("overlay:{lxcpath}/t/rootfs:{lxcpath}/t/snaps/snap0/overlay/delta");
        std::fs::write(home.join("snaps/snap0/config"), format!("lxc.rootfs.path = {source}\n")).unwrap();
        std::fs::write(home.join("snaps/snap0/ts"), "2024:05:06 07:08:09").unwrap();
        let engine = rig.engine();
        drop(engine.permit_start(&rig.key("t")).unwrap());
        rig.write(&engine, "t", "f", "2");
        assert_eq!(rig.read_snapshot(&engine, "t", "snap0", "f").as_deref(), Some("1"));
        let restored = rig.restore(&engine, "t", "snap0", &RestoreTarget::InPlace);
        refused(restored, ErrorKind::HasDependents, "the old head holds the base");
        rig.restore(&engine, "t", "snap0", &RestoreTarget::New(rig.key("n"))).unwrap();
        assert_eq!(rig.read(&engine, "n", "f").as_deref(), Some("1"));
        drop(engine.permit_start(&rig.key("t")).unwrap());
        refused(destroy(&rig, &engine, "t"), ErrorKind::HasDependents, "snapshots");
        rig.destroy(&engine, "t", DestroyScope::WithDependents).unwrap();
        assert!(rig.names(&engine).is_empty());
        assert_clean(&rig, &engine, "overlay of LXC");
    }
}
