//! [`Relay`]: the stream of a tool, carried between its pipe and a descriptor of the caller without passing through our memory.
//!
//! ```text
//! tool's standard output ──pipe──▶ relay ──▶ out        (run_into)
//! input ──▶ relay ──pipe──▶ tool's standard input       (run_from)
//! ```
//! The relay is there so that somebody sees whether bytes still move: a tool that was left alone with both ends could be silent for
//! ever. It also knows who keeps whom waiting: the tool, or the other end, whose patience is not ours to measure.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe may hold where we may say so: fewer turns for large streams.
const PIPE: usize = 1 << 20;

/// Moved at a time.
const CHUNK: usize = 1 << 20;

/// Which end is the tool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    FromTool,
    ToTool,
}

/// What a relay waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// That the source has bytes.
    Source,
    /// That the sink has room.
    Sink,
    /// Nothing: the source came to its end, or nobody reads the sink.
    Over,
}

/// Carries bytes from one descriptor to another, at least one of which is a pipe.
#[derive(Debug)]
pub(super) struct Relay {
    ends: Option<(OwnedFd, OwnedFd)>,
    direction: Direction,
    state: State,
    is_unread: bool,
}

impl Relay {
    /// Returns a relay to or from `caller`, and the tool's end of it.
    pub(super) fn new(direction: Direction, caller: OwnedFd) -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // Refused beyond the user's limit; the usual size serves as well.
        let _enlarged = fcntl_setpipe_size(&write, PIPE);
        let (ends, tools) = match direction {
            Direction::FromTool => ((read, caller), write),
            Direction::ToTool => ((caller, write), read),
        };
        let state = State::Source;
        Ok((Self { ends: Some(ends), direction, state, is_unread: false }, tools))
    }

    /// Returns whether bytes may still lie in the tool's pipe after its exit.
    pub(super) fn holds_output(&self) -> bool {
        self.direction == Direction::FromTool && self.state == State::Sink
    }

    /// Returns whether it is the tool that keeps the stream waiting, or its exit that is awaited.
    pub(super) fn awaits_tool(&self) -> bool {
        match (self.state, self.direction) {
            (State::Over, _) | (State::Source, Direction::FromTool) | (State::Sink, Direction::ToTool) => {
                true
            }
            (State::Source, Direction::ToTool) | (State::Sink, Direction::FromTool) => false,
        }
    }

    /// Returns whether the caller's end has no reader any more.
    pub(super) fn is_unread(&self) -> bool {
        self.is_unread && self.direction == Direction::FromTool
    }

    /// Returns what to poll for: the end that is awaited, and the sink, whose reader may go at any time.
    pub(super) fn interests(&self) -> Vec<PollFd<'_>> {
        let Some((source, sink)) = &self.ends else { return Vec::new() };
        let (read, write) = match self.state {
            State::Source => (PollFlags::IN, PollFlags::empty()),
            State::Sink => (PollFlags::empty(), PollFlags::OUT),
            State::Over => return Vec::new(),
        };
        let mut fds = vec![PollFd::from_borrowed_fd(sink.as_fd(), write)];
        // A source at its end is always ready: it is not asked while the sink is awaited.
        if self.state == State::Source {
            fds.push(PollFd::from_borrowed_fd(source.as_fd(), read));
        }
        fds
    }

    /// Moves what can be moved at once, in at most `rounds` turns, and returns how much that was.
    pub(super) fn advance(&mut self, rounds: usize) -> io::Result<u64> {
        let mut moved = 0;
        for _ in 0..rounds {
            let Some((source, sink)) = &self.ends else { return Ok(moved) };
            match splice(source, None, sink, None, CHUNK, SpliceFlags::NONBLOCK) {
                Ok(0) => self.end(),
                Ok(count) => moved += count as u64,
                Err(Errno::AGAIN) => match awaited(source, sink)? {
                    Some(state) => {
                        self.state = state;
                        return Ok(moved);
                    }
                    None => self.end_unread(),
                },
                Err(Errno::PIPE) => self.end_unread(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(moved)
    }

    fn end_unread(&mut self) {
        self.is_unread = true;
        self.end();
    }

    fn end(&mut self) {
        self.ends = None;
        self.state = State::Over;
    }
}

/// Tells which end keeps the other waiting; `None` when nobody reads the sink any more.
fn awaited(source: &OwnedFd, sink: &OwnedFd) -> io::Result<Option<State>> {
    let mut fds = [PollFd::new(source, PollFlags::IN), PollFd::new(sink, PollFlags::OUT)];
    match poll(&mut fds, Some(&Timespec::default())) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if fds[1].revents().contains(PollFlags::ERR) {
        return Ok(None);
    }
    Ok(Some(if fds[0].revents().is_empty() { State::Source } else { State::Sink }))
}
