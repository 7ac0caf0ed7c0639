//! Network configuration by `rtnetlink`: as much as a container without network cards needs.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::call::{CallError, CallExt, Result};

/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: i32 = 1;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;

/// Switches the loopback interface of this network namespace on.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`.
pub fn raise_loopback() -> Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )
    .of_call(|| "socket(AF_NETLINK, NETLINK_ROUTE)".to_owned())?;
    rustix::net::send(&socket, &up_request(), SendFlags::empty()).of_call(shown)?;
    let mut answer = [0_u8; 256];
    let (length, _) =
        rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).of_call(|| "recv(netlink)".to_owned())?;
    match acknowledged(&answer[..length]) {
        Some(0) => Ok(()),
        Some(code) => Err(CallError::new(shown(), Errno::from_raw_os_error(-code))),
        None => Err(CallError::new(shown(), Errno::PROTO)),
    }
}

fn shown() -> String {
    "send(RTM_NEWLINK, lo, IFF_UP)".to_owned()
}

fn up_request() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // struct ifinfomsg: family, padding, type, index, flags, mask of flags that are meant.
    message.extend([0, 0]);
    message.extend(0_u16.to_ne_bytes());
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// Returns the code of an acknowledgement: 0, or a negative errno.
fn acknowledged(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(message.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_length_that_it_says() {
        let request = up_request();
        assert_eq!(request.len(), 32);
        assert_eq!(request[..4], 32_u32.to_ne_bytes());
    }

    #[test]
    fn only_acknowledgements_have_a_code() {
        let mut message = vec![0; 36];
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        message[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledged(&message), Some(-1));
        assert_eq!(acknowledged(&message[..18]), None);
        message[4] = 16;
        assert_eq!(acknowledged(&message), None);
    }
}
