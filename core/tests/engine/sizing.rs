//! `resize`, `quota` and `df`: what a container may hold, and what it takes.

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{CloneMode, RestoreTarget};
use keiki_core::units::Bytes;

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

#[test]
fn a_limit_is_kept_by_a_restore_and_lifted_and_a_size_is_remembered() {
    let cx = Context::default();
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.snapshot(&engine, "a");
        let key = rig.key("a");
        let limit = || engine.space(&cx, &[rig.key("a")]).unwrap().containers[0].head.limit;
        engine.quota(&cx, &key, Some(Bytes(1 << 20))).unwrap();
        rig.restore(&engine, "a", "snap0", &RestoreTarget::InPlace).unwrap();
        assert_eq!(limit(), Some(Bytes(1 << 20)), "{}", profile.name);
        engine.quota(&cx, &key, None).unwrap();
        assert_eq!(limit(), None, "{}", profile.name);
        assert_eq!(engine.resize(&cx, &key, Bytes(1 << 30)).unwrap(), Bytes(1 << 30));
        assert_eq!(rig.head(&engine, "a").properties["size"], (1 << 30).to_string(), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn what_a_store_lacks_is_refused_and_changes_nothing() {
    let cx = Context::default();
    for profile in Profile::named(&["dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let before = look(&rig, &engine);
        refused(engine.resize(&cx, &rig.key("a"), Bytes(1 << 30)), ErrorKind::Unsupported, profile.name);
        refused(engine.quota(&cx, &rig.key("a"), Some(Bytes(9))), ErrorKind::Unsupported, profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
    }
}

#[test]
fn df_says_who_needs_the_set_and_what_the_whole_family_would_free() {
    let cx = Context::default();
    for profile in Profile::named(&["refusing-plain", "freezing"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        engine.clone_container(&cx, &rig.clone_request("a", &["b"], CloneMode::Snapshot)).unwrap();
        let alone = engine.space(&cx, &[rig.key("a")]).unwrap();
        assert_eq!((alone.freed, alone.needed_by), (None, vec!["b".to_owned()]), "{}", profile.name);
        let both = engine.space(&cx, &[rig.key("a"), rig.key("b")]).unwrap();
        assert!(both.freed.is_some() && both.needed_by.is_empty(), "{}: {both:?}", profile.name);
    }
}
