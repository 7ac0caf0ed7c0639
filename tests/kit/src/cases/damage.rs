//! Damage that nobody asked for: a catalogue that is lost, cut or scrambled; data that is gone; places that cannot be
//! written; mounts in the way. It is noticed, said, repaired where that can be done, and never made worse.

use std::fs;
use std::path::Path;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use nix::mount::{MsFlags, mount};

use crate::bench::{Bench, Tree};
use crate::case::Case;
use crate::rig::namespace::mounts_below;
use crate::rig::{Lifetime, Readable, hold_read_only};
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{Means, Op, Reach, View, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Faults:
        a_sound_place_has_no_findings,
        another_installation_in_the_pool_is_left_alone,
        a_lost_catalogue_is_rebuilt_from_disk,
        a_cut_catalogue_is_rebuilt_from_disk,
        a_scrambled_catalogue_is_rebuilt_from_disk,
        lost_data_is_noticed_and_takes_nobody_along,
        a_read_only_lxcpath_refuses_every_change,
        a_read_only_catalogue_still_lists,
        a_mount_in_a_container_survives_its_destruction,
    ]
}

/// A family with a history, as far as the store can have one.
fn family<'a>(bench: &Bench<'a>) -> Verdict<(Yard<'a>, View)> {
    let yard = Yard::open(bench)?;
    yard.make_all(&[
        Op::create("a"),
        Op::snapshot("a"),
        Op::write("a", "state", "later"),
        Op::create("parent"),
    ])?;
    // A store without clones has a smaller family.
    let _as_far_as_it_can = yard.try_make(&Op::clone("parent", &["child"], Means::Snapshot));
    let view = yard.view()?;
    Ok((yard, view))
}

fn a_sound_place_has_no_findings(bench: &Bench<'_>) -> Verdict {
    let (yard, view) = family(bench)?;
    for report in [yard.engine.check(&yard.lxcpath)?, yard.engine.repair(&Context::default(), &yard.lxcpath)?]
    {
        claim!(report.findings.is_empty(), "found {:?}", report.findings);
        claim_eq!(report.containers, view.containers.len(), "containers looked at");
    }
    claim!(view == yard.view()?, "repairing changed {}", view.differences(&yard.view()?));
    Ok(Proof::Works)
}

/// Two catalogues, each with an lxcpath of its own, share a volume group or zpool: what the one made is nothing wrong to the other.
fn another_installation_in_the_pool_is_left_alone(bench: &Bench<'_>) -> Verdict {
    let (theirs, before) = family(bench)?;
    let ours = theirs.beside(bench, "second")?;
    ours.make(Op::create("own"))?;
    for report in [ours.engine.check(&ours.lxcpath)?, ours.engine.repair(&Context::default(), &ours.lxcpath)?]
    {
        claim!(report.is_sound(), "found {:?}", report.findings);
    }
    ours.make(Op::destroy("own", Reach::Only))?;
    claim!(
        before == theirs.view()?,
        "the other installation changed: {}",
        before.differences(&theirs.view()?)
    );
    let report = theirs.engine.check(&theirs.lxcpath)?;
    claim!(report.is_sound(), "the first finds {:?}", report.findings);
    Ok(Proof::Works)
}

