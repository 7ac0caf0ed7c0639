//! The helper that runs one more program in a running container.
//!
//! It joins the container's pid namespace only, so that its child is born there, and in the container's cgroup; the child
//! joins the rest by the descriptor of the first process, one call, no `/proc` of the container involved. Its
//! capabilities are those that the container's first process could ever have. No descriptor of the caller but the
//! standard three gets in; with a terminal, not even those.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_sys::cgroup::{self, Cgroup};
use keiki_sys::process::{self, Birth, Child, Identity, Inherited};
use keiki_sys::signal::{self, Signals};
use keiki_sys::tty::{self, Pair};
use keiki_sys::{call, caps};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal as DeathSignal;
use rustix::thread::ThreadNameSpaceType as NameSpace;

use super::birth::FromChild;
use super::identity;
use super::relay::{Input, Output, Relay};
use crate::channel;
use crate::exec;
use crate::failure::{AtStep, Failure, Step};
use crate::plan::{AttachPlan, Report};
use crate::rundir::KILL;

const FAILED: i32 = 1;
/// The file system of pseudo-terminals.
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// What the helper learns about the container before it enters it.
#[derive(Debug)]
struct Target {
    pidfd: OwnedFd,
    cgroup: Option<OwnedFd>,
    capabilities: u64,
    namespaces: NameSpace,
}

/// Runs the helper and returns its exit code.
pub(super) fn main() -> i32 {
    let Ok((plan, status)) = inherit() else { return FAILED };
    match attach(&plan, &status) {
        Ok(code) => {
            // A caller that is gone needs no answer.
            drop(channel::send(&status, &Report::Exited { code }, &[]));
            0
        }
        Err(failure) => {
            drop(channel::send(&status, &Report::Failed(failure), &[]));
            FAILED
        }
    }
}

fn inherit() -> Step<(AttachPlan, OwnedFd)> {
    let mut inherited = Inherited::take(2).at("take the descriptors")?;
    let plan = inherited.take_next().at("take the plan")?;
    let status = inherited.take_next().at("take the status channel")?;
    let text = keiki_sys::memfd::read_sealed(plan).at("read the plan")?;
    let plan =
        serde_json::from_slice(&text).map_err(|error| Failure::new("read the plan", error.to_string()))?;
    Ok((plan, status))
}

fn attach(plan: &AttachPlan, status: &OwnedFd) -> Step<i32> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .at("hide the helper's memory")?;
    let target = examine(plan)?;
    let signals = block_signals().at("read signals")?;
    let (own, theirs) = channel::pair().at("make the channel to the program")?;
    let thread_count = process::thread_count().at("count threads")?;
    if thread_count != 1 {
        return Err(Failure::new("enter the container", "the helper has several threads"));
    }
    let child = give_birth(plan, &target, theirs, &own)?;
    let relay = match hear(&own, &child)? {
        Answer::Running(Some(master)) => {
            Some(Relay::new(master, Input::Standard, Output::Standard).at("relay the terminal")?)
        }
        Answer::Running(None) => None,
        Answer::NotExecuted(code) => return Ok(code),
    };
    accompany(&child, &signals, relay, status)
}

fn examine(plan: &AttachPlan) -> Step<Target> {
    let gone = || Failure::new("enter the container", "its first process is gone");
    let pidfd = Identity { pid: plan.pid, start: plan.start }.open().ok_or_else(gone)?;
    let path = match &plan.cgroup {
        Some(path) => Some(path.clone()),
        None => cgroup_of(plan.pid),
    };
    let cgroup = match path {
        Some(path) if cgroup::layout().has_version_2() => {
            Cgroup::at(path).open().at("open the cgroup").map(Some)?
        }
        _ => None,
    };
    let capabilities = super::mask_of(plan.pid, "CapBnd").ok_or_else(gone)?;
    let mut namespaces = NameSpace::MOUNT
        | NameSpace::HOST_NAME_AND_NIS_DOMAIN_NAME
        | NameSpace::INTER_PROCESS_COMMUNICATION
        | NameSpace::NETWORK
        | NameSpace::CONTROL_GROUP;
    if name_of_user_namespace("self") != name_of_user_namespace(&plan.pid.to_string()) {
        namespaces |= NameSpace::USER;
    }
    Ok(Target { pidfd, cgroup, capabilities, namespaces })
}

fn cgroup_of(pid: u32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(cgroup::layout().base().join(path))
}

fn name_of_user_namespace(process: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/user")).ok()
}

fn block_signals() -> call::Result<Signals> {
    Signals::block(&[
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGWINCH,
        Signal::SIGPIPE,
    ])
}

