//! Old names to today's, as LXC's `lxc-update-config` does it, line by line: values, comments and order stay.
//!
//! Otherwise than that script: comments are nobody's keys and stay as they are; a root filesystem that names its store keeps it, and
//! one below `/dev` gets none (the script writes `dir:` before both, and LXC then finds no directory there); interfaces without
//! numbers get none that another one has; `lxc.limit.NAME` becomes `lxc.prlimit.NAME` (the script passes over it).

use std::collections::BTreeSet;

use crate::document::Document;
use crate::keys::{self, REMOVED};

const ROOTFS: &str = "lxc.rootfs";
const BACKEND: &str = "lxc.rootfs.backend";
const NETWORK: &str = "lxc.network.";

/// Stores that LXC 1 and 2 know by a word before the path.
const STORES: [&str; 11] =
    ["aufs", "best", "btrfs", "dir", "loop", "lvm", "nbd", "overlay", "overlayfs", "rbd", "zfs"];

/// One line that a migration changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// The line of the old text, counted from 1.
    pub line: usize,
    /// What the key was called.
    pub old: String,
    /// What it is called; `None` when LXC has no such key any more and the line goes.
    pub new: Option<String>,
}

/// Returns the text with today's names, and which lines changed; none for a text without old names, which stays as it is.
#[must_use]
pub fn migrated(text: &[u8]) -> (Vec<u8>, Vec<Renaming>) {
    let mut document = Document::new(text);
    let mut names = Names::of(&document);
    let mut renamings = Vec::new();
    document.rewrite_lines(|line, key, value| {
        let (new, value) = names.of_line(key, value)?;
        renamings.push(Renaming { line, old: key.to_owned(), new: new.clone() });
        Some((new, value))
    });
    (document.to_bytes(), renamings)
}

/// What a name depends on besides itself.
struct Names {
    /// What `lxc.rootfs.backend` says.
    store: Option<String>,
    /// The numbers of interfaces that are written.
    taken: BTreeSet<u32>,
    /// The interface that unnumbered keys are about: the last that `lxc.network.type` began.
    interface: Option<u32>,
}

/// A line's new key, or none for a line that goes, and its new value where that changes.
type NewLine = (Option<String>, Option<String>);

impl Names {
    fn of(document: &Document) -> Self {
        let mut taken = BTreeSet::new();
        document.for_each(|key, _| {
            let rest = key.strip_prefix(NETWORK).or_else(|| key.strip_prefix("lxc.net."));
            let number =
                rest.and_then(|rest| rest.split('.').next()).and_then(|number| number.parse::<u32>().ok());
            taken.extend(number);
        });
        let store = document.get(BACKEND).filter(|store| !store.is_empty());
        Self { store, taken, interface: None }
    }

    fn of_line(&mut self, key: &str, value: &str) -> Option<NewLine> {
        if REMOVED.iter().any(|(removed, _)| *removed == key) {
            return Some((None, None));
        }
        if key == ROOTFS {
            return Some((keys::renamed(key), Some(self.rootfs(value))));
        }
        let is_numbered =
            |rest: &str| rest.split('.').next().is_some_and(|first| first.parse::<u32>().is_ok());
        match key.strip_prefix(NETWORK) {
            Some(rest) if !is_numbered(rest) => {
                if rest == "type" {
                    self.interface = Some(self.next_interface());
                }
                // Before the first type it is about no interface; LXC refuses it, and so will whoever reads the result.
                let number = self.interface?;
                Some((Some(keys::renamed(&format!("{NETWORK}{number}.{rest}"))?), None))
            }
            _ => Some((Some(keys::renamed(key)?), None)),
        }
    }

    fn next_interface(&mut self) -> u32 {
        let first = self.interface.map_or(0, |last| last.saturating_add(1));
        let number = (first..=u32::MAX).find(|number| !self.taken.contains(number)).unwrap_or(u32::MAX);
        self.taken.insert(number);
        number
    }

