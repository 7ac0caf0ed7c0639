//! An archive as a stream: opened once, decompressed by what its first bytes say.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use keiki_core::{Error, ErrorKind, Result, ResultExt};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

const MAGIC: [(&[u8], Compression); 3] = [
    (&[0x1f, 0x8b], Compression::Gzip),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

/// Forms that others use and we do not read.
const UNREAD: [(&[u8], &str, &str); 3] =
    [(b"BZh", "bzip2", "bunzip2"), (b"PK\x03\x04", "zip", "unzip"), (b"hsqs", "squashfs", "unsquashfs")];

/// An open archive that can be read again from its beginning.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    compression: Compression,
}

impl Archive {
    /// Opens an archive and looks at its first bytes.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = || format!("cannot read the archive `{}`", path.display());
        let mut file = File::open(path).or_err(shown)?;
        let mut head = [0; 512];
        let length = read_full(&mut file, &mut head).or_err(shown)?;
        let head = &head[..length];
        if let Some((_, word, tool)) = UNREAD.iter().find(|(magic, ..)| head.starts_with(magic)) {
            return Err(Error::new(ErrorKind::Unsupported, format!("`{}` is a {word} file", path.display()))
                .with_hint(format!("unpack it with `{tool}` and use the directory, or make a tar of it")));
        }
        let known =
            MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, compression)| *compression);
        let compression = match known {
            Some(compression) => compression,
            None if crate::scan::is_header(head) => Compression::None,
            None => {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("`{}` is not an archive", path.display()),
                )
                .with_hint("use a .tar, plain or compressed by gzip, xz or zstd, or a directory"));
            }
        };
        Ok(Self { file, compression })
    }

    /// Returns the decompressed stream from its beginning.
    pub(crate) fn stream(&self) -> std::io::Result<Box<dyn Read + Send>> {
        // Both streams share the file's position; they are read one after the other.
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(match self.compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        })
    }
}

/// Reads until the buffer is full or the stream ends.
pub(crate) fn read_full(stream: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
