//! Mount plans: that they say the same each time, become detached mounts, refuse what they must, and cannot be misled by
//! names.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use keiki_core::ErrorKind;
use keiki_core::capability::Residence;
use keiki_core::context::Context;
use keiki_core::mount_plan::{AttachMode, Calls, MountPlan, MountRecipe, execute, execute_by};
use keiki_core::name::ContainerName;
use keiki_core::store::Presence;
use keiki_core::volume::{Placement, Volume, VolumeId, VolumeRole};

use crate::bench::{Bench, Tree};
use crate::case::{Case, Section};
use crate::rig::namespace::mounts_below;
use crate::verdict::{Failure, Proof, Verdict};
use crate::{cases, claim, claim_eq};

/// Directory names that mean something to `mount(2)`, to overlayfs or to a configuration file.
const ODD_NAMES: &[(&str, &str)] = &[
    ("a_comma_in_a_path_is_harmless", "a,b"),
    ("a_colon_in_a_path_is_harmless", "a:b"),
    ("a_backslash_in_a_path_is_harmless", "a\\b"),
    ("a_backslash_before_a_colon_is_harmless", "a\\:b"),
    ("a_space_in_a_path_is_harmless", "a b"),
    ("quotes_in_a_path_are_harmless", "a\"b'c"),
    ("an_equals_sign_in_a_path_is_harmless", "lowerdir=x,upperdir=y"),
    ("a_hash_in_a_path_is_harmless", "#a"),
    ("umlauts_in_a_path_are_harmless", "käse"),
];

pub(super) fn cases() -> Vec<Case> {
    let odd = ODD_NAMES
        .iter()
        .map(|(claim, name)| Case::new(Section::Mounts, claim, move |bench| odd_path(bench, name)));
    let others = cases![Mounts:
        the_same_volume_gives_the_same_plan,
        a_plan_travels_as_data,
        the_mount_table_never_shows_it,
        a_read_only_mount_refuses_every_write,
        a_writable_mount_keeps_what_is_written,
        many_mounts_at_once_show_the_same,
        a_mount_that_is_let_go_holds_nothing,
        a_held_mount_keeps_destroy_honest,
        the_older_calls_show_the_same,
        a_line_break_in_a_path_is_refused,
        a_link_in_place_of_a_volume_is_not_followed,
        a_plan_for_something_gone_is_refused_with_its_path,
        what_is_mounted_inside_stays_inside,
    ];
    others.into_iter().chain(odd).map(Case::mounted).collect()
}

fn plan(bench: &Bench<'_>, volume: &Volume, mode: AttachMode) -> Verdict<MountPlan> {
    Ok(bench.wait(bench.store.attach(&Context::default(), volume, mode))?)
}

fn the_same_volume_gives_the_same_plan(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    for mode in [AttachMode::ReadOnly, AttachMode::ReadWrite, AttachMode::Fill] {
        claim_eq!(plan(bench, &volume, mode)?, plan(bench, &volume, mode)?, "a second plan for {mode:?}");
        claim_eq!(
            plan(bench, &volume, mode)?.read_only,
            mode == AttachMode::ReadOnly,
            "read-only for {mode:?}"
        );
    }
    Ok(Proof::Works)
}

fn a_plan_travels_as_data(bench: &Bench<'_>) -> Verdict {
    let sent = plan(bench, &bench.create_filled("a")?, AttachMode::ReadWrite)?;
    let received: MountPlan = serde_json::from_slice(&serde_json::to_vec(&sent)?)?;
    claim_eq!(received, sent, "the plan that arrived");
    Tree::open(execute(&received)?)?;
    Ok(Proof::Works)
}

fn the_mount_table_never_shows_it(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    let before = mounts_below(Path::new("/"));
    let tree = bench.attach(&volume, AttachMode::ReadWrite)?;
    fs::write(tree.path().join("x"), "x")?;
    let ours: Vec<_> = mounts_below(bench.ground().root());
    let known = before.iter().filter(|point| Path::new(point).starts_with(bench.ground().root())).count();
    claim_eq!(ours.len(), known, "mounts below the ground while it is attached, {ours:?}");
    Ok(Proof::Works)
}

