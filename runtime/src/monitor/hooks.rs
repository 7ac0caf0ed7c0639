//! Runs the hooks of a container: `/bin/sh -c`, nothing on standard input, what they print kept for whoever hears of a failure.
//!
//! A hook that fails or takes longer than [`TIME`] fails the step that it belongs to; which step that is, the caller knows.
//! Source: lxc.container.conf(5), "CONTAINER HOOKS" and "CONTAINER HOOKS ENVIRONMENT VARIABLES".

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use keiki_sys::process::{self, Ended};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::PidfdFlags;

use crate::exec;
use crate::failure::{AtStep, Failure, Step};
use crate::plan::StartPlan;
use crate::rundir::KILL;
use crate::settings::hooks::{HookKind, Interface};

/// How long one hook may take.
const TIME: Duration = Duration::from_secs(300);
/// How much of what a hook prints is kept: the end of it.
const OUTPUT_MAX: usize = 4096;
const SHELL: &str = "/bin/sh";

/// What a kind of hook is told besides the usual.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Behind the usual arguments, with either interface.
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Vec<(OsString, OsString)>,
}

impl Told {
    pub(super) fn variable(name: &str, value: impl Into<OsString>) -> Self {
        Self { variables: vec![(name.into(), value.into())], ..Self::default() }
    }
}

/// When a script of an interface runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The interface was made.
    Up,
    /// The container has ended.
    Down,
}

impl Moment {
    fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Runs a script of an interface, on the host.
pub(super) fn run_script(plan: &StartPlan, script: &str, moment: Moment, told: &Told) -> Step {
    let mut words: Vec<OsString> = Vec::new();
    if plan.settings.hooks.interface == Interface::Arguments {
        words.extend([plan.name.as_str(), "net", moment.as_str()].map(OsString::from));
    }
    words.extend(told.arguments.iter().cloned());
    let own = [("LXC_HOOK_TYPE", moment.as_str()), ("LXC_HOOK_SECTION", "net")];
    let own = own.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let usual =
        environment(plan, HookKind::StartHost).into_iter().chain(own).chain(told.variables.iter().cloned());
    let step = format!("run the {} script of an interface", moment.as_str());
    run_one(script, &words, &exec::merged(usual), &step).map_err(|failure| failure.about(script))
}

/// Runs the hooks of one kind, in order, until one fails.
pub(super) fn run(plan: &StartPlan, kind: HookKind, told: &Told) -> Step {
    let hooks = &plan.settings.hooks;
    hooks.of(kind).try_for_each(|command| {
        let mut words: Vec<OsString> = Vec::new();
        if hooks.interface == Interface::Arguments {
            words.extend([plan.name.as_str(), "lxc", kind.as_str()].map(OsString::from));
        }
        words.extend(told.arguments.iter().cloned());
        let usual = environment(plan, kind).into_iter().chain(told.variables.iter().cloned());
        let step = format!("run the {} hook", kind.as_str());
        run_one(command, &words, &exec::merged(usual), &step).map_err(|failure| failure.about(command))
    })
}

fn environment(plan: &StartPlan, kind: HookKind) -> Vec<(OsString, OsString)> {
    let settings = &plan.settings;
    let home = plan.lxcpath.join(&plan.name);
    let mut variables: Vec<(OsString, OsString)> = vec![("PATH".into(), exec::PATH.into())];
    // What runs inside learns nothing of the host's user.
    if kind != HookKind::Start {
        variables.extend(std::env::vars_os());
    }
    let log = settings.terminals.console_log.clone().unwrap_or_default();
    let own: [(&str, OsString); 9] = [
        ("LXC_NAME", plan.name.as_str().into()),
        ("LXC_CONFIG_FILE", home.join("config").into()),
        ("LXC_ROOTFS_MOUNT", plan.mount_point().into()),
        ("LXC_ROOTFS_PATH", settings.mounts.root_path.as_str().into()),
        ("LXC_CONSOLE_LOGPATH", log.into()),
        ("LXC_CGNS_AWARE", "1".into()),
        ("LXC_HOOK_VERSION", if settings.hooks.interface == Interface::Variables { "1" } else { "0" }.into()),
        ("LXC_HOOK_TYPE", kind.as_str().into()),
        ("LXC_HOOK_SECTION", "lxc".into()),
    ];
    variables.extend(own.map(|(name, value)| (name.into(), value)));
    variables.extend(settings.program.environment.iter().cloned());
    variables.extend(settings.hooks.environment.iter().cloned());
    variables
}

fn run_one(command: &str, words: &[OsString], environment: &[(OsString, OsString)], step: &str) -> Step {
    let (nothing, writer) = pipe_with(PipeFlags::CLOEXEC).at(step)?;
    drop(writer);
    let (output, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).at(step)?;
    let arguments = arguments(command, words).at(step)?;
    let environment = exec::variables(environment).at(step)?;
    let standard = [nothing.as_fd(), theirs.as_fd(), theirs.as_fd()];
    let pid = process::spawn(Path::new(SHELL), &arguments, &environment, &standard).at(step)?;
    drop(theirs);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).at(step)?;
    let (ended, said) = listen(&pidfd, &output, step)?;
    match ended {
        Some(Ended::Exited(0)) => Ok(()),
        Some(Ended::Exited(code)) => {
            Err(Failure::new(step, with_output(format!("it ended with {code}"), &said)))
        }
        Some(Ended::Killed(signal)) => {
            Err(Failure::new(step, with_output(format!("signal {signal} killed it"), &said)))
        }
        None => {
            let text = format!("it took longer than {} s and was killed", TIME.as_secs());
            Err(Failure::new(step, with_output(text, &said)))
        }
    }
}

