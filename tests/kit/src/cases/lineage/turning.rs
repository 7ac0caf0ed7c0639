//! `keiki promote`: the clone gets the data, and its origin needs it. Where clones need nobody there is nothing to turn; where they do and
//! the store cannot turn, that is refused with another way out.

use keiki_core::ErrorKind;
use keiki_core::capability::{ParentDelete, ParentWrite};

use super::{names, names_and_helps, no_clones, parent_and_clone, refused, terms};
use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Proof, Verdict};
use crate::yard::{Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Lineage:
        promote_lets_the_origin_go,
        promote_keeps_every_snapshot,
        promote_brings_the_whole_line_round,
        promote_leaves_siblings_whole,
        promote_makes_the_clone_the_one_that_is_held,
        promote_of_who_needs_nobody_changes_nothing,
        promote_lets_a_ghost_go,
    ]
}

/// Makes `name` need nobody; otherwise answers how a store that cannot proves it.
fn turned(yard: &Yard<'_>, name: &str) -> Verdict<Option<Proof>> {
    let op = Op::promote(name);
    if yard.maker_of_clones()?.promotion().is_some() {
        yard.make(op)?;
        return Ok(None);
    }
    if terms(yard)?.is_some_and(|terms| terms.clones_depend()) {
        let error = refused(yard, &op, &[ErrorKind::Unsupported])?;
        names_and_helps(&error, name)?;
        return Ok(Some(Proof::Refused));
    }
    let before = yard.view()?;
    yard.make(op)?;
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Some(Proof::Refused))
}

