//! The host's own network for containers: a bridge with an address, DHCP and names by dnsmasq, and a way out by NAT.
//!
//! It is what `lxc-net` makes, from the same settings file ([`Settings`]), with four differences: it is told apart from a stranger's bridge by a
//! mark; every step can be done again, so that [`up`] after a kill at any moment completes it; rules of the packet filter
//! are one table of its own, replaced in one transaction of `nft`; and what was changed of the host's forwarding is put back by [`down`].
//!
//! ```text
//! /run/keiki/net/<bridge>.lock     held during a change
//! /run/keiki/net/<bridge>.json     what the host's forwarding was before; written before it is changed
//! /run/keiki/net/<bridge>.pid      dnsmasq's number
//! /var/lib/misc/dnsmasq.<bridge>.leases    where LXC has it, so that addresses stay when one takes over from the other
//! ```

mod dnsmasq;
mod firewall;
mod forwarding;
mod leases;
mod link;
mod settings;

use std::fs::{File, OpenOptions};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use keiki_core::context::Context;
use keiki_core::{Error, ErrorKind, Result, ResultExt};

pub use leases::Lease;
pub use settings::{DhcpPing, Ipv6, Nat, Settings, Wanted};

use crate::mark::Mark;
use crate::netlink::{Link, Rtnetlink};

/// Where the files of a bridge are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What is gone with the boot: locks, numbers of processes, what was before.
    pub run: PathBuf,
    /// Leases.
    pub state: PathBuf,
    /// A file of dnsmasq's `dhcp-host` lines, used if it is there: addresses that containers always get.
    pub hosts: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            run: "/run/keiki/net".into(),
            state: "/var/lib/misc".into(),
            hosts: "/etc/lxc/dhcp-hosts".into(),
        }
    }
}

/// Whether [`down`] removes a bridge that containers are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// It refuses.
    Refuse,
    /// It disconnects them.
    Disconnect,
}

/// What a bridge is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none of that name.
    Absent,
    /// Keiki made it.
    Ours,
    /// Somebody else made it.
    Foreign,
}

/// What there is of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The bridge.
    pub standing: Standing,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its ports, with what is noted on them.
    pub ports: Vec<(String, Option<Mark>)>,
    /// The number of dnsmasq's process, if it runs.
    pub dnsmasq: Option<u32>,
    /// Whether the packet filter has our table.
    pub has_rules: bool,
    /// Whether the host passes on packets of IPv4.
    pub forwards: bool,
    /// Who has which address by DHCP.
    pub leases: Vec<Lease>,
}

/// Whether a call had something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It did what was missing.
    Done,
    /// Everything was so already.
    Nothing,
}

/// Makes the network, or what is missing of it.
///
/// # Behavior
/// Done again it changes nothing; after other settings it changes what differs. A bridge that this call made is removed again when the call fails.
///
/// # Requires
/// Root, dnsmasq and nft.
///
/// # Errors
/// [`ErrorKind::Foreign`] for a bridge of that name that keiki did not make, [`ErrorKind::Unavailable`] for a missing tool; nothing was
/// changed then. Else what the kernel or the tool says.
pub fn up(context: &Context, settings: &Settings, places: &Places) -> Result<()> {
    dnsmasq::tool().find()?;
    firewall::tool().find()?;
    let _lock = lock(places, settings)?;
    let mut network = Rtnetlink::open()?;
    let was_there = match standing(&mut network, settings)? {
        (Standing::Foreign, _) => return Err(foreign(settings)),
        (standing, _) => standing == Standing::Ours,
    };
    bring_up(context, &mut network, settings, places).map_err(|error| {
        let error = error.while_doing(format!("cannot bring the network `{}` up", settings.bridge));
        if was_there {
            return error;
        }
        match take_down(context, &mut network, settings, places) {
            Err(second) => error.with_context("also", second.full_message()),
            Ok(()) => error,
        }
    })
}

fn bring_up(context: &Context, network: &mut Rtnetlink, settings: &Settings, places: &Places) -> Result<()> {
    context.step("net.bridge")?;
    let index = link::ensure(network, settings)?;
    link::configure(network, index, settings)?;
    context.step("net.forwarding")?;
    forwarding::switch_on(settings, places)?;
    context.step("net.rules")?;
    firewall::apply(context, settings)?;
    context.step("net.dnsmasq")?;
    dnsmasq::ensure(context, settings, places)
}

