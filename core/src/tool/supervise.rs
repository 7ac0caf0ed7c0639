//! Waiting for one tool: its process, its two outputs and its deadline, in one `poll`.
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

/// Waits until the tool exits, writes too much or is late; in the last two cases its group is ended.
///
/// Returns how it ended and both outputs.
pub(super) fn until_exit(
    handle: &duct::Handle,
    mut stdout: Capture,
    mut stderr: Capture,
    deadline: Instant,
) -> io::Result<(Ending, Vec<u8>, Vec<u8>)> {
    let group = Group::of(handle)?;
    let ending = loop {
        if stdout.is_full() {
            group.end()?;
            break Ending::TooMuch;
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        else {
            group.end()?;
            break Ending::TimedOut;
        };
        let has_exited = wait_for_event(&group, &stdout, &stderr, left)?;
        // Looked at before the last drain, so that nothing written before the exit is missed. A pipe holds 64 KiB
        // unless its user enlarged it: sixteen rounds are four times that.
        stdout.drain(16)?;
        stderr.drain(16)?;
        if has_exited && !stdout.is_full() {
            break Ending::Exited(handle.wait()?.status);
        }
    };
    Ok((ending, stdout.bytes, stderr.bytes))
}

/// Sleeps until one of them has something to say, and tells whether the process has exited.
fn wait_for_event(group: &Group, stdout: &Capture, stderr: &Capture, left: Duration) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(&group.pidfd, PollFlags::IN)];
    let pipes = [&stdout.pipe, &stderr.pipe];
    fds.extend(pipes.into_iter().flatten().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    poll_for(&mut fds, left)?;
    Ok(!fds[0].revents().is_empty())
}

fn poll_for(fds: &mut [PollFd<'_>], left: Duration) -> io::Result<()> {
    // A duration that the kernel's type cannot hold means: wait as long as it takes.
    let timeout = Timespec::try_from(left).ok();
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
            poll_for(&mut fds, left)?;
        }
        Ok(())
    }
}
