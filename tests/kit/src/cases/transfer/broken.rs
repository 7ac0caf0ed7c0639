//! Streams that are cut or damaged, and receivers that die.

use std::time::{Duration, Instant};

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{Divergence, Encoding, Pending, ReceiveContainer, SendContainer};
use keiki_core::name::ContainerName;
use keiki_core::registry::StoreChoice;
use keiki_core::{Error, Result};

use super::super::Scale;
use super::super::faults::{nothing_left, settle};
use super::{alike, received, request, resumed, scene, sent, since, through_a_pipe, until};
use crate::bench::Bench;
use crate::rig::Lifetime;
use crate::steps::{AtStep, Recorder};
use crate::verdict::{Failure, Verdict};
use crate::worker::{Disturbance, Task, Work};
use crate::yard::{ContainerView, Op, Reach, View, Yard};
use crate::{claim, claim_eq};

/// Returns what a stream left.
///
/// Other cases of this process start workers; between `fork` and `exec` a worker holds every lock that was open, also the one that
/// says that somebody receives. So a moment later the answer may be another one.
fn pending(yard: &Yard<'_>) -> Verdict<Option<Pending>> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let mut pending = yard.engine.pending(&yard.lxcpath)?;
        claim!(pending.len() <= 1, "one stream left several: {pending:?}");
        let is_held = pending.iter().any(|left| left.token.is_none() && left.sections.0 < left.sections.1);
        if !is_held || Instant::now() > patience {
            return Ok(pending.pop());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Repeats what a lock may be in the way of for a moment.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// More than the pipe and a frame hold, so that a sender notices the cut.
const BULK: usize = 700_000;

/// Cuts a stream at many places; each time the rest is sent and the container is whole.
pub(super) fn cut(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    for (file, seed) in [("bulk", 1), ("more", 2)] {
        let mut random = crate::random::Random::new(seed);
        let text: String =
            (0..BULK).map(|_| char::from(b'!' + u8::try_from(random.below(90)).unwrap_or(0))).collect();
        yard.make_all(&[Op::write("a", file, &text), Op::snapshot("a")])?;
    }
    yard.make(Op::write("a", "state", "three"))?;
    let wanted = request(&yard, "a", form)?;
    let length = sent(&yard, &wanted)?.len() as u64;
    let before = yard.view()?;
    let pieces = Scale::of_run().pick(4, 10, 40);
    let mut is_any_continued = false;
    for piece in 1..=pieces {
        let at = length * piece / (pieces + 1);
        let is_continued = continued(&yard, &wanted, at, &before)
            .map_err(|e| e.during(&format!("cut at {at} of {length}")))?;
        is_any_continued |= is_continued;
    }
    claim!(is_any_continued, "no cut of {pieces} left anything to continue");
    Ok(())
}

/// Cuts a stream and gets the container all the same; returns whether the stream was continued.
fn continued(yard: &Yard<'_>, wanted: &SendContainer, at: u64, before: &View) -> Verdict<bool> {
    let (sent_first, received_first) = through_a_pipe(yard, wanted, "copy", at)?;
    let error =
        received_first.err().ok_or_else(|| Failure::new("half a stream was taken for a whole one"))?;
    claim!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Protocol), "a cut is {error:?}");
    claim!(!yard.view()?.containers.contains_key("copy"), "half a container is shown");
    let is_continued = match pending(yard)?.map(|pending| (pending.name, pending.token)) {
        // Whoever had written everything before the pipe broke thinks that it arrived, and keeps nothing.
        Some((_, Some(token))) if sent_first.is_err() => {
            let (sent, received) = through_a_pipe(yard, &resumed(wanted, token), "copy", u64::MAX)?;
            sent?;
            received?;
            true
        }
        Some((name, None)) => {
            finish(yard, &name)?;
            true
        }
        _ => {
            discard(yard)?;
            received(yard, sent(yard, wanted)?, "copy")?;
            false
        }
    };
    // A sender that was cut keeps the snapshot that it would continue from.
    alike_but_temporary(&yard.view()?, before)?;
    tidy(yard)?;
    yard.make(Op::destroy("copy", Reach::Snapshots))?;
    Ok(is_continued)
}

