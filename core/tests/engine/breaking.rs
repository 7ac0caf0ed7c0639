//! Every operation is failed at every one of its steps, once with a free way back and once as if the process had died
//! there. Whatever happens, the world is as it was or as it should be, and nothing is left behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keiki_core::context::{Context, Observer, Progress};
use keiki_core::engine::{CloneMode, ContainerKey, DestroyScope, Engine, RestoreTarget};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::reference::{Fault, Moment, Verb};
use keiki_core::{ErrorKind, Result};

use crate::rig::{Profile, Rig};
use crate::saboteur::{Blow, Saboteur};
use crate::world::{World, assert_clean, look};

/// One operation with the world that it begins in.
struct Scene {
    name: &'static str,
    prepare: fn(&Rig, &Engine),
    act: fn(&Rig, &Engine, &Context) -> Result<()>,
}

fn key(rig: &Rig, name: &str) -> ContainerKey {
    rig.key(name)
}

fn snapshot_name(name: &str) -> SnapshotName {
    SnapshotName::parse(name).unwrap()
}

fn nothing(_rig: &Rig, _engine: &Engine) {}

fn one(rig: &Rig, engine: &Engine) {
    rig.create(engine, "a", "1");
}

fn one_with_snapshot(rig: &Rig, engine: &Engine) {
    one(rig, engine);
    rig.snapshot(engine, "a");
    rig.write(engine, "a", "f", "2");
}

fn family(rig: &Rig, engine: &Engine) {
    one_with_snapshot(rig, engine);
    let _only_where_possible = rig.clone(engine, "a", "b");
}

fn clone_with_snapshot(rig: &Rig, engine: &Engine) {
    one(rig, engine);
    if rig.clone(engine, "a", "b").is_ok() {
        rig.snapshot(engine, "b");
    }
}

fn clone_to(rig: &Rig, engine: &Engine, cx: &Context, source: &str, mode: CloneMode) -> Result<()> {
    engine.clone_container(cx, &rig.clone_request(source, &["n", "m"], mode)).map(drop)
}

const SCENES: &[Scene] = &[
    Scene {
        name: "create",
        prepare: nothing,
        act: |rig, engine, cx| engine.create(cx, rig.create_request("n")).map(drop),
    },
    Scene {
        name: "copy",
        prepare: one,
        act: |rig, engine, cx| clone_to(rig, engine, cx, "a", CloneMode::Copy),
    },
    Scene {
        name: "clone",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| clone_to(rig, engine, cx, "a", CloneMode::Snapshot),
    },
    Scene {
        name: "clone-of-snapshot",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| clone_to(rig, engine, cx, "a@snap0", CloneMode::SnapshotOrCopy),
    },
    Scene {
        name: "clone-of-clone",
        prepare: family,
        act: |rig, engine, cx| clone_to(rig, engine, cx, "b", CloneMode::Snapshot),
    },
    Scene {
        name: "snapshot",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| engine.snapshot(cx, &rig.snapshot_request("a")).map(drop),
    },
    Scene {
        name: "snapshot-of-clone",
        prepare: family,
        act: |rig, engine, cx| engine.snapshot(cx, &rig.snapshot_request("b")).map(drop),
    },
    Scene {
        name: "restore",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| {
            engine.restore(cx, &key(rig, "a"), &snapshot_name("snap0"), &RestoreTarget::InPlace).map(drop)
        },
    },
    Scene {
        name: "restore-as-new",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| {
            let to = RestoreTarget::New(key(rig, "n"));
            engine.restore(cx, &key(rig, "a"), &snapshot_name("snap0"), &to).map(drop)
        },
    },
    Scene {
        name: "destroy-snapshot",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| engine.destroy_snapshot(cx, &key(rig, "a"), &snapshot_name("snap0")),
    },
    Scene {
        name: "destroy",
        prepare: one,
        act: |rig, engine, cx| engine.destroy(cx, &key(rig, "a"), DestroyScope::Only).map(drop),
    },
    Scene {
        name: "destroy-clone",
        prepare: family,
        act: |rig, engine, cx| engine.destroy(cx, &key(rig, "b"), DestroyScope::Only).map(drop),
    },
    Scene {
        name: "destroy-with-snapshots",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| engine.destroy(cx, &key(rig, "a"), DestroyScope::WithSnapshots).map(drop),
    },
    Scene {
        name: "destroy-with-dependents",
        prepare: family,
        act: |rig, engine, cx| engine.destroy(cx, &key(rig, "a"), DestroyScope::WithDependents).map(drop),
    },
    Scene {
        name: "rename",
        prepare: one_with_snapshot,
        act: |rig, engine, cx| engine.rename(cx, &key(rig, "a"), &ContainerName::parse("z").unwrap()),
    },
    Scene {
        name: "rename-clone",
        prepare: clone_with_snapshot,
        act: |rig, engine, cx| engine.rename(cx, &key(rig, "b"), &ContainerName::parse("z").unwrap()),
    },
    Scene {
        name: "flatten",
        prepare: clone_with_snapshot,
        act: |rig, engine, cx| engine.flatten(cx, &key(rig, "b")).map(drop),
    },
];

