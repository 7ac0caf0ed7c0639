//! Containers with snapshots: what they keep, how they are restored, and what goes with them.

use keiki_core::ErrorKind;
use keiki_core::capability::ParentDelete;
use keiki_core::context::Context;
use keiki_core::engine::SnapshotContainer;
use keiki_core::name::SnapshotName;

use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Means, Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

use super::{carried_out, history, names, names_and_helps, no_clones, refused, terms};

pub(super) fn cases() -> Vec<Case> {
    cases![Lineage:
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
        rename_keeps_snapshots_comments_and_content,
        renaming_what_was_restored_leaves_nothing_to_repair,
        the_family_tree_holds_everybody,
        snapshot_names_are_the_lowest_free,
        a_comment_is_kept_and_changed,
    ]
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

/// The former head may stay as a ghost, under a name that its container no longer has.
fn renaming_what_was_restored_leaves_nothing_to_repair(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    if !carried_out(&yard, &Op::restore("a", "snap0"))? {
        return Ok(Proof::Refused);
    }
    yard.make(Op::rename("a", "z"))?;
    let findings = yard.engine.check(&yard.lxcpath)?.findings;
    claim!(findings.is_empty(), "the check finds {findings:?}");
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
