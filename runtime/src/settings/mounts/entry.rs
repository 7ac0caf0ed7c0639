//! `lxc.mount.entry`: a line as in fstab, with the words that LXC adds.

use std::path::PathBuf;
use std::sync::Arc;

use keiki_config::{Place, Setting};
use keiki_core::Result;
use rustix::mount::MountAttrFlags;
use serde::{Deserialize, Serialize};

use super::super::invalid;

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
    pub(crate) events: Events,
    pub(crate) owners: Option<Owners>,
}

/// How mount events travel between what is shown and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Events {
    /// In neither direction; what is not said otherwise.
    Private,
    /// Into the container.
    Slave,
    /// In both directions.
    Shared,
    /// In neither, and it cannot be shown elsewhere.
    Unbindable,
}

/// As whose the files of an entry appear (`idmap=`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Owners {
    /// The container's own: who is 0 on the disk is its root.
    Container,
    /// As the user namespace behind this path maps them.
    Namespace(PathBuf),
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

/// Words that change nothing here: they are the default.
const WITHOUT_EFFECT: [&str; 10] =
    ["defaults", "rw", "suid", "dev", "exec", "async", "atime", "diratime", "relatime", "auto"];

/// Reads the lines of a file as fstab(5) describes it (`lxc.mount.fstab`).
///
/// # Errors
/// `InvalidArgument` with the place in that file, or that of `line` when the file cannot be read.
pub(super) fn read_file(line: &Setting) -> Result<Vec<MountEntry>> {
    let file = PathBuf::from(&line.value);
    let text = std::fs::read_to_string(&file)
        .map_err(|error| invalid(line, "this file cannot be read").with_source(error))?;
    let file = Arc::new(file);
    let lines = text.lines().enumerate().map(|(at, text)| (at + 1, text.trim()));
    let meant = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
    meant
        .map(|(number, text)| {
            let place = Place { file: Arc::clone(&file), line: number, column: 1 };
            parse(&Setting { key: line.key.clone(), value: text.to_owned(), place })
        })
        .collect()
}

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
        events: Events::Private,
        owners: None,
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
        _ if let Some(events) = events(word) => entry.events = events,
        _ if let Some(owners) = word.strip_prefix("idmap=") => entry.owners = Some(owners_of(owners, line)?),
        _ => match attribute(word) {
            Some(attribute) => entry.attributes |= attribute.bits(),
            None => entry.data.push(word.to_owned()),
        },
    }
    Ok(())
}

fn events(word: &str) -> Option<Events> {
    Some(match word.strip_prefix('r').unwrap_or(word) {
        "private" => Events::Private,
        "slave" => Events::Slave,
        "shared" => Events::Shared,
        "unbindable" => Events::Unbindable,
        _ => return None,
    })
}

fn owners_of(word: &str, line: &Setting) -> Result<Owners> {
    match word {
        "container" => Ok(Owners::Container),
        path if path.starts_with('/') => Ok(Owners::Namespace(path.into())),
        _ => Err(invalid(line, "write `idmap=container` or `idmap=` and the path of a user namespace")),
    }
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