/// Takes the network down.
///
/// # Behavior
/// Done again it does nothing. Leases stay.
///
/// # Errors
/// [`ErrorKind::Busy`] while containers are connected, with their names, and [`ErrorKind::Foreign`] for a bridge that keiki did not make; nothing
/// was changed then.
pub fn down(context: &Context, settings: &Settings, places: &Places, ports: Ports) -> Result<Change> {
    let _lock = lock(places, settings)?;
    let mut network = Rtnetlink::open()?;
    let (standing, link) = standing(&mut network, settings)?;
    if standing == Standing::Foreign {
        return Err(foreign(settings));
    }
    let connected = match &link {
        Some(link) => connected(&mut network, link)?,
        None => Vec::new(),
    };
    if ports == Ports::Refuse && !connected.is_empty() {
        return Err(busy(settings, &connected));
    }
    let is_left = standing == Standing::Ours
        || firewall::is_applied(context, settings)?
        || forwarding::is_changed(settings, places)
        || dnsmasq::running(settings, places)?.is_some();
    if !is_left {
        return Ok(Change::Nothing);
    }
    take_down(context, &mut network, settings, places)?;
    Ok(Change::Done)
}

fn take_down(context: &Context, network: &mut Rtnetlink, settings: &Settings, places: &Places) -> Result<()> {
    context.step("net.stop-dnsmasq")?;
    dnsmasq::stop(settings, places)?;
    context.step("net.remove-rules")?;
    firewall::remove(context, settings)?;
    context.step("net.remove-bridge")?;
    link::remove(network, settings)?;
    context.step("net.restore-forwarding")?;
    forwarding::restore(settings, places)
}

/// Returns what there is of the network.
///
/// # Errors
/// What the kernel or `nft` says; without `nft` there are no rules of ours.
pub fn status(context: &Context, settings: &Settings, places: &Places) -> Result<Status> {
    let mut network = Rtnetlink::open()?;
    let (standing, link) = standing(&mut network, settings)?;
    let mut status = Status {
        standing,
        is_up: link.as_ref().is_some_and(|link| link.is_up),
        addresses: Vec::new(),
        ports: Vec::new(),
        dnsmasq: dnsmasq::running(settings, places)?,
        has_rules: match firewall::tool().find() {
            Ok(_) => firewall::is_applied(context, settings)?,
            Err(_) => false,
        },
        forwards: forwarding::is_on(forwarding::IPV4),
        leases: leases::read(&dnsmasq::lease_file(settings, places))?,
    };
    if let Some(link) = link {
        let all = network.addresses()?;
        let own = all.into_iter().filter(|(index, ..)| *index == link.index);
        status.addresses = own.map(|(_, address, prefix)| format!("{address}/{prefix}")).collect();
        status.ports = connected(&mut network, &link)?;
    }
    Ok(status)
}

fn standing(network: &mut Rtnetlink, settings: &Settings) -> Result<(Standing, Option<Link>)> {
    let link = network.link(settings.bridge.as_str())?;
    let standing = match &link {
        None => Standing::Absent,
        Some(link) if link.alias.as_deref() == Some(settings.mark()?.to_string().as_str()) => Standing::Ours,
        Some(_) => Standing::Foreign,
    };
    Ok((standing, link))
}

fn connected(network: &mut Rtnetlink, bridge: &Link) -> Result<Vec<(String, Option<Mark>)>> {
    let ports = network.links()?.into_iter().filter(|link| link.bridge == Some(bridge.index));
    Ok(ports.map(|port| (port.name, port.alias.as_deref().and_then(Mark::read))).collect())
}

fn foreign(settings: &Settings) -> Error {
    let name = &settings.bridge;
    Error::new(ErrorKind::Foreign, format!("there is an interface `{name}` that keiki did not make"))
        .with_hint("if lxc-net made it: `systemctl disable --now lxc-net`, then try again")
        .with_hint(format!("or leave it: containers with `lxc.net.N.link = {name}` can use it as it is"))
}

fn busy(settings: &Settings, connected: &[(String, Option<Mark>)]) -> Error {
    let shown = connected.iter().map(|(port, mark)| match mark {
        Some(mark) => format!("{port} ({})", mark.owner.as_str().rsplit('/').next().unwrap_or_default()),
        None => port.clone(),
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    Error::new(ErrorKind::Busy, format!("containers are connected to `{}`: {shown}", settings.bridge))
        .with_hint("stop them, or disconnect them: `keiki net down --force`")
}

/// Takes the lock of a network, waiting for whoever is changing it.
fn lock(places: &Places, settings: &Settings) -> Result<File> {
    let path = file(&places.run, settings, "lock");
    make_directory(&places.run)?;
    let cannot = || format!("cannot lock `{}`", path.display());
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).or_err(cannot)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).or_err(cannot)?;
    Ok(file)
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).or_err(|| format!("cannot make the directory `{}`", path.display()))
}

fn file(directory: &Path, settings: &Settings, kind: &str) -> PathBuf {
    directory.join(format!("{}.{kind}", settings.bridge))
}

/// Returns whether an address is one that the settings give to the bridge.
fn is_wanted(settings: &Settings, address: IpAddr, prefix: u8) -> bool {
    settings.addresses().iter().any(|wanted| (wanted.address, wanted.prefix) == (address, prefix))
}
