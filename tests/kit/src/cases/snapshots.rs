//! Generations: volumes that begin as others, are changed, and become the origin of the next.
//!
//! The same edits are made to a plain directory; after every generation the volume must show what the directory shows. The
//! cases are those of containerd's and podman's suites, and the ones that the former wishes for but never wrote. Times of
//! last modification are left out here (the two are edited one after the other); `fidelity` holds them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use keiki_core::capability::SnapshotStyle;
use keiki_core::context::Context;
use keiki_core::mount_plan::AttachMode;
use keiki_core::volume::{Volume, VolumeRole};
use keiki_tree::Description;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::bench::{Bench, Content, Tree};
use crate::case::{Case, Section};
use crate::verdict::{Failure, Proof, Verdict};
use crate::{cases, claim, claim_eq};

/// What is done to a tree in one generation.
type Edit = fn(&Path) -> io::Result<()>;

/// Claims that are shown by a base and its edits, one a generation.
const GENERATIONS: &[(&str, &[Edit])] = &[
    (
        "an_edit_of_equal_size_is_seen",
        &[|t| fs::write(t.join("f"), "aaaa"), |t| fs::write(t.join("f"), "bbbb")],
    ),
    (
        "deleted_files_stay_deleted",
        &[three_files, |t| fs::remove_file(t.join("a")), |t| fs::write(t.join("d"), "4")],
    ),
    (
        "a_deleted_file_can_come_back",
        &[three_files, |t| fs::remove_file(t.join("a")), |t| fs::write(t.join("a"), "again")],
    ),
    (
        "a_directory_made_anew_hides_what_it_held",
        &[
            |t| fs::create_dir_all(t.join("d/inner")).and_then(|()| fs::write(t.join("d/old"), "x")),
            |t| fs::remove_dir_all(t.join("d")).and_then(|()| fs::create_dir(t.join("d"))),
            |t| fs::write(t.join("d/new"), "x"),
        ],
    ),
    (
        "deleted_trees_stay_deleted",
        &[
            |t| fs::create_dir_all(t.join("d/e/f")).and_then(|()| fs::write(t.join("d/e/f/g"), "x")),
            |t| fs::remove_dir_all(t.join("d/e")),
            |t| fs::remove_dir(t.join("d")),
        ],
    ),
    (
        "new_owners_are_kept_with_their_content",
        &[
            three_files,
            |t| ["a", "b", "c"].iter().try_for_each(|f| chown(t.join(f), Some(1000), Some(70_000))),
            |t| chown(t.join("a"), Some(0), Some(0)),
        ],
    ),
    (
        "new_modes_are_kept",
        &[
            three_files,
            |t| fs::set_permissions(t.join("a"), Permissions::from_mode(0o4711)),
            |t| fs::set_permissions(t.join("b"), Permissions::from_mode(0o000)),
        ],
    ),
    (
        "modes_of_directories_are_kept_through_generations",
        &[
            |t| {
                fs::create_dir(t.join("d"))
                    .and_then(|()| fs::set_permissions(t.join("d"), Permissions::from_mode(0o700)))
            },
            |t| fs::write(t.join("d/f"), "x"),
            |t| fs::set_permissions(t.join("d"), Permissions::from_mode(0o1777)),
            |t| fs::remove_dir_all(t.join("d")).and_then(|()| fs::create_dir(t.join("d"))),
        ],
    ),
    ("files_move_within_a_directory", &[three_files, |t| fs::rename(t.join("a"), t.join("z"))]),
    (
        "files_move_between_directories",
        &[
            three_files,
            |t| fs::create_dir(t.join("d")).and_then(|()| fs::rename(t.join("a"), t.join("d/a"))),
            |t| fs::rename(t.join("d/a"), t.join("back")),
        ],
    ),
    ("a_file_replaces_another_by_rename", &[three_files, |t| fs::rename(t.join("a"), t.join("b"))]),
    (
        "directories_move_as_mv_moves_them",
        &[
            |t| fs::create_dir(t.join("d")).and_then(|()| fs::write(t.join("d/f"), "x")),
            |t| move_directory(&t.join("d"), &t.join("e")),
            |t| fs::write(t.join("e/g"), "x"),
        ],
    ),
    ("files_of_the_parent_get_further_links", &[three_files, |t| fs::hard_link(t.join("a"), t.join("link"))]),
    (
        "a_file_becomes_a_directory",
        &[
            three_files,
            |t| fs::remove_file(t.join("a")).and_then(|()| fs::create_dir(t.join("a"))),
            |t| fs::write(t.join("a/inside"), "x"),
        ],
    ),
    (
        "a_directory_becomes_a_link",
        &[
            |t| fs::create_dir(t.join("d")).and_then(|()| fs::write(t.join("d/f"), "x")),
            |t| fs::remove_dir_all(t.join("d")).and_then(|()| symlink("/etc", t.join("d"))),
        ],
    ),
    (
        "a_link_gets_another_target",
        &[
            |t| symlink("one", t.join("l")),
            |t| fs::remove_file(t.join("l")).and_then(|()| symlink("two", t.join("l"))),
        ],
    ),
    (
        "sockets_and_fifos_appear_in_a_generation",
        &[three_files, |t| {
            mknodat(CWD, t.join("socket"), FileType::Socket, Mode::from_raw_mode(0o600), 0)?;
            Ok(mknodat(CWD, t.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)?)
        }],
    ),
    (
        "attributes_are_set_changed_and_removed",
        &[
            |t| three_files(t).and_then(|()| xattr::set(t.join("a"), "user.x", b"1")),
            |t| {
                xattr::set(t.join("a"), "user.x", b"2").and_then(|()| xattr::set(t.join("b"), "user.y", b"1"))
            },
            |t| xattr::remove(t.join("a"), "user.x"),
        ],
    ),
    (
        "files_grow_and_shrink",
        &[
            |t| fs::write(t.join("f"), vec![1; 300_000]),
            |t| fs::OpenOptions::new().write(true).open(t.join("f"))?.set_len(5),
            |t| fs::OpenOptions::new().write(true).open(t.join("f"))?.set_len(1 << 20),
        ],
    ),
    (
        "the_roots_mode_is_inherited",
        &[
            |t| fs::set_permissions(t, Permissions::from_mode(0o711)),
            three_files,
            |t| fs::set_permissions(t, Permissions::from_mode(0o750)),
            |t| fs::write(t.join("d"), "x"),
        ],
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let told = GENERATIONS.iter().map(|(name, edits)| {
        Case::new(Section::Snapshots, name, move |bench| each_generation_shows(bench, edits)).mounted()
    });
    let others = cases![Snapshots:
        an_empty_volume_is_0755_and_empty,
        twenty_generations_show_everything,
        older_snapshots_show_what_was_then,
        destroying_a_snapshot_leaves_the_others,
        a_clone_of_a_snapshot_is_writable,
        a_snapshot_cannot_be_written_by_accident,
        a_clone_of_a_clone_of_a_clone_is_whole,
        an_open_file_survives_a_snapshot,
    ];
    told.chain(others).collect()
}

fn three_files(tree: &Path) -> io::Result<()> {
    ["a", "b", "c"].iter().try_for_each(|name| fs::write(tree.join(name), name))
}

/// An overlay may answer `EXDEV` for a directory from below; programs copy then.
fn move_directory(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::create_dir(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
            fs::remove_dir_all(from)
        }
        other => other,
    }
}

