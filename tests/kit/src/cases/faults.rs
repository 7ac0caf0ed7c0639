//! Every operation, broken at every step: killed, refused, or without space. Afterwards everything is as before or as after.
//!
//! The steps are not written down here: an undisturbed run on other ground tells them. For each of them the scene is set up
//! anew, the operation is broken there, and an engine is opened again. Then:
//! - what a user sees is what was seen before, or what is seen after an undisturbed run;
//! - nothing is left: no staging, no trash, no descriptor, no mount;
//! - another recovery changes not one entry on disk;
//! - what is not ours is as it was;
//! - where the operation did not happen, it now succeeds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use keiki_core::capability::Residence;
use keiki_core::context::Context;
use keiki_core::engine::Problem;
use keiki_core::{Error, ErrorKind};
use keiki_tree::Description;

use crate::bench::{Bench, Tree};
use crate::case::{Case, Section};
use crate::claim;
use crate::leak;
use crate::rig::{Lifetime, Missing, Rig, Stranger};
use crate::steps::{AtStep, Recorder};
use crate::verdict::{Failure, Proof, Verdict};
use crate::worker::{Disturbance, Task, Work, filling};
use crate::yard::{Means, Op, Reach, View, Yard};

/// How an operation is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process is killed.
    Kill,
    /// The step fails.
    Error,
    /// From the step on there is no space.
    Full,
}

/// What is there, and the operation that is broken.
struct Scene {
    setup: Vec<Op>,
    op: Op,
}

type SceneOf = fn() -> Scene;