fn a_read_only_mount_refuses_every_write(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    let tree = bench.attach(&volume, AttachMode::ReadOnly)?;
    let root = tree.path();
    let file = root.join("who");
    let writes: [(&str, io::Result<()>); 8] = [
        ("write", fs::write(&file, "x")),
        ("create", fs::write(root.join("new"), "x")),
        ("mkdir", fs::create_dir(root.join("new"))),
        ("unlink", fs::remove_file(&file)),
        ("rename", fs::rename(&file, root.join("new"))),
        ("chmod", fs::set_permissions(&file, fs::Permissions::from_mode(0o600))),
        ("setxattr", xattr::set(&file, "user.x", b"x")),
        ("symlink", symlink("x", root.join("new"))),
    ];
    for (call, result) in writes {
        let kind = result.err().map(|e| e.kind());
        claim_eq!(kind, Some(io::ErrorKind::ReadOnlyFilesystem), "{call} on a read-only mount");
    }
    Ok(Proof::Refused)
}

fn a_writable_mount_keeps_what_is_written(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    bench.write(&volume, "file", b"kept")?;
    let before = bench.content(&volume)?;
    before.expect(&bench.content(&volume)?, "a second look")?;
    Ok(Proof::Works)
}

fn many_mounts_at_once_show_the_same(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    let trees: Vec<_> =
        (0..4).map(|_| bench.attach(&volume, AttachMode::ReadOnly)).collect::<Verdict<_>>()?;
    for tree in &trees {
        claim_eq!(fs::read(tree.path().join("who"))?, b"a", "the file in one of four mounts");
    }
    Ok(Proof::Works)
}

fn a_mount_that_is_let_go_holds_nothing(bench: &Bench<'_>) -> Verdict {
    for round in 0..3 {
        let volume = bench.create_filled("a")?;
        drop(bench.attach(&volume, AttachMode::ReadWrite)?);
        bench.wait(bench.store.detach(&Context::default(), &volume))?;
        bench
            .wait(bench.store.destroy(&Context::default(), &volume))
            .map_err(|e| Failure::from(e).during(&format!("round {round}")))?;
    }
    Ok(Proof::Works)
}

/// Destroying what somebody has mounted either says busy and changes nothing, or takes it out of everybody's reach.
fn a_held_mount_keeps_destroy_honest(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    let tree = bench.attach(&volume, AttachMode::ReadWrite)?;
    match bench.wait(bench.store.destroy(&Context::default(), &volume)) {
        Ok(_) => {
            bench.expect(&volume, Presence::Absent)?;
            Ok(Proof::Works)
        }
        Err(error) => {
            claim_eq!(error.kind(), ErrorKind::Busy, "destroying what is mounted");
            claim_eq!(fs::read(tree.path().join("who"))?, b"a", "the file of the busy volume");
            Ok(Proof::Refused)
        }
    }
}

fn the_older_calls_show_the_same(bench: &Bench<'_>) -> Verdict {
    let source = bench.create_filled("a")?;
    let volume = if bench.store.clones().is_some() { bench.clone_of(&source, "b")? } else { source };
    let plan = plan(bench, &volume, AttachMode::ReadOnly)?;
    let best = Tree::open(execute_by(&plan, Calls::Best)?)?.describe()?;
    for calls in [Calls::OneString, Calls::Classic] {
        let older = Tree::open(execute_by(&plan, calls)?)?.describe()?;
        claim!(best == older, "{calls:?} shows {:?}", best.diff(&older));
    }
    Ok(Proof::Works)
}

fn placed_below(
    bench: &Bench<'_>,
    directory: &str,
    name: &str,
) -> Verdict<Option<(Placement, keiki_core::Result<Volume>)>> {
    if bench.promises()?.residence != Residence::Home {
        return Ok(None);
    }
    let home = bench.ground().lxcpath().join(directory).join(name);
    fs::create_dir_all(&home)?;
    let placement = Placement {
        id: VolumeId::generate(),
        container: ContainerName::parse(name)?,
        role: VolumeRole::Head,
        home,
        options: bench.ground().options().clone(),
    };
    let volume = bench.store.place(&placement, None).map(|source| Volume::new(placement.id, source));
    Ok(Some((placement, volume)))
}

/// A path with an odd name either works whole or is refused before anything is made.
fn odd_path(bench: &Bench<'_>, directory: &str) -> Verdict {
    let Some((placement, placed)) = placed_below(bench, directory, "a")? else {
        return Ok(Proof::Skipped("a store whose volumes live in the container's directory".to_owned()));
    };
    let made = placed.and_then(|volume| {
        bench.wait(bench.store.create(&Context::default(), &volume))?;
        Ok(volume)
    });
    let volume = match made {
        Ok(volume) => volume,
        Err(error) => {
            claim_eq!(error.kind(), ErrorKind::InvalidArgument, "the kind of {error:?}");
            claim!(fs::read_dir(&placement.home)?.next().is_none(), "something was made before the refusal");
            return Ok(Proof::Refused);
        }
    };
    bench.write(&volume, "who", b"odd")?;
    let tree = bench.attach(&volume, AttachMode::ReadOnly)?;
    claim_eq!(fs::read(tree.path().join("who"))?, b"odd", "what was written below `{directory}`");
    drop(tree);
    if bench.store.clones().is_some() {
        clone_below(bench, directory, &volume)?;
    }
    Ok(Proof::Works)
}

