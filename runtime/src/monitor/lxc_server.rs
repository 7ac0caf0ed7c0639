//! LXC's command socket, so that its own tools see and stop a container that Keiki runs.
//!
//! The abstract socket `@<lxcpath>/<name>/command` (or `@lxc/<hash>/command` where that is too long) takes
//! `struct { int command; int length; u64 data; }` with `length` bytes behind, and answers in the same form. Only root
//! and the monitor's own user are heard. The kernel lets a name be bound once, so it is LXC's lock as well.
//!
//! What it does not do: hand out terminals, change configuration or freeze. Such commands are answered as unknown.

use std::ffi::OsStr;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keiki_sys::cgroup::{Cgroup, Freeze};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::birth::Running;
use crate::lxc_wire::{self, HEADER, Header, STATES};
use crate::plan::StartPlan;
use crate::status::ContainerState;

const CLIENTS_MAX: usize = 16;
/// How long a client may take to send the rest of a request.
const PATIENCE: Duration = Duration::from_millis(100);
/// `CLONE_NEW*` of everything that a container has of its own.
const CLONE_FLAGS: u64 = 0x6c02_0000 | 0x0200_0000;

/// The socket and who is connected.
#[derive(Debug)]
pub(super) struct LxcServer {
    socket: Option<OwnedFd>,
    clients: Vec<Client>,
    name: String,
    lxcpath: PathBuf,
    host_name: String,
    last: Option<ContainerState>,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// The states that it wants to be told of.
    waits_for: [bool; STATES],
}

impl LxcServer {
    /// Opens the socket. A container whose name is taken runs without it: its own lock has decided already.
    pub(super) fn open(plan: &StartPlan) -> Self {
        let socket = listen(&plan.lxcpath, &plan.name).ok();
        Self {
            socket,
            clients: Vec::new(),
            name: plan.name.clone(),
            lxcpath: plan.lxcpath.clone(),
            host_name: plan.settings.program.host_name.clone(),
            last: None,
        }
    }

