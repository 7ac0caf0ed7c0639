//! Who may be started, changed, renamed and destroyed while others depend on it: every cell of the table in the design, through
//! the engine. What a store declares about parents decides which answer is right.

use keiki_core::capability::{Capabilities, Live, ParentDelete, ParentWrite};
use keiki_core::context::Context;
use keiki_core::engine::{
    CloneContainer, CloneMode, ContainerKey, DestroyScope, Identity, Payload, RestoreTarget,
    SnapshotContainer,
};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::registry::StoreChoice;
use keiki_core::volume::{Properties, StoreKind};
use keiki_core::{Error, ErrorKind, Result};

use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Means, Op, PATIENCE, Reach, Running, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Lineage:
        starting_a_parent_is_allowed_or_refused_as_declared,
        writing_a_parent_never_reaches_its_clone,
        destroying_a_parent_is_allowed_or_refused_as_declared,
        renaming_a_parent_leaves_its_clone_whole,
        restoring_a_parent_in_place_leaves_its_clone_whole,
        a_parent_is_free_when_its_last_clone_is_gone,
        a_copy_holds_nobody,
        the_middle_of_a_chain_is_held_by_its_end,
        a_plan_to_destroy_changes_nothing,
        a_family_goes_together_when_asked,
        destroying_a_clone_never_takes_a_snapshot,
        a_container_with_snapshots_needs_to_be_asked_twice,
        a_container_with_snapshots_starts_and_changes,
        snapshots_keep_what_was_whatever_happens,
        a_snapshot_with_clones_is_held_as_declared,
        a_clone_of_a_snapshot_begins_as_it,
        restore_in_place_brings_back_what_was,
        restore_in_place_keeps_every_snapshot,
        restoring_twice_and_back_again_works,
        restore_as_makes_another_container,
        nothing_is_left_when_a_container_with_history_goes,
        a_flattened_clone_holds_nobody,
        flatten_of_an_independent_container_changes_nothing,
        rename_keeps_snapshots_comments_and_content,
        rename_of_a_clone_keeps_it_whole,
        origins_and_dependents_are_told,
        the_family_tree_holds_everybody,
        snapshot_names_are_the_lowest_free,
        a_comment_is_kept_and_changed,
        taken_names_are_refused_and_nothing_changes,
        missing_sources_are_refused_and_nothing_changes,
        a_batch_is_made_whole_or_not_at_all,
        a_snapshot_clone_is_never_silently_a_copy,
        a_store_that_was_asked_for_never_becomes_another,
        a_running_container_is_not_destroyed_renamed_or_restored,
        a_running_container_is_snapshotted_as_declared,
        a_clone_in_another_lxcpath_holds_its_parent,
        a_chain_ends_where_it_is_declared,
        lxc_reads_the_relations,
        names_that_could_leave_the_lxcpath_are_refused,
    ]
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

fn starting_a_parent_is_allowed_or_refused_as_declared(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    drop(yard.engine.permit_start(&yard.key("b")?)?);
    let started = yard.engine.permit_start(&yard.key("a")?);
    if terms.parent_write == ParentWrite::Free {
        started?;
        return Ok(Proof::Works);
    }
    let Err(error) = started else {
        return Err(Failure::new("the parent may start while its clone would see it"));
    };
    claim_eq!(error.kind(), ErrorKind::HasDependents, "the kind");
    names_and_helps(&error, "b")?;
    Ok(Proof::Refused)
}

fn writing_a_parent_never_reaches_its_clone(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    let before = yard.content("b")?;
    let op = Op::write("a", "who", "changed since");
    if terms.parent_write == ParentWrite::Forbidden {
        refused(&yard, &op, &[ErrorKind::HasDependents])?;
        return Ok(Proof::Refused);
    }
    yard.make(op)?;
    before.expect(&yard.content("b")?, "the clone of a parent that was written")?;
    Ok(Proof::Works)
}

