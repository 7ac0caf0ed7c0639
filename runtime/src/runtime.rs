//! [`Runtime`]: a volume composed with a configuration and a lifecycle, for callers with any number of threads.

mod control;
mod managed;
mod observe;
mod wishes;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keiki_config::LxcConfigEditor;
use keiki_core::context::Context;
use keiki_core::engine::{ContainerKey, DestroyScope, Engine, EngineOptions};
use keiki_core::lineage::DestroyPlan;
use keiki_core::mount_plan::AttachMode;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_seccomp::Program;
use keiki_sys::cgroup::Cgroup;
use keiki_sys::{signal, tty};

use crate::activity::{self, RunActivity};
use crate::launch::{self, Spawned};
use crate::lxc::{self, Sockets};
use crate::options::{
    AttachCommand, Running, RuntimeOptions, StartOptions, Started, StopMode, StopOptions, Terminal,
};
use crate::plan::{AttachPlan, Report, StartPlan, Stdio};
use crate::rundir::{RunDir, RunLock, StateRecord};
use crate::wait;
use crate::{exec, settings};

pub use wishes::StartWish;

/// How long an operation waits for another that holds the same container.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long a monitor may take to clean up after everything in its container is dead.
const CLEAN_UP_TIME: Duration = Duration::from_secs(10);
/// After this time it is looked whether a monitor is suspended and will never react.
const REACTION_TIME: Duration = Duration::from_millis(300);
/// What a monitor takes for "shut down" and "kill" (see `monitor::supervise`).
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGPWR: i32 = 30;

/// Containers that run: started, stopped, entered, watched.
#[derive(Debug)]
pub struct Runtime {
    engine: Engine,
    run: PathBuf,
    monitor: PathBuf,
    ephemeral_cleanup: Option<Vec<OsString>>,
}

