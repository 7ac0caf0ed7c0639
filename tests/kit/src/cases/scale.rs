//! Many containers: what is asked of the catalogue costs no more than its share, and nothing is held open.
//!
//! 1,000 containers, or 10,000 with `KEIKI_KIT_SCALE=full`. Times are told on standard error; claims are ratios, and bounds
//! that only a wrong order of growth can miss on any machine.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::case::Case;
use crate::leak;
use crate::rig::namespace::mounts_below;
use crate::verdict::{Proof, Verdict};
use crate::yard::{Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Scale: many_clones_are_listed_in_proportion, a_long_chain_is_listed_and_destroyed]
}

fn many() -> usize {
    super::Scale::of_run().pick(150, 1_000, 10_000)
}

/// The best of a few runs, which other work on the machine disturbs least.
fn best<T>(mut run: impl FnMut() -> Verdict<T>) -> Verdict<(T, Duration)> {
    let mut least = None;
    for _ in 0..5 {
        let begun = Instant::now();
        let value = run()?;
        let taken = begun.elapsed();
        if least.as_ref().is_none_or(|(_, time)| taken < *time) {
            least = Some((value, taken));
        }
    }
    least.ok_or_else(|| crate::Failure::new("nothing ran"))
}

fn tell(bench: &Bench<'_>, what: &str, count: usize, taken: Duration) {
    // A closed standard error is no reason to stop.
    let _unheard =
        writeln!(std::io::stderr(), "measured: {} {what} of {count}: {taken:.1?}", bench.rig.name());
}

/// How much dearer one of many may be than one of a hundred.
const GROWTH: f64 = 3.0;
/// Less than this for a hundred is noise on a busy machine.
const NOISE: f64 = 0.005;

fn many_clones_are_listed_in_proportion(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("base"))?;
    let means = match yard.clone_promises()? {
        Some(promises) if promises.clone_cost == keiki_core::capability::Cost::Constant => Means::Snapshot,
        _ => return Ok(Proof::Skipped("a store whose clones cost no data".to_owned())),
    };
    let make = |range: std::ops::Range<usize>| -> Verdict<()> {
        let names: Vec<_> = range.map(|n| format!("c{n:05}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        names.chunks(250).try_for_each(|batch| yard.make(Op::clone("base", batch, means)))
    };
    make(0..99)?;
    let (few, few_time) = best(|| Ok(yard.engine.containers(&yard.lxcpath)?))?;
    claim_eq!(few.len(), 100, "containers");
    let begun = Instant::now();
    make(99..many() - 1)?;
    tell(bench, "cloning", many() - 100, begun.elapsed());
    let (all, all_time) = best(|| Ok(yard.engine.containers(&yard.lxcpath)?))?;
    claim_eq!(all.len(), many(), "containers");
    tell(bench, "listing", many(), all_time);
    let (_, tree_time) = best(|| Ok(yard.engine.lineage(&yard.lxcpath)?))?;
    tell(bench, "the family tree", many(), tree_time);
    let share = |time: Duration, count: usize| {
        time.as_secs_f64().max(NOISE) / f64::from(u32::try_from(count).unwrap_or(1))
    };
    let growth = share(all_time, many()) / share(few_time, 100);
    claim!(growth < GROWTH, "one of {} costs {growth:.1} times what one of 100 costs", many());
    let (_, one_time) = best(|| Ok(yard.engine.container(&yard.key("c00042")?)?))?;
    claim!(
        one_time < all_time.max(Duration::from_millis(20)),
        "one container costs {one_time:?}, all {all_time:?}"
    );
    claim_eq!(mounts_below(&yard.lxcpath).len(), 0, "mounts");
    let begun = Instant::now();
    yard.make(Op::destroy("c00007", Reach::Only))?;
    tell(bench, "destroying one", many(), begun.elapsed());
    drop(yard);
    leak::check(bench.rig, bench.ground())?;
    Ok(Proof::Works)
}

/// As long as the store allows, 100 at most (12 in an emulated machine): recursion and quadratic walks show here.
fn a_long_chain_is_listed_and_destroyed(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("c0"))?;
    let Some(promises) = yard.clone_promises()? else { return Ok(Proof::Refused) };
    if promises.clone_cost != keiki_core::capability::Cost::Constant {
        return Ok(Proof::Skipped("a store whose clones cost no data".to_owned()));
    }
    let length = promises.max_depth.unwrap_or(100).clamp(4, super::Scale::of_run().pick(15, 100, 100)) - 3;
    for n in 1..=length {
        let (from, to) = (format!("c{}", n - 1), format!("c{n}"));
        if let Err(refused) = yard.make(Op::clone(&from, &[&to], Means::Snapshot)) {
            // A store without snapshots of snapshots has no chains.
            claim!(n == 2 && refused.to_string().contains("Unsupported"), "link {n}: {refused}");
            return Ok(Proof::Refused);
        }
    }
    let (_, time) = best(|| Ok(yard.engine.lineage(&yard.lxcpath)?))?;
    tell(bench, "the tree of a chain", usize::try_from(length).unwrap_or(0), time);
    claim!(time < Duration::from_secs(2), "the tree of a chain took {time:?}");
    yard.make(Op::destroy("c0", Reach::Dependents))?;
    Ok(Proof::Works)
}
