//! Defects that LXC has (`peer-suite.md`, section 4, by its numbers) and that no store here may have.
//!
//! Each case says what LXC does. The storage defects 1 to 15 are all here, each on every store: where LXC's defect is one of
//! zfs, the others must not have it either. Numbers from 16 are about AppArmor profiles, cgroups and terminals.

use std::sync::Arc;

use keiki_btrfs::BtrfsStore;
use keiki_core::capability::{Availability, ParentDelete, ParentWrite, Residence};
use keiki_core::context::Context;
use keiki_core::engine::{CloneContainer, CloneMode, CreateContainer, Fill, Identity, Payload};
use keiki_core::mount_plan::{AttachMode, MountRecipe, Upper};
use keiki_core::registry::StoreChoice;
use keiki_core::store::BackingStore;
use keiki_core::volume::{Properties, StoreKind};
use keiki_core::{Error, ErrorKind, Result};

use crate::bench::{Bench, Tree};
use crate::case::Case;
use crate::rig::Lifetime;
use crate::steps::{AtStep, Recorder};
use crate::verdict::{Failure, Proof, Verdict};
use crate::worker::{Answer, Task, Work};
use crate::yard::{Idle, Means, Op, PATIENCE, Reach, Yard};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Defects:
        defect_01_destroying_a_parent_never_takes_its_children,
        defect_02_a_foreign_object_is_never_adopted_by_create,
        defect_03_a_store_that_cannot_work_here_writes_nothing,
        defect_04_restore_that_fails_keeps_the_container,
        defect_05_snapshots_of_two_containers_never_share_a_place,
        defect_06_parent_of_a_stacked_clone_refuses_start,
        defect_07_failed_copy_leaves_nothing,
        defect_07_failed_template_leaves_nothing,
        defect_08_snapshot_clones_ephemeral_clones_and_snapshots_work_where_declared,
        defect_09_restore_in_place_works_with_a_snapshot_upon_the_head,
        defect_10_an_ephemeral_clone_can_be_mounted_and_written,
        defect_11_copy_and_rename_of_a_snapshot_clone_work,
        defect_11_every_store_copies_to_every_other,
        defect_12_a_clone_of_a_clone_copies_nothing_and_says_truly_who_is_needed,
        defect_13_destroy_with_snapshots_is_all_or_nothing,
        defect_14_in_memory_is_in_memory_or_refused,
        defect_15_rename_moves_no_data,
        defect_17_snapshot_list_is_sorted,
        defect_17_first_clone_prints_nothing,
    ]
}

/// Returns whether snapshot clones exist here, and what they mean for their parents.
fn clone_terms(yard: &Yard<'_>) -> Verdict<Option<(ParentWrite, ParentDelete)>> {
    let promises = yard.clone_promises()?;
    let constant = promises.filter(|p| p.clone_cost == keiki_core::capability::Cost::Constant);
    Ok(constant.map(|p| (p.parent_write, p.parent_delete)))
}

/// On plain LVM, LXC's `lxc-destroy` of a parent exits 0 and removes the children's volumes with it.
fn defect_01_destroying_a_parent_never_takes_its_children(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    if clone_terms(&yard)?.is_none() {
        return Ok(Proof::Refused);
    }
    yard.make(Op::clone("a", &["b"], Means::Snapshot))?;
    let before = yard.content("b")?;
    let destroyed = yard.apply(&Context::default(), &Op::destroy("a", Reach::Only));
    before.expect(&yard.content("b")?, "the child")?;
    drop(yard.engine.permit_start(&yard.key("b")?)?);
    yard.make(Op::destroy("b", Reach::Only))?;
    Ok(if destroyed.is_ok() { Proof::Works } else { Proof::Refused })
}

