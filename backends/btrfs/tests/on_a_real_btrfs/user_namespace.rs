//! A user without privilege, root in a user namespace of his own: the program itself is started again as him.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use keiki_btrfs::BtrfsStore;
use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::name::ContainerName;
use keiki_core::store::{BackingStore, CloneJob, Pool, Presence};
use keiki_core::units::Bytes;
use keiki_core::volume::{Placement, Properties, Volume, VolumeId, VolumeRole};

use crate::ground::{Ground, root, shell, wait};

const LXCPATH: &str = "KEIKI_TEST_LXCPATH";
const USER: u32 = 100_000;

#[test]
fn every_verb_but_quotas_works_in_a_user_namespace() {
    for options in ["loop", "loop,user_subvol_rm_allowed"] {
        let Some(ground) = Ground::mounted(options) else { return };
        shell(&format!("chmod 711 {}", ground.pool().parent().unwrap().display()));
        let (lxcpath, program) = (ground.pool().join("lxc"), ground.pool().join("program"));
        std::fs::create_dir(&lxcpath).unwrap();
        chown(&lxcpath, Some(USER), Some(USER)).unwrap();
        // The directory of the build may be closed to him.
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let as_user = format!("--reuid={USER} --regid={USER} --clear-groups unshare --user --map-root-user");
        let output = Command::new("setpriv")
            .args(as_user.split(' '))
            .arg(&program)
            .args(["--exact", "user_namespace::inside", "--ignored", "--nocapture"])
            .env(LXCPATH, &lxcpath)
            .output()
            .unwrap();
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words);
        if words.contains("unshare failed") {
            println!("skipped: needs user namespaces ({words})");
            return;
        }
        assert!(output.status.success() && words.contains("1 passed"), "{options}: {words}");
        assert_eq!(shell(&format!("btrfs subvolume list {}", ground.pool().display())), "", "left over");
    }
}

fn volume(lxcpath: &Path, name: &str) -> Volume {
    let home = lxcpath.join(name);
    std::fs::create_dir_all(&home).unwrap();
    let (id, container) = (VolumeId::generate(), ContainerName::parse(name).unwrap());
    let placement = Placement { id, container, role: VolumeRole::Head, home, options: Properties::new() };
    Volume::new(id, BtrfsStore::new().place(&placement, None).unwrap())
}

#[test]
#[ignore = "started by every_verb_but_quotas_works_in_a_user_namespace"]
fn inside() {
    let lxcpath = PathBuf::from(std::env::var_os(LXCPATH).unwrap());
    let (store, context) = (BtrfsStore::new(), Context::default());
    let pool = Pool { path: lxcpath.clone(), options: Properties::new() };
    assert!(store.capabilities(&pool).unwrap().unprivileged);
    let base = volume(&lxcpath, "base");
    wait(store.create(&context, &base)).unwrap();
    shell(&format!(
        "cd {}; echo one > file; mkdir d; btrfs -q subvolume create d/nested; echo two > d/nested/file",
        root(&base).display()
    ));
    let clones: Vec<_> = (0..5).map(|n| volume(&lxcpath, &format!("clone{n}"))).collect();
    let jobs: Vec<_> = clones.iter().map(|target| CloneJob { target: target.clone() }).collect();
    for result in wait(store.clones().unwrap().clone_from(&context, &base, &jobs)) {
        result.unwrap();
    }
    let snapshot = volume(&lxcpath, "snapshot");
    wait(store.snapshots().unwrap().snapshot(&context, &base, &snapshot)).unwrap();
    wait(store.sync_barrier(&context, &clones)).unwrap();
    for volume in clones.iter().chain([&snapshot]) {
        assert_eq!(wait(store.probe(volume)).unwrap(), Presence::Complete(volume.id));
        assert_eq!(std::fs::read(root(volume).join("d/nested/file")).unwrap(), b"two\n");
    }
    assert_eq!(wait(store.list(&pool)).unwrap().len(), 7);
    wait(store.exchange().unwrap().exchange(&context, &clones[0], &clones[1])).unwrap();
    wait(store.exchange().unwrap().exchange(&context, &clones[0], &clones[1])).unwrap();
    let usage = wait(store.usage(&context, &clones)).unwrap();
    assert!(usage.iter().all(|usage| usage.referenced.is_some()), "{usage:?}");
    let refused = wait(store.quota().unwrap().set_quota(&context, &base, Some(Bytes(1 << 20)))).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::PermissionDenied | ErrorKind::Unavailable), "{refused:?}");
    let (a, b) = (clones[0].clone(), clones[1].clone());
    let swapped = [Volume { id: b.id, ..a.clone() }, Volume { id: a.id, ..b.clone() }];
    for volume in swapped.iter().chain(&clones[2..]).chain([&snapshot, &base]) {
        wait(store.destroy(&context, volume)).unwrap();
        assert_eq!(wait(store.probe(volume)).unwrap(), Presence::Absent, "{volume:?}");
    }
}
