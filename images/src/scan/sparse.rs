//! Maps of sparse members. GNU tar reads as many blocks as a map names regions, whatever the member's size says; a map that
//! does not fit the size would make it read the next member as content, or content as the next member.

use super::header::{BLOCK, number};
use super::pax::decimal;

/// How many regions stand in a header and in a block behind it. tar(5) of libarchive, GNU tar's tar.h.
const IN_HEADER: usize = 4;
const IN_BLOCK: usize = 21;
const REGION: usize = 24;

/// Adds up the regions of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Regions {
    /// Bytes of content in the archive, each region filled up to a block.
    padded: u64,
    is_ended: bool,
}

impl Regions {
    fn add(&mut self, length: u64) -> Option<()> {
        self.padded = self.padded.checked_add(length.checked_next_multiple_of(BLOCK as u64)?)?;
        Some(())
    }

    /// Takes the part of an old map that stands in the header. Returns whether a block with more follows.
    pub(super) fn take_header(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        self.take(&block[386..386 + IN_HEADER * REGION])?;
        self.goes_on(block[482])
    }

    /// Takes a block of an old map that follows the header.
    pub(super) fn take_block(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        self.take(&block[..IN_BLOCK * REGION])?;
        self.goes_on(block[504])
    }

    fn take(&mut self, map: &[u8]) -> Option<()> {
        for region in map.chunks_exact(REGION) {
            let (_, length) = region.split_at(REGION / 2);
            // tar stops there.
            self.is_ended |= length[0] == 0;
            if !self.is_ended {
                self.add(number(length)?)?;
            }
        }
        Some(())
    }

    /// A map that has ended and goes on is read in two ways.
    fn goes_on(self, flag: u8) -> Option<bool> {
        (flag == 0 || !self.is_ended).then_some(flag != 0)
    }

    /// Returns whether the regions take exactly what a member of `size` has for them.
    pub(super) fn fit(self, size: u64) -> bool {
        size.checked_next_multiple_of(BLOCK as u64) == Some(self.padded)
    }
}

/// Reads a map of pax's form: numbers, one a line, filled up to a block: how many, then offset and length of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MapReader {
    line: Vec<u8>,
    /// How many numbers are still to come; `None` before the first.
    left: Option<u64>,
    regions: Regions,
}

impl MapReader {
    /// Takes a block. Returns the regions when the map ends in it.
    pub(super) fn take(&mut self, block: &[u8; BLOCK]) -> Option<Option<Regions>> {
        const LONGEST: usize = 20;
        for byte in block {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > LONGEST {
                    return None;
                }
                continue;
            }
            let value = decimal(&std::mem::take(&mut self.line))?;
            let left = match self.left {
                None => value.checked_mul(2)?,
                Some(left) => {
                    // Offsets and lengths take turns; the last number is a length.
                    if left % 2 == 1 {
                        self.regions.add(value)?;
                    }
                    left - 1
                }
            };
            self.left = Some(left);
            if left == 0 {
                return Some(Some(self.regions));
            }
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..text.len()].copy_from_slice(text);
        block
    }

    #[test]
    fn a_pax_map_is_added_up_over_blocks() {
        let fits = |text: &[u8], size| {
            let map = MapReader::default().take(&block(text));
            map.map(|regions| regions.map(|regions| regions.fit(size)))
        };
        assert_eq!(fits(b"1\n0\n512\n", 512), Some(Some(true)));
        assert_eq!(fits(b"2\n0\n512\n4096\n5\n", 517), Some(Some(true)));
        assert_eq!(fits(b"1\n0\n1024\n", 512), Some(Some(false)));
        assert_eq!(fits(b"0\n", 0), Some(Some(true)));
        assert_eq!(fits(b"2\n0\n512\n", 512), None, "zero bytes are no number");
        assert_eq!(fits(b"-1\n", 0), None);
        assert_eq!(fits(b"18446744073709551615\n", 0), None);
        let mut reader = MapReader::default();
        assert_eq!(reader.take(&block(&[b"128\n".to_vec(), b"1\n".repeat(254)].concat())), Some(None));
        assert_eq!(
            reader.take(&block(b"1\n512\n")).flatten().map(|regions| regions.fit(128 * 512)),
            Some(true)
        );
    }
}
