//! Waiting for one tool: its process, its two outputs, its stream and its deadline, in one `poll`.
//!
//! The end is the end of the *process*, seen through a pidfd. Pipes are only drained: a daemon that inherited them
//! may hold them for ever. No thread, no signal handler, no sleeping.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::relay::Relay;

/// How long a group may take to end when told to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to vanish; one in an uninterruptible wait never does, and we go on.
const BURIAL: Duration = Duration::from_secs(5);

/// How much of the end of standard error is kept.
const TAIL: usize = 64 << 10;

/// How it ended.
#[derive(Debug)]
pub(super) enum Ending {
    Exited(ExitStatus),
    TimedOut,
    TooMuch,
    /// Nobody reads the stream that it writes.
    Unread,
}

/// How long a tool is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The moment at which everything ends.
    pub(super) deadline: Option<Instant>,
    /// How long it may keep others waiting without moving a byte.
    pub(super) silence: Option<Duration>,
}

impl Limits {
    /// Returns how long it may still be waited for, from `quiet_since` on; `None` is as long as it takes.
    fn left(self, quiet_since: Option<Instant>) -> Option<Duration> {
        let silent = quiet_since.zip(self.silence).map(|(since, limit)| since + limit);
        let end = [self.deadline, silent].into_iter().flatten().min()?;
        Some(end.saturating_duration_since(Instant::now()))
    }
}

/// What is kept of an output.
#[derive(Debug, Clone, Copy)]
enum Keep {
    Whole(usize),
    Tail(usize),
}

/// Our end of one output.
#[derive(Debug)]
pub(super) struct Capture {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
    keep: Keep,
}

impl Capture {
    /// Returns a capture of at most `limit` bytes, and the tool's end of it.
    pub(super) fn whole(limit: usize) -> io::Result<(Self, OwnedFd)> {
        Self::new(Keep::Whole(limit))
    }

    /// Returns a capture of the end of an output, and the tool's end of it.
    pub(super) fn tail() -> io::Result<(Self, OwnedFd)> {
        Self::new(Keep::Tail(TAIL))
    }

    /// Returns a capture of nothing: the output goes elsewhere.
    pub(super) fn none() -> Self {
        Self { pipe: None, bytes: Vec::new(), keep: Keep::Tail(0) }
    }

    /// Returns what was captured.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn new(keep: Keep) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our end: a tool does not expect `EAGAIN`.
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        Ok((Self { pipe: Some(ours), bytes: Vec::new(), keep }, theirs))
    }

    fn is_full(&self) -> bool {
        matches!(self.keep, Keep::Whole(limit) if self.bytes.len() > limit)
    }

    /// Takes what is there now, in at most `rounds` reads, so that an endless writer cannot hold us.
    fn drain(&mut self, rounds: usize) -> io::Result<()> {
        let mut chunk = [0_u8; 16 << 10];
        for _ in 0..rounds {
            let Some(pipe) = &self.pipe else { return Ok(()) };
            match rustix::io::read(pipe, &mut chunk[..]) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.take(&chunk[..count]),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.is_full() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        if let Keep::Tail(limit) = self.keep
            && self.bytes.len() > 2 * limit
        {
            self.bytes.drain(..self.bytes.len() - limit);
        }
    }
}

/// What a tool writes and reads besides its stream.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
    pub(super) relay: Option<Relay>,
}

impl Ends {
    /// Takes and moves what is there; returns whether the stream moved.
    fn advance(&mut self) -> io::Result<bool> {
        // A pipe holds 64 KiB unless its user enlarged it: sixteen rounds are four times that.
        self.stdout.drain(16)?;
        self.stderr.drain(16)?;
        Ok(match &mut self.relay {
            Some(relay) => relay.advance(16)? > 0,
            None => false,
        })
    }

    fn awaits_tool(&self) -> bool {
        self.relay.as_ref().is_none_or(Relay::awaits_tool)
    }

    fn holds_output(&self) -> bool {
        self.relay.as_ref().is_some_and(Relay::holds_output)
    }
}

/// Waits until the tool exits, writes too much, is late, or writes for nobody; in the last three cases its group is ended.
pub(super) fn until_exit(handle: &duct::Handle, ends: &mut Ends, limits: Limits) -> io::Result<Ending> {
    let group = Group::of(handle)?;
    let mut quiet_since = Some(Instant::now());
    let mut has_exited = false;
    loop {
        let left = limits.left(quiet_since);
        let early = match left {
            _ if ends.stdout.is_full() => Some(Ending::TooMuch),
            _ if ends.relay.as_ref().is_some_and(Relay::is_unread) => Some(Ending::Unread),
            Some(Duration::ZERO) => Some(Ending::TimedOut),
            _ => None,
        };
        if let Some(ending) = early {
            group.end()?;
            return Ok(ending);
        }
        // Looked at before the last drain, so that nothing written before the exit is missed.
        has_exited = wait_for_event(&group, ends, has_exited, left)? || has_exited;
        let has_moved = ends.advance()?;
        quiet_since = match quiet_since {
            _ if !ends.awaits_tool() => None,
            Some(since) if !has_moved => Some(since),
            _ => Some(Instant::now()),
        };
        let is_unread = ends.relay.as_ref().is_some_and(Relay::is_unread);
        if has_exited && !ends.stdout.is_full() && !ends.holds_output() && !is_unread {
            return Ok(Ending::Exited(handle.wait()?.status));
        }
    }
}

/// Sleeps until one of them has something to say, and tells whether the process has exited.
fn wait_for_event(group: &Group, ends: &Ends, has_exited: bool, left: Option<Duration>) -> io::Result<bool> {
    let mut fds = Vec::with_capacity(5);
    // The pidfd of a process that has exited is always ready.
    if !has_exited {
        fds.push(PollFd::new(&group.pidfd, PollFlags::IN));
    }
    let pipes = [&ends.stdout.pipe, &ends.stderr.pipe];
    fds.extend(pipes.into_iter().flatten().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    fds.extend(ends.relay.iter().flat_map(Relay::interests));
    poll_for(&mut fds, left)?;
    Ok(!has_exited && !fds[0].revents().is_empty())
}

fn poll_for(fds: &mut [PollFd<'_>], left: Option<Duration>) -> io::Result<()> {
    // A duration that the kernel's type cannot hold means: wait as long as it takes.
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The process group of a tool, which outlives nothing: the leader is not reaped before we are done with it, so that
/// its number cannot be another's.
#[derive(Debug)]
struct Group {
    leader: Pid,
    pidfd: OwnedFd,
}

impl Group {
    fn of(handle: &duct::Handle) -> io::Result<Self> {
        let pid = handle.pids().first().copied().and_then(|pid| i32::try_from(pid).ok());
        let leader =
            pid.and_then(Pid::from_raw).ok_or_else(|| io::Error::other("the tool has no process"))?;
        Ok(Self { leader, pidfd: pidfd_open(leader, PidfdFlags::empty())? })
    }

    /// Tells the group to end, kills what does not, and waits a while for its leader.
    fn end(&self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        self.wait(GRACE)?;
        // Also after a leader that obeyed: its children may not have. The leader is a zombie until it is reaped, so
        // the group's number is still its own.
        self.signal(Signal::KILL)?;
        self.wait(BURIAL)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.leader, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + time;
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        while fds[0].revents().is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Ok(());
            };
            poll_for(&mut fds, Some(left))?;
        }
        Ok(())
    }
}
