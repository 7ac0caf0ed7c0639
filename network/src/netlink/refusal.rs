//! [`Refusal`]: what the kernel said to a request, in its own words.

use std::fmt;
use std::io;

use keiki_core::{Error, ErrorKind};
use netlink_packet_core::NlasIterator;
use rustix::io::Errno;

/// The request's header, which an answer repeats in front of the words.
const REPEATED: usize = 16;

/// `NLMSGERR_ATTR_MSG`.
const WORDS: u16 = 1;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The kernel refused it.
    Kernel {
        /// Its number for the reason.
        errno: Errno,
        /// Its words, if it has any.
        words: Option<String>,
    },
    /// The answer is not what an answer is.
    Unreadable(String),
}

impl Refusal {
    /// Returns what an answer with `code` (0, or a negative errno) says, of which `rest` follows the code.
    pub(crate) fn of_code(code: i32, rest: &[u8]) -> Option<Self> {
        match code {
            0 => None,
            -4095..=-1 => Some(Self::Kernel {
                errno: Errno::from_raw_os_error(-code),
                words: rest.get(REPEATED..).and_then(words),
            }),
            _ => Some(Self::Unreadable(format!("{code} is no errno"))),
        }
    }

    /// Returns the kernel's number, if it was the kernel that refused.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Unreadable(_) => None,
        }
    }

    /// Returns the error that says what was attempted.
    pub(crate) fn into_error(self, message: impl Into<String>) -> Error {
        let kind = match &self {
            Self::Kernel { errno, .. } => ErrorKind::from_io(&io::Error::from(*errno)),
            Self::Unreadable(_) => ErrorKind::Protocol,
        };
        Error::new(kind, message).with_source(self)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Kernel { errno: Errno::from_io_error(&error).unwrap_or(Errno::IO), words: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { errno, words: None } => write!(f, "{}", io::Error::from(*errno)),
            Self::Kernel { errno, words: Some(words) } => write!(f, "{words}: {}", io::Error::from(*errno)),
            Self::Unreadable(why) => write!(f, "cannot understand the kernel's answer: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Returns the text among the attributes of an acknowledgement.
fn words(attributes: &[u8]) -> Option<String> {
    let text = NlasIterator::new(attributes).map_while(Result::ok).find(|it| it.kind() == WORDS)?;
    let text = String::from_utf8_lossy(text.value()).trim_end_matches('\0').trim_end_matches('.').to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn the_kernels_words_are_part_of_the_error() {
        let mut rest = vec![0; REPEATED];
        rest.extend(attribute(2, &[1, 2, 3, 4]));
        rest.extend(attribute(1, b"Unknown device type.\0"));
        let refusal = Refusal::of_code(-95, &rest).unwrap();
        assert_eq!(refusal.to_string(), "Unknown device type: Operation not supported (os error 95)");
        assert_eq!(refusal.errno(), Some(Errno::OPNOTSUPP));
        let error = refusal.into_error("cannot make `eth0`");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.full_message().starts_with("cannot make `eth0`: Unknown device type: "));
    }

    #[test]
    fn an_answer_without_words_has_its_number() {
        assert!(Refusal::of_code(0, &[]).is_none());
        let refusal = Refusal::of_code(-17, &[0; 16]).unwrap();
        assert_eq!(refusal.to_string(), "File exists (os error 17)");
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_parser(code: i32, rest: Vec<u8>) {
            prop_assert_eq!(Refusal::of_code(code, &rest).is_some(), code != 0);
        }
    }
}
