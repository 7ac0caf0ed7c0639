//! The kernel's send stream, version 1, read command by command. Pure: it touches no file system.
//!
//! ```text
//! "btrfs-stream\0"  version: u32
//! length: u32   command: u16   crc32c: u32 (of the whole, itself zero)   attributes: { type: u16, length: u16, value }…
//! …
//! END
//! ```
//! Numbers are little-endian. Nothing is taken for granted: a stream comes from another host, and every length is checked before
//! memory is taken for it. `<linux>/fs/btrfs/send.h` is the reference.

use std::ffi::CString;
use std::io::{self, Read};

use thiserror::Error;

const MAGIC: &[u8] = b"btrfs-stream\0";
const VERSION: u32 = 1;
const HEADER: usize = 10;
/// No command of this version is larger than 64 KiB.
const BODY_MAX: u32 = 64 << 10;

/// Why a stream cannot be read.
#[derive(Debug, Error)]
pub(crate) enum StreamError {
    #[error("it does not begin as a stream of btrfs")]
    NoStream,
    #[error("it is of version {0}, and this keiki reads version 1")]
    Version(u32),
    #[error("it ends too early")]
    Cut,
    #[error("{0}")]
    Damaged(&'static str),
    #[error("reading it failed")]
    Read(#[source] io::Error),
}

/// Which subvolume, at which of its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uuid: [u8; 16],
    pub(crate) transaction: u64,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// What a new entry is, apart from regular files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Fifo,
    Socket,
    /// Its mode, which says what it is, and its device number as the kernel packs it.
    Device {
        mode: u32,
        number: u64,
    },
}

/// One change. Paths are relative to the subvolume and not checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Subvolume(Identity),
    Snapshot { of: Identity, identity: Identity },
    MakeFile(CString),
    MakeDirectory(CString),
    MakeNode(CString, Node),
    MakeSymlink { path: CString, target: CString },
    Rename { from: CString, to: CString },
    Link { path: CString, existing: CString },
    Unlink(CString),
    RemoveDirectory(CString),
    SetAttribute { path: CString, name: CString, value: Vec<u8> },
    RemoveAttribute { path: CString, name: CString },
    Write { path: CString, offset: u64, data: Vec<u8> },
    Clone { path: CString, offset: u64, length: u64, of: [u8; 16], from: CString, from_offset: u64 },
    Truncate { path: CString, size: u64 },
    ChangeMode { path: CString, mode: u32 },
    ChangeOwner { path: CString, user: u32, group: u32 },
    SetTimes { path: CString, accessed: Moment, modified: Moment },
    End,
}

/// Reads commands.
#[derive(Debug)]
pub(crate) struct Commands<R> {
    input: R,
    body: Vec<u8>,
}

impl<R: Read> Commands<R> {
    /// Begins to read a stream.
    pub(crate) fn begin(mut input: R) -> Result<Self, StreamError> {
        let mut head = [0; MAGIC.len() + 4];
        exact(&mut input, &mut head)?;
        let (magic, version) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(StreamError::NoStream);
        }
        match u32_at(version, 0) {
            Some(VERSION) => Ok(Self { input, body: Vec::new() }),
            version => Err(StreamError::Version(version.unwrap_or_default())),
        }
    }

    /// Returns the next command; [`Command::End`] is the last.
    pub(crate) fn next(&mut self) -> Result<Command, StreamError> {
        let mut header = [0; HEADER];
        exact(&mut self.input, &mut header)?;
        let damaged = StreamError::Damaged("a command has no head");
        let (Some(length), Some(word), Some(wanted)) =
            (u32_at(&header, 0), u16_at(&header, 4), u32_at(&header, 6))
        else {
            return Err(damaged);
        };
        if length > BODY_MAX {
            return Err(StreamError::Damaged("a command is too long"));
        }
        self.body.resize(length as usize, 0);
        exact(&mut self.input, &mut self.body)?;
        header[6..].fill(0);
        if crc32c(crc32c(0, &header), &self.body) != wanted {
            return Err(StreamError::Damaged("a checksum is not right"));
        }
        Attributes::parse(&self.body)?.command(word)
    }

    /// Makes sure that nothing follows the end.
    pub(crate) fn finish(mut self) -> Result<(), StreamError> {
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(StreamError::Damaged("it goes on behind its end")),
            Err(error) => Err(StreamError::Read(error)),
        }
    }
}

fn exact(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), StreamError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => StreamError::Cut,
        _ => StreamError::Read(error),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// How many kinds of attributes there are.
const KINDS: usize = 25;

/// The attributes of one command, by kind.
struct Attributes<'a>([Option<&'a [u8]>; KINDS]);

