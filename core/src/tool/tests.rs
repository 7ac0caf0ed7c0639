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

/// Whether the process is gone, or waits only to be reaped by init. What was killed may need a moment on a busy machine.
fn is_gone(pid: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        if stat.map_or(true, |stat| stat.contains(") Z ")) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
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

/// A pipe whose far end a thread serves.
fn drained(read: OwnedFd) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || std::io::copy(&mut std::fs::File::from(read), &mut std::io::sink()).unwrap())
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

#[test]
fn a_stream_goes_out_whole_and_past_any_limit_of_output() {
    let directory = tempfile::tempdir().unwrap();
    let (read, write) = pipe();
    let reader = drained(read);
    let tool = script(&directory, "echo words >&2; head -c 200000000 /dev/zero");
    let answer = tool.call().output_max(10).run_into(&Context::default(), write).unwrap();
    assert_eq!((answer.stdout.len(), answer.stderr.as_slice()), (0, &b"words\n"[..]));
    assert_eq!(reader.join().unwrap(), 200_000_000);
}

#[test]
fn a_slow_reader_gets_everything_after_the_tool_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (read, write) = pipe();
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drained(read).join().unwrap()
    });
    // The tool fills its pipe and exits; nobody's clock runs meanwhile.
    let tool = script(&directory, "head -c 900000 /dev/zero");
    tool.call().timeout(Duration::from_millis(300)).run_into(&Context::default(), write).unwrap();
    assert_eq!(reader.join().unwrap(), 900_000);
}

#[test]
fn a_stream_that_nobody_reads_ends_the_tool() {
    let directory = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    for body in ["exec cat /dev/zero", "exec sleep 60"] {
        let (read, write) = pipe();
        drop(read);
        let error = script(&directory, body).call().run_into(&Context::default(), write).unwrap_err();
        assert!(error.message().starts_with("nobody reads what"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_failure_in_the_middle_of_a_stream_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (read, write) = pipe();
    let reader = drained(read);
    let tool = script(&directory, "head -c 300000 /dev/zero; echo 'the pool is suspended' >&2; exit 1");
    let error = tool.call().run_into(&Context::default(), write).unwrap_err();
    assert!(error.message().ends_with("exit code 1: the pool is suspended"), "{error}");
    assert_eq!(reader.join().unwrap(), 300_000);
}

#[test]
fn a_stream_comes_in_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (read, write) = pipe();
    let writer = std::thread::spawn(move || {
        let mut end = std::fs::File::from(write);
        for _ in 0..1000 {
            end.write_all(&vec![7; 100_000]).unwrap();
        }
    });
    let answer = script(&directory, "exec wc -c").call().run_from(&Context::default(), read).unwrap();
    assert_eq!(answer.text().unwrap().trim(), "100000000");
    writer.join().unwrap();
}

#[test]
fn a_file_is_a_stream_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stream");
    std::fs::write(&path, vec![1; 3_000_000]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let answer = script(&directory, "exec wc -c").call().run_from(&Context::default(), file.into()).unwrap();
    assert_eq!(answer.text().unwrap().trim(), "3000000");
    let copy = directory.path().join("copy");
    let out = std::fs::File::create(&copy).unwrap();
    let body = format!("exec cat {}", path.display());
    script(&directory, &body).call().run_into(&Context::default(), out.into()).unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), 3_000_000);
}

#[test]
fn a_tool_that_stops_reading_frees_the_sender() {
    let directory = tempfile::tempdir().unwrap();
    for (body, code) in [("head -c 10 >/dev/null; exit 4", 4), ("exec <&-; sleep 0.3; exit 4", 4)] {
        let (read, write) = pipe();
        let writer = std::thread::spawn(move || {
            let mut end = std::fs::File::from(write);
            let zeros = vec![0; 1 << 20];
            (0..1000).find_map(|_| end.write_all(&zeros).err()).map(|error| error.kind())
        });
        let answer = script(&directory, body).call().accept(code).run_from(&Context::default(), read);
        assert_eq!(answer.unwrap().code, code);
        assert_eq!(writer.join().unwrap(), Some(std::io::ErrorKind::BrokenPipe), "{body}");
    }
}

#[test]
fn only_a_tools_own_silence_counts() {
    let directory = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(400);
    // It writes nothing, reads nothing, or does not end.
    let (read, write) = pipe();
    let reader = drained(read);
    let silent = script(&directory, "exec sleep 60").call().timeout(limit);
    assert_eq!(silent.run_into(&Context::default(), write).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(reader.join().unwrap(), 0);
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let deaf = script(&directory, "exec sleep 60").call().timeout(limit);
    assert_eq!(deaf.run_from(&Context::default(), zeros.into()).unwrap_err().kind(), ErrorKind::Timeout);
    let empty = tempfile::tempfile().unwrap();
    let lingering = script(&directory, "cat; exec sleep 60").call().timeout(limit);
    assert_eq!(lingering.run_from(&Context::default(), empty.into()).unwrap_err().kind(), ErrorKind::Timeout);
    // The sender is the silent one.
    let (read, write) = pipe();
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1200));
        std::fs::File::from(write).write_all(b"late").unwrap();
    });
    let patient = script(&directory, "exec cat").call().timeout(limit);
    assert_eq!(patient.run_from(&Context::default(), read).unwrap().text().unwrap(), "late");
    sender.join().unwrap();
    // The whole may take longer than the silence.
    let (read, write) = pipe();
    let reader = drained(read);
    let slow = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done";
    script(&directory, slow).call().timeout(limit).run_into(&Context::default(), write).unwrap();
    assert_eq!(reader.join().unwrap(), 12);
}
