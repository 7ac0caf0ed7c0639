//! Reads every header of a tar archive and refuses a hostile one before anything is unpacked.
//!
//! Refused, each with the member's name and its offset: absolute names, `..`, names and hard links that lead out of the tree or
//! through a symbolic link of the archive itself, relative symbolic links that climb above the root, device nodes unless they
//! were asked for, kinds of member that no root filesystem has, more than there is room for, damaged and cut archives.
//! Absolute symbolic links are fine: they are resolved inside the container.
//!
//! The parser is our own, and strict, because two parsers that disagree are the classic way past a check: what one reads as
//! a comment the other reads as a path. It knows ustar, GNU long names and sparse files, and pax records by their
//! lengths. What GNU tar reads otherwise than it looks is refused, not imitated: numbers of base 64, blanks before a key,
//! two extension headers for one member, content where none belongs, maps of regions that do not fit, anything behind the end.
//! `tests/images/hostile.rs` has them all. Source: tar(5) of libarchive, POSIX.1-2017 pax, GNU tar 1.34.

mod header;
mod path;
mod pax;
mod report;
mod sparse;

use std::collections::HashSet;
use std::io::Read;

use sha2::{Digest, Sha256};

use crate::archive::read_full;
use crate::local::Devices;
use header::{BLOCK, Dialect, Header, Kind};
use path::{climbs, normalize};
use pax::Said;
use report::{lossy, refusal};
use sparse::{MapReader, Regions};

pub use header::is_header;
pub use report::{Cause, Contents, Limits, NameHash, Refusal};

/// Longer extension headers are an attack on our memory.
const TEXT_MAX: u64 = 1 << 20;
/// Longer names and targets reach no file: `PATH_MAX`.
const NAME_MAX: usize = 4095;
/// More device nodes than this are no root filesystem's.
const DEVICES_MAX: usize = 4096;
/// More than this behind the end mark is no padding.
const PADDING_MAX: u64 = 64 << 20;

/// Reads a whole archive.
///
/// # Errors
/// The first [`Refusal`].
pub fn scan(stream: impl Read, devices: Devices, limits: Limits) -> Result<Contents, Refusal> {
    Scanner::new(stream, devices, limits).run()
}

/// What extension headers say about the next member.
#[derive(Debug, Clone, Default)]
struct Extensions {
    pax: Option<Said>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

struct Scanner<R> {
    stream: R,
    hash: Sha256,
    names: NameHash,
    offset: u64,
    devices: Devices,
    limits: Limits,
    contents: Contents,
    links: HashSet<Vec<u8>>,
    /// Names of device nodes; where they are left out, nothing else may have one.
    device_paths: HashSet<Vec<u8>>,
    next: Extensions,
}

impl<R: Read> Scanner<R> {
    fn new(stream: R, devices: Devices, limits: Limits) -> Self {
        Self {
            stream,
            hash: Sha256::new(),
            names: NameHash::default(),
            offset: 0,
            devices,
            limits,
            contents: Contents::default(),
            links: HashSet::new(),
            device_paths: HashSet::new(),
            next: Extensions::default(),
        }
    }

    fn run(mut self) -> Result<Contents, Refusal> {
        while let Some((at, block, header)) = self.header()? {
            let is_extension = matches!(
                header.kind,
                Kind::PaxNext | Kind::PaxGlobal | Kind::LongName | Kind::LongLink | Kind::Label
            );
            if is_extension { self.extension(at, &header)? } else { self.member(at, &block, &header)? }
        }
        self.drain()?;
        if self.contents.members == 0 {
            return Err(refusal(&[], self.offset, "the archive is empty"));
        }
        self.contents.digest = self.hash.finalize().into();
        self.contents.names = self.names.finish();
        Ok(self.contents)
    }