const SCENES: &[([&str; 3], SceneOf)] = &[
    (["killed_while_creating", "failing_while_creating", "full_while_creating"], || Scene {
        setup: vec![Op::create("other")],
        op: Op::create("a"),
    }),
    (["killed_while_copying", "failing_while_copying", "full_while_copying"], || Scene {
        setup: vec![Op::create("a")],
        op: Op::clone("a", &["b"], Means::Copy),
    }),
    (["killed_while_cloning", "failing_while_cloning", "full_while_cloning"], || Scene {
        setup: vec![Op::create("a")],
        op: Op::clone("a", &["b"], Means::Snapshot),
    }),
    (["killed_while_cloning_many", "failing_while_cloning_many", "full_while_cloning_many"], || Scene {
        setup: vec![Op::create("a")],
        op: Op::clone("a", &["b", "c", "d"], Means::Either),
    }),
    (["killed_while_cloning_a_clone", "failing_while_cloning_a_clone", "full_while_cloning_a_clone"], || {
        Scene {
            setup: vec![Op::create("a"), Op::clone("a", &["b"], Means::Either), Op::write("b", "own", "x")],
            op: Op::clone("b", &["c"], Means::Either),
        }
    }),
    (["killed_while_snapshotting", "failing_while_snapshotting", "full_while_snapshotting"], || Scene {
        setup: vec![Op::create("a")],
        op: Op::snapshot("a"),
    }),
    (
        [
            "killed_while_snapshotting_again",
            "failing_while_snapshotting_again",
            "full_while_snapshotting_again",
        ],
        || Scene { setup: history(), op: Op::snapshot("a") },
    ),
    (["killed_while_restoring", "failing_while_restoring", "full_while_restoring"], || Scene {
        setup: history(),
        op: Op::restore("a", "snap0"),
    }),
    (["killed_while_restoring_anew", "failing_while_restoring_anew", "full_while_restoring_anew"], || {
        Scene { setup: history(), op: Op::restore_as("a", "snap0", "b") }
    }),
    (
        [
            "killed_while_destroying_a_snapshot",
            "failing_while_destroying_a_snapshot",
            "full_while_destroying_a_snapshot",
        ],
        || Scene { setup: history(), op: Op::destroy_snapshot("a", "snap0") },
    ),
    (["killed_while_destroying", "failing_while_destroying", "full_while_destroying"], || Scene {
        setup: vec![Op::create("a"), Op::create("other")],
        op: Op::destroy("a", Reach::Only),
    }),
    (
        [
            "killed_while_destroying_a_clone",
            "failing_while_destroying_a_clone",
            "full_while_destroying_a_clone",
        ],
        || Scene {
            setup: vec![Op::create("a"), Op::clone("a", &["b"], Means::Either)],
            op: Op::destroy("b", Reach::Only),
        },
    ),
    (
        [
            "killed_while_destroying_with_snapshots",
            "failing_while_destroying_with_snapshots",
            "full_while_destroying_with_snapshots",
        ],
        || Scene { setup: history(), op: Op::destroy("a", Reach::Snapshots) },
    ),
    (
        [
            "killed_while_destroying_a_family",
            "failing_while_destroying_a_family",
            "full_while_destroying_a_family",
        ],
        || Scene {
            setup: vec![Op::create("a"), Op::clone("a", &["b", "c"], Means::Either), Op::snapshot("b")],
            op: Op::destroy("a", Reach::Dependents),
        },
    ),
    (["killed_while_renaming", "failing_while_renaming", "full_while_renaming"], || Scene {
        setup: vec![Op::create("a"), Op::clone("a", &["b"], Means::Copy), Op::write("a", "own", "x")],
        op: Op::rename("a", "z"),
    }),
    (
        [
            "killed_while_renaming_with_snapshots",
            "failing_while_renaming_with_snapshots",
            "full_while_renaming_with_snapshots",
        ],
        || Scene { setup: history(), op: Op::rename("a", "z") },
    ),
    (["killed_while_flattening", "failing_while_flattening", "full_while_flattening"], || Scene {
        setup: vec![Op::create("a"), Op::clone("a", &["b"], Means::Either), Op::write("b", "own", "x")],
        op: Op::flatten("b"),
    }),
    (
        ["killed_while_renaming_a_clone", "failing_while_renaming_a_clone", "full_while_renaming_a_clone"],
        || Scene {
            setup: vec![Op::create("a"), Op::clone("a", &["b"], Means::Snapshot), Op::snapshot("b")],
            op: Op::rename("b", "z"),
        },
    ),
    (["killed_while_promoting", "failing_while_promoting", "full_while_promoting"], || Scene {
        setup: vec![
            Op::create("a"),
            Op::snapshot("a"),
            Op::clone("a@snap0", &["b"], Means::Snapshot),
            Op::clone("a", &["c"], Means::Snapshot),
            Op::snapshot("b"),
        ],
        op: Op::promote("b"),
    }),
    (["killed_while_adopting", "failing_while_adopting", "full_while_adopting"], || Scene {
        setup: vec![Op::plant("lxc")],
        op: Op::clone("lxc", &["b"], Means::Copy),
    }),
];

/// Scenes without a full pool: a limit takes no space, and on one where `e2fsck` cannot write either, a larger ext4 may get an empty
/// `lost+found`.
const WITH_SPACE: [(Fault, &str, SceneOf); 4] = [
    (Fault::Kill, "killed_while_limiting", limiting),
    (Fault::Error, "failing_while_limiting", limiting),
    (Fault::Kill, "killed_while_resizing", resizing),
    (Fault::Error, "failing_while_resizing", resizing),
];

fn limiting() -> Scene {
    Scene {
        setup: vec![Op::create("a"), Op::write("a", "state", "one")],
        op: Op::Quota { name: "a".to_owned(), limit: 48 << 20 },
    }
}

fn resizing() -> Scene {
    Scene {
        setup: vec![Op::create("a"), Op::write("a", "state", "one")],
        op: Op::Resize { name: "a".to_owned(), size: 96 << 20 },
    }
}

