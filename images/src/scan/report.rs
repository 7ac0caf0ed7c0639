//! What a scan answers: what the archive holds, or why it is refused.

use sha2::{Digest, Sha256};

use super::NAME_MAX;

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The member, as the archive names it; empty when it has no name yet.
    pub member: String,
    /// Where its header begins in the decompressed stream.
    pub offset: u64,
    /// Why.
    pub reason: String,
    /// What to do about it depends on this.
    pub cause: Cause,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The archive is hostile, damaged, or of a form that we do not read.
    Unsound,
    /// It holds device nodes, and they were not asked for.
    Device,
    /// It holds more than there is room for.
    TooLarge,
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content.
    pub bytes: u64,
    /// Members.
    pub members: u64,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self { bytes: u64::MAX, members: u64::MAX };
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
    /// Bytes of their content.
    pub bytes: u64,
    /// The device nodes among them, as the archive names them.
    pub devices: Vec<Vec<u8>>,
    /// The hash of the names of those that are to be unpacked, as [`NameHash`] makes it.
    pub names: [u8; 32],
    /// The hash of the decompressed stream, to be compared with what is unpacked.
    pub digest: [u8; 32],
}

/// Hashes names in the order of an archive, each without slashes at its end. A name with line breaks counts as several, as it does
/// in a list of names by lines.
#[derive(Debug, Clone, Default)]
pub struct NameHash(Sha256);

impl NameHash {
    /// Takes the next name.
    pub fn add(&mut self, name: &[u8]) {
        for line in name.split(|byte| *byte == b'\n') {
            let end = line.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            self.0.update(&line[..end]);
            self.0.update(b"\n");
        }
    }

    /// Returns the hash.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Returns the refusal of an unsound archive.
pub(super) fn refusal(member: &[u8], offset: u64, reason: &str) -> Refusal {
    Refusal { member: lossy(member), offset, reason: reason.to_owned(), cause: Cause::Unsound }
}

/// Returns a name as it may stand in a message.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_MAX)]).escape_debug().to_string()
}
