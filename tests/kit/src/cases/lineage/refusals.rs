//! What is refused, with the typed error, and nothing changed: taken and missing names, silent fallbacks, running containers.

use keiki_core::ErrorKind;
use keiki_core::capability::Live;
use keiki_core::context::Context;
use keiki_core::engine::{CloneMode, RestoreTarget, SnapshotContainer};
use keiki_core::name::SnapshotName;
use keiki_core::registry::StoreChoice;
use keiki_core::volume::StoreKind;

use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Proof, Verdict};
use crate::yard::{Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

use super::{clone_request, history, names, refused, terms, with_running};

pub(super) fn cases() -> Vec<Case> {
    cases![Lineage:
        taken_names_are_refused_and_nothing_changes,
        missing_sources_are_refused_and_nothing_changes,
        a_batch_is_made_whole_or_not_at_all,
        a_snapshot_clone_is_never_silently_a_copy,
        a_store_that_was_asked_for_never_becomes_another,
        a_running_container_is_not_destroyed_renamed_or_restored,
        a_running_container_is_snapshotted_as_declared,
        names_that_could_leave_the_lxcpath_are_refused,
    ]
}

fn taken_names_are_refused_and_nothing_changes(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    yard.make(Op::create("b"))?;
    std::fs::create_dir(yard.lxcpath.join("not-ours"))?;
    let taken = [ErrorKind::AlreadyExists, ErrorKind::Foreign];
    for op in [
        Op::create("a"),
        Op::create("not-ours"),
        Op::clone("a", &["b"], Means::Either),
        Op::clone("a", &["a"], Means::Either),
        Op::clone("a", &["not-ours"], Means::Either),
        Op::restore_as("a", "snap0", "b"),
        Op::rename("a", "b"),
        Op::rename("a", "not-ours"),
    ] {
        refused(&yard, &op, &taken)?;
    }
    let twice =
        SnapshotContainer { key: yard.key("a")?, name: Some(SnapshotName::parse("snap0")?), comment: None };
    let error = yard.engine.snapshot(&Context::default(), &twice).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::AlreadyExists), "a snapshot of a taken name");
    Ok(Proof::Refused)
}

fn missing_sources_are_refused_and_nothing_changes(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    for op in [
        Op::clone("nobody", &["b"], Means::Either),
        Op::clone("a@snap9", &["b"], Means::Either),
        Op::snapshot("nobody"),
        Op::restore("a", "snap9"),
        Op::restore_as("a", "snap9", "b"),
        Op::destroy_snapshot("a", "snap9"),
        Op::destroy("nobody", Reach::Dependents),
        Op::rename("nobody", "b"),
        Op::flatten("nobody"),
        Op::write("nobody", "x", "x"),
        Op::comment("a", "snap9", "x"),
    ] {
        refused(&yard, &op, &[ErrorKind::NotFound])?;
    }
    claim!(!yard.lxcpath.join("nobody").exists(), "a directory was made for `nobody`");
    Ok(Proof::Refused)
}

fn a_batch_is_made_whole_or_not_at_all(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make_all(&[Op::create("a"), Op::create("taken")])?;
    for targets in [&["b", "c", "taken"][..], &["taken", "b"], &["b", "c", "b"]] {
        let kinds = [ErrorKind::AlreadyExists, ErrorKind::InvalidArgument];
        refused(&yard, &Op::clone("a", targets, Means::Either), &kinds)?;
    }
    match yard.apply(&Context::default(), &Op::clone("a", &["b", "c", "d", "e"], Means::Either)) {
        Ok(()) => claim_eq!(names(&yard)?, ["a", "b", "c", "d", "e", "taken"], "the containers"),
        Err(error) => claim_eq!(error.kind(), ErrorKind::Unsupported, "the kind of {error:?}"),
    }
    Ok(Proof::Works)
}

fn a_snapshot_clone_is_never_silently_a_copy(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let shares = terms(&yard)?.is_some();
    let request = clone_request(&yard, yard.key("b")?, CloneMode::SnapshotOrCopy, StoreChoice::Default)?;
    let expected = if shares { keiki_core::engine::Means::Snapshot } else { keiki_core::engine::Means::Copy };
    match yard.engine.clone_container(&Context::default(), &request) {
        Ok(outcomes) => claim_eq!(outcomes[0].means, Some(expected), "the outcome says"),
        Err(error) => claim_eq!(error.kind(), ErrorKind::Unsupported, "the kind of {error:?}"),
    }
    if shares {
        return Ok(Proof::Works);
    }
    refused(&yard, &Op::clone("a", &["c"], Means::Snapshot), &[ErrorKind::Unsupported])?;
    Ok(Proof::Refused)
}

fn a_store_that_was_asked_for_never_becomes_another(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let before = yard.view()?;
    let choice = StoreChoice::FirstOf(vec![StoreKind::new("no-such-store")]);
    for mode in [CloneMode::Copy, CloneMode::Snapshot, CloneMode::SnapshotOrCopy] {
        let request = clone_request(&yard, yard.key("b")?, mode, choice.clone())?;
        let error = yard.engine.clone_container(&Context::default(), &request).err();
        claim_eq!(
            error.map(|e| e.kind()),
            Some(ErrorKind::InvalidArgument),
            "a clone in a store that is not there"
        );
    }
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Proof::Refused)
}

fn a_running_container_is_not_destroyed_renamed_or_restored(bench: &Bench<'_>) -> Verdict {
    drop(history(bench)?);
    let yard = with_running(bench, &["a"])?;
    for op in [
        Op::destroy("a", Reach::Snapshots),
        Op::destroy("a", Reach::Dependents),
        Op::rename("a", "z"),
        Op::restore("a", "snap0"),
    ] {
        let error = refused(&yard, &op, &[ErrorKind::Busy])?;
        claim!(format!("{error:?}").contains("running"), "it does not say what is going on: {error:?}");
    }
    Ok(Proof::Refused)
}

fn a_running_container_is_snapshotted_as_declared(bench: &Bench<'_>) -> Verdict {
    Yard::open(bench)?.make(Op::create("a"))?;
    let yard = with_running(bench, &["a"])?;
    if yard.promises()?.live == Live::Consistent {
        yard.make(Op::snapshot("a"))?;
        return Ok(Proof::Works);
    }
    refused(&yard, &Op::snapshot("a"), &[ErrorKind::Busy])?;
    Ok(Proof::Refused)
}

fn names_that_could_leave_the_lxcpath_are_refused(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    for name in ["", ".", "..", "../x", "a/b", "a\nb", "-a", ".a", "a b", "a@b", "a:b", "ä", &"a".repeat(65)]
    {
        claim!(yard.key(name).is_err(), "`{}` is taken for a name", name.escape_default());
        claim!(
            SnapshotName::parse(name).is_err(),
            "`{}` is taken for a snapshot's name",
            name.escape_default()
        );
    }
    let longest = "a".repeat(64);
    yard.make_all(&[Op::create(&longest), Op::snapshot(&longest), Op::destroy(&longest, Reach::Snapshots)])?;
    let to = RestoreTarget::New(yard.key("b")?);
    let missing =
        yard.engine.restore(&Context::default(), &yard.key("a")?, &SnapshotName::parse("nope")?, &to);
    claim_eq!(missing.err().map(|e| e.kind()), Some(ErrorKind::NotFound), "a snapshot that is not there");
    Ok(Proof::Refused)
}
