//! How a run of `keiki` ends: its exit code, and what an error looks like.

use std::process::ExitCode;

use keiki_core::Error;

use crate::ui::Ui;

/// The exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// What was asked for is done.
    pub(crate) const DONE: Self = Self(0);
    /// It was not, and why was said already.
    pub(crate) const FAILED: Self = Self(1);

    /// Returns the code of a command that ran in a container.
    ///
    /// The kernel gives parents eight bits of it; a value outside of them would be a bug below and counts as failure.
    pub(crate) fn of_command(code: i32) -> Self {
        u8::try_from(code).map_or(Self::FAILED, Self)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Prints an error and returns the exit code of its kind.
pub(crate) fn report(ui: &Ui, error: &Error) -> Exit {
    ui.error(error);
    Exit(error.kind().exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_commands_are_passed_on() {
        assert_eq!(Exit::of_command(0), Exit::DONE);
        assert_eq!(Exit::of_command(137), Exit(137));
        assert_eq!(Exit::of_command(-1), Exit::FAILED);
    }
}
