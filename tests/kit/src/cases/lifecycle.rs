//! Create, probe, list, adopt, destroy; repeats of each; foreign and half-made objects.

use keiki_core::context::Context;
use keiki_core::mount_plan::AttachMode;
use keiki_core::store::{CloneJob, Destroyed, Presence, Usage};
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind};

use crate::bench::Bench;
use crate::case::Case;
use crate::rig::{Missing, Stranger};
use crate::steps::{AtStep, Recorder};
use crate::verdict::{Failure, Proof, Verdict};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Lifecycle:
        a_volume_is_absent_made_and_gone,
        create_twice_changes_nothing,
        destroy_of_something_absent_succeeds,
        a_place_can_be_used_again,
        a_foreign_object_refuses_create_and_is_left_alone,
        a_foreign_object_refuses_destroy_and_is_left_alone,
        a_foreign_object_refuses_clone_and_is_left_alone,
        another_ones_volume_refuses_create,
        another_ones_volume_refuses_destroy,
        list_finds_exactly_what_is_marked,
        list_passes_over_what_is_foreign,
        adopt_marks_and_touches_nothing,
        adopt_replaces_the_mark_that_a_copy_carries,
        adopt_refuses_what_carries_another_mark,
        adopt_refuses_what_is_not_there,
        attach_refuses_what_is_not_there,
        detach_of_something_not_attached_succeeds,
        usage_answers_in_order,
        sync_barrier_accepts_any_batch,
        a_create_that_fails_anywhere_is_cleaned_by_destroy,
        a_clone_that_fails_anywhere_is_cleaned_by_destroy,
        a_destroy_that_fails_anywhere_is_finished_by_the_next,
        clone_twice_changes_nothing,
        a_batch_of_clones_is_made_in_order,
        a_failing_job_leaves_the_rest_of_the_batch,
    ]
}

fn a_volume_is_absent_made_and_gone(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    bench.expect(&volume, Presence::Absent)?;
    bench.wait(bench.store.create(&Context::default(), &volume))?;
    bench.expect(&volume, Presence::Complete(volume.id))?;
    bench.write(&volume, "file", b"content")?;
    bench.expect(&volume, Presence::Complete(volume.id))?;
    destroy(bench, &volume, Destroyed::Removed)?;
    bench.expect(&volume, Presence::Absent)?;
    Ok(Proof::Works)
}

fn create_twice_changes_nothing(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    let before = bench.content(&volume)?;
    bench.wait(bench.store.create(&Context::default(), &volume))?;
    before.expect(&bench.content(&volume)?, "the second create")?;
    Ok(Proof::Works)
}

fn destroy_of_something_absent_succeeds(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    destroy(bench, &volume, Destroyed::Absent)?;
    let volume = bench.create("b")?;
    destroy(bench, &volume, Destroyed::Removed)?;
    destroy(bench, &volume, Destroyed::Absent)?;
    Ok(Proof::Works)
}

fn a_place_can_be_used_again(bench: &Bench<'_>) -> Verdict {
    for round in 0..3 {
        let volume = bench.create_filled("a").map_err(|e| e.during(&format!("round {round}")))?;
        destroy(bench, &volume, Destroyed::Removed)?;
    }
    Ok(Proof::Works)
}

fn a_foreign_object_refuses_create_and_is_left_alone(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    let foreign = match bench.rig.plant_stranger(bench.ground(), &volume) {
        Ok(planted) => planted,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    bench.expect(&volume, Presence::Foreign)?;
    let error = bench.wait(bench.store.create(&Context::default(), &volume)).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::Foreign), "create over a foreign object");
    foreign.expect_untouched()?;
    Ok(Proof::Refused)
}

fn a_foreign_object_refuses_destroy_and_is_left_alone(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    let foreign = match bench.rig.plant_stranger(bench.ground(), &volume) {
        Ok(planted) => planted,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    let error = bench.wait(bench.store.destroy(&Context::default(), &volume)).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::Foreign), "destroy of a foreign object");
    foreign.expect_untouched()?;
    Ok(Proof::Refused)
}

fn a_foreign_object_refuses_clone_and_is_left_alone(bench: &Bench<'_>) -> Verdict {
    let source = bench.create_filled("a")?;
    let target = bench.place("b", Some(&source))?;
    let foreign = match bench.rig.plant_stranger(bench.ground(), &target) {
        Ok(planted) => planted,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    claim!(bench.clone_into(&source, &target).is_err(), "a clone over a foreign object succeeded");
    foreign.expect_untouched()?;
    Ok(Proof::Refused)
}

/// Two programs chose the same place: the second finds the first one's finished volume.
fn another_ones_volume_refuses_create(bench: &Bench<'_>) -> Verdict {
    let (volume, imposter) = two_ids_one_place(bench)?;
    let before = bench.content(&volume)?;
    let error = bench.wait(bench.store.create(&Context::default(), &imposter)).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::Foreign), "create over another one's volume");
    before.expect(&bench.content(&volume)?, "the refused create")?;
    bench.expect(&volume, Presence::Complete(volume.id))?;
    Ok(Proof::Refused)
}