/// A container with two snapshots, changed after each.
pub(super) fn history() -> Vec<Op> {
    vec![
        Op::create("a"),
        Op::snapshot("a"),
        Op::write("a", "state", "one"),
        Op::snapshot("a"),
        Op::write("a", "state", "two"),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let faults = [Fault::Kill, Fault::Error, Fault::Full];
    let of = |(names, scene): &([&'static str; 3], SceneOf)| {
        let (names, scene) = (*names, *scene);
        faults.into_iter().zip(names).map(move |(fault, name)| {
            Case::new(Section::Faults, name, move |bench| broken_everywhere(bench, &scene(), fault))
        })
    };
    let with_space = WITH_SPACE.map(|(fault, name, scene)| {
        Case::new(Section::Faults, name, move |bench| broken_everywhere(bench, &scene(), fault))
    });
    SCENES.iter().flat_map(of).chain(with_space).collect()
}

/// Returns ground for a scene: one that can be filled, or one that keeps limits, where that is what it takes.
fn ground_for<'a>(rig: &'a dyn Rig, scene: &Scene, fault: Fault) -> Result<Bench<'a>, Missing> {
    match (fault, &scene.op) {
        (Fault::Full, _) => Bench::open_small(rig),
        (_, Op::Quota { .. }) if rig.store().quota().is_some() => Bench::open_limited(rig),
        _ => Bench::open(rig),
    }
}

/// What an undisturbed run tells.
struct Undisturbed {
    before: View,
    after: View,
    steps: Vec<String>,
}