/// On zfs, LXC's `lxc-create` over an existing dataset exits 0, writes into it, and `lxc-destroy` destroys it.
fn defect_02_a_foreign_object_is_never_adopted_by_create(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    let foreign = yard.lxcpath.join("a/rootfs");
    std::fs::create_dir_all(&foreign)?;
    std::fs::write(foreign.join("precious"), "x")?;
    let before = Tree::at(&yard.lxcpath.join("a"))?.describe()?;
    for op in [Op::create("a"), Op::destroy("a", Reach::Dependents)] {
        claim!(yard.apply(&Context::default(), &op).is_err(), "{op:?} went over a foreign directory");
        let after = Tree::at(&yard.lxcpath.join("a"))?.describe()?;
        claim!(before == after, "{op:?} changed a foreign directory: {:?}", before.diff(&after));
    }
    if yard.promises()?.residence == Residence::Named {
        let place = bench.place("b", None)?;
        std::fs::remove_dir(yard.lxcpath.join("b"))?;
        let foreign = match bench.rig.plant_stranger(bench.ground(), &place) {
            Ok(foreign) => foreign,
            Err(missing) => return Ok(Proof::Skipped(missing.0)),
        };
        let error = yard.apply(&Context::default(), &Op::create("b")).err();
        claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::Foreign), "create over a foreign object");
        claim!(!yard.lxcpath.join("b").exists(), "a directory is left");
        foreign.expect_untouched()?;
    }
    Ok(Proof::Refused)
}

/// LXC's `lxc-copy -B btrfs` onto a path that is not btrfs exits 0 and writes `btrfs:` into the config of a plain folder.
fn defect_03_a_store_that_cannot_work_here_writes_nothing(bench: &Bench<'_>) -> Verdict {
    let availability = bench.wait(BtrfsStore::new().availability(&bench.pool()));
    if !matches!(availability, Availability::Unavailable { .. })
        || bench.store.kind() == BtrfsStore::new().kind()
    {
        return Ok(Proof::Skipped("a file system that is not btrfs".to_owned()));
    }
    let registry = bench.rig.registry().with(Arc::new(BtrfsStore::new()));
    let lxcpath = bench.ground().lxcpath();
    let yard = Yard::with_stores(bench.rig, registry, bench.ground(), Arc::new(Idle), PATIENCE)?;
    yard.make(Op::create("a"))?;
    let before = yard.view()?;
    for mode in [CloneMode::Copy, CloneMode::Snapshot, CloneMode::SnapshotOrCopy] {
        let store = StoreChoice::FirstOf(vec![StoreKind::new("btrfs")]);
        let error = yard
            .engine
            .clone_container(&Context::default(), &request(&yard, mode, store, Payload::Persistent)?);
        let error =
            error.err().ok_or_else(|| Failure::new(format!("{mode:?} into btrfs was carried out")))?;
        let kinds = [ErrorKind::Unavailable, ErrorKind::Unsupported];
        claim!(kinds.contains(&error.kind()), "the kind of {error:?}");
        claim!(before == yard.view()?, "it changed {}", before.differences(&yard.view()?));
        claim!(!lxcpath.join("b").exists(), "a directory was left");
    }
    Ok(Proof::Refused)
}

fn request(yard: &Yard<'_>, mode: CloneMode, store: StoreChoice, payload: Payload) -> Result<CloneContainer> {
    let options = if store == StoreChoice::Default { yard.options.clone() } else { Properties::new() };
    Ok(CloneContainer {
        source: yard.key("a")?,
        snapshot: None,
        targets: vec![yard.key("b")?],
        mode,
        store,
        options,
        identity: Identity::Fresh,
        payload,
    })
}

/// LXC destroys the container first and copies the snapshot afterwards; when the copy fails, the data is gone.
fn defect_04_restore_that_fails_keeps_the_container(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make_all(&[Op::create("a"), Op::snapshot("a"), Op::write("a", "state", "later")])?;
    let snapshot = yard.engine.snapshots(&yard.key("a")?)?.remove(0);
    let (then, now) = (yard.content_of(&snapshot.volume)?, yard.content("a")?);
    if let Err(missing) = bench.rig.lose(bench.ground(), &snapshot.volume) {
        return Ok(Proof::Skipped(missing.0));
    }
    match yard.apply(&Context::default(), &Op::restore("a", "snap0")) {
        // A frozen head below the snapshot still has everything.
        Ok(()) => claim_eq!(then.differences(&yard.content("a")?), "", "the restored container"),
        Err(_) => now.expect(&yard.content("a")?, "the container after a restore that failed")?,
    }
    drop(yard.engine.permit_start(&yard.key("a")?)?);
    Ok(Proof::Works)
}

