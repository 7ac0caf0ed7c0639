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

/// Spawns a monitor. It holds a copy of the lock from then on.
pub(crate) fn monitor(program: &Path, plan: &StartPlan, lock: &RunLock) -> Result<Spawned> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.or_err(|| "cannot open `/dev/null`".to_owned())?;
    let stdio = match plan.stdio {
        Stdio::Console => [null.as_fd(); 3],
        Stdio::Inherited | Stdio::Terminal => standard(),
    };
    spawn(program, monitor::START, plan, &stdio, Some(lock.as_fd()))
}

/// Spawns an attach helper.
pub(crate) fn helper(program: &Path, plan: &AttachPlan) -> Result<Spawned> {
    spawn(program, monitor::ATTACH, plan, &standard(), None)
}

fn standard() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}

fn spawn<T: Serialize>(
    program: &Path,
    role: &str,
    plan: &T,
    stdio: &[BorrowedFd<'_>; 3],
    lock: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    let text = serde_json::to_vec(plan).map_err(|error| {
        Error::new(ErrorKind::InvalidArgument, "the plan cannot be written").with_source(error)
    })?;
    let memory = memfd::sealed("keiki-plan", &text).or_err(|| "cannot write the plan".to_owned())?;
    let (own, theirs) = channel::pair().or_err(|| "cannot make the status channel".to_owned())?;
    let mut descriptors = stdio.to_vec();
    descriptors.extend([memory.as_fd(), theirs.as_fd()]);
    descriptors.extend(lock);
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
