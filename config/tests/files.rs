//! Whole files: includes, clearing, messages, and every configuration that LXC itself ships.

use std::fs;
use std::path::Path;

use keiki_config::{ContainerConfig, Flag};

fn messages(text: &str) -> Vec<String> {
    match ContainerConfig::parse(text.as_bytes(), Path::new("/c/config")) {
        Ok(_) => Vec::new(),
        Err(all) => all.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn everything_wrong_is_told_at_once_each_with_its_place() {
    let told =
        messages("lxc.utsname = a\nlxc.tty.max = many\n  lxc.autodev = yes\nlxc.net.0.link = br0\nlxc.foo\n");
    assert_eq!(
        told,
        [
            "/c/config:5:1: `lxc.foo` has no `=`",
            "/c/config:1:1: there is no key `lxc.utsname`",
            "/c/config:2:15: `lxc.tty.max`: `many` is not a whole number",
            "/c/config:3:17: `lxc.autodev`: `yes` is not 0 or 1",
            "/c/config:4:1: `lxc.net.0.type` must come before `lxc.net.0.link`",
        ]
    );
}

#[test]
fn the_last_scalar_counts_lists_add_up_and_an_empty_value_clears() {
    let text = "lxc.tty.max = 1\nlxc.tty.max = 4\nlxc.cap.drop = a b\nlxc.cap.drop = c\nlxc.environment = A=1\n\
                lxc.environment =\nlxc.net.0.type = veth\nlxc.net =\nlxc.hook.start = x\nlxc.hook.stop = y\nlxc.hook =\n";
    let config = ContainerConfig::parse(text.as_bytes(), Path::new("/c")).unwrap();
    assert_eq!(config.number("lxc.tty.max"), Some(4));
    assert_eq!(config.words("lxc.cap.drop"), ["a", "b", "c"]);
    assert_eq!(config.list("lxc.environment").count(), 0);
    assert!(config.networks().is_empty());
    assert_eq!(config.below("lxc.hook.").count(), 0);
    assert!(config.flag("lxc.autodev", Flag::On) && !config.flag("lxc.ephemeral", Flag::Off));
}

#[test]
fn includes_are_read_at_their_line_and_loops_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/2.conf"), "lxc.tty.max = 2\n").unwrap();
    fs::write(at("d/1.conf"), "lxc.tty.max = 1\n").unwrap();
    fs::write(at("d/ignored"), "nonsense = 1\nlxc.nonsense\n").unwrap();
    fs::write(at("config"), format!("lxc.include = {}\nlxc.pty.max = 3\n", at("d").display())).unwrap();
    let config = ContainerConfig::load(&at("config")).unwrap();
    assert_eq!((config.number("lxc.tty.max"), config.number("lxc.pty.max")), (Some(2), Some(3)));
    assert_eq!(config.files().len(), 2);

    fs::write(at("a"), format!("lxc.include = {}\n", at("b").display())).unwrap();
    fs::write(at("b"), format!("\nlxc.include = {}\n", at("a").display())).unwrap();
    let told = ContainerConfig::load(&at("a")).unwrap_err().to_string();
    assert!(told.contains("b:2:15: ") && told.contains("includes itself"), "{told}");

    fs::write(at("c"), "lxc.include = /does/not/exist\nlxc.include = /does/not/exist.d/\n").unwrap();
    let told = ContainerConfig::load(&at("c")).unwrap_err();
    assert_eq!(told.0.len(), 1, "{told}");
}

#[test]
fn every_configuration_that_lxc_ships_is_read() {
    let directory = Path::new("/usr/share/lxc/config");
    if !directory.is_dir() {
        println!("skipped: needs Debian's lxc package");
        return;
    }
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            ContainerConfig::load(&path).map_err(|all| all.to_string()).unwrap();
        }
    }
}