fn alike_but_temporary(view: &View, before: &View) -> Verdict<()> {
    let mut view = view.clone();
    if let Some(sender) = view.containers.get_mut("a") {
        sender.snapshots.retain(|name, _| !name.starts_with("keiki-send-"));
        let unchanged = before.containers.get("a").is_some_and(|before| before.content == sender.content);
        claim!(unchanged, "the sender changed");
    }
    alike(&view, "a", "copy")
}

/// Removes what senders keep whose stream was not continued, as their hint says.
fn tidy(yard: &Yard<'_>) -> Verdict<()> {
    let key = yard.key("a")?;
    for record in yard.engine.snapshots(&key)? {
        if record.name.as_str().starts_with("keiki-send-") {
            yard.engine.destroy_snapshot(&Context::default(), &key, &record.name)?;
        }
    }
    Ok(())
}

/// Changes one byte in many places; none is taken for what was sent.
pub(super) fn damaged(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    let whole = sent(&yard, &request(&yard, "a", form)?)?;
    let (before, objects) = (yard.view()?, bench.rig.objects(bench.ground())?);
    let pieces = Scale::of_run().pick(4, 12, 60);
    for piece in 0..pieces {
        let mut bytes = whole.clone();
        let at = (bytes.len() - 1) * piece / (pieces - 1);
        bytes[at] ^= 0x10;
        let place = format!("byte {at} of {}", whole.len());
        let during = |failure: Failure| failure.during(&place);
        let kind = received(&yard, bytes, "copy").err().map(|error| error.kind());
        claim!(matches!(kind, Some(ErrorKind::Corrupt | ErrorKind::Protocol)), "{place}: damage is {kind:?}");
        discard(&yard).map_err(during)?;
        claim!(before == yard.view().map_err(during)?, "byte {at}: refused, but it changed");
        claim_eq!(bench.rig.objects(bench.ground()).map_err(during)?, objects, "byte {at}: objects");
    }
    Ok(())
}

fn discard(yard: &Yard<'_>) -> Verdict<()> {
    if let Some(pending) = pending(yard)? {
        patiently(|| yard.engine.discard_pending(&Context::default(), &yard.lxcpath, &pending.name))?;
    }
    Ok(())
}

/// Sends `a` until its second snapshot; the file is below the ground, and gone with it.
fn stream_file(bench: &Bench<'_>, yard: &Yard<'_>, wanted: &SendContainer, name: &str) -> Verdict<Op> {
    let file = bench.ground().root().join(name);
    std::fs::write(&file, sent(yard, wanted)?)?;
    Ok(Op::Receive { file, name: "copy".to_owned() })
}

/// Receives two snapshots without being disturbed, and returns the steps on the way.
fn undisturbed(bench: &Bench<'_>, form: Encoding) -> Verdict<Vec<String>> {
    let yard = scene(bench)?;
    let wanted = until(request(&yard, "a", form)?, "snap1")?;
    let op = stream_file(bench, &yard, &wanted, "stream")?;
    let (recorder, context) = Recorder::listening();
    yard.apply(&context, &op)?;
    settled(&yard)?;
    Ok(recorder.names())
}

/// The steps at which a receiver is broken: all of them, or every fourth in an emulated machine.
fn chosen(steps: usize) -> impl Iterator<Item = usize> {
    (0..steps).step_by(Scale::of_run().pick(4, 1, 1))
}

pub(super) fn killed(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(());
    }
    broken_everywhere(bench, form, &|bench, op, step| {
        let disturbance = Some((Disturbance::Kill, step));
        Task::on(bench.rig, bench.ground(), Work::Op { op: op.clone(), disturbance }).start()?.finish()?;
        Ok(())
    })
}

