//! Tar archives made block by block.

/// A header that is being made; its checksum is right whatever it says.
#[derive(Clone)]
pub(crate) struct Forged(Vec<u8>);

/// Begins a header of POSIX's dialect.
pub(crate) fn header(name: &[u8], kind: u8) -> Forged {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(b"00000000000");
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    Forged(block)
}

impl Forged {
    /// Puts bytes anywhere.
    pub(crate) fn at(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn size(self, size: usize) -> Self {
        self.at(124, format!("{size:011o}").as_bytes())
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.at(157, target)
    }

    pub(crate) fn gnu(self) -> Self {
        self.at(257, b"ustar  \0")
    }

    pub(crate) fn device(self) -> Self {
        self.at(329, b"0000001\0").at(337, b"0000003\0")
    }

    /// Returns the block.
    pub(crate) fn done(self) -> Vec<u8> {
        let mut block = self.at(148, b"        ").0;
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    /// Returns the block with content behind it.
    pub(crate) fn with(self, content: &[u8]) -> Vec<u8> {
        [self.size(content.len()).done(), padded(content)].concat()
    }
}

/// Fills up to a block.
pub(crate) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    padded
}

/// Returns a pax record with a right length.
pub(crate) fn record(key: &str, value: &str) -> String {
    separated(" ", key, value)
}

/// The same with something else between length and key.
pub(crate) fn separated(separator: &str, key: &str, value: &str) -> String {
    let body = format!("{separator}{key}={value}\n");
    let mut length = body.len() + 1;
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    format!("{length}{body}")
}

/// Returns a pax header for the next member.
pub(crate) fn pax(records: &str) -> Vec<u8> {
    header(b"pax", b'x').with(records.as_bytes())
}

/// Returns a pax header for all members.
pub(crate) fn global(records: &str) -> Vec<u8> {
    header(b"pax", b'g').with(records.as_bytes())
}

/// Returns GNU's header for a long name (`L`) or link (`K`).
pub(crate) fn long(kind: u8, text: &[u8]) -> Vec<u8> {
    header(b"././@LongLink", kind).gnu().with(&[text, b"\0"].concat())
}

/// Returns a whole archive.
pub(crate) fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 1024]].concat()
}
