//! Checked names: whoever holds one need not check it again.
//!
//! Names meet disks, configuration files, zfs datasets and LVM volumes, so the rule for *new* names is the narrowest
//! that all of them accept. Containers that LXC made may carry wider names; [`ContainerName::existing`] takes those
//! as long as they are one path component.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The longest name that we give out: a host name's label, and what LVM and zfs still take with a suffix.
pub const NAME_MAX: usize = 64;

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks a name that a user gives to something new.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidArgument`] unless it has 1 to 64 characters of `A-Z a-z 0-9 . _ -` and begins
            /// with a letter, a digit or `_`.
            pub fn parse(text: &str) -> Result<Self> {
                check_new($what, text)?;
                Ok(Self(text.to_owned()))
            }

            /// Accepts the name of something that is on disk already: any one path component in UTF-8 without
            /// control characters.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidArgument`] for anything that could leave its directory.
            pub fn existing(text: &str) -> Result<Self> {
                check_existing($what, text)?;
                Ok(Self(text.to_owned()))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::existing(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    };
}

name_type! {
    /// The name of a container, unique within one lxcpath.
    ContainerName, "container"
}

name_type! {
    /// The name of a snapshot, unique within one container.
    SnapshotName, "snapshot"
}

fn check_new(what: &str, text: &str) -> Result<()> {
    let bad = |why: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a {what} name: {why}"))
            .with_hint("use letters, digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`"))
    };
    let Some(first) = text.chars().next() else {
        return bad("it is empty");
    };
    if text.len() > NAME_MAX {
        return bad(&format!("it has {} characters, more than {NAME_MAX}", text.len()));
    }
    if let Some(c) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
        return bad(&format!("`{}` is not allowed", c.escape_default()));
    }
    if !(first.is_ascii_alphanumeric() || first == '_') {
        return bad(&format!("it begins with `{first}`"));
    }
    Ok(())
}

fn check_existing(what: &str, text: &str) -> Result<()> {
    let harmless = !text.is_empty()
        && text.len() <= 255
        && text != "."
        && text != ".."
        && !text.chars().any(|c| c == '/' || c.is_control());
    if harmless {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("`{}` cannot be the name of a {what}", text.escape_default()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_and_refused_by_one_table() {
        let longest = "a".repeat(NAME_MAX);
        let too_long = "a".repeat(NAME_MAX + 1);
        for good in ["a", "web1", "Web.1_x-y", "_x", "0", &longest] {
            assert!(ContainerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "a@b", "a\nb", "ä", "a:b", &too_long] {
            assert!(ContainerName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_on_disk_may_be_wider_but_stay_one_component() {
        for good in ["a b", "ä", "a:b", "-x", ".hidden"] {
            assert!(ContainerName::existing(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\0b", "a\nb"] {
            assert!(ContainerName::existing(bad).is_err(), "{bad:?}");
        }
    }
}
