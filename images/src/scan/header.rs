//! One header block.

/// The unit of a tar archive.
pub(super) const BLOCK: usize = 512;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, directory or pipe.
    Plain,
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

/// The fields that a check needs.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) kind: Kind,
    /// Whether blocks of an old GNU sparse map follow.
    pub(super) continues: bool,
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
        let kind = match block[156] {
            0 | b'0' | b'7' | b'5' | b'6' | b'S' => Kind::Plain,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' | b'4' => Kind::Device,
            b'x' => Kind::PaxNext,
            b'g' => Kind::PaxGlobal,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            b'V' => Kind::Label,
            other => Kind::Unknown(other),
        };
        let size = number(&block[124..136]).ok_or("the header's size is no number")?;
        // Links, directories and devices have no content, whatever stands there: that is how GNU tar reads it.
        let has_content = !matches!(block[156], b'1' | b'2' | b'3' | b'4' | b'5' | b'6');
        Ok(Self {
            name: name_of(block),
            link: text(&block[157..257]).to_vec(),
            size: if has_content { size } else { 0 },
            kind,
            continues: block[156] == b'S' && block[482] != 0,
        })
    }
}

/// POSIX archives put the front of a long name in a field of its own; GNU's have other things there.
fn name_of(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&block[..100]);
    let prefix = text(&block[345..500]);
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// Reads octal digits, or GNU's binary form with the highest bit set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let rest_is_zero = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        return rest_is_zero.then(|| low.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)));
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    let digits = std::str::from_utf8(&digits[..end]).ok()?;
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

fn has_right_sum(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number(&block[148..156]) else { return false };
    let field = 148..156;
    let byte = |(at, byte): (usize, &u8)| if field.contains(&at) { b' ' } else { *byte };
    let sum: u64 = block.iter().enumerate().map(|pair| u64::from(byte(pair))).sum();
    stated == sum && block.iter().any(|byte| *byte != 0)
}
