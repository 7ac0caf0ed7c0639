//! Help, usage errors and bad names: exit code 2, nothing made.

use crate::harness::Bed;

const VERBS: [&str; 28] = [
    "create",
    "start",
    "stop",
    "attach",
    "exec",
    "run",
    "freeze",
    "unfreeze",
    "cgroup",
    "autostart",
    "wait",
    "clone",
    "snapshot",
    "send",
    "receive",
    "destroy",
    "rename",
    "flatten",
    "promote",
    "resize",
    "quota",
    "config",
    "ls",
    "info",
    "tree",
    "df",
    "stores",
    "check",
];

#[test]
fn every_verb_explains_itself_on_stdout() {
    let bed = Bed::new();
    for verb in VERBS {
        let run = bed.line(&format!("{verb} --help"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{verb}");
        assert!(run.stdout.contains(&format!("Usage: keiki {verb}")), "{verb}: {}", run.stdout);
        assert!(run.stdout.contains("--lxcpath"), "{verb}");
    }
    for verb in ["create", "list", "restore", "destroy", "comment"] {
        let help = bed.line(&format!("snapshot {verb} --help")).ok();
        assert!(help.contains(&format!("Usage: keiki snapshot {verb}")), "{help}");
    }
}

#[test]
fn everything_that_reads_takes_a_format() {
    let bed = Bed::new();
    for verb in ["ls", "info", "tree", "df", "stores", "check", "snapshot list"] {
        assert!(bed.line(&format!("{verb} --help")).ok().contains("table|json|yaml|csv"), "{verb}");
    }
}

#[test]
fn exit_codes_are_in_the_help() {
    insta::assert_snapshot!(Bed::new().line("--help").ok(), @r"
    Manage Linux system containers whose root filesystems live in pluggable stores

    Usage: keiki [OPTIONS] <COMMAND>

    Commands:
      create     Make a container from a template
      start      Start a container in the background
      stop       Stop running containers
      attach     Open a shell in a running container
      exec       Run a command in a running container and pass on its exit code
      run        Run a command as the init of a container, in the foreground
      freeze     Suspend all processes of running containers
      unfreeze   Let the processes of suspended containers go on
      cgroup     Read or set a limit of a running container
      autostart  Start, stop or list the containers that shall run from boot on
      wait       Wait until a container is in a state
      clone      Make containers that begin as another one
      snapshot   Take, list, restore and destroy snapshots
      send       Write a container with its snapshots to stdout, for `keiki receive`
      receive    Read what `keiki send` wrote from stdin
      destroy    Destroy containers
      rename     Give a container another name
      flatten    Make a container independent of those that it was cloned from
      promote    Let those that a container was cloned from depend on it instead
      resize     Make a container's volume larger or smaller
      quota      Limit what a container may hold
      config     Read, check and change the configuration of containers
      net        Make, take down and show the host's network for containers
      ls         List containers [alias: list]
      info       Show one container
      tree       Draw who was made from whom, and who needs whom
      df         Show the space that containers take
      stores     Show the stores, what each can do here, and what is missing
      check      Compare the catalogue with what is on disk
      help       Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
      -P, --lxcpath <DIR>              Directory that holds the containers [default: lxc.lxcpath of
                                       lxc.conf, else /var/lib/lxc; for users $XDG_DATA_HOME/lxc]
      -q, --quiet                      Say nothing about what was done
          --color <auto|always|never>  When to use colour [default: auto]

    Exit codes:
      0 done                      5 others depend on it
      1 failed                    6 busy, locked, or a deadline passed
      2 usage or a bad name       7 the store cannot do it
      3 not found                 8 permission denied
      4 exists already            9 the host lacks something
      exec, attach and run pass on the exit code of the command.

    Environment:
      KEIKI_STATE     directory of the catalogue (/var/lib/keiki; for users $XDG_DATA_HOME/keiki)
      KEIKI_RUN       directory of what runs (/run/keiki; for users $XDG_RUNTIME_DIR/keiki)
      KEIKI_MONITOR   the program keiki-monitor, when it is not beside this one
      KEIKI_LXC_CONF  LXC's global configuration (/etc/lxc/lxc.conf; for users ~/.config/lxc/lxc.conf)
      NO_COLOR        any value switches colour off

    Data goes to stdout, everything else to stderr. `keiki help VERB` says more.
    ");
}

#[test]
fn usage_errors_exit_with_2_and_touch_nothing() {
    let bed = Bed::new();
    for line in [
        "",
        "frobnicate",
        "create",
        "create x",
        "clone --snapshot --copy a b",
        "clone a",
        "exec a",
        "ls --format xml",
        "wait a",
        "run --tmpfs a -- x",
        "ls -1 --format json",
        "stop",
    ] {
        let run = bed.line(line);
        assert_eq!(run.code, 2, "{line}: {run}");
        assert_eq!(run.stdout, "", "{line}");
    }
    assert!(!bed.path().join("state").exists());
}

#[test]
fn bad_names_are_usage_errors_with_a_hint() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("create a/b --template busybox"), @r"
    --- stderr
    error: `a/b` is not a container name: `/` is not allowed
    hint: use letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("info ../x"), @r"
    --- stderr
    error: `../x` cannot be the name of a container
    --- exit 2
    ");
    assert_eq!(std::fs::read_dir(bed.lxcpath()).unwrap().count(), 0);
}

#[test]
fn a_missing_lxcpath_is_not_found() {
    let bed = Bed::new();
    let mut command = bed.command();
    command.args(["ls", "-P", "nowhere"]);
    insta::assert_snapshot!(bed.run(command), @r"
    --- stderr
    error: cannot open the lxcpath `$BED/nowhere`: No such file or directory
    hint: `keiki create` makes it; `-P DIR` names another one
    --- exit 3
    ");
}

#[test]
fn an_unknown_store_names_the_known_ones() {
    let bed = Bed::new();
    insta::assert_snapshot!(bed.line("create x --template busybox --bdev dri"), @r"
    --- stderr
    error: there is no store `dri` in this build of keiki
    hint: stores here: dir, btrfs, loop, lvm, overlay, zfs; `keiki stores` shows what each can do
    --- exit 2
    ");
    insta::assert_snapshot!(bed.line("create x --template busybox --bdev dir,,overlay"), @r"
    --- stderr
    error: `dir,,overlay` is not a list of stores
    hint: write `dir`, `btrfs,dir` or `best`
    --- exit 2
    ");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let bed = Bed::new();
    let mut command = bed.command();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.args(["stores", "-P", "lxc"]).stdout(writer);
    let run = bed.run(command);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}

#[test]
fn a_full_disk_under_stdout_is_a_failure() {
    let bed = Bed::new();
    let mut command = bed.command();
    command.args(["stores", "-P", "lxc"]).stdout(std::fs::File::create("/dev/full").unwrap());
    insta::assert_snapshot!(bed.run(command), @r"
    --- stderr
    error: cannot write to standard output: No space left on device
    --- exit 1
    ");
}

#[test]
fn a_misspelt_failpoint_is_refused() {
    let bed = Bed::new();
    let mut command = bed.command();
    command.env("KEIKI_FAILPOINT", "create.rename:explode");
    command.args(["create", "x", "--template", "busybox", "-P", "lxc"]);
    insta::assert_snapshot!(bed.run(command), @r"
    --- stderr
    error: `create.rename:explode` is not a failpoint
    hint: write KEIKI_FAILPOINT=STEP:kill, STEP:error or STEP:enospc
    --- exit 2
    ");
}
