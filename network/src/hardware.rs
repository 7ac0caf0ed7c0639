//! [`HardwareAddress`]: six bytes, and templates for them.

use std::fmt;

use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::random;

/// The hardware address of an Ethernet interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HardwareAddress([u8; 6]);

impl HardwareAddress {
    /// Returns a random one whose first byte is 0xfe.
    ///
    /// A bridge without an address of its own takes the lowest of its ports'; one that begins so is never the lowest, and
    /// the bridge keeps its address as containers come and go.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the kernel gives no random bytes.
    pub fn random_of_port() -> Result<Self> {
        let mut bytes = random::bytes::<6>()?;
        bytes[0] = 0xfe;
        Ok(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Returns the address with these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl std::str::FromStr for HardwareAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let byte = |pair: &str| match pair.len() {
            2 if pair.bytes().all(|digit| digit.is_ascii_hexdigit()) => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        bytes.as_deref().and_then(Self::of).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a hardware address"))
                .with_hint("write six pairs of hexadecimal digits: `00:16:3e:12:34:56`")
        })
    }
}

impl TryFrom<String> for HardwareAddress {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<HardwareAddress> for String {
    fn from(address: HardwareAddress) -> Self {
        address.to_string()
    }
}

/// Returns `template` with a random digit for each `x`.
///
/// # Behavior
/// The second digit becomes an even one: an odd one would make a multicast address, which no interface can have.
///
/// # Errors
/// [`ErrorKind::Io`] when the kernel gives no random bytes.
pub fn fill_template(template: &str) -> Result<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = random::bytes::<32>()?;
    let fill = |(at, letter): (usize, char)| {
        let byte = random[at % random.len()];
        let digit = if at == 1 { byte & 0xe } else { byte & 0xf };
        if matches!(letter, 'x' | 'X') { char::from(DIGITS[usize::from(digit)]) } else { letter }
    };
    Ok(template.chars().enumerate().map(fill).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_six_pairs_of_digits() {
        for (text, good) in [
            ("00:16:3e:00:00:0F", true),
            ("00:16:3e:00:00", false),
            ("00:16:3e:00:00:00:00", false),
            ("00:16:3e:00:00:+1", false),
            ("00:16:3e:xx:xx:xx", false),
            ("0:16:3e:00:00:00", false),
        ] {
            assert_eq!(text.parse::<HardwareAddress>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_filled_template_is_a_unicast_address_and_keeps_its_digits() {
        for _ in 0..64 {
            let filled = fill_template("xx:16:3e:Xx:xx:0x").unwrap();
            let address: HardwareAddress = filled.parse().unwrap();
            assert_eq!(address.octets()[0] & 1, 0, "{filled}");
            assert_eq!(address.octets()[1..3], [0x16, 0x3e]);
            assert!(address.octets()[5] < 16);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes: [u8; 6]) {
            let address = HardwareAddress(bytes);
            prop_assert_eq!(address.to_string().parse::<HardwareAddress>().unwrap(), address);
        }

        #[test]
        fn no_text_breaks_the_parser(text in "\\PC{0,24}") {
            drop(text.parse::<HardwareAddress>());
            drop(fill_template(&text));
        }
    }
}