/// On zfs, LXC's snapshots share one flat name: the second container's `snap0` is the first one's data.
fn defect_05_snapshots_of_two_containers_never_share_a_place(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make_all(&[
        Op::create("x1"),
        Op::create("x2"),
        Op::snapshot("x1"),
        Op::snapshot("x2"),
        Op::create("snap0"),
        Op::write("snap0", "who", "a container that is called snap0"),
    ])?;
    let of = |name: &str| -> Verdict<_> {
        yard.content_of(&yard.engine.snapshots(&yard.key(name)?)?.remove(0).volume)
    };
    let (first, second) = (of("x1")?, of("x2")?);
    claim!(first != second, "two containers share one snapshot");
    yard.make_all(&[Op::destroy("snap0", Reach::Only), Op::destroy_snapshot("x1", "snap0")])?;
    second.expect(&of("x2")?, "the snapshot of the other container")?;
    Ok(Proof::Works)
}

/// LXC lets the parent of a running overlay clone start and write; the clone's root changes under it.
fn defect_06_parent_of_a_stacked_clone_refuses_start(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let Some((write, _)) = clone_terms(&yard)? else { return Ok(Proof::Refused) };
    yard.make(Op::clone("a", &["b"], Means::Snapshot))?;
    let before = yard.content("b")?;
    match yard.apply(&Context::default(), &Op::write("a", "who", "seen by the clone?")) {
        Ok(()) => claim_eq!(write, ParentWrite::Free, "a parent was written whose store says"),
        Err(error) => claim_eq!(error.kind(), ErrorKind::HasDependents, "the kind of {error:?}"),
    }
    before.expect(&yard.content("b")?, "the clone")?;
    Ok(if write == ParentWrite::Free { Proof::Works } else { Proof::Refused })
}

/// LXC's failed copies leave a dataset or volume that no command can remove.
fn defect_07_failed_copy_leaves_nothing(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    for means in [Means::Copy, Means::Either] {
        let op = Op::clone("a", &["b"], means);
        let (recorder, context) = Recorder::listening();
        if yard.apply(&context, &op).is_err() {
            continue;
        }
        yard.make(Op::destroy("b", Reach::Only))?;
        let volume = recorder.names().iter().position(|step| step.ends_with(".volume")).unwrap_or(0);
        for step in volume..volume + 3 {
            let context = AtStep::context(step, |_| Err(Error::new(ErrorKind::Io, "the copy broke off")));
            claim!(yard.apply(&context, &op).is_err(), "an error at step {step} was swallowed");
            let found = bench.wait(bench.store.list(&bench.pool()))?;
            claim_eq!(found.len(), 1, "volumes after a failed copy ({found:?})");
            claim!(!yard.lxcpath.join("b").exists(), "a directory is left");
        }
        yard.make_all(&[op, Op::destroy("b", Reach::Only)])?;
    }
    Ok(Proof::Works)
}

#[derive(Debug)]
struct Failing;

impl Fill for Failing {
    fn fill(&mut self, _context: &Context, _root: std::os::fd::BorrowedFd<'_>) -> Result<()> {
        Err(Error::new(ErrorKind::Corrupt, "the archive is damaged").with_hint("fetch it again"))
    }
}

/// The same for a template that fails: the name can be used again, and the template's words arrive.
fn defect_07_failed_template_leaves_nothing(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
    }
    let yard = Yard::open(bench)?;
    let request = CreateContainer {
        key: yard.key("a")?,
        store: StoreChoice::FirstOf(vec![bench.store.kind()]),
        options: yard.options.clone(),
        config: Vec::new(),
        fill: Some(&mut Failing),
    };
    let Err(error) = yard.engine.create(&Context::default(), request) else {
        return Err(Failure::new("a template that failed made a container"));
    };
    claim_eq!(error.kind(), ErrorKind::Corrupt, "the kind");
    claim!(
        format!("{error:?}").contains("the archive is damaged"),
        "the template's words are lost: {error:?}"
    );
    claim!(!yard.lxcpath.join("a").exists(), "a directory is left");
    let found = bench.wait(bench.store.list(&bench.pool()))?;
    claim!(found.is_empty(), "left in the store: {found:?}");
    yard.make(Op::create("a"))?;
    Ok(Proof::Refused)
}