/// The words of the shell: the command as it stands in the configuration, with its arguments behind.
fn arguments(command: &str, words: &[OsString]) -> keiki_sys::call::Result<Vec<CString>> {
    let script = format!("exec {command} \"$@\"");
    let fixed = ["sh", "-c", script.as_str(), "sh"].map(OsStr::new);
    let all = fixed.into_iter().chain(words.iter().map(OsString::as_os_str));
    all.map(|word| {
        CString::new(word.as_bytes())
            .map_err(|_| keiki_sys::call::CallError::new(format!("execve({word:?})"), Errno::INVAL))
    })
    .collect()
}

/// Collects what a hook prints until it ends; `None` when its time is over.
fn listen(pidfd: &OwnedFd, output: &OwnedFd, step: &str) -> Step<(Option<Ended>, Vec<u8>)> {
    let deadline = Instant::now() + TIME;
    let mut said = Vec::new();
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at(step),
        }
        let has_ended = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        open = take(output, &mut said);
        if has_ended {
            // What it left running in the background may hold the pipe; nobody waits for that.
            return Ok((Some(process::reap(pidfd).at(step)?), said));
        }
        if left.is_zero() {
            keiki_sys::signal::send(pidfd, KILL).at(step)?;
            process::reap(pidfd).at(step)?;
            return Ok((None, said));
        }
    }
}

/// Takes what is there; returns whether more may come.
fn take(output: &OwnedFd, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0_u8; 4096];
    loop {
        match rustix::io::read(output, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                said.extend_from_slice(&buffer[..length]);
                let beyond = said.len().saturating_sub(OUTPUT_MAX);
                drop(said.drain(..beyond));
            }
            Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

fn with_output(text: String, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    if said.is_empty() { text } else { format!("{text}: {said}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_in_shell(command: &str, words: &[&str]) -> Step {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        run_one(command, &words, &[("PATH".into(), exec::PATH.into())], "run the mount hook")
    }

    #[test]
    fn a_hook_gets_its_own_words_and_ours_behind() {
        run_in_shell("test 'a b'", &["=", "a b"]).unwrap();
        run_in_shell("test 'a b'", &["=", "a c"]).unwrap_err();
    }

    #[test]
    fn a_hook_that_fails_is_told_with_what_it_printed() {
        let failure = run_in_shell("sh -c 'echo no disk >&2; exit 3' --", &[]).unwrap_err();
        assert_eq!(failure.text, "it ended with 3: no disk");
        let failure = run_in_shell("sh -c 'kill -9 $$' --", &[]).unwrap_err();
        assert_eq!(failure.text, "signal 9 killed it");
    }

    #[test]
    fn a_hook_that_prints_much_and_leaves_a_child_behind_ends_all_the_same() {
        run_in_shell("sh -c 'head -c 1000000 /dev/zero; sleep 30 & exit 0' --", &[]).unwrap();
    }
}
