//! [`Settings`]: the file `/etc/default/lxc-net`, with the variables that LXC reads from it.
//!
//! LXC's file is a shell script; ours is what such files contain: assignments, comments, empty lines. What only a shell could
//! understand is refused with its line, never guessed at.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use keiki_core::{Error, ErrorKind, Result};

use crate::address::Subnet;
use crate::hardware::HardwareAddress;
use crate::mark::{Mark, Owner};
use crate::name::InterfaceName;

/// The variables, with the values that they have when the file says nothing.
const VARIABLES: [(&str, &str); 17] = [
    ("USE_LXC_BRIDGE", "true"),
    ("LXC_BRIDGE", "lxcbr0"),
    ("LXC_BRIDGE_MAC", "00:16:3e:00:00:00"),
    ("LXC_ADDR", "10.0.3.1"),
    ("LXC_NETMASK", "255.255.255.0"),
    ("LXC_NETWORK", "10.0.3.0/24"),
    ("LXC_DHCP_RANGE", "10.0.3.2,10.0.3.254"),
    ("LXC_DHCP_MAX", "253"),
    ("LXC_DHCP_CONFILE", ""),
    ("LXC_DHCP_PING", "true"),
    ("LXC_DOMAIN", ""),
    ("LXC_USE_NFT", "true"),
    ("LXC_IPV6_ENABLE", ""),
    ("LXC_IPV6_ADDR", ""),
    ("LXC_IPV6_MASK", ""),
    ("LXC_IPV6_NETWORK", ""),
    ("LXC_IPV6_NAT", "false"),
];

/// Whether the host wants the network (`USE_LXC_BRIDGE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It does.
    Yes,
    /// It does not: `up` has nothing to do.
    No,
}

/// Whether dnsmasq asks the network before it gives an address away (`LXC_DHCP_PING`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhcpPing {
    /// It pings first.
    Yes,
    /// It does not.
    No,
}

/// Whether packets leave the host under its own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// They do.
    Yes,
    /// They keep theirs.
    No,
}

/// The network's IPv6 side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// The bridge's address in its network.
    pub address: Subnet,
    /// What is behind the bridge.
    pub network: Subnet,
    /// Whether it leaves the host under the host's address.
    pub nat: Nat,
}

/// What the network is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether the host wants it.
    pub wanted: Wanted,
    /// The bridge's name.
    pub bridge: InterfaceName,
    /// The bridge's hardware address.
    pub hardware: Option<HardwareAddress>,
    /// The bridge's address in its network.
    pub address: Subnet,
    /// What is behind the bridge, and leaves the host under the host's address.
    pub network: Subnet,
    /// The first and last address that DHCP gives away.
    pub range: (Ipv4Addr, Ipv4Addr),
    /// How many it gives away.
    pub most: u32,
    /// A configuration file of dnsmasq's.
    pub dnsmasq_file: Option<PathBuf>,
    /// Whether an address is pinged before it is given away.
    pub ping: DhcpPing,
    /// The domain of the containers' names.
    pub domain: Option<String>,
    /// The IPv6 side.
    pub ipv6: Option<Ipv6>,
}

impl Settings {
    /// Reads the file at `path`; one that is not there says nothing.
    ///
    /// # Errors
    /// As [`Self::parse`], and what the file system says.
    pub fn load(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::parse("", path),
            Err(error) => Err(Error::io(format!("cannot read `{}`", path.display()), error)),
        }
    }

    /// Reads the text of a settings file; `path` appears in errors only.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the line for what is no assignment or no value of its variable, and for values that contradict each
    /// other.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut values: BTreeMap<&str, Value> = VARIABLES
            .iter()
            .map(|(name, value)| (*name, Value { text: (*value).to_owned(), line: 0 }))
            .collect();
        for (line, text) in (1..).zip(text.lines()) {
            let assigned = assignment(text).map_err(|why| wrong(path, line, &why))?;
            let Some((name, text)) = assigned else { continue };
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            let (known, _) =
                known.ok_or_else(|| wrong(path, line, &format!("there is no variable `{name}`")))?;
            values.insert(known, Value { text, line });
        }
        let reader = Reader { path, values };
        let settings = reader.settings()?;
        settings.check(&reader)?;
        Ok(settings)
    }

    /// Returns the addresses that the bridge gets.
    pub(super) fn addresses(&self) -> Vec<Subnet> {
        std::iter::once(self.address).chain(self.ipv6.map(|ipv6| ipv6.address)).collect()
    }

    /// Returns what is noted on the bridge.
    pub(super) fn mark(&self) -> Result<Mark> {
        Ok(Mark { owner: Owner::new(format!("net/{}", self.bridge))?, number: 0, home: None })
    }

    fn check(&self, reader: &Reader<'_>) -> Result<()> {
        if !self.network.contains(self.address.address) {
            return Err(reader.wrong("LXC_ADDR", &format!("it is not in LXC_NETWORK `{}`", self.network)));
        }
        let (first, last) = self.range;
        if first > last || !self.network.contains(first.into()) || !self.network.contains(last.into()) {
            return Err(reader
                .wrong("LXC_DHCP_RANGE", &format!("it is not a part of LXC_NETWORK `{}`", self.network)));
        }
        match self.ipv6 {
            Some(ipv6) if !ipv6.network.contains(ipv6.address.address) => {
                Err(reader
                    .wrong("LXC_IPV6_ADDR", &format!("it is not in LXC_IPV6_NETWORK `{}`", ipv6.network)))
            }
            _ => Ok(()),
        }
    }
}

