//! The monitor program: one single-threaded process a container, and the helper that attaches to one.
//!
//! It is *executed*, never forked out of a caller, so that callers may have any number of threads: it starts with
//! exactly the descriptors that it was given, an empty heap and no locks. It is told everything in a sealed memory file
//! and asks for nothing later.
//!
//! - `birth`: one start, as the parent sees it. `first_process`: the same, as the child sees it.
//! - `supervise`: from `RUNNING` to the end. `relay`: a console between two terminals.
//! - `attach`: another program in a running container.

mod attach;
mod birth;
mod devices;
mod first_process;
mod hooks;
mod identity;
mod kernel_mounts;
mod log;
mod lxc_server;
mod mounts;
mod network;
mod relay;
mod supervise;
mod user_namespace;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::Path;

use keiki_sys::process::{self, Birth, Ended, Identity, Inherited};
use keiki_sys::signal::Signals;
use nix::sched::CloneFlags;

use hooks::Told;
use log::Log;

use crate::channel;
use crate::failure::{AtStep, Failure, Step};
use crate::plan::{Report, StartPlan, Stdio};
use crate::rundir::{RunDir, RunLock, StateRecord, boot};
use crate::settings::hooks::HookKind;
use crate::settings::log::Level;
use crate::status::ContainerState;

/// The exit code of a monitor that failed; the caller has the reason from the status channel.
const FAILED: i32 = 1;

/// What the program is asked to be.
pub(crate) const START: &str = "start";
pub(crate) const RUN: &str = "run";
pub(crate) const ATTACH: &str = "attach";

/// Runs the monitor program and returns its exit code.
///
/// # Behavior
/// Not meant for people: it is started by [`Runtime`](crate::Runtime), which hands it its descriptors.
#[must_use]
pub fn main(arguments: &[String]) -> i32 {
    match arguments.first().map(String::as_str) {
        Some(START) => start(Place::Background),
        Some(RUN) => start(Place::Foreground),
        Some(ATTACH) => attach::main(),
        _ => FAILED,
    }
}

/// Runs a monitor. It is spawned while its caller still checks, and waits for the plan when it is ready.
fn start(place: Place) -> i32 {
    let Ok(status) = Inherited::take(1).and_then(|mut inherited| inherited.take_next()) else {
        return FAILED;
    };
    match place {
        Place::Background => detach(status),
        Place::Foreground => serve(status),
    }
}

/// Where a monitor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Background,
    Foreground,
}

fn serve(status: OwnedFd) -> i32 {
    match wait_for_plan(&status) {
        Ok(Some((plan, lock))) => Monitor::new(plan, Some(status), lock).run(),
        // The caller has found a reason not to start anything.
        Ok(None) => FAILED,
        Err(failure) => {
            // The caller sees the end of the channel if it cannot even be told.
            drop(channel::send(&status, &Report::Failed(failure), &[]));
            FAILED
        }
    }
}

fn wait_for_plan(status: &OwnedFd) -> Step<Option<(StartPlan, RunLock)>> {
    let Some(((), descriptors)) = channel::receive::<()>(status).at("wait for the plan")? else {
        return Ok(None);
    };
    let missing = || Failure::new("take the plan", "it came without its descriptors");
    let mut descriptors = descriptors.into_iter();
    let plan = descriptors.next().ok_or_else(missing)?;
    let lock = RunLock::inherited(descriptors.next().ok_or_else(missing)?);
    let text = keiki_sys::memfd::read_sealed(plan).at("read the plan")?;
    let plan =
        serde_json::from_slice(&text).map_err(|error| Failure::new("read the plan", error.to_string()))?;
    Ok(Some((plan, lock)))
}

/// Goes into the background: the caller reaps this process at once and never sees the one that stays.
fn detach(status: OwnedFd) -> i32 {
    let birth = Birth { namespaces: CloneFlags::empty(), cgroup: None };
    let report = status.try_clone();
    let stay = move || -> Infallible {
        // A session leader already is an error that changes nothing.
        let _: rustix::io::Result<_> = rustix::process::setsid();
        process::exit_now(serve(status))
    };
    match (process::clone_into(birth, stay).at("go into the background"), report) {
        (Ok(_), _) => 0,
        (Err(failure), Ok(status)) => {
            drop(channel::send(&status, &Report::Failed(failure), &[]));
            FAILED
        }
        (Err(_), Err(_)) => FAILED,
    }
}

/// One container, from its start to its end.
#[derive(Debug)]
struct Monitor {
    plan: StartPlan,
    run: RunDir,
    /// The caller; closed after the start in the background.
    status: Option<OwnedFd>,
    lock: Option<RunLock>,
    record: StateRecord,
    log: Log,
    /// The namespace that has hardware of the host's.
    lending: Option<OwnedFd>,
}

