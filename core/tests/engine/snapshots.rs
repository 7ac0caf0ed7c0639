//! `snapshot`: moments that stay as they were, in LXC's layout.

use keiki_core::context::Context;
use keiki_core::engine::SnapshotContainer;
use keiki_core::name::SnapshotName;
use keiki_core::{ErrorKind, capability};

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

#[test]
fn a_snapshot_keeps_its_moment_while_the_container_goes_on() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        assert_eq!(rig.snapshot(&engine, "a"), "snap0", "{}", profile.name);
        rig.write(&engine, "a", "f", "2");
        assert_eq!(rig.snapshot(&engine, "a"), "snap1", "{}", profile.name);
        rig.write(&engine, "a", "f", "3");
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("3"), "{}", profile.name);
        assert_eq!(rig.read_snapshot(&engine, "a", "snap0", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read_snapshot(&engine, "a", "snap1", "f").as_deref(), Some("2"), "{}", profile.name);
        engine.permit_start(&rig.key("a")).unwrap();
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_snapshot_is_laid_out_as_lxc_does() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        assert_eq!(rig.text("a/snaps/snap0/comment").as_deref(), Some("why"), "{}", profile.name);
        let ts = rig.text("a/snaps/snap0/ts").unwrap();
        assert!(ts.len() == "2026:11:24 11:34:37".len() && !ts.ends_with('\n'), "{ts:?}");
        let records = engine.snapshots(&rig.key("a")).unwrap();
        let config = rig.text("a/snaps/snap0/config").unwrap();
        let source = format!("lxc.rootfs.path = {}\n", records[0].volume.source);
        assert!(config.contains(&source), "{}: {config}", profile.name);
        assert!(config.contains("lxc.uts.name = a\n"), "{config}");
        assert_eq!(records[0].comment.as_deref(), Some("why"), "{}", profile.name);
        assert!(records[0].created.is_some(), "{}", profile.name);
        let head = rig.head(&engine, "a");
        assert!(rig.text("a/config").unwrap().contains(&format!("lxc.rootfs.path = {}\n", head.source)));
    }
}

#[test]
fn gaps_are_filled_and_the_order_is_that_of_taking() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        rig.snapshot(&engine, "a");
        rig.destroy_snapshot(&engine, "a", "snap0").unwrap();
        assert_eq!(rig.snapshot(&engine, "a"), "snap0", "{}", profile.name);
        let order: Vec<_> = engine
            .snapshots(&rig.key("a"))
            .unwrap()
            .into_iter()
            .map(|record| record.name.to_string())
            .collect();
        assert_eq!(order, ["snap1", "snap0"], "{}", profile.name);
        let listed = engine.container(&rig.key("a")).unwrap().snapshots;
        let listed: Vec<_> = listed.iter().map(SnapshotName::as_str).collect();
        assert_eq!(listed, ["snap1", "snap0"], "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_taken_name_is_refused_and_a_free_one_is_used() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let named = SnapshotContainer {
            name: Some(SnapshotName::parse("before").unwrap()),
            comment: None,
            ..rig.snapshot_request("a")
        };
        assert_eq!(engine.snapshot(&Context::default(), &named).unwrap().name, "before");
        assert!(!rig.exists("a/snaps/before/comment"));
        let before = look(&rig, &engine);
        refused(engine.snapshot(&Context::default(), &named), ErrorKind::AlreadyExists, profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
    }
}

#[test]
fn a_comment_is_replaced_and_one_of_nobody_is_not_found() {
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        let name = SnapshotName::parse("snap0").unwrap();
        engine.set_comment(&rig.key("a"), &name, "better").unwrap();
        let records = engine.snapshots(&rig.key("a")).unwrap();
        assert_eq!(records[0].comment.as_deref(), Some("better"), "{}", profile.name);
        let nobody = SnapshotName::parse("snap7").unwrap();
        refused(engine.set_comment(&rig.key("a"), &nobody, "x"), ErrorKind::NotFound, profile.name);
        assert!(!rig.exists("a/snaps/snap7"));
    }
}

#[test]
fn a_running_container_is_refused_where_its_store_minds() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.occupied.start(&rig.key("a"));
        let taken = engine.snapshot(&Context::default(), &rig.snapshot_request("a"));
        if rig.capabilities().live == capability::Live::Consistent {
            taken.unwrap();
        } else {
            refused(taken, ErrorKind::Busy, profile.name);
            assert!(!rig.exists("a/snaps/snap0"), "{}", profile.name);
            rig.occupied.stop(&rig.key("a"));
            rig.snapshot(&engine, "a");
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_snapshot_that_others_need_is_not_destroyed_and_one_that_is_free_goes() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        if rig.clone(&engine, "a@snap0", "b").is_ok() {
            let records = engine.snapshots(&rig.key("a")).unwrap();
            let destroyed = rig.destroy_snapshot(&engine, "a", "snap0");
            match destroyed {
                Ok(()) => assert!(!rig.exists("a/snaps/snap0"), "{}", profile.name),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::HasDependents, "{}: {error:?}", profile.name);
                    assert_eq!(records[0].dependents, ["b"], "{}: {error:?}", profile.name);
                    assert!(rig.exists("a/snaps/snap0/config"), "{}", profile.name);
                }
            }
            assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
            rig.destroy(&engine, "b", keiki_core::engine::DestroyScope::Only).unwrap();
        }
        if rig.exists("a/snaps/snap0") {
            rig.destroy_snapshot(&engine, "a", "snap0").unwrap();
        }
        assert!(engine.snapshots(&rig.key("a")).unwrap().is_empty(), "{}", profile.name);
        refused(rig.destroy_snapshot(&engine, "a", "snap0"), ErrorKind::NotFound, profile.name);
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_snapshot_of_nobody_is_not_found() {
    let rig = Rig::new(&Profile::references()[0]);
    let engine = rig.engine();
    refused(engine.snapshot(&Context::default(), &rig.snapshot_request("a")), ErrorKind::NotFound, "nobody");
    refused(engine.snapshots(&rig.key("a")), ErrorKind::NotFound, "nobody");
    assert!(!rig.exists("a"));
}
