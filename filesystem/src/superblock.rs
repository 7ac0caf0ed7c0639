//! Superblocks, read without a tool: what is on a device, how large it believes to be, and who it is.
//!
//! `blkid` would cost a process and caches what it saw. The layouts are those of the kernel's documentation
//! (`filesystems/ext4/super.rst`, `xfs_format.h`, `btrfs_tree.h`) and have not moved in twenty years.

use std::fs::File;
use std::io::ErrorKind as IoKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use keiki_core::units::Bytes;
use keiki_core::{Result, ResultExt};
use uuid::Uuid;

use crate::FileSystemType;

/// How many bytes of a device's beginning hold everything that is looked at.
pub const HEAD_LEN: usize = BTRFS_AT + 4096;

const EXT4_AT: usize = 1024;
const EXT4_MAGIC: u16 = 0xEF53;
const EXT4_INCOMPAT_64BIT: u32 = 0x80;
const EXT4_INCOMPAT_CSUM_SEED: u32 = 0x2000;
const EXT4_INCOMPAT_RECOVER: u32 = 0x4;
const EXT4_RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const EXT4_STATE_CLEAN: u16 = 1;
const BTRFS_AT: usize = 0x1_0000;
const BTRFS_MAGIC: &[u8] = b"_BHRfS_M";
/// No block size of the three is beyond this; what says so is not a superblock.
const BLOCK_SIZE_MAX: u64 = 1 << 16;

/// What a file system says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Its type; ext2 and ext3 read as [`FileSystemType::Ext4`].
    pub fstype: FileSystemType,
    /// The identity that users see.
    pub uuid: Uuid,
    /// How large it is, which may be less than its device.
    pub size: Bytes,
}

/// Reads the superblock of the file system on `device`; `None` when it holds none of the three.
///
/// # Errors
/// When the device cannot be opened or read.
pub fn probe(device: &Path) -> Result<Option<Superblock>> {
    Ok(parse(&read_head(device)?))
}

/// Finds the superblock in the beginning of a device. Pure; a beginning shorter than [`HEAD_LEN`] is looked at as far as it goes.
#[must_use]
pub fn parse(head: &[u8]) -> Option<Superblock> {
    // `mkfs` wipes what was there before it only in part: xfs writes at 0, ext4 at 1 KiB, btrfs at 64 KiB. The tools of all three
    // wipe the magics of the others, so at most one is found.
    xfs(head).or_else(|| btrfs(head)).or_else(|| ext4(head))
}

/// Returns whether an ext4 must be checked before its identity can be changed: its journal is not replayed, or every
/// checksum in it depends on the identity. False for everything else.
pub(crate) fn needs_check(head: &[u8]) -> bool {
    let bytes = Field(head.get(EXT4_AT..).unwrap_or_default());
    let is_clean = bytes.le16(0x3A) == Some(EXT4_STATE_CLEAN);
    let incompatible = bytes.le32(0x60).unwrap_or_default();
    let read_only_compatible = bytes.le32(0x64).unwrap_or_default();
    let checksums_move = read_only_compatible & EXT4_RO_COMPAT_METADATA_CSUM != 0
        && incompatible & EXT4_INCOMPAT_CSUM_SEED == 0;
    ext4(head).is_some() && (!is_clean || incompatible & EXT4_INCOMPAT_RECOVER != 0 || checksums_move)
}

pub(crate) fn read_head(device: &Path) -> Result<Vec<u8>> {
    let file = File::open(device).or_err(|| format!("cannot open `{}`", device.display()))?;
    let mut head = vec![0; HEAD_LEN];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) => return Err(error).or_err(|| format!("cannot read `{}`", device.display())),
        }
    }
    head.truncate(filled);
    Ok(head)
}

fn ext4(head: &[u8]) -> Option<Superblock> {
    let bytes = Field(head.get(EXT4_AT..)?);
    if bytes.le16(0x38)? != EXT4_MAGIC {
        return None;
    }
    let has_high = bytes.le32(0x60)? & EXT4_INCOMPAT_64BIT != 0;
    let high = if has_high { u64::from(bytes.le32(0x150)?) << 32 } else { 0 };
    let block_size = 1024_u64.checked_shl(bytes.le32(0x18)?).filter(|size| *size <= BLOCK_SIZE_MAX)?;
    let size = (u64::from(bytes.le32(0x4)?) | high).checked_mul(block_size)?;
    found(FileSystemType::Ext4, bytes.uuid(0x68)?, size)
}

fn xfs(head: &[u8]) -> Option<Superblock> {
    let bytes = Field(head);
    if bytes.slice::<4>(0)? != *b"XFSB" {
        return None;
    }
    let block_size = u64::from(u32::from_be_bytes(bytes.slice(4)?));
    let blocks = u64::from_be_bytes(bytes.slice(8)?);
    let is_plausible = block_size.is_power_of_two() && (512..=BLOCK_SIZE_MAX).contains(&block_size);
    let size = blocks.checked_mul(block_size).filter(|_| is_plausible)?;
    found(FileSystemType::Xfs, bytes.uuid(32)?, size)
}

