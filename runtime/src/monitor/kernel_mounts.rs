//! `/proc`, `/sys` and `/sys/fs/cgroup` of a container.
//!
//! Each is made here, inside the new namespaces, and everything below it is reached from its own descriptor: whatever
//! the container's tree has at these names is covered before it is looked at. `/proc` and `/sys` must be real
//! directories of the tree, or missing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use keiki_sys::mount::{self, FsContext};
use keiki_sys::rootdir::{Missing, RootDir};
use rustix::mount::MountAttrFlags;

use super::mounts::{clone_of, forbid_writing, inside, show_upon};
use crate::failure::{AtStep, Step};
use crate::settings::Settings;
use crate::settings::mounts::Automount;

/// Files of `/proc` that tell about the host and that no system needs; they read as empty.
const MASKED: [&str; 3] = ["kcore", "keys", "timer_list"];

/// Mounts `/proc` and sets the configured kernel parameters.
pub(super) fn proc(settings: &Settings, root: &RootDir, dev: Option<BorrowedFd<'_>>) -> Step {
    if settings.mounts.proc == Automount::None && settings.parameters.sysctls.is_empty() {
        return Ok(());
    }
    let proc = kernel_file_system("proc")?;
    for (key, value) in &settings.parameters.sysctls {
        set_parameter(&proc, key, value)?;
    }
    if settings.mounts.proc == Automount::None {
        return Ok(());
    }
    attach(&proc, root, "proc")?;
    match settings.mounts.proc {
        Automount::Mixed => protect_proc(&proc, dev),
        Automount::ReadOnly => forbid_writing(&proc),
        Automount::None | Automount::ReadWrite => Ok(()),
    }
}

fn protect_proc(proc: &OwnedFd, dev: Option<BorrowedFd<'_>>) -> Step {
    let net = clone_of(inside(proc, "sys/net")?, mount::Reach::Single)?;
    let sys = read_only_copy(proc, "sys")?;
    mount::attach_at(&sys, inside(proc, "sys")?).at("mount")?;
    mount::attach_at(&net, inside(&sys, "net")?).at("mount")?;
    if let Ok(trigger) = inside(proc, "sysrq-trigger") {
        let copy = read_only_copy(proc, "sysrq-trigger")?;
        mount::attach_at(&copy, trigger).at("mount")?;
    }
    // The empty file is our own device node: one of the container's could be anything.
    let Some(dev) = dev else { return Ok(()) };
    let empty = inside(dev, "null")?;
    MASKED.iter().filter_map(|name| inside(proc, name).ok()).try_for_each(|place| show_upon(&empty, place))
}

fn read_only_copy(mount: &OwnedFd, name: &str) -> Step<OwnedFd> {
    let copy = clone_of(inside(mount, name)?, mount::Reach::Single)?;
    forbid_writing(&copy)?;
    Ok(copy)
}

fn set_parameter(proc: &OwnedFd, key: &str, value: &str) -> Step {
    use rustix::fs::{Mode, OFlags, openat};
    let path = format!("sys/{}", key.replace('.', "/"));
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = openat(proc, path.as_str(), flags, Mode::empty())
        .and_then(|file| rustix::io::write(&file, value.as_bytes()));
    written.map(|_| ()).at("set the kernel parameter").map_err(|failure| failure.about(key))
}

/// Mounts `/sys` and returns it.
pub(super) fn sys(how: Automount, root: &RootDir) -> Step<Option<OwnedFd>> {
    if how == Automount::None {
        return Ok(None);
    }
    let sys = kernel_file_system("sysfs")?;
    attach(&sys, root, "sys")?;
    match how {
        Automount::None | Automount::ReadWrite => {}
        Automount::ReadOnly => forbid_writing(&sys)?,
        Automount::Mixed => {
            // The container's own interfaces.
            let net = clone_of(inside(&sys, "devices/virtual/net")?, mount::Reach::Single)?;
            forbid_writing(&sys)?;
            mount::attach_at(&net, inside(&sys, "devices/virtual/net")?).at("mount")?;
        }
    }
    Ok(Some(sys))
}

/// Mounts the version 2 tree of cgroups, as the container's namespace shows it.
pub(super) fn cgroup(how: Automount, root: &RootDir, sys: Option<BorrowedFd<'_>>) -> Step {
    if how == Automount::None || !keiki_sys::cgroup::layout().has_version_2() {
        return Ok(());
    }
    // From the initial namespace this mount would wait 17 ms for RCU; from a new one it takes 10 µs.
    let cgroup = kernel_file_system("cgroup2")?;
    if how == Automount::ReadOnly {
        forbid_writing(&cgroup)?;
    }
    let place = match sys {
        Some(sys) => inside(sys, "fs/cgroup")?,
        None => root
            .mount_target(Path::new("sys/fs/cgroup"), Missing::MakeDirectory)
            .at("find the mount target")?,
    };
    mount::attach_at(&cgroup, place).at("mount").map_err(|failure| failure.about("/sys/fs/cgroup"))
}

fn kernel_file_system(fstype: &str) -> Step<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let make = || {
        let context = FsContext::open(fstype)?;
        context.set_string("source", fstype.as_bytes())?;
        context.mount(attributes)
    };
    make().at("make the file system").map_err(|failure| failure.about(fstype))
}

fn attach(mount: impl AsFd, root: &RootDir, name: &str) -> Step {
    let at = |failure: crate::failure::Failure| failure.about(format!("/{name}"));
    let place = root.real_directory(name).at("open the mount point").map_err(at)?;
    mount::attach_at(mount, place).at("mount").map_err(at)
}
