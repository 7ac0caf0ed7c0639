//! How large a volume is, and how much it may hold: `keiki resize` and `keiki quota`.

use std::io::Write;

use keiki_core::capability::Cost;
use keiki_core::context::Context;
use keiki_core::mount_plan::AttachMode;
use keiki_core::units::Bytes;
use keiki_core::{Error, ErrorKind, Result};

use crate::bench::Bench;
use crate::case::Case;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Means, Op, PATIENCE, Running, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Sizes:
        resize_makes_room_and_keeps_the_content,
        resize_refuses_below_what_is_used,
        resize_to_less_works_or_is_refused_and_keeps_the_content,
        resize_never_shrinks_what_runs,
        a_clone_is_as_large_as_its_source,
        a_restore_after_a_resize_is_whole,
        quota_holds_and_is_told,
        quota_is_lifted,
        quota_stays_with_a_restore_and_not_with_a_clone,
        quota_below_what_is_held_loses_nothing,
        a_size_or_a_limit_of_nothing_is_refused,
    ]
}

/// What a volume of a store without mounts is made before it is changed: real ones have a size from the beginning.
const IN_MEMORY: Bytes = Bytes(1 << 16);

fn limit(yard: &Yard<'_>, name: &str) -> Verdict<Option<Bytes>> {
    let space = yard.engine.space(&Context::default(), &[yard.key(name)?])?;
    Ok(space.containers.first().and_then(|one| one.head.limit))
}

fn resize(yard: &Yard<'_>, name: &str, size: Bytes) -> Result<Bytes> {
    yard.engine.resize(&Context::default(), &yard.key(name)?, size)
}

fn quota(yard: &Yard<'_>, name: &str, limit: Option<Bytes>) -> Result<()> {
    yard.engine.quota(&Context::default(), &yard.key(name)?, limit)
}

/// Fails unless a verb that the store lacks is refused as such, and nothing changed.
#[track_caller]
fn lacks(yard: &Yard<'_>, answer: impl FnOnce() -> Result<()>) -> Verdict {
    let before = yard.view()?;
    let Err(error) = answer() else { return Err(Failure::new("a store without the verb did it")) };
    claim_eq!(error.kind(), ErrorKind::Unsupported, "the kind of {error:?}");
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Proof::Refused)
}

/// A container `a` of a known size; the inner answer is the proof of a store whose volumes have none.
fn sized<'a>(bench: &Bench<'a>) -> Verdict<std::result::Result<(Yard<'a>, Bytes), Proof>> {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    if bench.store.resize().is_none() {
        return Ok(Err(lacks(&yard, || resize(&yard, "a", Bytes(1 << 30)).map(drop))?));
    }
    if bench.rig.direct().is_some() {
        resize(&yard, "a", IN_MEMORY)?;
    }
    match limit(&yard, "a")? {
        Some(size) => Ok(Ok((yard, size))),
        None => Err(Failure::new("a volume that can be resized tells no size")),
    }
}

/// How large the file system in a container is; `None` where there is none.
fn room(bench: &Bench<'_>, yard: &Yard<'_>, name: &str) -> Verdict<Option<u64>> {
    let volume = yard.engine.container(&yard.key(name)?)?.volume;
    let Some(volume) = volume.filter(|_| bench.rig.direct().is_none()) else { return Ok(None) };
    let tree = bench.attach(&volume, AttachMode::ReadOnly)?;
    let seen = rustix::fs::statvfs(tree.path())?;
    drop(tree);
    bench.wait(bench.store.detach(&Context::default(), &volume))?;
    Ok(Some(seen.f_blocks * seen.f_frsize))
}

fn resize_makes_room_and_keeps_the_content(bench: &Bench<'_>) -> Verdict {
    let (yard, size) = match sized(bench)? {
        Ok(sized) => sized,
        Err(proof) => return Ok(proof),
    };
    yard.make(Op::write("a", "state", "before"))?;
    let (before, had) = (yard.content("a")?, room(bench, &yard, "a")?);
    let wanted = Bytes(size.0 * 2);
    let got = resize(&yard, "a", wanted)?;
    claim!(got >= wanted, "asked for {wanted}, got {got}");
    claim!(limit(&yard, "a")? >= Some(wanted), "{:?} is told", limit(&yard, "a")?);
    before.expect(&yard.content("a")?, "the content of the larger volume")?;
    if let (Some(had), Some(has)) = (had, room(bench, &yard, "a")?) {
        claim!(has > had + size.0 / 2, "the file system had {had} bytes and has {has}");
    }
    // The same size again is no change.
    claim_eq!(resize(&yard, "a", got)?, got, "what a resize to the present size answers");
    Ok(Proof::Works)
}

