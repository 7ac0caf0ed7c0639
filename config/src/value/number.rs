//! Numbers with a meaning: sizes, limits, times.

use std::fmt;

use keiki_core::units::Bytes;

/// Reads a number as `strtoul` with base 0 does, as LXC reads its numbers.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return is_plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => {
            let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
            is_plain.then(|| u64::from_str_radix(digits, 8).ok()).flatten()
        }
        _ => text.parse().ok(),
    }
}

/// The size of the console's ring buffer, or of its log: a power of two of at least a page, as LXC rounds it; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSize(pub Bytes);

impl BufferSize {
    /// What `auto` stands for.
    pub const AUTO: Self = Self(Bytes(128 << 10));
    const PAGE: u64 = 4096;

    /// Reads `auto` or a size with a unit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "auto" {
            return Some(Self::AUTO);
        }
        let Bytes(wanted) = text.parse().ok()?;
        if wanted == 0 {
            return Some(Self(Bytes(0)));
        }
        wanted.max(Self::PAGE).checked_next_power_of_two().map(|size| Self(Bytes(size)))
    }
}

impl fmt::Display for BufferSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.0)
    }
}

/// A resource limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// What the soft one may be raised to.
    pub hard: Option<u64>,
}

impl Limit {
    /// Reads `SOFT[:HARD]`; one alone is both.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let one = |limit: &str| match limit.trim() {
            "unlimited" | "-1" => Some(None),
            number => number.parse().ok().map(Some),
        };
        match text.split_once(':') {
            None => one(text).map(|both| Self { soft: both, hard: both }),
            Some((soft, hard)) => Some(Self { soft: one(soft)?, hard: one(hard)? }),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one =
            |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        if self.soft == self.hard {
            return f.write_str(&one(self.soft));
        }
        write!(f, "{}:{}", one(self.soft), one(self.hard))
    }
}

/// How far a clock of the container is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOffset {
    /// In nanoseconds.
    pub nanoseconds: i64,
}

/// Nanoseconds of each unit.
const UNITS: [(&str, i64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1000),
    ("ns", 1),
];
const SECOND: i64 = 1_000_000_000;

impl TimeOffset {
    /// Reads a number with a unit, and blanks between at will. Newer LXC takes a sign.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let unit = unsigned.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: i64 = text[..text.len() - unit.len()].parse().ok()?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
        number.checked_mul(*factor).map(|nanoseconds| Self { nanoseconds })
    }
}

impl fmt::Display for TimeOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanoseconds % SECOND == 0 {
            return write!(f, "{}s", self.nanoseconds / SECOND);
        }
        write!(f, "{}ns", self.nanoseconds)
    }
}