fn each_generation_shows(bench: &Bench<'_>, edits: &[Edit]) -> Verdict {
    let plain = bench.ground().root().join("plain");
    fs::create_dir(&plain)?;
    fs::set_permissions(&plain, Permissions::from_mode(0o755))?;
    let mut tip = bench.create("g0")?;
    for (generation, edit) in (0..).zip(edits) {
        if generation > 0 {
            tip = bench.next_generation(&tip, &format!("g{generation}"), generation)?;
        }
        let tree = bench.attach(&tip, AttachMode::ReadWrite)?;
        edit(&tree.path()).map_err(|e| Failure::from(e).during(&format!("generation {generation}")))?;
        drop(tree);
        bench.wait(bench.store.detach(&Context::default(), &tip))?;
        edit(&plain)?;
        shows(bench, &tip, &Tree::at(&plain)?.describe()?, &format!("generation {generation}"))?;
    }
    Ok(Proof::Works)
}

fn shows(bench: &Bench<'_>, volume: &Volume, expected: &Description, what: &str) -> Verdict<()> {
    let Content::Tree(found) = bench.content(volume)? else { return Ok(()) };
    let differences: Vec<_> = expected.diff(&found).into_iter().filter(|d| d.fact != "mtime").collect();
    let shown: Vec<_> = differences.iter().take(6).map(ToString::to_string).collect();
    claim!(differences.is_empty(), "{what} shows {}", shown.join("; "));
    Ok(())
}

fn an_empty_volume_is_0755_and_empty(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(needs_mounts());
    }
    let volume = bench.create("a")?;
    let tree = bench.attach(&volume, AttachMode::ReadOnly)?;
    let mode = fs::metadata(tree.path())?.permissions().mode() & 0o7777;
    claim!(mode == 0o755, "the root of an empty volume has mode {mode:04o}");
    claim!(fs::read_dir(tree.path())?.next().is_none(), "an empty volume holds something");
    Ok(Proof::Works)
}

fn twenty_generations_show_everything(bench: &Bench<'_>) -> Verdict {
    if bench.store.clones().is_none() {
        return Ok(Proof::Refused);
    }
    let mut tip = bench.create("g0")?;
    let generations = super::Scale::of_run().pick(6, 20, 20);
    for generation in 1..=generations {
        bench.write(&tip, &format!("of{generation}"), generation.to_string().as_bytes())?;
        tip = bench.next_generation(&tip, &format!("g{generation}"), generation)?;
    }
    let held = match bench.content(&tip)? {
        Content::Tree(tree) => tree.len() - 1,
        Content::Files(files) => files.len(),
    };
    claim_eq!(u32::try_from(held).ok(), Some(generations), "files in the last generation");
    Ok(Proof::Works)
}