/// On thin LVM, LXC's snapshot clones never work (the activation-skip flag of thin snapshots), and on no LVM do snapshots.
fn defect_08_snapshot_clones_ephemeral_clones_and_snapshots_work_where_declared(
    bench: &Bench<'_>,
) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let before = yard.content("a")?;
    yard.make(Op::snapshot("a"))?;
    let snapshot = yard.engine.snapshots(&yard.key("a")?)?.remove(0);
    claim_eq!(before.differences(&yard.content_of(&snapshot.volume)?), "", "the snapshot");
    yard.make(Op::destroy_snapshot("a", "snap0"))?;
    if clone_terms(&yard)?.is_none() {
        return Ok(Proof::Refused);
    }
    yard.make(Op::clone("a", &["s"], Means::Snapshot))?;
    claim_eq!(before.differences(&yard.content("s")?), "", "the snapshot clone");
    let request = request(&yard, CloneMode::Snapshot, StoreChoice::Default, Payload::Ephemeral)?;
    yard.engine.clone_container(&Context::default(), &request)?;
    claim_eq!(before.differences(&yard.content("b")?), "", "the ephemeral clone");
    for clone in ["s", "b"] {
        yard.make_all(&[Op::write(clone, "own", "x"), Op::destroy(clone, Reach::Only)])?;
    }
    before.expect(&yard.content("a")?, "the parent")?;
    Ok(Proof::Works)
}

/// On zfs, LXC can never restore in place: the snapshot is a clone of what must be destroyed.
fn defect_09_restore_in_place_works_with_a_snapshot_upon_the_head(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let then = yard.content("a")?;
    yard.make_all(&[Op::snapshot("a"), Op::write("a", "who", "spoilt")])?;
    let now = yard.content("a")?;
    if let Err(error) = yard.apply(&Context::default(), &Op::restore("a", "snap0")) {
        claim_eq!(
            yard.promises()?.parent_delete,
            ParentDelete::Refused,
            "what the store says about parents ({error:?})"
        );
        claim_eq!(error.kind(), ErrorKind::HasDependents, "the kind of {error:?}");
        claim!(!error.hints().is_empty(), "the refusal gives no remedy: {error:?}");
        now.expect(&yard.content("a")?, "the container after the refusal")?;
        return Ok(Proof::Refused);
    }
    claim_eq!(then.differences(&yard.content("a")?), "", "the restored container");
    claim_eq!(yard.engine.snapshots(&yard.key("a")?)?.len(), 1, "snapshots afterwards");
    Ok(Proof::Works)
}

/// On btrfs and LVM, LXC says "Created e as clone of a", and the ephemeral clone never starts: the type in front of the path is
/// not taken off.
fn defect_10_an_ephemeral_clone_can_be_mounted_and_written(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
    }
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let before = yard.content("a")?;
    let request = request(&yard, CloneMode::SnapshotOrCopy, StoreChoice::Default, Payload::Ephemeral)?;
    yard.engine.clone_container(&Context::default(), &request)?;
    let config = String::from_utf8_lossy(&yard.engine.read_config(&yard.key("b")?)?).into_owned();
    claim!(config.contains("lxc.ephemeral = 1"), "the clone does not know that it is ephemeral: {config}");
    drop(yard.engine.permit_start(&yard.key("b")?)?);
    yard.make(Op::write("b", "own", "written by a clone that runs"))?;
    claim!(before != yard.content("b")?, "the write is lost");
    before.expect(&yard.content("a")?, "the parent")?;
    yard.make(Op::destroy("b", Reach::Only))?;
    claim!(!yard.lxcpath.join("b").exists(), "a directory is left");
    Ok(Proof::Works)
}

