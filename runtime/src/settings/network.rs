//! Whose network a container sees, and its interfaces (`lxc.net.N.*`).
//!
//! The lines of one interface belong together, so they are read as a whole; that a key fits the interface's type was checked before.

use std::path::PathBuf;
use std::str::FromStr;

use keiki_config::{ContainerConfig, Setting};
use keiki_core::{Error, ErrorKind, Result};
use keiki_network::{
    Address, InterfaceName, IpvlanIsolation, IpvlanMode, Kind, MacvlanMode, Neighbours, Nic, Power, Subnet,
    Untagged, Veth, VethMode, fill_template,
};
use serde::{Deserialize, Serialize};

use super::{Part, Taken, invalid, number, switch};

/// A container's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkSettings {
    pub(crate) sight: Sight,
    /// The interfaces beside the loopback one.
    pub(crate) nics: Vec<Nic>,
}

/// Whose network a container sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sight {
    /// Its own.
    #[default]
    Own,
    /// The host's (`lxc.net.0.type = none`).
    Host,
}

impl NetworkSettings {
    /// Returns whether the container has a network namespace of its own.
    pub(crate) fn is_own(&self) -> bool {
        self.sight == Sight::Own
    }
}

impl Part for NetworkSettings {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        // Read as a whole before.
        Ok(if line.key.starts_with("lxc.net.") { Taken::Applied } else { Taken::NotMine })
    }
}

/// Reads the interfaces of a configuration.
pub(crate) fn read(config: &ContainerConfig) -> Result<NetworkSettings> {
    let mut settings = NetworkSettings::default();
    for (number, lines) in config.networks() {
        match interface(number, &lines)? {
            Nic { kind: Kind::Host, .. } => settings.sight = Sight::Host,
            Nic { kind: Kind::Empty, .. } => {}
            nic => settings.nics.push(nic),
        }
    }
    match (settings.sight, settings.nics.first()) {
        (Sight::Host, Some(nic)) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "lxc.net.{} would be made in the host's own network, which the container shares",
                nic.number
            ),
        )
        .with_hint("remove it, or the interface of the type `none`")),
        _ => Ok(settings),
    }
}

/// The lines of one interface.
struct Lines<'a> {
    number: u32,
    lines: &'a [(&'a str, &'a Setting)],
}

impl<'a> Lines<'a> {
    fn get(&self, name: &str) -> Option<&'a Setting> {
        self.all(name).last()
    }

    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a Setting> {
        self.lines.iter().filter(move |(own, _)| *own == name).map(|(_, line)| *line)
    }

    fn parsed<T: FromStr<Err = Error>>(&self, name: &str) -> Result<Option<T>> {
        self.get(name).map(parse).transpose()
    }

    fn parsed_all<T: FromStr<Err = Error>>(&self, name: &str) -> Result<Vec<T>> {
        self.all(name).map(parse).collect()
    }

    fn number<T: TryFrom<u64>>(&self, name: &str) -> Result<Option<T>> {
        self.get(name).map(number).transpose()
    }

    /// Returns what a word stands for; the configuration was checked to have one of them.
    fn word<T: Copy + Default>(&self, name: &str, words: &[(&str, T)]) -> Result<T> {
        let Some(line) = self.get(name) else { return Ok(T::default()) };
        let meant = words.iter().find(|(word, _)| *word == line.value);
        meant.map(|(_, value)| *value).ok_or_else(|| invalid(line, "this is no word of it"))
    }

    /// Returns the host's interface that the type cannot do without.
    fn link(&self) -> Result<InterfaceName> {
        self.parsed("link")?.ok_or_else(|| self.missing("link", "eth0"))
    }

    fn missing(&self, name: &str, example: &str) -> Error {
        let place = self.lines.first().map(|(_, line)| line.place.to_string()).unwrap_or_default();
        let number = self.number;
        Error::new(ErrorKind::InvalidArgument, format!("{place}: lxc.net.{number} has no `{name}`"))
            .with_hint(format!("write `lxc.net.{number}.{name} = {example}`"))
    }
}

