//! The words of LXC's command socket: names, numbers and layouts, which LXC has frozen.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::rundir::fnv_1a;
use crate::status::ContainerState;

pub(crate) const STOP: i32 = 2;
pub(crate) const FREEZE: i32 = 15;
pub(crate) const UNFREEZE: i32 = 16;
pub(crate) const GET_STATE: i32 = 3;
pub(crate) const GET_INIT_PID: i32 = 4;
pub(crate) const GET_CLONE_FLAGS: i32 = 5;
pub(crate) const GET_CGROUP: i32 = 6;
pub(crate) const GET_CONFIG_ITEM: i32 = 7;
pub(crate) const GET_NAME: i32 = 8;
pub(crate) const GET_LXCPATH: i32 = 9;
pub(crate) const ADD_STATE_CLIENT: i32 = 10;
pub(crate) const GET_INIT_PIDFD: i32 = 18;
pub(crate) const GET_LIMIT_CGROUP: i32 = 19;

/// The number of states, which also means "not yet" in an answer.
pub(crate) const STATES: usize = ContainerState::ALL.len();
/// The length of a request's and an answer's head.
pub(crate) const HEADER: usize = 16;
/// The most that may follow a head.
pub(crate) const DATA_MAX: usize = 8192;

/// The head of a request, and of an answer (whose first field is the result).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) command: i32,
    pub(crate) length: i32,
    /// A small number in place of a pointer.
    pub(crate) data: u64,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
        Self {
            command: i32::from_ne_bytes([a, b, c, d]),
            length: i32::from_ne_bytes([e, f, g, h]),
            data: u64::from_ne_bytes(rest),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.command.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.data.to_ne_bytes());
        bytes
    }
}

/// Returns the abstract name of a container's socket.
pub(crate) fn name(lxcpath: &Path, container: &str) -> Vec<u8> {
    /// What an address holds besides its leading zero.
    const LONGEST: usize = 106;
    let both = [lxcpath.as_os_str().as_bytes(), b"/", container.as_bytes()].concat();
    let plain = [&both[..], b"/command"].concat();
    if plain.len() <= LONGEST { plain } else { format!("lxc/{:016x}/command", fnv_1a(&both)).into_bytes() }
}

/// Returns the address of a container's socket.
pub(crate) fn address(lxcpath: &Path, container: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new_abstract_name(&name(lxcpath, container))
}

/// Returns the message that a client which waits for a state is sent.
pub(crate) fn state_message(container: &str, state: ContainerState) -> Vec<u8> {
    const NAME: usize = 256;
    let mut message = vec![0_u8; 4 + NAME + 4];
    let length = container.len().min(NAME - 1);
    message[4..4 + length].copy_from_slice(&container.as_bytes()[..length]);
    message[4 + NAME..].copy_from_slice(&i32::from(state.number()).to_ne_bytes());
    message
}

/// Returns whether the host's table of local sockets lists the container's.
pub(crate) fn is_listed(table: &[u8], name: &[u8]) -> bool {
    table.split(|byte| *byte == b'\n').any(|line| listed_name(line) == Some(name))
}

/// Returns the abstract name in one line of `/proc/net/unix`.
fn listed_name(line: &[u8]) -> Option<&[u8]> {
    let at = line.windows(2).position(|pair| pair == b" @")?;
    line.get(at + 2..).map(|name| name.strip_suffix(b"@").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let header = Header { command: 7, length: -1, data: 1 << 40 };
        assert_eq!(Header::parse(&header.to_bytes()), header);
    }

    #[test]
    fn names_are_paths_until_they_are_too_long() {
        assert_eq!(name(Path::new("/var/lib/lxc"), "a"), b"/var/lib/lxc/a/command");
        let long = "x".repeat(120);
        assert!(name(Path::new("/l"), &long).starts_with(b"lxc/"));
    }

    #[test]
    fn a_socket_is_found_in_the_kernels_table() {
        let table = b"Num RefCount\n0000: 00000002 00000000 00010000 0001 01 123 @/l/a/command\n0: 2 0 1 1 1 4 /run/x\n";
        assert!(is_listed(table, b"/l/a/command"));
        assert!(!is_listed(table, b"/l/a"));
        assert!(!is_listed(table, b"/run/x"));
    }
}
