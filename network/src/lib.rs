//! Networks of containers: interfaces that are born inside their namespace, and the host's bridge.
//!
//! A start asks three things of this crate, in this order: [`plan()`] decides everything about the interfaces of a container before
//! its first process exists, so that names can be recorded before anything is made; [`create`] makes one from the host's side, in
//! one message, inside the container's namespace (moving an interface there costs 13 to 27 ms, being born there a few hundred
//! microseconds); [`configure`] gives it addresses and routes from the inside. Nothing is deleted on the stop path: the death
//! of the namespace takes what was made in it. What a killed monitor leaves is found by the mark that each of our interfaces
//! carries ([`Mark`]), without any state, and removed by [`remove_marked`]; hardware that was lent comes home by [`give_back`].
//!
//! It speaks `rtnetlink` over a blocking socket: the monitor has one thread and no executor (`docs/decisions/0012-network.md`).
//! The host's own bridge, with addresses, names and a way out, is [`bridge`]. The crate reads no configuration of containers, runs no script of theirs, and holds no lock.
#![forbid(unsafe_code)]

mod address;
pub mod bridge;
mod hardware;
mod host;
mod inside;
mod lent;
mod mark;
mod name;
mod netlink;
mod nic;
mod plan;
mod random;

pub use address::{Address, Gateway, Subnet};
pub use hardware::{HardwareAddress, fill_template};
pub use host::{create, retract};
pub use inside::{configure, raise_loopback};
pub use lent::{Lent, give_back, move_link, restore};
pub use mark::{Mark, Marked, Owner, find_marked, remove_marked};
pub use name::InterfaceName;
pub use netlink::{Link, Rtnetlink};
pub use nic::{
    Gateways, IpvlanIsolation, IpvlanMode, Kind, MacvlanMode, Neighbours, Nic, PortVlan, Power, Untagged,
    Veth, VethMode,
};
pub use plan::{Above, Announced, Facts, Layer, Making, Pair, Planned, Route, plan};
