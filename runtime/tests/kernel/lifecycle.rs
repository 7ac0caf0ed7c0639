//! From start to stop.

use std::time::{Duration, Instant};

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::DestroyScope;
use keiki_runtime::{ContainerState, Manager, Running, StopMode, StopOptions};

use super::ground::{ground, options};

const NOT_FOUND: &str = "/no/such/program";

#[test]
fn a_container_starts_is_seen_running_and_stops_without_a_trace() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("life", "");
    assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Stopped);
    let pid = ground.start_sleeper(&key);
    let status = ground.runtime.status(&key).unwrap();
    assert_eq!(
        (status.state, status.pid, status.manager),
        (ContainerState::Running, Some(pid), Some(Manager::Keiki))
    );
    let all = ground.runtime.statuses(&key.lxcpath).unwrap();
    assert_eq!(all, [status]);
    let own = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains(key.home().to_str().unwrap()), "the host's mount table shows the rootfs");
    ground.kill(&key);
    assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Stopped);
    assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    ground.kill(&key);
}

#[test]
fn a_second_start_and_a_destroy_are_refused_while_it_runs() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("busy", "");
    let pid = ground.start_sleeper(&key);
    let cx = Context::default();
    let error = ground.runtime.start(&cx, &key, &options(&["/bin/true"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
    let error = ground.runtime.destroy(&cx, &key, DestroyScope::Only, Running::Refuse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    ground.kill(&key);
    ground.start_sleeper(&key);
    ground.runtime.destroy(&cx, &key, DestroyScope::Only, Running::Stop).unwrap();
    assert_eq!(ground.runtime.state(&key).unwrap_err().kind(), ErrorKind::NotFound);
    ground.forget(&key);
}

#[test]
fn of_many_starts_at_once_exactly_one_wins() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("race", "");
    let results: Vec<_> = std::thread::scope(|scope| {
        let start = || ground.runtime.start(&Context::default(), &key, &options(&["/bin/sleep", "1000"]));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    }
    ground.kill(&key);
}

#[test]
fn the_exit_code_of_a_foreground_program_is_returned() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("fore", "");
    for (script, expected) in [("exit 0", 0), ("exit 7", 7)] {
        let code =
            ground.runtime.run_foreground(&Context::default(), &key, &options(&["/bin/sh", "-c", script]));
        assert_eq!(code.unwrap(), expected);
        assert_eq!(ground.left_in_run(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_program_that_cannot_be_executed_is_told_with_step_and_the_kernels_words() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("bad", "");
    let error = ground.runtime.start(&Context::default(), &key, &options(&[NOT_FOUND])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.full_message();
    assert!(text.contains("cannot execute `/no/such/program`: execve"), "{text}");
    assert!(text.contains("No such file or directory"), "{text}");
    assert!(error.context().contains(&("step", "execute".to_owned())), "{error:?}");
    assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Stopped);
    ground.start_sleeper(&key);
    ground.kill(&key);
}

#[test]
fn init_is_asked_to_shut_down_in_the_way_that_the_configuration_says() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("halt", "lxc.signal.halt = SIGUSR1\n");
    ground.start(&key, &[]);
    // Its program runs; that it has read its table and listens is another matter.
    ground.script(&key, "until test -e /up; do :; done");
    let options = StopOptions { mode: StopMode::Shutdown, timeout: Duration::from_secs(20) };
    let begun = Instant::now();
    ground.runtime.stop(&key, &options).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "it was killed, not shut down");
    assert!(key.home().join("rootfs/halted").exists(), "init did not run its shutdown actions");
}

#[test]
fn a_program_that_ignores_the_shutdown_is_killed_when_the_time_is_over() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("deaf", "");
    ground.start_sleeper(&key);
    let options = StopOptions { mode: StopMode::Shutdown, timeout: Duration::from_millis(200) };
    ground.runtime.stop(&key, &options).unwrap();
    assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Stopped);
}

#[test]
fn a_reboot_starts_it_again_under_the_same_monitor() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("boot", "");
    let script = "if [ -e /twice ]; then exec sleep 1000; fi; touch /twice; exec reboot -f";
    let first = ground.start(&key, &["/bin/sh", "-c", script]);
    let deadline = Instant::now() + Duration::from_secs(10);
    let second = loop {
        let status = ground.runtime.status(&key).unwrap();
        match status.pid {
            Some(pid) if pid != first && status.state == ContainerState::Running => break pid,
            _ => assert!(Instant::now() < deadline, "{status:?}"),
        }
        std::thread::yield_now();
    };
    assert_ne!(first, second);
    ground.kill(&key);
}

