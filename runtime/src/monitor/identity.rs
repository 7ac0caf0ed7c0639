//! Who a program inside a container is: limits, capabilities, groups, user.

use keiki_seccomp::Program;
use keiki_sys::{caps, seccomp};
use rustix::process::{Gid, Pid, Resource, Rlimit as KernelRlimit, Uid};

use crate::failure::{AtStep, Failure, Step};
use crate::settings::Settings;
use crate::settings::parameters::Rlimit;

/// Gives up what the configuration says for good.
pub(super) fn confine(settings: &Settings) -> Step {
    caps::bound(settings.confinement.capabilities).at("drop capabilities")?;
    caps::clear_inheritable().at("drop inheritable capabilities")?;
    if settings.confinement.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at("give up new privileges")?;
    }
    filter_calls(&settings.confinement.filter)
}

/// Lets the kernel ask the filter from here on.
pub(super) fn filter_calls(filter: &Program) -> Step {
    let instructions: Vec<seccomp::Instruction> =
        filter.0.iter().map(|step| (step.code, step.jump_true, step.jump_false, step.operand)).collect();
    seccomp::load(&instructions).at("filter the system calls")
}

/// Changes groups, group and user of this single-threaded process, in the order in which it is still allowed to.
pub(super) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Step {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&groups).at("set the groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).at("set the group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at("set the user")
}

/// Limits the resources of a first process from outside: one with ids of its own may not raise a limit.
pub(super) fn limit_resources(pid: u32, limits: &[Rlimit]) -> Step {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    for limit in limits {
        let resource = resource(&limit.name).ok_or_else(|| {
            Failure::new("limit the resource", "there is none of this name").about(&limit.name)
        })?;
        let wanted = KernelRlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::prlimit(process, resource, wanted)
            .at("limit the resource")
            .map_err(|failure| failure.about(&limit.name))?;
    }
    Ok(())
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}
