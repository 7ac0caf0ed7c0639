//! From `RUNNING` to the end: one poll loop over the first process, signals, the console, the caller and LXC's tools.
//!
//! | signal | means |
//! |---|---|
//! | `SIGUSR1` | shut down in order; in the background `SIGTERM` and `SIGINT` too |
//! | `SIGUSR2` | kill every process |
//! | `SIGWINCH` | the caller's terminal changed its size |
//!
//! In the foreground the other signals of a terminal go on to the first process, and a caller that ends takes the
//! container with it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use keiki_sys::cgroup::{Cgroup, Freeze};
use keiki_sys::process::{self, Ended};
use keiki_sys::signal::{self, Signals};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::birth::Running;
use super::hooks::{self, Told};
use super::lxc_server::LxcServer;
use super::relay::{Input, Output, Relay};
use super::{Monitor, mask_of};
use crate::failure::{AtStep, Step};
use crate::plan::Stdio;
use crate::rundir::KILL;
use crate::settings::hooks::{HookKind, Interface};
use crate::settings::log::Level;
use crate::status::ContainerState;

/// How a container came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// For good.
    Final(Ended),
    /// It asked for a new start, by `reboot(2)`.
    Reboot,
}

/// The kernel ends the first process of a pid namespace so when it called `reboot(2)` to restart; nothing else can.
pub(super) const REBOOTED: i32 = 1;

const SIGPWR: i32 = 30;

/// Counts reboots, so that a container that cannot come up does not spin.
#[derive(Debug, Default)]
pub(super) struct Reboots(Vec<Instant>);

impl Reboots {
    const MOST: usize = 5;
    const WITHIN: Duration = Duration::from_secs(10);

    pub(super) fn may_go_on(&mut self) -> bool {
        self.0.retain(|then| then.elapsed() < Self::WITHIN);
        self.0.push(Instant::now());
        self.0.len() <= Self::MOST
    }
}

/// What is polled, in the order in which it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Init,
    Signals,
    Caller,
    Relay(usize),
    Lxc(usize),
}

/// Blocks what a monitor listens to.
///
/// # Behavior
/// Before anything is started: whoever sees the container's state may signal at once, and must not kill the monitor.
pub(super) fn block_signals() -> Step<Signals> {
    Signals::block(&[
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGWINCH,
        Signal::SIGPIPE,
    ])
    .at("read signals")
}

impl Monitor {
    pub(super) fn supervise(&mut self, running: Running, signals: &Signals) -> Step<End> {
        let mut relay = self.relay(&running)?;
        let mut lxc = LxcServer::open(&self.plan);
        let mut caller_listens = self.status.is_some();
        let ended = loop {
            let ready = self.poll(&running, signals, relay.as_ref(), &lxc, caller_listens)?;
            for source in ready {
                match source {
                    Source::Init => {}
                    Source::Signals => self.hear(signals, &running, relay.as_ref())?,
                    Source::Caller => {
                        caller_listens = false;
                        self.kill(&running)?;
                    }
                    Source::Relay(_) => {}
                    Source::Lxc(at) => {
                        let state = self.record.seen_state();
                        if lxc.serve(at, &running, state, self.record.cgroups.first()) {
                            self.kill(&running)?;
                        }
                    }
                }
            }
            if let Some(relay) = &mut relay {
                relay.pump().at("relay the console")?;
            }
            if has_ended(&running.pidfd) {
                break process::reap(&running.pidfd).at("reap the first process")?;
            }
            lxc.tell(self.record.seen_state(), &self.plan.name);
        };
        if let Some(relay) = &mut relay {
            relay.finish();
        }
        let is_stopping = self.record.state == ContainerState::Stopping;
        let is_reboot = ended == Ended::Killed(REBOOTED) && !is_stopping;
        self.run_stop_hooks(&running, if is_reboot { "reboot" } else { "stop" });
        if is_reboot {
            return Ok(End::Reboot);
        }
        lxc.tell(ContainerState::Stopped, &self.plan.name);
        Ok(End::Final(ended))
    }

    /// Runs the stop hooks, which find the namespaces by descriptors of this process.
    fn run_stop_hooks(&self, running: &Running, target: &str) {
        let mut told = Told::variable("LXC_TARGET", target);
        for (name, namespace) in &running.namespaces {
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            match self.plan.settings.hooks.interface {
                Interface::Arguments => told.arguments.push(format!("{name}:{path}").into()),
                Interface::Variables => {
                    let variable = format!("LXC_{}_NS", name.to_ascii_uppercase());
                    told.variables.push((variable.into(), path.into()));
                }
            }
        }
        if let Err(failure) = hooks::run(&self.plan, HookKind::Stop, &told) {
            // The container is over; nobody waits for it any more.
            self.log.write(Level::Error, failure);
        }
    }

