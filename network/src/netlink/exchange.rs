//! Sending a request and collecting what comes back.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use super::{Refusal, Rtnetlink};

/// The kernel answers in pieces of at most 32 KiB.
pub(super) const ANSWER_MAX: usize = 64 << 10;

/// How often a list is read that changes while it is read.
const READINGS: u32 = 8;

/// What one piece of an answer means for the reader.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// More is to come.
    More,
    /// That was all.
    End,
    /// That was all, and it changed meanwhile.
    Interrupted,
}

impl Rtnetlink {
    /// Has something done.
    pub(crate) fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        self.exchange(message, flags | NLM_F_ACK).map(|_| ())
    }

    /// Asks for one thing.
    pub(crate) fn ask(&mut self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        self.exchange(message, NLM_F_ACK)
    }

    /// Asks for all of a kind.
    pub(crate) fn list(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut left = READINGS;
        loop {
            left -= 1;
            match self.exchange(message.clone(), NLM_F_DUMP) {
                Err(Refusal::Kernel { errno: Errno::INTR, .. }) if left > 0 => {}
                other => return other,
            }
        }
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        retried(|| self.socket.send(&bytes, 0))?;
        let mut answers = Vec::new();
        let mut is_consistent = true;
        loop {
            self.receive()?;
            match read(&self.buffer, self.sequence, &mut answers)? {
                Piece::More => {}
                Piece::Interrupted => is_consistent = false,
                Piece::End if is_consistent => return Ok(answers),
                Piece::End => return Err(Refusal::Kernel { errno: Errno::INTR, words: None }),
            }
        }
    }

    fn receive(&mut self) -> Result<(), Refusal> {
        self.buffer.clear();
        let received = retried(|| self.socket.recv(&mut self.buffer, 0))?;
        if received > self.buffer.len() {
            return Err(Refusal::Unreadable(format!("it has {received} bytes")));
        }
        Ok(())
    }
}

fn retried<T>(mut call: impl FnMut() -> std::io::Result<T>) -> Result<T, Refusal> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other.map_err(Refusal::from),
        }
    }
}

/// Reads the messages of one datagram; those of earlier requests are passed over.
fn read(
    mut datagram: &[u8],
    sequence: u32,
    answers: &mut Vec<RouteNetlinkMessage>,
) -> Result<Piece, Refusal> {
    let unreadable = |why: &dyn std::fmt::Display| Refusal::Unreadable(why.to_string());
    let mut piece = Piece::More;
    while !datagram.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
            .map_err(|error| unreadable(&error))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
        if length == 0 {
            return Err(unreadable(&"a message without a length"));
        }
        datagram = datagram.get(length..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        if message.header.flags & NLM_F_DUMP_INTR != 0 {
            piece = Piece::Interrupted;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
            NetlinkPayload::Error(said) => {
                return Refusal::of_code(said.raw_code(), &said.header).map_or(Ok(Piece::End), Err);
            }
            NetlinkPayload::Done(said) => {
                let end = if piece == Piece::Interrupted { Err(interrupted()) } else { Ok(Piece::End) };
                return Refusal::of_code(said.code, &[]).map_or(end, Err);
            }
            NetlinkPayload::Overrun(_) => return Err(unreadable(&"answers were lost")),
            _ => {}
        }
    }
    Ok(piece)
}

fn interrupted() -> Refusal {
    Refusal::Kernel { errno: Errno::INTR, words: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn acknowledgement(sequence: u32, code: i32) -> Vec<u8> {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.resize(36, 0);
        bytes
    }

    #[test]
    fn an_acknowledgement_ends_a_request_and_a_refusal_fails_it() {
        let mut answers = Vec::new();
        assert_eq!(read(&acknowledgement(7, 0), 7, &mut answers).unwrap(), Piece::End);
        let refusal = read(&acknowledgement(7, -1), 7, &mut answers).unwrap_err();
        assert_eq!(refusal.errno(), Some(Errno::PERM));
        assert!(answers.is_empty());
    }

    #[test]
    fn what_belongs_to_an_earlier_request_is_passed_over() {
        let mut answers = Vec::new();
        let both = [acknowledgement(6, -1), acknowledgement(7, 0)].concat();
        assert_eq!(read(&both, 7, &mut answers).unwrap(), Piece::End);
        assert_eq!(read(&acknowledgement(6, -1), 7, &mut answers).unwrap(), Piece::More);
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&bytes, 1, &mut Vec::new()));
        }

        #[test]
        fn no_datagram_that_begins_as_a_link_breaks_the_reader(
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let length = u32::try_from(16 + body.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(16_u16.to_ne_bytes());
            bytes.extend([0; 2]);
            bytes.extend(1_u32.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(body);
            drop(read(&bytes, 1, &mut Vec::new()));
        }
    }
}
