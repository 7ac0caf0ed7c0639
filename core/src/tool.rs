//! The one runner for programs that are not ours (`lvm`, `zfs`, `mkfs.ext4`, `rsync`, …).
//!
//! A tool is found by an absolute path in a fixed list of directories, never through the caller's `PATH`. It gets
//! `LC_ALL=C`, a fixed `PATH` and nothing else of our environment, no shell, no terminal, and standard input that is
//! empty unless given. It runs in a process group of its own with a deadline, after which the whole group is told to
//! end and then killed. A daemon that it leaves behind does not keep us waiting, because we wait for the process and
//! not for its pipes. Output beyond a limit is an error, not memory.
//!
//! A stream (`zfs send`, `btrfs receive`) is carried past us, never gathered; [`Call::run_into`] and [`Call::run_from`] measure
//! the time in which nothing moves, not the whole.
//!
//! It does not parse: parsers are pure functions of their backend. Arguments appear in errors, so no secret may be one.

mod relay;
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
use relay::{Direction, Relay};
use supervise::{Capture, Ending, Ends, Limits};

/// Where tools are looked for, in this order.
pub const TOOL_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How long a tool may take unless told otherwise: the slowest that is normal is a `mkfs` of a large volume.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long a tool with a stream may move nothing unless told otherwise: the commit of what was received may take its time.
const SILENCE: Duration = Duration::from_secs(600);

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
            timeout: None,
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
    timeout: Option<Duration>,
    output_max: usize,
}

/// What a tool is connected to.
struct Connection {
    input: Input,
    /// Where its standard output goes, unless it is captured.
    output: Option<OwnedFd>,
    relay: Option<Relay>,
    limits: Limits,
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

    /// Sets how long it may take, or with a stream how long it may move nothing; the context's deadline counts if it is earlier.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
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
    pub fn run(mut self, context: &Context) -> Result<Answer> {
        let own = Instant::now() + self.timeout.unwrap_or(TIMEOUT);
        let deadline = Some(context.deadline().map_or(own, |given| given.min(own)));
        let input = std::mem::take(&mut self.input);
        let limits = Limits { deadline, silence: None };
        self.connected(|| Ok(Connection { input, output: None, relay: None, limits }))
    }

    /// Runs it, carries its standard output into `out`, and waits; the answer's `stdout` is empty. Blocks.
    ///
    /// # Behavior
    /// `out` is a pipe or a file; it is closed at the end. A reader that takes its time is waited for; a tool that writes nothing for
    /// [`timeout`](Self::timeout) while there is room is ended.
    ///
    /// # Errors
    /// As [`run`](Self::run), and that of a broken pipe when nobody reads `out`.
    pub fn run_into(mut self, context: &Context, out: OwnedFd) -> Result<Answer> {
        let (input, limits) = (std::mem::take(&mut self.input), self.limits_of_stream(context));
        self.connected(|| {
            let (relay, output) = Relay::new(Direction::FromTool, out)?;
            Ok(Connection { input, output: Some(output), relay: Some(relay), limits })
        })
    }

    /// Runs it, carries `input` into its standard input, and waits. Blocks.
    ///
    /// # Behavior
    /// `input` is a pipe, a socket or a file, read from where it stands and closed as soon as the tool does not read any more, which is
    /// no error by itself. A sender that takes its time is waited for; a tool that reads nothing for [`timeout`](Self::timeout)
    /// while there is something to read is ended.
    ///
    /// # Errors
    /// As [`run`](Self::run), and what reading `input` fails with.
    pub fn run_from(self, context: &Context, input: OwnedFd) -> Result<Answer> {
        let limits = self.limits_of_stream(context);
        self.connected(|| {
            let (relay, end) = Relay::new(Direction::ToTool, input)?;
            Ok(Connection { input: Input::File(end), output: None, relay: Some(relay), limits })
        })
    }

    fn limits_of_stream(&self, context: &Context) -> Limits {
        Limits { deadline: context.deadline(), silence: Some(self.timeout.unwrap_or(SILENCE)) }
    }

    fn connected(self, connect: impl FnOnce() -> std::io::Result<Connection>) -> Result<Answer> {
        let program = self.tool.find()?;
        let command = self.command_line(&program);
        let connection = connect().or_err(|| format!("cannot run `{command}`"));
        connection
            .and_then(|connection| self.run_with(&program, &command, connection))
            .map_err(|error| error.with_context("command", command))
    }

    fn run_with(self, program: &Path, command: &str, connection: Connection) -> Result<Answer> {
        let cannot_run = || format!("cannot run `{command}`");
        let Connection { input, output, relay, limits } = connection;
        let (stdout, stdout_end) = match output {
            None => Capture::whole(self.output_max).or_err(cannot_run)?,
            Some(output) => (Capture::none(), output),
        };
        let (stderr, stderr_end) = Capture::tail().or_err(cannot_run)?;
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
        let expression = with_input(expression, input).or_err(cannot_run)?;
        let handle = expression.start().or_err(cannot_run)?;
        // The expression holds our copies of the pipes' far ends.
        drop(expression);
        let mut ends = Ends { stdout, stderr, relay };
        let ending = supervise::until_exit(&handle, &mut ends, limits).or_err(cannot_run)?;
        self.answer(command, ending, ends.stdout.into_bytes(), ends.stderr.into_bytes())
    }

    fn answer(&self, command: &str, ending: Ending, stdout: Vec<u8>, stderr: Vec<u8>) -> Result<Answer> {
        let told = |error: Error| Err(error.with_context("stderr", tail(&stderr)));
        match ending {
            Ending::TimedOut => {
                told(Error::new(ErrorKind::Timeout, format!("`{command}` did not end in time")))
            }
            Ending::TooMuch => {
                let text = format!("`{command}` wrote more than {} bytes", self.output_max);
                told(Error::new(ErrorKind::Protocol, text))
            }
            Ending::Unread => {
                let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
                told(Error::io(format!("nobody reads what `{command}` writes"), broken))
            }
            Ending::Exited(status) => match status.code() {
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