    fn relay(&self, running: &Running) -> Step<Option<Relay>> {
        let Some(console) = &running.console else { return Ok(None) };
        let master = console.master.try_clone().at("relay the console")?;
        let relay = match self.plan.stdio {
            Stdio::Terminal => Relay::new(master, Input::Standard, Output::Standard),
            Stdio::Console | Stdio::Inherited => {
                let log = self.plan.settings.terminals.console_log.as_ref();
                let log = log.map(|path| open_log(path)).transpose()?;
                Relay::new(master, Input::None, log.map_or(Output::Nowhere, Output::File))
            }
        };
        relay.map(Some).at("relay the console")
    }

    fn poll(
        &self,
        running: &Running,
        signals: &Signals,
        relay: Option<&Relay>,
        lxc: &LxcServer,
        caller_listens: bool,
    ) -> Step<Vec<Source>> {
        let mut sources = vec![Source::Init, Source::Signals];
        let mut fds = vec![
            PollFd::from_borrowed_fd(running.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if let Some(status) = self.status.as_ref().filter(|_| caller_listens) {
            sources.push(Source::Caller);
            fds.push(PollFd::from_borrowed_fd(status.as_fd(), PollFlags::RDHUP));
        }
        for (at, (fd, flags)) in relay.map(Relay::interests).unwrap_or_default().into_iter().enumerate() {
            sources.push(Source::Relay(at));
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        for (at, fd) in lxc.descriptors().into_iter().enumerate() {
            sources.push(Source::Lxc(at));
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at("wait for events"),
        }
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    fn hear(&mut self, signals: &Signals, running: &Running, relay: Option<&Relay>) -> Step {
        while let Some(arrived) = signals.next().at("read signals")? {
            let is_background = self.plan.stdio == Stdio::Console;
            match arrived {
                Signal::SIGUSR1 => self.halt(running)?,
                Signal::SIGUSR2 => self.kill(running)?,
                Signal::SIGTERM | Signal::SIGINT if is_background => self.halt(running)?,
                Signal::SIGWINCH => relay.into_iter().for_each(Relay::follow_window),
                Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP if !is_background => {
                    send_if_alive(running.pidfd.as_fd(), arrived as i32).at("pass a signal on")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks the first process to shut down, in the way that it understands.
    fn halt(&mut self, running: &Running) -> Step {
        self.publish(ContainerState::Stopping)?;
        self.thaw()?;
        let number = self.plan.settings.program.halt_signal.unwrap_or_else(|| halt_signal(running.pid));
        send_if_alive(running.pidfd.as_fd(), number).at("ask it to shut down")
    }

    fn kill(&mut self, running: &Running) -> Step {
        self.publish(ContainerState::Stopping)?;
        // The first process takes every other one of its pid namespace with it; the cgroup gets what joined since.
        send_if_alive(running.pidfd.as_fd(), self.plan.settings.program.stop_signal.unwrap_or(KILL))
            .at("kill it")?;
        send_if_alive(running.pidfd.as_fd(), KILL).at("kill it")?;
        match self.record.cgroups.first() {
            Some(path) => Cgroup::at(path).kill().at("kill its cgroup"),
            None => Ok(()),
        }
    }

    fn thaw(&self) -> Step {
        match self.record.cgroups.first().map(Cgroup::at) {
            Some(cgroup) if cgroup.is_frozen() => cgroup.freeze(Freeze::Off).at("resume its processes"),
            _ => Ok(()),
        }
    }
}

fn open_log(path: &std::path::Path) -> Step<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::from_raw_mode(0o640))
        .map(File::from)
        .at("open the console's log")
        .map_err(|failure| failure.about(path.display()))
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

fn send_if_alive(pidfd: BorrowedFd<'_>, number: i32) -> keiki_sys::call::Result<()> {
    match signal::send(pidfd, number) {
        Err(error) if error.errno == Errno::SRCH => Ok(()),
        other => other,
    }
}

/// Returns the signal that a first process takes for a shutdown: systemd blocks `SIGRTMIN+3` to read it from a
/// descriptor, everybody else is told that the power fails.
fn halt_signal(pid: u32) -> i32 {
    let systemd = signal::real_time_min() + 3;
    let is_blocked = mask_of(pid, "SigBlk").is_some_and(|mask| mask & (1 << (systemd - 1)) != 0);
    if is_blocked { systemd } else { SIGPWR }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reboots_are_limited() {
        let mut reboots = Reboots::default();
        assert_eq!(
            (0..6).map(|_| reboots.may_go_on()).collect::<Vec<_>>(),
            [true, true, true, true, true, false]
        );
    }
}