    fn rootfs(&self, value: &str) -> String {
        let names_its_store = value.split_once(':').is_some_and(|(store, _)| STORES.contains(&store));
        match &self.store {
            _ if value.is_empty() || names_its_store => value.to_owned(),
            Some(store) => format!("{store}:{value}"),
            None if value.starts_with("/dev/") => value.to_owned(),
            None => format!("dir:{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::model::ContainerConfig;

    fn migrate(text: &str) -> (String, usize) {
        let (text, renamings) = migrated(text.as_bytes());
        (String::from_utf8(text).unwrap(), renamings.len())
    }

    #[test]
    fn every_old_name_becomes_todays_and_nothing_else_changes() {
        let text = "# lxc.utsname in a comment\n\
            lxc.include = /dev/null\n\
            \tlxc.utsname=web1  \r\n\
            lxc.rootfs = /var/lib/lxc/web1/rootfs\nlxc.pivotdir = lxc_putold\nlxc.kmsg = 0\n\
            lxc.network.type = veth\nlxc.network.link = lxcbr0\nlxc.network.ipv4 = 10.0.3.5/24\n\
            lxc.network.ipv4.gateway = auto\nmartian lxc.tty\n\
            lxc.network.type = macvlan\nlxc.network.macvlan.mode = bridge\n\
            lxc.limit.nofile = 1024\nlxc.id_map = u 0 100000 65536\nlxc.cap.drop = sys_time\n";
        let (new, count) = migrate(text);
        assert_eq!(
            new,
            "# lxc.utsname in a comment\n\
            lxc.include = /dev/null\n\
            \tlxc.uts.name=web1  \r\n\
            lxc.rootfs.path = dir:/var/lib/lxc/web1/rootfs\n\
            lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.ipv4.address = 10.0.3.5/24\n\
            lxc.net.0.ipv4.gateway = auto\nmartian lxc.tty\n\
            lxc.net.1.type = macvlan\nlxc.net.1.macvlan.mode = bridge\n\
            lxc.prlimit.nofile = 1024\nlxc.idmap = u 0 100000 65536\nlxc.cap.drop = sys_time\n"
        );
        assert_eq!(count, 12);
        let text = new.replace("lxc.include = /dev/null\n", "");
        ContainerConfig::parse(text.as_bytes(), Path::new("/c")).map_err(|all| all.to_string()).unwrap();
        assert_eq!(migrate(&new), (new, 0));
    }

    #[test]
    fn a_root_filesystem_keeps_or_gets_its_store() {
        for (text, new) in [
            ("lxc.rootfs = /a\n", "lxc.rootfs.path = dir:/a\n"),
            ("lxc.rootfs = /a\nlxc.rootfs.backend = btrfs\n", "lxc.rootfs.path = btrfs:/a\n"),
            ("lxc.rootfs.backend = lvm\nlxc.rootfs = /dev/vg/a", "lxc.rootfs.path = lvm:/dev/vg/a"),
            ("lxc.rootfs = overlayfs:/a:/b\n", "lxc.rootfs.path = overlayfs:/a:/b\n"),
            ("lxc.rootfs = /dev/vg/a\n", "lxc.rootfs.path = /dev/vg/a\n"),
            ("lxc.rootfs = \"/a\"\n", "lxc.rootfs.path = dir:/a\n"),
            ("lxc.rootfs =\n", "lxc.rootfs.path =\n"),
        ] {
            assert_eq!(migrate(text).0, new);
        }
    }

    #[test]
    fn interfaces_get_numbers_that_no_other_has() {
        for (text, new) in [
            (
                "lxc.network.1.type = veth\nlxc.network.1.ipv6 = fd00::1\n",
                "lxc.net.1.type = veth\nlxc.net.1.ipv6.address = fd00::1\n",
            ),
            (
                "lxc.network.0.type = empty\nlxc.network.type = veth\nlxc.network.flags = up\n",
                "lxc.net.0.type = empty\nlxc.net.1.type = veth\nlxc.net.1.flags = up\n",
            ),
            ("lxc.network =\nlxc.network.type = veth\n", "lxc.net =\nlxc.net.0.type = veth\n"),
            (
                "lxc.network.link = a\nlxc.network.type = veth\n",
                "lxc.network.link = a\nlxc.net.0.type = veth\n",
            ),
            ("lxc.network.nonsense = a\n", "lxc.network.nonsense = a\n"),
        ] {
            assert_eq!(migrate(text).0, new);
        }
    }

    /// Every name of the table, through LXC's own script where it is installed: the same lines come out.
    #[test]
    fn plain_names_come_out_as_from_lxc_update_config() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let mut text = String::new();
        for (old, _) in keys::RENAMED {
            text += &format!("{old} = /value\n");
        }
        text += "lxc.network.0.type = veth\nlxc.network.0.link = br0\nlxc.pivotdir = x\nlxc.kmsg = 1\n";
        std::fs::write(&file, &text).unwrap();
        let script = std::process::Command::new("lxc-update-config").arg("-c").arg(&file).output();
        if script.is_err() {
            println!("skipped: needs Debian's lxc package");
            return;
        }
        assert_eq!(migrate(&text).0, std::fs::read_to_string(&file).unwrap());
    }

    proptest! {
        #[test]
        fn a_migration_is_idempotent_and_touches_only_lines_with_old_names(
            lines in proptest::collection::vec(
                "(lxc\\.(utsname|rootfs|rootfs\\.backend|pivotdir|network\\.(type|link|0\\.type|ipv4)|net\\.0\\.type|tty|tty\\.max)|#|x)[ \t]{0,2}=[ \"a/]{0,5}(\n|\r\n)|\\PC{0,9}\n",
                0..12,
            ),
        ) {
            let text = lines.concat();
            let (new, renamings) = migrated(text.as_bytes());
            let again = migrated(&new);
            prop_assert_eq!(again.0, new.clone());
            prop_assert!(again.1.is_empty());
            // What is left when the changed lines are taken out of both is the same.
            let changed: BTreeSet<usize> = renamings.iter().map(|renaming| renaming.line).collect();
            let kept: Vec<&str> = text.split_inclusive('\n').enumerate().filter(|(at, _)| !changed.contains(&(at + 1))).map(|(_, line)| line).collect();
            let new = String::from_utf8(new).unwrap();
            let mut rest = new.split_inclusive('\n');
            prop_assert!(kept.iter().all(|line| rest.any(|new| new == *line)));
        }
    }
}