    /// Takes an extension header. Two that speak of the same are refused: which of them counts is a matter of taste.
    fn extension(&mut self, at: u64, header: &Header) -> Result<(), Refusal> {
        let next = &self.next;
        let contradicts = match header.kind {
            Kind::PaxNext | Kind::Label => next.pax.is_some() || next.name.is_some() || next.link.is_some(),
            Kind::LongName => next.pax.is_some() || next.name.is_some(),
            Kind::LongLink => next.pax.is_some() || next.link.is_some(),
            _ => false,
        };
        if contradicts {
            return Err(refusal(&header.name, at, "two extension headers speak of one member"));
        }
        match header.kind {
            Kind::Label => {
                // tar lists it, and unpacks nothing.
                self.names.add(&header.name);
                return self.skip(at, header.size);
            }
            Kind::LongName => self.next.name = Some(self.long_text(at, header)?),
            Kind::LongLink => self.next.link = Some(self.long_text(at, header)?),
            kind => {
                let text = self.text(at, header)?;
                self.take_records(at, kind, &text).map_err(|reason| refusal(&header.name, at, &reason))?;
            }
        }
        Ok(())
    }

    fn take_records(&mut self, at: u64, kind: Kind, text: &[u8]) -> Result<(), String> {
        if kind == Kind::PaxNext {
            self.next.pax = Some(pax::read_next(text)?);
        } else if let Some(label) = pax::read_global(text)? {
            // tar lists it where it stands first, and only there.
            if at > 0 {
                return Err("the archive is given a name in its midst".to_owned());
            }
            self.names.add(&label);
        }
        Ok(())
    }

    /// Returns the next header with its block and its offset; `None` at the end mark.
    fn header(&mut self) -> Result<Option<(u64, [u8; BLOCK], Header)>, Refusal> {
        let at = self.offset;
        let block = self.block(at)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::parse(&block).map_err(|reason| refusal(&[], at, &reason))?;
        Ok(Some((at, block, header)))
    }

    fn block(&mut self, at: u64) -> Result<[u8; BLOCK], Refusal> {
        let mut block = [0; BLOCK];
        // Every tar ends with a mark; without one a cut between two members would go unseen.
        if self.read(at, &mut block)? == BLOCK {
            Ok(block)
        } else {
            Err(refusal(&[], at, "the archive is cut off"))
        }
    }

    fn member(&mut self, at: u64, block: &[u8; BLOCK], header: &Header) -> Result<(), Refusal> {
        let given = std::mem::take(&mut self.next);
        let said = given.pax.unwrap_or_default();
        let name = said.sparse_name.or(said.path).or(given.name).unwrap_or_else(|| header.name.clone());
        let link = said.link.or(given.link).unwrap_or_else(|| header.link.clone());
        let refuse = |reason: String| refusal(&name, at, &reason);
        let path = self.check_name(&name).map_err(refuse)?;
        match header.kind {
            Kind::HardLink => self.take_hard_link(path, &link).map_err(refuse)?,
            Kind::SymbolicLink => self.take_symbolic_link(path, &link).map_err(refuse)?,
            Kind::Device => self.take_device(at, &name, path)?,
            Kind::Unknown(flag) => {
                return Err(refuse(format!("it is of the unknown kind `{}`", flag.escape_ascii())));
            }
            _ => {}
        }
        self.count(&name, header.kind);
        let size = content_size(header, said.size, &name).map_err(refuse)?;
        self.contents.bytes = self.contents.bytes.saturating_add(size);
        if self.contents.bytes > self.limits.bytes || self.contents.members > self.limits.members {
            let reason = "from here on the archive holds more than there is room for".to_owned();
            return Err(Refusal { cause: Cause::TooLarge, ..refuse(reason) });
        }
        let is_file = matches!(header.kind, Kind::File) && header.dialect == Dialect::Posix;
        let regions = match header.kind {
            Kind::Sparse => Some((self.old_map(at, block, header)?, size)),
            _ if !said.has_map => None,
            _ if is_file => Some(self.pax_map(at, size)?),
            _ => return Err(refuse("it is sparse and not a file".to_owned())),
        };
        if regions.is_some_and(|(regions, left)| !regions.fit(left)) {
            return Err(refuse("its map of regions does not fit its size".to_owned()));
        }
        self.skip(at, regions.map_or(size, |(_, left)| left))
    }

    fn count(&mut self, name: &[u8], kind: Kind) {
        self.contents.members += 1;
        if kind != Kind::Device || self.devices == Devices::Make {
            self.names.add(name);
        }
    }

    fn check_name(&self, name: &[u8]) -> Result<Vec<u8>, String> {
        let path = normalize(name)?;
        if let Some(through) = self.through_link(&path) {
            return Err(format!("it leads through the symbolic link `{}`", lossy(&through)));
        }
        // What tar is told to leave out, it leaves out under every kind.
        if self.devices == Devices::Skip
            && self.parents(&path).chain([&path[..]]).any(|path| self.device_paths.contains(path))
        {
            return Err("a device node has the same name".to_owned());
        }
        Ok(path)
    }

