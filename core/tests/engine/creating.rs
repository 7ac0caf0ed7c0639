//! `create`: a container appears whole, or nothing of it does.

use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};

use keiki_core::context::Context;
use keiki_core::engine::{Backup, CreateContainer, Fill};
use keiki_core::registry::StoreChoice;
use keiki_core::volume::StoreKind;
use keiki_core::{Error, ErrorKind, Result};

use crate::rig::{Profile, Rig, refused};
use crate::world::assert_clean;

/// Writes one file, or fails after it.
#[derive(Debug)]
struct OneFile {
    fails: Option<ErrorKind>,
}

impl Fill for OneFile {
    fn fill(&mut self, _context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        let path = format!("/proc/self/fd/{}/filled", root.as_raw_fd());
        std::fs::File::create(path).unwrap().write_all(b"yes").unwrap();
        match self.fails {
            Some(kind) => Err(Error::new(kind, "the template broke off")),
            None => Ok(()),
        }
    }
}

#[test]
fn a_created_container_is_listed_startable_and_described_by_its_config() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        let outcome = rig.create(&engine, "a", "1");
        assert_eq!(outcome.name, "a", "{}", profile.name);
        let record = engine.container(&rig.key("a")).unwrap();
        assert_eq!(record.volume, Some(outcome.volume.clone()), "{}", profile.name);
        assert_eq!(record.store, Some(profile.kind()), "{}", profile.name);
        assert!(record.adopted && record.created.is_some() && record.origin.is_none(), "{}", profile.name);
        let config = rig.text("a/config").unwrap();
        assert!(config.starts_with(crate::rig::CONFIG), "{}: {config}", profile.name);
        let source = format!("lxc.rootfs.path = {}\n", outcome.volume.source);
        assert!(
            config.contains(&source) && config.contains("lxc.uts.name = a\n"),
            "{}: {config}",
            profile.name
        );
        engine.permit_start(&rig.key("a")).unwrap();
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_container_survives_the_engine_that_made_it() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        rig.create(&rig.engine(), "a", "1");
        let engine = rig.engine();
        assert_eq!(rig.names(&engine), ["a"], "{}", profile.name);
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
    }
}

#[test]
fn a_taken_name_is_refused_and_stays_as_it_was() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let again = engine.create(&Context::default(), rig.create_request("a"));
        refused(again, ErrorKind::AlreadyExists, profile.name);
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_foreign_directory_under_the_name_is_refused_and_stays_as_it_was() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        std::fs::create_dir(rig.lxcpath().join("a")).unwrap();
        std::fs::write(rig.lxcpath().join("a/theirs"), "theirs").unwrap();
        let error = engine.create(&Context::default(), rig.create_request("a")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Foreign), "{error:?}");
        assert_eq!(rig.text("a/theirs").as_deref(), Some("theirs"));
        assert!(!rig.exists("a/config"));
        std::fs::remove_dir_all(rig.lxcpath().join("a")).unwrap();
        assert_clean(&rig, &engine, profile.name);
        rig.create(&engine, "a", "1");
    }
}

#[test]
fn a_file_or_a_link_under_the_name_is_refused() {
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    std::fs::write(rig.lxcpath().join("a"), "theirs").unwrap();
    std::os::unix::fs::symlink("/nowhere", rig.lxcpath().join("b")).unwrap();
    for name in ["a", "b"] {
        let error = engine.create(&Context::default(), rig.create_request(name)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Foreign), "{error:?}");
    }
    assert_eq!(rig.text("a").as_deref(), Some("theirs"));
    assert!(rig.lxcpath().join("b").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn an_unavailable_store_is_refused_and_never_becomes_another() {
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.disk.make_unavailable("the pool is gone", "import the pool");
        let error = refused(
            engine.create(&Context::default(), rig.create_request("a")),
            ErrorKind::Unavailable,
            profile.name,
        );
        assert!(format!("{error:?}").contains("the pool is gone"), "{error:?}");
        assert!(error.hints().iter().any(|hint| hint.contains("import the pool")), "{error:?}");
        assert!(rig.names(&engine).is_empty() && !rig.exists("a"));
    }
}

#[test]
fn an_unknown_store_and_an_unknown_option_are_refused_before_anything_is_done() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        let unknown = StoreChoice::FirstOf(vec![StoreKind::new("floppy")]);
        let request = CreateContainer { store: unknown, ..rig.create_request("a") };
        refused(engine.create(&Context::default(), request), ErrorKind::InvalidArgument, profile.name);
        let options = [("colour".to_owned(), "blue".to_owned())].into();
        let request = CreateContainer { options, ..rig.create_request("a") };
        refused(engine.create(&Context::default(), request), ErrorKind::InvalidArgument, profile.name);
        assert!(!rig.exists("a"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_template_fills_the_volume_and_one_that_fails_leaves_nothing() {
    for profile in Profile::real() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        let mut broken = OneFile { fails: Some(ErrorKind::NotFound) };
        let request = CreateContainer { fill: Some(&mut broken), ..rig.create_request("a") };
        let error = refused(engine.create(&Context::default(), request), ErrorKind::NotFound, profile.name);
        assert!(error.full_message().contains("the template broke off"), "{error:?}");
        assert!(!rig.exists("a") && rig.names(&engine).is_empty(), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
        let mut whole = OneFile { fails: None };
        let request = CreateContainer { fill: Some(&mut whole), ..rig.create_request("a") };
        engine.create(&Context::default(), request).unwrap();
        assert_eq!(rig.read(&engine, "a", "filled").as_deref(), Some("yes"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_config_that_is_none_leaves_nothing() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        let request = CreateContainer { config: vec![0xff, 0xfe], ..rig.create_request("a") };
        refused(engine.create(&Context::default(), request), ErrorKind::InvalidArgument, profile.name);
        assert!(!rig.exists("a"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_config_is_replaced_atomically_and_read_back() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let key = rig.key("a");
        let mut config = engine.read_config(&key).unwrap();
        config.extend_from_slice(b"lxc.tty.max = 9\n");
        engine.edit_config(&Context::default(), &key, Backup::None, |_, _| Ok(config.clone())).unwrap();
        assert_eq!(engine.read_config(&key).unwrap(), config, "{}", profile.name);
        refused(engine.read_config(&rig.key("nobody")), ErrorKind::NotFound, profile.name);
        refused(
            engine.edit_config(&Context::default(), &rig.key("nobody"), Backup::None, |_, _| {
                Ok(config.clone())
            }),
            ErrorKind::NotFound,
            profile.name,
        );
        assert!(!rig.exists("nobody"));
    }
}
