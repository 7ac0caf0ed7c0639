//! What an interface of a container is to be, as a configuration says it.
//!
//! Plain data: who reads configurations fills it in, [`crate::plan()`] decides what is left open.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::address::{Address, Gateway, Subnet};
use crate::hardware::HardwareAddress;
use crate::name::InterfaceName;

/// One interface of a container (`lxc.net.N`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its number in the configuration.
    pub number: u32,
    /// What it is.
    pub kind: Kind,
    /// Its name inside; the first free `ethN` when nobody chose one.
    pub name: Option<InterfaceName>,
    /// Its hardware address inside; the kernel draws one when nobody chose it.
    pub hardware: Option<HardwareAddress>,
    /// The largest packet; that of the bridge or of the interface below when nobody chose it.
    pub mtu: Option<u32>,
    /// Whether it is switched on.
    pub power: Power,
    /// Its addresses inside, in order.
    pub addresses: Vec<Address>,
    /// Its default routes.
    pub gateways: Gateways,
    /// Whether `link` answers for its addresses.
    pub neighbours: Neighbours,
    /// A program that the caller runs on the host when the interface is there.
    pub script_up: Option<PathBuf>,
    /// A program that the caller runs on the host when it goes.
    pub script_down: Option<PathBuf>,
}

impl Nic {
    /// Returns an interface of a kind about which nothing else is said.
    #[must_use]
    pub fn new(number: u32, kind: Kind) -> Self {
        Self {
            number,
            kind,
            name: None,
            hardware: None,
            mtu: None,
            power: Power::Off,
            addresses: Vec::new(),
            gateways: Gateways::default(),
            neighbours: Neighbours::Alone,
            script_up: None,
            script_down: None,
        }
    }
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One end of a pair, whose other end stays on the host.
    Veth(Veth),
    /// A hardware address of its own on an interface of the host.
    Macvlan {
        /// The interface of the host.
        link: InterfaceName,
        /// Who hears whom.
        mode: MacvlanMode,
    },
    /// An address of its own on an interface of the host, whose hardware address it shares.
    Ipvlan {
        /// The interface of the host.
        link: InterfaceName,
        /// On which layer.
        mode: IpvlanMode,
        /// Who hears whom.
        isolation: IpvlanIsolation,
    },
    /// A tagged network on an interface of the host.
    Vlan {
        /// The interface of the host.
        link: InterfaceName,
        /// The tag.
        id: u16,
    },
    /// An interface of the host, lent until the container stops.
    Physical {
        /// The interface, or with `+` at its end the beginning of the names of several.
        link: String,
    },
    /// None: only the loopback interface.
    Empty,
    /// The host's own network, which is shared.
    Host,
}

impl Kind {
    /// Returns LXC's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Veth(_) => "veth",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Physical { .. } => "phys",
            Self::Empty => "empty",
            Self::Host => "none",
        }
    }
}

/// A pair of interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Veth {
    /// The name of the host's end; random when nobody chose it.
    pub pair: Option<InterfaceName>,
    /// The bridge of the host; in router mode the interface that answers for the container's addresses.
    pub link: Option<InterfaceName>,
    /// How the host's end is connected.
    pub mode: VethMode,
    /// The networks of the container as a port of the bridge.
    pub vlan: PortVlan,
    /// Networks that the host reaches through the pair.
    pub routes: Vec<Subnet>,
    /// How many queues receive.
    pub receive_queues: Option<u32>,
    /// How many queues send.
    pub transmit_queues: Option<u32>,
}

/// How the host's end of a pair is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum VethMode {
    /// It is a port of a bridge.
    #[default]
    Bridge,
    /// The host routes to it, and answers for the gateways on it.
    Router,
}

/// What a port of a bridge that filters VLANs lets through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortVlan {
    /// The network of what is not tagged; `None` leaves the bridge's own rule.
    pub untagged: Option<Untagged>,
    /// The networks that pass with their tags.
    pub tagged: Vec<u16>,
}

impl PortVlan {
    /// Returns whether the configuration says anything about it.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.untagged.is_some() || !self.tagged.is_empty()
    }
}

/// What happens to packets without a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Untagged {
    /// They belong to this network.
    Network(u16),
    /// They are dropped.
    Dropped,
}

/// Who hears whom among the interfaces on one interface of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MacvlanMode {
    /// Nobody hears the others.
    #[default]
    Private,
    /// The switch outside decides.
    Vepa,
    /// They hear each other.
    Bridge,
    /// There is one only, and it takes everything.
    PassThrough,
}

/// On which layer an ipvlan is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IpvlanMode {
    /// The second.
    L2,
    /// The third: the host routes.
    #[default]
    L3,
    /// The third, through the host's packet filter.
    L3S,
}

/// Who hears whom among the ipvlans of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IpvlanIsolation {
    /// They hear each other.
    #[default]
    Bridge,
    /// Nobody hears the others.
    Private,
    /// The switch outside decides.
    Vepa,
}

/// Whether an interface is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Power {
    /// It is up.
    On,
    /// It stays down; the container's own programs decide.
    #[default]
    Off,
}

/// Whether the host's interface `link` answers for a container's addresses (`lxc.net.N.l2proxy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Neighbours {
    /// It does.
    Proxied,
    /// It does not.
    #[default]
    Alone,
}

/// The default routes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gateways {
    /// That of IPv4.
    pub v4: Option<Gateway>,
    /// That of IPv6.
    pub v6: Option<Gateway>,
}
