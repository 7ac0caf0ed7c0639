//! A blocking `rtnetlink` socket: one request, its answer, and the kernel's own words when it refuses.
//!
//! The messages are those of `netlink-packet-route`. Every request asks for an acknowledgement, with the kernel's extended text,
//! which says what an errno cannot ("Unknown device type"). A list that changed while it was read is read again.

mod exchange;
mod link;
mod refusal;

use std::os::fd::BorrowedFd;

use keiki_core::{Result, ResultExt};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use link::Link;
pub(crate) use link::{named, numbered};
pub(crate) use refusal::Refusal;

/// A connection to the network configuration of one namespace.
///
/// It belongs to the namespace in which it was opened, wherever its owner goes, and keeps that namespace alive.
pub struct Rtnetlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Rtnetlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rtnetlink").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Rtnetlink {
    /// Opens one in the network namespace of the calling thread.
    ///
    /// # Errors
    /// What the kernel says about sockets.
    pub fn open() -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            // Only the kernel, which has number 0, is heard.
            socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = open().or_err(|| "cannot open a socket for the network's configuration".to_owned())?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(exchange::ANSWER_MAX) })
    }

    /// Opens one in another network namespace.
    ///
    /// # Behavior
    /// The calling thread enters the namespace and returns: call it from a thread that nobody else works on.
    ///
    /// # Requires
    /// `CAP_SYS_ADMIN` here and over the namespace.
    ///
    /// # Errors
    /// What the kernel says. When the way back fails, the thread is in the other namespace and must end.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self> {
        let cannot = || "cannot enter the network namespace".to_owned();
        let own =
            rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .or_err(cannot)?;
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).or_err(cannot)?;
        let opened = Self::open();
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&own), Some(LinkNameSpaceType::Network))
            .or_err(|| "cannot return to the host's network namespace".to_owned())?;
        opened
    }
}
