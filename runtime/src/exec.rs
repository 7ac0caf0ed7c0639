//! Replacing a process by a program of the container.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use keiki_sys::call::{CallError, Result};
use rustix::io::Errno;

/// Where programs are looked for when the environment does not say.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Executes `argv` with exactly `environment`; returns only to say why it could not.
pub(crate) fn execute(argv: &[OsString], environment: &[(OsString, OsString)]) -> CallError {
    match prepare(argv, environment) {
        Ok((arguments, variables, candidates)) => attempt(&candidates, &arguments, &variables),
        Err(error) => error,
    }
}

type Prepared = (Vec<CString>, Vec<CString>, Vec<CString>);

fn prepare(argv: &[OsString], environment: &[(OsString, OsString)]) -> Result<Prepared> {
    let program = argv.first().ok_or_else(|| CallError::new("execve()", Errno::NOENT))?;
    let arguments = argv.iter().map(|word| terminated(word)).collect::<Result<_>>()?;
    let variables = environment.iter().map(|(name, value)| variable(name, value)).collect::<Result<_>>()?;
    Ok((arguments, variables, candidates(program, environment)?))
}

/// Returns the variables as `NAME=VALUE`.
pub(crate) fn variables(environment: &[(OsString, OsString)]) -> Result<Vec<CString>> {
    environment.iter().map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: &OsStr, value: &OsStr) -> Result<CString> {
    let mut both = name.to_owned();
    both.push("=");
    both.push(value);
    terminated(&both)
}

fn terminated(word: &OsStr) -> Result<CString> {
    CString::new(word.as_bytes()).map_err(|_| CallError::new(format!("execve({word:?})"), Errno::INVAL))
}

/// Returns the files that a program's name may mean, in order.
fn candidates(program: &OsStr, environment: &[(OsString, OsString)]) -> Result<Vec<CString>> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![terminated(program)?]);
    }
    let found = environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let path = found.unwrap_or(OsStr::new(PATH));
    std::env::split_paths(path).map(|directory| terminated(directory.join(program).as_os_str())).collect()
}

fn attempt(candidates: &[CString], arguments: &[CString], variables: &[CString]) -> CallError {
    let mut errno = Errno::NOENT;
    for file in candidates {
        let Err(refused) = nix::unistd::execve(file, arguments, variables);
        let refused = Errno::from_raw_os_error(refused as i32);
        // As a shell does: a file that exists and cannot be executed is told rather than that others are missing.
        match refused {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => errno = refused,
            other => return CallError::new(format!("execve({file:?})"), other),
        }
    }
    let shown = candidates.first().filter(|_| candidates.len() == 1).or(arguments.first());
    CallError::new(format!("execve({:?})", shown.map_or(c"", CString::as_c_str)), errno)
}

/// Returns the exit code of a shell that could not execute a program for this reason.
pub(crate) fn exit_code(errno: i32) -> i32 {
    const NOT_FOUND: i32 = 127;
    const NOT_EXECUTABLE: i32 = 126;
    if errno == Errno::NOENT.raw_os_error() || errno == Errno::NOTDIR.raw_os_error() {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    }
}

/// Returns `variables` with later ones of the same name in the place of earlier ones.
pub(crate) fn merged(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut merged: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in variables {
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => merged.push((name, value)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_and_one_that_is_no_program_differ_in_errno_and_code() {
        let error = execute(&["/no/such".into()], &[]);
        assert_eq!((error.errno, exit_code(error.errno.raw_os_error())), (Errno::NOENT, 127));
        let error = execute(&["passwd".into()], &[("PATH".into(), "/nowhere:/etc".into())]);
        assert_eq!((error.errno, exit_code(error.errno.raw_os_error())), (Errno::ACCESS, 126));
        assert!(error.to_string().contains("passwd"), "{error}");
    }

    #[test]
    fn later_variables_take_the_place_of_earlier_ones() {
        let pairs = [("A", "1"), ("B", "2"), ("A", "3")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(merged(pairs), [("A", "3"), ("B", "2")].map(|(a, b)| (a.into(), b.into())));
    }
}
