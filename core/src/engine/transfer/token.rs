//! What a receiver tells the sender of a stream that was cut: one word, to be pasted into a command.

use std::fmt;
use std::str::FromStr;

use keiki_tree::Position;
use serde::{Deserialize, Serialize};

use super::{from_hex, to_hex};
use crate::error::{Error, ErrorKind};
use crate::name::ContainerName;
use crate::volume::VolumeId;

/// How far a section came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) records: u64,
    pub(super) chain: String,
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self { records: position.records, chain: to_hex(&position.chain) }
    }
}

impl Place {
    /// Returns the position; `None` for a chain that is none.
    pub(super) fn position(&self) -> Option<Position> {
        if self.records == 0 {
            return Some(Position::default());
        }
        let chain = from_hex(&self.chain)?.try_into().ok()?;
        Some(Position { records: self.records, chain })
    }
}

/// Where a stream that was cut goes on. Prints and parses as one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Continuation(pub(super) Inner);

/// What the word says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inner {
    /// The sender's name of the container.
    pub(super) name: ContainerName,
    pub(super) stream: VolumeId,
    pub(super) encoding: String,
    /// The state that the receiver has, which the next is sent upon.
    pub(super) before: Option<VolumeId>,
    /// The states that it lacks.
    pub(super) rest: Vec<VolumeId>,
    /// Whether the last of them is the head.
    pub(super) head: bool,
    /// How much of the first it has.
    pub(super) place: Place,
}

impl Continuation {
    /// Returns the container that the sender is to send.
    #[must_use]
    pub fn container(&self) -> &ContainerName {
        &self.0.name
    }
}

impl fmt::Display for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&to_hex(&text))
    }
}

impl FromStr for Continuation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let inner: Option<Inner> = from_hex(text.trim()).and_then(|json| serde_json::from_slice(&json).ok());
        let inner = inner.filter(|inner| !inner.rest.is_empty() && inner.place.position().is_some());
        inner.map(Self).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "this is not what a receiver of a cut stream said")
                .with_hint("copy the whole word that `keiki receive --pending` prints on the receiving host")
        })
    }
}

impl From<Continuation> for String {
    fn from(token: Continuation) -> Self {
        token.to_string()
    }
}

impl TryFrom<String> for Continuation {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_that_reads_back() {
        let token = Continuation(Inner {
            name: ContainerName::parse("web1").unwrap(),
            stream: VolumeId::generate(),
            encoding: "tree-1".to_owned(),
            before: None,
            rest: vec![VolumeId::generate()],
            head: true,
            place: Position { records: 3, chain: [7; 32] }.into(),
        });
        let text = token.to_string();
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(text.parse::<Continuation>().unwrap(), token);
        for bad in ["", "zz", "7b7d", &text[..20], "\u{e4}\u{e4}"] {
            assert_eq!(bad.parse::<Continuation>().unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
