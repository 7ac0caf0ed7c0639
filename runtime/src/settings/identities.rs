//! Which users of the host a container's users are (`lxc.idmap`), and how its root filesystem shows them
//! (`lxc.rootfs.options`).
//!
//! A container with a map runs in a user namespace of its own. Its files either lie on the disk with the host's numbers, as LXC's
//! tools leave them, or with the container's own (`idmap=container`): then the root is shown through an id-mapped mount, and
//! one tree serves containers with different maps.

use keiki_config::Setting;
use keiki_core::{ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{Part, Taken, invalid, refuse};

/// The identities of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identities {
    pub(crate) users: Vec<IdRange>,
    pub(crate) groups: Vec<IdRange>,
    pub(crate) root: RootOwners,
}

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdRange {
    /// The first one, as the container sees it.
    pub(crate) inside: u32,
    /// The same one, as the host sees it.
    pub(crate) outside: u32,
    pub(crate) count: u32,
}

/// Whose numbers the files of a root filesystem have on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RootOwners {
    /// The host's.
    #[default]
    Host,
    /// The container's own (`idmap=container`).
    Container,
}

impl Identities {
    /// Returns whether the container has users of its own.
    pub(crate) fn are_mapped(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    /// Returns the host's number of a user of the container.
    pub(crate) fn user_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.users, inside)
    }

    /// Returns the host's number of a group of the container.
    pub(crate) fn group_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.groups, inside)
    }

    /// Checks what can be said only of all lines together.
    ///
    /// # Errors
    /// `InvalidArgument` for ranges that overlap, or a container without a root.
    pub(super) fn check(&self, place: &str) -> Result<()> {
        if !self.are_mapped() {
            return Ok(());
        }
        let bad =
            |why: &str| Err(keiki_core::Error::new(ErrorKind::InvalidArgument, format!("{place}: {why}")));
        for (ranges, what) in [(&self.users, "user"), (&self.groups, "group")] {
            if overlap(ranges) {
                return bad(&format!("ranges of {what}s in lxc.idmap overlap"));
            }
            if outside(ranges, 0).is_none() {
                return bad(&format!("lxc.idmap maps no {what} 0: there would be no root"));
            }
        }
        Ok(())
    }
}

fn outside(ranges: &[IdRange], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = inside.checked_sub(range.inside).filter(|at| *at < range.count)?;
        range.outside.checked_add(at)
    })
}

fn overlap(ranges: &[IdRange]) -> bool {
    let meet = |a: u32, b: u32, one: &IdRange, other: &IdRange| {
        u64::from(a) < u64::from(b) + u64::from(other.count)
            && u64::from(b) < u64::from(a) + u64::from(one.count)
    };
    ranges.iter().enumerate().any(|(at, one)| {
        ranges[at + 1..].iter().any(|other| {
            meet(one.inside, other.inside, one, other) || meet(one.outside, other.outside, one, other)
        })
    })
}

impl Part for Identities {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.idmap" => self.map(line)?,
            "lxc.rootfs.options" => return self.root_options(line),
            _ => return Ok(Taken::NotMine),
        }
        Ok(Taken::Applied)
    }
}

impl Identities {
    fn map(&mut self, line: &Setting) -> Result<()> {
        let bad =
            || invalid(line, "write `KIND INSIDE OUTSIDE COUNT` as in `u 0 100000 65536`, KIND being u or g");
        let words: Vec<&str> = line.value.split_ascii_whitespace().collect();
        let [kind, inside, outside, count] = words[..] else { return Err(bad()) };
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let range = IdRange { inside: number(inside)?, outside: number(outside)?, count: number(count)? };
        let fits = |first: u32| first.checked_add(range.count).is_some();
        if range.count == 0 || !fits(range.inside) || !fits(range.outside) {
            return Err(invalid(line, "the range is empty or goes beyond the last id"));
        }
        match kind {
            "u" => self.users.push(range),
            "g" => self.groups.push(range),
            _ => return Err(bad()),
        }
        Ok(())
    }

    fn root_options(&mut self, line: &Setting) -> Result<Taken> {
        for word in line.value.split(',').filter(|word| !word.is_empty()) {
            match word {
                "idmap=container" => self.root = RootOwners::Container,
                // What a root filesystem is mounted with is the store's to say.
                "defaults" | "rw" => {}
                _ => {
                    let why = format!("this version of keiki has no `{word}` for a root filesystem");
                    return Err(refuse(line, ErrorKind::Unsupported, &why));
                }
            }
        }
        Ok(Taken::Applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Identities> {
        super::super::read(text.as_bytes(), std::path::Path::new("/c/config"), "web")
            .map(|(settings, _)| settings.identities)
    }

    #[test]
    fn maps_are_read_and_looked_up() {
        let read =
            read("lxc.idmap = u 0 100000 1000\nlxc.idmap = u 1000 1000 1\nlxc.idmap = g 0 200000 65536\n")
                .unwrap();
        assert!(read.are_mapped());
        let users = [0, 999, 1000, 1001].map(|inside| read.user_outside(inside));
        assert_eq!(users, [Some(100_000), Some(100_999), Some(1000), None]);
        assert_eq!(read.group_outside(5), Some(200_005));
        assert_eq!(read.root, RootOwners::Host);
    }

    #[test]
    fn the_root_may_have_the_containers_own_numbers() {
        let read = read("lxc.rootfs.options = defaults,idmap=container\n").unwrap();
        assert_eq!((read.are_mapped(), read.root), (false, RootOwners::Container));
    }

    #[test]
    fn maps_that_cannot_be_are_refused_with_their_place() {
        let groups = "lxc.idmap = g 0 100000 65536\n";
        let table = [
            ("lxc.idmap = u 0 100000 0", "1:"),
            ("lxc.idmap = u 0 4294967295 2", "is not a mapping"),
            ("lxc.idmap = u 0 100000 10\nlxc.idmap = u 5 200000 10", "overlap"),
            ("lxc.idmap = u 0 100000 10\nlxc.idmap = u 10 100009 10", "overlap"),
            ("lxc.idmap = u 1 100000 10", "no user 0"),
            ("lxc.rootfs.options = idmap=/proc/1/ns/user", "idmap=/proc"),
        ];
        for (text, expected) in table {
            let error = read(&format!("{text}\n{groups}")).unwrap_err().full_message();
            assert!(error.contains(expected) && error.contains("/c/config"), "{text}: {error}");
        }
    }
}