fn promote_lets_the_origin_go(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    if terms.is_none() {
        return no_clones(&yard);
    }
    yard.make(Op::write("b", "own", "of b"))?;
    let (of_a, of_b) = (yard.content("a")?, yard.content("b")?);
    if let Some(proof) = turned(&yard, "b")? {
        return Ok(proof);
    }
    of_a.expect(&yard.content("a")?, "the former origin")?;
    of_b.expect(&yard.content("b")?, "the promoted clone")?;
    let view = yard.view()?;
    let dependents = |name: &str| view.containers.get(name).map(|one| one.dependents.clone());
    claim_eq!(dependents("a"), Some(Vec::new()), "who needs the former origin");
    claim_eq!(dependents("b"), Some(vec!["a".to_owned()]), "who needs the promoted clone");
    yard.make_all(&[Op::write("a", "who", "still writable"), Op::destroy("a", Reach::Only)])?;
    of_b.expect(&yard.content("b")?, "the promoted clone without its former origin")?;
    yard.make(Op::destroy("b", Reach::Only))?;
    super::ghosts::nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn promote_keeps_every_snapshot(bench: &Bench<'_>) -> Verdict {
    let yard = super::history(bench)?;
    if terms(&yard)?.is_none() {
        return no_clones(&yard);
    }
    if !super::carried_out(&yard, &Op::clone("a@snap1", &["b"], Means::Snapshot))? {
        return Ok(Proof::Refused);
    }
    yard.make_all(&[Op::snapshot("b"), Op::snapshot("a")])?;
    let before = yard.view()?;
    if let Some(proof) = turned(&yard, "b")? {
        return Ok(proof);
    }
    let after = yard.view()?;
    for name in ["a", "b"] {
        let (Some(was), Some(is)) = (before.containers.get(name), after.containers.get(name)) else {
            continue;
        };
        claim_eq!(was.content, is.content, "what `{name}` holds");
        for (snapshot, seen) in &was.snapshots {
            let kept = is.snapshots.get(snapshot).map(|kept| &kept.content);
            claim_eq!(kept, Some(&seen.content), "what `{name}@{snapshot}` holds");
        }
        claim_eq!(was.snapshots.len(), is.snapshots.len(), "the snapshots of `{name}`");
    }
    // They are destroyed and restored as those of anybody.
    yard.make_all(&[Op::destroy_snapshot("a", "snap2"), Op::destroy_snapshot("b", "snap0")])?;
    yard.make(Op::restore_as("a", "snap0", "then"))?;
    yard.content("then")?.expect(&yard.content_of_snapshot("a", "snap0")?, "what was restored")?;
    Ok(Proof::Works)
}

fn promote_brings_the_whole_line_round(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    if terms.is_none() {
        return no_clones(&yard);
    }
    yard.make(Op::write("b", "own", "of b"))?;
    if !super::carried_out(&yard, &Op::clone("b", &["c"], Means::Snapshot))? {
        return Ok(Proof::Refused);
    }
    yard.make(Op::write("c", "own", "of c"))?;
    let contents = [yard.content("a")?, yard.content("b")?, yard.content("c")?];
    if let Some(proof) = turned(&yard, "c")? {
        return Ok(proof);
    }
    for (name, content) in ["a", "b", "c"].iter().zip(&contents) {
        content.expect(&yard.content(name)?, name)?;
    }
    yard.make_all(&[Op::destroy("a", Reach::Only), Op::destroy("b", Reach::Only)])?;
    contents[2].expect(&yard.content("c")?, "the end of the line, alone")?;
    yard.make(Op::destroy("c", Reach::Only))?;
    super::ghosts::nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn promote_leaves_siblings_whole(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let Some(terms) = terms(&yard)? else { return no_clones(&yard) };
    // One before and one after: whose past is whose differs.
    for name in ["older", "b", "younger"] {
        yard.make(Op::clone("a", &[name], Means::Snapshot))?;
        if terms.parent_write == ParentWrite::Free {
            yard.make(Op::write("a", "state", name))?;
        }
    }
    let before = yard.view()?;
    if let Some(proof) = turned(&yard, "b")? {
        return Ok(proof);
    }
    let after = yard.view()?;
    for name in ["a", "older", "b", "younger"] {
        let content = |view: &crate::yard::View| view.containers.get(name).map(|one| one.content.clone());
        claim_eq!(content(&before), content(&after), "what `{name}` holds");
    }
    for name in ["a", "younger", "older"] {
        let held = yard.content("b")?;
        yard.make(Op::destroy(name, Reach::Only))?;
        held.expect(&yard.content("b")?, "the promoted clone")?;
    }
    claim_eq!(names(&yard)?, ["b"], "what is left");
    Ok(Proof::Works)
}

fn promote_makes_the_clone_the_one_that_is_held(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    if let Some(proof) = turned(&yard, "b")? {
        return Ok(proof);
    }
    let before = yard.content("a")?;
    if terms.parent_delete == ParentDelete::Refused {
        names_and_helps(&refused(&yard, &Op::destroy("b", Reach::Only), &[ErrorKind::HasDependents])?, "a")?;
        return Ok(Proof::Works);
    }
    yard.make_all(&[Op::destroy("b", Reach::Only), Op::create("b")])?;
    before.expect(&yard.content("a")?, "who needs the promoted clone")?;
    yard.make_all(&[Op::destroy("a", Reach::Only), Op::destroy("b", Reach::Only)])?;
    super::ghosts::nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn promote_of_who_needs_nobody_changes_nothing(bench: &Bench<'_>) -> Verdict {
    let (yard, _) = parent_and_clone(bench)?;
    let before = yard.view()?;
    yard.make(Op::promote("a"))?;
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Proof::Works)
}

fn promote_lets_a_ghost_go(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    if terms.parent_delete != ParentDelete::Deferred {
        return Ok(Proof::Refused);
    }
    yard.make(Op::destroy("a", Reach::Only))?;
    let before = yard.content("b")?;
    if let Some(proof) = turned(&yard, "b")? {
        return Ok(proof);
    }
    super::ghosts::only_is_left(bench, &yard, &["b"])?;
    before.expect(&yard.content("b")?, "the promoted clone of a ghost")?;
    Ok(Proof::Works)
}