fn broken_everywhere(bench: &Bench<'_>, scene: &Scene, fault: Fault) -> Verdict {
    if bench.rig.direct().is_some() && scene.setup.iter().any(|op| matches!(op, Op::Plant { .. })) {
        return Ok(Proof::Skipped("a store that has containers of LXC".to_owned()));
    }
    if fault == Fault::Kill && bench.rig.lifetime() == Lifetime::Process {
        return Ok(Proof::Skipped("a store that outlives its process".to_owned()));
    }
    let sample = match ground_for(bench.rig, scene, fault) {
        Ok(ground) => ground,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    let plain = match undisturbed(&sample, scene)? {
        Ok(plain) => plain,
        Err(error) if bench.rig.direct().is_some() && error.kind() == ErrorKind::Unsupported => {
            return Ok(Proof::Skipped("a store that can be mounted".to_owned()));
        }
        Err(refused) if matches!(refused.kind(), ErrorKind::Unsupported | ErrorKind::HasDependents) => {
            return Ok(Proof::Refused);
        }
        Err(error) if fault == Fault::Full && error.kind() == ErrorKind::NoSpace => {
            return Ok(Proof::Skipped("a small pool with room for it".to_owned()));
        }
        Err(error) => return Err(Failure::from(error).during("the undisturbed run")),
    };
    claim!(!plain.steps.is_empty() || plain.before == plain.after, "the operation announces no effect");
    for (n, step) in plain.steps.iter().enumerate().filter(|(n, _)| is_broken_at(*n, fault)) {
        let renewed = bench.rig.renewed();
        let rig = renewed.as_deref().unwrap_or(bench.rig);
        let ground = match ground_for(rig, scene, fault) {
            Ok(ground) => ground,
            Err(missing) => return Ok(Proof::Skipped(missing.0)),
        };
        broken_at(&ground, scene, fault, n, &plain)
            .map_err(|e| e.during(&format!("{fault:?} at {n} `{step}`")))?;
    }
    Ok(Proof::Works)
}

/// In an emulated machine the three faults share the steps of an operation.
fn is_broken_at(step: usize, fault: Fault) -> bool {
    let share = match fault {
        Fault::Kill => 0,
        Fault::Error => 1,
        Fault::Full => 2,
    };
    super::Scale::of_run().pick(step % 3 == share, true, true)
}

fn undisturbed(bench: &Bench<'_>, scene: &Scene) -> Verdict<Result<Undisturbed, Error>> {
    let yard = Yard::open(bench)?;
    for op in &scene.setup {
        if let Err(error) = yard.try_make(op) {
            return Ok(Err(error));
        }
    }
    let before = yard.view()?;
    let (recorder, context) = Recorder::listening();
    if let Err(error) = yard.apply(&context, &scene.op) {
        let after = yard.view()?;
        claim!(before == after, "refused, but it changed: {}", before.differences(&after));
        return Ok(Err(error));
    }
    Ok(Ok(Undisturbed { before, after: yard.view()?, steps: recorder.names() }))
}

fn broken_at(
    bench: &Bench<'_>,
    scene: &Scene,
    fault: Fault,
    step: usize,
    plain: &Undisturbed,
) -> Verdict<()> {
    Yard::open(bench)?.make_all(&scene.setup)?;
    let strangers = Strangers::plant(bench)?;
    match fault {
        Fault::Kill => kill_at(bench, scene, step)?,
        Fault::Error => fail_at(bench, scene, step, plain)?,
        Fault::Full => full_at(bench, scene, step)?,
    }
    healed(bench, scene, plain, &strangers)
}

/// Runs the operation in another process that kills itself at a step.
fn kill_at(bench: &Bench<'_>, scene: &Scene, step: usize) -> Verdict<()> {
    let work = Work::Op { op: scene.op.clone(), disturbance: Some((Disturbance::Kill, step)) };
    let answer = Task::on(bench.rig, bench.ground(), work).start()?.finish()?;
    claim!(answer.is_none(), "the worker was not killed: {answer:?}");
    Ok(())
}

/// Runs the operation with an error at a step; whoever goes on with the same engine has it finished or undone by `gc`.
fn fail_at(bench: &Bench<'_>, scene: &Scene, step: usize, plain: &Undisturbed) -> Verdict<()> {
    let yard = Yard::open(bench)?;
    let context =
        AtStep::context(step, |name| Err(Error::new(ErrorKind::Io, format!("injected at `{name}`"))));
    let result = yard.apply(&context, &scene.op);
    settle(&yard).map_err(|e| e.during(&format!("it answered {result:?}")))?;
    before_or_after(&yard, plain, "at once").map_err(|e| e.during(&format!("it answered {result:?}")))?;
    Ok(())
}

/// Runs the operation with a disk that is full from a step on, and gives the space back.
///
/// What it answers does not count here, and nor does what is seen at once: going back may need space as well. In a process
/// of its own, because a full disk under a mapped file is a signal and not an error.
fn full_at(bench: &Bench<'_>, scene: &Scene, step: usize) -> Verdict<()> {
    if bench.rig.lifetime() == Lifetime::Process {
        let yard = Yard::open(bench)?;
        let _any = yard.apply(&filling(step, bench.rig.filler(bench.ground())), &scene.op);
        return Ok(());
    }
    let disturbance = Some((Disturbance::Full, step));
    let work = Work::Op { op: scene.op.clone(), disturbance };
    let answer = Task::on(bench.rig, bench.ground(), work).start()?.finish()?;
    bench.rig.give_back(bench.ground());
    claim!(answer.is_some(), "the worker died of a signal");
    Ok(())
}

/// Has everything finished or undone that was left.
///
/// Other cases of this process start workers; between `fork` and `exec` a worker holds every lock that was open, also the
/// one that says that an operation's owner is alive. So a moment later the answer may be another one.
pub(super) fn settle(yard: &Yard<'_>) -> Verdict<()> {
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        yard.engine.gc(&Context::default())?;
        let left = yard.engine.check(&yard.lxcpath)?.findings;
        let unfinished = left.iter().any(|finding| finding.problem == Problem::UnfinishedOperation);
        if !unfinished || Instant::now() > patience {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Time {
    Before,
    After,
}

fn before_or_after(yard: &Yard<'_>, plain: &Undisturbed, when: &str) -> Verdict<Time> {
    let seen = yard.view().map_err(|e| e.during(when))?;
    if seen == plain.after {
        return Ok(Time::After);
    }
    let (before, after) = (plain.before.differences(&seen), plain.after.differences(&seen));
    claim!(seen == plain.before, "{when} it is neither as before ({before}) nor as after ({after})");
    Ok(Time::Before)
}

fn healed(bench: &Bench<'_>, scene: &Scene, plain: &Undisturbed, strangers: &Strangers) -> Verdict<()> {
    let yard = Yard::open(bench)?;
    let time = before_or_after(&yard, plain, "after recovery")?;
    settle(&yard)?;
    // A container of LXC whose adoption did not happen is no damage: the next use adopts it.
    let is_planted =
        |name: &str| scene.setup.iter().any(|op| matches!(op, Op::Plant { name: n } if n == name));
    let mut findings = yard.engine.check(&yard.lxcpath)?.findings;
    findings.retain(|finding| !is_planted(&finding.subject));
    claim!(findings.is_empty(), "the check finds {findings:?}");
    drop(yard);
    strangers.expect_untouched()?;
    nothing_left(bench)?;
    let once = on_disk(bench)?;
    let yard = Yard::open(bench)?;
    before_or_after(&yard, plain, "after a second recovery")?;
    let twice = on_disk(bench)?;
    claim!(once == twice, "the second recovery changed {:?} {:?}", once.0.diff(&twice.0), (once.1, twice.1));
    if time == Time::Before {
        yard.apply(&Context::default(), &scene.op).map_err(|e| Failure::from(e).during("the next try"))?;
        let done = before_or_after(&yard, plain, "after the next try")?;
        claim!(done == Time::After, "the next try did nothing");
    }
    drop(yard);
    strangers.expect_untouched()
}

/// Fails if an operation left something in the engine's own directories or held something open.
pub(super) fn nothing_left(bench: &Bench<'_>) -> Verdict<()> {
    leak::check(bench.rig, bench.ground())?;
    let root = bench.ground().root();
    for directory in ["staging", "trash"] {
        let entries = std::fs::read_dir(root.join("lxc/.keiki").join(directory));
        let left: Vec<_> = entries.into_iter().flatten().flatten().map(|e| e.path()).collect();
        claim!(left.is_empty(), "left in {directory}: {left:?}");
    }
    Ok(())
}

fn on_disk(bench: &Bench<'_>) -> Verdict<(Description, Vec<String>)> {
    let below = Tree::at(&bench.ground().lxcpath())?.describe()?;
    Ok((below, bench.rig.objects(bench.ground())?))
}

/// Directories and files in the lxcpath that are nobody's containers, and an object in the pool of a store that has one.
struct Strangers {
    directories: BTreeMap<std::path::PathBuf, Description>,
    object: Option<Box<dyn Stranger>>,
}

impl Strangers {
    fn plant(bench: &Bench<'_>) -> Verdict<Self> {
        let lxcpath = bench.ground().lxcpath();
        let mut directories = BTreeMap::new();
        for name in ["lost+found", "b.bak", ".hidden"] {
            let path = lxcpath.join(name);
            std::fs::create_dir_all(path.join("rootfs"))?;
            std::fs::write(path.join("rootfs/precious"), name)?;
            directories.insert(path.clone(), Tree::at(&path)?.describe()?);
        }
        let mut object = None;
        if bench.promises()?.residence == Residence::Named {
            // Its home is not wanted in the lxcpath, where it would be a container without a configuration.
            let place = bench.place("stranger", None)?;
            std::fs::remove_dir(lxcpath.join("stranger"))?;
            object = bench.rig.plant_stranger(bench.ground(), &place).ok();
        }
        Ok(Self { directories, object })
    }

    fn expect_untouched(&self) -> Verdict<()> {
        if let Some(object) = &self.object {
            object.expect_untouched()?;
        }
        for (path, before) in &self.directories {
            let after = Tree::at(path)?.describe()?;
            claim!(
                *before == after,
                "`{}` is not ours and changed: {:?}",
                path.display(),
                before.diff(&after)
            );
        }
        Ok(())
    }
}
