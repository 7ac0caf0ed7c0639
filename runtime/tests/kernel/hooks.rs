//! Hooks, at every moment that there is one for.

use std::path::Path;

use keiki_core::context::Context;
use keiki_core::engine::ContainerKey;

use super::ground::{Ground, ground, options};

/// Writes a script on the host that notes its arguments and the variables that hooks are told by.
fn note_taker(directory: &Path, behind: &str) -> String {
    let script = directory.join("hook");
    let notes = directory.join("notes");
    let text = format!(
        "#!/bin/sh\necho \"$LXC_HOOK_TYPE [$*] pid=$LXC_PID target=$LXC_TARGET mnt=$LXC_MNT_NS own=$OWN\" >> {}\n{behind}\n",
        notes.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script.display().to_string()
}

fn notes(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn start_and_kill(ground: &Ground, key: &ContainerKey) -> u32 {
    let pid = ground.start_sleeper(key);
    ground.kill(key);
    pid
}

#[test]
fn hooks_run_in_order_each_with_what_its_kind_is_told() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    let script = note_taker(host.path(), "");
    let lines: String = ["post-stop", "stop", "start-host", "autodev", "mount", "pre-mount", "pre-start"]
        .map(|kind| format!("lxc.hook.{kind} = {script} {kind}-own\n"))
        .concat();
    let key = ground.create("hooks", &format!("{lines}lxc.environment.hooks = OWN=yes\n"));
    let pid = start_and_kill(&ground, &key);
    let name = key.name.as_str();
    let expected = |kind: &str, pid: &str, target: &str, behind: &str| {
        format!("{kind} [{kind}-own {name} lxc {kind}{behind}] pid={pid} target={target} mnt= own=yes")
    };
    let seen = notes(host.path());
    let (stop, others): (Vec<&String>, Vec<&String>) =
        seen.iter().partition(|line| line.starts_with("stop "));
    let wanted = [
        expected("pre-start", "", "", ""),
        expected("pre-mount", "", "", ""),
        expected("mount", "", "", ""),
        expected("autodev", "", "", ""),
        expected("start-host", &pid.to_string(), "", ""),
        expected("post-stop", "", "stop", ""),
    ];
    assert_eq!(others, wanted.iter().collect::<Vec<_>>());
    assert_eq!(stop.len(), 1, "{seen:?}");
    assert!(stop[0].contains("lxc stop mnt:/proc/") && stop[0].contains("net:/proc/"), "{stop:?}");
    assert_eq!(seen[5], *stop[0]);
}

#[test]
fn with_the_second_interface_variables_tell_what_arguments_do_else() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    let script = note_taker(host.path(), "test ! -e \"$LXC_MNT_NS\" -o \"$LXC_HOOK_TYPE\" = stop");
    let lines = format!(
        "lxc.hook.version = 1\nlxc.hook.pre-start = {script} a 'b c'\nlxc.hook.stop = {script}\nlxc.log.file = {}\n",
        host.path().join("log").display()
    );
    let key = ground.create("second", &lines);
    start_and_kill(&ground, &key);
    let seen = notes(host.path());
    assert!(seen[0].starts_with("pre-start [a b c] "), "{seen:?}");
    assert!(seen[1].starts_with("stop [] ") && seen[1].contains("mnt=/proc/"), "{seen:?}");
    let log = std::fs::read_to_string(host.path().join("log")).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn mount_hooks_find_the_root_and_start_hooks_run_inside() {
    let Some(mut ground) = ground() else { return };
    let lines = "lxc.hook.mount = touch \"$LXC_ROOTFS_MOUNT/mounted\" #\n\
                 lxc.hook.autodev = mknod -m 666 \"$LXC_ROOTFS_MOUNT/dev/extra\" c 1 3 #\n\
                 lxc.hook.start = /bin/touch /started #\n";
    let key = ground.create("inside", lines);
    ground.start_sleeper(&key);
    for test in ["-e /mounted", "-c /dev/extra", "-e /started"] {
        assert_eq!(ground.script(&key, &format!("test {test}")), 0, "{test}");
    }
    ground.kill(&key);
}

#[test]
fn a_hook_that_fails_fails_the_start_with_what_it_printed_and_the_end_is_undone() {
    let Some(mut ground) = ground() else { return };
    let host = tempfile::tempdir().unwrap();
    let script = note_taker(host.path(), "");
    for kind in ["pre-start", "pre-mount", "mount", "autodev", "start-host", "start"] {
        let lines = format!(
            "lxc.hook.{kind} = sh -c 'echo no {kind} >&2; exit 3' #\nlxc.hook.post-stop = {script}\n"
        );
        let key = ground.create(&format!("fails-{kind}"), &lines);
        let error =
            ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "1000"])).unwrap_err();
        let text = error.full_message();
        assert!(
            text.contains(&format!("run the {kind} hook"))
                && text.contains(&format!("it ended with 3: no {kind}")),
            "{text}"
        );
    }
    // Before anything was set up there is nothing to take down.
    assert_eq!(notes(host.path()).len(), 5);
}

#[test]
fn a_stop_hook_that_fails_is_written_down_and_holds_nothing_up() {
    let Some(mut ground) = ground() else { return };
    let log = ground.directory.path().join("log");
    let lines = format!("lxc.log.file = {}\nlxc.hook.stop = sh -c 'echo not now; exit 9' #\n", log.display());
    let key = ground.create("late", &lines);
    start_and_kill(&ground, &key);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        text.contains(" ERROR cannot run the stop hook") && text.contains("it ended with 9: not now"),
        "{text}"
    );
}
