//! One key of a configuration as LXC's library answers for it: `get_config_item` and `get_keys`.
//!
//! The text of a value is the one that LXC writes: numbers in decimal, signals by number, words of a list one a line. Where LXC 5
//! prints something that no configuration may say, or leaves out what is in force, ours differs:
//!
//! | key | LXC 5 | here |
//! |---|---|---|
//! | `lxc.mount.auto` | leaves out `:force`, `cgroup2` and `shmounts` | prints them |
//! | `lxc.cap.keep = none` | prints nothing, as if it were not set | prints `none` |
//! | `lxc.cgroup.dir*`, `lxc.namespace.share.*` not set | prints `(null)` | prints nothing |
//! | `lxc.net.N.veth.vlan.id = none` | prints `-1` | prints `none` |
//! | `lxc.net.N.ipv4.address` without a prefix | takes the class of the address's last byte | that of its first, as documented |
//! | `lxc.net.N.ipv4.gateway` after `dev` | prints `dev` whatever follows | prints what is in force |
//! | `lxc.time.offset.*` | a blank in one of the two, and a line end | neither |
//! | `lxc.net.N.ipvlan.mode` not set | prints `l2` | prints `l3`, as documented |
//! | `lxc.hook` | is an error | prints all hooks |
//! | `lxc.environment = NAME` | prints the reader's own value | prints the name: the value is the starter's |

use keiki_core::{Error, ErrorKind, Result};

use crate::diagnostic::hint_for;
use crate::keys::{self, Key, Shape};
use crate::model::{ContainerConfig, Setting};
use crate::value::{AutoMount, Value, ValueKind, architecture, shown};

impl ContainerConfig {
    /// Returns the text of a key as LXC's `get_config_item` writes it; empty when the key is not set and has no default.
    ///
    /// # Behavior
    /// Lists have one item a line. `lxc.net` is the types of the interfaces, another family `KEY = VALUE` for each of its keys.
    ///
    /// # Errors
    /// `InvalidArgument` for a key that does not exist, or cannot be asked for; `NotFound` for one of an interface that is not there.
    pub fn item(&self, name: &str) -> Result<String> {
        let (key, interface) = keys::find(name).ok_or_else(|| unknown(name))?;
        match (key.shape, interface) {
            _ if name == "lxc.include" => {
                Err(not_asked(name, "the included files are read, and their values are ours"))
            }
            (Shape::Family, Some(number)) => Err(not_asked(name, "it is an interface")
                .with_hint(format!("ask for one of its keys: `lxc.net.{number}.type`"))),
            (Shape::Family, None) if name == "lxc.net" => Ok(self.interface_types()),
            (Shape::Family, None) => Ok(self.family(name)),
            (_, Some(number)) => self.interface_item(number, key),
            _ => Ok(self.text_of(name, key)),
        }
    }

    /// Returns names as LXC's `get_keys` does: all keys, or what may follow `below`.
    ///
    /// # Behavior
    /// Of an interface, those that its type has; of a family, its keys and those that are set below it.
    ///
    /// # Errors
    /// As [`Self::item`].
    pub fn item_names(&self, below: Option<&str>) -> Result<Vec<String>> {
        let Some(name) = below else {
            let whole = keys::KEYS.iter().filter(|key| !key.is_prefix());
            return Ok(whole.map(|key| key.name.to_owned()).collect());
        };
        match keys::find(name).ok_or_else(|| unknown(name))? {
            (_, Some(number)) => self.interface_names(number),
            (key, None) if key.shape == Shape::Family => Ok(self.names_below(name)),
            (key, None) => Ok(vec![key.name.to_owned()]),
        }
    }

    fn interface_item(&self, number: u32, key: &Key) -> Result<String> {
        let kind = self.type_of(number)?;
        if key.interface_type().is_some_and(|special| special != kind) {
            let why = format!("interface {number} is of type {kind}");
            return Err(not_asked(&format!("lxc.net.{number}.{}", key.name), &why));
        }
        Ok(self.text_of(&format!("lxc.net.{number}.{}", key.name), key))
    }

    fn interface_names(&self, number: u32) -> Result<Vec<String>> {
        let kind = self.type_of(number)?;
        let is_had = |key: &&Key| match key.interface_type() {
            Some(special) => special == kind,
            None => kind != "empty" || matches!(key.name, "type" | "script.up" | "script.down"),
        };
        Ok(keys::NETWORK_KEYS.iter().filter(is_had).map(|key| key.name.to_owned()).collect())
    }

