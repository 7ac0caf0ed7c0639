//! LXC's own tools on the same lxcpath: they see what we made, refuse what we refuse, and we take over what they make.

use std::path::Path;
use std::process::{Command, Output};

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{DestroyScope, RestoreTarget};

use crate::rig::{Profile, Rig, refused};
use crate::world::assert_clean;

/// Runs one of LXC's tools; `None` where it is not installed.
fn lxc(rig: &Rig, tool: &str, arguments: &[&str]) -> Option<Output> {
    let path = Path::new("/usr/bin").join(tool);
    if !path.exists() || !rustix::process::geteuid().is_root() {
        println!("skipped: needs root and {tool}");
        return None;
    }
    Some(Command::new(path).arg("-P").arg(rig.lxcpath()).args(arguments).output().unwrap())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn they_list_what_we_made_and_refuse_to_destroy_what_is_needed() {
    for profile in Profile::named(&["dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        rig.snapshot(&engine, "b");
        let Some(listed) = lxc(&rig, "lxc-ls", &["-1"]) else { return };
        assert_eq!(said(&listed).split_whitespace().collect::<Vec<_>>(), ["a", "b"], "{}", profile.name);
        let snapshots = lxc(&rig, "lxc-snapshot", &["-n", "b", "-L", "-C"]).unwrap();
        let text = said(&snapshots);
        assert!(text.contains("snap0") && text.contains("why"), "{}: {text}", profile.name);
        for needed in ["a", "b"] {
            let refused = lxc(&rig, "lxc-destroy", &["-n", needed]).unwrap();
            assert!(!refused.status.success(), "{} {needed}: {}", profile.name, said(&refused));
            assert!(rig.exists(&format!("{needed}/config")), "{} {needed}", profile.name);
        }
        assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        rig.destroy(&engine, "b", DestroyScope::WithSnapshots).unwrap();
        let destroyed = lxc(&rig, "lxc-destroy", &["-n", "a"]).unwrap();
        assert!(destroyed.status.success(), "{}: {}", profile.name, said(&destroyed));
        assert!(rig.names(&engine).is_empty(), "{}", profile.name);
        rig.create(&engine, "a", "2");
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn their_clones_and_snapshots_become_ours_and_ours_theirs() {
    for profile in Profile::named(&["dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let Some(cloned) = lxc(&rig, "lxc-copy", &["-s", "-n", "a", "-N", "theirs"]) else { return };
        assert!(cloned.status.success(), "{}: {}", profile.name, said(&cloned));
        let taken = lxc(&rig, "lxc-snapshot", &["-n", "theirs"]).unwrap();
        assert!(taken.status.success(), "{}: {}", profile.name, said(&taken));
        let error =
            refused(rig.destroy(&engine, "a", DestroyScope::Only), ErrorKind::HasDependents, profile.name);
        assert!(format!("{error:?}").contains("theirs"), "{}: {error:?}", profile.name);
        assert_eq!(engine.snapshots(&rig.key("theirs")).unwrap().len(), 1, "{}", profile.name);
        rig.restore(&engine, "theirs", "snap0", &RestoreTarget::New(rig.key("n"))).unwrap();
        assert_eq!(rig.read(&engine, "n", "f").as_deref(), Some("1"), "{}", profile.name);
        rig.destroy(&engine, "n", DestroyScope::WithSnapshots).unwrap();
        let renamed = keiki_core::name::ContainerName::parse("z").unwrap();
        engine.rename(&Context::default(), &rig.key("theirs"), &renamed).unwrap();
        assert_eq!(rig.read(&engine, "z", "f").as_deref(), Some("1"), "{}", profile.name);
        assert_eq!(rig.read_snapshot(&engine, "z", "snap0", "f").as_deref(), Some("1"), "{}", profile.name);
        rig.destroy(&engine, "z", DestroyScope::WithSnapshots).unwrap();
        assert!(!rig.exists("a/lxc_snapshots"), "{}", profile.name);
        rig.destroy(&engine, "a", DestroyScope::WithSnapshots).unwrap();
        assert_clean(&rig, &engine, profile.name);
    }
}