fn give_birth(plan: &AttachPlan, target: &Target, channel: OwnedFd, own: &OwnedFd) -> Step<Child> {
    // Only children are affected by this one, so that the helper's own `/proc/self` stays what it is.
    rustix::thread::move_into_thread_name_spaces(target.pidfd.as_fd(), NameSpace::PROCESS_ID)
        .at("enter the container's processes")?;
    let born = |cgroup: Option<&OwnedFd>| {
        let birth = Birth { namespaces: CloneFlags::empty(), cgroup: cgroup.map(AsFd::as_fd) };
        let channel = channel.try_clone();
        process::clone_into(birth, || {
            // Its copy would hide from it that the helper is gone.
            process::close_parents(own.as_fd());
            match channel {
                Ok(channel) => run_inside(plan, target, &channel),
                Err(_) => process::exit_now(FAILED),
            }
        })
    };
    match born(target.cgroup.as_ref()) {
        // A cgroup that gives its controllers on has no room for processes of its own; its first process shows where.
        Err(error) if error.errno == Errno::BUSY => {
            let inner = cgroup_of(plan.pid).map(|path| Cgroup::at(path).open()).transpose();
            born(inner.at("open the cgroup")?.as_ref())
        }
        other => other,
    }
    .at("make the program's process")
}

/// What comes of the attempt to execute the program.
#[derive(Debug)]
enum Answer {
    /// It runs; with the master of its terminal.
    Running(Option<OwnedFd>),
    /// It does not exist or is no program; this is a shell's code for it.
    NotExecuted(i32),
}

const EXECUTE: &str = "execute";

fn hear(own: &OwnedFd, child: &Child) -> Step<Answer> {
    let mut master = None;
    loop {
        match channel::receive::<FromChild>(own).at("hear from the program")? {
            Some((FromChild::Prepared, descriptors)) => master = descriptors.into_iter().next(),
            Some((FromChild::Failed(failure), _)) => {
                process::reap(&child.pidfd).at("reap the program")?;
                let errno = failure.errno.filter(|_| failure.step == EXECUTE);
                let Some(errno) = errno else { return Err(failure) };
                say(&failure);
                return Ok(Answer::NotExecuted(exec::exit_code(errno)));
            }
            None => return Ok(Answer::Running(master)),
        }
    }
}

/// Tells the user what a shell would tell; the code alone does not say which program is missing.
fn say(failure: &Failure) {
    let text = format!("keiki: {failure}\n");
    // Without a standard error there is nobody to tell.
    let _: rustix::io::Result<_> = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
}