fn another_ones_volume_refuses_destroy(bench: &Bench<'_>) -> Verdict {
    let (volume, imposter) = two_ids_one_place(bench)?;
    let before = bench.content(&volume)?;
    let error = bench.wait(bench.store.destroy(&Context::default(), &imposter)).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::Foreign), "destroy of another one's volume");
    before.expect(&bench.content(&volume)?, "the refused destroy")?;
    Ok(Proof::Refused)
}

fn two_ids_one_place(bench: &Bench<'_>) -> Verdict<(Volume, Volume)> {
    let volume = bench.create_filled("a")?;
    let imposter = Volume { id: VolumeId::generate(), ..volume.clone() };
    Ok((volume, imposter))
}

fn list_finds_exactly_what_is_marked(bench: &Bench<'_>) -> Verdict {
    claim_eq!(listed(bench)?, [], "an empty pool");
    let mut expected = Vec::new();
    for name in ["c", "a", "b"] {
        expected.push(bench.create(name)?);
    }
    expected.push(bench.snapshot_of(&expected[0], "c", "s0")?);
    claim_eq!(listed(bench)?, ids(&expected), "the pool with three volumes and a snapshot");
    let gone = expected.pop().ok_or_else(|| Failure::new("no snapshot"))?;
    destroy(bench, &gone, Destroyed::Removed)?;
    claim_eq!(listed(bench)?, ids(&expected), "the pool after one was destroyed");
    Ok(Proof::Works)
}

fn list_passes_over_what_is_foreign(bench: &Bench<'_>) -> Verdict {
    let mine = bench.create("mine")?;
    let theirs = bench.place("theirs", None)?;
    let foreign = match bench.rig.plant_stranger(bench.ground(), &theirs) {
        Ok(planted) => planted,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    std::fs::write(bench.ground().lxcpath().join("a file"), "x")?;
    std::fs::create_dir(bench.ground().lxcpath().join("an empty directory"))?;
    std::os::unix::fs::symlink("/", bench.ground().lxcpath().join("a link"))?;
    claim_eq!(listed(bench)?, [mine.id], "the pool");
    foreign.expect_untouched()?;
    Ok(Proof::Works)
}

fn listed(bench: &Bench<'_>) -> Verdict<Vec<VolumeId>> {
    let mut ids: Vec<_> =
        bench.wait(bench.store.list(&bench.pool()))?.into_iter().map(|found| found.id).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn ids(volumes: &[Volume]) -> Vec<VolumeId> {
    let mut ids: Vec<_> = volumes.iter().map(|volume| volume.id).collect();
    ids.sort_unstable();
    ids
}

fn adopt_marks_and_touches_nothing(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    let foreign = match planted_by_lxc(bench, &volume)? {
        Ok(planted) => planted,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    bench.wait(bench.store.adopt(&Context::default(), &volume, None))?;
    bench.expect(&volume, Presence::Complete(volume.id))?;
    foreign.expect_untouched()?;
    bench.wait(bench.store.adopt(&Context::default(), &volume, None))?;
    destroy(bench, &volume, Destroyed::Removed)?;
    Ok(Proof::Works)
}

/// LXC copies trees with all of their attributes: a copy of our volume carries that volume's mark.
fn adopt_replaces_the_mark_that_a_copy_carries(bench: &Bench<'_>) -> Verdict {
    let original = bench.create_filled("original")?;
    let copy = bench.place("copy", None)?;
    let planted = match planted_by_lxc(bench, &copy)? {
        Ok(planted) => planted,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    if let Err(missing) = bench.rig.carry_mark(&original, &copy) {
        return Ok(Proof::Skipped(missing.0));
    }
    let context = Context::default();
    // A mark that also names the object itself proves nothing on another one, and may be passed over.
    if let Err(error) = bench.wait(bench.store.adopt(&context, &copy, None)) {
        claim_eq!(error.kind(), ErrorKind::Foreign, "adopting a copy of which nobody said so");
    }
    bench.wait(bench.store.adopt(&context, &copy, Some(original.id)))?;
    bench.expect(&copy, Presence::Complete(copy.id))?;
    bench.expect(&original, Presence::Complete(original.id))?;
    planted.expect_untouched()?;
    Ok(Proof::Works)
}

fn adopt_refuses_what_carries_another_mark(bench: &Bench<'_>) -> Verdict {
    let (volume, imposter) = two_ids_one_place(bench)?;
    let error = bench.wait(bench.store.adopt(&Context::default(), &imposter, None)).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::Foreign), "adopting another one's volume");
    bench.expect(&volume, Presence::Complete(volume.id))?;
    Ok(Proof::Refused)
}

fn adopt_refuses_what_is_not_there(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    let error = bench.wait(bench.store.adopt(&Context::default(), &volume, None)).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::NotFound), "adopting nothing");
    bench.expect(&volume, Presence::Absent)?;
    Ok(Proof::Refused)
}

