//! `keiki send` and `keiki receive`: what they say, and with which exit code.

use std::process::{Command, Stdio};

use crate::harness::{Bed, Run};
use crate::need_host;

/// A container with a snapshot, and the stream of it in the file `stream`.
fn sent() -> Bed {
    let bed = Bed::new();
    bed.base("dir");
    bed.line("snapshot create base").ok();
    let said = into_file(&bed, "send base", "stream");
    assert_eq!(without_size(&said.stderr), "sent base (1 snapshot and the present state, tree-1");
    assert_eq!(said.code, 0, "{said}");
    bed
}

fn command(bed: &Bed, line: &str) -> Command {
    let mut command = bed.command();
    command.arg("-P").arg(bed.lxcpath()).args(line.split_whitespace());
    command
}

fn into_file(bed: &Bed, line: &str, file: &str) -> Run {
    let mut command = command(bed, line);
    let out = std::fs::File::create(bed.path().join(file)).unwrap();
    let output = command.stdout(Stdio::from(out)).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    Run {
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

fn from_file(bed: &Bed, line: &str, file: &str) -> Run {
    let mut command = command(bed, line);
    command.stdin(std::fs::File::open(bed.path().join(file)).unwrap());
    bed.run(command)
}

/// Takes away how large a stream was: another busybox makes another.
fn without_size(text: &str) -> &str {
    text.rsplit_once(", ").map_or(text, |(words, _)| words)
}

#[test]
fn a_container_is_sent_and_received_and_brought_up_to_date() {
    need_host!();
    let bed = sent();
    let new = from_file(&bed, "receive --as copy", "stream").ok();
    assert_eq!(without_size(&new), "received copy (dir, new, 1 snapshot, tree-1");
    bed.write("base", "etc/state", "changed");
    into_file(&bed, "send base --since snap0", "changes").ok();
    let changed = from_file(&bed, "receive --as copy", "changes").ok();
    assert_eq!(without_size(&changed), "received copy (dir, brought up to date, 0 snapshots, tree-1");
    assert_eq!(bed.read("copy", "etc/state"), "changed");
    bed.assert_clean();
}

#[test]
fn what_cannot_be_sent_is_said() {
    need_host!();
    let bed = sent();
    insta::assert_snapshot!(bed.line("send nobody"), @r"
    --- stderr
    error: cannot send `nobody`: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
    for line in ["send base@nope", "send base --since nope"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(bed.line(line), @r"
            --- stderr
            error: cannot send `base`: container `base` has no snapshot `nope`
            hint: `keiki snapshot list base` shows what there is
            --- exit 3
            ");
        }
    }
    insta::assert_snapshot!(bed.line("send base --native"), @r"
    --- stderr
    error: cannot send `base`: the dir store has no streams of its own
    hint: send without `--native`: every store understands that
    --- exit 7
    ");
    insta::assert_snapshot!(bed.line("send --resume zz"), @r"
    --- stderr
    error: this is not what a receiver of a cut stream said
    hint: copy the whole word that `keiki receive --pending` prints on the receiving host
    --- exit 2
    ");
}

#[test]
fn what_cannot_be_received_is_said() {
    need_host!();
    let bed = sent();
    insta::assert_snapshot!(from_file(&bed, "receive", "stream"), @r"
    --- stderr
    error: cannot receive `base`: container `base` exists
    hint: choose another name, or `keiki destroy base` first
    --- exit 4
    ");
    into_file(&bed, "send base --since snap0", "changes").ok();
    insta::assert_snapshot!(from_file(&bed, "receive --as fresh", "changes"), @r"
    --- stderr
    error: cannot receive `fresh`: there is no container `fresh` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    hint: this stream holds only changes: send it whole first, without `--since`
    --- exit 3
    ");
    std::fs::write(bed.path().join("script"), "#!/bin/sh\necho hello world").unwrap();
    insta::assert_snapshot!(from_file(&bed, "receive", "script"), @r"
    --- stderr
    error: this is no stream that keiki can receive: it does not begin as one
    hint: pipe `keiki send NAME` into it, of the same or an older keiki
    --- exit 1
    ");
    insta::assert_snapshot!(bed.line("receive"), @r"
    --- stderr
    error: this is no stream that keiki can receive: it is empty or too short
    hint: pipe `keiki send NAME` into it, of the same or an older keiki
    --- exit 1
    ");
    assert_eq!(bed.names(), "base\n");
    bed.assert_clean();
}

#[test]
fn a_cut_stream_is_listed_continued_and_discarded() {
    need_host!();
    let bed = sent();
    let whole = std::fs::read(bed.path().join("stream")).unwrap();
    std::fs::write(bed.path().join("half"), &whole[..whole.len() / 2]).unwrap();
    let cut = from_file(&bed, "receive --as copy", "half");
    assert_eq!(cut.code, 1, "{cut}");
    assert!(cut.stderr.starts_with("error: cannot receive `copy`: the stream was cut\n"), "{cut}");
    let listed = bed.line("receive --pending --format csv").ok();
    let token = listed.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap();
    assert!(cut.stderr.contains(&format!("`keiki send --resume {token} | … keiki receive`")), "{cut}");
    assert!(cut.stderr.contains("`keiki receive --discard copy` throws away"), "{cut}");
    assert_eq!(bed.names(), "base\n");
    into_file(&bed, &format!("send --resume {token}"), "rest").ok();
    from_file(&bed, "receive", "rest").ok();
    assert_eq!(bed.names(), "base\ncopy\n");
    from_file(&bed, "receive --as other", "half");
    assert_eq!(bed.line("receive --discard other").ok(), "discarded 1 stream of other\n");
    insta::assert_snapshot!(bed.line("receive --discard other"), @r"
    --- stderr
    error: no stream of `other` was cut here
    hint: `keiki receive --pending` shows what there is
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("receive --finish other"), @r"
    --- stderr
    error: no stream of `other` is complete here
    hint: `keiki receive --pending` shows what there is, and how to continue it
    --- exit 3
    ");
    assert_eq!(bed.line("receive --offer").ok(), "tree-1\n");
    bed.assert_clean();
}

#[test]
fn a_stream_is_neither_written_to_a_terminal_nor_read_from_one() {
    need_host!();
    let bed = sent();
    let script = "/usr/bin/script";
    if !std::path::Path::new(script).exists() {
        println!("skipped: needs the program `script`");
        return;
    }
    for (line, words) in [
        ("send base", "error: a stream is not written to a terminal"),
        ("receive", "error: a stream is not read from a terminal"),
    ] {
        let keiki = command(&bed, line);
        let shown: Vec<String> = std::iter::once(keiki.get_program())
            .chain(keiki.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let mut on_terminal = Command::new(script);
        on_terminal
            .env_clear()
            .env("NO_COLOR", "1")
            .args(["-qec", &shown.join(" "), "/dev/null"])
            .stdin(Stdio::null());
        on_terminal.envs(keiki.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let run = bed.run(on_terminal);
        assert_eq!(run.code, 2, "{line}: {run}");
        assert!(run.stdout.contains(words) && run.stdout.contains("hint: pipe it"), "{line}: {run}");
    }
}