/// LXC copies an overlay container nowhere, and a btrfs one neither to `dir` nor to `loop`.
fn defect_11_every_store_copies_to_every_other(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
    }
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let before = yard.content("a")?;
    for (n, other) in bench.rig.companions().iter().enumerate() {
        let (away, back) = (yard.key(&format!("away{n}"))?, yard.key(&format!("back{n}"))?);
        let there = StoreChoice::FirstOf(vec![other.kind()]);
        let outward = CloneContainer {
            targets: vec![away.clone()],
            ..request(&yard, CloneMode::Copy, there, Payload::Persistent)?
        };
        yard.engine.clone_container(&Context::default(), &outward)?;
        let here = StoreChoice::FirstOf(vec![bench.store.kind()]);
        let homeward = CloneContainer {
            source: away.clone(),
            targets: vec![back.clone()],
            options: yard.options.clone(),
            ..request(&yard, CloneMode::Copy, here, Payload::Persistent)?
        };
        yard.engine.clone_container(&Context::default(), &homeward)?;
        for key in [&away, &back] {
            claim_eq!(before.differences(&yard.content(key.name.as_str())?), "", "`{}`", key.name);
        }
        let store = yard.engine.container(&back)?.store;
        claim_eq!(store, Some(bench.store.kind()), "the store of the copy that came back");
    }
    Ok(Proof::Works)
}

/// LXC has neither a full copy nor a rename of an overlay container.
fn defect_11_copy_and_rename_of_a_snapshot_clone_work(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
    }
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    if clone_terms(&yard)?.is_none() {
        return Ok(Proof::Refused);
    }
    yard.make_all(&[Op::clone("a", &["b"], Means::Snapshot), Op::write("b", "own", "of b")])?;
    let before = yard.content("b")?;
    yard.make_all(&[Op::clone("b", &["c"], Means::Copy), Op::rename("b", "z")])?;
    claim_eq!(before.differences(&yard.content("z")?), "", "the renamed clone");
    claim_eq!(before.differences(&yard.content("c")?), "", "the copy of the clone");
    yard.make_all(&[Op::destroy("z", Reach::Only), Op::destroy("a", Reach::Only)])?;
    claim_eq!(before.differences(&yard.content("c")?), "", "the copy on its own");
    Ok(Proof::Works)
}

/// LXC copies the middle clone's data into its clone, and yet refuses to destroy the middle.
fn defect_12_a_clone_of_a_clone_copies_nothing_and_says_truly_who_is_needed(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let Some((_, delete)) = clone_terms(&yard)? else { return Ok(Proof::Refused) };
    yard.make_all(&[Op::clone("a", &["b"], Means::Snapshot), Op::write("b", "large", &"x".repeat(1 << 20))])?;
    if yard.apply(&Context::default(), &Op::clone("b", &["c"], Means::Snapshot)).is_err() {
        return Ok(Proof::Refused);
    }
    let usage = yard.engine.usage(&Context::default(), &[yard.key("c")?])?.remove(0);
    if let Some(exclusive) = usage.exclusive.filter(|_| bench.rig.direct().is_none()) {
        claim!(exclusive.0 < 1 << 19, "the clone of a clone takes {exclusive:?} of its own");
    }
    let before = yard.content("c")?;
    let destroyed = yard.apply(&Context::default(), &Op::destroy("b", Reach::Only));
    claim_eq!(
        destroyed.is_err(),
        delete == ParentDelete::Refused,
        "whether the middle is held ({destroyed:?})"
    );
    before.expect(&yard.content("c")?, "the clone of the clone")?;
    Ok(if destroyed.is_ok() { Proof::Works } else { Proof::Refused })
}

/// LXC removes snapshots until the first one that somebody depends on, then exits 1.
fn defect_13_destroy_with_snapshots_is_all_or_nothing(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make_all(&[
        Op::create("a"),
        Op::snapshot("a"),
        Op::write("a", "state", "one"),
        Op::snapshot("a"),
        Op::write("a", "state", "two"),
        Op::snapshot("a"),
    ])?;
    if yard.apply(&Context::default(), &Op::clone("a@snap1", &["b"], Means::Snapshot)).is_err() {
        return Ok(Proof::Refused);
    }
    let before = yard.view()?;
    let Err(error) = yard.apply(&Context::default(), &Op::destroy("a", Reach::Snapshots)) else {
        let kept = yard.view()?;
        claim_eq!(kept.containers.keys().collect::<Vec<_>>(), ["b"], "what is left");
        return Ok(Proof::Works);
    };
    claim_eq!(error.kind(), ErrorKind::HasDependents, "the kind of {error:?}");
    let after = yard.view()?;
    claim!(before == after, "refused, but changed {}", before.differences(&after));
    Ok(Proof::Refused)
}

