//! `clone`: copies and snapshot clones, alone and in batches, with the lineage that follows.

use keiki_core::context::Context;
use keiki_core::engine::{CloneContainer, CloneMode, Identity, Means, Payload};
use keiki_core::{ErrorKind, capability};

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

/// Whether a snapshot clone of a head is possible in this profile.
fn shares(rig: &Rig) -> bool {
    let capabilities = rig.capabilities();
    capabilities.clone_cost == capability::Cost::Constant || capabilities.snapshot_clones_by.is_some()
}

#[test]
fn a_snapshot_clone_begins_as_its_source_and_goes_its_own_way() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if !shares(&rig) {
            let before = look(&rig, &engine);
            refused(rig.clone(&engine, "a", "b"), ErrorKind::Unsupported, profile.name);
            assert_eq!(look(&rig, &engine), before, "{}", profile.name);
            continue;
        }
        let outcome = rig.clone(&engine, "a", "b").unwrap();
        assert_eq!((outcome.name.as_str(), outcome.means), ("b", Some(Means::Snapshot)), "{}", profile.name);
        assert_eq!(outcome.cost, capability::Cost::Constant, "{}", profile.name);
        rig.write(&engine, "b", "g", "new");
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "a", "g"), None, "{}", profile.name);
        let record = engine.container(&rig.key("b")).unwrap();
        assert_eq!(record.origin.as_deref(), Some("a"), "{}", profile.name);
        let config = rig.text("b/config").unwrap();
        assert!(config.contains("lxc.uts.name = b\n") && !config.contains("lxc.uts.name = a\n"), "{config}");
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn dependents_are_named_on_both_sides_and_in_lxcs_files() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if rig.clone(&engine, "a", "b").is_err() {
            continue;
        }
        let store = engine.container(&rig.key("b")).unwrap().store.unwrap();
        let pool = keiki_core::store::Pool { path: rig.lxcpath(), options: Default::default() };
        let depends = rig.store(&store).capabilities(&pool).unwrap().clones_depend();
        let dependents = engine.container(&rig.key("a")).unwrap().dependents;
        let lxcpath = rig.lxcpath().display().to_string();
        if depends {
            assert_eq!(dependents, ["b"], "{}", profile.name);
            assert_eq!(rig.text("a/lxc_snapshots"), Some(format!("{lxcpath}\nb\n")), "{}", profile.name);
            assert_eq!(rig.text("b/lxc_rdepends"), Some(format!("{lxcpath}\na\n")), "{}", profile.name);
        } else {
            assert!(dependents.is_empty(), "{}", profile.name);
            assert!(!rig.exists("a/lxc_snapshots") && !rig.exists("b/lxc_rdepends"), "{}", profile.name);
        }
    }
}

