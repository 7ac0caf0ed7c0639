//! Failures on demand, for tests: `KEIKI_FAILPOINT=STEP:kill|error|enospc`.
//!
//! Every effect of an operation announces itself by name before it happens. At the named step the process is killed, the
//! step fails, or it fails as on a full disk. Production never sets the variable, and the library reads no environment.

use std::ffi::OsStr;

use keiki_core::{Error, ErrorKind, Result};
use rustix::process::{Signal, getpid, kill_process};

/// The variable.
pub(crate) const VARIABLE: &str = "KEIKI_FAILPOINT";

/// What happens at one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failpoint {
    step: String,
    failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Kill,
    Error,
    NoSpace,
}

impl Failpoint {
    /// Reads the variable's value.
    ///
    /// # Errors
    /// `InvalidArgument` for anything but `STEP:kill`, `STEP:error` or `STEP:enospc`: a test that misspells its
    /// failure must not pass.
    pub(crate) fn parse(value: &OsStr) -> Result<Self> {
        let text = value.to_string_lossy();
        let failure = match text.rsplit_once(':') {
            Some((step, "kill")) => Some((step, Failure::Kill)),
            Some((step, "error")) => Some((step, Failure::Error)),
            Some((step, "enospc")) => Some((step, Failure::NoSpace)),
            _ => None,
        };
        match failure {
            Some((step, failure)) if !step.is_empty() => Ok(Self { step: step.to_owned(), failure }),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a failpoint"))
                .with_hint(format!("write {VARIABLE}=STEP:kill, STEP:error or STEP:enospc"))),
        }
    }

    /// Fails when `step` is the one.
    ///
    /// # Errors
    /// As the variable says.
    pub(crate) fn reach(&self, step: &str) -> Result<()> {
        if step != self.step {
            return Ok(());
        }
        match self.failure {
            Failure::Kill => {
                // As hard as it gets: no destructor runs, as in a power failure or an out-of-memory kill.
                let killed = kill_process(getpid(), Signal::KILL);
                Err(Error::new(ErrorKind::Internal, format!("cannot kill itself at `{step}`: {killed:?}")))
            }
            Failure::Error => {
                Err(Error::new(ErrorKind::Io, format!("step `{step}` failed because {VARIABLE} says so")))
            }
            Failure::NoSpace => Err(Error::io(
                format!("step `{step}` failed because {VARIABLE} says so"),
                rustix::io::Errno::NOSPC.into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failpoints_are_read_by_one_table() {
        for (text, failure) in [
            ("create.rename:kill", Failure::Kill),
            ("a:error", Failure::Error),
            ("a.b:enospc", Failure::NoSpace),
        ] {
            assert_eq!(Failpoint::parse(OsStr::new(text)).unwrap().failure, failure, "{text}");
        }
        for bad in ["", "kill", ":kill", "a:explode", "a"] {
            assert!(Failpoint::parse(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_named_step_fails() {
        let failpoint = Failpoint::parse(OsStr::new("create.rename:enospc")).unwrap();
        assert!(failpoint.reach("create.mark").is_ok());
        assert_eq!(failpoint.reach("create.rename").unwrap_err().kind(), ErrorKind::NoSpace);
    }
}