    fn old_map(&mut self, at: u64, block: &[u8; BLOCK], header: &Header) -> Result<Regions, Refusal> {
        let bad = || refusal(&header.name, at, "its map of regions is damaged");
        if header.dialect != Dialect::Gnu {
            return Err(bad());
        }
        let mut regions = Regions::default();
        let mut goes_on = regions.take_header(block).ok_or_else(bad)?;
        while goes_on {
            let more = self.block(at)?;
            goes_on = regions.take_block(&more).ok_or_else(bad)?;
        }
        Ok(regions)
    }

    /// Reads the map at the beginning of the content; returns what of the size is left behind it.
    fn pax_map(&mut self, at: u64, size: u64) -> Result<(Regions, u64), Refusal> {
        let bad = || refusal(&[], at, "the map of a sparse member's regions is damaged");
        let mut reader = MapReader::default();
        let mut left = size;
        loop {
            left = left.checked_sub(BLOCK as u64).ok_or_else(bad)?;
            let block = self.block(at)?;
            if let Some(regions) = reader.take(&block).ok_or_else(bad)? {
                return Ok((regions, left));
            }
        }
    }

    fn take_symbolic_link(&mut self, path: Vec<u8>, link: &[u8]) -> Result<(), String> {
        if link.is_empty() || link.len() > NAME_MAX || link.contains(&0) {
            return Err("it is a symbolic link to nothing that there could be".to_owned());
        }
        if climbs(&path, link) {
            return Err(format!("it is a link out of the tree: `{}`", lossy(link)));
        }
        self.links.insert(path);
        Ok(())
    }

    fn take_hard_link(&mut self, path: Vec<u8>, link: &[u8]) -> Result<(), String> {
        self.check_hard_link(link)?;
        // A second name of a symbolic link is a symbolic link.
        if normalize(link).is_ok_and(|target| self.links.contains(&target)) {
            self.links.insert(path);
        }
        Ok(())
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

    fn take_device(&mut self, at: u64, name: &[u8], path: Vec<u8>) -> Result<(), Refusal> {
        if self.devices == Devices::Refuse {
            return Err(Refusal { cause: Cause::Device, ..refusal(name, at, "it is a device node") });
        }
        if self.contents.devices.len() == DEVICES_MAX {
            return Err(refusal(name, at, "it is one device node too many"));
        }
        self.contents.devices.push(name.to_owned());
        self.device_paths.insert(path);
        Ok(())
    }

    /// Returns the symbolic link of the archive that lies on the way to `path`.
    fn through_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.parents(path).find(|parent| self.links.contains(*parent)).map(<[u8]>::to_vec)
    }

    fn parents<'a>(&self, path: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, R> {
        path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
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

    /// Reads what follows the first block of the end mark: zeros, and not many.
    fn drain(&mut self) -> Result<(), Refusal> {
        let start = self.offset;
        let mut buffer = [0; 1 << 16];
        loop {
            let count = self.read(self.offset, &mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            if buffer[..count].iter().any(|byte| *byte != 0) {
                return Err(refusal(&[], start, "something follows the end of the archive"));
            }
            if self.offset - start > PADDING_MAX {
                return Err(refusal(&[], start, "the padding behind the end of the archive has no end"));
            }
        }
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let count = read_full(&mut self.stream, buffer)
            .map_err(|error| refusal(&[], at, &format!("the archive cannot be read: {error}")))?;
        self.hash.update(&buffer[..count]);
        self.offset += count as u64;
        Ok(count)
    }
}

/// Returns how much content follows a header. GNU tar reads content only of files, and takes a file whose name ends with a slash for
/// a directory.
fn content_size(header: &Header, said: Option<u64>, name: &[u8]) -> Result<u64, String> {
    let size = said.unwrap_or(header.size);
    match header.kind {
        Kind::File | Kind::Sparse if size > 0 && name.ends_with(b"/") => {
            Err("it is a directory by its name, and has content".to_owned())
        }
        Kind::File | Kind::Sparse => Ok(size),
        _ if said.is_some_and(|size| size > 0) => Err("it has content, and is not a file".to_owned()),
        _ => Ok(0),
    }
}