fn a_lost_catalogue_is_rebuilt_from_disk(bench: &Bench<'_>) -> Verdict {
    rebuilt_after(bench, |state| {
        for entry in fs::read_dir(state)? {
            let path = entry?.path();
            if path.is_file() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    })
}

fn a_cut_catalogue_is_rebuilt_from_disk(bench: &Bench<'_>) -> Verdict {
    rebuilt_after(bench, |state| {
        let file = fs::File::options().write(true).open(state.join(CATALOGUE))?;
        file.set_len(file.metadata()?.len() / 2)
    })
}

fn a_scrambled_catalogue_is_rebuilt_from_disk(bench: &Bench<'_>) -> Verdict {
    rebuilt_after(bench, |state| fs::write(state.join(CATALOGUE), vec![0x5A; 40_000]))
}

const CATALOGUE: &str = "catalogue.sqlite";

/// Damages the catalogue; nothing on disk may go, and a repair brings back every name with its content.
fn rebuilt_after(bench: &Bench<'_>, damage: impl Fn(&Path) -> std::io::Result<()>) -> Verdict {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(Proof::Skipped("a store that outlives its process".to_owned()));
    }
    let (yard, before) = family(bench)?;
    drop(yard);
    let on_disk = Tree::at(&bench.ground().lxcpath())?.describe()?;
    damage(&bench.ground().state())?;
    let yard = Yard::open(bench)?;
    // What can be seen now may be less; what is on disk may not.
    let _whatever = yard.engine.containers(&yard.lxcpath);
    let after = Tree::at(&bench.ground().lxcpath())?.describe()?;
    claim!(on_disk == after, "opening changed the disk: {:?}", on_disk.diff(&after));
    let report = yard.engine.repair(&Context::default(), &yard.lxcpath)?;
    drop(yard);
    let yard = Yard::open(bench)?;
    let repaired = yard.view()?;
    same_content(&before, &repaired).map_err(|e| e.during(&format!("after {:?}", report.findings)))?;
    still_refused(&yard, &before)?;
    Ok(Proof::Works)
}

/// Names, snapshots and content must be there again; where something was copied from is known to the catalogue alone.
fn same_content(before: &View, after: &View) -> Verdict<()> {
    for (name, container) in &before.containers {
        let again = after.containers.get(name).ok_or_else(|| Failure::new(format!("`{name}` is lost")))?;
        claim_eq!(container.content.0.differences(&again.content.0), "", "`{name}`");
        claim_eq!(
            again.snapshots.keys().collect::<Vec<_>>(),
            container.snapshots.keys().collect::<Vec<_>>(),
            "the snapshots of `{name}`"
        );
        claim_eq!(again.dependents, container.dependents, "the dependents of `{name}`");
    }
    claim_eq!(after.containers.len(), before.containers.len(), "how many there are");
    Ok(())
}

/// The rules must hold on what was rebuilt as they did before.
fn still_refused(yard: &Yard<'_>, before: &View) -> Verdict<()> {
    let held = before.containers.get("parent").is_some_and(|parent| !parent.dependents.is_empty());
    if held {
        let error = yard.apply(&Context::default(), &Op::destroy("parent", Reach::Only)).err();
        claim_eq!(
            error.map(|e| e.kind()),
            Some(ErrorKind::HasDependents),
            "destroying a parent after the repair"
        );
    }
    Ok(())
}

fn lost_data_is_noticed_and_takes_nobody_along(bench: &Bench<'_>) -> Verdict {
    let (yard, before) = family(bench)?;
    let volume = yard.engine.container(&yard.key("a")?)?.volume.ok_or_else(|| Failure::new("no volume"))?;
    if let Err(missing) = bench.rig.lose(bench.ground(), &volume) {
        return Ok(Proof::Skipped(missing.0));
    }
    let report = yard.engine.check(&yard.lxcpath)?;
    claim!(!report.findings.is_empty(), "the lost data of `a` was not noticed");
    yard.engine.repair(&Context::default(), &yard.lxcpath)?;
    for name in ["parent", "child"].iter().filter(|name| before.containers.contains_key(**name)) {
        let content = before.containers.get(*name).map(|c| c.content.clone());
        let content = content.ok_or_else(|| Failure::new("no content"))?;
        claim_eq!(content.0.differences(&yard.content(name)?), "", "`{name}` after the repair");
    }
    Ok(Proof::Works)
}

