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
    insta::assert_snapshot!(bed.line("ls").ok(), @r"
    NAME  STATE    PID  STORE    ORIGIN  SNAPSHOTS
    base  STOPPED  -    dir      -       snap0
    solo  STOPPED  -    overlay  web1    -
    web1  STOPPED  -    overlay  base    -
    web2  STOPPED  -    overlay  base    -
    ");
    insta::assert_snapshot!(bed.line("ls -1").ok(), @r"
    base
    solo
    web1
    web2
    ");
    insta::assert_snapshot!(bed.line("ls --format json base").ok(), @r#"
    [
      {
        "name": "base",
        "state": "STOPPED",
        "pid": null,
        "store": "dir",
        "origin": null,
        "snapshots": [
          "snap0"
        ],
        "dependents": [
          "web1",
          "web2"
        ],
        "created": "TIME",
        "source": "dir:$BED/lxc/base/rootfs",
        "adopted": true,
        "manager": null
      }
    ]
    "#);
    insta::assert_snapshot!(bed.line("ls --format yaml web1").ok(), @r"
    - name: web1
      state: STOPPED
      pid: null
      store: overlay
      origin: base
      snapshots: []
      dependents: []
      created: TIME
      source: overlay:$BED/lxc/base/rootfs:$BED/lxc/web1/overlay/delta
      adopted: true
      manager: null
    ");
    insta::assert_snapshot!(bed.line("ls --format csv").ok(), @r#"
    name,state,pid,store,origin,snapshots,dependents,created,source,adopted,manager
    base,STOPPED,,dir,,snap0,"web1,web2",TIME,dir:$BED/lxc/base/rootfs,true,
    solo,STOPPED,,overlay,web1,,,TIME,overlay:$BED/lxc/solo/rootfs:$BED/lxc/solo/overlay/delta,true,
    web1,STOPPED,,overlay,base,,,TIME,overlay:$BED/lxc/base/rootfs:$BED/lxc/web1/overlay/delta,true,
    web2,STOPPED,,overlay,base,,,TIME,overlay:$BED/lxc/base/rootfs:$BED/lxc/web2/overlay/delta,true,
    "#);
    insta::assert_snapshot!(bed.line("ls --stopped -c name,dependents base web1").ok(), @r"
    NAME  DEPENDENTS
    base  web1, web2
    web1  -
    ");
    insta::assert_snapshot!(bed.line("ls --running").ok(), @r"NAME  STATE  PID  STORE  ORIGIN  SNAPSHOTS");
}

#[test]
fn an_empty_lxcpath_lists_nothing_in_every_format() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("ls"), @r"
    NAME  STATE  PID  STORE  ORIGIN  SNAPSHOTS
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("ls --format json"), @r"
    []
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("ls --format csv -c name,state"), @r"
    name,state
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("tree"), @r"--- exit 0");
    insta::assert_snapshot!(bed.line("df"), @r"
    NAME  STORE  REFERENCED  EXCLUSIVE  SHARED  SNAPSHOTS  LIMIT
    --- exit 0
    ");
}

#[test]
fn an_lxcpath_that_nobody_made_lists_nothing_unless_it_was_named() {
    let bed = Bed::new();
    std::fs::write(bed.path().join("lxc.conf"), format!("lxc.lxcpath = {}/none\n", bed.path().display()))
        .unwrap();
    for verb in ["ls", "ls -1", "tree", "df"] {
        let mut command = bed.command();
        command.args(verb.split(' '));
        let run = bed.run(command);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{verb}");
        let mut named = bed.command();
        named.args(verb.split(' ')).args(["-P", "none"]);
        assert_eq!(bed.run(named).code, 3, "{verb}");
    }
}

#[test]
fn a_bare_path_to_a_file_is_an_image_and_one_to_a_directory_is_not() {
    let bed = Bed::new();
    for name in ["image", "directory"] {
        let home = bed.lxcpath().join(name);
        std::fs::create_dir(&home).unwrap();
        let root = home.join("root");
        std::fs::write(home.join("config"), format!("lxc.rootfs.path = {}\n", root.display())).unwrap();
        if name == "image" { std::fs::write(root, "").unwrap() } else { std::fs::create_dir(root).unwrap() }
    }
    insta::assert_snapshot!(bed.line("ls -c name,store").ok(), @r"
    NAME       STORE
    directory  dir
    image      loop
    ");
}

#[test]
fn unknown_fields_and_containers_are_named() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("ls -c name,age"), @r"
    --- stderr
    error: there is no field `age`
    hint: fields: name, state, pid, store, origin, snapshots, dependents, created, source, adopted, manager
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("ls nobody"), @r"
    --- stderr
    error: there is no container `nobody`
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("info nobody"), @r"
    --- stderr
    error: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
    insta::assert_snapshot!(bed.line("tree nobody"), @r"
    --- stderr
    error: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 3
    ");
}

#[test]
fn info_shows_one_container_in_every_format() {
    need_host!();
    let bed = family();
    let sized = |text: String| without_sizes(&text);
    insta::assert_snapshot!(sized(bed.line("info base").ok()), @r"
    name:       base
    state:      STOPPED
    pid:        -
    store:      dir
    origin:     -
    snapshots:  snap0  TIME  clean
    dependents: web1, web2
    created:    TIME
    source:     dir:$BED/lxc/base/rootfs
    adopted:    yes
    manager:    -
    home:       $BED/lxc/base
    config:     $BED/lxc/base/config
    referenced: SIZE
    exclusive: SIZE
    ");
    insta::assert_snapshot!(sized(bed.line("info base --format json").ok()), @r#"
    {
      "name": "base",
      "state": "STOPPED",
      "pid": null,
      "store": "dir",
      "origin": null,
      "snapshots": [
        {
          "comment": "clean",
          "created": "TIME",
          "dependents": [],
          "name": "snap0"
        }
      ],
      "dependents": [
        "web1",
        "web2"
      ],
      "created": "TIME",
      "source": "dir:$BED/lxc/base/rootfs",
      "adopted": true,
      "manager": null,
      "home": "$BED/lxc/base",
      "config": "$BED/lxc/base/config",
      "referenced": SIZE
      "exclusive": SIZE
    }
    "#);
    insta::assert_snapshot!(sized(bed.line("info web1 --format yaml").ok()), @r"
    name: web1
    state: STOPPED
    pid: null
    store: overlay
    origin: base
    snapshots: []
    dependents: []
    created: TIME
    source: overlay:$BED/lxc/base/rootfs:$BED/lxc/web1/overlay/delta
    adopted: true
    manager: null
    home: $BED/lxc/web1
    config: $BED/lxc/web1/config
    referenced: SIZE
    exclusive: SIZE
    ");
}

#[test]
fn tree_draws_the_family_with_the_guides_of_the_locale() {
    need_host!();
    let bed = family();
    insta::assert_snapshot!(bed.line("tree").ok(), @r"
    base  dir
    ├─ base@snap0  dir, copy
    ├─ web1  overlay
    │  └─ solo  overlay, copy
    └─ web2  overlay
    ");
    insta::assert_snapshot!(bed.line("tree web1").ok(), @r"
    web1  overlay
    └─ solo  overlay, copy
    ");
    insta::assert_snapshot!(bed.line("tree --format csv").ok(), @r"
    name,kind,parent,relation,depth,store,state,container
    base,container,,,0,dir,STOPPED,base
    base@snap0,snapshot,base,provenance,1,dir,,base
    web1,container,base,dependency,1,overlay,STOPPED,web1
    solo,container,web1,provenance,2,overlay,STOPPED,solo
    web2,container,base,dependency,1,overlay,STOPPED,web2
    ");
    let mut command = bed.command();
    command.env("LC_ALL", "C").args(["tree", "base", "-P", "lxc"]);
    insta::assert_snapshot!(bed.run(command).ok(), @r"
    base  dir
    |- base@snap0  dir, copy
    |- web1  overlay
    |  `- solo  overlay, copy
    `- web2  overlay
    ");
}

#[test]
fn a_frozen_upper_shows_as_a_layer() {
    need_host!();
    let bed = Bed::new();
    bed.base("overlay");
    bed.line("snapshot create base").ok();
    insta::assert_snapshot!(bed.line("tree").ok(), @r"
    (layer of base)  overlay
    ├─ base  overlay
    └─ base@snap0  overlay
    ");
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
    assert!(number("base", 3) > 100_000, "{rows}");
    assert!(number("web1", 3) < number("base", 3) / 10, "a clone shares nearly everything: {rows}");
    let alone = bed.line("df web1").ok();
    assert!(alone.starts_with("NAME"), "{alone}");
    let total = bed.line("df --total --format json base").ok();
    let value: serde_json::Value = serde_json::from_str(&total).unwrap();
    assert!(value[0]["freed"].is_null(), "others need it: {total}");
    assert!(value[0]["needed_by"].to_string().contains("web1"), "{total}");
    let everything = bed.line("df").ok();
    assert!(everything.contains("Destroying all of them with all snapshots would free "), "{everything}");
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
    assert_eq!(names.first(), Some(&"dir"), "{names:?}");
    let overlay = names.iter().position(|name| *name == "overlay").unwrap();
    assert_eq!(value[overlay]["capabilities"]["parent_delete"], "refused");
}

#[test]
fn check_finds_nothing_wrong_with_a_healthy_family() {
    need_host!();
    let bed = family();
    insta::assert_snapshot!(bed.line("check"), @r"
    $BED/lxc: containers checked: 4, volumes: 5; nothing is wrong
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("check --repair --format json"), @r"
    []
    --- exit 0
    ");
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