fn attach_refuses_what_is_not_there(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    let answer = bench.wait(bench.store.attach(&Context::default(), &volume, AttachMode::ReadOnly));
    let expected = if bench.rig.direct().is_some() { ErrorKind::Unsupported } else { ErrorKind::NotFound };
    claim_eq!(answer.err().map(|e| e.kind()), Some(expected), "attaching nothing");
    bench.expect(&volume, Presence::Absent)?;
    Ok(Proof::Refused)
}

fn detach_of_something_not_attached_succeeds(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create("a")?;
    for _ in 0..2 {
        bench.wait(bench.store.detach(&Context::default(), &volume))?;
    }
    Ok(Proof::Works)
}

fn usage_answers_in_order(bench: &Bench<'_>) -> Verdict {
    let large = bench.create("large")?;
    bench.write(&large, "file", &vec![0x5A; 1 << 20])?;
    let missing = bench.place("missing", None)?;
    let small = bench.create("small")?;
    let context = Context::default();
    bench.wait(bench.store.sync_barrier(&context, &[large.clone(), small.clone()]))?;
    let usage = bench.wait(bench.store.usage(&context, &[large, missing, small]))?;
    claim_eq!(usage.len(), 3, "one answer a volume");
    claim_eq!(usage[1], Usage::default(), "the answer for a missing volume");
    if let (Some(large), Some(small)) = (usage[0].referenced, usage[2].referenced) {
        claim!(
            large.0 >= 1 << 20 && large > small,
            "a volume with a mebibyte is {large:?}, an empty one {small:?}"
        );
    }
    Ok(Proof::Works)
}

fn sync_barrier_accepts_any_batch(bench: &Bench<'_>) -> Verdict {
    let volumes = [bench.create("a")?, bench.create("b")?];
    for batch in [&volumes[..0], &volumes[..1], &volumes[..]] {
        bench.wait(bench.store.sync_barrier(&Context::default(), batch))?;
    }
    Ok(Proof::Works)
}

fn a_create_that_fails_anywhere_is_cleaned_by_destroy(bench: &Bench<'_>) -> Verdict {
    fails_anywhere(
        bench,
        |bench, context, volume| Ok(bench.wait(bench.store.create(context, volume))?),
        |bench, n| bench.place(&format!("c{n}"), None),
    )
}

fn a_clone_that_fails_anywhere_is_cleaned_by_destroy(bench: &Bench<'_>) -> Verdict {
    if bench.store.clones().is_none() {
        return Ok(Proof::Skipped("a store with clones".to_owned()));
    }
    let source = bench.create_filled("a")?;
    let before = bench.content(&source)?;
    let proof = fails_anywhere(
        bench,
        |bench, context, target| {
            let Some(clones) = bench.store.clones() else { return Ok(()) };
            let jobs = [CloneJob { target: target.clone() }];
            for result in bench.wait(clones.clone_from(context, &source, &jobs)) {
                result?;
            }
            Ok(())
        },
        |bench, n| bench.place(&format!("c{n}"), Some(&source)),
    )?;
    before.expect(&bench.content(&source)?, "the source after failed clones")?;
    Ok(proof)
}

