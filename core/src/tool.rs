//! The one runner for programs that are not ours (`lvm`, `zfs`, `mkfs.ext4`, `rsync`, …).
//!
//! A tool is found by an absolute path in a fixed list of directories, never through the caller's `PATH`. It gets
//! `LC_ALL=C`, a fixed `PATH` and nothing else of our environment, no shell, no terminal, and standard input that is
//! empty unless given. It runs in a process group of its own with a deadline, after which the whole group is told to
//! end and then killed. A daemon that it leaves behind does not keep us waiting, because we wait for the process and
//! not for its pipes. Output beyond a limit is an error, not memory.
//!
//! It does not parse: parsers are pure functions of their backend. Arguments appear in errors, so no secret may be one.

mod supervise;

use std::ffi::{OsStr, OsString};
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Where tools are looked for, in this order.
pub const TOOL_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How long a tool may take unless told otherwise: the slowest that is normal is a `mkfs` of a large volume.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How much standard output is taken unless told otherwise.
const OUTPUT_MAX: usize = 64 << 20;

/// A program of the host, and what to install when it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    program: OsString,
    package: Option<&'static str>,
}

/// What a tool reads.
#[derive(Debug, Default)]
pub enum Input {
    /// Nothing.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// An open file, pipe or socket, from where it stands.
    File(OwnedFd),
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code: 0, or one that was accepted.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
    command: String,
}

impl Answer {
    /// Returns the standard output as text.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.stdout).map_err(|e| self.misunderstood("it is not UTF-8").with_source(e))
    }

    /// Returns the error for an answer that a parser did not understand. Never read such an answer as "absent".
    #[must_use]
    pub fn misunderstood(&self, why: &str) -> Error {
        Error::new(ErrorKind::Protocol, format!("cannot understand the answer of `{}`: {why}", self.command))
            .with_context("stdout", tail(&self.stdout))
            .with_hint("run that command by hand to see what it says; nothing was concluded from it")
    }
}

impl Tool {
    /// Returns the tool `program` (a bare name), which is in the Debian package `package`.
    #[must_use]
    pub fn new(program: &'static str, package: &'static str) -> Self {
        Self { program: program.into(), package: Some(package) }
    }

    /// Returns the program at an absolute path: a script that a user names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a relative path.
    pub fn at(path: &Path) -> Result<Self> {
        if path.is_absolute() {
            return Ok(Self { program: path.into(), package: None });
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is not an absolute path", path.display())))
    }

    /// Returns where the tool is.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] with the package to install.
    pub fn find(&self) -> Result<PathBuf> {
        // Joining an absolute path yields that path.
        let candidates = TOOL_PATH.iter().map(|directory| Path::new(directory).join(&self.program));
        let found = candidates.into_iter().find(|path| is_program(path));
        found.ok_or_else(|| {
            let name = self.program.to_string_lossy();
            let error = Error::new(ErrorKind::Unavailable, format!("there is no program `{name}`"));
            match self.package {
                Some(package) => error.with_hint(format!("run `apt install {package}`")),
                None => error.with_hint(format!("make `{name}` exist and executable")),
            }
        })
    }

    /// Begins a command line.
    #[must_use]
    pub fn call(&self) -> Call {
        Call {
            tool: self.clone(),
            arguments: Vec::new(),
            input: Input::Empty,
            accepted: vec![0],
            timeout: TIMEOUT,
            output_max: OUTPUT_MAX,
        }
    }
}

/// A command line in the making.
#[derive(Debug)]
pub struct Call {
    tool: Tool,
    arguments: Vec<OsString>,
    input: Input,
    accepted: Vec<i32>,
    timeout: Duration,
    output_max: usize,
}

impl Call {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets what it reads.
    #[must_use]
    pub fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Takes an exit code besides 0 for an answer instead of a failure.
    #[must_use]
    pub fn accept(mut self, code: i32) -> Self {
        self.accepted.push(code);
        self
    }

