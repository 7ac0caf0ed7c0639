//! `destroy`: planned whole before anything goes; what others need stays, or goes later.

use keiki_core::ErrorKind;
use keiki_core::capability::ParentDelete;
use keiki_core::context::Context;
use keiki_core::engine::DestroyScope;
use keiki_core::name::ContainerName;
use keiki_core::reference::{Fault, Moment, Verb};

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

const SCOPES: [DestroyScope; 3] =
    [DestroyScope::Only, DestroyScope::WithSnapshots, DestroyScope::WithDependents];

#[test]
fn a_container_goes_whole_and_its_name_is_free_at_once() {
    for profile in Profile::all() {
        for scope in SCOPES {
            let rig = Rig::new(&profile);
            let engine = rig.engine();
            rig.create(&engine, "a", "1");
            rig.destroy(&engine, "a", scope).unwrap();
            assert!(!rig.exists("a") && rig.names(&engine).is_empty(), "{}", profile.name);
            assert!(rig.physical().is_empty(), "{}: {:?}", profile.name, rig.physical());
            assert_clean(&rig, &engine, profile.name);
            rig.create(&engine, "a", "2");
            assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("2"), "{}", profile.name);
        }
    }
}

#[test]
fn nobody_is_not_found() {
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        for scope in SCOPES {
            refused(rig.destroy(&engine, "a", scope), ErrorKind::NotFound, profile.name);
        }
        refused(engine.plan_destroy(&rig.key("a"), DestroyScope::Only), ErrorKind::NotFound, profile.name);
    }
}

#[test]
fn a_foreign_directory_is_not_destroyed() {
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    std::fs::create_dir(rig.lxcpath().join("a")).unwrap();
    std::fs::write(rig.lxcpath().join("a/theirs"), "theirs").unwrap();
    refused(rig.destroy(&engine, "a", DestroyScope::WithDependents), ErrorKind::NotFound, "foreign");
    assert_eq!(rig.text("a/theirs").as_deref(), Some("theirs"));
}