#[test]
fn a_copy_depends_on_nobody() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let before = look(&rig, &engine);
        let request = rig.clone_request("a", &["b"], CloneMode::Copy);
        match engine.clone_container(&Context::default(), &request) {
            Ok(outcomes) => {
                assert_eq!(outcomes[0].means, Some(Means::Copy), "{}", profile.name);
                rig.write(&engine, "a", "f", "2");
                assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
                assert!(engine.container(&rig.key("a")).unwrap().dependents.is_empty(), "{}", profile.name);
                assert!(!rig.exists("a/lxc_snapshots"), "{}", profile.name);
            }
            // What lives in memory cannot be read through a mount.
            Err(error) if !profile.can_mount() => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error:?}", profile.name);
                assert_eq!(look(&rig, &engine), before, "{}", profile.name);
            }
            Err(error) => panic!("{}: {error:?}", profile.name),
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_clone_of_a_clone_sees_both_and_every_ancestor_is_written_down() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if rig.clone(&engine, "a", "b").is_err() {
            continue;
        }
        rig.write(&engine, "b", "g", "b's");
        rig.clone(&engine, "b", "c").unwrap();
        assert_eq!(rig.read(&engine, "c", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "c", "g").as_deref(), Some("b's"), "{}", profile.name);
        if rig.exists("b/lxc_rdepends") {
            let lxcpath = rig.lxcpath().display().to_string();
            let all = format!("{lxcpath}\na\n{lxcpath}\nb\n");
            assert_eq!(rig.text("c/lxc_rdepends"), Some(all), "{}", profile.name);
            let both = format!("{lxcpath}\nb\n{lxcpath}\nc\n");
            assert_eq!(rig.text("a/lxc_snapshots"), Some(both), "{}", profile.name);
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_batch_is_made_whole_or_not_at_all() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.create(&engine, "taken", "t");
        let before = look(&rig, &engine);
        let all = ["b", "c", "taken", "d"];
        let request = rig.clone_request("a", &all, CloneMode::SnapshotOrCopy);
        let error = engine.clone_container(&Context::default(), &request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error:?}", profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        let request = rig.clone_request("a", &["b", "c", "d"], CloneMode::SnapshotOrCopy);
        match engine.clone_container(&Context::default(), &request) {
            Ok(outcomes) => {
                let names: Vec<_> = outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
                assert_eq!(names, ["b", "c", "d"], "{}", profile.name);
                assert_eq!(rig.names(&engine), ["a", "b", "c", "d", "taken"], "{}", profile.name);
            }
            Err(error) => assert!(!profile.can_mount(), "{}: {error:?}", profile.name),
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_name_given_twice_and_an_empty_batch_change_nothing() {
    let rig = Rig::new(&Profile::references()[0]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    let twice = rig.clone_request("a", &["b", "b"], CloneMode::Snapshot);
    refused(engine.clone_container(&Context::default(), &twice), ErrorKind::InvalidArgument, "twice");
    let onto_itself = rig.clone_request("a", &["a"], CloneMode::Snapshot);
    refused(engine.clone_container(&Context::default(), &onto_itself), ErrorKind::AlreadyExists, "itself");
    let none = rig.clone_request("a", &[], CloneMode::Snapshot);
    let made = engine.clone_container(&Context::default(), &none);
    assert!(made.is_ok_and(|made| made.is_empty()), "an empty batch is done at once");
    assert_eq!(rig.names(&engine), ["a"]);
    assert_clean(&rig, &engine, "batch");
}

#[test]
fn an_unknown_source_or_snapshot_is_not_found() {
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        refused(rig.clone(&engine, "nobody", "b"), ErrorKind::NotFound, profile.name);
        rig.create(&engine, "a", "1");
        refused(rig.clone(&engine, "a@snap9", "b"), ErrorKind::NotFound, profile.name);
        assert_eq!(rig.names(&engine), ["a"]);
    }
}

#[test]
fn a_clone_of_a_snapshot_begins_as_the_snapshot() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        rig.write(&engine, "a", "f", "2");
        let request = rig.clone_request("a@snap0", &["b"], CloneMode::SnapshotOrCopy);
        let before = look(&rig, &engine);
        match engine.clone_container(&Context::default(), &request) {
            Ok(_) => {
                assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
                let origin = engine.container(&rig.key("b")).unwrap().origin;
                assert_eq!(origin.as_deref(), Some("a@snap0"), "{}", profile.name);
            }
            Err(error) => {
                assert!(!profile.can_mount(), "{}: {error:?}", profile.name);
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error:?}", profile.name);
                assert_eq!(look(&rig, &engine), before, "{}", profile.name);
            }
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_running_source_is_refused_where_its_store_minds() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.occupied.start(&rig.key("a"));
        let request = rig.clone_request("a", &["b"], CloneMode::SnapshotOrCopy);
        let cloned = engine.clone_container(&Context::default(), &request);
        if rig.capabilities().live == capability::Live::Consistent {
            cloned.unwrap();
        } else {
            let error = refused(cloned, ErrorKind::Busy, profile.name);
            assert!(error.full_message().contains("running"), "{error:?}");
            assert_eq!(rig.names(&engine), ["a"], "{}", profile.name);
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_kept_identity_is_kept_and_an_ephemeral_clone_says_so() {
    let rig = Rig::new(&Profile::references()[0]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    let kept = CloneContainer {
        identity: Identity::Kept,
        payload: Payload::Ephemeral,
        ..rig.clone_request("a", &["b"], CloneMode::Snapshot)
    };
    engine.clone_container(&Context::default(), &kept).unwrap();
    let config = rig.text("b/config").unwrap();
    assert!(config.contains("lxc.uts.name = a\n") && config.contains("lxc.ephemeral = 1\n"), "{config}");
}

#[test]
fn a_parent_whose_children_would_see_writes_is_not_started() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay", "dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        rig.clone(&engine, "a", "c").unwrap();
        let error = refused(engine.permit_start(&rig.key("a")), ErrorKind::HasDependents, profile.name);
        let text = format!("{error:?}");
        assert!(text.contains('b') && text.contains('c') && text.contains("keiki flatten b"), "{text}");
        drop(engine.permit_start(&rig.key("b")).unwrap());
        rig.destroy(&engine, "b", keiki_core::engine::DestroyScope::Only).unwrap();
        rig.destroy(&engine, "c", keiki_core::engine::DestroyScope::Only).unwrap();
        engine.permit_start(&rig.key("a")).unwrap();
        assert!(!rig.exists("a/lxc_snapshots"), "{}", profile.name);
    }
}

#[test]
fn a_snapshot_clone_of_a_dir_container_is_an_overlay_upon_it() {
    for profile in Profile::named(&["dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let outcome = rig.clone(&engine, "a", "b").unwrap();
        assert_eq!(outcome.volume.kind().as_str(), "overlay");
        let config = rig.text("b/config").unwrap();
        let lxcpath = rig.lxcpath().display().to_string();
        assert!(
            config.contains(&format!("overlay:{lxcpath}/a/rootfs:{lxcpath}/b/overlay/delta")),
            "{config}"
        );
    }
}
