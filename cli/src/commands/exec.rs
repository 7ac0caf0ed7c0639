//! `keiki exec`: a command in a running container; on a terminal of its own when this process has one.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin, stdout};

use keiki_core::{Error, ErrorKind, Result};
use keiki_runtime::{AttachCommand, Terminal};

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Exec) -> Result<Exit> {
    let key = session.container(&args.name)?;
    // A pipe at either end is data that a terminal would change: line ends, echo, control characters.
    let is_interactive = stdin().is_terminal() && stdout().is_terminal();
    let command = AttachCommand {
        argv: args.command.clone(),
        environment: environment(&args.surroundings.environment)?,
        cwd: args.surroundings.cwd.clone(),
        terminal: if is_interactive { Terminal::Always } else { Terminal::Never },
        ..AttachCommand::default()
    };
    session.runtime()?.attach(&key, &command).map(Exit::of_command)
}

/// Returns `NAME=VALUE` words as pairs.
///
/// # Errors
/// `InvalidArgument` for a word without `=` or without a name.
pub(super) fn environment(words: &[OsString]) -> Result<Vec<(OsString, OsString)>> {
    words.iter().map(|word| split(word)).collect()
}

fn split(word: &OsStr) -> Result<(OsString, OsString)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) if at > 0 => {
            let (name, value) = (&bytes[..at], &bytes[at + 1..]);
            Ok((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
        }
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{}` does not set a variable", word.to_string_lossy()),
        )
        .with_hint("write `--env NAME=VALUE`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_split_at_the_first_equals_sign() {
        let pairs = environment(&["A=b=c".into(), "E=".into()]).unwrap();
        assert_eq!(pairs, [("A".into(), "b=c".into()), ("E".into(), "".into())]);
        for bad in ["A", "=b", ""] {
            assert_eq!(environment(&[bad.into()]).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
