//! The runner against real programs: `/bin/sh` scripts that do what badly behaved tools do.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn script(directory: &tempfile::TempDir, body: &str) -> Tool {
    let path = directory.path().join("tool");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Tool::at(&path).unwrap()
}

fn run(body: &str) -> Result<Answer> {
    let directory = tempfile::tempdir().unwrap();
    script(&directory, body).call().run(&Context::default())
}

fn context_value<'a>(error: &'a Error, key: &str) -> &'a str {
    let found = error.context().iter().find(|(name, _)| *name == key);
    found.map_or("", |(_, value)| value.as_str())
}

#[test]
fn an_answer_holds_code_and_both_outputs() {
    let answer = run("echo out; echo err >&2").unwrap();
    assert_eq!((answer.code, answer.text().unwrap(), answer.stderr.as_slice()), (0, "out\n", &b"err\n"[..]));
}

#[test]
fn a_tool_sees_a_fixed_environment_and_an_empty_input() {
    let answer = run("cat; env | sort; pwd").unwrap();
    let text = answer.text().unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("_=")).collect();
    assert_eq!(lines, ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/", "/"]);
}

#[test]
fn arguments_reach_the_tool_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let tool = script(&directory, r#"for a in "$@"; do echo "[$a]"; done"#);
    let answer = tool.call().arg("a b").args(["$HOME", "", "x;y"]).run(&Context::default()).unwrap();
    assert_eq!(answer.text().unwrap(), "[a b]\n[$HOME]\n[]\n[x;y]\n");
}

#[test]
fn input_may_be_bytes_or_a_file_and_need_not_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    let tool = script(&directory, "wc -c");
    let answer = tool.call().input(Input::Bytes(megabyte.clone())).run(&Context::default()).unwrap();
    assert_eq!(answer.text().unwrap().trim(), "1048576");
    let file = directory.path().join("input");
    std::fs::write(&file, "abc").unwrap();
    let file = std::fs::File::open(&file).unwrap();
    let answer = tool.call().input(Input::File(file.into())).run(&Context::default()).unwrap();
    assert_eq!(answer.text().unwrap().trim(), "3");
    let tool = script(&directory, "exit 0");
    tool.call().input(Input::Bytes(megabyte)).run(&Context::default()).unwrap();
}

#[test]
fn a_failure_carries_command_status_and_the_last_words() {
    let error = run("echo first >&2; echo 'no such pool' >&2; exit 5").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().ends_with("failed with exit code 5: no such pool"), "{error}");
    assert!(context_value(&error, "command").ends_with("/tool"));
    assert_eq!(context_value(&error, "stderr"), "first\nno such pool");
    let error = run("kill -9 $$").unwrap_err();
    assert_eq!(context_value(&error, "status"), "signal 9");
}

#[test]
fn an_accepted_code_is_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let answer = script(&directory, "exit 3").call().accept(3).run(&Context::default()).unwrap();
    assert_eq!(answer.code, 3);
}

#[test]
fn a_missing_tool_names_its_package() {
    let error = Tool::new("keiki-no-such-tool", "lvm2").call().run(&Context::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.hints(), ["run `apt install lvm2`"]);
    assert!(Tool::new("sh", "dash").find().unwrap().is_absolute());
    assert_eq!(Tool::at(Path::new("bin/x")).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_late_tool_is_ended_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let marker = directory.path().join("pid");
    let body = format!("trap '' TERM; sleep 61 & echo $! > {}; wait; sleep 62", marker.display());
    let tool = script(&directory, &body);
    let error = tool.call().timeout(Duration::from_millis(300)).run(&Context::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let child = std::fs::read_to_string(&marker).unwrap();
    assert!(is_gone(child.trim()), "the child {child} lives on");
}

/// Whether the process is gone or waits only to be reaped by init.
fn is_gone(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn the_deadline_of_the_context_counts_if_it_is_earlier() {
    let directory = tempfile::tempdir().unwrap();
    let context = Context::default().with_deadline(Instant::now() + Duration::from_millis(200));
    let error = script(&directory, "exec sleep 60").call().run(&context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[test]
fn a_daemon_left_behind_keeps_nobody_waiting() {
    let begun = Instant::now();
    let answer = run("sleep 7 & echo done").unwrap();
    assert_eq!(answer.text().unwrap(), "done\n");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn too_much_output_ends_the_tool() {
    let directory = tempfile::tempdir().unwrap();
    let error = script(&directory, "exec cat /dev/zero").call().output_max(100_000).run(&Context::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn output_up_to_the_limit_is_whole_and_a_long_stderr_keeps_its_end() {
    let answer = run("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end >&2").unwrap();
    assert_eq!(answer.stdout.len(), 3_000_000);
    assert!(answer.stderr.len() < 200_000);
    assert!(answer.stderr.ends_with(b"end\n"));
}

#[test]
fn commands_are_shown_as_a_shell_would_need_them() {
    for (word, shown) in
        [("a", "a"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("-L+1g", "-L+1g")]
    {
        assert_eq!(quoted(word), shown);
    }
}
