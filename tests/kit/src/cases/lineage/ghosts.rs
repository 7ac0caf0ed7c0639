//! A parent that is destroyed while clones need it: out of sight at once, out of the pool with its last clone.
//!
//! Where clones need nobody the data goes at once, and where parents are held there is no ghost: the same cases show both.

use std::collections::BTreeSet;

use keiki_core::ErrorKind;
use keiki_core::capability::ParentDelete;
use keiki_core::context::Context;
use keiki_core::volume::VolumeId;

use super::{names, no_clones, parent_and_clone, refused, terms};
use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Proof, Verdict};
use crate::yard::{Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Lineage:
        a_ghost_goes_with_its_last_clone,
        a_ghost_leaves_its_name_and_those_of_its_snapshots,
        a_ghost_is_nobody,
        a_chain_of_ghosts_goes_together,
        a_flattened_last_clone_lets_the_ghost_go,
    ]
}

/// Fails unless the pool holds nothing of ours: no ghost, no leftover.
#[track_caller]
pub(super) fn nothing_is_left(bench: &Bench<'_>, yard: &Yard<'_>) -> Verdict<()> {
    only_is_left(bench, yard, &[])
}

/// Fails unless the pool holds the heads of these containers and nothing else of ours.
#[track_caller]
pub(super) fn only_is_left(bench: &Bench<'_>, yard: &Yard<'_>, containers: &[&str]) -> Verdict<()> {
    yard.engine.gc(&Context::default())?;
    claim_eq!(names(yard)?, containers, "the containers");
    let mut expected = BTreeSet::new();
    for name in containers {
        expected.extend(yard.engine.container(&yard.key(name)?)?.volume.map(|volume| volume.id));
    }
    claim_eq!(ids(bench)?, expected, "the volumes in the pool");
    let found = yard.engine.check(&yard.lxcpath)?.findings;
    claim!(found.is_empty(), "check finds {found:?}");
    Ok(())
}

/// The marks that the rig's stores find.
fn ids(bench: &Bench<'_>) -> Verdict<BTreeSet<VolumeId>> {
    let mut ids = BTreeSet::new();
    for store in bench.rig.registry().stores() {
        let options =
            if store.kind() == bench.store.kind() { bench.pool().options } else { Default::default() };
        let pool = keiki_core::store::Pool { options, ..bench.pool() };
        ids.extend(bench.wait(store.list(&pool))?.into_iter().map(|found| found.id));
    }
    Ok(ids)
}

fn a_ghost_goes_with_its_last_clone(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    yard.make(Op::clone("a", &["c"], Means::Snapshot))?;
    if terms.parent_delete == ParentDelete::Refused {
        refused(&yard, &Op::destroy("a", Reach::Only), &[ErrorKind::HasDependents])?;
        return Ok(Proof::Refused);
    }
    let ghost = yard.engine.container(&yard.key("a")?)?.volume.map(|volume| volume.id);
    let is_there =
        || Ok::<_, crate::Failure>(ghost.is_some_and(|id| ids(bench).is_ok_and(|all| all.contains(&id))));
    yard.make(Op::destroy("a", Reach::Only))?;
    claim_eq!(is_there()?, terms.parent_delete == ParentDelete::Deferred, "whether the data is kept");
    let before = yard.content("c")?;
    yard.make(Op::destroy("b", Reach::Only))?;
    before.expect(&yard.content("c")?, "the last clone")?;
    yard.make(Op::destroy("c", Reach::Only))?;
    nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn a_ghost_leaves_its_name_and_those_of_its_snapshots(bench: &Bench<'_>) -> Verdict {
    let yard = super::history(bench)?;
    let Some(terms) = terms(&yard)? else { return no_clones(&yard) };
    if !super::carried_out(&yard, &Op::clone("a@snap0", &["b"], Means::Snapshot))? {
        return Ok(Proof::Refused);
    }
    if terms.parent_delete == ParentDelete::Refused {
        refused(&yard, &Op::destroy("a", Reach::Snapshots), &[ErrorKind::HasDependents])?;
        return Ok(Proof::Refused);
    }
    let of_b = yard.content("b")?;
    yard.make_all(&[
        Op::destroy("a", Reach::Snapshots),
        Op::create("a"),
        Op::write("a", "state", "another"),
    ])?;
    yard.make_all(&[
        Op::snapshot("a"),
        Op::write("a", "state", "since"),
        Op::clone("a@snap0", &["c"], Means::Snapshot),
    ])?;
    let (of_a, of_c) = (yard.content("a")?, yard.content("c")?);
    of_b.expect(&yard.content("b")?, "the clone of the ghost")?;
    yard.make(Op::destroy("b", Reach::Only))?;
    yard.engine.gc(&Context::default())?;
    of_a.expect(&yard.content("a")?, "who has the name now")?;
    of_c.expect(&yard.content("c")?, "the clone of the new snapshot")?;
    yard.make_all(&[Op::destroy("c", Reach::Only), Op::destroy("a", Reach::Snapshots)])?;
    nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn a_ghost_is_nobody(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    if terms.parent_delete != ParentDelete::Deferred {
        return Ok(Proof::Refused);
    }
    yard.make(Op::destroy("a", Reach::Only))?;
    claim_eq!(names(&yard)?, ["b"], "the containers");
    for op in [
        Op::clone("a", &["c"], Means::Either),
        Op::snapshot("a"),
        Op::rename("a", "z"),
        Op::promote("a"),
        Op::destroy("a", Reach::Only),
    ] {
        refused(&yard, &op, &[ErrorKind::NotFound])?;
    }
    let found = yard.engine.check(&yard.lxcpath)?.findings;
    claim!(found.is_empty(), "check finds {found:?}");
    Ok(Proof::Works)
}

fn a_chain_of_ghosts_goes_together(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    yard.make(Op::write("b", "own", "of b"))?;
    if !super::carried_out(&yard, &Op::clone("b", &["c"], Means::Snapshot))? {
        return Ok(Proof::Refused);
    }
    if terms.parent_delete == ParentDelete::Refused {
        refused(&yard, &Op::destroy("b", Reach::Only), &[ErrorKind::HasDependents])?;
        return Ok(Proof::Refused);
    }
    let before = yard.content("c")?;
    yard.make_all(&[Op::destroy("b", Reach::Only), Op::destroy("a", Reach::Only)])?;
    before.expect(&yard.content("c")?, "the end of a chain of ghosts")?;
    yard.make(Op::destroy("c", Reach::Only))?;
    nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn a_flattened_last_clone_lets_the_ghost_go(bench: &Bench<'_>) -> Verdict {
    let (yard, terms) = parent_and_clone(bench)?;
    let Some(terms) = terms else { return no_clones(&yard) };
    if terms.parent_delete != ParentDelete::Deferred {
        return Ok(Proof::Refused);
    }
    yard.make(Op::destroy("a", Reach::Only))?;
    let before = yard.content("b")?;
    if !super::carried_out(&yard, &Op::flatten("b"))? {
        return Ok(Proof::Refused);
    }
    claim_eq!(before.differences(&yard.content("b")?), "", "the flattened clone");
    only_is_left(bench, &yard, &["b"])?;
    Ok(Proof::Works)
}
