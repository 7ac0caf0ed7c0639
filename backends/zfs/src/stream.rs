//! The first record of a zfs stream: what it holds and what it starts from, known before anything is written.
//!
//! ```text
//! offset  0  kind of record (0: a stream begins)      offset 40  guid of the snapshot that it holds
//!         8  magic                                           48  guid of the snapshot that it starts from, or 0
//!        16  two bits of form, thirty of features            56  name that the sender gave it, 256 bytes
//!        32  kind of contents (2: a file system)            312  the next record
//! ```
//!
//! A package of several snapshots (`zfs send -R`, `-p`) brings datasets, properties and destroys of its own along; it is refused, and with
//! it everything that could reach beyond the one dataset that is named. Numbers are in the sender's byte order.

use std::io::{self, Read};

use keiki_core::{Error, ErrorKind, Result, ResultExt};

/// Bytes of a record.
pub(crate) const HEADER: usize = 312;

const MAGIC: u64 = 0x0002_F5BA_CBAC;
const BEGIN: u32 = 0;
const ONE_SNAPSHOT: u64 = 1;
const FILE_SYSTEM: u32 = 2;

/// `DRR_FLAG_CLONE`: a stream that makes a clone of what it starts from.
const CLONE: u32 = 1;

/// Forms that need more than the data: redacted (21), encrypted as it lies on the disk (24), with the sender's holds (26).
const REFUSED: u64 = 1 << 21 | 1 << 24 | 1 << 26;

/// What a stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The snapshot that it starts from; `None` for a whole one.
    pub(crate) from: Option<u64>,
}

/// Reads the first record.
///
/// # Errors
/// `Corrupt` when the stream ends before; what reading fails with.
pub(crate) fn read(input: &mut impl Read) -> Result<[u8; HEADER]> {
    let mut record = [0; HEADER];
    match input.read_exact(&mut record) {
        Ok(()) => Ok(record),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::new(ErrorKind::Corrupt, "the zfs stream ends before it begins"))
        }
        Err(error) => Err(error).or_err(|| "cannot read the zfs stream".to_owned()),
    }
}

/// Understands the first record.
///
/// # Errors
/// `Protocol` for what is no stream of one snapshot of a file system; `Unsupported` for a form that is refused.
pub(crate) fn parse(record: &[u8; HEADER]) -> Result<Header> {
    let magic = number(record, 8);
    let in_order: fn(u64) -> u64 = match () {
        () if magic == MAGIC => |value| value,
        () if magic.swap_bytes() == MAGIC => u64::swap_bytes,
        () => return Err(not_one("it has no zfs magic")),
    };
    let word = |at: usize| in_order(number(record, at));
    // Two words of 32 bits: which half is which follows the byte order.
    let small = |at: usize| {
        let bytes = [record[at], record[at + 1], record[at + 2], record[at + 3]];
        let value = u32::from_ne_bytes(bytes);
        if magic == MAGIC { value } else { value.swap_bytes() }
    };
    let form = word(16);
    if small(0) != BEGIN || form & 3 != ONE_SNAPSHOT {
        return Err(not_one("it is a package of several things"));
    }
    if small(32) != FILE_SYSTEM {
        return Err(not_one("it holds no file system"));
    }
    if form >> 2 & REFUSED != 0 {
        let text =
            "the zfs stream is encrypted as it lies on the sender's disk, redacted, or has holds with it";
        return Err(
            Error::new(ErrorKind::Unsupported, text).with_hint("send it without `zfs send -w` or `-h`")
        );
    }
    let from = word(48);
    if small(36) & CLONE != 0 {
        return Err(not_one("it makes a clone"));
    }
    Ok(Header { from: (from != 0).then_some(from) })
}

fn number(record: &[u8; HEADER], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[at..at + 8]);
    u64::from_ne_bytes(bytes)
}

fn not_one(why: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("this is no zfs stream of one snapshot: {why}"))
        .with_hint("only what `keiki send --native` writes can be received")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `zfs send` of 2.3.9 begins: an incremental stream from 7 to 9.
    fn record() -> [u8; HEADER] {
        let mut record = [0; HEADER];
        record[8..16].copy_from_slice(&MAGIC.to_ne_bytes());
        record[16..24].copy_from_slice(&(ONE_SNAPSHOT | 1 << 4).to_ne_bytes());
        record[32..36].copy_from_slice(&FILE_SYSTEM.to_ne_bytes());
        record[36..40].copy_from_slice(&4_u32.to_ne_bytes());
        record[40..48].copy_from_slice(&9_u64.to_ne_bytes());
        record[48..56].copy_from_slice(&7_u64.to_ne_bytes());
        record
    }

    fn with(at: usize, bytes: &[u8]) -> [u8; HEADER] {
        let mut changed = record();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    }

    #[test]
    fn a_stream_of_one_snapshot_says_what_it_starts_from() {
        assert_eq!(parse(&record()).unwrap(), Header { from: Some(7) });
        assert_eq!(parse(&with(48, &[0; 8])).unwrap(), Header { from: None });
        let mut swapped = record();
        for range in [0..4, 4..8, 8..16, 16..24, 24..32, 32..36, 36..40, 40..48, 48..56] {
            swapped[range].reverse();
        }
        assert_eq!(parse(&swapped).unwrap(), Header { from: Some(7) });
    }

    #[test]
    fn packages_volumes_and_odd_forms_are_refused() {
        let kind = |record: [u8; HEADER]| parse(&record).unwrap_err().kind();
        assert_eq!(kind(with(8, &[1])), ErrorKind::Protocol);
        assert_eq!(kind(with(0, &1_u32.to_ne_bytes())), ErrorKind::Protocol);
        assert_eq!(kind(with(16, &2_u64.to_ne_bytes())), ErrorKind::Protocol);
        assert_eq!(kind(with(32, &3_u32.to_ne_bytes())), ErrorKind::Protocol);
        assert_eq!(kind(with(36, &CLONE.to_ne_bytes())), ErrorKind::Protocol);
        for feature in [21, 24, 26] {
            let form = ONE_SNAPSHOT | 1 << (feature + 2);
            assert_eq!(kind(with(16, &form.to_ne_bytes())), ErrorKind::Unsupported, "{feature}");
        }
        assert_eq!(read(&mut &record()[..HEADER - 1]).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    proptest! {
        #[test]
        fn no_record_breaks_it(bytes in proptest::collection::vec(any::<u8>(), HEADER)) {
            let record: [u8; HEADER] = bytes.try_into().unwrap();
            let _any = parse(&record);
        }
    }
}