#[test]
fn a_directory_that_took_the_containers_place_is_not_destroyed() {
    let rig = Rig::new(&Profile::references()[0]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    std::fs::rename(rig.lxcpath().join("a"), rig.root().join("elsewhere")).unwrap();
    std::fs::create_dir(rig.lxcpath().join("a")).unwrap();
    std::fs::write(rig.lxcpath().join("a/theirs"), "theirs").unwrap();
    assert!(rig.destroy(&engine, "a", DestroyScope::Only).is_err());
    assert_eq!(rig.text("a/theirs").as_deref(), Some("theirs"));
}

#[test]
fn a_running_container_is_busy() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.occupied.start(&rig.key("a"));
        for scope in SCOPES {
            let error = refused(rig.destroy(&engine, "a", scope), ErrorKind::Busy, profile.name);
            assert!(error.full_message().contains("running"), "{error:?}");
        }
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_running_dependent_keeps_the_whole_plan_from_beginning() {
    for profile in Profile::named(&["freezing", "freezing-home", "refusing", "overlay", "dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        rig.clone(&engine, "a", "c").unwrap();
        rig.occupied.start(&rig.key("c"));
        let before = look(&rig, &engine);
        refused(rig.destroy(&engine, "a", DestroyScope::WithDependents), ErrorKind::Busy, profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn snapshots_are_in_the_way_unless_they_are_meant() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        rig.snapshot(&engine, "a");
        let before = look(&rig, &engine);
        let error =
            refused(rig.destroy(&engine, "a", DestroyScope::Only), ErrorKind::HasDependents, profile.name);
        let text = format!("{error:?}");
        assert!(text.contains("a@snap0") && text.contains("a@snap1"), "{text}");
        assert!(text.contains("keiki destroy --with-snapshots a"), "{text}");
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        rig.destroy(&engine, "a", DestroyScope::WithSnapshots).unwrap();
        assert!(rig.physical().is_empty() && !rig.exists("a"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_parent_that_is_needed_is_refused_deferred_or_free_as_its_childrens_store_says() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if rig.clone(&engine, "a", "b").is_err() {
            continue;
        }
        let store = rig.head(&engine, "b").kind().clone();
        let pool = keiki_core::store::Pool { path: rig.lxcpath(), options: Default::default() };
        let capabilities = rig.store(&store).capabilities(&pool).unwrap();
        let before = look(&rig, &engine);
        let destroyed = rig.destroy(&engine, "a", DestroyScope::Only);
        match capabilities.parent_delete {
            ParentDelete::Refused => {
                let error = refused(destroyed, ErrorKind::HasDependents, profile.name);
                let text = format!("{error:?}");
                assert!(text.contains("dependents: b") && text.contains("--with-dependents a"), "{text}");
                assert!(text.contains("keiki flatten b"), "{text}");
                assert_eq!(look(&rig, &engine), before, "{}", profile.name);
                rig.destroy(&engine, "a", DestroyScope::WithDependents).unwrap();
                assert!(rig.physical().is_empty() && rig.names(&engine).is_empty(), "{}", profile.name);
            }
            ParentDelete::Deferred | ParentDelete::Independent => {
                destroyed.unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
                assert_eq!(rig.names(&engine), ["b"], "{}", profile.name);
                assert!(!rig.exists("a"), "{}", profile.name);
                assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
                assert_clean(&rig, &engine, profile.name);
                rig.create(&engine, "a", "new");
                rig.destroy(&engine, "b", DestroyScope::Only).unwrap();
                assert_eq!(rig.physical().len(), 1, "{}: the ghost stayed", profile.name);
                assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("new"), "{}", profile.name);
            }
        }
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_chain_goes_from_its_end_and_the_middle_is_refused() {
    for profile in Profile::named(&["freezing", "freezing-home", "refusing", "overlay", "dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        rig.clone(&engine, "b", "c").unwrap();
        let error =
            refused(rig.destroy(&engine, "b", DestroyScope::Only), ErrorKind::HasDependents, profile.name);
        assert!(format!("{error:?}").contains("dependents: c"), "{error:?}");
        let plan = engine.plan_destroy(&rig.key("a"), DestroyScope::WithDependents).unwrap();
        let going: Vec<_> = plan.containers().iter().map(|key| key.name.to_string()).collect();
        assert_eq!(going, ["c", "b", "a"], "{}", profile.name);
        rig.destroy(&engine, "c", DestroyScope::Only).unwrap();
        assert_eq!(rig.text("a/lxc_snapshots").map(|text| text.lines().count()), Some(2), "{}", profile.name);
        rig.destroy(&engine, "b", DestroyScope::Only).unwrap();
        rig.destroy(&engine, "a", DestroyScope::Only).unwrap();
        assert!(rig.physical().is_empty(), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_clone_of_a_snapshot_blocks_the_whole_destroy_and_no_snapshot_goes_before_it() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        rig.write(&engine, "a", "f", "2");
        rig.snapshot(&engine, "a");
        rig.clone(&engine, "a@snap1", "b").unwrap();
        let before = look(&rig, &engine);
        let error = refused(
            rig.destroy(&engine, "a", DestroyScope::WithSnapshots),
            ErrorKind::HasDependents,
            profile.name,
        );
        assert!(format!("{error:?}").contains('b'), "{error:?}");
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        rig.destroy(&engine, "a", DestroyScope::WithDependents).unwrap();
        assert!(rig.physical().is_empty() && rig.names(&engine).is_empty(), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn destroying_a_clone_never_takes_a_snapshot_that_a_user_made() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        if rig.clone(&engine, "a@snap0", "b").is_err() {
            continue;
        }
        rig.destroy(&engine, "b", DestroyScope::WithDependents).unwrap();
        assert_eq!(rig.read_snapshot(&engine, "a", "snap0", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn layers_go_with_the_last_snapshot_that_needed_them() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        rig.write(&engine, "a", "f", "2");
        rig.restore(&engine, "a", "snap0", &keiki_core::engine::RestoreTarget::InPlace).unwrap();
        rig.destroy_snapshot(&engine, "a", "snap0").unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
        rig.destroy(&engine, "a", DestroyScope::Only).unwrap();
        assert!(rig.physical().is_empty(), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn what_cannot_be_reclaimed_now_is_reclaimed_later_and_the_name_is_free_meanwhile() {
    for profile in Profile::references() {
        for moment in [Moment::Before, Moment::Halfway] {
            let rig = Rig::new(&profile);
            let engine = rig.engine();
            rig.create(&engine, "a", "1");
            rig.disk.plant(Fault { verb: Verb::Destroy, nth: 1, moment, kind: ErrorKind::Busy });
            let what = format!("{} {moment:?}", profile.name);
            let said = rig.destroy(&engine, "a", DestroyScope::Only);
            if rig.exists("a") {
                // A volume with a name of its own that is still whole: the deletion was taken back, and said so.
                assert!(said.is_err() && moment == Moment::Before, "{what}");
                assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{what}");
                rig.destroy(&engine, "a", DestroyScope::Only).unwrap();
            }
            assert!(!rig.exists("a") && rig.names(&engine).is_empty(), "{what}");
            drop(engine);
            let engine = rig.engine();
            engine.gc(&Context::default()).unwrap();
            assert!(rig.physical().is_empty(), "{what}: {:?}", rig.physical());
            assert_clean(&rig, &engine, &what);
            rig.create(&engine, "a", "2");
        }
    }
}

#[test]
fn a_plan_says_what_destroy_then_does() {
    for profile in Profile::all() {
        for scope in SCOPES {
            let rig = Rig::new(&profile);
            let engine = rig.engine();
            rig.create(&engine, "a", "1");
            rig.snapshot(&engine, "a");
            let _clone = rig.clone(&engine, "a", "b");
            let key = rig.key("a");
            let plan = engine.plan_destroy(&key, scope).unwrap();
            let what = format!("{} {scope:?}", profile.name);
            match engine.destroy(&Context::default(), &key, scope) {
                Ok(done) => assert_eq!(done, plan, "{what}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::HasDependents, "{what}: {error:?}");
                    assert!(!plan.blockers.is_empty() && plan.steps.is_empty(), "{what}: {plan:?}");
                }
            }
        }
    }
}

#[test]
fn a_container_in_another_lxcpath_is_named_with_its_path() {
    for profile in Profile::named(&["freezing", "freezing-home", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        let other = rig.root().join("other");
        std::fs::create_dir(&other).unwrap();
        rig.create(&engine, "a", "1");
        let far = keiki_core::engine::ContainerKey {
            lxcpath: other.clone(),
            name: ContainerName::parse("a").unwrap(),
        };
        let mut request = rig.clone_request("a", &[], keiki_core::engine::CloneMode::Snapshot);
        request.targets.push(far.clone());
        engine.clone_container(&Context::default(), &request).unwrap();
        let error =
            refused(rig.destroy(&engine, "a", DestroyScope::Only), ErrorKind::HasDependents, profile.name);
        assert!(format!("{error:?}").contains(&format!("{}/a", other.display())), "{error:?}");
        let origin = engine.container(&far).unwrap().origin.unwrap();
        assert_eq!(origin, format!("{}/a", rig.lxcpath().display()), "{}", profile.name);
        engine.destroy(&Context::default(), &far, DestroyScope::Only).unwrap();
        rig.destroy(&engine, "a", DestroyScope::Only).unwrap();
    }
}
