//! [`Mark`]: the note on each of our interfaces that says whose it is.
//!
//! An interface carries text that nothing else uses (`ip link` shows it as `alias`): `keiki:OWNER:NUMBER` on what was made for a
//! container, `keiki:OWNER:NUMBER:NAME` on hardware that was lent and is called NAME at home. So what a killed monitor left is
//! found on the interface itself, also when every file is gone. What carries no mark is not ours and is never touched.

use std::fmt;

use keiki_core::{Error, ErrorKind, Result};
use netlink_packet_route::link::LinkAttribute;
use serde::{Deserialize, Serialize};

use crate::name::InterfaceName;
use crate::netlink::{Link, Rtnetlink, numbered};

/// The beginning of every mark.
const KEIKI: &str = "keiki:";

/// The kernel takes 255 bytes.
const MARK_MAX: usize = 255;

/// Whose an interface is: a text that the caller chooses, the same for the life of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner(String);

impl Owner {
    /// Returns the owner called `text`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an empty text, one with `:` or control characters, and one of over 200 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let is_short = (1..=MARK_MAX - 55).contains(&text.len());
        if is_short && !text.chars().any(|c| c == ':' || c.is_control()) {
            return Ok(Self(text));
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` cannot be noted on an interface")))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is noted on an interface of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Whose it is.
    pub owner: Owner,
    /// Its number among the interfaces of that container.
    pub number: u32,
    /// What it is called at home, if it was not made but lent.
    pub home: Option<InterfaceName>,
}

impl Mark {
    /// Returns the mark that a text is, if it is one.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(KEIKI)?.split(':');
        let owner = Owner::new(parts.next()?).ok()?;
        let number = parts.next()?.parse().ok()?;
        let home = parts.next().map(InterfaceName::parse).transpose().ok()?;
        parts.next().is_none().then_some(Self { owner, number, home })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEIKI}{}:{}", self.owner.0, self.number)?;
        match &self.home {
            Some(home) => write!(f, ":{home}"),
            None => Ok(()),
        }
    }
}

/// An interface that carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The interface.
    pub link: Link,
    /// Its mark.
    pub mark: Mark,
}

/// Returns every interface in the namespace of `network` that carries a mark of ours.
///
/// # Errors
/// What the kernel says.
pub fn find_marked(network: &mut Rtnetlink) -> Result<Vec<Marked>> {
    let marked = |link: Link| {
        let mark = Mark::read(link.alias.as_deref()?)?;
        Some(Marked { link, mark })
    };
    Ok(network.links()?.into_iter().filter_map(marked).collect())
}

/// Removes what was made for `owner`, and returns the names of what it removed.
///
/// # Behavior
/// Meant for a container whose monitor is gone: the caller holds its lock. Hardware that was lent is left for
/// [`crate::give_back`]. Done twice it does nothing.
///
/// # Errors
/// What the kernel says; interfaces before the one that could not be removed are gone.
pub fn remove_marked(network: &mut Rtnetlink, owner: &Owner) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for Marked { link, mark } in find_marked(network)? {
        if mark.owner != *owner || mark.home.is_some() {
            continue;
        }
        network
            .delete(link.index)
            .map_err(|refusal| refusal.into_error(format!("cannot remove the interface `{}`", link.name)))?;
        removed.push(link.name);
    }
    Ok(removed)
}

/// Notes `text` on an interface.
pub(crate) fn note(network: &mut Rtnetlink, index: u32, text: &str) -> Result<()> {
    let mut message = numbered(index);
    message.attributes.push(LinkAttribute::IfAlias(text.to_owned()));
    network
        .set(message)
        .map_err(|refusal| refusal.into_error(format!("cannot note `{text}` on interface number {index}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_we_write_is_a_mark() {
        let owner = Owner::new("1f/web1").unwrap();
        let made = Mark { owner: owner.clone(), number: 2, home: None };
        assert_eq!(made.to_string(), "keiki:1f/web1:2");
        let lent = Mark { home: Some(InterfaceName::parse("enp3s0").unwrap()), ..made };
        assert_eq!(lent.to_string(), "keiki:1f/web1:2:enp3s0");
        for foreign in [
            "",
            "keiki",
            "keiki:",
            "keiki:web1",
            "keiki:web1:x",
            "lan",
            "keiki:a:1:b:c",
            "keiki::1",
            "keiki:a:1:",
        ] {
            assert_eq!(Mark::read(foreign), None, "{foreign}");
        }
        assert!(
            Owner::new("a:b").is_err() && Owner::new("").is_err() && Owner::new("x".repeat(201)).is_err()
        );
    }

    proptest! {
        #[test]
        fn a_mark_is_read_back(owner in "[a-zA-Z0-9./_-]{1,200}", number: u32, home in proptest::option::of("[a-z][a-z0-9]{0,14}")) {
            prop_assume!(home.as_deref() != Some("all") && home.as_deref() != Some("default"));
            let home = home.map(|name| InterfaceName::parse(&name).unwrap());
            let mark = Mark { owner: Owner::new(owner).unwrap(), number, home };
            prop_assert!(mark.to_string().len() <= MARK_MAX);
            prop_assert_eq!(Mark::read(&mark.to_string()), Some(mark));
        }
    }
}
