//! Signals of a single-threaded program: blocked and read from a descriptor; reset before a foreign program takes over.
#![expect(unsafe_code, reason = "restoring a signal's default disposition has no safe wrapper")]

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::call::{CallExt, Result};

/// Signals that are blocked and arrive at a descriptor.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks `wanted` in this thread and returns where they arrive.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn block(wanted: &[Signal]) -> Result<Self> {
        let set: SigSet = wanted.iter().copied().collect();
        set.thread_block().of_call(|| "rt_sigprocmask(SIG_BLOCK)".to_owned())?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .of_call(|| "signalfd4()".to_owned())
    }

    /// Returns the next signal that has arrived.
    ///
    /// # Errors
    /// What the kernel says; there is no known case.
    pub fn next(&self) -> Result<Option<Signal>> {
        let arrived = self.0.read_signal().of_call(|| "read(signalfd)".to_owned())?;
        Ok(arrived.and_then(|info| Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sets every signal to its default and unblocks all: what a program expects that was not started by us.
///
/// # Behavior
/// `CLONE_CLEAR_SIGHAND` does not reset what is *ignored*, and Rust programs ignore `SIGPIPE`.
///
/// # Errors
/// There is no known case.
pub fn reset() -> Result<()> {
    for number in 1..=64 {
        // SAFETY: `SIG_DFL` runs no code of ours. Numbers that may not be changed (kill, stop, the two that belong to
        // the C library) are refused by the call, which is what we want.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .of_call(|| "rt_sigprocmask(SIG_SETMASK, [])".to_owned())
}

/// Sends `number` to the process behind `pidfd`.
///
/// # Errors
/// `ESRCH` when it is gone, `EINVAL` for a number that is no signal, `EPERM`.
pub fn send(pidfd: impl AsFd, number: i32) -> Result<()> {
    let shown = || format!("pidfd_send_signal(pidfd, {number})");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&pidfd.as_fd());
    // SAFETY: pidfd_send_signal(2) with a null pointer reads no memory; real-time signals, which the safe wrapper does
    // not have, are numbers like the others.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, number, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(crate::call::CallError::last(shown())) }
}

/// The first signal number that a program of this C library may use as a real-time signal.
#[must_use]
pub fn real_time_min() -> i32 {
    libc::SIGRTMIN()
}

/// Returns the number that a configuration means by `SIGPWR`, `PWR`, `SIGRTMIN+3` or `30`.
#[must_use]
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let real_time = |rest: &str, base: i32, sign: i32| {
        let offset = if rest.is_empty() { 0 } else { rest.get(1..)?.parse::<i32>().ok()? };
        let number = base + sign * offset;
        (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest, libc::SIGRTMIN(), 1);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest, libc::SIGRTMAX(), -1);
    }
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_number_and_offset() {
        let table = [
            ("SIGPWR", Some(30)),
            ("PWR", Some(30)),
            ("30", Some(30)),
            ("SIGRTMIN+3", Some(libc::SIGRTMIN() + 3)),
            ("RTMAX-1", Some(libc::SIGRTMAX() - 1)),
            ("SIGRTMIN+99", None),
            ("0", None),
            ("SIGNOPE", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