fn destroying_a_parent_is_allowed_or_refused_as_declared(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    let before = yard.content("b")?;
    let op = Op::destroy("a", Reach::Only);
    if terms.parent_delete == ParentDelete::Refused {
        names_and_helps(&refused(&yard, &op, &[ErrorKind::HasDependents])?, "b")?;
        names_and_helps(
            &refused(&yard, &Op::destroy("a", Reach::Snapshots), &[ErrorKind::HasDependents])?,
            "b",
        )?;
        return Ok(Proof::Refused);
    }
    yard.make(op)?;
    claim_eq!(names(&yard)?, ["b"], "the containers that are left");
    before.expect(&yard.content("b")?, "the clone of a parent that was destroyed")?;
    // The name is free at once, whatever is kept of the old data.
    yard.make(Op::create("a"))?;
    before.expect(&yard.content("b")?, "the clone after the name was used again")?;
    yard.make(Op::destroy("b", Reach::Only))?;
    claim_eq!(names(&yard)?, ["a"], "the containers in the end");
    Ok(Proof::Works)
}

fn names(yard: &Yard<'_>) -> Verdict<Vec<String>> {
    let records = yard.engine.containers(&yard.lxcpath)?;
    Ok(records.into_iter().map(|record| record.key.name.to_string()).collect())
}

/// Either it is refused and nothing changes, or it works and the clone is whole.
fn leaves_the_clone_whole(bench: &Bench<'_>, prepare: &[Op], op: &Op) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    yard.make_all(prepare)?;
    let Some(terms) = terms(&yard)? else { return no_clones(&yard) };
    yard.make(Op::clone("a", &["b"], Means::Snapshot))?;
    let before = yard.content("b")?;
    let proof = match yard.apply(&Context::default(), op) {
        Ok(()) => Proof::Works,
        Err(error) => {
            claim_eq!(error.kind(), ErrorKind::HasDependents, "the kind of {error:?}");
            let text = format!("{error:?}");
            claim!(text.contains("b") && !error.hints().is_empty(), "no dependent or no remedy in {text}");
            Proof::Refused
        }
    };
    if terms.parent_delete == ParentDelete::Independent {
        claim_eq!(proof, Proof::Works, "the answer of a store with independent clones");
    }
    before.expect(&yard.content("b")?, "the clone")?;
    drop(yard.engine.permit_start(&yard.key("b")?)?);
    Ok(proof)
}

fn renaming_a_parent_leaves_its_clone_whole(bench: &Bench<'_>) -> Verdict {
    leaves_the_clone_whole(bench, &[], &Op::rename("a", "z"))
}

fn restoring_a_parent_in_place_leaves_its_clone_whole(bench: &Bench<'_>) -> Verdict {
    let prepare = [Op::snapshot("a"), Op::write("a", "state", "later")];
    leaves_the_clone_whole(bench, &prepare, &Op::restore("a", "snap0"))
}

fn a_parent_is_free_when_its_last_clone_is_gone(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    if terms.is_none() {
        return no_clones(&yard);
    }
    yard.make(Op::clone("a", &["c"], Means::Snapshot))?;
    yard.make(Op::destroy("b", Reach::Only))?;
    yard.make(Op::destroy("c", Reach::Only))?;
    yard.make_all(&[Op::write("a", "who", "free"), Op::rename("a", "z"), Op::destroy("z", Reach::Only)])?;
    claim_eq!(names(&yard)?, Vec::<String>::new(), "the containers in the end");
    Ok(Proof::Works)
}

fn a_copy_holds_nobody(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    if let Err(error) = yard.apply(&Context::default(), &Op::clone("a", &["b"], Means::Copy)) {
        claim_eq!(error.kind(), ErrorKind::Unsupported, "the kind of {error:?}");
        return Ok(Proof::Skipped("a store that can be copied".to_owned()));
    }
    let before = yard.content("b")?;
    yard.content("a")?.expect(&before, "the copy")?;
    yard.make_all(&[Op::write("a", "who", "changed"), Op::rename("a", "z"), Op::destroy("z", Reach::Only)])?;
    before.expect(&yard.content("b")?, "the copy without its source")?;
    Ok(Proof::Works)
}

fn the_middle_of_a_chain_is_held_by_its_end(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    yard.make(Op::write("b", "own", "of b"))?;
    if let Err(error) = yard.apply(&Context::default(), &Op::clone("b", &["c"], Means::Snapshot)) {
        claim!(matches!(error.kind(), ErrorKind::Unsupported), "a clone of a clone: {error:?}");
        return Ok(Proof::Refused);
    }
    yard.content("b")?.expect(&yard.content("c")?, "the clone of a clone")?;
    let before = yard.content("c")?;
    let proof = if terms.parent_delete == ParentDelete::Refused {
        for held in ["a", "b"] {
            refused(&yard, &Op::destroy(held, Reach::Only), &[ErrorKind::HasDependents])?;
        }
        yard.make_all(&[Op::destroy("c", Reach::Only), Op::destroy("b", Reach::Only)])?;
        Proof::Refused
    } else {
        yard.make(Op::destroy("b", Reach::Only))?;
        before.expect(&yard.content("c")?, "the end of a chain without its middle")?;
        yard.make(Op::destroy("c", Reach::Only))?;
        Proof::Works
    };
    yard.make(Op::destroy("a", Reach::Only))?;
    Ok(proof)
}

