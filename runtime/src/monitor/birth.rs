//! One start, as the monitor sees it.
//!
//! cgroup → limits → root filesystem as a detached mount → `clone3` into namespaces and cgroup → (the child mounts) →
//! *prepared*, with the console → version 1 hierarchies, if a limit needs one → *go* → end of the channel = executed.
//! Two round trips; everything that can fail for reasons of configuration fails before the clone or in the child's
//! answer.

use std::os::fd::{AsFd, OwnedFd};

use keiki_core::mount_plan;
use keiki_sys::cgroup::{self, Cgroup};
use keiki_sys::device_filter::{self, Kind, Rule, Verdict};
use keiki_sys::process::{self, Birth, Child, Identity};
use keiki_sys::tty::Pair;
use nix::sched::CloneFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Monitor;
use super::first_process::{self, Ingredients};
use crate::channel;
use crate::failure::{AtStep, Failure, Step};
use crate::rundir::KILL;
use crate::settings::cgroup::Limit;
use crate::settings::cgroup::devices::{DeviceRule, Devices};
use crate::settings::mounts::Dev;
use crate::settings::network::Network;

/// What a first process tells before it executes its program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// It is ready to execute. Beside: console and its peer, then the masters of the terminals.
    Prepared,
    /// It is not, and ends.
    Failed(Failure),
}

/// A container that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) console: Option<Pair>,
    /// Kept open, so that programs of the container can use the other side.
    pub(super) _terminals: Vec<OwnedFd>,
}

impl Monitor {
    pub(super) fn give_birth(&mut self) -> Step<Running> {
        let payload = self.make_cgroup()?;
        let root = mount_plan::execute(&self.plan.root).at("mount the root filesystem")?;
        let console = match self.plan.settings.mounts.dev {
            Dev::Made(_) => None,
            Dev::Kept => Some(Pair::of_host().at("make the console")?),
        };
        let (own, theirs) = channel::pair().at("make the channel to the first process")?;
        let child = self.clone_child(payload.as_ref(), Ingredients { root, sync: theirs, console })?;
        let result = self.accompany(&child, &own);
        if result.is_err() {
            // It may have ended by itself; then there is nothing to kill, and it is reaped all the same.
            drop(keiki_sys::signal::send(&child.pidfd, KILL));
            drop(process::reap(&child.pidfd));
        }
        let (console, terminals) = result?;
        Ok(Running { pid: child.pid, pidfd: child.pidfd, console, _terminals: terminals })
    }

    /// Makes the cgroup in which the first process is born.
    fn make_cgroup(&mut self) -> Step<Option<OwnedFd>> {
        let layout = cgroup::layout();
        let settings = &self.plan.settings;
        let made = Cgroup::make(&layout.base(), &settings.cgroup.name).at("make the cgroup")?;
        self.record.cgroups.push(made.path().to_owned());
        // Recorded at once: whoever finds us killed must find it.
        self.publish(crate::status::ContainerState::Starting)?;
        for limit in self.plan.settings.cgroup.limits.iter().filter(|limit| limit.controller.is_none()) {
            apply(&made, limit)?;
        }
        if let Some(devices) = &self.plan.settings.cgroup.devices {
            filter_devices(&made, devices)?;
        }
        if layout.has_version_2() { made.open().at("open the cgroup").map(Some) } else { Ok(None) }
    }

    fn clone_child(&self, cgroup: Option<&OwnedFd>, ingredients: Ingredients) -> Step<Child> {
        let mut namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        if self.plan.settings.network == Network::Own {
            namespaces |= CloneFlags::CLONE_NEWNET;
        }
        let birth = Birth { namespaces, cgroup: cgroup.map(AsFd::as_fd) };
        let plan = &self.plan;
        let born = process::clone_into(birth, move || first_process::run(plan, ingredients));
        born.at("make the first process").map_err(|mut failure| {
            if failure.errno == Some(Errno::NOSPC.raw_os_error()) {
                failure.hints.push("raise /proc/sys/user/max_*_namespaces".to_owned());
            }
            failure
        })
    }

