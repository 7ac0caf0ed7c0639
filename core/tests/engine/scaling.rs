//! Many containers: a batch is one intent, a listing is a few questions, and a long chain is no recursion.

use std::time::{Duration, Instant};

use keiki_core::context::Context;
use keiki_core::engine::{CloneMode, DestroyScope};

use crate::rig::{Profile, Rig};
use crate::saboteur::Saboteur;
use crate::world::assert_clean;

fn many(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("c{index:05}")).collect()
}

#[test]
fn a_batch_of_a_thousand_clones_is_one_intent_and_one_barrier() {
    for profile in Profile::named(&["independent-home", "freezing-home", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let names = many(1000);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let observer = Saboteur::listening();
        let request = rig.clone_request("a", &names, CloneMode::Snapshot);
        let began = Instant::now();
        engine.clone_container(&observer.context(), &request).unwrap();
        println!("{}: 1000 clones in {:?}", profile.name, began.elapsed());
        let log = std::fs::metadata(rig.state().join("catalogue.sqlite-wal")).unwrap().len();
        assert!(log <= 512 * 1024, "{}: every later command reads a log of {log} bytes", profile.name);
        let steps = observer.steps();
        let count = |name: &str| steps.iter().filter(|step| *step == name).count();
        for once in ["clone.staging", "clone.config", "clone.record"] {
            assert_eq!(count(once), 1, "{}: {once}", profile.name);
        }
        let began = Instant::now();
        assert_eq!(engine.containers(&rig.lxcpath()).unwrap().len(), 1001, "{}", profile.name);
        println!("{}: 1001 listed in {:?}", profile.name, began.elapsed());
        let began = Instant::now();
        engine
            .destroy(&Context::default(), &rig.key("a"), DestroyScope::WithDependents)
            .map(drop)
            .unwrap_or_else(|error| panic!("{}: {error:?}", profile.name));
        println!("{}: destroyed with dependents in {:?}", profile.name, began.elapsed());
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn one_container_among_ten_thousand_costs_what_it_costs_alone() {
    let rig = Rig::new(&Profile::named(&["freezing-home"])[0]);
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    let names = many(10_000);
    for batch in names.chunks(2_500) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let request = rig.clone_request("a", &batch, CloneMode::Snapshot);
        engine.clone_container(&Context::default(), &request).unwrap();
    }
    let timed = |what: &str, work: &dyn Fn()| {
        let began = Instant::now();
        work();
        println!("{what}: {:?}", began.elapsed());
        began.elapsed()
    };
    let listing = timed("list 10,001", &|| {
        assert_eq!(engine.containers(&rig.lxcpath()).unwrap().len(), 10_001);
    });
    let single = timed("look at one", &|| {
        engine.container(&rig.key("c00500")).unwrap();
    });
    let start = timed("permit a start", &|| {
        engine.permit_start(&rig.key("c00500")).unwrap();
    });
    let cloning = timed("clone one of them", &|| {
        rig.clone(&engine, "c00500", "d").unwrap();
    });
    timed("clone the parent of all", &|| {
        rig.clone(&engine, "a", "e").unwrap();
    });
    let destroying = timed("destroy one", &|| rig.destroy(&engine, "d", DestroyScope::Only).unwrap());
    timed("open", &|| drop(rig.engine()));
    // Debug builds on loaded machines: what is asserted is that nothing grows with the installation.
    assert!(listing < Duration::from_secs(5), "{listing:?}");
    for each in [single, start, cloning, destroying] {
        assert!(each < Duration::from_secs(1), "{each:?}");
    }
}

#[test]
fn a_long_chain_of_clones_is_listed_and_destroyed_without_recursion() {
    let rig = Rig::new(&Profile::named(&["freezing-home"])[0]);
    let engine = rig.engine();
    rig.create(&engine, "c0", "1");
    for index in 1..200 {
        rig.clone(&engine, &format!("c{}", index - 1), &format!("c{index}")).unwrap();
    }
    assert_eq!(engine.containers(&rig.lxcpath()).unwrap().len(), 200);
    assert_eq!(rig.read(&engine, "c199", "f").as_deref(), Some("1"));
    rig.destroy(&engine, "c0", DestroyScope::WithDependents).unwrap();
    assert!(rig.names(&engine).is_empty());
    assert_clean(&rig, &engine, "chain");
}
