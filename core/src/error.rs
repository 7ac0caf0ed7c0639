//! The one public error of Keiki.
//!
//! An error answers four questions: what could not be done and to what (`message`), why (`source`, in the words of
//! the kernel or the tool), what else is known (`context`), and what to run next (`hints`). [`ErrorKind`] is small and
//! `Copy`, so that exit codes and errno values are one `match` each.
//!
//! Crates below may keep small `thiserror` enums inside; they convert once, at their public edge. Nobody turns an
//! error into a string to match on it.

use std::error::Error as StdError;
use std::fmt;

/// The result of everything in Keiki that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words of the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name, size, option or combination that can never be right.
    InvalidArgument,
    /// The container, snapshot, volume or file does not exist.
    NotFound,
    /// The name is taken, or a request contradicts what exists.
    AlreadyExists,
    /// Lineage forbids it: others depend on the data.
    HasDependents,
    /// Something holds it: a lock, a mount, a running container.
    Busy,
    /// The container would have to run.
    NotRunning,
    /// The store cannot do this, and says so.
    Unsupported,
    /// The caller lacks a privilege.
    PermissionDenied,
    /// The host lacks a tool, module, file system or feature.
    Unavailable,
    /// No space, inodes or quota left.
    NoSpace,
    /// The place is mounted or opened read-only.
    ReadOnly,
    /// An object is in the way that Keiki did not make.
    Foreign,
    /// Data or metadata is damaged.
    Corrupt,
    /// A tool answered in a form that we do not understand.
    Protocol,
    /// A deadline passed.
    Timeout,
    /// The caller cancelled.
    Cancelled,
    /// A limit of the store is reached (depth, children, name length).
    LimitExceeded,
    /// The kernel refused a call.
    Io,
    /// An invariant of ours does not hold: a bug.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 19] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::HasDependents,
        Self::Busy,
        Self::NotRunning,
        Self::Unsupported,
        Self::PermissionDenied,
        Self::Unavailable,
        Self::NoSpace,
        Self::ReadOnly,
        Self::Foreign,
        Self::Corrupt,
        Self::Protocol,
        Self::Timeout,
        Self::Cancelled,
        Self::LimitExceeded,
        Self::Io,
        Self::Internal,
    ];

    /// Returns the exit code of the `keiki` command for this kind.
    ///
    /// 1 failed, 2 usage, 3 not found, 4 exists or conflict, 5 has dependents, 6 busy or locked, 7 unsupported by this
    /// store, 8 permission, 9 host not ready.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InvalidArgument => 2,
            Self::NotFound => 3,
            Self::AlreadyExists | Self::Foreign => 4,
            Self::HasDependents => 5,
            Self::Busy | Self::Timeout => 6,
            Self::Unsupported | Self::LimitExceeded => 7,
            Self::PermissionDenied => 8,
            Self::Unavailable => 9,
            Self::NotRunning
            | Self::NoSpace
            | Self::ReadOnly
            | Self::Corrupt
            | Self::Protocol
            | Self::Cancelled
            | Self::Io
            | Self::Internal => 1,
        }
    }

    /// Returns the kind that an errno of the kernel stands for.
    #[must_use]
    pub fn from_io(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound,
            std::io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            std::io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            std::io::ErrorKind::ResourceBusy => Self::Busy,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoSpace,
            std::io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            std::io::ErrorKind::TimedOut => Self::Timeout,
            std::io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}

/// What could not be done, to what, why, and what to run next.
///
/// Messages are lower case, without a final period, with names in backticks.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Returns an error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            hints: Vec::new(),
            source: None,
        }))
    }

    /// Returns an error whose kind comes from `error` and whose words say what was attempted.
    pub fn io(message: impl Into<String>, error: std::io::Error) -> Self {
        Self::new(ErrorKind::from_io(&error), message).with_source(error)
    }

    /// Adds a fact: `("dependents", "web1, web2")`.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((key, value.into()));
        self
    }

    /// Adds a line that says what to run next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Sets the cause, which is printed after the message.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts what the caller was doing in front; this error becomes its cause, its kind, context and hints stay. One that
    /// says it already stays as it is.
    #[must_use]
    pub fn while_doing(mut self, message: impl Into<String>) -> Self {
        let message = message.into();
        if self.0.message.starts_with(&message) {
            return self;
        }
        let context = std::mem::take(&mut self.0.context);
        let hints = std::mem::take(&mut self.0.hints);
        let kind = self.0.kind;
        Self(Box::new(Inner { kind, message, context, hints, source: Some(Box::new(self)) }))
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message without its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the facts, in the order in which they were added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Returns what to run next, in the order in which it was added.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// Returns the message followed by every cause, joined by `: `.
    #[must_use]
    pub fn full_message(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.full_message())?;
        for (key, value) in &self.0.context {
            write!(f, " [{key}: {value}]")?;
        }
        for hint in &self.0.hints {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// Adds words to a failing `std::io` or `rustix` result on the way out.
pub trait ResultExt<T> {
    /// Turns the failure into an [`Error`] that says `message()`, with the kernel's words as its cause.
    fn or_err(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> ResultExt<T> for std::result::Result<T, E> {
    fn or_err(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::io(message(), e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_exit_code_that_the_manual_names() {
        for kind in ErrorKind::ALL {
            assert!((1..=9).contains(&kind.exit_code()), "{kind:?}");
        }
        assert_eq!(ErrorKind::HasDependents.exit_code(), 5);
    }

    #[test]
    fn wrapping_keeps_kind_hints_and_context_and_prints_every_cause() {
        let inner = Error::io("cannot open `x`", std::io::Error::from_raw_os_error(libc_enospc()))
            .with_hint("free some space")
            .with_context("path", "x");
        let outer = inner.while_doing("cannot create `a`");
        assert_eq!(outer.kind(), ErrorKind::NoSpace);
        assert_eq!(outer.hints(), ["free some space"]);
        assert_eq!(outer.context(), [("path", "x".to_owned())]);
        assert!(outer.full_message().starts_with("cannot create `a`: cannot open `x`: No space left"));
        let again = outer.while_doing("cannot create `a`");
        assert!(again.full_message().starts_with("cannot create `a`: cannot open `x`"));
    }

    fn libc_enospc() -> i32 {
        rustix::io::Errno::NOSPC.raw_os_error()
    }
}
