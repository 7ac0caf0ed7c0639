//! The interfaces of a container during one start: decided and written down before its first process exists, made from here as soon as
//! its namespace is there, configured by the first process, and taken leave of when it has ended.
//!
//! Nothing is deleted at the end: what was made dies with its namespace. Only hardware goes home, and what the host
//! answered for is taken back.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use keiki_network::{
    Facts, Kind, Making, Nic, Planned, Rtnetlink, configure, create, give_back, plan, raise_loopback, retract,
};

use super::Monitor;
use super::hooks::{self, Moment, Told};
use crate::failure::{AtStep, Step};
use crate::interfaces;
use crate::settings::hooks::Interface;
use crate::settings::log::Level;
use crate::status::ContainerState;

const PLAN: &str = "prepare the network";
const MAKE: &str = "make the network";

impl Monitor {
    /// Decides about the interfaces and writes them down: whoever finds us killed must find them.
    pub(super) fn plan_network(&mut self) -> Step {
        let nics = &self.plan.settings.network.nics;
        if nics.is_empty() {
            return Ok(());
        }
        let mut host = Rtnetlink::open().at(PLAN)?;
        let facts = Facts::gather(&mut host, nics).at(PLAN)?;
        self.record.interfaces = plan(nics, &facts).at(PLAN)?;
        self.publish(ContainerState::Starting)
    }

    /// Makes the interfaces in the namespace of the first process.
    pub(super) fn make_network(&mut self, namespace: OwnedFd) -> Step {
        let owner = interfaces::owner(self.run.path()).at(MAKE)?;
        let mut host = Rtnetlink::open().at(MAKE)?;
        for nic in &self.record.interfaces {
            create(&mut host, nic, &owner, namespace.as_fd()).at(MAKE)?;
        }
        let is_lent = |nic: &Planned| matches!(nic.making, Making::Lent(_));
        if self.record.interfaces.iter().any(is_lent) {
            // Hardware is given back from there when everybody in it is dead.
            self.lending = Some(namespace);
        }
        self.run_scripts(Moment::Up)
    }

    /// Takes leave of the interfaces when every process of the container is dead. What fails stays written down.
    pub(super) fn leave_network(&mut self) {
        if self.record.interfaces.is_empty() {
            return;
        }
        if let Err(failure) = self.run_scripts(Moment::Down).and_then(|()| self.return_hardware()) {
            self.log.write(Level::Error, failure);
            return;
        }
        self.record.interfaces.clear();
    }

    fn return_hardware(&mut self) -> Step {
        let step = "give the network back";
        let needs_host = |nic: &Planned| nic.announced.is_some();
        if self.record.interfaces.iter().any(needs_host) {
            let mut host = Rtnetlink::open().at(step)?;
            self.record.interfaces.iter().try_for_each(|nic| retract(&mut host, nic)).at(step)?;
        }
        let Some(namespace) = self.lending.take() else { return Ok(()) };
        let owner = interfaces::owner(self.run.path()).at(step)?;
        let home = File::open("/proc/self/ns/net").at(step)?;
        let mut inside = Rtnetlink::open_in(namespace.as_fd()).at(step)?;
        for nic in &self.record.interfaces {
            if let Making::Lent(lent) = &nic.making {
                give_back(&mut inside, &owner, lent, home.as_fd()).at(step)?;
            }
        }
        Ok(())
    }

    fn run_scripts(&self, moment: Moment) -> Step {
        for nic in &self.plan.settings.network.nics {
            let script = match moment {
                Moment::Up => &nic.script_up,
                Moment::Down => &nic.script_down,
            };
            let Some(script) = script else { continue };
            let planned = self.record.interfaces.iter().find(|planned| planned.number == nic.number);
            let told = told(nic, planned, self.plan.settings.hooks.interface);
            hooks::run_script(&self.plan, &script.to_string_lossy(), moment, &told)?;
        }
        Ok(())
    }
}

/// What a script of an interface is told, as LXC tells it.
fn told(nic: &Nic, planned: Option<&Planned>, interface: Interface) -> Told {
    let link = match &nic.kind {
        Kind::Veth(veth) => veth.link.as_ref().map(ToString::to_string),
        Kind::Macvlan { link, .. } | Kind::Ipvlan { link, .. } | Kind::Vlan { link, .. } => {
            Some(link.to_string())
        }
        Kind::Physical { link } => Some(link.clone()),
        Kind::Empty | Kind::Host => None,
    };
    let peer = planned.and_then(Planned::host_name).filter(|_| matches!(nic.kind, Kind::Veth(_)));
    let own = [
        ("LXC_NET_TYPE", Some(nic.kind.as_str().to_owned())),
        ("LXC_NET_PARENT", link),
        ("LXC_NET_PEER", peer.map(str::to_owned)),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut told = Told::default();
    match interface {
        Interface::Arguments => told.arguments.extend(own.map(|(_, value)| value.into())),
        Interface::Variables => told.variables.extend(own.map(|(name, value)| (name.into(), value.into()))),
    }
    told
}

/// Configures the interfaces from inside, as the first process.
pub(super) fn configure_inside(interfaces: &[Planned]) -> Step {
    let step = "configure the network";
    let mut network = Rtnetlink::open().at(step)?;
    raise_loopback(&mut network).at(step)?;
    interfaces.iter().try_for_each(|nic| configure(&mut network, nic)).at(step)
}
