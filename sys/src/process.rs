//! Processes: born with `clone3`, spawned with exactly the descriptors that are meant, replaced by `execve`.
//!
//! - [`clone_into`]: a child in new namespaces and in its cgroup, in one call; only from a single-threaded process.
//! - [`spawn`]: a program of its own, for callers with any number of threads.
//! - [`Inherited`]: how that program takes the descriptors that it was given.
//! - [`start_time`], [`Identity`]: which process a number meant, across reuse of numbers and reboots.
//!
//! What it does not do: it moves no process between cgroups; writing `cgroup.procs` waits for a grace period of RCU
//! (5 to 17 ms), being born in the right one does not.
#![expect(unsafe_code, reason = "clone3, close_range and taking inherited descriptors have no safe wrappers")]

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::CloneFlags;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::call::{CallError, CallExt, Result};

/// Children of [`clone_into`] exit so when the code that they ran came back by a panic.
const CHILD_PANICKED: i32 = 255;

/// Where and how a child is born.
#[derive(Debug, Clone, Copy)]
pub struct Birth<'a> {
    /// The namespaces that are new.
    pub namespaces: CloneFlags,
    /// The cgroup (version 2) in which it is born; `None` is the caller's own.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A child: its number and the descriptor that means it for ever.
#[derive(Debug)]
pub struct Child {
    /// Its number in the caller's pid namespace.
    pub pid: u32,
    /// Its process descriptor.
    pub pidfd: OwnedFd,
}

/// Makes a child that runs `work` and never returns.
///
/// # Behavior
/// Handled signals are back at their defaults in the child. Memory is copied, so `work` may allocate: that is legal
/// because the process has one thread, which is checked. On Linux before 5.7 (no birth in a cgroup) the call fails with
/// `EINVAL`; the caller decides about a fallback.
///
/// # Errors
/// `EDEADLK` in a process with several threads; else what `clone3` says.
pub fn clone_into(birth: Birth<'_>, work: impl FnOnce() -> Infallible) -> Result<Child> {
    let shown = || format!("clone3({:?}, cgroup={})", birth.namespaces, birth.cgroup.is_some());
    if thread_count()? != 1 {
        return Err(CallError::new(format!("{} with several threads", shown()), Errno::DEADLK));
    }
    let mut pidfd: RawFd = -1;
    let mut arguments = Clone3 {
        flags: flag_bits(birth.namespaces) | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        ..Clone3::default()
    };
    if let Some(cgroup) = birth.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: clone3(2) reads `size_of::<Clone3>()` bytes and writes one descriptor to `pidfd`, which lives on. Without
    // `CLONE_VM` the child has its own copy of memory; without a stack it continues on its copy of ours. One thread
    // means that no lock of the allocator or of the standard library can be held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Clone3>()) };
    match pid {
        0 => run_child(work),
        -1 => Err(CallError::last(shown())),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: u32::try_from(pid).unwrap_or(0), pidfd })
        }
    }
}

fn run_child(work: impl FnOnce() -> Infallible) -> ! {
    // A panic must not unwind into the frames of the parent's program, of which this process has a copy.
    let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    // Its destructor is foreign code; the process ends anyway.
    std::mem::forget(panic);
    exit_now(CHILD_PANICKED)
}

