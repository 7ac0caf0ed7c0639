//! `lxc.mount.entry`: a line as in fstab, with the words that LXC adds.

use std::path::PathBuf;

use keiki_config::Setting;
use keiki_core::{ErrorKind, Result};
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::super::{invalid, refuse};

/// One line of `lxc.mount.entry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountEntry {
    pub(crate) source: String,
    /// Below the container's root, without a leading slash.
    pub(crate) target: PathBuf,
    pub(crate) fstype: String,
    pub(crate) bind: Bind,
    /// `MOUNT_ATTR_*` bits.
    pub(crate) attributes: u32,
    /// Options of the file system.
    pub(crate) data: Vec<String>,
    pub(crate) create: Create,
    pub(crate) optional: bool,
    /// Whether the source of a bind mount is below the container's root.
    pub(crate) relative: bool,
}

/// Whether an entry makes a mount or shows a directory a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bind {
    None,
    Single,
    Recursive,
}

/// What is made when the target of an entry is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Create {
    Nothing,
    Directory,
    File,
}

/// Words that change nothing here: they are the default, or propagation, which no mount of a container has.
const WITHOUT_EFFECT: [&str; 16] = [
    "defaults",
    "rw",
    "suid",
    "dev",
    "exec",
    "async",
    "atime",
    "diratime",
    "relatime",
    "auto",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

pub(super) fn parse(line: &Setting) -> Result<MountEntry> {
    let fields: Vec<String> = line.value.split_ascii_whitespace().map(unescaped).collect();
    let [source, target, fstype, rest @ ..] = &fields[..] else {
        return Err(invalid(line, "write `SOURCE TARGET TYPE OPTIONS 0 0`"));
    };
    let target: PathBuf = target.trim_start_matches('/').into();
    if target.as_os_str().is_empty() || target.components().any(|part| part.as_os_str() == "..") {
        return Err(invalid(line, "this is no place below the container's root"));
    }
    let mut entry = MountEntry {
        source: source.clone(),
        target,
        fstype: fstype.clone(),
        bind: Bind::None,
        attributes: 0,
        data: Vec::new(),
        create: Create::Nothing,
        optional: false,
        relative: false,
    };
    for word in rest.first().map_or("", String::as_str).split(',').filter(|word| !word.is_empty()) {
        take_option(&mut entry, word, line)?;
    }
    Ok(entry)
}

fn take_option(entry: &mut MountEntry, word: &str, line: &Setting) -> Result<()> {
    match word {
        "bind" => entry.bind = Bind::Single,
        "rbind" => entry.bind = Bind::Recursive,
        "optional" => entry.optional = true,
        "relative" => entry.relative = true,
        "create=dir" => entry.create = Create::Directory,
        "create=file" => entry.create = Create::File,
        _ if WITHOUT_EFFECT.contains(&word) => {}
        _ if word.starts_with("idmap=") || word.ends_with("shared") => {
            return Err(refuse(
                line,
                ErrorKind::Unsupported,
                &format!("this version of keiki has no `{word}`"),
            ));
        }
        _ => match attribute(word) {
            Some(attribute) => entry.attributes |= attribute.bits(),
            None => entry.data.push(word.to_owned()),
        },
    }
    Ok(())
}

fn attribute(word: &str) -> Option<MountAttrFlags> {
    Some(match word {
        "ro" => MountAttrFlags::MOUNT_ATTR_RDONLY,
        "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
        "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
        "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
        "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
        "nodiratime" => MountAttrFlags::MOUNT_ATTR_NODIRATIME,
        "strictatime" => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
        "nosymfollow" => MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
        _ => return None,
    })
}

/// Undoes fstab's octal escapes of blanks.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, meaning)| text.replace(escape, meaning))
}
