//! Terminals: pairs made from a descriptor, never from a path; raw mode that is given back.

use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::call::{CallExt, Result};

/// A pseudo-terminal.
#[derive(Debug)]
pub struct Pair {
    /// The side of the emulator.
    pub master: OwnedFd,
    /// The side of the program.
    pub peer: OwnedFd,
}

impl Pair {
    /// Unlocks `master` and opens its other side from the descriptor: a `/dev/pts` that a container filled with other
    /// things cannot get in between.
    ///
    /// # Errors
    /// `ENOTTY` when it is no multiplexer, `EIO` when its file system is gone.
    pub fn of(master: OwnedFd) -> Result<Self> {
        rustix::pty::unlockpt(&master).of_call(|| "ioctl(ptmx, TIOCSPTLCK)".to_owned())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)
            .of_call(|| "ioctl(ptmx, TIOCGPTPEER)".to_owned())?;
        Ok(Self { master, peer })
    }

    /// Makes a pair on the host's `/dev/pts`.
    ///
    /// # Errors
    /// `ENOSPC` when `kernel.pty.max` is reached.
    pub fn of_host() -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        Self::of(rustix::pty::openpt(flags).of_call(|| "open(\"/dev/ptmx\")".to_owned())?)
    }
}

/// Makes `terminal` the controlling terminal of this session's leader.
///
/// # Errors
/// `EPERM` unless the process leads a session without a terminal.
pub fn control(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).of_call(|| "ioctl(tty, TIOCSCTTY)".to_owned())
}

/// Returns whether `fd` is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Gives `to` the window size of `from`, if that has one.
pub fn copy_window(from: impl AsFd, to: impl AsFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(from) {
        // The size is a convenience: a program that asks finds 0 by 0 and assumes its default.
        let _: Result<(), _> = rustix::termios::tcsetwinsize(to, size);
    }
}

/// Sets the window size of `terminal`.
///
/// # Errors
/// `ENOTTY`.
pub fn set_window(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).of_call(|| "ioctl(tty, TIOCSWINSZ)".to_owned())
}

/// A terminal in raw mode, until it is dropped.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts `terminal` into raw mode.
    ///
    /// # Behavior
    /// What was typed ahead stays: the modes change when output is drained, input is not discarded.
    ///
    /// # Errors
    /// `ENOTTY`; `EIO` in a background process group.
    pub fn enter(terminal: impl AsFd) -> Result<Self> {
        let terminal =
            terminal.as_fd().try_clone_to_owned().of_call(|| "fcntl(tty, F_DUPFD_CLOEXEC)".to_owned())?;
        let before = rustix::termios::tcgetattr(&terminal).of_call(|| "ioctl(tty, TCGETS)".to_owned())?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Drain, &raw)
            .of_call(|| "ioctl(tty, TCSETSW)".to_owned())?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing is left to tell it to: the terminal is gone, or it is not ours any more.
        let _: Result<(), _> =
            rustix::termios::tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_mode_is_given_back_and_typed_ahead_input_stays() {
        let Ok(pair) = Pair::of_host() else {
            println!("skipped: needs /dev/ptmx");
            return;
        };
        let local = |fd: &OwnedFd| {
            rustix::termios::tcgetattr(fd).unwrap().local_modes.contains(rustix::termios::LocalModes::ICANON)
        };
        assert!(local(&pair.peer));
        rustix::io::write(&pair.master, b"early").unwrap();
        let raw = RawMode::enter(&pair.peer).unwrap();
        assert!(!local(&pair.peer));
        let mut text = [0_u8; 16];
        let length = rustix::io::read(&pair.peer, &mut text).unwrap();
        assert_eq!(&text[..length], b"early");
        drop(raw);
        assert!(local(&pair.peer));
    }

    #[test]
    fn window_sizes_are_copied() {
        let (Ok(one), Ok(other)) = (Pair::of_host(), Pair::of_host()) else {
            println!("skipped: needs /dev/ptmx");
            return;
        };
        set_window(&one.master, 33, 44).unwrap();
        copy_window(&one.peer, &other.master);
        let size = rustix::termios::tcgetwinsize(&other.peer).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (33, 44));
    }
}
