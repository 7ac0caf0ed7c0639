//! Sizes with units: what users write (`10G`, `512MiB`) and what we count in (bytes).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

const SUFFIXES: [(&str, u32); 6] = [("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50), ("E", 60)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = Error;

    /// Reads `NUMBER[K|M|G|T|P|E][iB|B]`; units are powers of 1024, as in LXC and LVM.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a size"))
                .with_hint("write a whole number with K, M, G or T behind it, for example `10G`")
        };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = trimmed[..digits].parse().map_err(|_| bad())?;
        let unit = trimmed[digits..].trim_start().to_ascii_uppercase();
        let unit = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
        let shift = match unit {
            "" => 0,
            _ => SUFFIXES.iter().find(|(suffix, _)| *suffix == unit).ok_or_else(bad)?.1,
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Bytes {
    /// Prints at most one digit behind the point: `1.5 GiB`, `512 B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((suffix, shift)) = SUFFIXES.iter().rev().find(|(_, shift)| self.0 >> shift > 0) else {
            return f.pad(&format!("{} B", self.0));
        };
        let tenths = (u128::from(self.0) * 10) >> shift;
        f.pad(&format!("{}.{} {suffix}iB", tenths / 10, tenths % 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_one_table() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1K", 1024),
            ("10G", 10 << 30),
            ("5 MiB", 5 << 20),
            ("2tb", 2 << 40),
            ("7b", 7),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for bad in ["", "G", "1.5G", "-1", "1X", "99999999999E", "1 G x"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_printed_with_one_digit_behind_the_point() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "15.9 EiB")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
