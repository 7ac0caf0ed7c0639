//! Killed and suspended monitors.

use std::time::{Duration, Instant};

use keiki_core::context::Context;
use keiki_core::engine::DestroyScope;
use keiki_runtime::{ContainerState, Running, StopMode, StopOptions};
use rustix::process::{Pid, Signal, kill_process};

use super::ground::{cgroups_of, ground};

/// Returns the parent of a container's first process.
fn monitor_of(pid: u32) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(line.trim().parse().unwrap()).unwrap()
}

fn wait_for_death(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    // A container's first process whose monitor died belongs to the host's init, which reaps it.
    while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "it outlived its monitor");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_monitor_takes_its_container_along_and_the_next_command_cleans_up() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("heal", "");
    for next in ["state", "start", "stop", "destroy"] {
        let pid = ground.start_sleeper(&key);
        kill_process(monitor_of(pid), Signal::KILL).unwrap();
        wait_for_death(pid);
        assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Stopped);
        assert_eq!(cgroups_of(key.name.as_str()).len(), 1, "the test tests nothing");
        match next {
            "start" => {
                ground.start_sleeper(&key);
                let own = format!("lxc.payload.{}", key.name);
                assert!(cgroups_of(key.name.as_str()).iter().all(|path| path.ends_with(&own)));
                ground.kill(&key);
            }
            "stop" => ground.kill(&key),
            "destroy" => {
                ground
                    .runtime
                    .destroy(&Context::default(), &key, DestroyScope::Only, Running::Refuse)
                    .unwrap();
            }
            _ => continue,
        }
        assert_eq!(cgroups_of(key.name.as_str()), Vec::<std::path::PathBuf>::new());
        assert_eq!(ground.left_in_run(), Vec::<std::path::PathBuf>::new());
    }
    ground.forget(&key);
}

#[test]
fn a_suspended_monitor_hangs_nobody_and_can_be_stopped() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("hung", "");
    let pid = ground.start_sleeper(&key);
    kill_process(monitor_of(pid), Signal::STOP).unwrap();
    let begun = Instant::now();
    assert_eq!(ground.runtime.statuses(&key.lxcpath).unwrap()[0].state, ContainerState::Running);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let options = StopOptions { mode: StopMode::Shutdown, timeout: Duration::from_millis(100) };
    ground.runtime.stop(&key, &options).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Stopped);
}

#[test]
fn a_missing_monitor_program_is_told_with_what_to_do() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("prog", "");
    let runtime = super::ground::open_with(ground.directory.path(), "/no/such/keiki-monitor".into());
    let error =
        runtime.start(&Context::default(), &key, &super::ground::options(&["/bin/true"])).unwrap_err();
    assert!(error.to_string().contains("/no/such/keiki-monitor"), "{error:?}");
    assert!(error.hints()[0].contains("KEIKI_MONITOR"), "{error:?}");
}
