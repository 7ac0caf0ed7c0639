//! Frames: the envelope of a stream.
//!
//! ```text
//! KEIKI-STREAM 1\n
//! kind: u8   length: u32   payload   digest: 16 bytes of blake3 over everything so far, this frame's payload included
//! ```
//!
//! Memory for a payload is taken as its bytes come, and never beyond the limit of its kind.

use std::fs::File;
use std::io::{self, ErrorKind as IoKind, Read, Write};
use std::os::fd::OwnedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{damaged, not_ours};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8] = b"KEIKI-STREAM 1\n";
const FAMILY: &[u8] = b"KEIKI-STREAM ";
const DIGEST: usize = 16;
/// Configuration and names of every snapshot.
const JSON_MAX: u32 = 16 << 20;
/// What is gathered into one frame of data.
const DATA: usize = 256 << 10;
const DATA_MAX: u32 = 1 << 20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest = 1,
    Section = 2,
    Data = 3,
    Digest = 4,
    End = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Manifest, Self::Section, Self::Data, Self::Digest, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    fn limit(self) -> u32 {
        match self {
            Self::Manifest => JSON_MAX,
            Self::Section | Self::Digest => 4096,
            Self::Data => DATA_MAX,
            Self::End => 0,
        }
    }
}

/// The writing end.
pub(super) struct FrameWriter {
    out: File,
    digest: blake3::Hasher,
    gathered: Vec<u8>,
    bytes: u64,
}

impl FrameWriter {
    /// Begins a stream.
    pub(super) fn begin(out: OwnedFd) -> io::Result<Self> {
        let mut writer =
            Self { out: out.into(), digest: blake3::Hasher::new(), gathered: Vec::new(), bytes: 0 };
        writer.send(MAGIC)?;
        Ok(writer)
    }

    /// Returns how many bytes were written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Writes one frame, behind the data that was gathered.
    pub(super) fn frame(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        if kind != Kind::Data {
            self.flush()?;
        }
        let length = u32::try_from(payload.len()).map_err(|_| io::Error::from(IoKind::FileTooLarge))?;
        let mut bytes = Vec::with_capacity(payload.len() + 5 + DIGEST);
        bytes.push(kind as u8);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(payload);
        self.digest.update(&bytes);
        bytes.extend_from_slice(&self.digest.finalize().as_bytes()[..DIGEST]);
        self.bytes += bytes.len() as u64;
        self.out.write_all(&bytes)
    }

    /// Writes a frame of JSON.
    pub(super) fn json(&mut self, kind: Kind, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.frame(kind, &text)
    }
}

impl Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= DATA {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let gathered = std::mem::take(&mut self.gathered);
        gathered.chunks(DATA_MAX as usize).try_for_each(|chunk| self.frame(Kind::Data, chunk))?;
        self.gathered = gathered;
        self.gathered.clear();
        Ok(())
    }
}

/// The reading end.
pub(super) struct FrameReader {
    input: Box<dyn Read + Send>,
    digest: blake3::Hasher,
    bytes: u64,
}

impl FrameReader {
    /// Begins to read a stream.
    ///
    /// # Errors
    /// `Protocol` for what is no stream, or one of a later keiki.
    pub(super) fn begin(mut input: Box<dyn Read + Send>) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Err(error) if error.kind() == IoKind::UnexpectedEof => {
                return Err(not_ours("it is empty or too short"));
            }
            other => other.map_err(|e| Error::io("cannot read the stream", e))?,
        }
        if magic != MAGIC {
            let later = magic.starts_with(FAMILY);
            return Err(not_ours(if later { "its version is another" } else { "it does not begin as one" }));
        }
        let mut digest = blake3::Hasher::new();
        digest.update(&magic);
        Ok(Self { input, digest, bytes: MAGIC.len() as u64 })
    }

    /// Returns how many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next frame and proves it.
    pub(super) fn frame(&mut self) -> Result<(Kind, Vec<u8>)> {
        let mut header = [0; 5];
        self.exact(&mut header)?;
        let [kind, length @ ..] = header;
        let length = u32::from_le_bytes(length);
        let kind = Kind::of(kind).ok_or_else(|| damaged("a frame is of no known kind"))?;
        if length > kind.limit() {
            return Err(damaged("a frame is too long"));
        }
        let mut payload = Vec::new();
        let read = self.input.by_ref().take(length.into()).read_to_end(&mut payload).map_err(unreadable)?;
        if read < length as usize {
            return Err(cut());
        }
        self.digest.update(&header);
        self.digest.update(&payload);
        let mut found = [0; DIGEST];
        self.exact(&mut found)?;
        if found != self.digest.finalize().as_bytes()[..DIGEST] {
            return Err(damaged("a digest is not right"));
        }
        self.bytes += (header.len() + payload.len() + DIGEST) as u64;
        Ok((kind, payload))
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).map_err(unreadable)
    }

    /// Reads a frame that must be of this kind.
    pub(super) fn json<T: DeserializeOwned>(&mut self, wanted: Kind) -> Result<T> {
        let (kind, payload) = self.frame()?;
        if kind != wanted {
            return Err(damaged("its frames are out of order"));
        }
        serde_json::from_slice(&payload).map_err(|e| not_ours(format!("{wanted:?}")).with_source(e))
    }

    /// Returns the data of the section whose frames come next.
    pub(super) fn section(&mut self) -> SectionReader<'_> {
        SectionReader { frames: self, payload: Vec::new(), at: 0, digest: None }
    }
}

fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        IoKind::UnexpectedEof => cut(),
        _ => Error::io("cannot read the stream", error),
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::Corrupt, "the stream was cut")
}

/// The data of one section, as one run of bytes.
pub(super) struct SectionReader<'a> {
    frames: &'a mut FrameReader,
    payload: Vec<u8>,
    at: usize,
    /// What stands behind the data.
    digest: Option<Vec<u8>>,
}

impl SectionReader<'_> {
    /// Returns whether no data is left.
    pub(super) fn is_over(&mut self) -> Result<bool> {
        self.advance().map_err(|error| explain(error, "cannot read the stream"))
    }

    /// Makes sure that there is data, unless none is left; returns whether none is.
    fn advance(&mut self) -> io::Result<bool> {
        while self.at == self.payload.len() {
            if self.digest.is_some() {
                return Ok(true);
            }
            let (kind, payload) = self.frames.frame().map_err(io::Error::other)?;
            match kind {
                Kind::Data => (self.payload, self.at) = (payload, 0),
                Kind::Digest => self.digest = Some(payload),
                _ => return Err(io::Error::other(damaged("its frames are out of order"))),
            }
        }
        Ok(false)
    }

    /// Reads what stands behind the data, which must be all read.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let is_over = self.is_over()?;
        match self.digest {
            Some(digest) if is_over => Ok(digest),
            _ => Err(damaged("a section goes on behind its end")),
        }
    }
}

impl Read for SectionReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.advance()? {
            return Ok(0);
        }
        let length = bytes.len().min(self.payload.len() - self.at);
        bytes[..length].copy_from_slice(&self.payload[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Returns our own error out of one of `std::io`, or wraps the latter.
pub(super) fn explain(error: io::Error, message: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) if error.kind() == IoKind::UnexpectedEof => damaged("a section ends too early"),
        Err(error) if error.kind() == IoKind::InvalidData => {
            Error::new(ErrorKind::Corrupt, message).with_source(error)
        }
        Err(error) => Error::io(message, error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    fn stream() -> Vec<u8> {
        let file = memfd_create("stream", MemfdFlags::CLOEXEC).unwrap();
        let mut copy = File::from(file.try_clone().unwrap());
        let mut writer = FrameWriter::begin(file).unwrap();
        writer.json(Kind::Manifest, &"manifest").unwrap();
        writer.write_all(&vec![5; 3 << 20]).unwrap();
        writer.frame(Kind::Digest, b"digest").unwrap();
        writer.frame(Kind::End, b"").unwrap();
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut copy).unwrap();
        copy.read_to_end(&mut bytes).unwrap();
        assert_eq!(writer.bytes(), bytes.len() as u64);
        bytes
    }

    fn read(bytes: Vec<u8>) -> Result<usize> {
        let mut reader = FrameReader::begin(Box::new(Cursor::new(bytes)))?;
        assert_eq!(reader.json::<String>(Kind::Manifest)?, "manifest");
        let mut section = reader.section();
        let mut data = Vec::new();
        section.read_to_end(&mut data).map_err(|e| explain(e, "data"))?;
        assert_eq!(section.finish()?, b"digest");
        assert_eq!(reader.frame()?.0, Kind::End);
        Ok(data.len())
    }

    #[test]
    fn a_stream_is_read_as_it_was_written() {
        assert_eq!(read(stream()).unwrap(), 3 << 20);
    }

    #[test]
    fn what_is_no_stream_and_what_is_a_later_one_are_told_apart() {
        let later = [FAMILY, b"9\nxxxxxxxxxxxxxx"].concat();
        for (bytes, words) in
            [(b"#!/bin/sh\nexit 0".to_vec(), "does not begin"), (later, "version"), (Vec::new(), "empty")]
        {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.message().contains(words), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_changed_byte_anywhere_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = stream();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(read(bytes).is_err());
        }

        #[test]
        fn a_cut_anywhere_is_found(at in any::<prop::sample::Index>()) {
            let mut bytes = stream();
            bytes.truncate(at.index(bytes.len()));
            let error = read(bytes).unwrap_err();
            prop_assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Protocol));
        }
    }
}
