//! Programs in running containers.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use keiki_core::ErrorKind;
use keiki_runtime::AttachCommand;
use keiki_sys::tty::Pair;

use super::ground::{Ground, command, ground};

#[test]
fn exit_codes_are_those_of_a_shell() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("codes", "");
    ground.start_sleeper(&key);
    let attach = |argv: &[&str]| ground.runtime.attach(&key, &command(argv)).unwrap();
    assert_eq!(attach(&["true"]), 0);
    assert_eq!(attach(&["/bin/sh", "-c", "exit 42"]), 42);
    assert_eq!(attach(&["/bin/sh", "-c", "kill -9 $$"]), 128 + 9);
    assert_eq!(attach(&["/no/such"]), 127);
    assert_eq!(attach(&["/etc/passwd"]), 126);
    ground.kill(&key);
    let error = ground.runtime.attach(&key, &command(&["true"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRunning);
    assert!(error.hints()[0].contains("keiki start"));
}

#[test]
fn environment_directory_and_user_are_as_asked() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("who", "");
    ground.start_sleeper(&key);
    std::fs::write(key.home().join("rootfs/out"), "").unwrap();
    let mut wanted = command(&["/bin/sh", "-c", "{ pwd; echo $X; id -u; id -g; echo $HOME; } > /tmp/who"]);
    wanted.environment = vec![("X".into(), "y z".into())];
    wanted.cwd = Some("/tmp".into());
    assert_eq!(ground.runtime.attach(&key, &wanted).unwrap(), 0);
    let who = std::fs::read_to_string(key.home().join("rootfs/tmp/who")).unwrap();
    assert_eq!(who, "/tmp\ny z\n0\n0\n/root\n");
    let cgroup = ground.output(&key, "cat /proc/self/cgroup | grep ^0");
    assert_eq!(cgroup.trim(), "0::/", "it is not in the container's cgroup");
    let wanted =
        AttachCommand { user: Some((5, 6)), ..command(&["/bin/sh", "-c", "test $(id -u)$(id -g) = 56"]) };
    assert_eq!(ground.runtime.attach(&key, &wanted).unwrap(), 0);
    ground.kill(&key);
}

/// Runs this very test program as a foreground attach under a terminal and returns what it shows.
fn under_a_terminal(ground: &Ground, name: &str, script: &str, typed: &str) -> String {
    let pair = Pair::of_host().unwrap();
    keiki_sys::tty::set_window(&pair.master, 31, 97).unwrap();
    let side = || Stdio::from(pair.peer.as_fd().try_clone_to_owned().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["attach::the_child_of_the_terminal_test", "--exact", "--nocapture", "--ignored"])
        .env("KEIKI_TEST_GROUND", ground.directory.path())
        .env("KEIKI_TEST_NAME", name)
        .env("KEIKI_TEST_SCRIPT", script)
        .stdin(side())
        .stdout(side())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut master = std::fs::File::from(pair.master.try_clone().unwrap());
    master.write_all(typed.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    drop(pair.peer);
    let mut shown = Vec::new();
    // The end of a terminal is an error once its last user is gone.
    drop(master.read_to_end(&mut shown));
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
#[ignore = "the other half of the test of terminals"]
fn the_child_of_the_terminal_test() {
    let Some(directory) = std::env::var_os("KEIKI_TEST_GROUND") else { return };
    let (name, script) =
        (std::env::var("KEIKI_TEST_NAME").unwrap(), std::env::var("KEIKI_TEST_SCRIPT").unwrap());
    let directory = std::path::PathBuf::from(directory);
    let runtime = super::ground::open(&directory);
    let key = keiki_core::engine::ContainerKey {
        lxcpath: directory.join("lxc"),
        name: keiki_core::name::ContainerName::parse(&name).unwrap(),
    };
    let wanted =
        AttachCommand { terminal: keiki_runtime::Terminal::Auto, ..command(&["/bin/sh", "-c", &script]) };
    assert_eq!(runtime.attach(&key, &wanted).unwrap(), 5);
}

#[test]
fn a_terminal_is_the_containers_own_has_the_callers_size_and_loses_nothing_typed_ahead() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("term", "");
    ground.start_sleeper(&key);
    let script = "tty; stty size; read line; echo got:$line; exit 5";
    let shown = under_a_terminal(&ground, key.name.as_str(), script, "typed ahead\r");
    assert!(shown.contains("/dev/pts/"), "{shown}");
    assert!(shown.contains("31 97"), "{shown}");
    assert!(shown.contains("got:typed ahead"), "{shown}");
    ground.kill(&key);
}