fn resize_refuses_below_what_is_used(bench: &Bench<'_>) -> Verdict {
    let (yard, size) = match sized(bench)? {
        Ok(sized) => sized,
        Err(proof) => return Ok(proof),
    };
    let half = usize::try_from(size.0 / 2)?;
    yard.make(Op::write("a", "ballast", &"x".repeat(half)))?;
    let before = yard.view()?;
    let Err(error) = resize(&yard, "a", Bytes(size.0 / 4)) else {
        return Err(Failure::new(format!("{size} with half of it used became a quarter")));
    };
    let typed = [ErrorKind::InvalidArgument, ErrorKind::Unsupported, ErrorKind::NoSpace];
    claim!(typed.contains(&error.kind()), "the kind of {error:?}");
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    claim_eq!(limit(&yard, "a")?, Some(size), "the size that is told");
    Ok(Proof::Works)
}

fn resize_to_less_works_or_is_refused_and_keeps_the_content(bench: &Bench<'_>) -> Verdict {
    let (yard, size) = match sized(bench)? {
        Ok(sized) => sized,
        Err(proof) => return Ok(proof),
    };
    let larger = resize(&yard, "a", Bytes(size.0 * 2))?;
    let before = yard.content("a")?;
    let proof = match resize(&yard, "a", size) {
        Ok(got) => {
            claim!(got >= size && got < larger, "asked for {size}, got {got}");
            claim_eq!(limit(&yard, "a")?, Some(got), "the size that is told");
            Proof::Works
        }
        Err(error) => {
            claim_eq!(error.kind(), ErrorKind::Unsupported, "the kind of {error:?}");
            claim_eq!(limit(&yard, "a")?, Some(larger), "the size that is told");
            Proof::Refused
        }
    };
    before.expect(&yard.content("a")?, "the content")?;
    Ok(proof)
}

fn resize_never_shrinks_what_runs(bench: &Bench<'_>) -> Verdict {
    let (idle, size) = match sized(bench)? {
        Ok(sized) => sized,
        Err(proof) => return Ok(proof),
    };
    drop(idle);
    let running = std::sync::Arc::new(Running(vec!["a".to_owned()]));
    let yard = Yard::at(bench.rig, bench.ground(), running, PATIENCE)?;
    let refused: Option<Error> = resize(&yard, "a", Bytes(size.0 / 2)).err();
    claim_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Busy), "shrinking what runs");
    let got = resize(&yard, "a", Bytes(size.0 * 2))?;
    claim!(got.0 >= size.0 * 2, "growing what runs: {got}");
    Ok(Proof::Works)
}

fn a_clone_is_as_large_as_its_source(bench: &Bench<'_>) -> Verdict {
    let (yard, size) = match sized(bench)? {
        Ok(sized) => sized,
        Err(proof) => return Ok(proof),
    };
    if bench.rig.direct().is_some() || yard.clone_promises()?.is_none() {
        return Ok(Proof::Skipped("a store whose volumes have a size of their own".to_owned()));
    }
    let larger = resize(&yard, "a", Bytes(size.0 * 2))?;
    let means = if yard.promises()?.clone_cost == Cost::Constant { Means::Snapshot } else { Means::Either };
    yard.make(Op::clone("a", &["b"], means))?;
    yard.content("a")?.expect(&yard.content("b")?, "the clone")?;
    let had = room(bench, &yard, "a")?;
    claim_eq!(room(bench, &yard, "b")?, had, "the room in the clone of a volume of {larger}");
    Ok(Proof::Works)
}

fn a_restore_after_a_resize_is_whole(bench: &Bench<'_>) -> Verdict {
    let (yard, size) = match sized(bench)? {
        Ok(sized) => sized,
        Err(proof) => return Ok(proof),
    };
    yard.make(Op::snapshot("a"))?;
    let then = yard.content("a")?;
    match resize(&yard, "a", Bytes(size.0 * 2)) {
        // Snapshots that hold their origin may keep it from changing its size.
        Err(error) if matches!(error.kind(), ErrorKind::HasDependents | ErrorKind::Unsupported) => {
            then.expect(&yard.content("a")?, "the content after a refusal")?;
            return Ok(Proof::Refused);
        }
        other => drop(other?),
    }
    yard.make(Op::write("a", "state", "since"))?;
    if yard.apply(&Context::default(), &Op::restore("a", "snap0")).is_ok() {
        claim_eq!(then.differences(&yard.content("a")?), "", "what was restored");
    }
    claim_eq!(then.differences(&yard.content_of_snapshot("a", "snap0")?), "", "the snapshot");
    Ok(Proof::Works)
}

/// A limit, and more than it.
fn limit_and_more(bench: &Bench<'_>) -> (Bytes, usize) {
    if bench.rig.direct().is_some() { (Bytes(1 << 12), 1 << 13) } else { (Bytes(16 << 20), 40 << 20) }
}

/// Writes a file of so many bytes, down to the disk.
fn fill(bench: &Bench<'_>, yard: &Yard<'_>, name: &str, bytes: usize) -> Verdict<()> {
    if bench.rig.direct().is_some() {
        return yard.make(Op::write(name, "fill", &"x".repeat(bytes)));
    }
    let volume = yard.engine.container(&yard.key(name)?)?.volume.ok_or_else(|| Failure::new("no volume"))?;
    let tree = bench.attach(&volume, AttachMode::ReadWrite)?;
    let file = std::fs::File::create(tree.path().join("fill"))?;
    let written = (&file).write_all(&vec![0x42; bytes]).and_then(|()| file.sync_all());
    drop((file, tree));
    bench.wait(bench.store.detach(&Context::default(), &volume))?;
    Ok(written?)
}