/// The world before and after, and the steps between.
struct Course {
    before: World,
    after: World,
    steps: Vec<String>,
}

fn undisturbed(profile: &Profile, scene: &Scene) -> Option<Course> {
    let rig = Rig::new(profile);
    let engine = rig.engine();
    (scene.prepare)(&rig, &engine);
    let before = look(&rig, &engine);
    let observer = Saboteur::listening();
    let what = format!("{} {}", profile.name, scene.name);
    let done = (scene.act)(&rig, &engine, &observer.context());
    let after = look(&rig, &engine);
    assert_clean(&rig, &engine, &what);
    match done {
        Ok(()) => Some(Course { before, after, steps: observer.steps() }),
        Err(error) => {
            // What this store cannot do is refused, and nothing happened.
            assert_eq!(after, before, "{what}: {error:?}");
            None
        }
    }
}

fn disturbed(profile: &Profile, scene: &Scene, course: &Course, nth: usize, blow: Blow) {
    let rig = Rig::new(profile);
    let engine = rig.engine();
    (scene.prepare)(&rig, &engine);
    let step = &course.steps[nth];
    let what = format!("{} {} {blow:?} at {nth} {step}", profile.name, scene.name);
    let result = (scene.act)(&rig, &engine, &Saboteur::striking(nth, blow).context());
    if result.is_ok() {
        assert_eq!(look(&rig, &engine), course.after, "{what}: it said that it was done");
    }
    drop(engine);
    let engine = rig.engine();
    let seen = look(&rig, &engine);
    if result.is_ok() {
        assert_eq!(seen, course.after, "{what}: it was done before the engine was opened again");
    } else if seen != course.after {
        assert_eq!(seen, course.before, "{what}: neither as before nor as after: {result:?}");
    }
    engine.gc(&Context::default()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_eq!(look(&rig, &engine), seen, "{what}: gc changed something");
    assert_clean(&rig, &engine, &what);
    drop(engine);
    let engine = rig.engine();
    assert_eq!(look(&rig, &engine), seen, "{what}: a second recovery changed something");
    assert_clean(&rig, &engine, &what);
    if seen == course.before {
        let again = (scene.act)(&rig, &engine, &Context::default());
        again.unwrap_or_else(|error| panic!("{what}: cannot be done afterwards: {error:?}"));
        assert_eq!(look(&rig, &engine), course.after, "{what}: afterwards");
        assert_clean(&rig, &engine, &what);
    }
}

fn break_everywhere(profiles: &[Profile], blow: Blow) {
    for profile in profiles {
        for scene in SCENES {
            let Some(course) = undisturbed(profile, scene) else { continue };
            let is_silent = course.steps.is_empty() && course.before != course.after;
            assert!(!is_silent, "{} {} announces no step", profile.name, scene.name);
            for nth in 0..course.steps.len() {
                disturbed(profile, scene, &course, nth, blow);
            }
        }
    }
}

#[test]
fn an_error_at_any_step_leaves_the_world_before_or_after_in_the_reference_store() {
    break_everywhere(&Profile::references(), Blow::Once);
}

#[test]
fn a_death_at_any_step_leaves_the_world_before_or_after_in_the_reference_store() {
    break_everywhere(&Profile::references(), Blow::ForEver);
}

#[test]
fn an_error_at_any_step_leaves_the_world_before_or_after_in_real_stores() {
    break_everywhere(&Profile::real(), Blow::Once);
}

#[test]
fn a_death_at_any_step_leaves_the_world_before_or_after_in_real_stores() {
    break_everywhere(&Profile::real(), Blow::ForEver);
}

/// The verbs of a store that change something, and the one by which recovery sees.
const VERBS: [Verb; 9] = [
    Verb::Create,
    Verb::Destroy,
    Verb::Probe,
    Verb::Sync,
    Verb::Snapshot,
    Verb::Clone,
    Verb::Exchange,
    Verb::Rename,
    Verb::Flatten,
];

fn struck(profile: &Profile, scene: &Scene, course: &Course, fault: Fault) {
    let rig = Rig::new(profile);
    let engine = rig.engine();
    (scene.prepare)(&rig, &engine);
    rig.disk.plant(fault);
    let what = format!("{} {} {fault:?}", profile.name, scene.name);
    let result = (scene.act)(&rig, &engine, &Context::default());
    drop(engine);
    let engine = rig.engine();
    // A fault that did not strike yet may strike the first try.
    let _first = engine.gc(&Context::default());
    engine.gc(&Context::default()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let seen = look(&rig, &engine);
    if result.is_ok() {
        assert_eq!(seen, course.after, "{what}: it said that it was done");
    } else if seen != course.after {
        assert_eq!(seen, course.before, "{what}: neither as before nor as after: {result:?}");
    }
    assert_clean(&rig, &engine, &what);
}

#[test]
fn a_store_that_fails_before_within_or_behind_its_effect_leaves_the_world_before_or_after() {
    let names = ["independent", "independent-home", "no-exchange-home", "freezing-home", "deferring"];
    for profile in Profile::named(&names) {
        for scene in SCENES {
            let Some(course) = undisturbed(&profile, scene) else { continue };
            for verb in VERBS {
                for (nth, moment) in
                    [(1, Moment::Before), (1, Moment::Halfway), (1, Moment::After), (2, Moment::Halfway)]
                {
                    struck(&profile, scene, &course, Fault { verb, nth, moment, kind: ErrorKind::Io });
                }
            }
        }
    }
}

/// Lets the deadline pass while the last step before the commit point is under way.
struct Dawdler;

impl Observer for Dawdler {
    fn step(&self, name: &str) -> Result<()> {
        if name == "create.publish" {
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}

#[test]
fn a_deadline_that_passes_behind_the_commit_point_does_not_tear_the_operation_apart() {
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    let soon = Instant::now() + Duration::from_millis(250);
    let context = Context::new(Arc::new(Dawdler)).with_deadline(soon);
    engine.create(&context, rig.create_request("a")).unwrap();
    assert!(Instant::now() > soon);
    assert!(engine.container(&rig.key("a")).unwrap().adopted);
    assert_clean(&rig, &engine, "deadline");
}

#[test]
fn a_death_behind_the_commit_point_is_told_as_done_and_its_half_written_files_go() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        one(&rig, &engine);
        let listening = Saboteur::listening();
        engine.snapshot(&listening.context(), &rig.snapshot_request("a")).unwrap();
        let steps = listening.steps();
        let last = steps.iter().rposition(|step| step == "snapshot.record").unwrap();
        let killer = Saboteur::striking(last, Blow::ForEver).context();
        let error = engine.snapshot(&killer, &rig.snapshot_request("a")).unwrap_err();
        assert!(error.full_message().contains("it is done"), "{}: {error:?}", profile.name);
        std::fs::write(rig.lxcpath().join("a/.keiki-half"), "half").unwrap();
        drop(engine);
        let engine = rig.engine();
        assert_eq!(engine.snapshots(&rig.key("a")).unwrap().len(), 2, "{}", profile.name);
        assert!(!rig.exists("a/.keiki-half"), "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}
