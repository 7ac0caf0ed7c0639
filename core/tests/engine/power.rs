//! The power fails after a command has ended: what the log had not brought to the disk yet is gone, and everything before
//! it is there. The engine that is opened then comes to the end that the command had come to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::Result;
use keiki_core::context::{Context, Observer, Progress};
use keiki_core::engine::{CloneMode, Engine};
use tempfile::TempDir;

use crate::rig::{Profile, Rig};
use crate::world::{World, assert_clean, look};

/// Keeps what of the catalogue was on the disk before the last transaction.
struct Photographer {
    state: PathBuf,
    picture: TempDir,
}

const FILES: [&str; 2] = ["catalogue.sqlite", "catalogue.sqlite-wal"];

impl Photographer {
    fn of(rig: &Rig) -> Arc<Self> {
        Arc::new(Self { state: rig.state(), picture: tempfile::tempdir().unwrap() })
    }

    fn copy(from: &Path, to: &Path) {
        for name in FILES {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }

    /// Puts the disk into the state of the picture, as the power does.
    fn power_fails(&self, engine: Engine) {
        drop(engine);
        let _rebuilt = std::fs::remove_file(self.state.join("catalogue.sqlite-shm"));
        Self::copy(self.picture.path(), &self.state);
    }
}

impl Observer for Photographer {
    fn step(&self, name: &str) -> Result<()> {
        if name.ends_with(".record") {
            Self::copy(&self.state, self.picture.path());
        }
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

/// Carries `act` out, lets the power fail, and returns the worlds before and after.
fn through_a_power_failure(rig: &Rig, act: impl Fn(&Engine, &Context)) -> (World, World, Engine) {
    let engine = rig.engine();
    let photographer = Photographer::of(rig);
    act(&engine, &Context::new(photographer.clone()));
    let before = look(rig, &engine);
    photographer.power_fails(engine);
    let engine = rig.engine();
    let after = look(rig, &engine);
    (before, after, engine)
}

#[test]
fn what_a_command_had_ended_stands_when_the_power_takes_its_last_transaction() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let made = |engine: &Engine, cx: &Context| {
            engine.create(cx, rig.create_request("a")).unwrap();
        };
        let (before, after, engine) = through_a_power_failure(&rig, made);
        assert_eq!(before, after, "create, {}", profile.name);
        drop(engine);
        let snapped = |engine: &Engine, cx: &Context| {
            engine.snapshot(cx, &rig.snapshot_request("a")).unwrap();
        };
        let (before, after, engine) = through_a_power_failure(&rig, snapped);
        assert_eq!(before, after, "snapshot, {}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn clones_stand_when_the_power_takes_their_last_transaction() {
    for profile in Profile::named(&["independent-home", "deferring", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        engine.create(&Context::default(), rig.create_request("a")).unwrap();
        drop(engine);
        let cloned = |engine: &Engine, cx: &Context| {
            let request = rig.clone_request("a", &["b", "c"], CloneMode::Snapshot);
            engine.clone_container(cx, &request).unwrap();
        };
        let (before, after, engine) = through_a_power_failure(&rig, cloned);
        assert_eq!(before, after, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_clone_that_other_hands_removed_before_the_power_failed_does_not_hold_the_others_up() {
    let rig = Rig::new(&Profile::named(&["independent-home"])[0]);
    let engine = rig.engine();
    engine.create(&Context::default(), rig.create_request("a")).unwrap();
    let photographer = Photographer::of(&rig);
    let request = rig.clone_request("a", &["b", "c"], CloneMode::Snapshot);
    engine.clone_container(&Context::new(photographer.clone()), &request).unwrap();
    std::fs::remove_dir_all(rig.lxcpath().join("b")).unwrap();
    photographer.power_fails(engine);
    let engine = rig.engine();
    assert_eq!(
        engine.gc(&Context::default()).unwrap(),
        0,
        "the intent was resolved when the engine was opened"
    );
    assert!(engine.container(&rig.key("c")).unwrap().adopted);
}
