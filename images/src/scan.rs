//! Reads every header of a tar archive and refuses a hostile one before anything is unpacked.
//!
//! Refused, each with the member's name and its offset: absolute names, `..`, names and hard links that lead out of the tree or
//! through a symbolic link of the archive itself, relative symbolic links that climb above the root, device nodes unless they
//! were asked for, kinds of member that no root filesystem has, damaged and cut archives.
//! Absolute symbolic links are fine: they are resolved inside the container.
//!
//! The parser is our own, and strict, because two parsers that disagree are the classic way past a check: what one reads as
//! a comment the other reads as a path. It knows ustar, GNU long names and sparse files, and pax records by their
//! lengths. Source: tar(5) of libarchive, POSIX.1-2017 pax.

mod header;
mod path;
mod pax;

use std::collections::HashSet;
use std::io::Read;

use sha2::{Digest, Sha256};

use crate::archive::read_full;
use crate::local::Devices;
use header::{BLOCK, Header, Kind};
use path::{climbs, normalize};

pub use header::is_header;

/// Longer names and records are an attack on our memory.
const TEXT_MAX: u64 = 1 << 20;

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The member, as the archive names it; empty when it has no name yet.
    pub member: String,
    /// Where its header begins in the decompressed stream.
    pub offset: u64,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.member.is_empty() {
            write!(f, "at byte {}: {}", self.offset, self.reason)
        } else {
            write!(f, "member `{}` at byte {}: {}", self.member, self.offset, self.reason)
        }
    }
}

impl std::error::Error for Refusal {}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// How many members.
    pub members: u64,
    /// The device nodes among them, as the archive names them.
    pub devices: Vec<Vec<u8>>,
    /// The hash of the decompressed stream, to be compared with what is unpacked.
    pub digest: [u8; 32],
}

/// Reads a whole archive.
///
/// # Errors
/// The first [`Refusal`].
pub fn scan(stream: impl Read, devices: Devices) -> Result<Contents, Refusal> {
    Scanner::new(stream, devices).run()
}

/// What extension headers say about the next member.
#[derive(Debug, Clone, Default)]
struct Override {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

struct Scanner<R> {
    stream: R,
    hash: Sha256,
    offset: u64,
    devices: Devices,
    contents: Contents,
    links: HashSet<Vec<u8>>,
    next: Override,
    global: Override,
}

impl<R: Read> Scanner<R> {
    fn new(stream: R, devices: Devices) -> Self {
        Self {
            stream,
            hash: Sha256::new(),
            offset: 0,
            devices,
            contents: Contents::default(),
            links: HashSet::new(),
            next: Override::default(),
            global: Override::default(),
        }
    }

    fn run(mut self) -> Result<Contents, Refusal> {
        while let Some((at, header)) = self.header()? {
            match header.kind {
                Kind::PaxNext => self.next = self.records(at, &header, self.next.clone())?,
                Kind::PaxGlobal => self.global = self.records(at, &header, self.global.clone())?,
                Kind::LongName => self.next.path = Some(self.long_text(at, &header)?),
                Kind::LongLink => self.next.link = Some(self.long_text(at, &header)?),
                Kind::Label => self.skip(at, header.size)?,
                _ => self.member(at, &header)?,
            }
        }
        self.drain()?;
        if self.contents.members == 0 {
            return Err(refusal(&[], self.offset, "the archive is empty"));
        }
        self.contents.digest = self.hash.finalize().into();
        Ok(self.contents)
    }

    /// Returns the next header and its offset; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<(u64, Header)>, Refusal> {
        let at = self.offset;
        let mut block = [0; BLOCK];
        match self.read(at, &mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(refusal(&[], at, "the archive is cut off")),
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut header = Header::parse(&block).map_err(|reason| refusal(&[], at, &reason))?;
        while header.continues {
            let mut more = [0; BLOCK];
            if self.read(at, &mut more)? != BLOCK {
                return Err(refusal(&header.name, at, "the archive is cut off"));
            }
            header.continues = more[504] != 0;
        }
        Ok(Some((at, header)))
    }

