//! What a parent may do while a clone of it exists, and what becomes of either.

use keiki_core::ErrorKind;
use keiki_core::capability::{ParentDelete, ParentWrite};
use keiki_core::context::Context;
use keiki_core::engine::{CloneMode, ContainerKey, DestroyScope};
use keiki_core::name::ContainerName;
use keiki_core::registry::StoreChoice;

use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

use super::{
    carried_out, clone_request, names, names_and_helps, no_clones, parent_and_clone, refused, terms,
};

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
        a_flattened_clone_holds_nobody,
        flatten_of_an_independent_container_changes_nothing,
        rename_of_a_clone_keeps_it_whole,
        origins_and_dependents_are_told,
        a_clone_in_another_lxcpath_holds_its_parent,
        a_chain_ends_where_it_is_declared,
        lxc_reads_the_relations,
    ]
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
        let kinds = [ErrorKind::Unsupported, ErrorKind::LimitExceeded];
        claim!(kinds.contains(&error.kind()), "a clone of a clone: {error:?}");
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
