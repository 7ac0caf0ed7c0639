//! One header block.

/// The unit of a tar archive.
pub(super) const BLOCK: usize = 512;

/// What GNU tar puts in the place of POSIX's magic and version.
const GNU: &[u8] = b"ustar  \0";
const POSIX: &[u8] = b"ustar\0";

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    /// A file of GNU's old format with a map of its regions.
    Sparse,
    Directory,
    Pipe,
    HardLink,
    SymbolicLink,
    Device,
    PaxNext,
    PaxGlobal,
    LongName,
    LongLink,
    /// The volume's name: no member.
    Label,
    Unknown(u8),
}

/// Which dialect a header is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Old,
    Posix,
    Gnu,
}

/// The fields that a check needs.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) kind: Kind,
    pub(super) dialect: Dialect,
}

/// Returns whether the first bytes of a stream are a tar header.
#[must_use]
pub fn is_header(head: &[u8]) -> bool {
    head.get(..BLOCK).and_then(|block| <&[u8; BLOCK]>::try_from(block).ok()).is_some_and(has_right_sum)
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, String> {
        if !has_right_sum(block) {
            return Err("the header's checksum is wrong: the archive is damaged".to_owned());
        }
        let dialect = match block {
            _ if block[257..].starts_with(POSIX) => Dialect::Posix,
            _ if block[257..].starts_with(GNU) => Dialect::Gnu,
            _ => Dialect::Old,
        };
        Ok(Self {
            name: name_of(block, dialect),
            link: text(&block[157..257]).to_vec(),
            size: number(&block[124..136]).ok_or("the header's size is no number")?,
            kind: kind_of(block[156]),
            dialect,
        })
    }
}

fn kind_of(flag: u8) -> Kind {
    match flag {
        0 | b'0' | b'7' => Kind::File,
        b'S' => Kind::Sparse,
        b'5' => Kind::Directory,
        b'6' => Kind::Pipe,
        b'1' => Kind::HardLink,
        b'2' => Kind::SymbolicLink,
        b'3' | b'4' => Kind::Device,
        b'x' => Kind::PaxNext,
        b'g' => Kind::PaxGlobal,
        b'L' => Kind::LongName,
        b'K' => Kind::LongLink,
        b'V' => Kind::Label,
        other => Kind::Unknown(other),
    }
}

/// POSIX archives put the front of a long name in a field of its own; GNU's have other things there.
fn name_of(block: &[u8; BLOCK], dialect: Dialect) -> Vec<u8> {
    let name = text(&block[..100]);
    let prefix = text(&block[345..500]);
    if dialect == Dialect::Posix && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Reads octal digits between blanks, or GNU's binary form with the highest bit set.
///
/// Anything else is refused: GNU tar reads `+` and `-` as numbers of base 64 and passes over a zero byte in front.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let (first, rest) = field.split_first()?;
        let add = |value: u64, byte: &u8| value.checked_mul(256)?.checked_add(u64::from(*byte));
        return (*first == 0x80).then(|| rest.iter().try_fold(0, add)).flatten();
    }
    if field.iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    let start = field.iter().position(|byte| *byte != b' ')?;
    let digits = &field[start..];
    let end = digits.iter().position(|byte| !matches!(byte, b'0'..=b'7')).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let is_plain = !digits.is_empty() && rest.iter().all(|byte| matches!(byte, 0 | b' '));
    is_plain.then(|| digits.iter().fold(0, |value, digit| (value << 3) | u64::from(digit - b'0')))
}

fn has_right_sum(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number(&block[148..156]) else { return false };
    let field = 148..156;
    let byte = |(at, byte): (usize, &u8)| if field.contains(&at) { b' ' } else { *byte };
    let sum: u64 = block.iter().enumerate().map(|pair| u64::from(byte(pair))).sum();
    stated == sum && block.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_and_nothing_else() {
        for (field, value) in [
            (&b"00000001000\0"[..], Some(512)),
            (b"  1000 \0", Some(512)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x02\0", Some(512)),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"+0000001000\0", None),
            (b"\x001000", None),
            (b"1000x", None),
            (b"1000 7", None),
            (b"    ", None),
            (b"9", None),
            (b"", Some(0)),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn no_block_panics() {
        for byte in 0..=255 {
            assert!(!is_header(&[byte; BLOCK]));
        }
        assert!(!is_header(b""));
    }
}