    /// Returns what has to be polled: the socket, then the clients.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let clients = self.clients.iter().map(|client| client.socket.as_fd());
        self.socket.iter().map(AsFd::as_fd).chain(clients).collect()
    }

    /// Serves the descriptor number `at`; returns whether the container is to be killed.
    pub(super) fn serve(
        &mut self,
        at: usize,
        running: &Running,
        state: ContainerState,
        cgroup: Option<&PathBuf>,
    ) -> bool {
        let listening = usize::from(self.socket.is_some());
        if at < listening {
            self.accept();
            return false;
        }
        let at = at - listening;
        let Some(client) = self.clients.get(at) else { return false };
        let Some((header, data)) = receive(&client.socket) else {
            drop(self.clients.remove(at));
            return false;
        };
        match header.command {
            // No answer: the client waits for the end of the connection, which is ours.
            lxc_wire::STOP => return true,
            lxc_wire::ADD_STATE_CLIENT => self.subscribe(at, &data, state),
            _ => self.answer(at, header, &data, running, state, cgroup),
        }
        false
    }

    fn accept(&mut self) {
        let Some(socket) = &self.socket else { return };
        let Ok(client) = rustix::net::accept_with(socket, SocketFlags::CLOEXEC) else { return };
        let own = rustix::process::geteuid();
        let is_allowed = socket_peercred(&client).is_ok_and(|peer| peer.uid.is_root() || peer.uid == own);
        let is_bounded = set_socket_timeout(&client, Timeout::Recv, Some(PATIENCE)).is_ok()
            && set_socket_timeout(&client, Timeout::Send, Some(PATIENCE)).is_ok();
        if is_allowed && is_bounded && self.clients.len() < CLIENTS_MAX {
            self.clients.push(Client { socket: client, waits_for: [false; STATES] });
        }
    }

    fn subscribe(&mut self, at: usize, data: &[u8], state: ContainerState) {
        let Some(client) = self.clients.get_mut(at) else { return };
        for (wanted, bytes) in client.waits_for.iter_mut().zip(data.chunks_exact(size_of::<i32>())) {
            *wanted = bytes.iter().any(|byte| *byte != 0);
        }
        let number = usize::from(state.number());
        let is_reached = client.waits_for.get(number).copied().unwrap_or(false);
        let reply = if is_reached { number } else { STATES };
        let header = Header { command: i32::try_from(reply).unwrap_or(0), ..Header::default() };
        respond(&client.socket, header, &[], None);
    }

    fn answer(
        &self,
        at: usize,
        header: Header,
        data: &[u8],
        running: &Running,
        state: ContainerState,
        cgroup: Option<&PathBuf>,
    ) {
        let Some(client) = self.clients.get(at) else { return };
        let number =
            |value: u64| respond(&client.socket, Header { data: value, ..Header::default() }, &[], None);
        let text = |value: Option<&OsStr>| match value {
            Some(value) => {
                let mut bytes = value.as_bytes().to_vec();
                bytes.push(0);
                respond(&client.socket, Header::default(), &bytes, None);
            }
            None => refuse(&client.socket, Errno::INVAL),
        };
        match header.command {
            lxc_wire::FREEZE | lxc_wire::UNFREEZE => {
                let freeze = if header.command == lxc_wire::FREEZE { Freeze::On } else { Freeze::Off };
                match cgroup.map(|path| Cgroup::at(path).freeze(freeze)) {
                    Some(Ok(())) => number(0),
                    Some(Err(error)) => refuse(&client.socket, error.errno),
                    None => refuse(&client.socket, Errno::NOSYS),
                }
            }
            lxc_wire::GET_STATE => number(u64::from(state.number())),
            lxc_wire::GET_INIT_PID => number(u64::from(running.pid)),
            lxc_wire::GET_CLONE_FLAGS => number(CLONE_FLAGS),
            lxc_wire::GET_NAME => text(Some(OsStr::new(&self.name))),
            lxc_wire::GET_LXCPATH => text(Some(self.lxcpath.as_os_str())),
            lxc_wire::GET_CGROUP | lxc_wire::GET_LIMIT_CGROUP => {
                let last = cgroup.and_then(|path| path.file_name()).map(|name| Path::new("/").join(name));
                text(last.as_deref().map(Path::as_os_str));
            }
            lxc_wire::GET_CONFIG_ITEM => {
                let is_name = data.split(|byte| *byte == 0).next() == Some(b"lxc.uts.name");
                text(is_name.then_some(OsStr::new(&self.host_name)));
            }
            lxc_wire::GET_INIT_PIDFD => {
                respond(&client.socket, Header::default(), &[], Some(running.pidfd.as_fd()))
            }
            _ => refuse(&client.socket, Errno::NOSYS),
        }
    }

    /// Tells the clients that wait for it that the container is in `state` now.
    pub(super) fn tell(&mut self, state: ContainerState, name: &str) {
        if self.last.replace(state) == Some(state) {
            return;
        }
        let number = usize::from(state.number());
        let message = lxc_wire::state_message(name, state);
        for client in self.clients.iter().filter(|client| client.waits_for.get(number) == Some(&true)) {
            // A client that went away is dropped when its end is read.
            let _: rustix::io::Result<_> = rustix::net::send(&client.socket, &message, SendFlags::NOSIGNAL);
        }
    }
}

fn listen(lxcpath: &Path, name: &str) -> rustix::io::Result<OwnedFd> {
    let address = lxc_wire::address(lxcpath, name)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

fn receive(client: &OwnedFd) -> Option<(Header, Vec<u8>)> {
    let mut bytes = [0_u8; HEADER];
    fill(client, &mut bytes)?;
    let header = Header::parse(&bytes);
    let length = usize::try_from(header.length).ok().filter(|length| *length <= lxc_wire::DATA_MAX)?;
    let mut data = vec![0_u8; length];
    fill(client, &mut data)?;
    Some((header, data))
}

fn fill(client: &OwnedFd, buffer: &mut [u8]) -> Option<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::net::recv(client, &mut buffer[filled..], RecvFlags::empty()) {
            Ok((0, _)) => return None,
            Ok((length, _)) => filled += length,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

fn refuse(client: &OwnedFd, errno: Errno) {
    respond(client, Header { command: -errno.raw_os_error(), ..Header::default() }, &[], None);
}

/// Answers; the field of the command is that of the result here.
fn respond(client: &OwnedFd, header: Header, data: &[u8], descriptor: Option<BorrowedFd<'_>>) {
    let header = Header { length: i32::try_from(data.len()).unwrap_or(0), ..header };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let handed: Vec<_> = descriptor.into_iter().collect();
    if !handed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&handed)) {
        return;
    }
    let mut message = header.to_bytes().to_vec();
    message.extend_from_slice(data);
    // A client that does not read its answer within the timeout of its socket has lost interest.
    let _: rustix::io::Result<_> =
        rustix::net::sendmsg(client, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL);
}
