//! `restore`: in place or as a new container; one that fails leaves the container as it was.

use keiki_core::ErrorKind;
use keiki_core::engine::RestoreTarget;
use keiki_core::reference::{Fault, Moment, Verb};

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

fn prepared(rig: &Rig) -> keiki_core::engine::Engine {
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    rig.snapshot(&engine, "a");
    rig.write(&engine, "a", "f", "2");
    rig.write(&engine, "a", "later", "x");
    engine
}

#[test]
fn a_restore_in_place_brings_the_moment_back_and_keeps_the_snapshot() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        let restored = rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace);
        restored.unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "a", "later"), None, "{}", profile.name);
        assert_eq!(rig.read_snapshot(&engine, "a", "snap0", "f").as_deref(), Some("1"), "{}", profile.name);
        let config = rig.text("a/config").unwrap();
        let head = rig.head(&engine, "a");
        assert!(
            config.contains(&format!("lxc.rootfs.path = {}\n", head.source)),
            "{}: {config}",
            profile.name
        );
        assert_clean(&rig, &engine, profile.name);
        rig.write(&engine, "a", "f", "3");
        rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace).unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
        engine.permit_start(&rig.key("a")).unwrap();
    }
}

#[test]
fn an_older_snapshot_is_restored_under_a_newer_one() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        rig.snapshot(&engine, "a");
        rig.write(&engine, "a", "f", "3");
        rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace).unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read_snapshot(&engine, "a", "snap1", "f").as_deref(), Some("2"), "{}", profile.name);
        rig.restore(&engine, "a", "snap1", &RestoreTarget::InPlace).unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("2"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_restore_as_a_new_container_leaves_the_old_one_alone() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        let restored = rig.restore(&engine, "a", "snap0", &RestoreTarget::New(rig.key("b")));
        match restored {
            Ok(outcome) => {
                assert_eq!(outcome.name, "b", "{}", profile.name);
                assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{}: {error:?}", profile.name),
        }
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("2"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_running_container_and_an_unknown_snapshot_are_refused() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        let before = look(&rig, &engine);
        refused(
            rig.restore(&engine, "a", "snap9", &RestoreTarget::InPlace),
            ErrorKind::NotFound,
            profile.name,
        );
        rig.occupied.start(&rig.key("a"));
        refused(rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace), ErrorKind::Busy, profile.name);
        rig.occupied.stop(&rig.key("a"));
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_restore_that_others_would_see_is_refused_and_names_them() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay", "dir"]) {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        rig.clone(&engine, "a", "b").unwrap();
        let before = look(&rig, &engine);
        let error = refused(
            rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace),
            ErrorKind::HasDependents,
            profile.name,
        );
        assert!(format!("{error:?}").contains("dependents: b"), "{error:?}");
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        rig.destroy(&engine, "b", keiki_core::engine::DestroyScope::Only).unwrap();
        rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace).unwrap();
    }
}

#[test]
fn a_clone_of_the_snapshot_does_not_hinder_a_restore() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        if rig.clone(&engine, "a@snap0", "b").is_err() {
            continue;
        }
        rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace)
            .unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_store_that_fails_at_any_moment_leaves_the_container_as_it_was() {
    for profile in Profile::references() {
        for verb in [Verb::Clone, Verb::Sync, Verb::Exchange] {
            for moment in [Moment::Before, Moment::Halfway] {
                let rig = Rig::new(&profile);
                let engine = prepared(&rig);
                let before = look(&rig, &engine);
                rig.disk.plant(Fault { verb, nth: 1, moment, kind: ErrorKind::NoSpace });
                let what = format!("{} {verb} {moment:?}", profile.name);
                if rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace).is_err() {
                    assert_eq!(look(&rig, &engine), before, "{what}");
                    assert_clean(&rig, &engine, &what);
                }
            }
        }
    }
}

#[test]
fn a_store_that_fails_behind_its_effect_leaves_before_or_after() {
    for profile in Profile::references() {
        for (verb, nth, moment) in [
            (Verb::Exchange, 1, Moment::After),
            (Verb::Clone, 1, Moment::After),
            (Verb::Sync, 1, Moment::After),
            (Verb::Sync, 2, Moment::Before),
            (Verb::Destroy, 1, Moment::Before),
            (Verb::Destroy, 1, Moment::After),
        ] {
            let rig = Rig::new(&profile);
            let engine = prepared(&rig);
            let before = look(&rig, &engine);
            rig.disk.plant(Fault { verb, nth, moment, kind: ErrorKind::Io });
            let what = format!("{} {verb} {nth} {moment:?}", profile.name);
            let result = rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace);
            drop(engine);
            let engine = rig.engine();
            engine.gc(&keiki_core::context::Context::default()).unwrap();
            if look(&rig, &engine) != before {
                assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{what}: {result:?}");
                assert_eq!(rig.read(&engine, "a", "later"), None, "{what}: {result:?}");
            } else {
                assert!(result.is_err(), "{what}");
            }
            assert_clean(&rig, &engine, &what);
        }
    }
}

#[test]
fn a_layer_that_only_the_old_head_needed_goes_with_it() {
    for profile in Profile::named(&["freezing", "freezing-home", "deferring", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = prepared(&rig);
        let before = rig.physical().len();
        rig.snapshot(&engine, "a");
        rig.write(&engine, "a", "f", "3");
        rig.destroy_snapshot(&engine, "a", "snap1").unwrap();
        rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace).unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        let garbage = engine.lineage(&rig.lxcpath()).unwrap().garbage().len();
        assert_eq!(garbage, 0, "{}", profile.name);
        // A store that defers keeps the old head as a ghost for the snapshot that was taken of it.
        let kept = usize::from(profile.name == "deferring");
        assert_eq!(rig.physical().len(), before + kept, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}
