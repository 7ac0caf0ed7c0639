//! `rename`: no copy, nothing lost, and every path that named the old home names the new one.

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{Backup, Engine};
use keiki_core::name::ContainerName;

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

fn rename(rig: &Rig, engine: &Engine, from: &str, to: &str) -> keiki_core::Result<()> {
    engine.rename(&Context::default(), &rig.key(from), &ContainerName::parse(to).unwrap())
}

#[test]
fn a_renamed_container_keeps_its_data_its_snapshots_and_its_paths() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let mut config = engine.read_config(&rig.key("a")).unwrap();
        let home = rig.lxcpath().join("a");
        config.extend_from_slice(format!("lxc.mount.fstab = {}/fstab\n", home.display()).as_bytes());
        engine
            .edit_config(&Context::default(), &rig.key("a"), Backup::None, |_, _| Ok(config.clone()))
            .unwrap();
        rig.snapshot(&engine, "a");
        rig.write(&engine, "a", "f", "2");
        rename(&rig, &engine, "a", "z").unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        assert_eq!(rig.names(&engine), ["z"], "{}", profile.name);
        assert!(!rig.exists("a"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "z", "f").as_deref(), Some("2"), "{}", profile.name);
        assert_eq!(rig.read_snapshot(&engine, "z", "snap0", "f").as_deref(), Some("1"), "{}", profile.name);
        let old = format!("{}/", home.display());
        for file in ["z/config", "z/snaps/snap0/config"] {
            let text = rig.text(file).unwrap();
            assert!(!text.contains(&old), "{}: {file}: {text}", profile.name);
        }
        assert!(rig.text("z/config").unwrap().contains("lxc.uts.name = z\n"), "{}", profile.name);
        assert!(rig.text("z/config").unwrap().contains("/z/fstab\n"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
        rig.snapshot(&engine, "z");
        if rig.restore(&engine, "z", "snap0", &keiki_core::engine::RestoreTarget::InPlace).is_ok() {
            assert_eq!(rig.read(&engine, "z", "f").as_deref(), Some("1"), "{}", profile.name);
        }
        rig.create(&engine, "a", "new");
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_taken_name_and_a_foreign_directory_are_refused_and_the_own_name_changes_nothing() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.create(&engine, "b", "2");
        let before = look(&rig, &engine);
        refused(rename(&rig, &engine, "a", "b"), ErrorKind::AlreadyExists, profile.name);
        rename(&rig, &engine, "a", "a").unwrap();
        refused(rename(&rig, &engine, "nobody", "c"), ErrorKind::NotFound, profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        std::fs::create_dir(rig.lxcpath().join("theirs")).unwrap();
        let error = rename(&rig, &engine, "a", "theirs").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Foreign), "{error:?}");
        std::fs::remove_dir(rig.lxcpath().join("theirs")).unwrap();
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_running_container_is_busy() {
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.occupied.start(&rig.key("a"));
        refused(rename(&rig, &engine, "a", "z"), ErrorKind::Busy, profile.name);
        assert_eq!(rig.names(&engine), ["a"], "{}", profile.name);
    }
}

#[test]
fn a_parent_that_is_found_by_its_path_is_not_renamed_and_another_is() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if rig.clone(&engine, "a", "b").is_err() {
            continue;
        }
        let before = look(&rig, &engine);
        match rename(&rig, &engine, "a", "z") {
            Ok(()) => {
                assert_eq!(rig.names(&engine), ["b", "z"], "{}", profile.name);
                let origin = engine.container(&rig.key("b")).unwrap().origin;
                assert_eq!(origin.as_deref(), Some("z"), "{}", profile.name);
                if let Some(text) = rig.text("b/lxc_rdepends") {
                    assert!(text.ends_with("\nz\n"), "{}: {text}", profile.name);
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::HasDependents, "{}: {error:?}", profile.name);
                assert!(format!("{error:?}").contains("dependents: b"), "{error:?}");
                assert_eq!(look(&rig, &engine), before, "{}", profile.name);
            }
        }
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_renamed_clone_stays_a_clone_and_its_parent_knows_its_new_name() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        if rig.clone(&engine, "a", "b").is_err() {
            continue;
        }
        let count = rig.physical().len();
        let had = rig.text("a/lxc_snapshots");
        rename(&rig, &engine, "b", "z").unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        assert_eq!(rig.physical().len(), count, "{}", profile.name);
        let expected = had.map(|text| text.replace("\nb\n", "\nz\n"));
        assert_eq!(rig.text("a/lxc_snapshots"), expected, "{}", profile.name);
        let record = engine.container(&rig.key("z")).unwrap();
        assert_eq!(record.origin.as_deref(), Some("a"), "{}", profile.name);
        assert_eq!(rig.read(&engine, "z", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_ghost_and_its_snapshots_free_their_name_at_once() {
    for profile in Profile::named(&["deferring-plain"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        rig.clone(&engine, "a@snap0", "b").unwrap();
        let key = rig.key("a");
        engine
            .destroy(&Context::default(), &key, keiki_core::engine::DestroyScope::WithSnapshots)
            .unwrap_or_else(|error| panic!("{error:?}"));
        rig.create(&engine, "a", "anew");
        rig.snapshot(&engine, "a");
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("anew"));
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"));
        assert_clean(&rig, &engine, profile.name);
        rename(&rig, &engine, "a", "z").unwrap();
        assert_eq!(rig.head(&engine, "z").source.to_string(), "reference:z");
        assert!(rig.text("z/snaps/snap0/config").unwrap().contains("lxc.rootfs.path = reference:z@snap0\n"));
        assert_clean(&rig, &engine, profile.name);
    }
}
