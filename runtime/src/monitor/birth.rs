//! One start, as the monitor sees it.
//!
//! cgroup → limits → root filesystem as a detached mount → `clone3` into namespaces and cgroup → (the child mounts) →
//! *prepared*, with the console → version 1 hierarchies, if a limit needs one → *go* → end of the channel = executed.
//! With ids of its own: `clone3` → maps → root filesystem, handed over → (the child makes its network and mounts) → …
//! Two round trips, three with ids; everything that can fail for reasons of configuration fails before the clone or in the child's
//! answer.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use keiki_core::mount_plan;
use keiki_sys::cgroup::{self, Cgroup};
use keiki_sys::device_filter::{self, Kind, Rule, Verdict};
use keiki_sys::process::{self, Birth, Child, Identity};
use keiki_sys::tty::Pair;
use nix::sched::CloneFlags;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Monitor;
use super::devices::TTY_GROUP;
use super::first_process::{self, Ingredients};
use super::hooks::{self, Told};
use super::{identity, mounts, user_namespace};
use crate::channel;
use crate::failure::{AtStep, Failure, Step};
use crate::rundir::KILL;
use crate::settings::cgroup::Limit;
use crate::settings::cgroup::devices::{DeviceRule, Devices};
use crate::settings::hooks::HookKind;
use crate::settings::identities::{IdRange, RootOwners};
use crate::settings::mounts::Dev;

/// What a first process tells before it executes its program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// With ids of its own it is first ready for its interfaces. Then it is ready to execute; beside: console and its peer, then
    /// the masters of the terminals.
    Prepared,
    /// It is not, and ends.
    Failed(Failure),
}