fn a_plan_to_destroy_changes_nothing(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let before = yard.view()?;
    for scope in [DestroyScope::Only, DestroyScope::WithSnapshots, DestroyScope::WithDependents] {
        let plan = yard.engine.plan_destroy(&yard.key("a")?, scope)?;
        let blocked = terms.as_ref().is_some_and(|t| t.parent_delete == ParentDelete::Refused)
            && scope != DestroyScope::WithDependents;
        claim_eq!(!plan.blockers.is_empty(), blocked, "whether {scope:?} is blocked");
        claim_eq!(plan.steps.is_empty(), blocked, "whether {scope:?} has no steps");
    }
    let after = yard.view()?;
    claim!(before == after, "planning changed {}", before.differences(&after));
    Ok(Proof::Works)
}

fn a_family_goes_together_when_asked(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    if terms.is_none() {
        return no_clones(&yard);
    }
    yard.make_all(&[Op::create("stranger"), Op::snapshot("b"), Op::destroy("a", Reach::Dependents)])?;
    let left = names(&yard)?;
    claim!(left.contains(&"stranger".to_owned()) && !left.contains(&"a".to_owned()), "left are {left:?}");
    if terms.is_some_and(|t| t.parent_delete == ParentDelete::Refused) {
        claim_eq!(left, ["stranger"], "what is left");
    }
    Ok(Proof::Works)
}

