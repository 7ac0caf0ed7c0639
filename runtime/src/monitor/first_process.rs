//! The first process of a container, between `clone3` and `execve`.
//!
//! What is legal here: everything that a single-threaded program may do, because the monitor has one thread and the
//! child a copy of its memory; allocation included. What is not: touching descriptors of the monitor that were not
//! handed over in [`Ingredients`], returning, and resolving a name inside the container's tree other than through
//! [`RootDir`] before the root is changed.
//!
//! The tree is hostile from the first call on. After `pivot_root` it is our world: nothing of the host is reachable by
//! a name, and every descriptor but the standard three is closed by `execve`.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use keiki_network::Planned;
use keiki_sys::process;
use keiki_sys::rootdir::RootDir;
use keiki_sys::tty::{self, Pair};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;
use rustix::process::Signal;

use super::birth::FromChild;
use super::hooks::{self, Told};
use super::{devices, identity, kernel_mounts, mounts, network};
use crate::channel;
use crate::exec;
use crate::failure::{AtStep, Failure, Step};
use crate::plan::{StartPlan, Stdio};
use crate::settings::Settings;
use crate::settings::hooks::HookKind;
use crate::settings::mounts::Dev;

/// What the monitor hands over.
#[derive(Debug)]
pub(super) struct Ingredients {
    /// The root filesystem, detached; `None` when it comes once the container's ids are mapped.
    pub(super) root: Option<OwnedFd>,
    /// What the entries of the configuration show of the host, in their order.
    pub(super) sources: Vec<Option<OwnedFd>>,
    /// The channel to the monitor; `execve` closes it.
    pub(super) sync: OwnedFd,
    /// A console of the host's, for containers that keep their own `/dev`.
    pub(super) console: Option<Pair>,
    /// The interfaces that it configures.
    pub(super) interfaces: Vec<Planned>,
}

/// Sets the container up and executes its program.
pub(super) fn run(plan: &StartPlan, ingredients: Ingredients) -> Infallible {
    let Ingredients { root, sources, sync, console, interfaces } = ingredients;
    let Err(failure) = become_init(plan, root, sources, &sync, console, &interfaces);
    // If even this fails, the monitor sees the end of the channel before a program was executed, and our exit code.
    drop(channel::send(&sync, &FromChild::Failed(failure), &[]));
    process::exit_now(FAILED)
}

const FAILED: i32 = 1;

fn become_init(
    plan: &StartPlan,
    root: Option<OwnedFd>,
    sources: Vec<Option<OwnedFd>>,
    sync: &OwnedFd,
    console: Option<Pair>,
    interfaces: &[Planned],
) -> Step<Infallible> {
    die_with_the_monitor()?;
    let settings = &plan.settings;
    let root = match root {
        Some(root) => root,
        None => wait_for_root(sync)?,
    };
    rustix::process::setsid().at("lead a session")?;
    rustix::process::umask(Mode::empty());
    mounts::isolate()?;
    // Still as the host's own user, who may look into the directories above it.
    let place = mounts::mount_point(plan.mount_point())?;
    if settings.identities.are_mapped() {
        become_own_root(settings, sync, interfaces)?;
    }
    hooks::run(plan, HookKind::PreMount, &Told::default())?;
    let root = mounts::attach_root(root, &place)?;
    let mut consoles = mount_everything(settings, &root, sources)?;
    hooks::run(plan, HookKind::Mount, &Told::default())?;
    if let Dev::Made(_) = settings.mounts.dev {
        hooks::run(plan, HookKind::Autodev, &Told::default())?;
    }
    if let Some(pair) = console {
        devices::show_host_console(&root, &pair)?;
        consoles = Some(devices::Consoles { console: pair, terminals: Vec::new() });
    }
    mounts::change_root(&root)?;
    drop(root);
    name_and_network(settings, sync, interfaces)?;
    let consoles = consoles.as_ref();
    let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
    if let Some(consoles) = consoles {
        descriptors.extend([consoles.console.master.as_fd(), consoles.console.peer.as_fd()]);
        descriptors.extend(consoles.terminals.iter().map(AsFd::as_fd));
    }
    channel::send(sync, &FromChild::Prepared, &descriptors).at("tell the monitor")?;
    if channel::receive::<()>(sync).at("wait for the monitor")?.is_none() {
        return Err(Failure::new("wait for the monitor", "it is gone"));
    }
    connect(plan.stdio, consoles.map(|consoles| consoles.console.peer.as_fd()))?;
    identity::confine(settings)?;
    hooks::run(plan, HookKind::Start, &Told::default())?;
    identity::become_user(settings.program.uid, settings.program.gid, &settings.program.groups)?;
    execute(plan)
}