fn parse<T: FromStr<Err = Error>>(line: &Setting) -> Result<T> {
    line.value.parse().map_err(|error: Error| error.while_doing(format!("{}: `{}`", line.place, line.key)))
}

fn interface(number: u32, lines: &[(&str, &Setting)]) -> Result<Nic> {
    let lines = Lines { number, lines };
    let kind = kind(&lines)?;
    let hardware = match lines.get("hwaddr") {
        Some(line) => Some(fill_template(&line.value)?.parse()?),
        None => None,
    };
    let neighbours = match lines.get("l2proxy").map(switch).transpose()? {
        Some(true) => Neighbours::Proxied,
        _ => Neighbours::Alone,
    };
    let mut nic = Nic::new(number, kind);
    nic.name = lines.parsed("name")?;
    nic.hardware = hardware;
    nic.mtu = lines.number("mtu")?;
    nic.power = if lines.get("flags").is_some() { Power::On } else { Power::Off };
    nic.addresses = lines.parsed_all("ipv4.address")?;
    nic.addresses.extend(lines.parsed_all::<Address>("ipv6.address")?);
    nic.gateways.v4 = lines.parsed("ipv4.gateway")?;
    nic.gateways.v6 = lines.parsed("ipv6.gateway")?;
    nic.neighbours = neighbours;
    nic.script_up = lines.get("script.up").map(|line| PathBuf::from(&line.value));
    nic.script_down = lines.get("script.down").map(|line| PathBuf::from(&line.value));
    Ok(nic)
}

