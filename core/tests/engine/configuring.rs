//! `edit_config`: a configuration that others edit, too.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{Backup, Edited, Engine, edit_file};

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

fn append(engine: &Engine, rig: &Rig, backup: Backup, line: &str) -> keiki_core::Result<Edited> {
    let edit = |text: &[u8], _: &std::path::Path| Ok([text, line.as_bytes()].concat());
    engine.edit_config(&Context::default(), &rig.key("a"), backup, edit)
}

#[test]
fn edits_of_many_at_once_lose_nothing() {
    for profile in Profile::named(&["dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let next = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        append(&engine, &rig, Backup::None, &format!("lxc.group = g{number}.\n")).unwrap();
                    }
                });
            }
        });
        let text = rig.text("a/config").unwrap();
        assert!((0..32).all(|number| text.contains(&format!("= g{number}.\n"))), "{text}");
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn the_old_file_is_kept_where_that_is_asked_for_and_no_other_backup_is_lost() {
    for profile in Profile::named(&["dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let file = rig.lxcpath().join("a/config");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let old = rig.text("a/config");
        let backup = rig.lxcpath().join("a/config.backup");
        let suffix = Backup::Suffix(".backup");
        assert_eq!(append(&engine, &rig, suffix, "").unwrap(), Edited::Unchanged);
        assert!(!backup.exists());
        assert_eq!(append(&engine, &rig, suffix, "# b\n").unwrap(), Edited::Replaced(Some(backup.clone())));
        assert_eq!(rig.text("a/config.backup"), old);
        for path in [&file, &backup] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let before = rig.text("a/config");
        refused(append(&engine, &rig, suffix, "# c\n"), ErrorKind::AlreadyExists, profile.name);
        assert_eq!((rig.text("a/config"), rig.text("a/config.backup")), (before, old));
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let before = look(&rig, &engine);
        for line in ["lxc.rootfs.path = dir:/elsewhere\n", "lxc.rootfs.path =\n", "lxc.tty\n"] {
            refused(append(&engine, &rig, Backup::None, line), ErrorKind::InvalidArgument, profile.name);
        }
        let nobody = engine
            .edit_config(&Context::default(), &rig.key("nobody"), Backup::None, |text, _| Ok(text.to_vec()));
        refused(nobody, ErrorKind::NotFound, profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_link_is_not_replaced_by_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    std::fs::write(&file, "a").unwrap();
    symlink(&file, &link).unwrap();
    let edit = |path| edit_file(&Context::default(), path, Backup::None, |text, _| Ok([text, b"b"].concat()));
    refused(edit(&link), ErrorKind::InvalidArgument, "link");
    assert_eq!(edit(&file).unwrap(), Edited::Replaced(None));
    assert_eq!(std::fs::read(&link).unwrap(), b"ab");
    refused(edit(&directory.path().join("none")), ErrorKind::NotFound, "none");
}