/// Returns whether an operation that a store may lack was carried out; fails for any other answer than a typed refusal.
#[track_caller]
fn carried_out(yard: &Yard<'_>, op: &Op) -> Verdict<bool> {
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

/// lxd#2127: a clone of a snapshot was destroyed, and the snapshot with it.
fn destroying_a_clone_never_takes_a_snapshot(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    if !carried_out(&yard, &Op::restore_as("a", "snap0", "b"))? {
        return Ok(Proof::Refused);
    }
    let before = yard.view()?;
    yard.make(Op::destroy("b", Reach::Dependents))?;
    let mut after = yard.view()?;
    for (name, snapshot) in before.containers.get("a").map(|a| &a.snapshots).into_iter().flatten() {
        let kept = after.containers.get_mut("a").and_then(|a| a.snapshots.remove(name));
        let kept = kept.ok_or_else(|| Failure::new(format!("`a@{name}` is gone")))?;
        claim!(kept.content == snapshot.content, "`a@{name}` changed");
    }
    Ok(Proof::Works)
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

fn a_container_with_snapshots_needs_to_be_asked_twice(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let error = refused(&yard, &Op::destroy("a", Reach::Only), &[ErrorKind::HasDependents])?;
    names_and_helps(&error, "snap0")?;
    yard.make(Op::destroy("a", Reach::Snapshots))?;
    claim_eq!(names(&yard)?, Vec::<String>::new(), "what is left");
    Ok(Proof::Refused)
}

fn a_container_with_snapshots_starts_and_changes(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    drop(yard.engine.permit_start(&yard.key("a")?)?);
    yard.make(Op::write("a", "state", "three"))?;
    Ok(Proof::Works)
}

fn snapshots_keep_what_was_whatever_happens(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let then = yard.view()?;
    yard.make_all(&[Op::write("a", "state", "three"), Op::snapshot("a")])?;
    carried_out(&yard, &Op::restore("a", "snap0"))?;
    yard.make_all(&[Op::write("a", "state", "four"), Op::snapshot("a")])?;
    let now = yard.view()?;
    for name in ["snap0", "snap1"] {
        let content = |view: &crate::yard::View| {
            view.containers.get("a").and_then(|a| a.snapshots.get(name)).map(|s| s.content.clone())
        };
        claim!(content(&then) == content(&now), "`a@{name}` changed");
    }
    Ok(Proof::Works)
}

fn a_snapshot_with_clones_is_held_as_declared(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let Some(terms) = terms(&yard)? else { return no_clones(&yard) };
    if !carried_out(&yard, &Op::clone("a@snap0", &["b"], Means::Snapshot))? {
        return Ok(Proof::Refused);
    }
    let before = yard.content("b")?;
    let op = Op::destroy_snapshot("a", "snap0");
    // The data may hang on a layer below the snapshot, which stays; then the snapshot itself is free.
    if terms.parent_delete == ParentDelete::Refused
        && yard.engine.snapshots(&yard.key("a")?)?[0].dependents == ["b"]
    {
        names_and_helps(&refused(&yard, &op, &[ErrorKind::HasDependents])?, "b")?;
        refused(&yard, &Op::destroy("a", Reach::Snapshots), &[ErrorKind::HasDependents])?;
        yard.make_all(&[Op::destroy("b", Reach::Only), op])?;
        return Ok(Proof::Refused);
    }
    yard.make(op)?;
    before.expect(&yard.content("b")?, "the clone of a snapshot that is gone")?;
    Ok(Proof::Works)
}

fn a_clone_of_a_snapshot_begins_as_it(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let then =
        yard.view()?.containers.get("a").and_then(|a| a.snapshots.get("snap0")).map(|s| s.content.clone());
    let then = then.ok_or_else(|| Failure::new("no snapshot"))?;
    if !carried_out(&yard, &Op::clone("a@snap0", &["b"], Means::Either))? {
        return Ok(Proof::Refused);
    }
    claim_eq!(then.0.differences(&yard.content("b")?), "", "the clone of the snapshot");
    yard.make(Op::write("b", "state", "of b"))?;
    Ok(Proof::Works)
}

fn restore_in_place_brings_back_what_was(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let then = yard.content("a")?;
    yard.make_all(&[Op::snapshot("a"), Op::write("a", "who", "spoilt"), Op::write("a", "new", "x")])?;
    if !carried_out(&yard, &Op::restore("a", "snap0"))? {
        return Ok(Proof::Refused);
    }
    claim_eq!(then.differences(&yard.content("a")?), "", "the restored container");
    drop(yard.engine.permit_start(&yard.key("a")?)?);
    Ok(Proof::Works)
}

fn restore_in_place_keeps_every_snapshot(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let before = yard.view()?;
    if !carried_out(&yard, &Op::restore("a", "snap0"))? {
        return Ok(Proof::Refused);
    }
    let after = yard.view()?;
    let snapshots = |view: &crate::yard::View| {
        let of_a = view.containers.get("a").map(|a| &a.snapshots).into_iter().flatten();
        of_a.map(|(name, s)| (name.clone(), s.content.clone())).collect::<Vec<_>>()
    };
    claim!(snapshots(&before) == snapshots(&after), "snapshots changed: {}", before.differences(&after));
    Ok(Proof::Works)
}

fn restoring_twice_and_back_again_works(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    for (snapshot, state) in
        [("snap0", None), ("snap1", Some("one")), ("snap0", None), ("snap1", Some("one"))]
    {
        if !carried_out(&yard, &Op::restore("a", snapshot))? {
            return Ok(Proof::Refused);
        }
        let view = yard.view()?;
        let a = view.containers.get("a").ok_or_else(|| Failure::new("`a` is gone"))?;
        let kept = a.snapshots.get(snapshot).ok_or_else(|| Failure::new("the snapshot is gone"))?;
        claim_eq!(kept.content.0.differences(&a.content.0), "", "restored to {snapshot} ({state:?})");
    }
    yard.make(Op::destroy("a", Reach::Snapshots))?;
    Ok(Proof::Works)
}

fn restore_as_makes_another_container(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let before = yard.content("a")?;
    if !carried_out(&yard, &Op::restore_as("a", "snap0", "b"))? {
        return Ok(Proof::Refused);
    }
    before.expect(&yard.content("a")?, "the container whose snapshot was restored elsewhere")?;
    let view = yard.view()?;
    let (a, b) = (view.containers.get("a"), view.containers.get("b"));
    let (Some(a), Some(b)) = (a, b) else { return Err(Failure::new("one of two is missing")) };
    claim_eq!(b.origin.as_deref(), Some("a@snap0"), "the origin");
    let then = a.snapshots.get("snap0").ok_or_else(|| Failure::new("the snapshot is gone"))?;
    claim_eq!(then.content.0.differences(&b.content.0), "", "the new container");
    Ok(Proof::Works)
}

fn nothing_is_left_when_a_container_with_history_goes(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let restored = carried_out(&yard, &Op::restore("a", "snap0"))?;
    yard.make(Op::snapshot("a"))?;
    yard.make(Op::destroy("a", Reach::Snapshots))?;
    yard.engine.gc(&Context::default())?;
    let found = bench.wait(bench.store.list(&bench.pool()))?;
    claim!(
        found.is_empty(),
        "after {} the store still has {found:?}",
        if restored { "a restore" } else { "snapshots" }
    );
    claim!(!yard.lxcpath.join("a").exists(), "the container's directory is still there");
    Ok(Proof::Works)
}

fn a_flattened_clone_holds_nobody(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    if terms.is_none() {
        return no_clones(&yard);
    }
    yard.make(Op::write("b", "own", "of b"))?;
    let before = yard.content("b")?;
    if !carried_out(&yard, &Op::flatten("b"))? {
        return Ok(Proof::Refused);
    }
    claim_eq!(before.differences(&yard.content("b")?), "", "the flattened clone");
    yard.make_all(&[Op::write("a", "who", "free"), Op::destroy("a", Reach::Only)])?;
    claim_eq!(before.differences(&yard.content("b")?), "", "the flattened clone without its parent");
    Ok(Proof::Works)
}

fn flatten_of_an_independent_container_changes_nothing(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let before = yard.view()?;
    yard.make(Op::flatten("a"))?;
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Proof::Works)
}

fn rename_keeps_snapshots_comments_and_content(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    yard.make(Op::comment("a", "snap0", "before the upgrade"))?;
    let before = yard.view()?.containers.remove("a");
    yard.make(Op::rename("a", "z"))?;
    let mut view = yard.view()?;
    claim_eq!(view.containers.keys().collect::<Vec<_>>(), ["z"], "the containers");
    let (before, after) = (before.ok_or_else(|| Failure::new("no `a`"))?, view.containers.remove("z"));
    let after = after.ok_or_else(|| Failure::new("no `z`"))?;
    claim!(before.content == after.content, "content: {}", before.content.0.differences(&after.content.0));
    claim!(before.snapshots == after.snapshots, "the snapshots changed");
    drop(yard.engine.permit_start(&yard.key("z")?)?);
    carried_out(&yard, &Op::restore("z", "snap0"))?;
    yard.make_all(&[Op::snapshot("z"), Op::destroy("z", Reach::Snapshots)])?;
    Ok(Proof::Works)
}

fn rename_of_a_clone_keeps_it_whole(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    if terms.is_none() {
        return no_clones(&yard);
    }
    yard.make(Op::write("b", "own", "of b"))?;
    let before = yard.content("b")?;
    yard.make(Op::rename("b", "z"))?;
    claim_eq!(before.differences(&yard.content("z")?), "", "the renamed clone");
    claim_eq!(
        yard.view()?.containers.get("z").and_then(|z| z.origin.clone()).as_deref(),
        Some("a"),
        "its origin"
    );
    yard.make_all(&[Op::destroy("z", Reach::Only), Op::destroy("a", Reach::Only)])?;
    Ok(Proof::Works)
}

fn origins_and_dependents_are_told(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    let view = yard.view()?;
    let (a, b) = (view.containers.get("a"), view.containers.get("b"));
    let (Some(a), Some(b)) = (a, b) else { return Err(Failure::new("one of two is missing")) };
    claim_eq!(b.origin.as_deref(), Some("a"), "the clone's origin");
    let expected: &[&str] = if terms.clones_depend() { &["b"] } else { &[] };
    claim_eq!(a.dependents, expected, "the parent's dependents");
    Ok(Proof::Works)
}

fn the_family_tree_holds_everybody(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    yard.make(Op::create("other"))?;
    let lineage = yard.engine.lineage(&yard.lxcpath)?;
    for name in ["a", "other"] {
        claim!(lineage.head(&yard.key(name)?).is_some(), "`{name}` is not in the tree");
    }
    for snapshot in ["snap0", "snap1"] {
        let found = lineage.snapshot(&yard.key("a")?, &SnapshotName::parse(snapshot)?);
        claim!(found.is_some(), "`a@{snapshot}` is not in the tree");
    }
    Ok(Proof::Works)
}

fn snapshot_names_are_the_lowest_free(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    yard.make_all(&[Op::destroy_snapshot("a", "snap0"), Op::snapshot("a"), Op::snapshot("a")])?;
    let mut found: Vec<_> =
        yard.engine.snapshots(&yard.key("a")?)?.into_iter().map(|s| s.name.to_string()).collect();
    found.sort();
    claim_eq!(found, ["snap0", "snap1", "snap2"], "the snapshots");
    Ok(Proof::Works)
}

fn a_comment_is_kept_and_changed(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let comment = Some("first\nof two lines".to_owned());
    let request = SnapshotContainer { key: yard.key("a")?, name: None, comment: comment.clone() };
    yard.engine.snapshot(&Context::default(), &request)?;
    let read = || -> Verdict<Option<String>> {
        Ok(yard.engine.snapshots(&yard.key("a")?)?.into_iter().next().and_then(|s| s.comment))
    };
    claim_eq!(read()?, comment, "the comment");
    yard.make(Op::comment("a", "snap0", "another"))?;
    claim_eq!(read()?.as_deref(), Some("another"), "the new comment");
    Ok(Proof::Works)
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
        options: Properties::new(),
        identity: Identity::Fresh,
        payload: Payload::Persistent,
    })
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

