//! A console between two terminals: what is typed goes in, what is shown comes out, and nobody can block the loop.
//!
//! The container's side never waits for us: without a listener its output is read and dropped (or logged), so that a
//! program that writes to the console does not hang. The caller's descriptors stay in blocking mode, because they are
//! shared with its shell; they are touched only when they are ready, in small pieces.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use keiki_sys::call::{CallExt, Result};
use keiki_sys::tty::{self, RawMode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What waits in either direction; more is not read.
const PENDING_MAX: usize = 64 * 1024;
/// What is given at once to a terminal that said it is ready.
const PIECE: usize = 1024;
/// What a program reads as the end of its input.
const END_OF_TRANSMISSION: u8 = 4;
/// A log that a container fills stops there.
const LOG_MAX: u64 = 16 * 1024 * 1024;

/// Where typed text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    None,
    Standard,
}

/// Where shown text goes.
#[derive(Debug)]
pub(super) enum Output {
    Nowhere,
    Standard,
    File(File),
}

/// One console.
#[derive(Debug)]
pub(super) struct Relay {
    master: OwnedFd,
    is_open: bool,
    input: Input,
    output: Output,
    typed: Vec<u8>,
    shown: Vec<u8>,
    /// Given back when the relay ends.
    _raw: Option<RawMode>,
}

impl Relay {
    /// Connects the master of a console. The caller's terminal is in raw mode until the relay ends.
    pub(super) fn new(master: OwnedFd, input: Input, output: Output) -> Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&master).of_call(|| "fcntl(pty, F_GETFL)".to_owned())?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)
            .of_call(|| "fcntl(pty, F_SETFL, O_NONBLOCK)".to_owned())?;
        let stdin = rustix::stdio::stdin();
        let raw = if input == Input::Standard && tty::is_terminal(stdin) {
            tty::copy_window(stdin, &master);
            Some(RawMode::enter(stdin)?)
        } else {
            None
        };
        Ok(Self { master, is_open: true, input, output, typed: Vec::new(), shown: Vec::new(), _raw: raw })
    }

    /// Gives the console the size of the caller's terminal.
    pub(super) fn follow_window(&self) {
        tty::copy_window(rustix::stdio::stdin(), &self.master);
    }

    /// Returns what has to be polled.
    pub(super) fn interests(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let mut interests = Vec::with_capacity(3);
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.shown.len() < PENDING_MAX);
        flags.set(PollFlags::OUT, !self.typed.is_empty());
        if self.is_open && !flags.is_empty() {
            interests.push((self.master.as_fd(), flags));
        }
        if self.reads_input() {
            interests.push((rustix::stdio::stdin(), PollFlags::IN));
        }
        if !self.shown.is_empty() {
            interests.push((rustix::stdio::stdout(), PollFlags::OUT));
        }
        interests
    }

    fn reads_input(&self) -> bool {
        self.input == Input::Standard && self.is_open && self.typed.len() < PENDING_MAX
    }

    /// Moves what can be moved without waiting.
    pub(super) fn pump(&mut self) -> Result<()> {
        if self.reads_input() && is_ready(rustix::stdio::stdin(), PollFlags::IN) {
            self.read_input();
        }
        self.write_typed();
        self.read_shown();
        self.write_shown();
        Ok(())
    }

    fn read_input(&mut self) {
        let mut buffer = [0_u8; PIECE];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => {
                self.typed.push(END_OF_TRANSMISSION);
                self.input = Input::None;
            }
            Ok(length) => self.typed.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // The caller's terminal hung up.
            Err(_) => self.input = Input::None,
        }
    }

    fn write_typed(&mut self) {
        while !self.typed.is_empty() {
            match rustix::io::write(&self.master, &self.typed) {
                Ok(written) => drop(self.typed.drain(..written)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn read_shown(&mut self) {
        let mut buffer = [0_u8; 4096];
        while self.is_open && self.shown.len() < PENDING_MAX {
            match rustix::io::read(&self.master, &mut buffer) {
                Ok(0) => self.is_open = false,
                Ok(length) => self.keep(&buffer[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody has the other side open any more, and nobody can open it again.
                Err(_) => self.is_open = false,
            }
        }
    }

    fn keep(&mut self, text: &[u8]) {
        match &mut self.output {
            Output::Nowhere => {}
            Output::Standard => self.shown.extend_from_slice(text),
            Output::File(file) => {
                if file.metadata().is_ok_and(|facts| facts.len() < LOG_MAX) {
                    // A full disk loses log lines; it must not stop the container.
                    drop(file.write_all(text));
                }
            }
        }
    }

    fn write_shown(&mut self) {
        let stdout = rustix::stdio::stdout();
        while !self.shown.is_empty() && is_ready(stdout, PollFlags::OUT) {
            let piece = self.shown.len().min(PIECE);
            match rustix::io::write(stdout, &self.shown[..piece]) {
                Ok(written) => drop(self.shown.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.output = Output::Nowhere;
                    self.shown.clear();
                }
            }
        }
    }

    /// Shows what the console still holds after its program ended; waits for the caller's terminal.
    pub(super) fn finish(&mut self) {
        loop {
            self.read_shown();
            if self.shown.is_empty() {
                return;
            }
            let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::OUT)];
            // A reader that stays away for seconds has lost interest.
            let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
            if !poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0) {
                return;
            }
            self.write_shown();
        }
    }
}

fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}
