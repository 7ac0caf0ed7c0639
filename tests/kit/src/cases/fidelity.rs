//! Nothing of a tree is lost, whichever way it takes: clone, snapshot, clone of the snapshot, flatten.
//!
//! A case is one feature of a tree, built by [`crate::fidelity`] in a volume, taken through every way that the store has
//! and compared entry by entry. Times of directories that an overlay merges are the upper's own; everything else counts.

use std::io;
use std::path::Path;

use keiki_core::context::Context;
use keiki_core::mount_plan::AttachMode;
use keiki_core::volume::Volume;

use crate::bench::Bench;
use crate::case::{Case, Section};
use crate::fidelity::{FEATURES, everything};
use crate::verdict::{Failure, Proof, Verdict};

pub(super) fn cases() -> Vec<Case> {
    let features = FEATURES.iter().map(|feature| {
        let build = feature.build;
        Case::new(Section::Fidelity, feature.name, move |bench| survives(bench, build)).mounted()
    });
    let all = Case::new(Section::Fidelity, "everything_at_once_is_kept", |bench| survives(bench, everything))
        .mounted();
    let writes = Case::new(Section::Fidelity, "a_clone_that_is_written_leaves_its_source", writes_stay_apart);
    features.chain([all, writes]).collect()
}

fn survives(bench: &Bench<'_>, build: fn(&Path) -> io::Result<()>) -> Verdict {
    let source = bench.create("source")?;
    let tree = bench.attach(&source, AttachMode::Fill)?;
    build(&tree.path())?;
    drop(tree);
    bench.wait(bench.store.detach(&Context::default(), &source))?;
    let before = bench.content(&source)?;
    for (way, copy) in ways(bench, &source)? {
        before.expect(&bench.content(&copy)?, way)?;
    }
    before.expect(&bench.content(&source)?, "the source afterwards")?;
    Ok(Proof::Works)
}

/// Takes `source` every way that the store has.
fn ways(bench: &Bench<'_>, source: &Volume) -> Verdict<Vec<(&'static str, Volume)>> {
    let clone = bench.clone_of(source, "clone")?;
    let snapshot = bench.snapshot_of(source, "source", "snap0")?;
    let mut copies = Vec::new();
    if bench.promises()?.snapshot_of_snapshot {
        copies.push(("the clone of a snapshot", bench.clone_of(&snapshot, "restored")?));
    }
    if let Some(lineage) = bench.store.lineage_ops() {
        let target = bench.place("flat", None)?;
        bench.wait(lineage.flatten(&Context::default(), &clone, &target))?;
        copies.push(("the flattened clone", target));
    }
    copies.extend([("the clone", clone), ("the snapshot", snapshot)]);
    Ok(copies)
}

fn writes_stay_apart(bench: &Bench<'_>) -> Verdict {
    let source = bench.create_filled("source")?;
    bench.write(&source, "gone", b"x")?;
    let before = bench.content(&source)?;
    let clone = bench.clone_of(&source, "clone")?;
    bench.write(&clone, "who", b"clone")?;
    bench.write(&clone, "new", b"of the clone")?;
    before.expect(&bench.content(&source)?, "the source of a clone that was written")?;
    let mine = bench.content(&clone)?;
    if before == mine {
        return Err(Failure::new("the clone does not show what was written to it"));
    }
    Ok(Proof::Works)
}