struct Value {
    text: String,
    line: usize,
}

struct Reader<'a> {
    path: &'a Path,
    values: BTreeMap<&'static str, Value>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |value| value.text.as_str())
    }

    fn wrong(&self, name: &str, why: &str) -> Error {
        let line = self.values.get(name).map_or(0, |value| value.line);
        wrong(self.path, line, &format!("`{name}={}`: {why}", self.text(name)))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T> {
        self.text(name).parse().map_err(|_| self.wrong(name, &format!("this is not {what}")))
    }

    fn switch(&self, name: &str) -> Result<bool> {
        match self.text(name) {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(self.wrong(name, "write true or false")),
        }
    }

    fn optional(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    fn settings(&self) -> Result<Settings> {
        if !self.switch("LXC_USE_NFT")? {
            return Err(self.wrong("LXC_USE_NFT", "keiki filters packets with nftables only"));
        }
        let hardware = match self.optional("LXC_BRIDGE_MAC") {
            Some(_) => Some(self.parsed("LXC_BRIDGE_MAC", "a hardware address")?),
            None => None,
        };
        let address: Ipv4Addr = self.parsed("LXC_ADDR", "an IPv4 address")?;
        Ok(Settings {
            wanted: if self.switch("USE_LXC_BRIDGE")? { Wanted::Yes } else { Wanted::No },
            bridge: self.parsed("LXC_BRIDGE", "the name of an interface")?,
            hardware,
            address: Subnet { address: address.into(), prefix: self.netmask()? },
            network: self.network("LXC_NETWORK")?,
            range: self.range()?,
            most: self.parsed("LXC_DHCP_MAX", "a number")?,
            dnsmasq_file: self.optional("LXC_DHCP_CONFILE").map(PathBuf::from),
            ping: if self.switch("LXC_DHCP_PING")? { DhcpPing::Yes } else { DhcpPing::No },
            domain: self.domain()?,
            ipv6: self.ipv6()?,
        })
    }

    fn netmask(&self) -> Result<u8> {
        let mask: Ipv4Addr = self.parsed("LXC_NETMASK", "a netmask")?;
        let ones = mask.to_bits().leading_ones();
        if ones + mask.to_bits().trailing_zeros() < 32 {
            return Err(self.wrong("LXC_NETMASK", "its ones are not in front"));
        }
        Ok(u8::try_from(ones).unwrap_or(32))
    }

    fn network(&self, name: &str) -> Result<Subnet> {
        let subnet: Subnet = self.parsed(name, "a network")?;
        Ok(Subnet { address: subnet.network(), ..subnet })
    }

    fn range(&self) -> Result<(Ipv4Addr, Ipv4Addr)> {
        let pair = self.text("LXC_DHCP_RANGE").split_once(',');
        let pair =
            pair.and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
        pair.ok_or_else(|| {
            self.wrong("LXC_DHCP_RANGE", "write the first and the last address, with a comma between")
        })
    }

    fn domain(&self) -> Result<Option<String>> {
        let Some(domain) = self.optional("LXC_DOMAIN") else { return Ok(None) };
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if domain.split('.').all(is_label) {
            return Ok(Some(domain.to_owned()));
        }
        Err(self.wrong("LXC_DOMAIN", "this is not a domain"))
    }

    fn ipv6(&self) -> Result<Option<Ipv6>> {
        let names = ["LXC_IPV6_ADDR", "LXC_IPV6_MASK", "LXC_IPV6_NETWORK"];
        let is_off = self.text("LXC_IPV6_ENABLE") == "false";
        if is_off || names.iter().all(|name| self.text(name).is_empty()) {
            return Ok(None);
        }
        if let Some(missing) = names.iter().find(|name| self.text(name).is_empty()) {
            return Err(self.wrong(missing, "the IPv6 side needs address, mask and network"));
        }
        let address: Ipv6Addr = self.parsed("LXC_IPV6_ADDR", "an IPv6 address")?;
        let prefix: u8 = self.parsed("LXC_IPV6_MASK", "the length of a prefix")?;
        if prefix > 128 {
            return Err(self.wrong("LXC_IPV6_MASK", "this is not the length of a prefix"));
        }
        Ok(Some(Ipv6 {
            address: Subnet { address: address.into(), prefix },
            network: self.network("LXC_IPV6_NETWORK")?,
            nat: if self.switch("LXC_IPV6_NAT")? { Nat::Yes } else { Nat::No },
        }))
    }
}

fn wrong(path: &Path, line: usize, why: &str) -> Error {
    let place = match line {
        0 => path.display().to_string(),
        line => format!("{}:{line}", path.display()),
    };
    Error::new(ErrorKind::InvalidArgument, format!("{place}: {why}"))
        .with_hint(format!("variables: {}", VARIABLES.map(|(name, _)| name).join(" ")))
}

/// Returns the variable and value of a line, or `None` for one that says nothing.
fn assignment(line: &str) -> Result<Option<(&str, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("this is not an assignment (NAME=VALUE)")?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("this is not an assignment (NAME=VALUE)".to_owned());
    }
    let (value, rest) = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            value[1..].split_once(quote).ok_or_else(|| format!("the quote {quote} is not closed"))?
        }
        _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
    };
    let is_comment =
        rest.trim().is_empty() || rest.trim_start().starts_with('#') && rest.starts_with(char::is_whitespace);
    if !is_comment || value.contains(['$', '`', '\\', ';', '"', '\'']) {
        return Err("only a shell could understand this: write the value itself".to_owned());
    }
    Ok(Some((name, value.to_owned())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse(text, Path::new("/etc/default/lxc-net"))
    }

    #[test]
    fn an_empty_file_means_what_lxc_means() {
        let settings = parse("").unwrap();
        assert_eq!((settings.bridge.as_str(), settings.wanted), ("lxcbr0", Wanted::Yes));
        assert_eq!(
            (settings.address.to_string(), settings.network.to_string()),
            ("10.0.3.1/24".into(), "10.0.3.0/24".into())
        );
        assert_eq!((settings.most, settings.ping, settings.ipv6), (253, DhcpPing::Yes, None));
    }

    #[test]
    fn debians_own_file_and_every_quoting_is_read() {
        let text = "USE_LXC_BRIDGE=\"true\"\n\n# Honor system's dnsmasq configuration\n#LXC_DHCP_CONFILE=/etc/dnsmasq.conf\n\
                    LXC_BRIDGE='br1'  # ours\nexport LXC_DOMAIN=lxc\nLXC_NETMASK=255.255.0.0\n  LXC_DHCP_PING=false\n";
        let settings = parse(text).unwrap();
        assert_eq!((settings.bridge.as_str(), settings.address.prefix), ("br1", 16));
        assert_eq!((settings.domain.as_deref(), settings.ping), (Some("lxc"), DhcpPing::No));
    }

    #[test]
    fn the_other_side_needs_address_mask_and_network() {
        let text =
            "LXC_IPV6_ADDR=fd00:3::1\nLXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=fd00:3::/64\nLXC_IPV6_NAT=true\n";
        let ipv6 = parse(text).unwrap().ipv6.unwrap();
        assert_eq!((ipv6.address.to_string(), ipv6.nat), ("fd00:3::1/64".into(), Nat::Yes));
        assert!(parse("LXC_IPV6_ADDR=fd00:3::1\n").unwrap_err().message().contains("LXC_IPV6_MASK"));
        assert_eq!(parse(&format!("{text}LXC_IPV6_ENABLE=false\n")).unwrap().ipv6, None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("\n[ ! -f /x ] || . /x\n", "lxc-net:2: this is not an assignment"),
            ("LXC_ADDR=$(hostname -I)\n", "lxc-net:1: only a shell"),
            ("LXC_BRIGDE=x\n", "there is no variable `LXC_BRIGDE`"),
            ("LXC_ADDR=10.0.9.1\n", "LXC_ADDR=10.0.9.1`: it is not in LXC_NETWORK"),
            ("LXC_DHCP_RANGE=10.0.3.9,10.0.3.2\n", "LXC_DHCP_RANGE"),
            ("LXC_DHCP_RANGE=10.0.3.9\n", "with a comma between"),
            ("LXC_NETMASK=255.0.255.0\n", "not in front"),
            ("LXC_USE_NFT=false\n", "nftables only"),
            ("USE_LXC_BRIDGE=yes\n", "write true or false"),
            ("LXC_BRIDGE=\"x\n", "is not closed"),
            ("LXC_BRIDGE=\"\"\n", "the name of an interface"),
            ("LXC_DOMAIN=a..b\n", "not a domain"),
            ("LXC_DOMAIN=a;b\n", "only a shell"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().contains(expected), "{error:?} for {text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "([A-Z_]{0,12}=?[\"' #a-z0-9.:/$é]{0,20}\n?){0,5}") {
            drop(parse(&text));
        }
    }
}
