//! Start, exec, attach, run, stop, wait.

use std::io::Write;
use std::process::Stdio;

use crate::harness::{Bed, STORES};
use crate::need_host;

#[test]
fn a_container_starts_runs_commands_and_stops_on_every_store() {
    need_host!();
    for store in STORES {
        let bed = Bed::new();
        bed.base(store);
        let started = bed.line("start base");
        assert_eq!(started.stderr, "", "the defaults need no warning");
        assert_eq!(started.ok(), "started base (pid N)\n", "{store}");
        assert!(bed.line("ls --format csv -c name,state").ok().contains("base,RUNNING"), "{store}");
        assert_eq!(bed.line("exec base -- hostname").ok(), "base\n", "{store}");
        assert_eq!(bed.keiki(["exec", "base", "--", "sh", "-c", "echo oops >&2; exit 42"]).code, 42);
        assert_eq!(bed.line("wait base --state running --timeout 5").ok(), "base is RUNNING\n");
        assert_eq!(bed.line("stop --kill base").ok(), "stopped base\n", "{store}");
        assert!(bed.line("ls --format csv -c name,state").ok().contains("base,STOPPED"), "{store}");
        bed.assert_clean();
    }
}

#[test]
fn init_is_asked_to_shut_down_before_it_is_killed() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("start base").ok();
    assert_eq!(bed.line("stop --timeout 20 base").ok(), "stopped base\n");
}

#[test]
fn exec_passes_both_streams_and_standard_input() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("start base").ok();
    let split = bed.keiki(["exec", "base", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((split.stdout.as_str(), split.stderr.as_str(), split.code), ("out\n", "err\n", 0));
    let mut command = bed.command();
    command.args(["exec", "base", "-P", "lxc", "--", "wc", "-c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\r\n\x03z").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "5");
    let environment = bed.keiki(["exec", "-e", "A=b c", "base", "--", "sh", "-c", "echo $A"]).ok();
    assert_eq!(environment, "b c\n");
}

#[test]
fn exec_says_127_for_a_command_that_is_not_there() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("start base").ok();
    assert_eq!(bed.line("exec base -- /no/such/thing").code, 127);
    assert_eq!(bed.line("attach base -- true").code, 0);
}

#[test]
fn run_is_a_whole_life_in_the_foreground() {
    need_host!();
    for store in STORES {
        let bed = Bed::new();
        bed.base(store);
        let run = bed.keiki(["run", "base", "--", "sh", "-c", "echo pid $$; exit 7"]);
        assert_eq!((run.stdout.as_str(), run.code), ("pid 1\n", 7), "{store} {run}");
        let gone = bed.keiki(["run", "--rm", "base", "--", "sh", "-c", "echo x > /etc/new; ls /etc/new"]);
        assert_eq!((gone.stdout.as_str(), gone.code), ("/etc/new\n", 0), "{store} {gone}");
        assert_eq!(bed.names(), "base\n", "{store}");
        assert_eq!(bed.line("run base -- ls /etc/new").code, 1, "the source was left alone");
        bed.assert_clean();
    }
}

#[test]
fn an_ephemeral_clone_goes_when_it_stops() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    for line in ["clone --ephemeral base gone", "clone --tmpfs base gone"] {
        bed.line(line).ok();
        bed.line("start gone").ok();
        bed.line("stop --kill gone").ok();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while bed.names() != "base\n" {
            assert!(std::time::Instant::now() < deadline, "{line}: {}", bed.names());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    bed.assert_clean();
}

#[test]
fn what_runs_is_not_started_again_destroyed_or_renamed() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("start base").ok();
    for line in ["start base", "destroy base", "rename base other"] {
        let run = bed.line(line);
        assert_eq!(run.code, 6, "{line}: {run}");
        assert!(run.stderr.contains("running"), "{line}: {run}");
    }
    assert_eq!(bed.line("destroy --force base").ok(), "destroyed base\n");
    bed.assert_clean();
}

#[test]
fn a_parent_is_never_started_while_others_need_it() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("clone --snapshot base web1").ok();
    insta::assert_snapshot!(bed.line("start base"), @r"
    --- stderr
    error: cannot start `base`: its data is needed by web1
      dependents: web1
    hint: `keiki flatten web1` gives `web1` data of its own
    hint: `keiki clone base NEW` makes another container to work in
    --- exit 5
    ");
}

#[test]
fn what_does_not_run_cannot_be_used() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    insta::assert_snapshot!(bed.line("exec base -- true"), @r"
    --- stderr
    error: container `base` does not run
    hint: start it: `keiki start base`
    --- exit 1
    ");
    insta::assert_snapshot!(bed.line("stop base"), @r"
    stopped base
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("wait base --state running --timeout 0"), @r"
    --- stderr
    error: container `base` is still STOPPED
    --- exit 6
    ");
    insta::assert_snapshot!(bed.line("wait base --state flying"), @r"
    --- stderr
    error: `flying` is not a state of a container
    hint: states: STOPPED, STARTING, RUNNING, STOPPING, ABORTING, FREEZING, FROZEN, THAWED
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("start nobody"), @r"
    --- stderr
    error: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
}

#[test]
fn containers_are_frozen_limited_and_let_go() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    assert_eq!(bed.line("freeze base").code, 1, "it does not run");
    bed.line("start base").ok();
    assert_eq!(bed.line("freeze base").ok(), "froze base\n");
    assert!(bed.line("ls --format csv -c name,state").ok().contains("base,FROZEN"));
    assert_eq!(bed.line("unfreeze base").ok(), "unfroze base\n");
    assert_eq!(bed.line("cgroup base cgroup.max.depth 5").ok(), "set cgroup.max.depth of base to 5\n");
    assert_eq!(bed.line("cgroup base cgroup.max.depth").ok(), "5\n");
    assert_eq!(bed.line("cgroup base ../x").code, 2);
    assert_eq!(bed.line("cgroup base no.such").code, 3);
    bed.line("stop --kill base").ok();
    bed.assert_clean();
}

#[test]
fn autostart_starts_those_who_ask_for_it_and_stops_them() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("clone --copy base second").ok();
    let config = bed.lxcpath().join("second/config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}lxc.start.auto = 1\nlxc.start.delay = 0\n")).unwrap();
    assert_eq!(bed.line("autostart --list").ok(), "second 0\n");
    // An order has a sign: what is below 0 comes first.
    bed.line("config set base lxc.start.auto=1").ok();
    assert_eq!(bed.line("autostart --list").ok(), "base 0\nsecond 0\n");
    bed.line("config set second lxc.start.order=-1").ok();
    assert_eq!(bed.line("autostart --list").ok(), "second 0\nbase 0\n");
    bed.line("config clear base lxc.start.auto").ok();
    assert_eq!(bed.line("autostart").ok(), "started second (pid N)\n");
    assert_eq!(bed.line("autostart").ok(), "");
    assert_eq!(bed.line("autostart --kill").ok(), "stopped second\n");
    bed.assert_clean();
}
