//! Many at once, in threads and in processes: one winner for each name, no deadlock, nothing half made.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use keiki_core::context::Context;
use keiki_core::{Error, ErrorKind, Result};

use crate::bench::Bench;
use crate::case::Case;
use crate::rig::Lifetime;
use crate::verdict::{Failure, Proof, Verdict};
use crate::worker::{Answer, Task, Work, Worker};
use crate::yard::{Idle, Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Concurrency:
        one_of_many_threads_makes_a_name,
        one_of_many_processes_makes_a_name,
        one_of_many_clones_takes_a_name,
        one_of_two_renames_wins,
        one_of_two_destroys_wins,
        a_clone_and_a_destroy_of_its_parent_agree,
        a_restore_and_a_destroy_of_its_snapshot_agree,
        snapshots_by_many_threads_all_get_names,
        clones_by_many_threads_are_all_whole,
        lists_work_while_names_come_and_go,
        a_lock_names_its_holder,
        a_killed_holder_holds_nothing,
        eight_processes_do_random_things_without_deadlock,
    ]
}

/// Carries out one operation each in as many threads, each with an engine of its own, all at once.
fn race(bench: &Bench<'_>, ops: &[Op]) -> Verdict<Vec<Result<()>>> {
    let start = Barrier::new(ops.len());
    let results: Vec<Result<Result<()>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = ops
            .iter()
            .map(|op| {
                let (rig, ground, start) = (bench.rig, bench.ground(), &start);
                scope.spawn(move || {
                    let yard = Yard::at(rig, ground, std::sync::Arc::new(Idle), LONG);
                    start.wait();
                    yard.map(|yard| yard.apply(&Context::default(), op))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    results.into_iter().map(|result| Ok(result?)).collect()
}

const LONG: Duration = Duration::from_secs(60);

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "a thread of the case panicked")
}

/// Fails unless exactly one succeeded and the others were refused with one of these kinds.
#[track_caller]
fn one_winner(results: Vec<Result<()>>, kinds: &[ErrorKind]) -> Verdict<()> {
    let winners = results.iter().filter(|result| result.is_ok()).count();
    claim_eq!(winners, 1, "winners among {} ({results:?})", results.len());
    for error in results.into_iter().filter_map(Result::err) {
        claim!(kinds.contains(&error.kind()), "a loser says {error:?}");
    }
    Ok(())
}

/// Fails unless everything that is left is whole and nothing is half made.
#[track_caller]
fn whole(bench: &Bench<'_>, expected: &[&str]) -> Verdict<()> {
    let yard = Yard::open(bench)?;
    let view = yard.view()?;
    claim_eq!(view.containers.keys().collect::<Vec<_>>(), expected, "the containers");
    yard.engine.gc(&Context::default())?;
    let staged = std::fs::read_dir(yard.lxcpath.join(".keiki/staging")).into_iter().flatten().count();
    claim_eq!(staged, 0, "homes that are still in the making");
    Ok(())
}

fn one_of_many_threads_makes_a_name(bench: &Bench<'_>) -> Verdict {
    let results = race(bench, &vec![Op::create("a"); 8])?;
    // Whoever comes while the winner is at work, or while another loser is being taken back, may be told so.
    one_winner(results, &[ErrorKind::AlreadyExists, ErrorKind::Busy])?;
    whole(bench, &["a"])?;
    Ok(Proof::Works)
}

fn one_of_many_processes_makes_a_name(bench: &Bench<'_>) -> Verdict {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(needs_disk());
    }
    let work = Work::Op { op: Op::create("a"), disturbance: None };
    let task = Task::on(bench.rig, bench.ground(), work);
    let workers: Vec<_> = (0..8).map(|_| task.start()).collect::<Verdict<_>>()?;
    let answers: Vec<_> = workers.into_iter().map(Worker::finish).collect::<Verdict<_>>()?;
    let winners = answers.iter().filter(|answer| matches!(answer, Some(Answer::Done(_)))).count();
    claim_eq!(winners, 1, "winners among {answers:?}");
    let taken =
        |answer: &&Option<Answer>| matches!(answer, Some(Answer::Failed(kind, _)) if kind == "AlreadyExists");
    claim_eq!(answers.iter().filter(taken).count(), 7, "refusals among {answers:?}");
    whole(bench, &["a"])?;
    Ok(Proof::Works)
}

fn needs_disk() -> Proof {
    Proof::Skipped("a store that outlives its process".to_owned())
}

fn one_of_many_clones_takes_a_name(bench: &Bench<'_>) -> Verdict {
    Yard::open(bench)?.make(Op::create("a"))?;
    let results = race(bench, &vec![Op::clone("a", &["b"], Means::Either); 6])?;
    if results.iter().all(|r| r.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unsupported)) {
        return Ok(Proof::Refused);
    }
    // Whoever comes while the winner is at work may be told so.
    one_winner(results, &[ErrorKind::AlreadyExists, ErrorKind::Busy])?;
    whole(bench, &["a", "b"])?;
    Ok(Proof::Works)
}