/// Closes a child's copy of a descriptor that its parent owns.
///
/// # Behavior
/// For the work of [`clone_into`] only: the owner is in a frame of the parent's that the child never returns to, so nobody
/// uses or drops the number there again. Without it a child holds the parent's end of their channel open itself and never
/// sees that the parent is gone.
pub fn close_parents(fd: BorrowedFd<'_>) {
    // SAFETY: close(2) takes any number; whoever owns this one is out of reach, as the caller promises.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Ends the process at once: nothing that it copied from its parent is flushed or dropped.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes any number and does not return.
    unsafe { libc::_exit(code) }
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, as far as Linux 5.7 has it.
#[repr(C)]
#[derive(Debug, Default)]
struct Clone3 {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn flag_bits(flags: CloneFlags) -> u64 {
    u64::from(flags.bits().unsigned_abs())
}

/// Returns how many threads this process has.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn thread_count() -> Result<u64> {
    // A directory's link count is two more than its subdirectories: one `stat` instead of a listing.
    let tasks = std::fs::metadata("/proc/self/task").of_call(|| "stat(\"/proc/self/task\")".to_owned())?;
    Ok(tasks.nlink().saturating_sub(2))
}

/// Starts `program` as a child with exactly these descriptors: `descriptors[n]` becomes number `n`.
///
/// # Behavior
/// Works from a process with any number of threads. Further descriptors of the caller that are not close-on-exec would
/// be inherited: the program closes them first thing ([`Inherited::take`]). Signals are unblocked and at their
/// defaults. The caller reaps the child.
///
/// # Errors
/// `ENOENT` and `EACCES` for the program, `EMFILE`, `EAGAIN`.
pub fn spawn(
    program: &Path,
    arguments: &[CString],
    environment: &[CString],
    descriptors: &[BorrowedFd<'_>],
) -> Result<Pid> {
    let shown = || format!("posix_spawn({program:?})");
    // First away from the numbers that are assigned, so that no assignment overwrites a source.
    let sources = descriptors.iter().map(|fd| above(*fd, SAFE_NUMBER)).collect::<Result<Vec<_>>>()?;
    let spawned = || -> nix::Result<nix::unistd::Pid> {
        let mut actions = PosixSpawnFileActions::init()?;
        for (number, source) in (0..).zip(&sources) {
            actions.add_dup2(source.as_raw_fd(), number)?;
        }
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_sigmask(&nix::sys::signal::SigSet::empty())?;
        attributes.set_sigdefault(&nix::sys::signal::SigSet::all())?;
        attributes
            .set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        nix::spawn::posix_spawn(program, &actions, &attributes, arguments, environment)
    };
    let pid = spawned().of_call(shown)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| CallError::new(shown(), Errno::CHILD))
}

const SAFE_NUMBER: RawFd = 64;

fn above(fd: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, number)
        .of_call(|| format!("fcntl({}, F_DUPFD_CLOEXEC, {number})", fd.as_raw_fd()))
}

/// The descriptors that a program was given by [`spawn`] behind its standard three.
#[derive(Debug)]
pub struct Inherited(Vec<OwnedFd>);

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Inherited {
    /// Takes descriptors 3 to `3 + count` and closes every further one.
    ///
    /// # Behavior
    /// To be called once, before the program opens anything.
    ///
    /// # Errors
    /// `EBADF` when one of them is not open, `EBUSY` at a second call.
    pub fn take(count: u32) -> Result<Self> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(CallError::new("taking inherited descriptors twice", Errno::BUSY));
        }
        close_from(3 + count)?;
        let mut taken = Vec::new();
        for number in 3..RawFd::try_from(3 + count).unwrap_or(RawFd::MAX) {
            // SAFETY: nothing in this program owns the number: it was open before `main`, this is the only taker
            // (`TAKEN`), and a closed number is found out by the call below before it is wrapped for good.
            let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)
                .of_call(|| format!("fcntl({number}, F_SETFD, FD_CLOEXEC)"))?;
            // SAFETY: as above; it is open.
            taken.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
        taken.reverse();
        Ok(Self(taken))
    }

    /// Returns the next one, in the order of their numbers.
    ///
    /// # Errors
    /// `EBADF` when all were returned.
    pub fn take_next(&mut self) -> Result<OwnedFd> {
        self.0.pop().ok_or_else(|| CallError::new("an inherited descriptor", Errno::BADF))
    }
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_from(first: u32) -> Result<()> {
    close_range(first, 0)
}

/// Marks every descriptor from `first` on as close-on-exec.
///
/// # Errors
/// `EINVAL` before Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    close_range(first, CLOSE_RANGE_CLOEXEC)
}

