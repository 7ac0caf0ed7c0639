//! Messages between caller, monitor and a container's first process: one packet each, JSON, with descriptors beside.
//!
//! A packet socket keeps messages whole, and its end tells that the other side is gone or has executed another program.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use keiki_sys::call::{CallError, CallExt, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message; one that is longer is refused.
const MESSAGE_MAX: usize = 64 * 1024;
/// The most descriptors that one message carries: a console and the terminals.
pub(crate) const DESCRIPTORS_MAX: usize = 32;

/// Returns the two ends of a channel.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .of_call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned())
}

/// Sends one message.
pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    let refused = |errno| CallError::new("sendmsg(channel)", errno);
    let text = serde_json::to_vec(message).map_err(|_| refused(Errno::INVAL))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(refused(Errno::TOOMANYREFS));
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL);
    sent.map(|_| ()).map_err(refused)
}

/// Waits for one message; `None` when the other end is closed.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let refused = |errno| CallError::new("recvmsg(channel)", errno);
    let mut text = vec![0_u8; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut into = [IoSliceMut::new(&mut text)];
        match rustix::net::recvmsg(&socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            // The other side ended with unread messages in its queue.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(refused(errno)),
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&text[..length]).map_err(|_| refused(Errno::PROTO))?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_with_their_descriptors_and_an_end_is_told() {
        let (one, other) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&one, &"first", &[file.as_fd(), file.as_fd()]).unwrap();
        send(&one, &vec![1, 2, 3], &[]).unwrap();
        let (text, descriptors) = receive::<String>(&other).unwrap().unwrap();
        assert_eq!((text.as_str(), descriptors.len()), ("first", 2));
        assert_eq!(receive::<Vec<u8>>(&other).unwrap().unwrap().0, [1, 2, 3]);
        drop(one);
        assert!(receive::<String>(&other).unwrap().is_none());
    }
}