/// LXC's `lxc-copy -e -t` on zfs says "placed on tmpfs"; it is not.
fn defect_14_in_memory_is_in_memory_or_refused(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
    }
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let request = request(&yard, CloneMode::Snapshot, StoreChoice::Default, Payload::EphemeralInMemory)?;
    if let Err(error) = yard.engine.clone_container(&Context::default(), &request) {
        claim_eq!(error.kind(), ErrorKind::Unsupported, "the kind of {error:?}");
        claim!(!yard.lxcpath.join("b").exists(), "a directory is left");
        return Ok(Proof::Refused);
    }
    let plan = yard.engine.attach(&Context::default(), &yard.key("b")?, AttachMode::ReadWrite)?;
    let in_memory = matches!(plan.recipe, MountRecipe::Overlay { upper: Upper::Memory { .. }, .. });
    claim!(in_memory, "it was placed in memory, but is mounted by {plan:?}");
    Ok(Proof::Works)
}

/// LXC renames by copying and destroying: it takes the space twice and turns snapshot clones into full copies.
fn defect_15_rename_moves_no_data(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make_all(&[Op::create("a"), Op::snapshot("a")])?;
    let data = |name: &str| -> Verdict<Option<String>> {
        let volume = yard.engine.container(&yard.key(name)?)?.volume;
        Ok(volume.and_then(|volume| bench.rig.identity(&volume).ok()))
    };
    let before = data("a")?;
    let id = yard.engine.container(&yard.key("a")?)?.volume.map(|volume| volume.id);
    yard.make(Op::rename("a", "z"))?;
    claim_eq!(data("z")?, before, "the identity of the data");
    claim_eq!(yard.engine.container(&yard.key("z")?)?.volume.map(|volume| volume.id), id, "the volume");
    if clone_terms(&yard)?.is_some() && yard.promises()?.residence == Residence::Home {
        yard.make_all(&[Op::create("parent")])?;
        yard.make(Op::clone("parent", &["child"], Means::Snapshot))?;
        let before = data("child")?;
        yard.make(Op::rename("child", "kid"))?;
        claim_eq!(data("kid")?, before, "the identity of the clone's data");
        let record = yard.engine.container(&yard.key("kid")?)?;
        claim_eq!(record.origin.as_deref(), Some("parent"), "the clone's origin");
    }
    Ok(Proof::Works)
}

/// LXC's `lxc-snapshot -L` lists in the order in which the directory happens to be read.
fn defect_17_snapshot_list_is_sorted(bench: &Bench<'_>) -> Verdict {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    for _ in 0..12 {
        yard.make(Op::snapshot("a"))?;
    }
    let names: Vec<_> =
        yard.engine.snapshots(&yard.key("a")?)?.into_iter().map(|s| s.name.to_string()).collect();
    let expected: Vec<_> = (0..12).map(|n| format!("snap{n}")).collect();
    claim_eq!(names, expected, "the snapshots in the order in which they were taken");
    Ok(Proof::Works)
}

/// Every first clone of a container makes LXC print an error about `lxc_rdepends`, although all is well.
fn defect_17_first_clone_prints_nothing(bench: &Bench<'_>) -> Verdict {
    if bench.rig.lifetime() == Lifetime::Process {
        return Ok(Proof::Skipped("a store that outlives its process".to_owned()));
    }
    Yard::open(bench)?.make(Op::create("a"))?;
    let work = Work::Op { op: Op::clone("a", &["b"], Means::Either), disturbance: None };
    let (answer, words) = Task::on(bench.rig, bench.ground(), work).start()?.finish_with_words()?;
    claim_eq!(answer, Some(Answer::Done(1)), "the clone");
    claim_eq!(words, "", "what was printed");
    Ok(Proof::Works)
}
