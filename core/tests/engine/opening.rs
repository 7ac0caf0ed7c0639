//! Opening an installation: as it was left, read-only, from the future.

use std::os::unix::fs::PermissionsExt;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::DestroyScope;

use crate::rig::{Profile, Rig, refused};
use crate::world::look;

fn rewrite(rig: &Rig, statement: &str) {
    let connection = rusqlite::Connection::open(rig.state().join("catalogue.sqlite")).unwrap();
    connection.execute_batch(statement).unwrap();
}

#[test]
fn a_catalogue_of_a_newer_keiki_is_refused_and_stays_as_it_is() {
    let rig = Rig::new(&Profile::references()[0]);
    drop(rig.engine());
    rewrite(&rig, "PRAGMA user_version = 77");
    let error = refused(rig.try_engine(), ErrorKind::Unavailable, "newer");
    assert!(error.message().contains("77"), "{error:?}");
    rewrite(&rig, "PRAGMA user_version = 1");
    rig.engine();
}

#[test]
fn a_state_directory_that_cannot_be_made_says_which() {
    let rig = Rig::new(&Profile::references()[0]);
    std::fs::write(rig.state(), "a file").unwrap();
    let error = rig.try_engine().unwrap_err();
    assert!(error.full_message().contains("state"), "{error:?}");
}

#[test]
fn two_engines_over_one_installation_see_each_others_work_at_once() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let (first, second) = (rig.engine(), rig.engine());
        rig.create(&first, "a", "1");
        assert_eq!(rig.names(&second), ["a"], "{}", profile.name);
        rig.snapshot(&second, "a");
        assert_eq!(first.snapshots(&rig.key("a")).unwrap().len(), 1, "{}", profile.name);
        rig.destroy(&first, "a", DestroyScope::WithSnapshots).unwrap();
        refused(second.container(&rig.key("a")), ErrorKind::NotFound, profile.name);
        assert_eq!(look(&rig, &second), look(&rig, &first), "{}", profile.name);
    }
}

#[test]
fn readers_write_nothing() {
    for profile in Profile::named(&["independent", "freezing-home", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        drop(engine);
        let state = || {
            let mut files: Vec<_> = std::fs::read_dir(rig.state())
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.path().extension().is_none_or(|extension| extension != "sqlite-shm"))
                .map(|entry| (entry.file_name(), entry.metadata().unwrap().modified().unwrap()))
                .collect();
            files.sort();
            files
        };
        let before = state();
        let engine = rig.engine();
        look(&rig, &engine);
        engine.lineage(&rig.lxcpath()).unwrap();
        engine.usage(&Context::default(), &[rig.key("a")]).unwrap();
        drop(engine);
        assert_eq!(state(), before, "{}", profile.name);
    }
}

#[test]
fn a_read_only_installation_is_listed_and_refuses_changes() {
    // Root passes permissions; a read-only mount does not let even root through.
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    drop(engine);
    let Some(_mounted) = ReadOnly::over(&rig.state()) else {
        println!("skipped: needs to mount");
        return;
    };
    let engine = rig.engine();
    assert_eq!(rig.names(&engine), ["a"]);
    engine.container(&rig.key("a")).unwrap();
    let error = engine.create(&Context::default(), rig.create_request("b")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::PermissionDenied), "{error:?}");
    assert!(!error.hints().is_empty() && error.full_message().contains("catalogue"), "{error:?}");
    assert!(!rig.exists("b"));
}

#[test]
fn a_read_only_lxcpath_says_so_and_leaves_nothing() {
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    {
        let Some(_mounted) = ReadOnly::over(&rig.lxcpath()) else {
            println!("skipped: needs to mount");
            return;
        };
        let error = engine.create(&Context::default(), rig.create_request("b")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
        let error = rig.destroy(&engine, "a", DestroyScope::Only).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    }
    assert_eq!(rig.names(&engine), ["a"]);
    assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"));
    engine.gc(&Context::default()).unwrap();
    crate::world::assert_clean(&rig, &engine, "read-only");
}

#[test]
fn an_lxcpath_that_is_not_mounted_does_not_make_containers_forgotten() {
    for profile in Profile::named(&["independent-home", "freezing-home", "dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        let before = look(&rig, &engine);
        let aside = rig.root().join("unmounted");
        std::fs::rename(rig.lxcpath(), &aside).unwrap();
        std::fs::create_dir(rig.lxcpath()).unwrap();
        let error = rig.destroy(&engine, "a", DestroyScope::WithSnapshots).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}: {error:?}", profile.name);
        assert!(rig.names(&engine).is_empty(), "{}", profile.name);
        std::fs::remove_dir_all(rig.lxcpath()).unwrap();
        std::fs::rename(&aside, rig.lxcpath()).unwrap();
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
    }
}

#[test]
fn the_directories_of_keiki_are_not_open_to_everybody() {
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    let mode = |path: &str| rig.lxcpath().join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("a") & 0o007, 0, "as LXC makes it");
    assert_eq!(mode(".keiki") & 0o066, 0, "nobody else lists or writes");
}

/// A read-only bind mount over a directory, until it is dropped.
struct ReadOnly(std::path::PathBuf);

impl ReadOnly {
    fn over(path: &std::path::Path) -> Option<Self> {
        use rustix::mount::{MountFlags, mount_bind, mount_remount};
        mount_bind(path, path).ok()?;
        let guard = Self(path.to_owned());
        mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, c"").ok()?;
        Some(guard)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
