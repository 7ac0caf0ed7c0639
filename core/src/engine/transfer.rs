//! `keiki send` and `keiki receive`: a container with its snapshots goes through a pipe.
//!
//! # The stream
//! ```text
//! magic and version
//! manifest     name, configuration, base, and every section to come (JSON)
//! section      one state of the root filesystem: a snapshot, or the head
//!   data …     whole, or what changed since the section before; tree-1, or a store's own form
//!   digest
//! …
//! end
//! ```
//! Every frame carries the digest of all bytes up to it, so a frame that is right proves everything before. Nothing is
//! applied from a frame that is not right, and nothing is published before the end was.
//!
//! # Identity
//! A snapshot is, wherever it goes, the volume that it was where it was taken (`keiki.identity` in its home). That is how a
//! receiver finds the base of what changed, in both directions, whatever the names are.
//!
//! # Where it is received
//! ```text
//! <lxcpath>/.keiki/incoming/<stream>/
//! ├── state                 what was sent, how far it came; replaced whole
//! ├── lock                  held while somebody receives
//! └── <name>/               an ordinary container that no list shows
//! ```
//! A new container grows there by the engine's ordinary operations, each of which is done or not done whatever kills it, and is
//! moved to its name at the very end. A stream that was cut leaves it there; [`Pending`] says how to continue it
//! or it is discarded. Into a container that exists, each section becomes a new head beside the present one and
//! then a snapshot; what was cut off is repeated from the last snapshot that arrived.
//!
//! What it does not do: it opens no connection, and it does not judge the sender. What it sends is configuration and root filesystem of a
//! container, and whoever starts that trusts the sender as one trusts an image.

mod arriving;
mod incoming;
mod manifest;
mod native;
mod receive;
mod send;
mod token;
mod wire;

use std::path::PathBuf;

use serde::Serialize;

pub use token::Continuation;

use super::request::ContainerKey;
use crate::error::{Error, ErrorKind};
use crate::name::{ContainerName, SnapshotName};
use crate::registry::StoreChoice;
use crate::volume::{Properties, StoreKind, VolumeId};

/// The form that every store can send and receive.
const TREE: &str = "tree-1";

/// In which form the sections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// The form that every keiki understands.
    #[default]
    Tree,
    /// The store's own; only the same kind of store understands it.
    Native,
}

/// Sends a container.
#[derive(Debug, Clone)]
pub struct SendContainer {
    /// Which.
    pub key: ContainerKey,
    /// The state that the receiver's head gets: a snapshot, or the present one.
    pub until: Option<SnapshotName>,
    /// A snapshot that the receiver has: only what came after it is sent.
    pub since: Option<SnapshotName>,
    /// What a receiver said when a stream was cut; `until` and `since` are its own then.
    pub resume: Option<Continuation>,
    /// In which form.
    pub encoding: Encoding,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// The container.
    pub name: ContainerName,
    /// The snapshots, in order.
    pub snapshots: Vec<SnapshotName>,
    /// Whether the present state was sent behind them.
    pub head: bool,
    /// The form of the sections.
    pub encoding: String,
    /// Bytes of the whole stream.
    pub bytes: u64,
}

/// What becomes of a head that is not what the last stream made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Divergence {
    /// The stream is refused.
    #[default]
    Refuse,
    /// What was written to it is lost.
    Overwrite,
}

/// Receives a container.
#[derive(Debug, Clone)]
pub struct ReceiveContainer {
    /// Where.
    pub lxcpath: PathBuf,
    /// Under which name; `None` is the sender's.
    pub name: Option<ContainerName>,
    /// In which store, for a new container.
    pub store: StoreChoice,
    /// The store's options.
    pub options: Properties,
    /// What becomes of a head that changed here.
    pub divergence: Divergence,
}

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The container.
    pub name: ContainerName,
    /// Its store.
    pub store: StoreKind,
    /// The snapshots that came, in order.
    pub snapshots: Vec<SnapshotName>,
    /// Whether it was made, or got what it lacked.
    pub is_new: bool,
    /// The form of the sections.
    pub encoding: String,
    /// Bytes of the whole stream.
    pub bytes: u64,
}

/// A container whose stream was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// Which stream.
    pub stream: VolumeId,
    /// The name that it will have.
    pub name: ContainerName,
    /// Sections that are here, of how many.
    pub sections: (usize, usize),
    /// What the sender is to be told; `None` while somebody receives it.
    pub token: Option<Continuation>,
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn damaged(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the stream is damaged: {}", why.into()))
        .with_hint("send it again; `keiki receive --pending` shows what can be continued")
}

fn not_ours(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, format!("this is no stream that keiki can receive: {}", why.into()))
        .with_hint("pipe `keiki send NAME` into it, of the same or an older keiki")
}