mod kind {
    pub(super) const UUID: usize = 1;
    pub(super) const TRANSACTION: usize = 2;
    pub(super) const SIZE: usize = 4;
    pub(super) const MODE: usize = 5;
    pub(super) const USER: usize = 6;
    pub(super) const GROUP: usize = 7;
    pub(super) const DEVICE: usize = 8;
    pub(super) const MODIFIED: usize = 10;
    pub(super) const ACCESSED: usize = 11;
    pub(super) const NAME: usize = 13;
    pub(super) const VALUE: usize = 14;
    pub(super) const PATH: usize = 15;
    pub(super) const PATH_TO: usize = 16;
    pub(super) const PATH_LINK: usize = 17;
    pub(super) const OFFSET: usize = 18;
    pub(super) const DATA: usize = 19;
    pub(super) const CLONE_UUID: usize = 20;
    pub(super) const CLONE_TRANSACTION: usize = 21;
    pub(super) const CLONE_PATH: usize = 22;
    pub(super) const CLONE_OFFSET: usize = 23;
    pub(super) const CLONE_LENGTH: usize = 24;
}

impl<'a> Attributes<'a> {
    fn parse(mut body: &'a [u8]) -> Result<Self, StreamError> {
        let mut found = [None; KINDS];
        while !body.is_empty() {
            let (Some(kind), Some(length)) = (u16_at(body, 0), u16_at(body, 2)) else {
                return Err(StreamError::Damaged("an attribute has no head"));
            };
            let end = 4 + usize::from(length);
            let value = body.get(4..end).ok_or(StreamError::Damaged("an attribute is too long"))?;
            let slot = found.get_mut(usize::from(kind));
            *slot.ok_or(StreamError::Damaged("an attribute is of no known kind"))? = Some(value);
            body = &body[end..];
        }
        Ok(Self(found))
    }

    fn command(&self, word: u16) -> Result<Command, StreamError> {
        use kind::{MODE, PATH, PATH_LINK, PATH_TO, UUID};
        Ok(match word {
            1 => Command::Subvolume(self.identity(UUID, kind::TRANSACTION)?),
            2 => Command::Snapshot {
                identity: self.identity(UUID, kind::TRANSACTION)?,
                of: self.identity(kind::CLONE_UUID, kind::CLONE_TRANSACTION)?,
            },
            3 => Command::MakeFile(self.text(PATH)?),
            4 => Command::MakeDirectory(self.text(PATH)?),
            5 => {
                let device = Node::Device { mode: self.number32(MODE)?, number: self.number(kind::DEVICE)? };
                Command::MakeNode(self.text(PATH)?, device)
            }
            6 => Command::MakeNode(self.text(PATH)?, Node::Fifo),
            7 => Command::MakeNode(self.text(PATH)?, Node::Socket),
            8 => Command::MakeSymlink { path: self.text(PATH)?, target: self.text(PATH_LINK)? },
            9 => Command::Rename { from: self.text(PATH)?, to: self.text(PATH_TO)? },
            10 => Command::Link { path: self.text(PATH)?, existing: self.text(PATH_LINK)? },
            11 => Command::Unlink(self.text(PATH)?),
            12 => Command::RemoveDirectory(self.text(PATH)?),
            13 | 14 => self.attribute(word)?,
            15 | 16 => self.content(word)?,
            17 => Command::Truncate { path: self.text(PATH)?, size: self.number(kind::SIZE)? },
            18 => Command::ChangeMode { path: self.text(PATH)?, mode: self.number32(MODE)? },
            19 => Command::ChangeOwner {
                path: self.text(PATH)?,
                user: self.number32(kind::USER)?,
                group: self.number32(kind::GROUP)?,
            },
            20 => Command::SetTimes {
                path: self.text(PATH)?,
                accessed: self.moment(kind::ACCESSED)?,
                modified: self.moment(kind::MODIFIED)?,
            },
            21 => Command::End,
            22 => return Err(StreamError::Damaged("it was sent without data")),
            _ => return Err(StreamError::Damaged("a command is of no known kind")),
        })
    }

    fn attribute(&self, word: u16) -> Result<Command, StreamError> {
        let (path, name) = (self.text(kind::PATH)?, self.text(kind::NAME)?);
        Ok(match word {
            13 => Command::SetAttribute { path, name, value: self.value(kind::VALUE)?.to_vec() },
            _ => Command::RemoveAttribute { path, name },
        })
    }

    fn content(&self, word: u16) -> Result<Command, StreamError> {
        let (path, offset) = (self.text(kind::PATH)?, self.number(kind::OFFSET)?);
        Ok(match word {
            15 => Command::Write { path, offset, data: self.value(kind::DATA)?.to_vec() },
            _ => Command::Clone {
                path,
                offset,
                length: self.number(kind::CLONE_LENGTH)?,
                of: self.uuid(kind::CLONE_UUID)?,
                from: self.text(kind::CLONE_PATH)?,
                from_offset: self.number(kind::CLONE_OFFSET)?,
            },
        })
    }

