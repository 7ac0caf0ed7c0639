//! What a stream says about itself before anything else.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::token::Place;
use super::{TREE, not_ours};
use crate::error::Result;
use crate::name::{ContainerName, SnapshotName};
use crate::volume::{StoreKind, VolumeId};

/// More snapshots than this are nobody's.
const SECTIONS_MAX: usize = 100_000;

/// Bytes that are text nearly always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Plain(String),
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Plain)
    }
}

impl Text {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Plain(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A snapshot that the receiver has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) identity: VolumeId,
    pub(super) name: SnapshotName,
}

/// One state to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) identity: VolumeId,
    /// `None` is the head.
    pub(super) snapshot: Option<SnapshotName>,
    pub(super) created: Option<u64>,
    pub(super) comment: Option<String>,
    pub(super) config: Text,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) stream: VolumeId,
    pub(super) name: ContainerName,
    /// The sender's directory of the container, which its configuration may name.
    pub(super) home: PathBuf,
    pub(super) store: StoreKind,
    pub(super) encoding: String,
    pub(super) config: Text,
    pub(super) base: Option<Base>,
    pub(super) sections: Vec<Section>,
    /// Where in the first section it goes on, for a stream that continues another.
    pub(super) resume: Option<Place>,
}

impl Manifest {
    /// Refuses what no sender of ours writes.
    pub(super) fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        let mut identities = HashSet::new();
        let count = self.sections.len();
        if count == 0 || count > SECTIONS_MAX {
            return Err(not_ours("it holds no state, or too many"));
        }
        for (index, section) in self.sections.iter().enumerate() {
            let is_last = index + 1 == count;
            let is_new = section.snapshot.as_ref().is_none_or(|name| names.insert(name));
            if !is_new || !identities.insert(section.identity) || (section.snapshot.is_none() && !is_last) {
                return Err(not_ours("its states contradict each other"));
            }
            // New names here: the narrow rule.
            section.snapshot.iter().try_for_each(|name| SnapshotName::parse(name.as_str()).map(drop))?;
        }
        Ok(())
    }

    pub(super) fn is_tree(&self) -> bool {
        self.encoding == TREE
    }

    pub(super) fn snapshots(&self) -> Vec<SnapshotName> {
        self.sections.iter().filter_map(|section| section.snapshot.clone()).collect()
    }
}