/// A container `a` on ground where limits are kept; the inner answer is the proof of a store that sets none.
fn limited<'a>(bench: &'a Bench<'_>) -> Verdict<std::result::Result<Bench<'a>, Proof>> {
    if bench.store.quota().is_none() {
        let yard = Yard::open(bench)?;
        yard.make(Op::create("a"))?;
        return Ok(Err(lacks(&yard, || quota(&yard, "a", Some(Bytes(1 << 24))))?));
    }
    match Bench::open_limited(bench.rig) {
        Ok(ground) => Ok(Ok(ground)),
        Err(missing) => Ok(Err(Proof::Skipped(missing.0))),
    }
}

fn quota_holds_and_is_told(bench: &Bench<'_>) -> Verdict {
    let ground = match limited(bench)? {
        Ok(ground) => ground,
        Err(proof) => return Ok(proof),
    };
    let yard = Yard::open(&ground)?;
    yard.make(Op::create("a"))?;
    let (most, more) = limit_and_more(&ground);
    quota(&yard, "a", Some(most))?;
    claim_eq!(limit(&yard, "a")?, Some(most), "the limit that is told");
    let written = fill(&ground, &yard, "a", more);
    claim!(written.is_err(), "{more} bytes were written below a limit of {most}");
    let told = yard.engine.space(&Context::default(), &[yard.key("a")?])?;
    let held = told.containers.first().and_then(|one| one.head.referenced);
    // A limit counts what a file system rounds up to as well.
    claim!(held <= Some(Bytes(most.0 * 5 / 4)), "{held:?} is held below a limit of {most}");
    Ok(Proof::Works)
}

fn quota_is_lifted(bench: &Bench<'_>) -> Verdict {
    let ground = match limited(bench)? {
        Ok(ground) => ground,
        Err(proof) => return Ok(proof),
    };
    let yard = Yard::open(&ground)?;
    yard.make(Op::create("a"))?;
    let (most, more) = limit_and_more(&ground);
    quota(&yard, "a", Some(most))?;
    quota(&yard, "a", None)?;
    claim_eq!(limit(&yard, "a")?, None, "the limit that is told");
    fill(&ground, &yard, "a", more)?;
    Ok(Proof::Works)
}

fn quota_stays_with_a_restore_and_not_with_a_clone(bench: &Bench<'_>) -> Verdict {
    let ground = match limited(bench)? {
        Ok(ground) => ground,
        Err(proof) => return Ok(proof),
    };
    let yard = Yard::open(&ground)?;
    yard.make(Op::create("a"))?;
    let (most, _) = limit_and_more(&ground);
    quota(&yard, "a", Some(most))?;
    yard.make_all(&[Op::snapshot("a"), Op::write("a", "state", "since")])?;
    if yard.apply(&Context::default(), &Op::restore("a", "snap0")).is_ok() {
        claim_eq!(limit(&yard, "a")?, Some(most), "the limit after a restore");
    }
    yard.make(Op::rename("a", "z"))?;
    claim_eq!(limit(&yard, "z")?, Some(most), "the limit after a rename");
    if super::lineage::carried_out(&yard, &Op::clone("z", &["b"], Means::Snapshot))? {
        claim_eq!(limit(&yard, "b")?, None, "the limit of a clone");
    }
    Ok(Proof::Works)
}

fn quota_below_what_is_held_loses_nothing(bench: &Bench<'_>) -> Verdict {
    let ground = match limited(bench)? {
        Ok(ground) => ground,
        Err(proof) => return Ok(proof),
    };
    let yard = Yard::open(&ground)?;
    yard.make(Op::create("a"))?;
    let (most, more) = limit_and_more(&ground);
    fill(&ground, &yard, "a", more)?;
    let before = yard.content("a")?;
    let proof = match quota(&yard, "a", Some(most)) {
        Ok(()) => Proof::Works,
        Err(error) => {
            let typed = [ErrorKind::InvalidArgument, ErrorKind::NoSpace];
            claim!(typed.contains(&error.kind()), "the kind of {error:?}");
            claim_eq!(limit(&yard, "a")?, None, "the limit that is told");
            Proof::Refused
        }
    };
    before.expect(&yard.content("a")?, "what is held")?;
    Ok(proof)
}

fn a_size_or_a_limit_of_nothing_is_refused(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let before = yard.view()?;
    for answer in [resize(&yard, "a", Bytes(0)).map(drop), quota(&yard, "a", Some(Bytes(0)))] {
        claim_eq!(answer.err().map(|error| error.kind()), Some(ErrorKind::InvalidArgument), "nothing at all");
    }
    claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
    Ok(Proof::Refused)
}