impl Monitor {
    fn new(plan: StartPlan, status: Option<OwnedFd>, lock: RunLock) -> Self {
        let own = Identity::of(std::process::id()).unwrap_or(Identity { pid: std::process::id(), start: 0 });
        let record = StateRecord {
            boot: boot(),
            state: ContainerState::Starting,
            monitor: own.into(),
            init: None,
            cgroups: Vec::new(),
            interfaces: Vec::new(),
            started: now(),
        };
        let run = RunDir::at(plan.run.clone());
        Self { run, plan, status, lock: Some(lock), record, log: Log::none(), lending: None }
    }

    /// Returns the exit code of the program: that of the first process in the foreground.
    fn run(mut self) -> i32 {
        match self.live() {
            Ok(ended) => {
                self.release();
                self.tell(&Report::Exited { code: ended.code() });
                self.afterwards();
                ended.code()
            }
            Err(failure) => {
                self.log.write(Level::Error, &failure);
                self.release();
                self.tell(&Report::Failed(failure));
                FAILED
            }
        }
    }

    fn live(&mut self) -> Step<Ended> {
        let signals = supervise::block_signals()?;
        self.settle()?;
        self.log = Log::open(&self.plan.settings.log, &self.plan.name)?;
        let mut reboots = supervise::Reboots::default();
        loop {
            hooks::run(&self.plan, HookKind::PreStart, &Told::default())?;
            let lived = self.live_once(&signals);
            let is_reboot = matches!(lived, Ok(supervise::End::Reboot)) && reboots.may_go_on();
            let told = Told::variable("LXC_TARGET", if is_reboot { "reboot" } else { "stop" });
            // Whatever the pre-start hooks set up is taken down, also after a start that failed.
            let after = hooks::run(&self.plan, HookKind::PostStop, &told);
            if let Err(failure) = &after {
                self.log.write(Level::Error, failure);
            }
            match lived? {
                supervise::End::Final(ended) => return Ok(ended),
                supervise::End::Reboot if is_reboot && after.is_ok() => {}
                supervise::End::Reboot => return Ok(Ended::Killed(supervise::REBOOTED)),
            }
        }
    }

    /// From a birth to a death, with nothing of the container left.
    fn live_once(&mut self, signals: &Signals) -> Step<supervise::End> {
        let filter = self.run.write_filter(&self.plan.settings.confinement.filter);
        filter.at("keep the filter of system calls").map_err(|f| f.about(self.run.path().display()))?;
        let running = self.give_birth()?;
        self.publish(ContainerState::Running)?;
        self.log.write(Level::Info, format_args!("runs, first process {}", running.pid));
        self.tell(&Report::Running { pid: running.pid });
        if self.plan.stdio == Stdio::Console {
            self.status = None;
        }
        let ended = self.supervise(running, signals)?;
        self.leave_network();
        self.log.write(Level::Info, format_args!("has ended: {ended:?}"));
        self.remove_cgroups().at("remove the cgroups")?;
        Ok(ended)
    }

    /// Makes the process what a monitor has to be.
    fn settle(&self) -> Step {
        rustix::process::chdir("/").at("change to the directory")?;
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .at("hide the monitor's memory")?;
        if self.plan.stdio == Stdio::Console {
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
            let null = null.at("open").map_err(|failure| failure.about("/dev/null"))?;
            for number in 0..3 {
                process::replace_standard(&null, number).at("close the standard descriptors")?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, state: ContainerState) -> Step {
        self.record.state = state;
        self.run.write(&self.record).at("write the state").map_err(|f| f.about(self.run.path().display()))
    }

    /// Tells the caller, if it still listens.
    fn tell(&self, report: &Report) {
        if let Some(status) = &self.status {
            // A caller that went away is told nothing; in the foreground its end ends the container.
            drop(channel::send(status, report, &[]));
        }
    }

    fn remove_cgroups(&mut self) -> keiki_sys::call::Result<()> {
        while let Some(path) = self.record.cgroups.last() {
            keiki_sys::cgroup::Cgroup::at(path).remove()?;
            self.record.cgroups.pop();
        }
        Ok(())
    }

    /// Gives back everything, the lock last.
    fn release(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        // What cannot be removed stays recorded, and the next command tries again.
        if self.remove_cgroups().is_ok() && self.record.interfaces.is_empty() {
            drop(self.run.remove(&lock));
        }
        drop(lock);
    }

    /// Becomes the program that destroys an ephemeral container.
    fn afterwards(&self) {
        if let Some(argv) = &self.plan.afterwards {
            let environment: Vec<_> = std::env::vars_os().collect();
            let ready = keiki_sys::signal::reset();
            if ready.is_ok() {
                // It is told to nobody: the container stays, stopped, and can be destroyed by hand.
                drop(crate::exec::execute(argv, &environment));
            }
        }
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads a capability or signal mask, in hexadecimal, from a process's status file.
fn mask_of(pid: u32, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