fn kind(lines: &Lines<'_>) -> Result<Kind> {
    let line = lines.get("type").ok_or_else(|| lines.missing("type", "veth"))?;
    Ok(match line.value.as_str() {
        "empty" => Kind::Empty,
        "none" => Kind::Host,
        "veth" => Kind::Veth(veth(lines)?),
        "macvlan" => Kind::Macvlan {
            link: lines.link()?,
            mode: lines.word(
                "macvlan.mode",
                &[
                    ("private", MacvlanMode::Private),
                    ("vepa", MacvlanMode::Vepa),
                    ("bridge", MacvlanMode::Bridge),
                    ("passthru", MacvlanMode::PassThrough),
                ],
            )?,
        },
        "ipvlan" => Kind::Ipvlan {
            link: lines.link()?,
            mode: lines.word(
                "ipvlan.mode",
                &[("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3S)],
            )?,
            isolation: lines.word(
                "ipvlan.isolation",
                &[
                    ("bridge", IpvlanIsolation::Bridge),
                    ("private", IpvlanIsolation::Private),
                    ("vepa", IpvlanIsolation::Vepa),
                ],
            )?,
        },
        "vlan" => Kind::Vlan { link: lines.link()?, id: lines.number("vlan.id")?.unwrap_or(0) },
        // A pattern is none of the names that an interface can have.
        "phys" => {
            let link = lines.get("link").ok_or_else(|| lines.missing("link", "eth0"))?;
            Kind::Physical { link: link.value.clone() }
        }
        _ => return Err(invalid(line, "there is no such type")),
    })
}

fn veth(lines: &Lines<'_>) -> Result<Veth> {
    let mut veth = Veth {
        pair: lines.parsed("veth.pair")?,
        link: lines.parsed("link")?,
        mode: lines.word("veth.mode", &[("bridge", VethMode::Bridge), ("router", VethMode::Router)])?,
        routes: lines.parsed_all("veth.ipv4.route")?,
        receive_queues: lines.number("veth.n_rxqueues")?,
        transmit_queues: lines.number("veth.n_txqueues")?,
        ..Veth::default()
    };
    veth.routes.extend(lines.parsed_all::<Subnet>("veth.ipv6.route")?);
    veth.vlan.untagged = match lines.get("veth.vlan.id") {
        None => None,
        Some(line) if line.value == "none" => Some(Untagged::Dropped),
        Some(line) => Some(Untagged::Network(number(line)?)),
    };
    veth.vlan.tagged = lines.all("veth.vlan.tagged.id").map(number).collect::<Result<_>>()?;
    Ok(veth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<NetworkSettings> {
        let config = ContainerConfig::parse(text.as_bytes(), std::path::Path::new("config"))?;
        read(&config)
    }

    #[test]
    fn every_key_of_an_interface_is_read() {
        let settings = read_text(
            "lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.link = lxcbr0\nlxc.net.0.name = lan0\n\
             lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\nlxc.net.0.mtu = 1400\nlxc.net.0.ipv4.address = 10.0.3.7/24\n\
             lxc.net.0.ipv4.address = 10.0.3.8/24 10.0.3.255\nlxc.net.0.ipv4.gateway = auto\n\
             lxc.net.0.ipv6.address = fd00::7\nlxc.net.0.ipv6.gateway = fe80::1\nlxc.net.0.l2proxy = 1\n\
             lxc.net.0.script.up = /etc/up\nlxc.net.0.script.down = /etc/down\nlxc.net.0.veth.pair = web1-0\n\
             lxc.net.0.veth.mode = router\nlxc.net.0.veth.ipv4.route = 10.9.0.0/16\n\
             lxc.net.0.veth.ipv6.route = fd09::/64\nlxc.net.0.veth.vlan.id = 7\n\
             lxc.net.0.veth.vlan.tagged.id = 8\nlxc.net.0.veth.n_rxqueues = 2\nlxc.net.0.veth.n_txqueues = 3\n",
        )
        .unwrap();
        assert!(settings.is_own());
        let [nic] = settings.nics.try_into().unwrap();
        let shown = format!("{nic:?}");
        assert_eq!((nic.mtu, nic.power, nic.addresses.len()), (Some(1400), Power::On, 3), "{shown}");
        assert_eq!(nic.hardware.unwrap().octets()[..3], [0, 0x16, 0x3e]);
        assert!(nic.gateways.v4.is_some() && nic.gateways.v6.is_some() && nic.script_down.is_some());
        let Kind::Veth(veth) = nic.kind else { panic!("{shown}") };
        assert_eq!((veth.mode, veth.routes.len(), veth.receive_queues), (VethMode::Router, 2, Some(2)));
        assert_eq!((veth.vlan.untagged, veth.vlan.tagged), (Some(Untagged::Network(7)), vec![8]));
    }

    #[test]
    fn every_type_is_known_with_what_it_needs() {
        for (text, kind) in [
            ("type = macvlan\nlink = e\nmacvlan.mode = passthru", "macvlan"),
            ("type = ipvlan\nlink = e\nipvlan.mode = l3s\nipvlan.isolation = vepa", "ipvlan"),
            ("type = vlan\nlink = e\nvlan.id = 9", "vlan"),
            ("type = phys\nlink = enp+", "phys"),
            ("type = veth", "veth"),
        ] {
            let text: String = text.lines().map(|line| format!("lxc.net.3.{line}\n")).collect();
            assert_eq!(read_text(&text).unwrap().nics[0].kind.as_str(), kind);
        }
        assert_eq!(read_text("lxc.net.0.type = empty\n").unwrap(), NetworkSettings::default());
        assert!(!read_text("lxc.net.0.type = none\n").unwrap().is_own());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_place() {
        for (text, expected) in [
            ("lxc.net.0.link = x\n", "lxc.net.0 has no `type`"),
            ("lxc.net.0.type = macvlan\n", "lxc.net.0 has no `link`"),
            ("lxc.net.0.type = veth\nlxc.net.0.vlan.id = 7\n", "is for interfaces of type vlan"),
            (
                "lxc.net.0.type = none\nlxc.net.1.type = veth\n",
                "lxc.net.1 would be made in the host's own network",
            ),
            ("lxc.net.0.type = veth\nlxc.net.0.name = all\n", "`all` cannot be the name of an interface"),
        ] {
            let error = read_text(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
            assert!(error.full_message().contains(expected), "{error:?} for {text}");
        }
    }
}
