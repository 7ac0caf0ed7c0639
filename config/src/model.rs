//! [`ContainerConfig`]: what a configuration says once its includes are read, lists are cleared where asked, and every value has the
//! form of its key.
//!
//! Values are reached by key; their forms were checked, so readers get types and need no errors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keiki_core::units::Bytes;

use crate::change::is_of_family;
use crate::diagnostic::{Diagnostics, Place};
use crate::keys;
use crate::load;
use crate::value::{Signal, parse_number, parse_signal};

/// One value that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The whole key: `lxc.net.0.type`.
    pub key: String,
    /// The value, without quotes.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

impl Setting {
    /// Returns the value as a number, in base 0 as LXC reads it: `16`, `0x10`, `020`.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        parse_number(&self.value)
    }

    /// Returns the value as a signal.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        parse_signal(&self.value)
    }
}

/// A container's configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerConfig {
    settings: Vec<Setting>,
}

impl ContainerConfig {
    /// Reads a file with everything that it includes.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place; a file that cannot be read is told at the line that includes it.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        load::from_file(path)
    }

    /// Reads text as if it stood in `file`, with everything that it includes.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &[u8], file: &Path) -> Result<Self, Diagnostics> {
        load::from_text(text, file)
    }

    /// Puts a value in force; an empty one clears its key, and that of a family all of its kind.
    pub(crate) fn apply(&mut self, setting: Setting) {
        if setting.value.is_empty() {
            let cleared = &setting.key;
            return self.settings.retain(|old| old.key != *cleared && !is_of_family(cleared, &old.key));
        }
        if keys::find(&setting.key).is_some_and(|(key, _)| !key.is_list()) {
            self.settings.retain(|old| old.key != setting.key);
        }
        self.settings.push(setting);
    }

    /// Returns everything that is in force, in order.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Returns the setting of a scalar key.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| setting.key == key)
    }

    /// Returns the value of a scalar key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.setting(key).map(|setting| setting.value.as_str())
    }

    /// Returns the values of a list key, in order.
    pub fn list<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Setting> {
        self.settings.iter().filter(move |setting| setting.key == key)
    }

    /// Returns the words of all values of a list key.
    #[must_use]
    pub fn words<'a>(&'a self, key: &'a str) -> Vec<&'a str> {
        self.list(key).flat_map(|setting| setting.value.split_whitespace()).collect()
    }

    /// Returns the settings whose keys begin with `prefix`, each with the rest of its key.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        self.settings.iter().filter_map(move |setting| Some((setting.key.strip_prefix(prefix)?, setting)))
    }

    /// Returns whether a `0` or `1` key is `1`; `default` when it is not set.
    #[must_use]
    pub fn flag(&self, key: &str, default: Flag) -> bool {
        self.number(key).map_or(default == Flag::On, |number| number == 1)
    }

    /// Returns the number of a key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.setting(key)?.number()
    }

    /// Returns the signal of a key.
    #[must_use]
    pub fn signal(&self, key: &str) -> Option<Signal> {
        self.setting(key)?.signal()
    }

    /// Returns the size of a key; `None` for `auto` too.
    #[must_use]
    pub fn size(&self, key: &str) -> Option<Bytes> {
        self.text(key)?.parse().ok()
    }

    /// Returns the interfaces by number, each with what follows `lxc.net.N.` and its settings.
    #[must_use]
    pub fn networks(&self) -> BTreeMap<u32, Vec<(&str, &Setting)>> {
        let mut networks: BTreeMap<u32, Vec<(&str, &Setting)>> = BTreeMap::new();
        for (rest, setting) in self.below("lxc.net.") {
            if let Some((number, name)) = rest.split_once('.')
                && let Ok(number) = number.parse()
            {
                networks.entry(number).or_default().push((name, setting));
            }
        }
        networks
    }

    /// Returns the files that the configuration came from.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.settings.iter().map(|setting| setting.place.file.as_ref().clone()).collect()
    }
}

/// What a `0` or `1` key is without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `1`.
    On,
    /// `0`.
    Off,
}

impl Flag {
    /// Returns what a number says; `None` for another one than 0 and 1.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::On),
            _ => None,
        }
    }
}
