//! Numbers of users and groups, inside and outside.

use std::fmt;

use super::parse_number;

/// Whose ids a mapping is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// Users.
    User,
    /// Groups.
    Group,
}

/// One line of `lxc.idmap`: a range of ids inside, and where it lies outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// Users or groups.
    pub kind: IdKind,
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub range: u32,
}

impl IdMap {
    /// Reads `u|g NSID HOSTID RANGE`. The kernel refuses an empty range and one that goes beyond the last id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [kind, inside, outside, range] = fields.as_slice() else { return None };
        let number = |text: &str| parse_number(text).and_then(|number| u32::try_from(number).ok());
        let kind = match *kind {
            "u" => IdKind::User,
            "g" => IdKind::Group,
            _ => return None,
        };
        let map = Self { kind, inside: number(inside)?, outside: number(outside)?, range: number(range)? };
        let fits = |first: u32| first.checked_add(map.range).is_some();
        (map.range > 0 && fits(map.inside) && fits(map.outside)).then_some(map)
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            IdKind::User => 'u',
            IdKind::Group => 'g',
        };
        write!(f, "{letter} {} {} {}", self.inside, self.outside, self.range)
    }
}

/// Reads numbers of groups with commas between; one at the end is passed over, as LXC does.
pub(crate) fn parse_groups(text: &str) -> Option<Vec<u32>> {
    let text = text.strip_suffix(',').unwrap_or(text);
    text.split(',').map(|group| group.trim().parse().ok()).collect()
}