    /// Sets how long it may take; the context's deadline counts if it is earlier.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many bytes of standard output are taken.
    #[must_use]
    pub fn output_max(mut self, bytes: usize) -> Self {
        self.output_max = bytes;
        self
    }

    /// Runs it and waits. Blocks: call it on the pool.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when it is not installed; [`ErrorKind::Timeout`] after the deadline;
    /// [`ErrorKind::Protocol`] for too much output; [`ErrorKind::Io`] for an exit code that was not accepted. All carry
    /// the command line, the last two and the last the end of standard error.
    pub fn run(self, context: &Context) -> Result<Answer> {
        let program = self.tool.find()?;
        let command = self.command_line(&program);
        let own = Instant::now() + self.timeout;
        let deadline = context.deadline().map_or(own, |given| given.min(own));
        self.run_until(&program, &command, deadline)
            .map_err(|error| error.with_context("command", command.clone()))
    }

    fn run_until(self, program: &Path, command: &str, deadline: Instant) -> Result<Answer> {
        let cannot_run = || format!("cannot run `{command}`");
        let (stdout, stdout_end) = supervise::Capture::whole(self.output_max).or_err(cannot_run)?;
        let (stderr, stderr_end) = supervise::Capture::tail().or_err(cannot_run)?;
        let expression = duct::cmd(program, &self.arguments)
            .full_env([("LC_ALL", "C".to_owned()), ("PATH", TOOL_PATH.join(":"))])
            .dir("/")
            .stdout_file(stdout_end)
            .stderr_file(stderr_end)
            .before_spawn(|child| {
                child.process_group(0);
                Ok(())
            })
            .unchecked();
        let expression = with_input(expression, self.input).or_err(cannot_run)?;
        let handle = expression.start().or_err(cannot_run)?;
        // The expression holds our copies of the pipes' far ends.
        drop(expression);
        let (ending, stdout, stderr) =
            supervise::until_exit(&handle, stdout, stderr, deadline).or_err(cannot_run)?;
        let told = |error: Error| error.with_context("stderr", tail(&stderr));
        match ending {
            supervise::Ending::TimedOut => {
                Err(told(Error::new(ErrorKind::Timeout, format!("`{command}` did not end in time"))))
            }
            supervise::Ending::TooMuch => {
                let limit = self.output_max;
                Err(told(Error::new(
                    ErrorKind::Protocol,
                    format!("`{command}` wrote more than {limit} bytes"),
                )))
            }
            supervise::Ending::Exited(status) => match status.code() {
                Some(code) if self.accepted.contains(&code) => {
                    Ok(Answer { code, stdout, stderr, command: command.to_owned() })
                }
                _ => Err(failure(command, status, &stderr)),
            },
        }
    }

    fn command_line(&self, program: &Path) -> String {
        let words =
            std::iter::once(program.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }
}

fn with_input(expression: duct::Expression, input: Input) -> std::io::Result<duct::Expression> {
    Ok(match input {
        Input::Empty => expression.stdin_null(),
        Input::File(file) => expression.stdin_file(file),
        // A file and not a pipe: nobody has to feed it, so a tool that does not read cannot block us.
        Input::Bytes(bytes) => {
            let mut file = std::fs::File::from(memfd_create("keiki-input", MemfdFlags::CLOEXEC)?);
            file.write_all(&bytes)?;
            file.rewind()?;
            expression.stdin_file(file)
        }
    })
}

fn failure(command: &str, status: ExitStatus, stderr: &[u8]) -> Error {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    };
    let said = tail(stderr);
    let last =
        said.lines().rev().find(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim()));
    Error::new(ErrorKind::Io, format!("`{command}` failed with {how}{}", last.unwrap_or_default()))
        .with_context("status", how)
        .with_context("stderr", said)
}

/// The end of an output, as text for an error.
fn tail(bytes: &[u8]) -> String {
    const SHOWN: usize = 2048;
    let start = bytes.len().saturating_sub(SHOWN);
    String::from_utf8_lossy(&bytes[start..]).trim_end().to_owned()
}

/// Quotes a word as a shell would need it, so that a person can repeat the command.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