/// Runs a maker once for its steps, then once for each step with an error there.
fn fails_anywhere(
    bench: &Bench<'_>,
    make: impl Fn(&Bench<'_>, &Context, &Volume) -> Verdict<()>,
    place: impl Fn(&Bench<'_>, usize) -> Verdict<Volume>,
) -> Verdict {
    let (recorder, context) = Recorder::listening();
    let whole = place(bench, 0)?;
    make(bench, &context, &whole)?;
    let steps = recorder.names();
    claim!(!steps.is_empty(), "the store announces no effect");
    for (n, step) in steps.iter().enumerate() {
        let volume = place(bench, n + 1)?;
        let result = make(bench, &injected_error(n), &volume);
        claim!(result.is_err(), "an error at `{step}` was swallowed");
        let found = bench.wait(bench.store.probe(&volume))?;
        let honest = [Presence::Absent, Presence::Partial, Presence::Complete(volume.id)].contains(&found);
        claim!(honest, "after an error at `{step}` it is {found:?}");
        bench
            .wait(bench.store.destroy(&Context::default(), &volume))
            .map_err(|e| Failure::from(e).during(&format!("destroy after an error at `{step}`")))?;
        bench.expect(&volume, Presence::Absent)?;
    }
    Ok(Proof::Works)
}

fn injected_error(step: usize) -> Context {
    AtStep::context(step, |name| Err(Error::new(ErrorKind::Io, format!("injected at `{name}`"))))
}

fn a_destroy_that_fails_anywhere_is_finished_by_the_next(bench: &Bench<'_>) -> Verdict {
    let (recorder, context) = Recorder::listening();
    let volume = bench.create_filled("c")?;
    bench.wait(bench.store.destroy(&context, &volume))?;
    let steps = recorder.names();
    claim!(!steps.is_empty(), "the store announces no effect");
    for (n, step) in steps.iter().enumerate() {
        let volume = bench.create_filled(&format!("c{n}"))?;
        let result = bench.wait(bench.store.destroy(&injected_error(n), &volume));
        claim!(result.is_err(), "an error at `{step}` was swallowed");
        let found = bench.wait(bench.store.probe(&volume))?;
        claim!(found != Presence::Foreign, "half destroyed at `{step}`, it passes for foreign");
        bench.wait(bench.store.destroy(&Context::default(), &volume))?;
        bench.expect(&volume, Presence::Absent)?;
    }
    Ok(Proof::Works)
}

fn clone_twice_changes_nothing(bench: &Bench<'_>) -> Verdict {
    let source = bench.create_filled("a")?;
    let target = bench.clone_of(&source, "b")?;
    bench.write(&target, "own", b"of the clone")?;
    let before = bench.content(&target)?;
    bench.clone_into(&source, &target)?;
    before.expect(&bench.content(&target)?, "the second clone")?;
    Ok(Proof::Works)
}

fn a_batch_of_clones_is_made_in_order(bench: &Bench<'_>) -> Verdict {
    let source = bench.create_filled("a")?;
    // To look into one plain volume of LVM makes the devices of all of its family.
    let results = clone_batch(bench, &source, super::Scale::of_run().pick(6, 16, 16), |_| false)?;
    for (target, result) in results.unwrap_or_default() {
        result?;
        bench.expect(&target, Presence::Complete(target.id))?;
        bench.content(&source)?.expect(&bench.content(&target)?, "a clone of the batch")?;
    }
    Ok(Proof::Works)
}

fn a_failing_job_leaves_the_rest_of_the_batch(bench: &Bench<'_>) -> Verdict {
    let source = bench.create_filled("a")?;
    let results = match clone_batch(bench, &source, 5, |n| n == 2)? {
        Ok(results) => results,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    for (n, (target, result)) in results.into_iter().enumerate() {
        if n == 2 {
            claim_eq!(
                result.err().map(|e| e.kind()),
                Some(ErrorKind::Foreign),
                "the job in the way of a foreign object"
            );
        } else {
            result?;
            bench.expect(&target, Presence::Complete(target.id))?;
        }
    }
    Ok(Proof::Works)
}

type Results = Vec<(Volume, keiki_core::Result<()>)>;

fn clone_batch(
    bench: &Bench<'_>,
    source: &Volume,
    count: usize,
    foreign: impl Fn(usize) -> bool,
) -> Verdict<Result<Results, Missing>> {
    let Some(clones) = bench.store.clones() else { return Err(Failure::new("the store has no clones")) };
    let mut jobs = Vec::new();
    for n in 0..count {
        let target = bench.place(&format!("c{n}"), Some(source))?;
        if foreign(n)
            && let Err(missing) = bench.rig.plant_stranger(bench.ground(), &target)
        {
            return Ok(Err(missing));
        }
        jobs.push(CloneJob { target });
    }
    let results = bench.wait(clones.clone_from(&Context::default(), source, &jobs));
    claim_eq!(results.len(), count, "one result a job");
    Ok(Ok(jobs.into_iter().map(|job| job.target).zip(results).collect()))
}

#[track_caller]
fn destroy(bench: &Bench<'_>, volume: &Volume, expected: Destroyed) -> Verdict<()> {
    let done = bench.wait(bench.store.destroy(&Context::default(), volume))?;
    claim_eq!(done, expected, "the answer of destroy");
    Ok(())
}

/// Makes what LXC would have made at a place: the same thing without a mark of ours.
fn planted_by_lxc(bench: &Bench<'_>, volume: &Volume) -> Verdict<Result<Box<dyn Stranger>, Missing>> {
    if bench.rig.direct().is_some() {
        return Ok(Err(Missing("a store that can be mounted".to_owned())));
    }
    bench.wait(bench.store.create(&Context::default(), volume))?;
    bench.write(volume, "precious", b"data of a container of LXC")?;
    Ok(bench.rig.unmark(bench.ground(), volume))
}
