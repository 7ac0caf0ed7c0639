//! [`CallError`]: a refused system call, as strace would print it.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// The result of a wrapped call.
pub type Result<T, E = CallError> = std::result::Result<T, E>;

/// A refused call: the call with its arguments, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The call with its arguments.
    pub call: String,
    /// Why it was refused.
    pub errno: Errno,
}

impl CallError {
    /// Returns the error of `call`.
    #[must_use]
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno }
    }

    /// Returns the error of the call that just set the thread's `errno`.
    #[must_use]
    pub fn last(call: impl Into<String>) -> Self {
        Self::new(call, Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, io::Error::from(self.errno))
    }
}

impl std::error::Error for CallError {}

impl From<CallError> for io::Error {
    /// Keeps the kind; the text is the whole message.
    fn from(error: CallError) -> Self {
        Self::new(Self::from(error.errno).kind(), error)
    }
}

/// Adds the words of the call to a failing result.
pub trait CallExt<T> {
    /// Turns the failure into a [`CallError`] that says `call()`.
    ///
    /// # Errors
    /// The failure, told.
    fn of_call(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> CallExt<T> for std::result::Result<T, Errno> {
    fn of_call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| CallError::new(call(), errno))
    }
}

impl<T> CallExt<T> for std::result::Result<T, nix::Error> {
    fn of_call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| CallError::new(call(), Errno::from_raw_os_error(errno as i32)))
    }
}

impl<T> CallExt<T> for io::Result<T> {
    fn of_call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| CallError::new(call(), Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_like_strace() {
        let error = CallError::new("chdir(\"/x\")", Errno::NOENT);
        assert_eq!(error.to_string(), "chdir(\"/x\"): No such file or directory (os error 2)");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    }
}