fn accompany(child: &Child, signals: &Signals, mut relay: Option<Relay>, status: &OwnedFd) -> Step<i32> {
    let mut caller_listens = true;
    loop {
        let mut fds = vec![
            PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if caller_listens {
            fds.push(PollFd::from_borrowed_fd(status.as_fd(), PollFlags::RDHUP));
        }
        let interests = relay.as_ref().map(Relay::interests).unwrap_or_default();
        fds.extend(interests.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at("wait for events"),
        }
        let has_ended = !fds.first().is_none_or(|fd| fd.revents().is_empty());
        let is_abandoned = caller_listens && !fds.get(2).is_none_or(|fd| fd.revents().is_empty());
        drop(fds);
        while let Some(arrived) = signals.next().at("read signals")? {
            match (arrived, &relay) {
                (Signal::SIGWINCH, Some(relay)) => relay.follow_window(),
                (Signal::SIGWINCH | Signal::SIGPIPE, _) => {}
                (other, _) => pass_on(child, other as i32)?,
            }
        }
        if is_abandoned {
            caller_listens = false;
            pass_on(child, KILL)?;
        }
        if let Some(relay) = &mut relay {
            relay.pump().at("relay the terminal")?;
        }
        if has_ended {
            let ended = process::reap(&child.pidfd).at("reap the program")?;
            relay.iter_mut().for_each(Relay::finish);
            return Ok(ended.code());
        }
    }
}

fn pass_on(child: &Child, number: i32) -> Step {
    match signal::send(&child.pidfd, number) {
        Err(error) if error.errno == Errno::SRCH => Ok(()),
        other => other.at("pass a signal on"),
    }
}

/// The child, until it is the program. As in [`super::first_process`], it may allocate and must not return.
fn run_inside(plan: &AttachPlan, target: &Target, channel: &OwnedFd) -> Infallible {
    let Err(failure) = become_program(plan, target, channel);
    drop(channel::send(channel, &FromChild::Failed(failure), &[]));
    process::exit_now(FAILED)
}

fn become_program(plan: &AttachPlan, target: &Target, channel: &OwnedFd) -> Step<Infallible> {
    die_with_the_helper()?;
    rustix::thread::move_into_thread_name_spaces(target.pidfd.as_fd(), target.namespaces)
        .at("enter the container")?;
    if target.namespaces.contains(NameSpace::USER) {
        // Until then this is a user whom the container does not have.
        identity::become_user(0, 0, &[])?;
        die_with_the_helper()?;
    }
    rustix::process::setsid().at("lead a session")?;
    if plan.terminal {
        take_terminal(channel)?;
    }
    caps::bound(target.capabilities).at("drop capabilities")?;
    caps::clear_inheritable().at("drop inheritable capabilities")?;
    let (uid, gid) = plan.user.unwrap_or((0, 0));
    let account = Account::find(uid);
    if let Some(cwd) = &plan.cwd {
        std::env::set_current_dir(cwd)
            .at("change to the directory")
            .map_err(|failure| failure.about(cwd.display()))?;
    }
    identity::filter_calls(&plan.filter)?;
    identity::become_user(uid, gid, &[])?;
    signal::reset().at("reset the signals")?;
    process::close_on_exec_from(3).at("close what is not the program's")?;
    let argv = if plan.argv.is_empty() { vec![account.shell.clone()] } else { plan.argv.clone() };
    let refused = exec::execute(&argv, &account.environment(plan));
    let program = argv.first().map(|program| program.display().to_string()).unwrap_or_default();
    Err(refused).at(EXECUTE).map_err(|failure| failure.about(program))
}

fn die_with_the_helper() -> Step {
    rustix::process::set_parent_process_death_signal(Some(DeathSignal::KILL))
        .at("bind its life to the helper's")
}

/// Makes a terminal of the container's own, sends its master out and takes its other side as everything.
fn take_terminal(channel: &OwnedFd) -> Step {
    let pair = Pair::of(multiplexer()?).at("make a terminal")?;
    // Now, not when the helper hears of it: the program may ask first thing.
    tty::copy_window(rustix::stdio::stdin(), &pair.peer);
    channel::send(channel, &FromChild::Prepared, &[pair.master.as_fd()]).at("hand the terminal out")?;
    for number in 0..3 {
        process::replace_standard(&pair.peer, number).at("connect the terminal")?;
    }
    tty::control(&pair.peer).at("control the terminal")
}

/// Opens the container's multiplexer, and nothing that only looks like it.
fn multiplexer() -> Step<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = "/dev/pts/ptmx";
    let about = |failure: Failure| failure.about(path);
    // Looked at before it is opened: opening a pipe or a device of the container's could do anything.
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .at("make a terminal")
        .map_err(about)?;
    let system = rustix::fs::fstatfs(&found).at("make a terminal").map_err(about)?;
    if !u64::try_from(system.f_type).is_ok_and(|magic| magic == DEVPTS_MAGIC) {
        return Err(
            Failure::new("make a terminal", "it is not on a file system of pseudo-terminals").about(path)
        );
    }
    rustix::fs::open(path, flags, Mode::empty()).at("make a terminal").map_err(about)
}

/// What the container's list of users says about one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: OsString,
    home: OsString,
    shell: OsString,
}

impl Account {
    fn find(uid: u32) -> Self {
        // Read by us, not by the container's libraries: nothing of it is loaded into this process.
        let text = std::fs::read(Path::new("/etc/passwd")).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text), uid).unwrap_or_else(|| Self {
            name: if uid == 0 { "root".into() } else { uid.to_string().into() },
            home: if uid == 0 { "/root".into() } else { "/".into() },
            shell: "/bin/sh".into(),
        })
    }

    fn parse(text: &str, uid: u32) -> Option<Self> {
        let wanted = uid.to_string();
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, id, _, _, home, shell] = fields[..] else { return None };
            let shell = if shell.is_empty() { "/bin/sh" } else { shell };
            (id == wanted).then(|| Self { name: name.into(), home: home.into(), shell: shell.into() })
        })
    }

    fn environment(&self, plan: &AttachPlan) -> Vec<(OsString, OsString)> {
        let own = [
            ("PATH".into(), exec::PATH.into()),
            ("container".into(), "lxc".into()),
            ("HOME".into(), self.home.clone()),
            ("USER".into(), self.name.clone()),
        ];
        exec::merged(own.into_iter().chain(plan.environment.iter().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_shell_is_read_from_the_containers_list() {
        let text = "root:x:0:0:root:/root:/bin/ash\nbad line\nweb:x:33:33::/var/www:\n";
        let root = Account::parse(text, 0).unwrap();
        assert_eq!((root.shell, root.home), ("/bin/ash".into(), "/root".into()));
        assert_eq!(Account::parse(text, 33).unwrap().shell, "/bin/sh");
        assert_eq!(Account::parse(text, 7), None);
    }
}