    fn value(&self, kind: usize) -> Result<&'a [u8], StreamError> {
        self.0[kind].ok_or(StreamError::Damaged("a command lacks an attribute"))
    }

    fn text(&self, kind: usize) -> Result<CString, StreamError> {
        CString::new(self.value(kind)?).map_err(|_| StreamError::Damaged("a name holds a zero byte"))
    }

    fn number(&self, kind: usize) -> Result<u64, StreamError> {
        let bytes = self.value(kind)?.try_into();
        bytes.map(u64::from_le_bytes).map_err(|_| StreamError::Damaged("a number has another size"))
    }

    fn number32(&self, kind: usize) -> Result<u32, StreamError> {
        u32::try_from(self.number(kind)?).map_err(|_| StreamError::Damaged("a number is too large"))
    }

    fn uuid(&self, kind: usize) -> Result<[u8; 16], StreamError> {
        self.value(kind)?.try_into().map_err(|_| StreamError::Damaged("an identity has another size"))
    }

    fn identity(&self, uuid: usize, transaction: usize) -> Result<Identity, StreamError> {
        Ok(Identity { uuid: self.uuid(uuid)?, transaction: self.number(transaction)? })
    }

    fn moment(&self, kind: usize) -> Result<Moment, StreamError> {
        let bytes = self.value(kind)?;
        let seconds = bytes.get(..8).and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
        let nanoseconds = u32_at(bytes, 8).filter(|nanoseconds| *nanoseconds < 1_000_000_000);
        match (seconds, nanoseconds, bytes.len()) {
            (Some(seconds), Some(nanoseconds), 12) => Ok(Moment { seconds, nanoseconds }),
            _ => Err(StreamError::Damaged("a time is none")),
        }
    }
}

/// The table of CRC-32C (Castagnoli), a byte at a time.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x82F6_3B78 } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

/// The checksum as btrfs takes it: from zero, and not inverted.
fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a command as the kernel does.
    pub(crate) fn command(word: u16, attributes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(u16::try_from(*kind).unwrap().to_le_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            body.extend(*value);
        }
        let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(word.to_le_bytes());
        bytes.extend([0; 4]);
        let crc = crc32c(crc32c(0, &bytes), &body);
        bytes[6..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// Writes a stream of commands.
    pub(crate) fn stream(commands: &[Vec<u8>]) -> Vec<u8> {
        [MAGIC, &VERSION.to_le_bytes(), &commands.concat()].concat()
    }

    fn all(bytes: &[u8]) -> Result<Vec<Command>, StreamError> {
        let mut commands = Commands::begin(bytes)?;
        let mut found = Vec::new();
        loop {
            found.push(commands.next()?);
            if found.last() == Some(&Command::End) {
                return commands.finish().map(|()| found);
            }
        }
    }

    fn small() -> Vec<u8> {
        stream(&[
            command(1, &[(15, b"snap"), (1, &[7; 16]), (2, &9_u64.to_le_bytes())]),
            command(3, &[(15, b"o257-9-0"), (3, &257_u64.to_le_bytes())]),
            command(9, &[(15, b"o257-9-0"), (16, b"etc/passwd")]),
            command(15, &[(15, b"etc/passwd"), (18, &4096_u64.to_le_bytes()), (19, b"root")]),
            command(21, &[]),
        ])
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // The published check value is of the inverted form.
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn commands_are_read_as_they_were_written() {
        let path = |text: &str| CString::new(text).unwrap();
        let wanted = vec![
            Command::Subvolume(Identity { uuid: [7; 16], transaction: 9 }),
            Command::MakeFile(path("o257-9-0")),
            Command::Rename { from: path("o257-9-0"), to: path("etc/passwd") },
            Command::Write { path: path("etc/passwd"), offset: 4096, data: b"root".to_vec() },
            Command::End,
        ];
        assert_eq!(all(&small()).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_stream_of_this_version_is_told_apart() {
        assert!(matches!(all(b"#!/bin/sh\necho hello, world"), Err(StreamError::NoStream)));
        let later = [MAGIC, &2_u32.to_le_bytes()].concat();
        assert!(matches!(all(&later), Err(StreamError::Version(2))));
        assert!(matches!(all(b""), Err(StreamError::Cut)));
    }

    #[test]
    fn nothing_may_lack_or_lie() {
        for bad in [
            command(3, &[]),
            command(3, &[(15, b"a\0b")]),
            command(17, &[(15, b"a"), (4, b"short")]),
            command(18, &[(15, b"a"), (5, &u64::MAX.to_le_bytes())]),
            command(20, &[(15, b"a"), (10, &[0xFF; 12]), (11, &[0; 12])]),
            command(22, &[(15, b"a")]),
            command(99, &[]),
            command(21, &[(25, b"")]),
            [command(21, &[]), vec![0]].concat(),
        ] {
            assert!(
                matches!(all(&stream(std::slice::from_ref(&bad))), Err(StreamError::Damaged(_))),
                "{bad:?}"
            );
        }
        let huge = [u32::MAX.to_le_bytes().as_slice(), &[0; 6]].concat();
        assert!(matches!(all(&stream(&[huge])), Err(StreamError::Damaged(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_changed_bit_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = small();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(all(&bytes).is_err());
        }

        #[test]
        fn a_cut_anywhere_is_found(at in any::<prop::sample::Index>()) {
            let bytes = small();
            prop_assert!(all(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn no_bytes_break_it(word in 0_u16..30, body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _either = Attributes::parse(&body).and_then(|attributes| attributes.command(word));
        }
    }
}
