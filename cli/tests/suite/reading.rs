//! Everything that reads, in every form.

use crate::harness::Bed;
use crate::need_host;

/// A small family: base (dir) with a snapshot, two shared clones, one copy of a clone.
fn family() -> Bed {
    let bed = Bed::new();
    bed.base("dir");
    bed.keiki(["snapshot", "create", "base", "-c", "clean"]).ok();
    bed.line("clone --snapshot base web1 web2").ok();
    bed.line("clone --copy web1 solo").ok();
    bed
}

#[test]
fn ls_lists_in_every_format() {
    need_host!();
    let bed = family();
    insta::assert_snapshot!(bed.line("ls").ok(), @"");
    insta::assert_snapshot!(bed.line("ls -1").ok(), @"");
    insta::assert_snapshot!(bed.line("ls --format json base").ok(), @"");
    insta::assert_snapshot!(bed.line("ls --format yaml web1").ok(), @"");
    insta::assert_snapshot!(bed.line("ls --format csv").ok(), @"");
    insta::assert_snapshot!(bed.line("ls --stopped -c name,dependents base web1").ok(), @"");
    insta::assert_snapshot!(bed.line("ls --running").ok(), @"");
}

#[test]
fn an_empty_lxcpath_lists_nothing_in_every_format() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("ls"), @"");
    insta::assert_snapshot!(bed.line("ls --format json"), @"");
    insta::assert_snapshot!(bed.line("ls --format csv -c name,state"), @"");
    insta::assert_snapshot!(bed.line("tree"), @"");
    insta::assert_snapshot!(bed.line("df"), @"");
}

#[test]
fn unknown_fields_and_containers_are_named() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("ls -c name,age"), @"");
    insta::assert_snapshot!(bed.line("ls nobody"), @"");
    insta::assert_snapshot!(bed.line("info nobody"), @"");
    insta::assert_snapshot!(bed.line("tree nobody"), @"");
}

#[test]
fn info_shows_one_container_in_every_format() {
    need_host!();
    let bed = family();
    let sized = |text: String| without_sizes(&text);
    insta::assert_snapshot!(sized(bed.line("info base").ok()), @"");
    insta::assert_snapshot!(sized(bed.line("info base --format json").ok()), @"");
    insta::assert_snapshot!(sized(bed.line("info web1 --format yaml").ok()), @"");
}

#[test]
fn tree_draws_the_family_with_the_guides_of_the_locale() {
    need_host!();
    let bed = family();
    insta::assert_snapshot!(bed.line("tree").ok(), @"");
    insta::assert_snapshot!(bed.line("tree web1").ok(), @"");
    insta::assert_snapshot!(bed.line("tree --format csv").ok(), @"");
    let mut command = bed.command();
    command.env("LC_ALL", "C").args(["tree", "base", "-P", "lxc"]);
    insta::assert_snapshot!(bed.run(command).ok(), @"");
}

#[test]
fn a_frozen_upper_shows_as_a_layer() {
    need_host!();
    let bed = Bed::new();
    bed.base("overlay");
    bed.line("snapshot create base").ok();
    insta::assert_snapshot!(bed.line("tree").ok(), @"");
}

#[test]
fn df_tells_shared_from_exclusive() {
    need_host!();
    let bed = family();
    let rows = bed.line("df --format csv").ok();
    let number = |name: &str, column: usize| -> u64 {
        let row = rows.lines().find(|row| row.starts_with(&format!("{name},"))).unwrap();
        row.split(',').nth(column).unwrap().parse().unwrap()
    };
    assert!(number("web1", 2) > number("web1", 3), "a clone shares nearly everything: {rows}");
    assert!(number("base", 2) > 100_000, "{rows}");
    assert!(bed.line("df web1").ok().starts_with("NAME"));
}

#[test]
fn stores_say_what_each_can_do() {
    let bed = Bed::new();
    let text = bed.line("stores").ok();
    let head = text.lines().next().unwrap();
    assert!(head.starts_with("NAME") && head.contains("PARENT DESTROY"), "{text}");
    let json = bed.line("stores --format json").ok();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = value.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dir", "overlay"]);
    assert_eq!(value[1]["capabilities"]["parent_delete"], "refused");
}

#[test]
fn check_finds_nothing_wrong_with_a_healthy_family() {
    need_host!();
    let bed = family();
    insta::assert_snapshot!(bed.line("check"), @"");
    insta::assert_snapshot!(bed.line("check --repair --format json"), @"");
}

#[test]
fn colour_is_off_in_pipes_and_on_when_asked_for() {
    let bed = Bed::new();
    assert!(!bed.line("ls").stdout.contains('\x1b'));
    assert!(bed.line("ls --color always").stdout.contains("\x1b[1m"));
    assert!(bed.line("info x --color always").stderr.starts_with("\x1b[1;31merror:\x1b[0m"));
    let mut command = bed.command();
    command.env("NO_COLOR", "1").args(["ls", "-P", "lxc"]);
    assert!(!bed.run(command).stdout.contains('\x1b'));
}

/// Sizes depend on the file system below; everything else in these texts does not.
fn without_sizes(text: &str) -> String {
    let is_size = |line: &str| line.contains("referenced") || line.contains("exclusive");
    let lines = text.lines().map(|line| {
        if !is_size(line) {
            return line.to_owned();
        }
        let label = line.split_inclusive(':').next().unwrap_or(line);
        format!("{label} SIZE")
    });
    lines.collect::<Vec<_>>().join("\n")
}
