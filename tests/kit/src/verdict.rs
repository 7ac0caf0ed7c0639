//! What a case says: proven, rightly refused, not runnable here, or failed with the place in the case that noticed.
//!
//! Cases return `Result` and use `?`, so that a failure in the middle of one is a failure of the case, with its line,
//! and never a panic that would lose the other cases of the process.

use std::error::Error;
use std::fmt;
use std::panic::Location;

/// How a case was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// What is declared works.
    Works,
    /// What is not declared is refused with the typed error, and nothing changed.
    Refused,
    /// It could not run here; the text says what it needs.
    Skipped(String),
}

/// What a case returns.
pub type Verdict<T = Proof> = Result<T, Failure>;

/// Why a case failed, and which line of it noticed.
pub struct Failure {
    text: String,
    place: &'static Location<'static>,
}

impl Failure {
    /// Returns a failure that says `text`.
    #[must_use]
    #[track_caller]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), place: Location::caller() }
    }

    /// Puts what was going on in front.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.text, self.place.file(), self.place.line())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl<E: Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        // Keiki's own error prints its kind, causes and hints in its debug form.
        Self::new(format!("{error:?}"))
    }
}

/// Fails the case unless a condition holds.
#[macro_export]
macro_rules! claim {
    ($condition:expr, $($words:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err($crate::Failure::new(format!($($words)+)));
        }
    };
}

/// Fails the case unless two values are equal; both are shown.
#[macro_export]
macro_rules! claim_eq {
    ($left:expr, $right:expr, $($words:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    let words = format!($($words)+);
                    return Err($crate::Failure::new(format!("{words}: found {left:?}, expected {right:?}")));
                }
            }
        }
    };
}
