//! Containers that LXC's own tools run: found in the kernel's table of sockets, asked with a deadline.

use std::path::Path;
use std::time::Duration;

use keiki_core::engine::ContainerKey;
use keiki_core::{Result, ResultExt};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::lxc_wire::{self, HEADER, Header};
use crate::status::ContainerState;

/// A monitor of LXC that does not answer in this time hangs, and hangs nobody else.
const PATIENCE: Duration = Duration::from_secs(1);

/// The host's table of local sockets, read once.
#[derive(Debug)]
pub(crate) struct Sockets(Vec<u8>);

impl Sockets {
    pub(crate) fn read() -> Result<Self> {
        let path = "/proc/net/unix";
        std::fs::read(path).map(Self).or_err(|| format!("cannot read `{path}`"))
    }

    /// Returns whether a monitor serves the container's command socket.
    pub(crate) fn has(&self, lxcpath: &Path, container: &str) -> bool {
        lxc_wire::is_listed(&self.0, &lxc_wire::name(lxcpath, container))
    }
}

/// Returns the first process of a container that LXC runs.
pub(crate) fn init_pid(key: &ContainerKey) -> Option<u32> {
    let answer = ask(key, lxc_wire::GET_INIT_PID).ok()?;
    u32::try_from(answer.data & 0xffff_ffff).ok().filter(|pid| *pid > 0)
}

/// Returns what a container that LXC runs does.
pub(crate) fn state(key: &ContainerKey) -> Option<ContainerState> {
    let answer = ask(key, lxc_wire::GET_STATE).ok()?;
    let number = usize::try_from(answer.data & 0xffff_ffff).ok()?;
    ContainerState::ALL.get(number).copied()
}

/// Asks LXC's monitor to kill the container; returns when the monitor is gone.
pub(crate) fn stop(key: &ContainerKey, timeout: Duration) -> Result<()> {
    let shown = || format!("cannot stop container `{}` of LXC", key.name);
    let socket = send(key, lxc_wire::STOP, timeout).or_err(shown)?;
    let mut answer = [0_u8; HEADER];
    // Success is the end of the connection; an answer would be a refusal.
    match rustix::net::recv(&socket, &mut answer, RecvFlags::empty()) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(()),
        Ok(_) if Header::parse(&answer).command <= 0 => Ok(()),
        Ok(_) => Err(Errno::IO).or_err(shown),
        Err(errno) => Err(errno).or_err(shown),
    }
}

fn ask(key: &ContainerKey, command: i32) -> rustix::io::Result<Header> {
    let socket = send(key, command, PATIENCE)?;
    let mut answer = [0_u8; HEADER];
    match rustix::net::recv(&socket, &mut answer, RecvFlags::WAITALL) {
        Ok((HEADER, _)) => Ok(Header::parse(&answer)),
        Ok(_) => Err(Errno::PROTO),
        Err(errno) => Err(errno),
    }
}

fn send(key: &ContainerKey, command: i32, timeout: Duration) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
    set_socket_timeout(&socket, Timeout::Recv, timeout)?;
    set_socket_timeout(&socket, Timeout::Send, timeout)?;
    rustix::net::connect(&socket, &lxc_wire::address(&key.lxcpath, key.name.as_str())?)?;
    let request = Header { command, ..Header::default() };
    rustix::net::send(&socket, &request.to_bytes(), SendFlags::NOSIGNAL)?;
    Ok(socket)
}