#[test]
fn waiting_ends_with_the_state_or_with_the_time() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("wait", "");
    let short = Some(Duration::from_millis(50));
    let error = ground.runtime.wait(&key, &[ContainerState::Running], short).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let long = Some(Duration::from_secs(10));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| ground.runtime.wait(&key, &[ContainerState::Running], long));
        ground.start_sleeper(&key);
        assert_eq!(running.join().unwrap().unwrap(), ContainerState::Running);
        let stopped = scope.spawn(|| ground.runtime.wait(&key, &[ContainerState::Stopped], long));
        ground.kill(&key);
        assert_eq!(stopped.join().unwrap().unwrap(), ContainerState::Stopped);
    });
}

#[test]
fn a_stop_right_after_a_start_leaves_nothing() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("quick", "");
    for _ in 0..20 {
        ground.start_sleeper(&key);
        ground.kill(&key);
        assert_eq!(super::ground::cgroups_of(key.name.as_str()), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_container_that_lxc_made_is_adopted_at_its_first_start() {
    let Some(mut ground) = ground() else { return };
    let ours = ground.create("made", "");
    let theirs = ground.key(&format!("lxc{}", ours.name.as_str().trim_start_matches("made")));
    let source = ours.home().join("rootfs");
    std::fs::create_dir(theirs.home()).unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-r", "--no-preserve=xattr", "-P"])
        .arg(&source)
        .arg(theirs.home())
        .status();
    assert!(copied.unwrap().success());
    let root = theirs.home().join("rootfs");
    std::fs::write(theirs.home().join("config"), format!("lxc.rootfs.path = dir:{}\n", root.display()))
        .unwrap();
    ground.start_sleeper(&theirs);
    ground.kill(&theirs);
    assert!(ground.runtime.engine().container(&theirs).unwrap().adopted);
}

#[test]
fn a_host_with_version_2_cgroups_only_will_do() {
    if ground().is_none() {
        return;
    }
    // These very tests once more, in a mount namespace in which the host looks like that.
    let script = "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::a_container_starts_is_seen_running_and_stops_without_a_trace"])
        .args(["attach::environment_directory_and_user_are_as_asked"])
        .args(["inside::devices_that_the_configuration_does_not_allow_can_be_made_and_not_used"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("3 passed"), "{text}");
}

#[test]
fn a_suspended_container_stands_still_is_told_as_frozen_and_goes_on() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("frozen", "");
    ground.start(&key, &["/bin/sh", "-c", "while :; do echo x >> /ticks; sleep 0.01; done"]);
    let waiter = {
        let (directory, key) = (ground.directory.path().to_owned(), key.clone());
        std::thread::spawn(move || {
            super::ground::open(&directory).wait(
                &key,
                &[ContainerState::Frozen],
                Some(Duration::from_secs(20)),
            )
        })
    };
    ground.script(&key, "until test -e /ticks; do :; done");
    match ground.runtime.freeze(&key) {
        Err(error) if error.kind() == ErrorKind::Unavailable => return ground.kill(&key),
        other => other.unwrap(),
    }
    assert_eq!(waiter.join().unwrap().unwrap(), ContainerState::Frozen);
    let ticks = || std::fs::metadata(key.home().join("rootfs/ticks")).unwrap().len();
    let before = ticks();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(), before);
    ground.runtime.freeze(&key).unwrap();
    ground.runtime.unfreeze(&key).unwrap();
    assert_eq!(ground.runtime.state(&key).unwrap(), ContainerState::Running);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while ticks() == before {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    ground.runtime.freeze(&key).unwrap();
    ground.kill(&key);
    assert_eq!(ground.runtime.freeze(&key).unwrap_err().kind(), ErrorKind::NotRunning);
}

#[test]
fn limits_are_read_and_set_by_the_names_of_the_kernels_files() {
    let Some(mut ground) = ground() else { return };
    let key = ground.create("limits", "");
    ground.start_sleeper(&key);
    assert_eq!(ground.runtime.cgroup_value(&key, "cgroup.freeze").unwrap(), "0");
    let depth = |value: &str| ground.runtime.set_cgroup_value(&key, "cgroup.max.depth", value);
    depth("3").unwrap();
    assert_eq!(ground.runtime.cgroup_value(&key, "cgroup.max.depth").unwrap(), "3");
    assert_eq!(depth("many").unwrap_err().kind(), ErrorKind::InvalidArgument);
    for bad in ["../cgroup.freeze", "", "no.such.file"] {
        assert!(ground.runtime.cgroup_value(&key, bad).is_err(), "{bad}");
    }
    ground.kill(&key);
}
