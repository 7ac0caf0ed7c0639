//! `flatten`: a clone gets data of its own, and its parent is free again.

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::DestroyScope;

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

#[test]
fn a_flattened_clone_needs_nobody_and_keeps_what_it_shows() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if rig.clone(&engine, "a", "b").is_err() {
            continue;
        }
        rig.write(&engine, "b", "g", "own");
        engine
            .flatten(&Context::default(), &rig.key("b"))
            .unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "b", "g").as_deref(), Some("own"), "{}", profile.name);
        assert!(engine.container(&rig.key("a")).unwrap().dependents.is_empty(), "{}", profile.name);
        assert!(!rig.exists("a/lxc_snapshots") && !rig.exists("b/lxc_rdepends"), "{}", profile.name);
        engine.permit_start(&rig.key("a")).unwrap();
        assert_clean(&rig, &engine, profile.name);
        rig.destroy(&engine, "a", DestroyScope::Only).unwrap();
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn one_that_needs_nobody_stays_as_it_is() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let before = look(&rig, &engine);
        engine
            .flatten(&Context::default(), &rig.key("a"))
            .unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_flattened_container_keeps_its_snapshots() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay", "dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        rig.snapshot(&engine, "b");
        rig.write(&engine, "b", "f", "2");
        match engine.flatten(&Context::default(), &rig.key("b")) {
            Ok(_) => assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("2"), "{}", profile.name),
            Err(error) => assert_eq!(error.kind(), ErrorKind::HasDependents, "{}: {error:?}", profile.name),
        }
        assert_eq!(rig.read_snapshot(&engine, "b", "snap0", "f").as_deref(), Some("1"), "{}", profile.name);
        let destroyed = rig.destroy(&engine, "a", DestroyScope::Only);
        refused(destroyed, ErrorKind::HasDependents, profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_running_one_is_busy_and_one_that_others_need_is_refused() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        rig.clone(&engine, "b", "c").unwrap();
        let before = look(&rig, &engine);
        let error = refused(
            engine.flatten(&Context::default(), &rig.key("b")),
            ErrorKind::HasDependents,
            profile.name,
        );
        assert!(format!("{error:?}").contains("dependents: c"), "{error:?}");
        rig.occupied.start(&rig.key("c"));
        refused(engine.flatten(&Context::default(), &rig.key("c")), ErrorKind::Busy, profile.name);
        refused(engine.flatten(&Context::default(), &rig.key("x")), ErrorKind::NotFound, profile.name);
        rig.occupied.stop(&rig.key("c"));
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}