fn btrfs(head: &[u8]) -> Option<Superblock> {
    let bytes = Field(head.get(BTRFS_AT..)?);
    if bytes.slice::<8>(0x40)? != *BTRFS_MAGIC {
        return None;
    }
    found(FileSystemType::Btrfs, bytes.uuid(0x20)?, u64::from_le_bytes(bytes.slice(0x70)?))
}

fn found(fstype: FileSystemType, uuid: Uuid, size: u64) -> Option<Superblock> {
    (size > 0).then_some(Superblock { fstype, uuid, size: Bytes(size) })
}

/// Bytes from which fields are read; outside of them there is nothing.
struct Field<'a>(&'a [u8]);

impl Field<'_> {
    fn slice<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn le16(&self, at: usize) -> Option<u16> {
        self.slice(at).map(u16::from_le_bytes)
    }

    fn le32(&self, at: usize) -> Option<u32> {
        self.slice(at).map(u32::from_le_bytes)
    }

    fn uuid(&self, at: usize) -> Option<Uuid> {
        self.slice(at).map(Uuid::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head_with(fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD_LEN];
        for (at, bytes) in fields {
            head[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn ext4_head(blocks: u32, log_block_size: u32, incompatible: u32, high: u32) -> Vec<u8> {
        head_with(&[
            (EXT4_AT + 0x4, &blocks.to_le_bytes()),
            (EXT4_AT + 0x18, &log_block_size.to_le_bytes()),
            (EXT4_AT + 0x38, &EXT4_MAGIC.to_le_bytes()),
            (EXT4_AT + 0x3A, &EXT4_STATE_CLEAN.to_le_bytes()),
            (EXT4_AT + 0x60, &incompatible.to_le_bytes()),
            (EXT4_AT + 0x68, &[7; 16]),
            (EXT4_AT + 0x150, &high.to_le_bytes()),
        ])
    }

    #[test]
    fn sizes_are_blocks_times_block_size_with_the_high_half_only_where_it_counts() {
        let cases = [
            (ext4_head(8192, 2, 0, 1), Some(8192 * 4096)),
            (ext4_head(0, 2, EXT4_INCOMPAT_64BIT, 1), Some(1 << 44)),
            (ext4_head(8192, 99, 0, 0), None),
            (ext4_head(0, 2, 0, 0), None),
            (
                head_with(&[(0, b"XFSB"), (4, &4096_u32.to_be_bytes()), (8, &100_u64.to_be_bytes())]),
                Some(409_600),
            ),
            (head_with(&[(0, b"XFSB"), (4, &4095_u32.to_be_bytes()), (8, &100_u64.to_be_bytes())]), None),
            (head_with(&[(0, b"XFSB"), (4, &4096_u32.to_be_bytes()), (8, &[0xFF; 8])]), None),
            (head_with(&[(BTRFS_AT + 0x40, BTRFS_MAGIC), (BTRFS_AT + 0x70, &5_u64.to_le_bytes())]), Some(5)),
            (vec![0; HEAD_LEN], None),
            (Vec::new(), None),
        ];
        for (head, size) in cases {
            assert_eq!(parse(&head).map(|found| found.size.0), size);
        }
    }

    #[test]
    fn only_an_unclean_ext4_or_one_whose_checksums_move_needs_a_check() {
        let mut head = ext4_head(8192, 2, 0, 0);
        assert!(!needs_check(&head));
        head[EXT4_AT + 0x3A] = 0;
        assert!(needs_check(&head), "not unmounted");
        assert!(needs_check(&ext4_head(8192, 2, EXT4_INCOMPAT_RECOVER, 0)), "journal not replayed");
        let mut head = ext4_head(8192, 2, 0, 0);
        head[EXT4_AT + 0x65] = 4;
        assert!(needs_check(&head), "checksums without a seed");
        head[EXT4_AT + 0x61] = 0x20;
        assert!(!needs_check(&head), "checksums with a seed");
        assert!(!needs_check(&vec![0; HEAD_LEN]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut head in prop::collection::vec(any::<u8>(), 0..3000), which in 0..3_usize) {
            let magics: [(usize, &[u8]); 3] = [(0, b"XFSB"), (EXT4_AT + 0x38, &[0x53, 0xEF]), (BTRFS_AT + 0x40, BTRFS_MAGIC)];
            let (at, magic) = magics[which];
            if which == 2 {
                head.resize(HEAD_LEN, 0xA5);
            }
            if head.len() >= at + magic.len() {
                head[at..at + magic.len()].copy_from_slice(magic);
            }
            let _ignored = parse(&head);
            let _ignored = needs_check(&head);
        }
    }
}
