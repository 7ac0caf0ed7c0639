//! Names change, data stays: nothing is copied, snapshots go along, and whoever else is there is left alone.

use keiki_core::ErrorKind;

use super::{history, refused};
use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Proof, Verdict};
use crate::yard::{Op, Reach, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Lineage:
        rename_takes_the_snapshots_along,
        rename_frees_the_old_name_and_those_of_its_snapshots,
        rename_there_and_back_is_as_before,
        rename_onto_what_is_not_ours_is_refused,
    ]
}

fn rename_takes_the_snapshots_along(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let before = yard.view()?;
    yard.make(Op::rename("a", "z"))?;
    let after = yard.view()?;
    let (Some(was), Some(is)) = (before.containers.get("a"), after.containers.get("z")) else {
        return Err(crate::Failure::new("it is not there"));
    };
    claim_eq!(was.content, is.content, "what it holds");
    for (snapshot, seen) in &was.snapshots {
        claim_eq!(
            is.snapshots.get(snapshot).map(|s| &s.content),
            Some(&seen.content),
            "what `z@{snapshot}` holds"
        );
    }
    yard.make(Op::destroy_snapshot("z", "snap1"))?;
    if super::carried_out(&yard, &Op::restore("z", "snap0"))? {
        let restored = yard.content_of_snapshot("z", "snap0")?.differences(&yard.content("z")?);
        claim_eq!(restored, "", "what was restored");
    }
    Ok(Proof::Works)
}

fn rename_frees_the_old_name_and_those_of_its_snapshots(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    yard.make(Op::rename("a", "z"))?;
    let of_z = yard.content_of_snapshot("z", "snap0")?;
    yard.make_all(&[Op::create("a"), Op::write("a", "state", "of the new one"), Op::snapshot("a")])?;
    let of_a = yard.content_of_snapshot("a", "snap0")?;
    claim!(!of_a.differences(&of_z).is_empty(), "two snapshots are one");
    yard.make(Op::destroy("z", Reach::Snapshots))?;
    of_a.expect(&yard.content_of_snapshot("a", "snap0")?, "the snapshot of who has the name now")?;
    yard.make(Op::destroy("a", Reach::Snapshots))?;
    super::ghosts::nothing_is_left(bench, &yard)?;
    Ok(Proof::Works)
}

fn rename_there_and_back_is_as_before(bench: &Bench<'_>) -> Verdict {
    let yard = history(bench)?;
    let before = yard.view()?;
    yard.make_all(&[Op::rename("a", "z"), Op::rename("z", "a")])?;
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Proof::Works)
}

fn rename_onto_what_is_not_ours_is_refused(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let wanted = bench.place("z", None)?;
    let stranger = match bench.rig.plant_stranger(bench.ground(), &wanted) {
        Ok(stranger) => stranger,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    refused(&yard, &Op::rename("a", "z"), &[ErrorKind::Foreign, ErrorKind::AlreadyExists])?;
    stranger.expect_untouched()?;
    Ok(Proof::Refused)
}