fn one_of_two_renames_wins(bench: &Bench<'_>) -> Verdict {
    Yard::open(bench)?.make(Op::create("a"))?;
    let results = race(bench, &[Op::rename("a", "x"), Op::rename("a", "y")])?;
    let name = if results[0].is_ok() { "x" } else { "y" };
    one_winner(results, &[ErrorKind::NotFound])?;
    whole(bench, &[name])?;
    Ok(Proof::Works)
}

fn one_of_two_destroys_wins(bench: &Bench<'_>) -> Verdict {
    Yard::open(bench)?.make_all(&[Op::create("a"), Op::snapshot("a")])?;
    let results = race(bench, &vec![Op::destroy("a", Reach::Snapshots); 4])?;
    one_winner(results, &[ErrorKind::NotFound])?;
    whole(bench, &[])?;
    Ok(Proof::Works)
}

fn a_clone_and_a_destroy_of_its_parent_agree(bench: &Bench<'_>) -> Verdict {
    for round in 0..5 {
        let (parent, clone) = (format!("a{round}"), format!("b{round}"));
        Yard::open(bench)?.make(Op::create(&parent))?;
        let ops = [Op::clone(&parent, &[&clone], Means::Either), Op::destroy(&parent, Reach::Only)];
        let results = race(bench, &ops)?;
        let yard = Yard::open(bench)?;
        let view = yard.view()?;
        claim_eq!(view.containers.contains_key(&clone), results[0].is_ok(), "the clone, after {results:?}");
        claim_eq!(
            !view.containers.contains_key(&parent),
            results[1].is_ok(),
            "the parent, after {results:?}"
        );
        for error in results.into_iter().filter_map(Result::err) {
            let expected = [ErrorKind::NotFound, ErrorKind::HasDependents, ErrorKind::Unsupported];
            claim!(expected.contains(&error.kind()), "the loser says {error:?}");
        }
    }
    Ok(Proof::Works)
}

fn a_restore_and_a_destroy_of_its_snapshot_agree(bench: &Bench<'_>) -> Verdict {
    for round in 0..4 {
        let name = format!("a{round}");
        Yard::open(bench)?.make_all(&[Op::create(&name), Op::snapshot(&name), Op::write(&name, "x", "y")])?;
        let results = race(bench, &[Op::restore(&name, "snap0"), Op::destroy_snapshot(&name, "snap0")])?;
        let yard = Yard::open(bench)?;
        let view = yard.view()?;
        let container = view.containers.get(&name).ok_or_else(|| Failure::new("the container is gone"))?;
        claim_eq!(container.snapshots.is_empty(), results[1].is_ok(), "the snapshot, after {results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            let expected = [ErrorKind::NotFound, ErrorKind::HasDependents, ErrorKind::Unsupported];
            claim!(expected.contains(&error.kind()), "the loser says {error:?}");
        }
    }
    Ok(Proof::Works)
}

fn snapshots_by_many_threads_all_get_names(bench: &Bench<'_>) -> Verdict {
    Yard::open(bench)?.make(Op::create("a"))?;
    for result in race(bench, &vec![Op::snapshot("a"); 6])? {
        result?;
    }
    let yard = Yard::open(bench)?;
    let mut found: Vec<_> =
        yard.engine.snapshots(&yard.key("a")?)?.into_iter().map(|s| s.name.to_string()).collect();
    found.sort();
    claim_eq!(found, ["snap0", "snap1", "snap2", "snap3", "snap4", "snap5"], "the snapshots");
    Ok(Proof::Works)
}

fn clones_by_many_threads_are_all_whole(bench: &Bench<'_>) -> Verdict {
    Yard::open(bench)?.make(Op::create("a"))?;
    let names = ["b", "c", "d", "e", "f", "g"];
    let ops: Vec<_> = names.iter().map(|name| Op::clone("a", &[name], Means::Either)).collect();
    let results = race(bench, &ops)?;
    if results.iter().all(|r| r.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unsupported)) {
        return Ok(Proof::Refused);
    }
    results.into_iter().collect::<Result<Vec<_>>>()?;
    let yard = Yard::open(bench)?;
    let source = yard.content("a")?;
    for name in names {
        claim_eq!(source.differences(&yard.content(name)?), "", "the clone `{name}`");
    }
    Ok(Proof::Works)
}

