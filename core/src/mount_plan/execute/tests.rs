//! On the real kernel, where it lets us mount. Every mount is detached, so there is nothing to clean up.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};

use super::*;
use crate::mount_plan::Upper;
use crate::units::Bytes;

const EVERY_WAY: [Calls; 3] = [Calls::Best, Calls::OneString, Calls::Classic];

struct Ground(tempfile::TempDir);

impl Ground {
    fn make() -> Option<Self> {
        let ground = Self(tempfile::tempdir().unwrap());
        if execute(&ground.plan(MountRecipe::Directory { path: ground.0.path().to_owned() })).is_ok() {
            return Some(ground);
        }
        println!("skipped: needs CAP_SYS_ADMIN and Linux 5.12");
        None
    }

    fn plan(&self, recipe: MountRecipe) -> MountPlan {
        MountPlan { recipe, read_only: false }
    }

    /// Makes a directory with files in it.
    fn layer(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(&path).unwrap();
        for (file, content) in files {
            fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
            fs::write(path.join(file), content).unwrap();
        }
        path
    }

    fn upper(&self, name: &str) -> Upper {
        Upper::Directory { upper: self.layer(name, &[]), work: self.layer(&format!("{name}.work"), &[]) }
    }
}

fn stack(lowers: &[PathBuf], upper: Upper) -> MountPlan {
    let recipe = MountRecipe::Overlay { lowers: lowers.to_vec(), upper, options: Vec::new() };
    MountPlan { recipe, read_only: false }
}