/// Takes a snapshot and returns it with the volume that goes on as the head.
fn snapshot(bench: &Bench<'_>, head: Volume, n: usize) -> Verdict<(Volume, Volume)> {
    let snapshot = bench.snapshot_of(&head, "a", &format!("s{n}"))?;
    if bench.promises()?.snapshot_style == SnapshotStyle::Beside {
        return Ok((snapshot, head));
    }
    let next = bench.place_as(&format!("a{n}"), VolumeRole::Successor, Some(&head))?;
    bench.clone_into(&head, &next)?;
    Ok((snapshot, next))
}

fn history(bench: &Bench<'_>) -> Verdict<(Volume, Vec<(Volume, Content)>)> {
    let mut head = bench.create_filled("a")?;
    let mut taken = Vec::new();
    for n in 0..4 {
        bench.write(&head, "state", n.to_string().as_bytes())?;
        bench.write(&head, &format!("of{n}"), b"x")?;
        let then = bench.content(&head)?;
        let (made, next) = snapshot(bench, head, n)?;
        head = next;
        taken.push((made, then));
    }
    bench.write(&head, "state", b"now")?;
    Ok((head, taken))
}

fn older_snapshots_show_what_was_then(bench: &Bench<'_>) -> Verdict {
    let (_, taken) = history(bench)?;
    for (n, (snapshot, then)) in taken.iter().enumerate() {
        then.expect(&bench.content(snapshot)?, &format!("snapshot {n}"))?;
        if bench.promises()?.snapshot_of_snapshot {
            let restored = bench.clone_of(snapshot, &format!("restored{n}"))?;
            then.expect(&bench.content(&restored)?, &format!("the clone of snapshot {n}"))?;
        }
    }
    Ok(Proof::Works)
}

fn destroying_a_snapshot_leaves_the_others(bench: &Bench<'_>) -> Verdict {
    let (head, mut taken) = history(bench)?;
    let now = bench.content(&head)?;
    let (middle, _) = taken.remove(1);
    bench.wait(bench.store.destroy(&Context::default(), &middle))?;
    now.expect(&bench.content(&head)?, "the head after a snapshot was destroyed")?;
    for (snapshot, then) in &taken {
        then.expect(&bench.content(snapshot)?, "a snapshot after another was destroyed")?;
    }
    Ok(Proof::Works)
}

fn a_clone_of_a_snapshot_is_writable(bench: &Bench<'_>) -> Verdict {
    if !bench.promises()?.snapshot_of_snapshot {
        return Ok(Proof::Refused);
    }
    let source = bench.create_filled("a")?;
    let snapshot = bench.snapshot_of(&source, "a", "s0")?;
    let before = bench.content(&snapshot)?;
    let clone = bench.clone_of(&snapshot, "b")?;
    bench.write(&clone, "who", b"changed")?;
    before.expect(&bench.content(&snapshot)?, "the snapshot whose clone was written")?;
    claim!(before != bench.content(&clone)?, "the write is lost");
    Ok(Proof::Works)
}

fn a_snapshot_cannot_be_written_by_accident(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(needs_mounts());
    }
    let source = bench.create_filled("a")?;
    let snapshot = bench.snapshot_of(&source, "a", "s0")?;
    let tree = bench.attach(&snapshot, AttachMode::ReadOnly)?;
    let error = fs::write(tree.path().join("x"), "x").err().map(|e| e.kind());
    claim!(error == Some(io::ErrorKind::ReadOnlyFilesystem), "writing answers {error:?}");
    Ok(Proof::Refused)
}

fn a_clone_of_a_clone_of_a_clone_is_whole(bench: &Bench<'_>) -> Verdict {
    if bench.store.clones().is_none() {
        return Ok(Proof::Refused);
    }
    let mut tip = bench.create_filled("a")?;
    let before = bench.content(&tip)?;
    for (generation, name) in (1..).zip(["b", "c", "d"]) {
        tip = bench.next_generation(&tip, name, generation)?;
    }
    before.expect(&bench.content(&tip)?, "the third clone")?;
    Ok(Proof::Works)
}

/// Somebody reads a file while its volume is snapshotted and the file is replaced.
fn an_open_file_survives_a_snapshot(bench: &Bench<'_>) -> Verdict {
    if bench.rig.direct().is_some() {
        return Ok(needs_mounts());
    }
    let source = bench.create_filled("a")?;
    let tree = bench.attach(&source, AttachMode::ReadOnly)?;
    let mut open = fs::File::open(tree.path().join("who"))?;
    let (_, head) = snapshot(bench, source, 0)?;
    bench.write(&head, "who", b"changed since, and longer")?;
    let mut text = String::new();
    io::Read::read_to_string(&mut open, &mut text)?;
    claim!(
        text.len() <= "changed since, and longer".len() && !text.is_empty(),
        "the open file reads `{text}`"
    );
    Ok(Proof::Works)
}

fn needs_mounts() -> Proof {
    Proof::Skipped("a store that can be mounted".to_owned())
}