    /// Waits for the child to be ready, lets it go and waits until it has executed its program.
    fn accompany(&mut self, child: &Child, own: &OwnedFd) -> Step<(Option<Pair>, Vec<OwnedFd>)> {
        let mut descriptors = match answer(own)? {
            Some(descriptors) => descriptors.into_iter(),
            None => return Err(ended_early(child)),
        };
        self.record.init = Identity::of(child.pid).ok().map(Into::into);
        self.join_version_1(child.pid)?;
        channel::send(own, &(), &[]).at("let the first process go")?;
        if answer(own)?.is_some() {
            return Err(Failure::new("start the first process", "it answered twice"));
        }
        let console = descriptors.next().zip(descriptors.next());
        Ok((console.map(|(master, peer)| Pair { master, peer }), descriptors.collect()))
    }

    /// Joins the hierarchies of version 1 whose limits the configuration names; each costs a grace period of RCU.
    fn join_version_1(&mut self, pid: u32) -> Step {
        let mut joined: Vec<(String, Cgroup)> = Vec::new();
        let limits: Vec<Limit> = self
            .plan
            .settings
            .cgroup
            .limits
            .iter()
            .filter(|limit| limit.controller.is_some())
            .cloned()
            .collect();
        for limit in &limits {
            let Some(controller) = &limit.controller else { continue };
            if !joined.iter().any(|(known, _)| known == controller) {
                let hierarchy = cgroup::version_1(controller).ok_or_else(|| missing_controller(limit))?;
                let made = Cgroup::make_version_1(&hierarchy, &self.plan.settings.cgroup.name)
                    .at("make the cgroup")
                    .map_err(|failure| failure.about(hierarchy.display()))?;
                self.record.cgroups.push(made.path().to_owned());
                joined.push((controller.clone(), made));
            }
            if let Some((_, made)) = joined.iter().find(|(known, _)| known == controller) {
                apply(made, limit)?;
            }
        }
        for (_, made) in &joined {
            made.write("cgroup.procs", &pid.to_string()).at("enter the cgroup")?;
        }
        if cgroup::layout() == cgroup::Layout::Legacy
            && let Some(base) = self.record.cgroups.first()
        {
            Cgroup::at(base).write("cgroup.procs", &pid.to_string()).at("enter the cgroup")?;
        }
        Ok(())
    }
}

fn apply(cgroup: &Cgroup, limit: &Limit) -> Step {
    cgroup.write(&limit.file, &limit.value).at("set the limit").map_err(|failure| failure.about(&limit.place))
}

/// Restricts the devices of whoever is born in the cgroup.
fn filter_devices(cgroup: &Cgroup, devices: &Devices) -> Step {
    let about = |failure: Failure| failure.about(&devices.place);
    if !cgroup::layout().has_version_2() {
        let text = "this host has no unified cgroup tree, where keiki restricts devices";
        return Err(about(Failure::new("restrict the devices", text)));
    }
    let default = if devices.allows { Verdict::Allow } else { Verdict::Deny };
    let rules: Vec<Rule> = devices.exceptions.iter().map(filter_rule).collect();
    let open = std::fs::File::open(cgroup.path()).at("open the cgroup").map_err(about)?;
    device_filter::attach(&open, default, &rules).at("restrict the devices").map_err(about)
}

fn filter_rule(rule: &DeviceRule) -> Rule {
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    Rule {
        kind: match rule.kind {
            'b' => Kind::Block,
            'c' => Kind::Character,
            _ => Kind::Any,
        },
        major: rule.major,
        minor: rule.minor,
        access: bit(rule.read, device_filter::READ)
            | bit(rule.write, device_filter::WRITE)
            | bit(rule.make, device_filter::MAKE),
    }
}

fn missing_controller(limit: &Limit) -> Failure {
    let controller = limit.controller.as_deref().unwrap_or_default();
    let text = format!("this host has no version 1 cgroup hierarchy for `{controller}`");
    let mut failure = Failure::new("set the limit", text).about(&limit.place);
    failure.hints.push(format!("write lxc.cgroup2.{} instead, for the unified tree", limit.file));
    failure
}

/// Returns the descriptors of a *prepared*, or `None` at the end of the channel.
fn answer(own: &OwnedFd) -> Step<Option<Vec<OwnedFd>>> {
    match channel::receive::<FromChild>(own).at("hear from the first process")? {
        Some((FromChild::Prepared, descriptors)) => Ok(Some(descriptors)),
        Some((FromChild::Failed(failure), _)) => Err(failure),
        None => Ok(None),
    }
}

fn ended_early(child: &Child) -> Failure {
    let how =
        process::reap(&child.pidfd).map_or_else(|error| error.to_string(), |ended| format!("{ended:?}"));
    Failure::new("set up the first process", format!("it ended before it was ready: {how}"))
}