fn read(root: &OwnedFd, name: &str) -> Option<String> {
    let file = openat(root, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    fs::File::from(file).read_to_string(&mut text).unwrap();
    Some(text)
}

fn write(root: &OwnedFd, name: &str, text: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(root, name, flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, text.as_bytes()).map(|_| ())
}

#[test]
fn a_directory_is_mounted_and_refuses_writes_when_asked() {
    let Some(ground) = Ground::make() else { return };
    let path = ground.layer("d", &[("f", "1")]);
    let mut plan = ground.plan(MountRecipe::Directory { path: path.clone() });
    write(&execute(&plan).unwrap(), "g", "2").unwrap();
    assert_eq!(fs::read_to_string(path.join("g")).unwrap(), "2");
    plan.read_only = true;
    let mount = execute(&plan).unwrap();
    assert_eq!(read(&mount, "f").as_deref(), Some("1"));
    assert_eq!(write(&mount, "f", "x"), Err(Errno::ROFS));
}

#[test]
fn changes_go_to_the_upper_layer_in_every_way_of_mounting() {
    let Some(ground) = Ground::make() else { return };
    let low = ground.layer("low", &[("kept", "1"), ("gone", "2"), ("dir/a", "3")]);
    for (index, calls) in EVERY_WAY.into_iter().enumerate() {
        let name = format!("up{index}");
        let mount = execute_by(&stack(std::slice::from_ref(&low), ground.upper(&name)), calls).unwrap();
        write(&mount, "kept", "changed").unwrap();
        unlinkat(&mount, "gone", AtFlags::empty()).unwrap();
        renameat(&mount, "dir/a", &mount, "dir/b").unwrap();
        assert_eq!(read(&mount, "dir/b").as_deref(), Some("3"), "{calls:?}");
        assert_eq!((read(&mount, "gone"), read(&mount, "dir/a")), (None, None));
        let upper = ground.0.path().join(&name);
        assert_eq!(fs::read_to_string(upper.join("kept")).unwrap(), "changed");
        let whiteout = fs::symlink_metadata(upper.join("gone")).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        assert_eq!(fs::read_to_string(low.join("kept")).unwrap(), "1");
        assert!(low.join("gone").exists() && low.join("dir/a").exists());
    }
}

#[test]
fn a_layer_in_memory_vanishes_and_looks_like_the_layer_below() {
    let Some(ground) = Ground::make() else { return };
    let low = ground.layer("low", &[("f", "1")]);
    fs::set_permissions(&low, fs::Permissions::from_mode(0o2710)).unwrap();
    for calls in EVERY_WAY {
        let plan = stack(std::slice::from_ref(&low), Upper::Memory { size: Some(Bytes(1 << 20)) });
        let mount = execute_by(&plan, calls).unwrap();
        assert_eq!(rustix::fs::fstat(&mount).unwrap().st_mode & 0o7777, 0o2710, "{calls:?}");
        write(&mount, "f", "changed").unwrap();
        assert_eq!(write(&mount, "big", &"x".repeat(1 << 21)), Ok(()));
        assert_eq!(fs::read_to_string(low.join("f")).unwrap(), "1");
        drop(mount);
        assert_eq!(read(&execute_by(&plan, calls).unwrap(), "f").as_deref(), Some("1"));
    }
}

#[test]
fn layers_without_an_upper_are_read_only_even_a_single_one() {
    let Some(ground) = Ground::make() else { return };
    let (a, b) = (ground.layer("a", &[("x", "a")]), ground.layer("b", &[("x", "b"), ("y", "b")]));
    for calls in EVERY_WAY {
        for lowers in [vec![b.clone()], vec![a.clone(), b.clone()]] {
            let plan = MountPlan { read_only: true, ..stack(&lowers, Upper::None) };
            let mount = execute_by(&plan, calls).unwrap();
            assert_eq!(read(&mount, "y").as_deref(), Some("b"));
            assert_eq!(read(&mount, "x").as_deref(), Some(if lowers.len() == 1 { "b" } else { "a" }));
            assert_eq!(write(&mount, "z", "1"), Err(Errno::ROFS));
        }
    }
}

#[test]
fn names_with_commas_colons_spaces_and_backslashes_are_mounted_in_every_way() {
    let Some(ground) = Ground::make() else { return };
    for (index, calls) in EVERY_WAY.into_iter().enumerate() {
        for name in ["a,b", "a:b", "a b", r"a\b", r"a\,b:c\", "a=b", "ä"] {
            let lowers = [ground.layer(name, &[("f", name)]), ground.layer("plain", &[("g", "1")])];
            let upper = ground.upper(&format!("{name}{index}"));
            let mount = execute_by(&stack(&lowers, upper), calls)
                .unwrap_or_else(|e| panic!("{name} {calls:?} {e:?}"));
            assert_eq!(read(&mount, "f").as_deref(), Some(name), "{calls:?}");
            write(&mount, "h", "1").unwrap();
            assert!(ground.0.path().join(format!("{name}{index}")).join("h").exists());
        }
    }
}

#[test]
fn sixty_four_layers_and_paths_longer_than_the_call_takes_are_mounted() {
    let Some(ground) = Ground::make() else { return };
    let long = "x".repeat(200);
    let deep = ground.layer(&format!("{long}/{long}"), &[("deep", "1")]);
    let mut lowers: Vec<_> =
        (0..64).map(|n| ground.layer(&format!("l{n}"), &[(&format!("f{n}"), "1")])).collect();
    lowers.push(deep.clone());
    let upper = Upper::Directory {
        upper: ground.layer(&format!("{long}/{long}/../u"), &[]),
        work: ground.layer("w", &[]),
    };
    let mount = execute(&stack(&lowers, upper)).unwrap();
    assert!(read(&mount, "f0").is_some() && read(&mount, "f63").is_some() && read(&mount, "deep").is_some());
    assert!(deep.as_os_str().as_bytes().len() > 255);
}

#[test]
fn a_missing_layer_is_named() {
    let Some(ground) = Ground::make() else { return };
    let lowers = [ground.layer("a", &[]), ground.0.path().join("missing")];
    let error = execute(&stack(&lowers, Upper::None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("layer 2 of 2") && error.message().contains("/missing`"), "{error}");
    let missing = Upper::Directory { upper: ground.0.path().join("no-upper"), work: ground.layer("w", &[]) };
    let error = execute(&stack(&lowers[..1], missing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("/no-upper`"), "{error}");
    let directory = ground.plan(MountRecipe::Directory { path: ground.0.path().join("missing") });
    assert_eq!(execute(&directory).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_refusal_carries_the_words_of_the_kernel() {
    let Some(ground) = Ground::make() else { return };
    let low = ground.layer("low", &[]);
    let recipe = MountRecipe::Overlay {
        lowers: vec![low],
        upper: ground.upper("up"),
        options: vec!["no_such_option=1".to_owned()],
    };
    let text = execute(&ground.plan(recipe)).unwrap_err().full_message();
    assert!(text.contains("Unknown parameter 'no_such_option'"), "{text}");
    let recipe = MountRecipe::Filesystem {
        fstype: "no-such-fs".to_owned(),
        device: "/dev/null".to_owned(),
        options: Vec::new(),
    };
    let error = execute(&ground.plan(recipe)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.full_message().contains("fsopen(\"no-such-fs\""), "{error:?}");
}

#[test]
fn nothing_is_added_to_the_mount_table() {
    let Some(ground) = Ground::make() else { return };
    let name = ground.0.path().file_name().unwrap().to_str().unwrap().to_owned();
    let low = ground.layer("low", &[]);
    for calls in EVERY_WAY {
        let _mount =
            execute_by(&stack(std::slice::from_ref(&low), Upper::Memory { size: None }), calls).unwrap();
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&name));
    }
}

/// A process in a user namespace of its own, which maps its ids to 100000 and up.
struct Mapped(std::process::Child);

impl Mapped {
    fn spawn() -> Option<Self> {
        let mapped =
            Self(std::process::Command::new("unshare").args(["--user", "sleep", "60"]).spawn().ok()?);
        let ours = fs::read_link("/proc/self/ns/user").ok()?;
        let is_there = || fs::read_link(mapped.path("ns/user")).is_ok_and(|theirs| theirs != ours);
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !is_there() && std::time::Instant::now() < patience {
            std::thread::yield_now();
        }
        for map in ["uid_map", "gid_map"] {
            fs::write(mapped.path(map), "0 100000 65536").ok()?;
        }
        Some(mapped)
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Writes a file as the namespace's root does.
fn touched_by_mapped_root(mount: &OwnedFd, name: &str) -> bool {
    let script = format!(
        "cd /proc/self/fd/0 && exec setpriv --reuid 100000 --regid 100000 --clear-groups touch {name}"
    );
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).stdin(mount.try_clone().unwrap()).stderr(std::process::Stdio::null());
    command.status().unwrap().success()
}

#[test]
fn every_recipe_is_mapped_for_a_user_namespace() {
    let Some(ground) = Ground::make() else { return };
    let Some(mapped) = Mapped::spawn() else {
        println!("skipped: needs unshare(1) and user namespaces");
        return;
    };
    let namespace = fs::File::open(mapped.path("ns/user")).unwrap();
    let lowers = [ground.layer("a", &[("f", "1")]), ground.layer("b", &[("g", "2")])];
    let uppers = [ground.upper("up"), Upper::Memory { size: None }, Upper::None];
    let directory = ground.plan(MountRecipe::Directory { path: lowers[0].clone() });
    let alone = MountPlan { read_only: true, ..stack(&lowers[..1], Upper::None) };
    let stacks = uppers.map(|upper| stack(&lowers, upper));
    for plan in stacks.iter().chain([&alone, &directory]) {
        for calls in EVERY_WAY {
            let how = How { calls, id_map: Some(std::os::fd::AsFd::as_fd(&namespace)) };
            let mount = make(plan, how).unwrap_or_else(|error| panic!("{plan:?} {calls:?}: {error:?}"));
            let found = rustix::fs::statat(&mount, "f", AtFlags::empty()).unwrap();
            assert_eq!((found.st_uid, found.st_gid), (100_000, 100_000), "{plan:?} {calls:?}");
            assert_eq!(rustix::fs::fstat(&mount).unwrap().st_uid, 100_000, "{plan:?} {calls:?}");
            let is_writable = !matches!(&plan.recipe, MountRecipe::Overlay { upper: Upper::None, .. });
            let name = format!("new-{calls:?}");
            assert_eq!(touched_by_mapped_root(&mount, &name), is_writable, "{plan:?} {calls:?}");
            assert_eq!(lowers[0].join(name).exists(), *plan == directory, "{plan:?} {calls:?}");
        }
    }
    for (written, calls) in
        EVERY_WAY.iter().flat_map(|calls| [(ground.0.path().join("up"), calls), (lowers[0].clone(), calls)])
    {
        assert_eq!(fs::metadata(written.join(format!("new-{calls:?}"))).unwrap().uid(), 0);
    }
}