fn clone_below(bench: &Bench<'_>, directory: &str, source: &Volume) -> Verdict<()> {
    let home = bench.ground().lxcpath().join(directory).join("clone");
    fs::create_dir_all(&home)?;
    let mut placement = bench.placement("clone", VolumeRole::Head)?;
    placement.home = home;
    let target = Volume::new(placement.id, bench.store.place(&placement, Some(source))?);
    bench.clone_into(source, &target)?;
    bench.content(source)?.expect(&bench.content(&target)?, "the clone")?;
    bench.wait(bench.store.destroy(&Context::default(), &target))?;
    bench.expect(source, Presence::Complete(source.id))
}

fn a_line_break_in_a_path_is_refused(bench: &Bench<'_>) -> Verdict {
    let Some((_, placed)) = placed_below(bench, "a\nlxc.hook.start = evil", "a")? else {
        return Ok(Proof::Skipped("a store whose volumes live in the container's directory".to_owned()));
    };
    claim_eq!(placed.err().map(|e| e.kind()), Some(ErrorKind::InvalidArgument), "a place with a line break");
    Ok(Proof::Refused)
}

/// Whoever can write an lxcpath could put a link to `/` where a volume was.
fn a_link_in_place_of_a_volume_is_not_followed(bench: &Bench<'_>) -> Verdict {
    if bench.promises()?.residence != Residence::Home {
        return Ok(Proof::Skipped("a store whose volumes live in the container's directory".to_owned()));
    }
    let target = bench.ground().root().join("elsewhere");
    fs::create_dir(&target)?;
    fs::write(target.join("secret"), "x")?;
    let volume = bench.place("a", None)?;
    let location = volume.source.location();
    let place = Path::new(location.rsplit(':').next().unwrap_or(location));
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    symlink(&target, place)?;
    let context = Context::default();
    claim!(bench.wait(bench.store.create(&context, &volume)).is_err(), "create went through a link");
    claim!(
        bench.wait(bench.store.attach(&context, &volume, AttachMode::ReadOnly)).is_err(),
        "attach followed a link"
    );
    claim!(bench.wait(bench.store.destroy(&context, &volume)).is_err(), "destroy took a link for a volume");
    claim_eq!(fs::read(target.join("secret"))?, b"x", "the file behind the link");
    Ok(Proof::Refused)
}

fn a_plan_for_something_gone_is_refused_with_its_path(bench: &Bench<'_>) -> Verdict {
    let path = bench.ground().lxcpath().join("gone");
    let plan = MountPlan { recipe: MountRecipe::Directory { path: path.clone() }, read_only: true };
    let Err(error) = execute(&plan) else {
        return Err(Failure::new("a directory that is not there was mounted"));
    };
    claim!(error.full_message().contains("gone"), "the error does not name it: {error:?}");
    claim_eq!(error.kind(), ErrorKind::NotFound, "the kind");
    Ok(Proof::Refused)
}

/// A mount of the machine below a volume is not part of it.
fn what_is_mounted_inside_stays_inside(bench: &Bench<'_>) -> Verdict {
    let volume = bench.create_filled("a")?;
    let held = match bench.rig.hold_busy(&volume) {
        Ok(held) => held,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    let inside = mounts_below(bench.ground().root()).into_iter().find(|point| point.ends_with("/busy"));
    let Some(inside) = inside else {
        return Ok(Proof::Skipped("a rig that mounts inside a volume".to_owned()));
    };
    fs::write(Path::new(&inside).join("precious"), "x")?;
    let tree = bench.attach(&volume, AttachMode::ReadOnly)?;
    claim!(!tree.path().join("busy/precious").exists(), "the mount of the machine is seen in the volume");
    drop(tree);
    if let Err(error) = bench.wait(bench.store.destroy(&Context::default(), &volume)) {
        claim_eq!(error.kind(), ErrorKind::Busy, "the kind of {error:?}");
    }
    let left = mounts_below(bench.ground().root()).into_iter().find(|point| point.ends_with("/busy"));
    let left = left.ok_or_else(|| Failure::new("the mount of the machine is gone"))?;
    claim_eq!(fs::read(Path::new(&left).join("precious"))?, b"x", "the file in the mount of the machine");
    drop(held);
    Ok(Proof::Works)
}
