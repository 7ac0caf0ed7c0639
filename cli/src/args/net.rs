//! `keiki net`: the host's own network for containers.

use std::path::PathBuf;

use super::FORMATS;
use crate::ui::format::Format;

/// `keiki net`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The settings are those of lxc-net: LXC_BRIDGE, LXC_ADDR, LXC_NETWORK, LXC_DHCP_RANGE, LXC_DOMAIN, LXC_IPV6_ADDR and so on.
Containers are connected by `lxc.net.0.type = veth` and `lxc.net.0.link = lxcbr0`. Addresses that they always get
are written to /etc/lxc/dhcp-hosts: `web1,10.0.3.20`, one a line.")]
pub(crate) struct Net {
    #[command(subcommand)]
    pub(crate) verb: NetVerb,
    /// The settings file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/default/lxc-net")]
    pub(crate) settings: PathBuf,
}

/// What `keiki net` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum NetVerb {
    /// Make the bridge with DHCP, names and NAT, or what is missing of it
    Up,
    /// Take the bridge down and put the host's forwarding back
    Down(NetDown),
    /// Show the bridge, who is connected, and who has which address
    Status(NetStatus),
}

/// `keiki net down`.
#[derive(Debug, clap::Args)]
pub(crate) struct NetDown {
    /// Disconnect the containers that are connected
    #[arg(long)]
    pub(crate) force: bool,
}

/// `keiki net status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Fields: bridge, standing (absent, ours, foreign), up, addresses, dnsmasq (its pid), rules, forwards, ports, leases."
)]
pub(crate) struct NetStatus {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}
