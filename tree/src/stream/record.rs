//! Records: what a stream is made of, and their form in bytes.
//!
//! ```text
//! kind: u8   length: u32   body           numbers are little-endian; texts have their length in front
//! ```
//!
//! The highest bit of the kind says that the record repeats where we are, for a stream that is continued; such records
//! are not counted.

use std::ffi::CString;
use std::io::{ErrorKind, Read};

use super::meta::Meta;
use crate::error::{Result, TreeError};

/// The longest body: attributes may take 64 KiB each.
const BODY_MAX: u32 = 16 << 20;
/// The longest stretch of data.
pub(super) const DATA_MAX: usize = 128 << 10;
const NAME_MAX: usize = 255;
const REPEATED: u8 = 0x80;

/// What is done with a file that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is made; whatever has its name goes.
    New,
    /// It is there and is changed in part.
    Kept,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// Into the directory of this name, which is made when it is not there.
    Enter(CString),
    /// Out of a directory, which gets its metadata.
    Leave(Meta),
    /// A file is opened.
    File(CString, Opening),
    /// Bytes of the open file.
    Data(u64, Vec<u8>),
    /// A stretch of the open file becomes a hole.
    Hole(u64, u64),
    /// The open file gets its size and metadata.
    Close(u64, Meta),
    /// Another name for the file at a path from the root.
    Link(CString, Vec<CString>),
    /// A symbolic link with its text.
    Symlink(CString, CString, Meta),
    /// A device, pipe or socket: the type bits of its mode, major and minor number.
    Node(CString, u32, (u32, u32), Meta),
    /// Whatever has the name goes.
    Remove(CString),
    /// Metadata alone of an entry that is not a directory.
    Change(CString, Meta),
    /// Flags of the entry at a path from the root.
    Flags(Vec<CString>, u8),
    /// The root gets its metadata; nothing follows.
    End(Meta),
}

/// A record with whether it only repeats where we are.
pub(super) struct Incoming {
    pub(super) record: Record,
    pub(super) bytes: Vec<u8>,
    pub(super) is_repeated: bool,
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::Enter(_) => 1,
            Self::Leave(_) => 2,
            Self::File(_, Opening::New) => 3,
            Self::File(_, Opening::Kept) => 4,
            Self::Data(..) => 5,
            Self::Hole(..) => 6,
            Self::Close(..) => 7,
            Self::Link(..) => 8,
            Self::Symlink(..) => 9,
            Self::Node(..) => 10,
            Self::Remove(_) => 11,
            Self::Change(..) => 12,
            Self::Flags(..) => 13,
            Self::End(_) => 14,
        }
    }

    /// Returns the bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![self.kind(), 0, 0, 0, 0]);
        match self {
            Self::Enter(name) | Self::File(name, _) | Self::Remove(name) => out.text(name.to_bytes()),
            Self::Leave(meta) | Self::End(meta) => meta.encode(&mut out),
            Self::Data(offset, bytes) => {
                out.number(*offset);
                out.0.extend_from_slice(bytes);
            }
            Self::Hole(offset, length) => {
                out.number(*offset);
                out.number(*length);
            }
            Self::Close(size, meta) => {
                out.number(*size);
                meta.encode(&mut out);
            }
            Self::Link(name, path) => {
                out.text(name.to_bytes());
                out.path(path);
            }
            Self::Symlink(name, text, meta) => {
                out.text(name.to_bytes());
                out.text(text.to_bytes());
                meta.encode(&mut out);
            }
            Self::Node(name, kind, (major, minor), meta) => {
                out.text(name.to_bytes());
                [*kind, *major, *minor].into_iter().for_each(|number| out.short(number));
                meta.encode(&mut out);
            }
            Self::Change(name, meta) => {
                out.text(name.to_bytes());
                meta.encode(&mut out);
            }
            Self::Flags(path, flags) => {
                out.path(path);
                out.0.push(*flags);
            }
        }
        let length = u32::try_from(out.0.len() - 5).unwrap_or(u32::MAX);
        out.0[1..5].copy_from_slice(&length.to_le_bytes());
        out.0
    }

    /// Returns the bytes of the record as a repetition.
    pub(super) fn encode_repeated(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes[0] |= REPEATED;
        bytes
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self> {
        let mut body = Reader(body);
        let record = match kind {
            1 => Self::Enter(body.name()?),
            2 => Self::Leave(Meta::decode(&mut body)?),
            3 => Self::File(body.name()?, Opening::New),
            4 => Self::File(body.name()?, Opening::Kept),
            5 => {
                let offset = body.number()?;
                let data = std::mem::take(&mut body.0).to_vec();
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                if data.len() > DATA_MAX {
                    return Err(TreeError::Malformed("a stretch of data is too long"));
                }
                stretch(offset, length)?;
                Self::Data(offset, data)
            }
            6 => {
                let (offset, length) = (body.number()?, body.number()?);
                stretch(offset, length)?;
                Self::Hole(offset, length)
            }
            7 => {
                let size = body.number()?;
                stretch(size, 0)?;
                Self::Close(size, Meta::decode(&mut body)?)
            }
            8 => Self::Link(body.name()?, body.path()?),
            9 => Self::Symlink(body.name()?, body.link_text()?, Meta::decode(&mut body)?),
            10 => {
                let name = body.name()?;
                let (kind, device) = (body.short()?, (body.short()?, body.short()?));
                Self::Node(name, kind, device, Meta::decode(&mut body)?)
            }
            11 => Self::Remove(body.name()?),
            12 => Self::Change(body.name()?, Meta::decode(&mut body)?),
            13 => Self::Flags(body.path()?, body.byte()?),
            14 => Self::End(Meta::decode(&mut body)?),
            _ => return Err(TreeError::Malformed("a record is of no known kind")),
        };
        if body.0.is_empty() { Ok(record) } else { Err(TreeError::Malformed("a record is too long")) }
    }

    /// Reads the next record.
    pub(super) fn read(input: &mut dyn Read) -> Result<Incoming> {
        let mut bytes = vec![0; 5];
        fill(input, &mut bytes)?;
        let length = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        if length > BODY_MAX {
            return Err(TreeError::Malformed("a record is too long"));
        }
        // Memory is taken as bytes come, not as a length promises them.
        let read = input.take(length.into()).read_to_end(&mut bytes).map_err(TreeError::Stream)?;
        if read < length as usize {
            return Err(TreeError::Stream(ErrorKind::UnexpectedEof.into()));
        }
        let is_repeated = bytes[0] & REPEATED != 0;
        let record = Self::decode(bytes[0] & !REPEATED, &bytes[5..])?;
        Ok(Incoming { record, bytes, is_repeated })
    }
}

