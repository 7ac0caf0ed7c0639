//! [`InterfaceName`]: a checked name of an interface.

use std::fmt;

use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::random;

/// The longest name that the kernel takes.
const NAME_MAX: usize = 15;

/// The name of an interface, as the kernel takes it.
///
/// Patterns (`eth%d`) are none: names are chosen here, so that they can be recorded before the interface exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless it has 1 to 15 bytes, none of which is a `/`, `:`, `%`, white space or a control
    /// character, and is not `.`, `..`, `all` or `default`, which are directories of `/proc/sys/net/ipv4/conf`.
    pub fn parse(text: &str) -> Result<Self> {
        let is_reserved = matches!(text, "." | ".." | "all" | "default");
        let is_allowed = |c: char| !matches!(c, '/' | ':' | '%') && !c.is_whitespace() && !c.is_control();
        if (1..=NAME_MAX).contains(&text.len()) && !is_reserved && text.chars().all(is_allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` cannot be the name of an interface"))
            .with_hint("names have up to 15 characters without `/`, `:`, `%` and spaces"))
    }

    /// Returns a random name for the host's end of a pair: `veth` and six letters and digits, as LXC's are.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the kernel gives no random bytes.
    pub fn random_pair() -> Result<Self> {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |byte: u8| char::from(LETTERS[usize::from(byte) % LETTERS.len()]);
        Ok(Self(format!("veth{}", random::bytes::<6>()?.map(letter).iter().collect::<String>())))
    }

    /// Returns the `number`th of the names that interfaces have when nobody named them.
    pub(crate) fn ethernet(number: usize) -> Self {
        Self(format!("eth{number}"))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl std::str::FromStr for InterfaceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for (text, good) in [
            ("eth0", true),
            ("br-lan.7@x", true),
            ("fifteen_letters", true),
            ("sixteen_letters_", false),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("eth%d", false),
            ("eth0:1", false),
            ("a b", false),
            ("a\u{7}", false),
            ("all", false),
        ] {
            assert_eq!(InterfaceName::parse(text).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn random_names_are_names_and_differ() {
        let (one, other) = (InterfaceName::random_pair().unwrap(), InterfaceName::random_pair().unwrap());
        assert_ne!(one, other);
        assert!(one.as_str().starts_with("veth") && one.as_str().len() == 10);
        assert_eq!(InterfaceName::parse(one.as_str()).unwrap(), one);
    }
}
