//! The caller's side of a start and of an attach: a plan in a sealed memory file, a program with exactly the
//! descriptors that it needs, and a wait for its report. Nothing here changes the caller's process.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::{memfd, process};
use rustix::process::Pid;
use serde::Serialize;

use crate::channel;
use crate::failure::Failure;
use crate::monitor;
use crate::plan::{AttachPlan, Report, StartPlan, Stdio};
use crate::rundir::RunLock;

/// A monitor or helper that was spawned.
#[derive(Debug)]
pub(crate) struct Spawned {
    status: OwnedFd,
    pid: Pid,
}

/// Spawns a monitor, which gets ready and waits for its plan.
pub(crate) fn monitor(program: &Path, stdio: Stdio) -> Result<Spawned> {
    if stdio != Stdio::Console {
        return spawn(program, monitor::RUN, &standard(), None);
    }
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.or_err(|| "cannot open `/dev/null`".to_owned())?;
    spawn(program, monitor::START, &[null.as_fd(); 3], None)
}

/// Spawns an attach helper.
pub(crate) fn helper(program: &Path, plan: &AttachPlan) -> Result<Spawned> {
    spawn(program, monitor::ATTACH, &standard(), Some(write_down(plan)?.as_fd()))
}

fn standard() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

fn write_down<T: Serialize>(plan: &T) -> Result<OwnedFd> {
    let text = serde_json::to_vec(plan).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, "the plan cannot be written").with_source(error)
    })?;
    memfd::sealed("keiki-plan", &text).or_err(|| "cannot write the plan".to_owned())
}

fn spawn(
    program: &Path,
    role: &str,
    stdio: &[BorrowedFd<'_>; 3],
    plan: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    let (own, theirs) = channel::pair().or_err(|| "cannot make the status channel".to_owned())?;
    let mut descriptors = stdio.to_vec();
    descriptors.extend(plan);
    descriptors.push(theirs.as_fd());
    let words = ["keiki-monitor", role].map(|word| CString::new(word).unwrap_or_default());
    let environment: Vec<_> = std::env::vars_os().collect();
    let environment =
        crate::exec::variables(&environment).or_err(|| "cannot pass the environment".to_owned())?;
    let pid = process::spawn(program, &words, &environment, &descriptors).map_err(|error| {
        Error::io(format!("cannot execute the monitor program `{}`", program.display()), error.into())
            .with_hint("install keiki-monitor beside keiki or in /usr/libexec/keiki, or set KEIKI_MONITOR")
    })?;
    Ok(Spawned { status: own, pid })
}

impl Spawned {
    /// Gives a monitor its plan and a copy of the lock.
    pub(crate) fn hand_over(&self, plan: &StartPlan, lock: &RunLock) -> Result<()> {
        let plan = write_down(plan)?;
        channel::send(&self.status, &(), &[plan.as_fd(), lock.as_fd()])
            .or_err(|| "cannot hand the plan to the monitor".to_owned())
    }

    /// Sends a monitor home that has not got a plan.
    pub(crate) fn abandon(self) {
        let Self { status, pid } = self;
        drop(status);
        drop(process::reap_number(pid));
    }

    /// Waits for the next report; `what` is said in front of a failure.
    pub(crate) fn report(&self, what: impl Fn() -> String) -> Result<Report> {
        match channel::receive::<Report>(&self.status).or_err(&what)? {
            Some((Report::Failed(failure), _)) => Err(failure.into_error(what())),
            Some((report, _)) => Ok(report),
            None => {
                let failure = Failure::new("hear from the monitor", "it ended without a report");
                Err(failure.into_error(what()).with_hint("look at the kernel's log: `dmesg | tail`"))
            }
        }
    }

    /// Waits until the program that was spawned has ended, so that no zombie stays with the caller.
    pub(crate) fn reap(&self) {
        // A caller that ignores SIGCHLD has no zombies, and somebody who reaps everything was faster.
        drop(process::reap_number(self.pid));
    }
}
