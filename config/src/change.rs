//! Changes to the text of a configuration, key by key: LXC's `set_config_item` and `clear_config_item`, losslessly.
//!
//! A change is made in the text, and the whole is read again with its includes: what would not be sound, or would not have the
//! effect, is not returned. LXC appends a line at each set and leaves the old ones; here the line that counted is replaced.

use std::path::Path;

use keiki_core::{Error, ErrorKind, Result};

use crate::document::Document;
use crate::item::unknown;
use crate::keys::{self, Key, Shape};
use crate::load::ONLY_CLEARED;
use crate::model::ContainerConfig;
use crate::value::{Value, ValueKind};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A scalar gets this value; a list gets one more. An empty value clears.
    Set {
        /// The whole key.
        key: String,
        /// The value.
        value: String,
    },
    /// The key is set no more: a scalar has its default again, a list is empty, a family has no keys.
    Clear {
        /// The whole key, or a family: `lxc.net.0`, `lxc.sysctl`.
        key: String,
    },
}

impl Change {
    /// Reads `KEY=VALUE`; without a value it clears.
    ///
    /// # Errors
    /// `InvalidArgument` for text without `=`, an unknown key, or a value that the key does not take.
    pub fn parse(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("`{}` has no `=`", text.escape_debug()))
                .with_hint("write KEY=VALUE; `keiki config clear` takes keys alone")
        })?;
        Self::set(key.trim(), value.trim())
    }

    /// Returns the change that sets a key, or clears it when the value is empty.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown key or a value that the key does not take.
    pub fn set(key: &str, value: &str) -> Result<Self> {
        let (known, _) = keys::find(key).ok_or_else(|| unknown(key))?;
        if value.is_empty() {
            return Ok(Self::Clear { key: key.to_owned() });
        }
        let refuse = |why: &str| Error::new(ErrorKind::InvalidArgument, format!("`{key}`{why}"));
        if known.shape == Shape::Family {
            return Err(refuse(&format!(" {ONLY_CLEARED}")));
        }
        match known.kind.parse(value) {
            Err(wrong) => Err(refuse(&format!(": {}", wrong.message))),
            // What is random is so once: the address must be the same at every start.
            Ok(Value::HardwareAddress(address)) if address.is_template() => {
                Ok(Self::Set { key: key.to_owned(), value: address.filled().to_string() })
            }
            Ok(_) => Ok(Self::Set { key: key.to_owned(), value: value.to_owned() }),
        }
    }

    /// Returns the change that clears a key or a family.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown key.
    pub fn clear(key: &str) -> Result<Self> {
        keys::find(key).map(|_| Self::Clear { key: key.to_owned() }).ok_or_else(|| unknown(key))
    }

    /// Returns the key that changes.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Clear { key } => key,
        }
    }

    fn value(&self) -> &str {
        match self {
            Self::Set { value, .. } => value,
            Self::Clear { .. } => "",
        }
    }
}

/// Returns the text of `file` with changes made, in order; every byte that need not change stays.
///
/// # Errors
/// `InvalidArgument` with `file:line:column` when the configuration is not sound afterwards, wherever that comes from.
pub fn with_changes(text: &[u8], file: &Path, changes: &[Change]) -> Result<Vec<u8>> {
    let mut document = Document::new(text);
    for change in changes {
        let (key, _) = keys::find(change.key()).ok_or_else(|| unknown(change.key()))?;
        apply(&mut document, key, change);
    }
    let config = ContainerConfig::parse(&document.to_bytes(), file)?;
    for (at, change) in changes.iter().enumerate() {
        let is_last = !changes[at + 1..].iter().any(|later| later.key() == change.key());
        // An include may say it after the line that was changed, or have said what was cleared.
        if is_last && !is_in_force(&config, change) {
            document.append(change.key(), change.value());
        }
    }
    ContainerConfig::parse(&document.to_bytes(), file)?;
    Ok(document.to_bytes())
}

fn apply(document: &mut Document, key: &Key, change: &Change) {
    match change {
        Change::Set { key: name, value } if key.is_list() => document.add(name, value),
        Change::Set { key: name, value } => document.set(name, value),
        Change::Clear { key: name } => document.remove_all(|line| line == name || is_of_family(name, line)),
    }
}

/// Returns whether clearing a family clears this key: `lxc.hook` clears hooks, not how they are called; `lxc.cgroup` values, not
/// where the cgroup is.
pub(crate) fn is_of_family(family: &str, name: &str) -> bool {
    let is_below = name.strip_prefix(family).is_some_and(|rest| rest.starts_with('.'));
    let is_family = || keys::find(family).is_some_and(|(key, _)| key.shape == Shape::Family);
    let stays = || keys::find(name).is_some_and(|(key, _)| key.shape == Shape::Scalar);
    is_below && is_family() && (family.starts_with("lxc.net") || !stays())
}

fn is_in_force(config: &ContainerConfig, change: &Change) -> bool {
    // Included files are read, not kept.
    if change.key() == "lxc.include" {
        return true;
    }
    let name = numbered(change.key());
    match change {
        Change::Set { value, .. } => config.setting(&name).is_some_and(|set| set.value == *value),
        Change::Clear { .. } => {
            !config.settings().iter().any(|set| set.key == name || is_of_family(&name, &set.key))
        }
    }
}

/// Returns the key as a configuration has it: `lxc.net.00.link` is `lxc.net.0.link`.
fn numbered(name: &str) -> String {
    let Some((_, Some(number))) = keys::find(name) else { return name.to_owned() };
    let rest = name.splitn(4, '.').nth(3);
    rest.map_or_else(|| format!("lxc.net.{number}"), |rest| format!("lxc.net.{number}.{rest}"))
}

/// Returns the text of a configuration in which every `x` of its own hardware addresses is a random digit, as LXC has it when it
/// reads a configuration; `None` when there is none.
///
/// # Behavior
/// Addresses of included files stay templates: those files are for many containers.
#[must_use]
pub fn with_hardware_addresses(text: &[u8]) -> Option<Vec<u8>> {
    let mut document = Document::new(text);
    document.rewrite(|name, value| {
        let (key, _) = keys::find(name).filter(|(key, _)| key.kind == ValueKind::HardwareAddress)?;
        match key.kind.parse(value) {
            Ok(Value::HardwareAddress(address)) if address.is_template() => {
                Some(address.filled().to_string())
            }
            _ => None,
        }
    });
    let filled = document.to_bytes();
    (filled != text).then_some(filled)
}
