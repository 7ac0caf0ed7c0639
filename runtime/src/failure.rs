//! [`Failure`]: what went wrong inside the monitor or a container's first process, as a record that becomes the caller's
//! error. Nothing of it is left in a log alone.

use std::fmt;

use keiki_core::{Error, ErrorKind};
use keiki_sys::call::CallError;
use keiki_sys::mount::MountError;
use serde::{Deserialize, Serialize};

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What was being done: `mount the rootfs`.
    pub(crate) step: String,
    /// The path that it was about, if any.
    pub(crate) path: Option<String>,
    /// The call and the kernel's words.
    pub(crate) text: String,
    /// The errno, where the kernel gave one.
    pub(crate) errno: Option<i32>,
    /// The kind of the error, where it is known better than from the errno.
    pub(crate) kind: Option<usize>,
    /// What to run next.
    pub(crate) hints: Vec<String>,
}

/// The result of a step.
pub(crate) type Step<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// Returns a failure of ours rather than of the kernel.
    pub(crate) fn new(step: &str, text: impl Into<String>) -> Self {
        Self {
            step: step.to_owned(),
            path: None,
            text: text.into(),
            errno: None,
            kind: None,
            hints: Vec::new(),
        }
    }

    /// Says which path it was about.
    pub(crate) fn about(mut self, path: impl fmt::Display) -> Self {
        self.path = Some(path.to_string());
        self
    }

    /// Returns the kind that the caller's error has.
    fn error_kind(&self) -> ErrorKind {
        let of_errno = || {
            let errno = self.errno?;
            Some(ErrorKind::from_io(&std::io::Error::from_raw_os_error(errno)))
        };
        self.kind.and_then(|at| ErrorKind::ALL.get(at).copied()).or_else(of_errno).unwrap_or(ErrorKind::Io)
    }

    /// Returns the caller's error, which says `message` in front.
    pub(crate) fn into_error(self, message: String) -> Error {
        let mut error = Error::new(self.error_kind(), message).with_context("step", self.step.clone());
        if let Some(path) = &self.path {
            error = error.with_context("path", path.clone());
        }
        let hints = self.hints.clone();
        hints.into_iter().fold(error.with_source(self), Error::with_hint)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.step)?;
        if let Some(path) = &self.path {
            write!(f, " `{path}`")?;
        }
        write!(f, ": {}", self.text)
    }
}

impl std::error::Error for Failure {}

/// Names the step that a failing call belongs to.
pub(crate) trait AtStep<T> {
    /// Turns the failure into one of `step`.
    fn at(self, step: &str) -> Step<T>;
}

impl<T> AtStep<T> for Result<T, CallError> {
    fn at(self, step: &str) -> Step<T> {
        self.map_err(|error| Failure {
            errno: Some(error.errno.raw_os_error()),
            ..Failure::new(step, error.to_string())
        })
    }
}

impl<T> AtStep<T> for Result<T, MountError> {
    fn at(self, step: &str) -> Step<T> {
        self.map_err(|error| Failure {
            errno: Some(error.errno.raw_os_error()),
            ..Failure::new(step, error.to_string())
        })
    }
}

impl<T> AtStep<T> for Result<T, rustix::io::Errno> {
    fn at(self, step: &str) -> Step<T> {
        self.map_err(|errno| CallError::new(step, errno)).map_err(|error| Failure {
            errno: Some(error.errno.raw_os_error()),
            ..Failure::new(step, std::io::Error::from(error.errno).to_string())
        })
    }
}

impl<T> AtStep<T> for std::io::Result<T> {
    fn at(self, step: &str) -> Step<T> {
        self.map_err(|error| Failure { errno: error.raw_os_error(), ..Failure::new(step, error.to_string()) })
    }
}

impl<T> AtStep<T> for keiki_core::Result<T> {
    fn at(self, step: &str) -> Step<T> {
        self.map_err(|error| Failure {
            kind: ErrorKind::ALL.iter().position(|kind| *kind == error.kind()),
            hints: error.hints().to_vec(),
            ..Failure::new(step, error.full_message())
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_failure_becomes_an_error_that_names_the_step_and_the_kernels_words() {
        let failed: Result<(), _> = Err(CallError::new("openat2(root, \"proc\")", Errno::LOOP));
        let failure = failed.at("mount").unwrap_err().about("/proc");
        let text = serde_json::to_string(&failure).unwrap();
        let error = serde_json::from_str::<Failure>(&text).unwrap().into_error("cannot start `a`".to_owned());
        assert_eq!(
            error.full_message(),
            "cannot start `a`: cannot mount `/proc`: openat2(root, \"proc\"): Too many levels of symbolic links (os error 40)"
        );
        assert_eq!(error.context(), [("step", "mount".to_owned()), ("path", "/proc".to_owned())]);
    }

    #[test]
    fn kind_and_hints_of_an_error_of_core_survive_the_way() {
        let failed: keiki_core::Result<()> =
            Err(Error::new(ErrorKind::Unavailable, "no overlay").with_hint("modprobe overlay"));
        let error = failed.at("mount the rootfs").unwrap_err().into_error("x".to_owned());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.hints(), ["modprobe overlay"]);
    }
}
