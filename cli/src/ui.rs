//! The only place that writes to a terminal: data to stdout, everything else to stderr.
//!
//! A reader that goes away (`keiki ls | head -1`) is no failure: what it did not want is dropped. Any other failing
//! write of data is an error, because a script would take half a list for a whole one.

pub(crate) mod color;
pub(crate) mod format;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod tree;

use std::io::{ErrorKind as IoErrorKind, IsTerminal, Write, stderr, stdout};

use keiki_core::{Error, Result};

use crate::error::Exit;
use color::{ColorChoice, Palette, Style};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// What was done is confirmed in a line.
    Normal,
    /// Only data, warnings and errors.
    Quiet,
}

/// The two streams and how they are written.
#[derive(Debug)]
pub(crate) struct Ui {
    verbosity: Verbosity,
    out: Palette,
    err: Palette,
}

impl Ui {
    /// Returns the user interface of this process.
    pub(crate) fn new(color: ColorChoice, verbosity: Verbosity) -> Self {
        let out = Palette::new(color, stdout().is_terminal());
        let err = Palette::new(color, stderr().is_terminal());
        Self { verbosity, out, err }
    }

    /// Returns how stdout is coloured.
    pub(crate) fn palette(&self) -> Palette {
        self.out
    }

    /// Writes data, as it is.
    ///
    /// # Errors
    /// When stdout cannot take it; not when its reader has gone.
    pub(crate) fn data(&self, text: &str) -> Result<()> {
        let mut stream = stdout().lock();
        let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
        match written {
            Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
                Err(Error::io("cannot write to standard output", error))
            }
            _ => Ok(()),
        }
    }

    /// Confirms in a line what was done, unless the user wants quiet.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub(crate) fn done(&self, line: &str) -> Result<()> {
        match self.verbosity {
            Verbosity::Normal => self.data(&format!("{line}\n")),
            Verbosity::Quiet => Ok(()),
        }
    }

    /// Confirms in a line what was done by a verb whose data fills stdout, unless the user wants quiet.
    pub(crate) fn done_aside(&self, line: &str) {
        if self.verbosity == Verbosity::Normal {
            complain(&format!("{line}\n"));
        }
    }

    /// Prints a usage error, or the help that was asked for, and returns the exit code that goes with it.
    ///
    /// # Errors
    /// When the stream cannot take it.
    pub(crate) fn usage(&self, error: &clap::Error) -> Result<Exit> {
        error.print().map_err(|e| Error::io("cannot write", e))?;
        Ok(Exit::of_command(error.exit_code()))
    }

    /// Warns of something that did not stop the operation.
    pub(crate) fn warning(&self, text: &str) {
        let text = without_numbers(text);
        complain(&format!("{} {text}\n", self.err.paint(Style::Warning, "warning:")));
    }

    /// Prints an error: what, the facts, the hints.
    pub(crate) fn error(&self, error: &Error) {
        let message = without_numbers(&error.full_message());
        let mut text = format!("{} {message}\n", self.err.paint(Style::Error, "error:"));
        for (key, value) in error.context() {
            text.push_str(&format!("  {key}: {}\n", without_numbers(value)));
        }
        for hint in shortened(error.hints()) {
            text.push_str(&format!("{} {hint}\n", self.err.paint(Style::Hint, "hint:")));
        }
        complain(&text);
    }
}

/// Returns hints that fit a screen: of many, the first ones and the last, which reaches furthest.
fn shortened(hints: &[String]) -> Vec<String> {
    const SHOWN: usize = 3;
    match hints {
        [first @ .., last] if first.len() > SHOWN + 1 => {
            let more = format!("({} more like these)", first.len() - SHOWN);
            first[..SHOWN].iter().cloned().chain([more, last.clone()]).collect()
        }
        _ => hints.to_vec(),
    }
}

/// Returns a message without the ` (os error 28)` that Rust puts behind the kernel's words: the words say it already.
pub(crate) fn without_numbers(message: &str) -> String {
    const MARK: &str = " (os error ";
    let mut text = String::new();
    let mut rest = message;
    while let Some((before, behind)) = rest.split_once(MARK) {
        text.push_str(before);
        match behind.split_once(')') {
            Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest = after,
            _ => {
                text.push_str(MARK);
                rest = behind;
            }
        }
    }
    text.push_str(rest);
    text
}

/// Writes to stderr. When even that fails there is nobody left to tell.
fn complain(text: &str) {
    stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_hints_become_five_lines() {
        let hints = |count: u32| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(shortened(&hints(100)), ["1", "2", "3", "(96 more like these)", "100"]);
        assert_eq!(shortened(&hints(5)), hints(5));
        assert_eq!(shortened(&[]), hints(0));
    }

    #[test]
    fn numbers_of_the_kernel_are_left_out_and_nothing_else() {
        for (text, shown) in [
            ("no space (os error 28): x (os error 5)", "no space: x"),
            ("a (os error x) b", "a (os error x) b"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_numbers(text), shown);
        }
    }
}