fn with_running<'a>(bench: &Bench<'a>, names: &[&str]) -> Verdict<Yard<'a>> {
    let running = Running(names.iter().map(|&name| name.to_owned()).collect());
    let (lxcpath, state) = (bench.ground().lxcpath(), bench.ground().state());
    Ok(Yard::at(bench.rig, &lxcpath, &state, std::sync::Arc::new(running), PATIENCE)?)
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

fn a_clone_in_another_lxcpath_holds_its_parent(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let Some(terms) = terms(&yard)? else { return no_clones(&yard) };
    let elsewhere = bench.ground().root().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let target = ContainerKey { lxcpath: elsewhere, name: ContainerName::parse("b")? };
    let request = clone_request(&yard, target.clone(), CloneMode::Snapshot, StoreChoice::Default)?;
    yard.engine.clone_container(&Context::default(), &request)?;
    let proof = if terms.parent_delete == ParentDelete::Refused {
        let error = refused(&yard, &Op::destroy("a", Reach::Only), &[ErrorKind::HasDependents])?;
        names_and_helps(&error, "elsewhere")?;
        Proof::Refused
    } else {
        yard.make(Op::destroy("a", Reach::Only))?;
        Proof::Works
    };
    yard.engine.destroy(&Context::default(), &target, DestroyScope::Only)?;
    Ok(proof)
}