pub(super) fn failing(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    broken_everywhere(bench, form, &|bench, op, step| {
        let context = AtStep::context(step, |name| Err(refusal(name)));
        let failed: Result<()> = Yard::open(bench)?.apply(&context, op);
        // Some effects are not undone for an observer's sake; then it succeeds.
        drop(failed);
        Ok(())
    })
}

fn refusal(step: &str) -> Error {
    Error::new(ErrorKind::Io, format!("no luck at `{step}`"))
}

type Break<'a> = &'a dyn Fn(&Bench<'_>, &Op, usize) -> Verdict<()>;

fn broken_everywhere(bench: &Bench<'_>, form: Encoding, break_at: Break<'_>) -> Verdict<()> {
    let steps = undisturbed(bench, form)?;
    claim!(!steps.is_empty(), "receiving announces no effect");
    for step in chosen(steps.len()) {
        // Half of them are continued, the others thrown away and sent again.
        let is_continued = step % 2 == 0;
        let other = Bench::open(bench.rig).map_err(|missing| Failure::new(missing.0))?;
        broken_at(&other, form, step, is_continued, break_at)
            .map_err(|e| e.during(&format!("at {step} `{}`", steps[step])))?;
    }
    Ok(())
}

fn broken_at(
    bench: &Bench<'_>,
    form: Encoding,
    step: usize,
    is_continued: bool,
    break_at: Break<'_>,
) -> Verdict<()> {
    let yard = scene(bench)?;
    let wanted = until(request(&yard, "a", form)?, "snap1")?;
    let op = stream_file(bench, &yard, &wanted, "stream")?;
    let (before, objects) = (yard.view()?, bench.rig.objects(bench.ground())?);
    drop(yard);
    break_at(bench, &op, step)?;
    let yard = Yard::open(bench)?;
    settle(&yard)?;
    let findings = yard.engine.check(&yard.lxcpath)?.findings;
    claim!(findings.is_empty(), "the check finds {findings:?}");
    let seen = yard.view()?;
    let is_done = seen.containers.contains_key("copy");
    claim!(is_done || seen == before, "it is neither as before nor done: {}", before.differences(&seen));
    if !is_done {
        mend(&yard, &op, &wanted, is_continued, &before)?;
        if !is_continued {
            claim_eq!(bench.rig.objects(bench.ground())?, objects, "objects after discarding");
            yard.apply(&Context::default(), &op).map_err(|e| Failure::from(e).during("the next try"))?;
        }
    }
    settled(&yard)?;
    drop(yard);
    nothing_left(bench)
}

/// Continues what was left, or throws it away.
fn mend(yard: &Yard<'_>, op: &Op, wanted: &SendContainer, is_continued: bool, before: &View) -> Verdict<()> {
    let left = pending(yard)?;
    if !is_continued {
        discard(yard)?;
        let seen = yard.view()?;
        claim!(seen == *before, "discarding changed: {}", before.differences(&seen));
        return Ok(());
    }
    match left.map(|pending| (pending.name, pending.token)) {
        None => yard.apply(&Context::default(), op).map_err(|e| Failure::from(e).during("the next try")),
        Some((_, Some(token))) => {
            let rest = sent(yard, &resumed(wanted, token))?;
            received(yard, rest, "copy").map(drop).map_err(|e| Failure::from(e).during("the rest"))
        }
        Some((name, None)) => finish(yard, &name),
    }
}

fn finish(yard: &Yard<'_>, name: &ContainerName) -> Verdict<()> {
    let request = ReceiveContainer {
        lxcpath: yard.lxcpath.clone(),
        name: None,
        store: StoreChoice::Default,
        options: yard.options.clone(),
        divergence: Divergence::Refuse,
    };
    patiently(|| yard.engine.finish_received(&Context::default(), &request, name))?;
    Ok(())
}

/// Fails unless the copy is what the two snapshots of the sender are, and nothing waits.
fn settled(yard: &Yard<'_>) -> Verdict<()> {
    let view = yard.view()?;
    let (a, copy) = (&view.containers["a"], view.containers.get("copy"));
    let copy = copy.ok_or_else(|| Failure::new("nothing arrived in the end"))?;
    for name in ["snap0", "snap1"] {
        let content = |of: &ContainerView| of.snapshots.get(name).map(|at| at.content.clone());
        claim!(content(a).is_some() && content(a) == content(copy), "the snapshot {name} is another");
    }
    claim_eq!(copy.snapshots.len(), 2, "snapshots of the copy");
    claim!(copy.snapshots.get("snap1").map(|at| &at.content) == Some(&copy.content), "the head is another");
    let left = pending(yard)?;
    claim!(left.is_none(), "left: {left:?}");
    Ok(())
}

/// A container that gets changes is, whatever kills the receiver, brought to their end by the same stream.
pub(super) fn killed_onto(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(());
    }
    let (yard, op) = behind(bench, form)?;
    let (recorder, context) = Recorder::listening();
    yard.apply(&context, &op)?;
    alike_states(&yard)?;
    drop(yard);
    let steps = recorder.names();
    claim!(!steps.is_empty(), "nothing was received");
    for step in chosen(steps.len()) {
        let other = Bench::open(bench.rig).map_err(|missing| Failure::new(missing.0))?;
        killed_onto_at(&other, form, step).map_err(|e| e.during(&format!("at {step} `{}`", steps[step])))?;
    }
    Ok(())
}