impl Runtime {
    /// Opens an installation; its engine refuses to change containers that run here or under LXC's tools.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open(options: RuntimeOptions) -> Result<Self> {
        let engine = Engine::open(EngineOptions {
            registry: options.registry,
            state: options.state,
            activity: Arc::new(RunActivity::new(options.run.clone())),
            editor: Arc::new(LxcConfigEditor),
            lock_wait: LOCK_WAIT,
        })?;
        Ok(Self { engine, run: options.run, monitor: options.monitor, ephemeral_cleanup: None })
    }

    /// Sets the program, with its first arguments, that destroys a container with `lxc.ephemeral = 1` when it has stopped
    /// in the background; the lxcpath and the name are put behind as `-P LXCPATH NAME`.
    #[must_use]
    pub fn with_ephemeral_cleanup(mut self, argv: Vec<OsString>) -> Self {
        self.ephemeral_cleanup = Some(argv);
        self
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Starts a container in the background; returns when its program was executed.
    ///
    /// # Errors
    /// `Busy` when it runs already, `HasDependents` when clones stand upon its data, and whatever step of the start
    /// failed, with its name in the context and the kernel's words.
    pub fn start(&self, context: &Context, key: &ContainerKey, options: &StartOptions) -> Result<Started> {
        let launched = self.launch(context, key, options, Stdio::Console)?;
        launched.spawned.reap();
        Ok(Started { pid: launched.pid, warnings: launched.warnings })
    }

    /// Starts a container with the caller's standard descriptors and returns the exit code of its first process: 128 and
    /// the number for a signal.
    ///
    /// # Behavior
    /// Standard input and output that are terminals are connected through a terminal of the container's own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn run_foreground(
        &self,
        context: &Context,
        key: &ContainerKey,
        options: &StartOptions,
    ) -> Result<i32> {
        let stdio = if has_terminal() { Stdio::Terminal } else { Stdio::Inherited };
        let launched = self.launch(context, key, options, stdio)?;
        let result = launched.spawned.report(|| format!("cannot run container `{}`", key.name));
        launched.spawned.reap();
        match result? {
            Report::Exited { code } => Ok(code),
            other => Err(unexpected(&other)),
        }
    }

    fn launch(
        &self,
        context: &Context,
        key: &ContainerKey,
        options: &StartOptions,
        stdio: Stdio,
    ) -> Result<Launched> {
        // It gets ready while we decide whether there is anything to do for it.
        let spawned = launch::monitor(&self.monitor, stdio)?;
        match self.hand_over(context, key, options, stdio, &spawned) {
            Ok((pid, warnings)) => Ok(Launched { spawned, pid, warnings }),
            Err(error) => {
                spawned.abandon();
                Err(error)
            }
        }
    }

    /// Decides about a start, hands the plan over and waits until the container runs.
    fn hand_over(
        &self,
        context: &Context,
        key: &ContainerKey,
        options: &StartOptions,
        stdio: Stdio,
        spawned: &Spawned,
    ) -> Result<(u32, Vec<String>)> {
        self.engine.adopt(context, key)?;
        let permit = self.engine.permit_start(key)?;
        let directory = RunDir::of(&self.run, key);
        let lock = self.take(key, &directory)?;
        let planned = self.plan(context, key, options, stdio, &directory).and_then(|(plan, warnings)| {
            context.step("start.monitor")?;
            spawned.hand_over(&plan, &lock)?;
            Ok(warnings)
        });
        if planned.is_err() {
            // Nobody else knows of it yet; a directory that cannot be removed disturbs nobody.
            drop(directory.remove(&lock));
        }
        // The monitor has its own copy; ours would keep the container locked after its end.
        drop(lock);
        let warnings = planned?;
        let report = spawned.report(|| format!("cannot start container `{}`", key.name));
        drop(permit);
        match report? {
            Report::Running { pid } => Ok((pid, warnings)),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes the run lock and cleans up what a killed monitor left.
    fn take(&self, key: &ContainerKey, directory: &RunDir) -> Result<RunLock> {
        let busy = |how: &str, pid: Option<u32>| {
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            Error::new(ErrorKind::Busy, format!("container `{}` is {how}{pid}", key.name))
        };
        let Some(lock) = directory.try_lock()? else {
            let pid = directory.read()?.and_then(|record| record.init).map(|init| init.pid);
            return Err(busy(if pid.is_some() { "running already" } else { "being started" }, pid));
        };
        directory.heal(&lock)?;
        if Sockets::read()?.has(&key.lxcpath, key.name.as_str()) {
            return Err(busy("running under LXC", lxc::init_pid(key)));
        }
        Ok(lock)
    }

    fn plan(
        &self,
        context: &Context,
        key: &ContainerKey,
        options: &StartOptions,
        stdio: Stdio,
        directory: &RunDir,
    ) -> Result<(StartPlan, Vec<String>)> {
        let config = self.engine.read_config(key)?;
        let (settings, warnings) = settings::read(&config, &key.home().join("config"), key.name.as_str())?;
        let root = self.engine.attach(context, key, AttachMode::ReadWrite)?;
        let init = || settings.program.init.clone().unwrap_or_else(|| vec!["/sbin/init".into()]);
        let argv = options.command.clone().filter(|argv| !argv.is_empty()).unwrap_or_else(init);
        let mut variables: Vec<(OsString, OsString)> =
            vec![("PATH".into(), exec::PATH.into()), ("container".into(), "lxc".into())];
        if stdio == Stdio::Terminal {
            variables.extend(std::env::var_os("TERM").map(|term| ("TERM".into(), term)));
        }
        variables.extend(settings.program.environment.iter().cloned());
        variables.extend(options.environment.iter().cloned());
        let is_left_to_us = settings.ephemeral && stdio == Stdio::Console;
        let afterwards = self.ephemeral_cleanup.as_ref().filter(|_| is_left_to_us).map(|argv| {
            let behind = ["-P".into(), key.lxcpath.clone().into(), key.name.as_str().into()];
            argv.iter().cloned().chain(behind).collect()
        });
        let plan = StartPlan {
            name: key.name.to_string(),
            lxcpath: key.lxcpath.clone(),
            run: directory.path().to_owned(),
            root,
            settings,
            argv,
            environment: exec::merged(variables),
            stdio,
            afterwards,
        };
        Ok((plan, warnings))
    }

    /// Stops a container; returns when its monitor has cleaned up.
    ///
    /// # Behavior
    /// A shutdown that takes longer than its timeout becomes a kill. A monitor that does not react is killed as well.
    /// A container that is stopped already is stopped.
    ///
    /// # Errors
    /// `NotFound`, `Timeout` when the kernel does not let a process die.
    pub fn stop(&self, key: &ContainerKey, options: &StopOptions) -> Result<()> {
        let directory = RunDir::of(&self.run, key);
        if !directory.is_locked()? {
            activity::clean_up(&directory)?;
            if Sockets::read()?.has(&key.lxcpath, key.name.as_str()) {
                return stop_under_lxc(key, options);
            }
            return self.engine.container(key).map(drop);
        }
        let Some(record) = directory.read()? else {
            return Err(Error::new(ErrorKind::Busy, format!("container `{}` is being started", key.name)));
        };
        if options.mode == StopMode::Shutdown {
            tell(&record, SIGUSR1)?;
            if wait::for_end(Some(record.monitor), options.timeout)? {
                return activity::clean_up(&directory);
            }
        }
        tell(&record, SIGUSR2)?;
        if wait::for_end(Some(record.monitor), REACTION_TIME)?
            || (!record.monitor.is_suspended() && wait::for_end(Some(record.monitor), CLEAN_UP_TIME)?)
        {
            // Nothing is left to do, unless somebody killed the monitor meanwhile.
            return activity::clean_up(&directory);
        }
        kill_monitor(key, &directory, &record)
    }

    /// Runs a program in a running container and returns its exit code: 128 and the number for a signal, 126 and 127
    /// for one that could not be executed.
    ///
    /// # Errors
    /// `NotRunning` when the container does not run; else the step that failed.
    pub fn attach(&self, key: &ContainerKey, command: &AttachCommand) -> Result<i32> {
        let Inhabited { init, cgroup, filter } = self.init_of(key)?;
        let terminal = match command.terminal {
            Terminal::Always => true,
            Terminal::Never => false,
            Terminal::Auto => has_terminal(),
        };
        let mut environment = Vec::new();
        if terminal {
            environment.extend(std::env::var_os("TERM").map(|term| ("TERM".into(), term)));
        }
        environment.extend(command.environment.iter().cloned());
        let plan = AttachPlan {
            pid: init.pid,
            start: init.start,
            cgroup,
            argv: command.argv.clone(),
            environment,
            cwd: command.cwd.clone(),
            user: command.user,
            terminal,
            filter,
        };
        let spawned = launch::helper(&self.monitor, &plan)?;
        let report = spawned.report(|| format!("cannot attach to container `{}`", key.name));
        spawned.reap();
        match report? {
            Report::Exited { code } => Ok(code),
            other => Err(unexpected(&other)),
        }
    }

    /// Finds the first process of a running container, and what bounds those who join it.
    fn init_of(&self, key: &ContainerKey) -> Result<Inhabited> {
        let directory = RunDir::of(&self.run, key);
        if directory.is_locked()? {
            let record = directory.read()?;
            let init = record.as_ref().and_then(|record| record.init).ok_or_else(|| {
                Error::new(ErrorKind::Busy, format!("container `{}` is being started", key.name))
            })?;
            let cgroup = record.and_then(|record| record.cgroups.first().cloned());
            return Ok(Inhabited { init, cgroup, filter: directory.read_filter()? });
        }
        let under_lxc = Sockets::read()?.has(&key.lxcpath, key.name.as_str());
        if let Some(pid) = Some(key).filter(|_| under_lxc).and_then(lxc::init_pid) {
            let identity = keiki_sys::process::Identity::of(pid);
            let process = identity.or_err(|| format!("cannot find the first process of `{}`", key.name))?;
            // Nobody tells what LXC filters; what we would filter is no less.
            let config = self.engine.read_config(key)?;
            let (settings, _) = settings::read(&config, &key.home().join("config"), key.name.as_str())?;
            return Ok(Inhabited { init: process.into(), cgroup: None, filter: settings.confinement.filter });
        }
        self.engine.container(key)?;
        Err(control::not_running(key))
    }

    /// Destroys a container, which is killed first if that is asked for.
    ///
    /// # Errors
    /// As [`Engine::destroy`] and [`Self::stop`]; `InvalidArgument` for a container whose root filesystem is not ours to destroy.
    pub fn destroy(
        &self,
        context: &Context,
        key: &ContainerKey,
        scope: DestroyScope,
        running: Running,
    ) -> Result<DestroyPlan> {
        managed::require(&self.engine, key, scope)?;
        if running == Running::Stop {
            self.stop(key, &StopOptions { mode: StopMode::Kill, timeout: Duration::ZERO })?;
        }
        self.engine.destroy(context, key, scope)
    }
}

/// A running container, as one who wants to join it sees it.
#[derive(Debug)]
struct Inhabited {
    init: crate::rundir::Process,
    cgroup: Option<PathBuf>,
    filter: Program,
}

/// A monitor that reported `RUNNING`.
#[derive(Debug)]
struct Launched {
    spawned: Spawned,
    pid: u32,
    warnings: Vec<String>,
}

fn has_terminal() -> bool {
    tty::is_terminal(rustix::stdio::stdin()) && tty::is_terminal(rustix::stdio::stdout())
}

/// Sends a signal to a monitor, if it is still there.
fn tell(record: &StateRecord, number: i32) -> Result<()> {
    let Some(monitor) = record.monitor.open() else { return Ok(()) };
    match signal::send(&monitor, number) {
        Err(error) if error.errno == rustix::io::Errno::SRCH => Ok(()),
        other => other.or_err(|| "cannot signal the monitor".to_owned()),
    }
}

/// Ends a container whose monitor does not react: everything in its cgroup, then the monitor, then what they leave.
fn kill_monitor(key: &ContainerKey, directory: &RunDir, record: &StateRecord) -> Result<()> {
    let shown = || format!("cannot kill container `{}`", key.name);
    for path in &record.cgroups {
        Cgroup::at(path).kill().or_err(shown)?;
    }
    if let Some(monitor) = record.monitor.open() {
        signal::send(&monitor, crate::rundir::KILL).or_err(shown)?;
    }
    if !wait::for_end(Some(record.monitor), CLEAN_UP_TIME)? {
        return Err(wait::too_long(format!("the monitor of container `{}` cannot be killed", key.name))
            .with_hint("it waits in the kernel; look at its stack in /proc"));
    }
    activity::clean_up(directory)
}

fn stop_under_lxc(key: &ContainerKey, options: &StopOptions) -> Result<()> {
    let init = lxc::init_pid(key).and_then(|pid| keiki_sys::process::Identity::of(pid).ok());
    if options.mode == StopMode::Shutdown
        && let Some(init) = init
        && let Some(pidfd) = init.open()
    {
        signal::send(&pidfd, SIGPWR).or_err(|| format!("cannot ask `{}` to shut down", key.name))?;
        if wait::for_end(Some(init.into()), options.timeout)? {
            return Ok(());
        }
    }
    lxc::stop(key, CLEAN_UP_TIME)
}

fn unexpected(report: &Report) -> Error {
    Error::new(ErrorKind::Protocol, format!("the monitor reported {report:?} out of turn"))
}