fn a_read_only_lxcpath_refuses_every_change(bench: &Bench<'_>) -> Verdict {
    let (yard, before) = family(bench)?;
    let held = match hold_read_only(&yard.lxcpath) {
        Ok(held) => held,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    for op in [
        Op::create("new"),
        Op::clone("a", &["new"], Means::Either),
        Op::snapshot("a"),
        Op::restore("a", "snap0"),
        Op::rename("a", "z"),
        Op::destroy("a", Reach::Snapshots),
        Op::destroy_snapshot("a", "snap0"),
    ] {
        let Err(error) = yard.apply(&Context::default(), &op) else {
            return Err(Failure::new(format!("{op:?} was carried out on a read-only lxcpath")));
        };
        let kinds =
            [ErrorKind::ReadOnly, ErrorKind::Unavailable, ErrorKind::HasDependents, ErrorKind::Unsupported];
        claim!(kinds.contains(&error.kind()), "{op:?} answers {error:?}");
        let now = yard.view()?;
        claim!(before == now, "{op:?} was refused, but changed {}", before.differences(&now));
    }
    drop(held);
    drop(yard);
    let yard = Yard::open(bench)?;
    claim!(before == yard.view()?, "afterwards: {}", before.differences(&yard.view()?));
    yard.make(Op::snapshot("a"))?;
    Ok(Proof::Refused)
}

fn a_read_only_catalogue_still_lists(bench: &Bench<'_>) -> Verdict {
    let (yard, before) = family(bench)?;
    drop(yard);
    let held: Readable = match hold_read_only(&bench.ground().state()) {
        Ok(held) => held,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    let yard = Yard::open(bench)?;
    let names: Vec<_> =
        yard.engine.containers(&yard.lxcpath)?.into_iter().map(|r| r.key.name.to_string()).collect();
    claim_eq!(names, before.containers.keys().cloned().collect::<Vec<_>>(), "the containers");
    let error = yard.apply(&Context::default(), &Op::create("new"));
    let error = error.err().ok_or_else(|| Failure::new("a container was made without a catalogue"))?;
    claim!(
        matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::PermissionDenied),
        "a change answers {error:?}"
    );
    claim!(!yard.lxcpath.join("new").exists(), "a directory is left");
    drop(yard);
    drop(held);
    Ok(Proof::Refused)
}

/// Somebody mounted something inside a container that is not running: it is not the container's, and nothing in it may go.
fn a_mount_in_a_container_survives_its_destruction(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
    }
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let elsewhere = bench.ground().root().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    fs::write(elsewhere.join("precious"), "x")?;
    let volume = yard.engine.container(&yard.key("a")?)?.volume.ok_or_else(|| Failure::new("no volume"))?;
    let location = volume.source.location();
    let point = Path::new(location.rsplit(':').next().unwrap_or(location)).join("data");
    if fs::create_dir(&point).is_err() {
        return Ok(Proof::Skipped("a store whose volumes are directories".to_owned()));
    }
    mount(Some(&elsewhere), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let result = yard.apply(&Context::default(), &Op::destroy("a", Reach::Only));
    claim_eq!(fs::read(elsewhere.join("precious"))?, b"x", "the file behind the mount, after {result:?}");
    if let Err(error) = &result {
        claim_eq!(error.kind(), ErrorKind::Busy, "the kind of {error:?}");
        claim!(format!("{error:?}").contains("data"), "it does not say what is in the way: {error:?}");
    }
    for left in mounts_below(&yard.lxcpath) {
        nix::mount::umount(Path::new(&left))?;
    }
    drop(yard);
    let yard = Yard::open(bench)?;
    if yard.lxcpath.join("a").exists() {
        yard.make(Op::destroy("a", Reach::Only))?;
    }
    yard.engine.gc(&Context::default())?;
    let found = bench.wait(bench.store.list(&bench.pool()))?;
    claim!(found.is_empty(), "left in the store: {found:?}");
    claim_eq!(fs::read(elsewhere.join("precious"))?, b"x", "the file behind the mount, in the end");
    Ok(Proof::Works)
}