    fn type_of(&self, number: u32) -> Result<&str> {
        self.text(&format!("lxc.net.{number}.type")).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, format!("there is no interface {number}"));
            error.with_hint(format!("`lxc.net.{number}.type = veth` makes one"))
        })
    }

    fn interface_types(&self) -> String {
        let mut types: Vec<(u32, &str)> = Vec::new();
        for (rest, setting) in self.below("lxc.net.") {
            if let Some(number) = rest.strip_suffix(".type").and_then(|number| number.parse().ok()) {
                types.push((number, &setting.value));
            }
        }
        types.sort_unstable();
        types.iter().map(|(_, kind)| format!("{kind}\n")).collect()
    }

    fn family(&self, name: &str) -> String {
        let below = format!("{name}.");
        let lines =
            self.settings().iter().filter(|setting| setting.key.starts_with(&below)).filter_map(|setting| {
                let (key, _) = keys::find(&setting.key)?;
                (key.shape != Shape::Scalar).then(|| format!("{} = {}\n", setting.key, text_of(key, setting)))
            });
        lines.collect()
    }

    fn names_below(&self, family: &str) -> Vec<String> {
        let below = format!("{family}.");
        let known = keys::KEYS.iter().filter(|key| !key.is_prefix()).map(|key| key.name);
        let set = self.settings().iter().map(|setting| setting.key.as_str());
        let mut names: Vec<String> = Vec::new();
        for name in known.chain(set).filter_map(|name| name.strip_prefix(&below)) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    fn text_of(&self, name: &str, key: &Key) -> String {
        if !key.is_list() {
            return self
                .setting(name)
                .map_or_else(|| key.default.to_owned(), |setting| text_of(key, setting));
        }
        let values: Vec<Value> =
            self.list(name).filter_map(|setting| key.kind.parse(&setting.value).ok()).collect();
        text_of_list(key.kind, &values)
    }
}

/// Returns the text of one value. Settings were checked, so what does not parse cannot be; it would be shown as it is.
fn text_of(key: &Key, setting: &Setting) -> String {
    match (key.kind, key.kind.parse(&setting.value)) {
        (ValueKind::Architecture, _) => architecture(&setting.value).to_owned(),
        // The library keeps these two without what says of which kind they are.
        (ValueKind::Socket, _) => without_prefix(&setting.value).to_owned(),
        _ if key.name == "lxc.rootfs.path" => without_prefix(&setting.value).to_owned(),
        (_, Ok(value)) => value.to_string(),
        (_, Err(_)) => setting.value.clone(),
    }
}

fn without_prefix(value: &str) -> &str {
    match value.split_once(':') {
        Some((kind, rest)) if kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        _ => value,
    }
}

/// Returns the text of a list. Which ones end with a line end is LXC's own way.
fn text_of_list(kind: ValueKind, values: &[Value]) -> String {
    let texts = values.iter().map(|value| match value {
        Value::Ipv4(address) => address.subnet.to_string(),
        other => other.to_string(),
    });
    match kind {
        ValueKind::AutoMounts => in_force(values),
        ValueKind::Groups => texts.collect::<Vec<_>>().join(","),
        ValueKind::IdMap
        | ValueKind::Ipv4
        | ValueKind::Ipv6
        | ValueKind::Ipv4Route
        | ValueKind::Ipv6Route
        | ValueKind::Vlan => texts.collect::<Vec<_>>().join("\n"),
        ValueKind::Words
        | ValueKind::Capabilities
        | ValueKind::CapabilitiesOrNone
        | ValueKind::Namespaces => texts
            .flat_map(|text| text.split(' ').map(|word| format!("{word}\n")).collect::<Vec<_>>())
            .collect(),
        _ => texts.map(|text| text + "\n").collect(),
    }
}

/// Returns the standard mounts that count: of several at one place, the last.
fn in_force(values: &[Value]) -> String {
    let mut mounts: Vec<&AutoMount> = Vec::new();
    for value in values {
        let Value::AutoMounts(more) = value else { continue };
        for mount in more {
            match mounts.iter_mut().find(|old| mount.replaces(old)) {
                Some(old) => *old = mount,
                None => mounts.push(mount),
            }
        }
    }
    mounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Returns the error for a key that does not exist.
pub(crate) fn unknown(name: &str) -> Error {
    let error = Error::new(ErrorKind::InvalidArgument, format!("there is no key `{}`", shown(name)));
    hint_for(name).into_iter().fold(error, Error::with_hint)
}

fn not_asked(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("`{name}` has no value: {why}"))
}