/// Returns a copy that lacks the sender's last snapshot, and the operation that brings it.
fn behind<'a>(bench: &Bench<'a>, form: Encoding) -> Verdict<(Yard<'a>, Op)> {
    let yard = scene(bench)?;
    let whole = until(request(&yard, "a", form)?, "snap1")?;
    received(&yard, sent(&yard, &whole)?, "copy")?;
    yard.make_all(&[Op::write("a", "state", "three"), Op::snapshot("a")])?;
    let changes = since(until(request(&yard, "a", form)?, "snap2")?, "snap1")?;
    let op = stream_file(bench, &yard, &changes, "changes")?;
    Ok((yard, op))
}

fn killed_onto_at(bench: &Bench<'_>, form: Encoding, step: usize) -> Verdict<()> {
    let (yard, op) = behind(bench, form)?;
    drop(yard);
    let disturbance = Some((Disturbance::Kill, step));
    Task::on(bench.rig, bench.ground(), Work::Op { op: op.clone(), disturbance }).start()?.finish()?;
    let yard = Yard::open(bench)?;
    settle(&yard)?;
    let findings = yard.engine.check(&yard.lxcpath)?.findings;
    claim!(findings.is_empty(), "the check finds {findings:?}");
    let copy = yard.engine.snapshots(&yard.key("copy")?)?;
    claim!(copy.len() >= 2, "snapshots of the copy were lost");
    match yard.apply(&Context::default(), &op) {
        Ok(()) => {}
        // It had come to the end.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && copy.len() == 3 => {}
        Err(error) => return Err(Failure::from(error).during("the next try")),
    }
    alike_states(&yard)?;
    drop(yard);
    nothing_left(bench)
}

fn alike_states(yard: &Yard<'_>) -> Verdict<()> {
    let view = yard.view()?;
    let (a, copy) = (&view.containers["a"], &view.containers["copy"]);
    let contents = |of: &ContainerView| -> Vec<_> {
        of.snapshots.iter().map(|(name, at)| (name.clone(), at.content.clone())).collect()
    };
    claim_eq!(contents(copy), contents(a), "states");
    claim!(copy.content == a.content, "the head is another: {}", copy.content.0.differences(&a.content.0));
    Ok(())
}
