//! What a container's processes may not ask of the kernel.

use keiki_core::context::Context;

use super::ground::{ground, options};

/// What `/proc/1/status` says of the filter: 2 is that there is one.
const FILTERED: &str = "grep -q '^Seccomp:.2' /proc/self/status";

#[test]
fn the_first_process_and_attached_ones_are_filtered_without_being_asked() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("filtered", "");
    ground.start(&key, &["/bin/sh", "-c", &format!("{FILTERED} && exec sleep 1000")]);
    assert_eq!(ground.script(&key, FILTERED), 0);
    assert_eq!(ground.script(&key, "grep -q '^Seccomp:.2' /proc/1/status"), 0);
    // The same call as root outside would be carried out.
    assert_ne!(ground.script(&key, "mkdir -p /x && mount -t tmpfs x /x && umount -f /x"), 0);
    assert_eq!(ground.script(&key, "umount /x"), 0);
    ground.kill(&key);
}

#[test]
fn a_policy_of_lxcs_takes_the_place_of_ours() {
    let Some(mut ground) = ground() else { return };
    let file = ground.directory.path().join("policy");
    std::fs::write(&file, "2\ndenylist\n[all]\nmkdir errno 28\nmkdirat errno 28\n").unwrap();
    let key = ground.create("policy", &format!("lxc.seccomp.profile = {}\n", file.display()));
    ground.start_sleeper(&key);
    let said = ground.output(&key, "mkdir /x && exit 1; mkdir /x 2>&1 | grep -o 'No space left'");
    assert!(said.contains("No space left"), "{said}");
    // What the container runs under stays what it started with.
    std::fs::write(&file, "2\ndenylist\n").unwrap();
    assert_ne!(ground.script(&key, "mkdir /x 2>/dev/null"), 0);
    ground.kill(&key);
}

#[test]
fn a_policy_with_a_mistake_starts_nothing_and_the_mistake_has_its_place() {
    let Some(mut ground) = ground() else { return };
    let file = ground.directory.path().join("policy");
    std::fs::write(&file, "2\ndenylist\nno_such_call errno 1\n").unwrap();
    let key = ground.create("mistake", &format!("lxc.seccomp.profile = {}\n", file.display()));
    let error = ground.runtime.start(&Context::default(), &key, &options(&["/bin/true"])).unwrap_err();
    let text = error.full_message();
    assert!(
        text.contains(&format!("{}:3:1: there is no system call `no_such_call`", file.display())),
        "{text}"
    );
}