fn a_chain_ends_where_it_is_declared(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("c0"))?;
    let Some(terms) = terms(&yard)? else { return Ok(Proof::Refused) };
    let limit = terms.max_depth.unwrap_or(u32::MAX);
    if limit > 64 {
        return Ok(Proof::Skipped("a store whose chains end early; `honesty` goes to the end".to_owned()));
    }
    for depth in 1..=limit {
        yard.make(Op::clone(&format!("c{}", depth - 1), &[&format!("c{depth}")], Means::Snapshot))?;
    }
    refused(
        &yard,
        &Op::clone(&format!("c{limit}"), &["beyond"], Means::Snapshot),
        &[ErrorKind::LimitExceeded],
    )?;
    Ok(Proof::Refused)
}

/// LXC notes a relation by the parent's `lxc_snapshots` and the child's `lxc_rdepends`, two lines each.
fn lxc_reads_the_relations(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    let (children, parents) = (yard.lxcpath.join("a/lxc_snapshots"), yard.lxcpath.join("b/lxc_rdepends"));
    if !terms.clones_depend() {
        claim!(!children.exists() && !parents.exists(), "an independent clone has relations");
        return Ok(Proof::Refused);
    }
    let lines = |name: &str| format!("{}\n{name}\n", yard.lxcpath.display());
    claim_eq!(std::fs::read_to_string(&children)?, lines("b"), "the parent's lxc_snapshots");
    claim_eq!(std::fs::read_to_string(&parents)?, lines("a"), "the child's lxc_rdepends");
    yard.make(Op::destroy("b", Reach::Only))?;
    claim!(!children.exists(), "lxc_snapshots outlives the last relation");
    Ok(Proof::Works)
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