fn lists_work_while_names_come_and_go(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("stays"))?;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| -> Verdict<()> {
        let busy = scope.spawn(|| -> Verdict<()> {
            let result = (0..12).try_for_each(|round| {
                let yard = Yard::open(bench)?;
                yard.make_all(&[
                    Op::create("comes"),
                    Op::snapshot("comes"),
                    Op::destroy("comes", Reach::Snapshots),
                ])
                .map_err(|e| e.during(&format!("round {round}")))
            });
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            result
        });
        let mut looks = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) || looks == 0 {
            let names: Vec<_> =
                yard.engine.containers(&yard.lxcpath)?.into_iter().map(|r| r.key.name.to_string()).collect();
            claim!(names.contains(&"stays".to_owned()) && names.len() <= 2, "listed {names:?}");
            yard.engine.lineage(&yard.lxcpath)?;
            looks += 1;
        }
        busy.join().unwrap_or_else(|_| Err(Failure::from(panicked())))
    })?;
    Ok(Proof::Works)
}

fn hold(bench: &Bench<'_>, name: &str) -> Verdict<Worker> {
    let work = Work::Hold { name: name.to_owned() };
    let mut worker = Task::on(bench.rig, bench.ground(), work).start()?;
    claim_eq!(worker.first_answer()?, Answer::Held, "the holder");
    Ok(worker)
}

fn a_lock_names_its_holder(bench: &Bench<'_>) -> Verdict {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(needs_disk());
    }
    Yard::open(bench)?.make(Op::create("a"))?;
    let holder = hold(bench, "a")?;
    let patience = Duration::from_millis(200);
    let yard = Yard::at(bench.rig, bench.ground(), std::sync::Arc::new(Idle), patience)?;
    let begun = Instant::now();
    let error = yard.apply(&Context::default(), &Op::destroy("a", Reach::Only)).err();
    let error = error.ok_or_else(|| Failure::new("a container that is held was destroyed"))?;
    claim_eq!(error.kind(), ErrorKind::Busy, "the kind of {error:?}");
    claim!(
        format!("{error:?}").contains(&holder.pid().to_string()),
        "it does not name the holder: {error:?}"
    );
    claim!(begun.elapsed() < Duration::from_secs(10), "it waited {:?}", begun.elapsed());
    claim_eq!(holder.finish()?, Some(Answer::Done(1)), "the holder");
    yard.make(Op::destroy("a", Reach::Only))?;
    Ok(Proof::Refused)
}

fn a_killed_holder_holds_nothing(bench: &Bench<'_>) -> Verdict {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(needs_disk());
    }
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    hold(bench, "a")?.kill()?;
    let begun = Instant::now();
    yard.make(Op::destroy("a", Reach::Only))?;
    claim!(begun.elapsed() < Duration::from_secs(5), "it waited {:?}", begun.elapsed());
    Ok(Proof::Works)
}

/// What is in a container's directory, for a failure's message.
fn shown(home: &std::path::Path) -> String {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let names: Vec<_> = entries.map(|e| e.file_name().display().to_string()).collect();
    format!("{}: {}", home.file_name().unwrap_or_default().display(), names.join(" "))
}

/// How many operations each of eight processes does: enough to meet often; `KEIKI_KIT_SCALE=full` does 10,000 in all.
fn operations() -> usize {
    super::Scale::of_run().pick(10, 40, 1250)
}

fn eight_processes_do_random_things_without_deadlock(bench: &Bench<'_>) -> Verdict {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(needs_disk());
    }
    let mut workers = Vec::new();
    for seed in 0..8 {
        let work = Work::Stress { seed: 1000 + seed, operations: operations() };
        workers.push(Task::on(bench.rig, bench.ground(), work).start()?);
    }
    let mut succeeded = 0;
    for worker in workers {
        match worker.finish()? {
            Some(Answer::Done(count)) => succeeded += count,
            answer => {
                let places = std::fs::read_dir(bench.ground().lxcpath())?.flatten();
                let shown: Vec<_> = places.map(|place| shown(&place.path())).collect();
                return Err(Failure::new(format!("a worker ended with {answer:?}; on disk {shown:?}")));
            }
        }
    }
    claim!(succeeded > 0, "every operation was refused");
    let yard = Yard::open(bench)?;
    let view = yard.view()?;
    for (name, container) in &view.containers {
        for dependent in &container.dependents {
            let who = dependent.split('@').next().unwrap_or(dependent);
            claim!(
                view.containers.contains_key(who),
                "`{name}` has the dependent `{dependent}`, which is not there"
            );
        }
    }
    yard.engine.gc(&Context::default())?;
    Ok(Proof::Works)
}