fn fill(input: &mut dyn Read, bytes: &mut [u8]) -> Result<()> {
    input.read_exact(bytes).map_err(TreeError::Stream)
}

/// Refuses what no file can hold.
fn stretch(offset: u64, length: u64) -> Result<()> {
    match offset.checked_add(length).map(i64::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => Err(TreeError::Malformed("a place in a file is too large")),
    }
}

/// Puts numbers and texts together.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn short(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.short(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text);
    }

    fn path(&mut self, path: &[CString]) {
        self.short(u32::try_from(path.len()).unwrap_or(u32::MAX));
        path.iter().for_each(|name| self.text(name.to_bytes()));
    }
}

/// Takes numbers and texts apart; never more than there is.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(TreeError::Malformed("a record is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(std::array::from_fn(|index| bytes[index])))
    }

    pub(super) fn short(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(std::array::from_fn(|index| bytes[index])))
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8]> {
        let length = self.short()? as usize;
        self.take(length)
    }

    fn name(&mut self) -> Result<CString> {
        let text = self.text()?;
        let is_name = !text.is_empty()
            && text.len() <= NAME_MAX
            && text != b"."
            && text != b".."
            && !text.contains(&b'/');
        let name = CString::new(text).ok().filter(|_| is_name);
        name.ok_or(TreeError::Malformed("a name is not one of a directory's"))
    }

    fn link_text(&mut self) -> Result<CString> {
        CString::new(self.text()?).map_err(|_| TreeError::Malformed("the text of a link holds a zero byte"))
    }

    fn path(&mut self) -> Result<Vec<CString>> {
        let length = self.short()?;
        // Nothing is reserved: each name takes bytes that are there.
        let path: Vec<CString> = (0..length).map(|_| self.name()).collect::<Result<_>>()?;
        if path.is_empty() { Err(TreeError::Malformed("a path is empty")) } else { Ok(path) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meta() -> Meta {
        Meta {
            mode: 0o4755,
            owner: (1, 2),
            accessed: (-1, 999_999_999),
            modified: (3, 4),
            flags: 5,
            xattrs: vec![(c"user.a".to_owned(), b"\0b".to_vec()), (c"user.c".to_owned(), Vec::new())],
        }
    }

    fn records() -> Vec<Record> {
        let name = || c"\xff n".to_owned();
        vec![
            Record::Enter(name()),
            Record::Leave(meta()),
            Record::File(name(), Opening::New),
            Record::File(name(), Opening::Kept),
            Record::Data(7, b"abc".to_vec()),
            Record::Hole(1, 2),
            Record::Close(9, meta()),
            Record::Link(name(), vec![name(), name()]),
            Record::Symlink(name(), c"../../x".to_owned(), meta()),
            Record::Node(name(), 0o020_000, (5, 6), meta()),
            Record::Remove(name()),
            Record::Change(name(), meta()),
            Record::Flags(vec![name()], 3),
            Record::End(meta()),
        ]
    }

    #[test]
    fn every_record_is_read_as_it_was_written() {
        for record in records() {
            let bytes = record.encode();
            let incoming = Record::read(&mut bytes.as_slice()).unwrap();
            assert_eq!(
                (incoming.record, incoming.bytes, incoming.is_repeated),
                (record.clone(), bytes, false)
            );
            assert!(Record::read(&mut record.encode_repeated().as_slice()).unwrap().is_repeated);
        }
    }

    #[test]
    fn a_record_that_is_cut_or_names_another_place_is_refused() {
        for record in records() {
            let bytes = record.encode();
            for length in 0..bytes.len() {
                assert!(Record::read(&mut &bytes[..length]).is_err(), "{record:?} cut at {length}");
            }
        }
        for bad in [c"..", c".", c"a/b", c"", c"/etc"] {
            assert!(Record::read(&mut Record::Enter(bad.to_owned()).encode().as_slice()).is_err(), "{bad:?}");
            let link = Record::Link(c"x".to_owned(), vec![c"a".to_owned(), bad.to_owned()]);
            assert!(Record::read(&mut link.encode().as_slice()).is_err(), "{bad:?}");
        }
        let far = Record::Data(u64::MAX - 1, vec![1; 4]).encode();
        assert!(Record::read(&mut far.as_slice()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = Record::read(&mut bytes.as_slice());
        }

        #[test]
        fn a_changed_byte_never_panics(which in 0_usize..14, at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = records()[which].encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _any = Record::read(&mut bytes.as_slice());
        }
    }
}