/// Waits until the monitor has mapped our ids and mounted the root filesystem as they see it.
fn wait_for_root(sync: &OwnedFd) -> Step<OwnedFd> {
    let answer = channel::receive::<()>(sync).at("wait for the root filesystem")?;
    let root = answer.and_then(|((), descriptors)| descriptors.into_iter().next());
    root.ok_or_else(|| Failure::new("wait for the root filesystem", "the monitor is gone"))
}

/// Becomes the root of the container's own user namespace.
///
/// The network namespace is made only here: one that is born with the user namespace, before its ids are mapped, belongs to
/// nobody for ever, and `/sys/class/net` with it.
fn become_own_root(settings: &Settings, sync: &OwnedFd, interfaces: &[Planned]) -> Step {
    if settings.network.is_own() {
        unshare(CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from).at("make the network namespace")?;
        if !interfaces.is_empty() {
            channel::send(sync, &FromChild::Prepared, &[]).at("tell the monitor")?;
        }
    }
    identity::become_user(0, 0, &[])?;
    // Cleared by the change of user.
    die_with_the_monitor()
}

/// The kernel kills this process when the monitor dies. A monitor that died before is found out by the closed channel.
fn die_with_the_monitor() -> Step {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at("bind its life to the monitor's")
}

fn mount_everything(
    settings: &Settings,
    root: &RootDir,
    sources: Vec<Option<OwnedFd>>,
) -> Step<Option<devices::Consoles>> {
    let dev = match settings.mounts.dev {
        Dev::Made(size) => Some(devices::make(root, size, &settings.identities)?),
        Dev::Kept => None,
    };
    kernel_mounts::proc(settings, root, dev.as_ref().map(AsFd::as_fd))?;
    let sys = kernel_mounts::sys(settings.mounts.sys, root)?;
    kernel_mounts::cgroup(settings.mounts.cgroup, root, sys.as_ref().map(AsFd::as_fd))?;
    let consoles = dev.map(|dev| devices::furnish(settings, &dev)).transpose()?;
    for (entry, source) in settings.mounts.entries.iter().zip(sources) {
        mounts::mount_entry(root, entry, source)?;
    }
    Ok(consoles)
}

fn name_and_network(settings: &Settings, sync: &OwnedFd, interfaces: &[Planned]) -> Step {
    rustix::system::sethostname(settings.program.host_name.as_bytes()).at("set the host name")?;
    if !interfaces.is_empty() && channel::receive::<()>(sync).at("wait for the network")?.is_none() {
        return Err(Failure::new("wait for the network", "the monitor is gone"));
    }
    if settings.network.is_own() { network::configure_inside(interfaces) } else { Ok(()) }
}

/// Gives the program its standard descriptors.
fn connect(stdio: Stdio, console: Option<BorrowedFd<'_>>) -> Step {
    let Some(console) = console.filter(|_| stdio != Stdio::Inherited) else { return Ok(()) };
    if stdio == Stdio::Terminal {
        tty::copy_window(rustix::stdio::stdin(), console);
    }
    for number in 0..3 {
        process::replace_standard(console, number).at("connect the console")?;
    }
    if stdio == Stdio::Terminal {
        tty::control(console).at("control the terminal")?;
    }
    Ok(())
}

fn execute(plan: &StartPlan) -> Step<Infallible> {
    let settings = &plan.settings;
    if let Some(cwd) = &settings.program.cwd {
        // This is the container's own tree now; LXC makes a missing directory too.
        let entered = std::fs::create_dir_all(cwd).and_then(|()| std::env::set_current_dir(cwd));
        entered.at("change to the directory").map_err(|failure| failure.about(cwd.display()))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // Cleared by the change of user.
    die_with_the_monitor()?;
    keiki_sys::signal::reset().at("reset the signals")?;
    process::close_on_exec_from(3).at("close what is not the program's")?;
    let refused = exec::execute(&plan.argv, &plan.environment);
    let program = plan.argv.first().map(|program| program.display().to_string()).unwrap_or_default();
    Err(refused).at("execute").map_err(|failure| failure.about(program))
}
