//! Create, clone, snapshot, restore, rename, flatten, destroy, on each store.

use crate::harness::{Bed, STORES};
use crate::need_host;

#[test]
fn a_family_grows_and_goes_on_every_store() {
    need_host!();
    for store in STORES {
        let bed = Bed::new();
        assert_eq!(bed.base(store), format!("created base ({store})\n"));
        let cloned = bed.line("clone --snapshot base web1").ok();
        assert_eq!(cloned, "cloned web1 from base (overlay, shares data, no data copied)\n");
        bed.write("web1", "etc/state", "before");
        let taken = bed.keiki(["snapshot", "create", "web1", "-c", "before the change"]).ok();
        assert_eq!(taken, "created web1@snap0 (overlay, shares data, no data copied)\n");
        bed.write("web1", "etc/state", "after");
        bed.line("snapshot restore web1 snap0").ok();
        assert_eq!(bed.read("web1", "etc/state"), "before", "{store}");
        bed.line("destroy --with-dependents base").ok();
        assert_eq!(bed.names(), "", "{store}");
        bed.assert_clean();
    }
}

#[test]
fn destroying_an_origin_is_refused_and_names_everyone_and_the_remedies() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("clone --snapshot base web1 web2").ok();
    insta::assert_snapshot!(bed.line("destroy base"), @r"
    --- stderr
    error: cannot destroy `base`: its data is needed by web1, web2
      dependents: web1, web2
    hint: `keiki flatten web1` gives `web1` data of its own
    hint: `keiki flatten web2` gives `web2` data of its own
    hint: `keiki destroy --with-dependents base` destroys all of them
    --- exit 5
    ");
    insta::assert_snapshot!(bed.line("destroy --dry-run base"), @r"
    --- stderr
    error: cannot destroy `base`: its data is needed by web1, web2
      dependents: web1, web2
    hint: `keiki flatten web1` gives `web1` data of its own
    hint: `keiki flatten web2` gives `web2` data of its own
    hint: `keiki destroy --with-dependents base` destroys all of them
    --- exit 5
    ");
    insta::assert_snapshot!(bed.line("destroy --dry-run --with-dependents base"), @r"
    would destroy container `web1`, which depends on it
    would destroy container `web2`, which depends on it
    would destroy container `base`
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("destroy --dry-run --with-dependents --format csv base"), @r"
    name,kind,action,cause,container
    web1,container,destroy,dependent,web1
    web2,container,destroy,dependent,web2
    base,container,destroy,named,base
    --- exit 0
    ");
    assert_eq!(bed.names(), "base\nweb1\nweb2\n");
}

#[test]
fn destroying_goes_on_after_a_refusal_and_exits_with_the_first_code() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("clone --copy base a").ok();
    bed.line("clone --snapshot base b").ok();
    insta::assert_snapshot!(bed.line("destroy base nobody a"), @r"
    destroyed a
    --- stderr
    error: cannot destroy `base`: its data is needed by b
      dependents: b
    hint: `keiki flatten b` gives `b` data of its own
    hint: `keiki destroy --with-dependents base` destroys all of them
    error: there is no container `nobody` in `$BED/lxc`
    hint: `keiki ls` shows what there is; `-P` chooses another lxcpath
    --- exit 5
    ");
    assert_eq!(bed.names(), "b\nbase\n");
}

#[test]
fn a_container_with_snapshots_is_kept_until_they_are_named() {
    need_host!();
    let bed = Bed::new();
    bed.base("overlay");
    bed.line("snapshot create base --name monday").ok();
    insta::assert_snapshot!(bed.line("destroy base"), @r"
    --- stderr
    error: cannot destroy `base`: it has snapshots: base@monday
      dependents: base@monday
    hint: `keiki destroy --with-snapshots base` destroys its snapshots too
    --- exit 5
    ");
    insta::assert_snapshot!(bed.line("destroy --with-snapshots base"), @r"
    destroyed base
    destroyed base@monday
    --- exit 0
    ");
    bed.assert_clean();
}

#[test]
fn a_clone_without_a_flag_says_by_which_means_it_was_made() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    insta::assert_snapshot!(bed.line("clone base shared"), @r"
    cloned shared from base (overlay, shares data, no data copied)
    --- exit 0
    ");
    insta::assert_snapshot!(bed.line("clone --copy base copied"), @r"
    cloned copied from base (dir, independent copy, data copied)
    --- exit 0
    ");
    assert!(bed.line("ls --format csv -c name,origin copied").ok().contains("copied,base"));
}

#[test]
fn a_clone_gets_copies_of_the_files_that_its_configuration_names() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    let home = bed.lxcpath().join("base");
    std::fs::create_dir(home.join("hooks")).unwrap();
    std::fs::write(home.join("fstab"), "none tmp tmpfs defaults 0 0\n").unwrap();
    std::fs::write(home.join("hooks/stop"), "#!/bin/sh\n").unwrap();
    let mut config = std::fs::read_to_string(home.join("config")).unwrap();
    config.push_str(&format!(
        "lxc.mount.fstab = {0}/fstab\nlxc.hook.destroy = {0}/hooks/stop\n",
        home.display()
    ));
    std::fs::write(home.join("config"), config).unwrap();
    bed.line("clone --snapshot base web1").ok();
    let clone = bed.lxcpath().join("web1");
    assert!(clone.join("fstab").is_file() && clone.join("hooks/stop").is_file());
    let config = std::fs::read_to_string(clone.join("config")).unwrap();
    assert!(config.contains("/web1/fstab\n") && config.contains("/web1/hooks/stop\n"), "{config}");
    bed.line("destroy --with-dependents base").ok();
    bed.assert_clean();
}

#[test]
fn clones_are_counted_and_made_all_or_none() {
    need_host!();
    let bed = Bed::new();
    bed.base("overlay");
    bed.line("clone --snapshot base web --count 3").ok();
    assert_eq!(bed.names(), "base\nweb1\nweb2\nweb3\n");
    assert_eq!(bed.line("clone --snapshot base x1 web2 x3").code, 4);
    assert_eq!(bed.names(), "base\nweb1\nweb2\nweb3\n");
}

#[test]
fn a_clone_of_a_snapshot_has_what_the_snapshot_has() {
    need_host!();
    for store in STORES {
        let bed = Bed::new();
        bed.base(store);
        bed.write("base", "etc/state", "old");
        bed.line("snapshot create base").ok();
        bed.write("base", "etc/state", "new");
        bed.line("clone base@snap0 then").ok();
        assert_eq!(bed.read("then", "etc/state"), "old", "{store}");
        bed.line("snapshot restore base snap0 --as again").ok();
        assert_eq!(bed.read("again", "etc/state"), "old", "{store}");
        assert_eq!(bed.read("base", "etc/state"), "new", "{store}");
    }
}

#[test]
fn snapshots_are_named_commented_and_destroyed_one_by_one() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("snapshot create base").ok();
    bed.line("snapshot create base").ok();
    bed.keiki(["snapshot", "comment", "base", "snap1", "a, \"b\""]).ok();
    insta::assert_snapshot!(bed.line("snapshot list base"), @r#"
    NAME   CREATED               STORE  DEPENDENTS  COMMENT
    snap0  TIME  dir    -           -
    snap1  TIME  dir    -           a, "b"
    --- exit 0
    "#);
    insta::assert_snapshot!(bed.line("snapshot list base --format csv"), @r#"
    name,created,comment,dependents,store,source
    snap0,TIME,,,dir,dir:$BED/lxc/base/snaps/snap0/rootfs
    snap1,TIME,"a, ""b""",,dir,dir:$BED/lxc/base/snaps/snap1/rootfs
    --- exit 0
    "#);
    insta::assert_snapshot!(bed.line("snapshot destroy base snap0 snap7"), @r"
    destroyed base@snap0
    --- stderr
    error: container `base` has no snapshot `snap7`
    hint: `keiki snapshot list base` shows what there is
    --- exit 3
    ");
    assert!(!bed.line("snapshot list base").ok().contains("snap0"));
}

#[test]
fn rename_moves_a_container_and_is_refused_while_others_need_its_place() {
    need_host!();
    for store in STORES {
        let bed = Bed::new();
        bed.base(store);
        assert_eq!(bed.line("rename base origin").ok(), "renamed base to origin\n");
        bed.line("clone --snapshot origin web1").ok();
        let refused = bed.line("rename origin other");
        assert_eq!(refused.code, 5, "{refused}");
        assert!(refused.stderr.contains("web1"), "{refused}");
        assert_eq!(bed.names(), "origin\nweb1\n");
    }
}

#[test]
fn a_flattened_clone_survives_its_origin() {
    need_host!();
    for store in STORES {
        let bed = Bed::new();
        bed.base(store);
        bed.write("base", "etc/state", "old");
        bed.line("clone --snapshot base web1").ok();
        bed.line("flatten web1").ok();
        bed.line("destroy base").ok();
        assert_eq!(bed.read("web1", "etc/state"), "old", "{store}");
    }
}

#[test]
fn quiet_says_nothing_about_what_was_done() {
    need_host!();
    let bed = Bed::new();
    let run = bed.line("create -q base --template busybox");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str(), run.code), ("", "", 0));
}

#[test]
fn verbs_that_a_store_lacks_are_refused_with_what_helps_and_change_nothing() {
    need_host!();
    let bed = Bed::new();
    bed.base("dir");
    bed.line("clone --snapshot base web1").ok();
    insta::assert_snapshot!(bed.line("resize base 1G"), @r"
    --- stderr
    error: cannot resize `base` to 1.0 GiB: volumes of the dir store have no size of their own
    --- exit 7
    ");
    insta::assert_snapshot!(bed.line("quota web1 1G"), @r"
    --- stderr
    error: cannot limit `web1`: the overlay store sets no limits
    hint: `keiki stores` shows which stores do
    --- exit 7
    ");
    insta::assert_snapshot!(bed.line("promote web1"), @r"
    --- stderr
    error: cannot promote `web1`: the overlay store cannot promote
    hint: `keiki flatten web1` makes it independent by a copy
    --- exit 7
    ");
    insta::assert_snapshot!(bed.line("promote base"), @r"
    promoted base: it depends on nobody; needed by web1
    --- exit 0
    ");
    assert_eq!(bed.line("resize base 10X").code, 2);
    assert_eq!(bed.line("check").code, 0);
}
