//! Many at once: threads with engines of their own, as processes have them. One wins, the others are told, and the world is whole.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use keiki_core::ErrorKind;
use keiki_core::context::{Context, Observer, Progress};
use keiki_core::engine::{CloneMode, DestroyScope, Engine};
use keiki_core::name::ContainerName;

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

const THREADS: usize = 6;

/// Lets every thread do its part at the same moment, each with an engine of its own, and returns what they got.
fn at_once<T: Send>(rig: &Rig, part: impl Fn(&Engine, usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    let engines: Vec<Engine> = (0..THREADS).map(|_| rig.engine()).collect();
    thread::scope(|scope| {
        let (barrier, part) = (&barrier, &part);
        let threads: Vec<_> = engines
            .into_iter()
            .enumerate()
            .map(|(index, engine)| {
                scope.spawn(move || {
                    barrier.wait();
                    part(&engine, index)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn raced() -> Vec<Profile> {
    Profile::named(&["independent", "freezing", "freezing-home", "deferring", "dir", "overlay"])
}

#[test]
fn of_many_who_create_one_name_exactly_one_wins() {
    for profile in raced() {
        let rig = Rig::new(&profile);
        let results = at_once(&rig, |engine, _| {
            let request = rig.create_request("a");
            engine.create(&Context::default(), request)
        });
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{}: {results:?}", profile.name);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error:?}", profile.name);
        }
        let engine = rig.engine();
        assert_eq!(rig.names(&engine), ["a"], "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn many_who_clone_one_source_all_get_their_clone() {
    for profile in raced() {
        let rig = Rig::new(&profile);
        rig.create(&rig.engine(), "a", "1");
        let results = at_once(&rig, |engine, index| {
            let names = [format!("c{index}x"), format!("c{index}y")];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            engine.clone_container(
                &Context::default(),
                &rig.clone_request("a", &names, CloneMode::SnapshotOrCopy),
            )
        });
        let engine = rig.engine();
        for result in results {
            result.unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        }
        assert_eq!(rig.names(&engine).len(), 1 + 2 * THREADS, "{}", profile.name);
        if let Some(text) = rig.text("a/lxc_snapshots") {
            assert_eq!(text.lines().count(), 4 * THREADS, "{}: {text}", profile.name);
        }
        assert_clean(&rig, &engine, profile.name);
        let report = engine.check(&rig.lxcpath()).unwrap();
        assert!(report.findings.is_empty(), "{}: {report:?}", profile.name);
    }
}

#[test]
fn many_snapshots_of_one_container_get_names_of_their_own_or_are_told_to_wait() {
    for profile in raced() {
        let rig = Rig::new(&profile);
        rig.create(&rig.engine(), "a", "1");
        let results =
            at_once(&rig, |engine, _| engine.snapshot(&Context::default(), &rig.snapshot_request("a")));
        let engine = rig.engine();
        let mut names: Vec<String> = Vec::new();
        for result in results {
            match result {
                Ok(outcome) => names.push(outcome.name),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Busy, "{}: {error:?}", profile.name),
            }
        }
        let mut listed: Vec<_> =
            engine.snapshots(&rig.key("a")).unwrap().iter().map(|record| record.name.to_string()).collect();
        listed.sort();
        names.sort();
        assert!(!names.is_empty(), "{}", profile.name);
        assert_eq!(listed, names, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn cloning_and_destroying_at_once_never_loses_a_parent_that_is_needed() {
    for profile in raced() {
        for _ in 0..3 {
            let rig = Rig::new(&profile);
            rig.create(&rig.engine(), "a", "1");
            let results = at_once(&rig, |engine, index| {
                if index % 2 == 0 {
                    rig.clone(engine, "a", &format!("c{index}")).map(drop)
                } else {
                    rig.destroy(engine, "a", DestroyScope::Only)
                }
            });
            let engine = rig.engine();
            for error in results.into_iter().filter_map(Result::err) {
                let told =
                    [ErrorKind::HasDependents, ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Unsupported];
                assert!(told.contains(&error.kind()), "{}: {error:?}", profile.name);
            }
            // Every container that is left shows its data: `look` reads all of it.
            let world = look(&rig, &engine);
            for name in world.keys() {
                assert_eq!(rig.read(&engine, name, "f").as_deref(), Some("1"), "{} {name}", profile.name);
            }
            assert_clean(&rig, &engine, profile.name);
        }
    }
}

#[test]
fn renames_onto_one_name_have_one_winner_and_lose_nobody() {
    for profile in raced() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        for index in 0..THREADS {
            rig.create(&engine, &format!("r{index}"), &index.to_string());
        }
        let target = ContainerName::parse("z").unwrap();
        let results = at_once(&rig, |engine, index| {
            engine.rename(&Context::default(), &rig.key(&format!("r{index}")), &target)
        });
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "{}: {results:?}", profile.name);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error:?}", profile.name);
        }
        assert_eq!(rig.names(&engine).len(), THREADS, "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_permitted_start_keeps_changes_away_and_names_the_holder() {
    for profile in Profile::references() {
        let rig = Rig::new(&profile);
        let (engine, other) = (rig.engine(), rig.engine_that_waits(Duration::from_millis(20)).unwrap());
        rig.create(&engine, "a", "1");
        let permit = engine.permit_start(&rig.key("a")).unwrap();
        let began = Instant::now();
        let error = refused(rig.destroy(&other, "a", DestroyScope::Only), ErrorKind::Busy, profile.name);
        assert!(began.elapsed() < Duration::from_secs(5), "{}", profile.name);
        let holder = error.context().iter().find(|(key, _)| *key == "holder").map(|(_, text)| text.clone());
        let holder = holder.unwrap_or_default();
        assert!(holder.contains(&std::process::id().to_string()) && holder.contains("start"), "{error:?}");
        drop(permit);
        rig.destroy(&other, "a", DestroyScope::Only).unwrap();
    }
}

#[test]
fn a_deadline_ends_the_waiting() {
    let rig = Rig::new(&Profile::references()[0]);
    let (engine, other) = (rig.engine(), rig.engine());
    rig.create(&engine, "a", "1");
    let _permit = engine.permit_start(&rig.key("a")).unwrap();
    let soon = Context::default().with_deadline(Instant::now() + Duration::from_millis(10));
    let error = other.destroy(&soon, &rig.key("a"), DestroyScope::Only).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::Timeout), "{error:?}");
    assert_eq!(rig.names(&engine), ["a"]);
}

#[test]
fn recovery_leaves_a_living_owner_alone() {
    for profile in Profile::named(&["independent", "freezing-home", "overlay"]) {
        let rig = Arc::new(Rig::new(&profile));
        let engine = rig.engine();
        let meddled = || Context::new(Arc::new(Meddler(rig.clone())));
        engine.create(&meddled(), rig.create_request("a")).unwrap();
        engine.snapshot(&meddled(), &rig.snapshot_request("a")).unwrap();
        engine
            .clone_container(&meddled(), &rig.clone_request("a@snap0", &["b", "c"], CloneMode::Snapshot))
            .unwrap();
        engine.destroy(&meddled(), &rig.key("b"), DestroyScope::Only).unwrap();
        assert_eq!(rig.names(&engine), ["a", "c"], "{}", profile.name);
        assert_clean(&rig, &engine, profile.name);
    }
}

/// Opens the installation, recovers, checks and lists at every step of somebody else's operation.
struct Meddler(Arc<Rig>);

impl Observer for Meddler {
    fn step(&self, name: &str) -> keiki_core::Result<()> {
        // A thread of its own: the step may be inside the other engine's runtime.
        let meddle = || {
            let engine = self.0.engine();
            engine.gc(&Context::default()).unwrap();
            engine.containers(&self.0.lxcpath()).unwrap();
            let report = engine.check(&self.0.lxcpath()).unwrap();
            assert!(report.findings.is_empty(), "at {name}: {report:?}");
        };
        thread::scope(|scope| scope.spawn(meddle).join()).unwrap();
        Ok(())
    }

    fn progress(&self, _progress: Progress) {}
}