const CLOSE_RANGE_CLOEXEC: u32 = 4;

fn close_range(first: u32, flags: u32) -> Result<()> {
    // SAFETY: close_range(2) takes three numbers. Who closes owned descriptors so breaks their owners; the callers above
    // are used at the very start of a program, and in a child that will only exec.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(CallError::last(format!("close_range({first}, ~0, {flags})"))) }
}

/// Makes `fd` the descriptor `number` (0, 1 or 2) of the process.
///
/// # Errors
/// `EINVAL` for another number.
pub fn replace_standard(fd: impl AsFd, number: u8) -> Result<()> {
    let result = match number {
        0 => rustix::stdio::dup2_stdin(fd),
        1 => rustix::stdio::dup2_stdout(fd),
        2 => rustix::stdio::dup2_stderr(fd),
        _ => Err(Errno::INVAL),
    };
    result.of_call(|| format!("dup2(fd, {number})"))
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It returned this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl Ended {
    /// Returns the exit code as a shell gives it: 128 and the signal's number for one that was killed.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        }
    }
}

/// Waits for the child behind `pidfd` and reaps it.
///
/// # Errors
/// `ECHILD` when it is not a child of ours.
pub fn reap(pidfd: impl AsFd) -> Result<Ended> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                let killed = || Ended::Killed(status.terminating_signal().unwrap_or(libc::SIGKILL));
                return Ok(status.exit_status().map_or_else(killed, Ended::Exited));
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(CallError::new("waitid(P_PIDFD)", errno)),
        }
    }
}

/// Waits for the child numbered `pid` and reaps it.
///
/// # Errors
/// `ECHILD` when it is not a child of ours, or somebody else in the program reaped it.
pub fn reap_number(pid: Pid) -> Result<()> {
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(CallError::new(format!("waitid({pid:?})"), errno)),
        }
    }
}

/// Which process a number meant: the number, and when the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Identity {
    /// Returns the identity of a living process.
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub fn of(pid: u32) -> Result<Self> {
        Ok(Self { pid, start: start_time(pid)? })
    }

    /// Returns a descriptor of the process, if it is still the same one and was not reaped.
    #[must_use]
    pub fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // In this order: whoever starts later under the number differs in its start time.
        (start_time(self.pid).ok()? == self.start).then_some(pidfd)
    }
}

/// Returns when process `pid` started, in clock ticks since boot.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn start_time(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let gone = || CallError::new(format!("read({path:?})"), Errno::SRCH);
    let text = std::fs::read(&path).map_err(|_| gone())?;
    parse_start_time(&String::from_utf8_lossy(&text)).ok_or_else(gone)
}

/// Reads field 22; the second field is a name in parentheses that may contain anything.
fn parse_start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 9 9";
        assert_eq!(parse_start_time(stat), Some(777));
        assert_eq!(parse_start_time("nonsense"), None);
    }

    #[test]
    fn an_identity_opens_its_own_process_and_no_later_one() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.open().is_some());
        assert!(Identity { start: own.start + 1, ..own }.open().is_none());
    }

    #[test]
    fn a_process_with_several_threads_may_not_clone() {
        // The test harness itself has several.
        let birth = Birth { namespaces: CloneFlags::empty(), cgroup: None };
        let error = clone_into(birth, || exit_now(0)).unwrap_err();
        assert_eq!(error.errno, Errno::DEADLK);
    }

    #[test]
    fn a_spawned_program_gets_the_descriptors_in_their_order() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let arguments = [c"sh", c"-c", c"echo out; echo err >&2; echo four >&4"].map(CString::from);
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let descriptors = [null.as_fd(), nowhere.as_fd(), nowhere.as_fd(), null.as_fd(), write.as_fd()];
        let pid = spawn(Path::new("/bin/sh"), &arguments, &[], &descriptors).unwrap();
        drop(write);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(read), &mut text).unwrap();
        reap_number(pid).unwrap();
        assert_eq!(text, "four\n");
    }
}
