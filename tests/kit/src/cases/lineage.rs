//! Who may be started, changed, renamed and destroyed while others depend on it: every cell of the table in the design, through
//! the engine. What a store declares about parents decides which answer is right.

mod ghosts;
mod history;
mod parents;
mod refusals;
mod renames;
mod turning;

use keiki_core::capability::{Capabilities, ParentDelete};
use keiki_core::context::Context;
use keiki_core::engine::{CloneContainer, CloneMode, ContainerKey, Identity, Payload};
use keiki_core::registry::StoreChoice;
use keiki_core::{Error, ErrorKind, Result};

use crate::bench::Bench;
use crate::case::Case;
use crate::claim;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Means, Op, PATIENCE, Running, Yard};

pub(super) fn cases() -> Vec<Case> {
    [
        parents::cases(),
        history::cases(),
        refusals::cases(),
        turning::cases(),
        ghosts::cases(),
        renames::cases(),
    ]
    .concat()
}

/// What the maker of snapshot clones promises; a case without one proves the refusal instead.
fn terms(yard: &Yard<'_>) -> Verdict<Option<Capabilities>> {
    let Some(promises) = yard.clone_promises()? else { return Ok(None) };
    let shares = promises.clone_cost == keiki_core::capability::Cost::Constant;
    Ok(shares.then_some(promises))
}

/// A parent `a` with a snapshot clone `b`.
fn parent_and_clone<'a>(bench: &Bench<'a>) -> Verdict<(Yard<'a>, Option<Capabilities>)> {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let terms = terms(&yard)?;
    if terms.is_some() {
        yard.make(Op::clone("a", &["b"], Means::Snapshot))?;
    }
    Ok((yard, terms))
}

/// Fails unless an operation is refused with a kind and everything is as before.
#[track_caller]
fn refused(yard: &Yard<'_>, op: &Op, kinds: &[ErrorKind]) -> Verdict<Error> {
    let before = yard.view()?;
    let Err(error) = yard.apply(&Context::default(), op) else {
        return Err(Failure::new(format!("{op:?} was carried out")));
    };
    claim!(kinds.contains(&error.kind()), "{op:?} is refused by {error:?}, not by {kinds:?}");
    let after = yard.view()?;
    claim!(before == after, "{op:?} was refused, but changed {}", before.differences(&after));
    Ok(error)
}

/// Fails unless a refusal names the dependent and says what to run.
#[track_caller]
fn names_and_helps(error: &Error, dependent: &str) -> Verdict<()> {
    let text = format!("{error:?}");
    claim!(text.contains(dependent), "the refusal does not name `{dependent}`: {text}");
    claim!(!error.hints().is_empty(), "the refusal gives no remedy: {text}");
    Ok(())
}

fn no_clones(yard: &Yard<'_>) -> Verdict {
    refused(yard, &Op::clone("a", &["b"], Means::Snapshot), &[ErrorKind::Unsupported])?;
    Ok(Proof::Refused)
}

fn names(yard: &Yard<'_>) -> Verdict<Vec<String>> {
    let records = yard.engine.containers(&yard.lxcpath)?;
    Ok(records.into_iter().map(|record| record.key.name.to_string()).collect())
}

/// Returns whether an operation that a store may lack was carried out; fails for any other answer than a typed refusal.
#[track_caller]
pub(super) fn carried_out(yard: &Yard<'_>, op: &Op) -> Verdict<bool> {
    let Err(error) = yard.apply(&Context::default(), op) else { return Ok(true) };
    let typed = match error.kind() {
        ErrorKind::Unsupported => true,
        // A snapshot that is lost with its source holds it.
        ErrorKind::HasDependents => yard.promises()?.parent_delete == ParentDelete::Refused,
        _ => false,
    };
    claim!(typed, "{op:?} answers {error:?}");
    Ok(false)
}

/// A container `a` with two snapshots, changed after each.
fn history<'a>(bench: &Bench<'a>) -> Verdict<Yard<'a>> {
    let yard = Yard::open(bench)?;
    yard.make_all(&[
        Op::create("a"),
        Op::snapshot("a"),
        Op::write("a", "state", "one"),
        Op::snapshot("a"),
        Op::write("a", "state", "two"),
    ])?;
    Ok(yard)
}

fn clone_request(
    yard: &Yard<'_>,
    target: ContainerKey,
    mode: CloneMode,
    store: StoreChoice,
) -> Result<CloneContainer> {
    Ok(CloneContainer {
        source: yard.key("a")?,
        snapshot: None,
        targets: vec![target],
        mode,
        store,
        options: yard.options.clone(),
        identity: Identity::Fresh,
        payload: Payload::Persistent,
    })
}

fn with_running<'a>(bench: &Bench<'a>, names: &[&str]) -> Verdict<Yard<'a>> {
    let running = Running(names.iter().map(|&name| name.to_owned()).collect());
    Ok(Yard::at(bench.rig, bench.ground(), std::sync::Arc::new(running), PATIENCE)?)
}