/// Console, terminals and namespaces of a first process that runs.
type Accompanied = (Option<Pair>, Vec<OwnedFd>, Vec<(&'static str, OwnedFd)>);

/// A container that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) console: Option<Pair>,
    /// Kept open, so that programs of the container can use the other side.
    pub(super) _terminals: Vec<OwnedFd>,
    /// Its namespaces, kept for the stop hooks: name and descriptor. Nobody else needs them, and they delay the end of networks.
    pub(super) namespaces: Vec<(&'static str, OwnedFd)>,
}

/// The namespaces, as `/proc/PID/ns` and hooks call them.
const NAMESPACES: [&str; 8] = ["mnt", "pid", "uts", "ipc", "user", "net", "cgroup", "time"];

impl Monitor {
    pub(super) fn give_birth(&mut self) -> Step<Running> {
        let payload = self.make_cgroup()?;
        let sources = mounts::host_sources(&self.plan.settings.mounts.entries)?;
        // With ids of its own, the root can be shown only once there is a namespace that says what they are.
        let root = if self.is_mapped() { None } else { Some(self.mount_root(None)?) };
        let console = self.host_console()?;
        self.plan_network()?;
        let (own, theirs) = channel::pair().at("make the channel to the first process")?;
        // The child has its own descriptors of the same mounts, which get their owners when there is a namespace.
        let to_map = if self.is_mapped() { mounts::duplicates(&sources)? } else { Vec::new() };
        let interfaces = self.record.interfaces.clone();
        let ingredients = Ingredients { root, sources, sync: theirs, console, interfaces };
        let child = self.clone_child(payload.as_ref(), ingredients, &own).inspect_err(|_| {
            // Nothing of them was made.
            self.record.interfaces.clear();
        })?;
        let result = self.accompany(&child, &own, &to_map);
        if result.is_err() {
            // It may have ended by itself; then there is nothing to kill, and it is reaped all the same.
            drop(keiki_sys::signal::send(&child.pidfd, KILL));
            drop(process::reap(&child.pidfd));
            self.leave_network();
        }
        let (console, terminals, namespaces) = result?;
        Ok(Running { pid: child.pid, pidfd: child.pidfd, console, _terminals: terminals, namespaces })
    }

    fn is_mapped(&self) -> bool {
        self.plan.settings.identities.are_mapped()
    }

    /// Mounts the root filesystem, detached; with the owners that it has for a user namespace, where it lies on the disk with
    /// those of the container.
    fn mount_root(&self, namespace: Option<&OwnedFd>) -> Step<OwnedFd> {
        let mounted = match (namespace, self.plan.settings.identities.root) {
            (Some(namespace), RootOwners::Container) => {
                mount_plan::execute_mapped(&self.plan.root, namespace.as_fd())
            }
            _ => mount_plan::execute(&self.plan.root),
        };
        let root = mounted.at("mount the root filesystem")?;
        if namespace.is_some() && self.plan.settings.identities.root == RootOwners::Host {
            self.check_owner(&root)?;
        }
        Ok(root)
    }

    /// Refuses a root filesystem in which the container's root would be a stranger.
    fn check_owner(&self, root: &OwnedFd) -> Step {
        let owner = rustix::fs::fstat(root).at("look at the root filesystem")?.st_uid;
        let has =
            |range: &IdRange| (range.outside..range.outside.saturating_add(range.count)).contains(&owner);
        if self.plan.settings.identities.users.iter().any(has) {
            return Ok(());
        }
        let text = format!("it belongs to user {owner} of the host, whom `lxc.idmap` does not map");
        let mut failure = Failure::new("use the root filesystem", text);
        let hint = "if its files have the container's own numbers: `lxc.rootfs.options = idmap=container`";
        failure.hints.push(hint.to_owned());
        Err(failure)
    }

    /// Makes a console of the host's for a container that keeps its own `/dev`; its root owns it.
    fn host_console(&self) -> Step<Option<Pair>> {
        let Dev::Made(_) = self.plan.settings.mounts.dev else {
            let pair = Pair::of_host().at("make the console")?;
            let identities = &self.plan.settings.identities;
            let owner = identities.user_outside(0).map(Uid::from_raw);
            let group = identities.group_outside(TTY_GROUP).map(Gid::from_raw);
            rustix::fs::fchown(&pair.peer, owner, group).at("give the console to the container")?;
            return Ok(Some(pair));
        };
        Ok(None)
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
        self.delegate(&made)?;
        if layout.has_version_2() { made.open().at("open the cgroup").map(Some) } else { Ok(None) }
    }

    /// Gives the cgroup to the container's root, so that an init inside can make its own below it.
    fn delegate(&self, cgroup: &Cgroup) -> Step {
        let identities = &self.plan.settings.identities;
        match (identities.user_outside(0), identities.group_outside(0)) {
            (Some(user), Some(group)) if cgroup::layout().has_version_2() => {
                cgroup.delegate(user, group).at("give the cgroup to the container")
            }
            _ => Ok(()),
        }
    }

    fn clone_child(&self, cgroup: Option<&OwnedFd>, ingredients: Ingredients, own: &OwnedFd) -> Step<Child> {
        let mut namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        if self.is_mapped() {
            // It makes its network namespace itself, once its ids are mapped.
            namespaces |= CloneFlags::CLONE_NEWUSER;
        } else if self.plan.settings.network.is_own() {
            namespaces |= CloneFlags::CLONE_NEWNET;
        }
        let birth = Birth { namespaces, cgroup: cgroup.map(AsFd::as_fd) };
        let plan = &self.plan;
        let born = process::clone_into(birth, move || {
            // Else it would keep the channel open by which it sees that we are gone.
            process::close_parents(own.as_fd());
            first_process::run(plan, ingredients)
        });
        born.at("make the first process").map_err(|mut failure| {
            if failure.errno == Some(Errno::NOSPC.raw_os_error()) {
                failure.hints.push("raise /proc/sys/user/max_*_namespaces".to_owned());
            }
            failure
        })
    }

    /// Waits for the child to be ready, lets it go and waits until it has executed its program.
    fn accompany(&mut self, child: &Child, own: &OwnedFd, to_map: &[Option<OwnedFd>]) -> Step<Accompanied> {
        if self.is_mapped() {
            self.give_identities(child, own, to_map)?;
        }
        if !self.record.interfaces.is_empty() {
            self.give_network(child, own)?;
        }
        let mut descriptors = match answer(own)? {
            Some(descriptors) => descriptors.into_iter(),
            None => return Err(ended_early(child)),
        };
        self.record.init = Identity::of(child.pid).ok().map(Into::into);
        identity::limit_resources(child.pid, &self.plan.settings.parameters.rlimits)?;
        self.join_version_1(child.pid)?;
        let namespaces = self.keep_namespaces(child)?;
        let told = Told::variable("LXC_PID", child.pid.to_string());
        hooks::run(&self.plan, HookKind::StartHost, &told)?;
        channel::send(own, &(), &[]).at("let the first process go")?;
        if answer(own)?.is_some() {
            return Err(Failure::new("start the first process", "it answered twice"));
        }
        let console = descriptors.next().zip(descriptors.next());
        Ok((console.map(|(master, peer)| Pair { master, peer }), descriptors.collect(), namespaces))
    }

    /// Opens the namespaces that stop hooks will look at.
    fn keep_namespaces(&self, child: &Child) -> Step<Vec<(&'static str, OwnedFd)>> {
        if !self.plan.settings.hooks.has(HookKind::Stop) {
            return Ok(Vec::new());
        }
        let open = |name: &'static str| {
            let opened = File::open(format!("/proc/{}/ns/{name}", child.pid));
            Ok((name, opened.at("open the namespaces").map_err(|failure| failure.about(name))?.into()))
        };
        NAMESPACES.into_iter().map(open).collect()
    }

    /// Maps the child's ids and gives it what can be made only then.
    fn give_identities(&self, child: &Child, own: &OwnedFd, to_map: &[Option<OwnedFd>]) -> Step {
        let settings = &self.plan.settings;
        let namespace = user_namespace::establish(child, &settings.identities)?;
        mounts::map_sources(&settings.mounts.entries, to_map, &namespace)?;
        let root = self.mount_root(Some(&namespace))?;
        channel::send(own, &(), &[root.as_fd()]).at("hand the root filesystem over")
    }

    /// Makes the interfaces while the child mounts, and tells it that they are there.
    fn give_network(&mut self, child: &Child, own: &OwnedFd) -> Step {
        // One with ids of its own makes its namespace itself, and says when.
        if self.is_mapped() && answer(own)?.is_none() {
            return Err(ended_early(child));
        }
        // It can fail meanwhile, with a reason that is better than what we notice of it.
        let Ok(namespace) = File::open(format!("/proc/{}/ns/net", child.pid)) else {
            return Err(why_ended(child, own));
        };
        self.make_network(namespace.into())?;
        channel::send(own, &(), &[]).map_err(|_| why_ended(child, own))
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
    let open = File::open(cgroup.path()).at("open the cgroup").map_err(about)?;
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

fn why_ended(child: &Child, own: &OwnedFd) -> Failure {
    answer(own).err().unwrap_or_else(|| ended_early(child))
}

fn ended_early(child: &Child) -> Failure {
    let how =
        process::reap(&child.pidfd).map_or_else(|error| error.to_string(), |ended| format!("{ended:?}"));
    Failure::new("set up the first process", format!("it ended before it was ready: {how}"))
}
