//! `lxc.cgroup2.devices.allow` and `.deny`: in order, into one default with exceptions.
//!
//! `a` alone (or `*:*` of everything) turns the default and forgets the exceptions, as LXC and version 1 do.

use keiki_config::{ContainerConfig, Setting};
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::super::invalid;

/// Which devices the container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Devices {
    /// Whether everything is allowed but the exceptions, rather than nothing but them.
    pub(crate) allows: bool,
    pub(crate) exceptions: Vec<DeviceRule>,
    /// Where the configuration says it first.
    pub(crate) place: String,
}

/// An exception: `c 1:3 rwm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRule {
    /// `a`, `b` or `c`.
    pub(crate) kind: char,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) make: bool,
}

/// Reads `allow` and `deny` lines. The rules of both versions say the same in LXC's own files; those of version 2 are
/// what is applied when there are any.
pub(crate) fn read(config: &ContainerConfig) -> Result<Option<Devices>> {
    let version_2 = "lxc.cgroup2.devices.";
    let has_version_2 = config.below(version_2).next().is_some();
    fold(config.below(if has_version_2 { version_2 } else { "lxc.cgroup.devices." }))
}

fn fold<'a>(lines: impl Iterator<Item = (&'a str, &'a Setting)>) -> Result<Option<Devices>> {
    let mut devices: Option<Devices> = None;
    for (verb, line) in lines {
        let allows = match verb {
            "allow" => true,
            "deny" => false,
            _ => return Err(invalid(line, "devices are allowed or denied")),
        };
        // Without a line that turns it, the default of the kernel is that everything is allowed.
        let start = || Devices { allows: true, exceptions: Vec::new(), place: line.place.to_string() };
        let devices = devices.get_or_insert_with(start);
        let Some(rule) = rule(line)? else {
            devices.allows = allows;
            devices.exceptions.clear();
            continue;
        };
        if allows == devices.allows {
            // What was excepted before is not any more.
            devices.exceptions.retain(|known| *known != rule);
        } else if !devices.exceptions.contains(&rule) {
            devices.exceptions.push(rule);
        }
    }
    Ok(devices)
}

/// Returns the rule of a line; `None` when it means everything.
fn rule(line: &Setting) -> Result<Option<DeviceRule>> {
    let bad = || invalid(line, "write `a`, or KIND MAJOR:MINOR ACCESS as in `c 1:3 rwm`");
    let words: Vec<&str> = line.value.split_ascii_whitespace().collect();
    let (kind, numbers, access) = match words[..] {
        ["a"] => return Ok(None),
        [kind @ ("a" | "b" | "c"), numbers, access] => (kind, numbers, access),
        _ => return Err(bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| bad()),
    };
    if access.is_empty() || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(bad());
    }
    let rule = DeviceRule {
        kind: kind.chars().next().unwrap_or('a'),
        major: number(major)?,
        minor: number(minor)?,
        read: access.contains('r'),
        write: access.contains('w'),
        make: access.contains('m'),
    };
    let is_everything = rule.kind == 'a' && rule.major.is_none() && rule.minor.is_none();
    Ok(Some(rule).filter(|_| !is_everything))
}