    fn member(&mut self, at: u64, header: &Header) -> Result<(), Refusal> {
        let given = std::mem::take(&mut self.next);
        let name = given.path.or_else(|| self.global.path.clone()).unwrap_or_else(|| header.name.clone());
        let link = given.link.or_else(|| self.global.link.clone()).unwrap_or_else(|| header.link.clone());
        let refuse = |reason: String| Err(refusal(&name, at, &reason));
        let path = match normalize(&name) {
            Ok(path) => path,
            Err(reason) => return refuse(reason),
        };
        if let Some(through) = self.through_link(&path) {
            return refuse(format!("it leads through the symbolic link `{}`", lossy(&through)));
        }
        match header.kind {
            Kind::HardLink => self.check_hard_link(&link).or_else(refuse)?,
            Kind::SymbolicLink => {
                if climbs(&path, &link) {
                    return refuse(format!("it is a link out of the tree: `{}`", lossy(&link)));
                }
                self.links.insert(path);
            }
            Kind::Device => self.take_device(&name).or_else(refuse)?,
            Kind::Unknown(flag) => {
                return refuse(format!("it is of the unknown kind `{}`", flag.escape_ascii()));
            }
            _ => {}
        }
        self.contents.members += 1;
        // A hard link of pax may carry content again; every other kind without content has size 0.
        self.skip(at, given.size.or(self.global.size).unwrap_or(header.size))
    }

    fn check_hard_link(&self, link: &[u8]) -> Result<(), String> {
        let target =
            normalize(link).map_err(|reason| format!("it is a hard link to `{}`: {reason}", lossy(link)))?;
        match self.through_link(&target) {
            None => Ok(()),
            Some(through) => {
                Err(format!("it is a hard link through the symbolic link `{}`", lossy(&through)))
            }
        }
    }

    fn take_device(&mut self, name: &[u8]) -> Result<(), String> {
        match self.devices {
            Devices::Refuse => Err("it is a device node".to_owned()),
            Devices::Make | Devices::Skip => {
                self.contents.devices.push(name.to_owned());
                Ok(())
            }
        }
    }

    /// Returns the symbolic link of the archive that lies on the way to `path`.
    fn through_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.map(|end| &path[..end]).find(|parent| self.links.contains(*parent)).map(<[u8]>::to_vec)
    }

    fn records(&mut self, at: u64, header: &Header, mut into: Override) -> Result<Override, Refusal> {
        let text = self.text(at, header)?;
        let records = pax::parse(&text).map_err(|reason| refusal(&header.name, at, &reason))?;
        for (key, value) in records {
            match key {
                // GNU names a sparse member here and puts a made-up name in its header.
                b"path" | b"GNU.sparse.name" => into.path = Some(value.to_vec()),
                b"linkpath" => into.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    into.size =
                        Some(size.ok_or_else(|| refusal(&header.name, at, "a pax size is no number"))?);
                }
                _ => {}
            }
        }
        Ok(into)
    }

    fn long_text(&mut self, at: u64, header: &Header) -> Result<Vec<u8>, Refusal> {
        let mut text = self.text(at, header)?;
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        text.truncate(end);
        Ok(text)
    }

    fn text(&mut self, at: u64, header: &Header) -> Result<Vec<u8>, Refusal> {
        if header.size > TEXT_MAX {
            return Err(refusal(&header.name, at, "its extension header is larger than a megabyte"));
        }
        let size = usize::try_from(header.size).unwrap_or_default();
        let mut text = vec![0; size.next_multiple_of(BLOCK)];
        if self.read(at, &mut text)? != text.len() {
            return Err(refusal(&header.name, at, "the archive is cut off"));
        }
        text.truncate(size);
        Ok(text)
    }

    fn skip(&mut self, at: u64, size: u64) -> Result<(), Refusal> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let mut left = padded.ok_or_else(|| refusal(&[], at, "a member's size overflows"))?;
        let mut buffer = [0; 1 << 16];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
            match self.read(at, &mut buffer[..want])? {
                count if count == want => left -= count as u64,
                _ => return Err(refusal(&[], at, "the archive is cut off in a member's content")),
            }
        }
        Ok(())
    }

    /// Reads what follows the end mark: padding, which belongs to the stream that is compared later.
    fn drain(&mut self) -> Result<(), Refusal> {
        let mut buffer = [0; 1 << 16];
        while self.read(self.offset, &mut buffer)? > 0 {}
        Ok(())
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let count = read_full(&mut self.stream, buffer)
            .map_err(|error| refusal(&[], at, &format!("the archive cannot be read: {error}")))?;
        self.hash.update(&buffer[..count]);
        self.offset += count as u64;
        Ok(count)
    }
}

fn refusal(member: &[u8], offset: u64, reason: &str) -> Refusal {
    Refusal { member: lossy(member), offset, reason: reason.to_owned() }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
