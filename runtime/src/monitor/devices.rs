//! `/dev` of a container: a file system in memory that is complete before the container's tree is touched, private
//! pseudo-terminals, a console and terminals.
//!
//! Terminals are opened from the descriptor of their multiplexer (`TIOCGPTPEER`) and shown by descriptor: no name below
//! a `/dev` that somebody else may have filled is ever resolved.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_sys::mount::{self, FsContext, Reach};
use keiki_sys::rootdir::RootDir;
use keiki_sys::tty::Pair;
use rustix::fs::{FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::mount::MountAttrFlags;

use super::mounts::{inside, show_upon};
use crate::channel::DESCRIPTORS_MAX;
use crate::failure::{AtStep, Failure, Step};
use crate::settings::Settings;
use crate::settings::identities::Identities;

/// Name, major, minor. All may be read and written by everybody.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The group `tty` of every distribution.
pub(super) const TTY_GROUP: u32 = 5;
/// Pseudo-terminals beyond the configured number, for programs that are attached.
const SPARE_TERMINALS: u32 = 64;

/// The terminals of a container, as the monitor keeps them.
#[derive(Debug)]
pub(super) struct Consoles {
    pub(super) console: Pair,
    pub(super) terminals: Vec<OwnedFd>,
}

/// Makes `/dev` with its nodes and attaches it.
pub(super) fn make(root: &RootDir, size: u64, identities: &Identities) -> Step<OwnedFd> {
    let dev = in_memory(&format!("{size}"), MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    for (name, major, minor) in NODES {
        let made = if identities.are_mapped() {
            show_of_host(&dev, name)
        } else {
            let device = makedev(major, minor);
            mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)
                .at("make the device")
        };
        made.map_err(|failure| failure.about(format!("/dev/{name}")))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdirat(&dev, name, Mode::from_raw_mode(0o755)).at("make the directories of /dev")?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).at("make the links of /dev")?;
    }
    let place =
        root.real_directory("dev").at("open the mount point").map_err(|failure| failure.about("/dev"))?;
    mount::attach_at(&dev, place).at("mount").map_err(|failure| failure.about("/dev"))?;
    Ok(dev)
}

/// Shows a device of the host's: in a user namespace nobody makes devices.
fn show_of_host(dev: &OwnedFd, name: &str) -> Step {
    let node =
        mount::clone_tree(&Path::new("/dev").join(name), Reach::Single).at("show the host's device")?;
    mknodat(dev, name, FileType::RegularFile, Mode::from_raw_mode(0o600), 0).at("make")?;
    mount::attach_at(&node, inside(dev, name)?).at("mount")
}

/// Mounts what is below `/dev` and makes console and terminals.
pub(super) fn furnish(settings: &Settings, dev: &OwnedFd) -> Step<Consoles> {
    if !settings.mounts.entries.iter().any(|entry| entry.target.as_os_str() == "dev/shm") {
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let shm = in_memory("50%", flags)?;
        rustix::fs::chmodat(&shm, ".", Mode::from_raw_mode(0o1777), rustix::fs::AtFlags::empty())
            .at("open /dev/shm to everybody")?;
        mount::attach_at(&shm, inside(dev, "shm")?)
            .at("mount")
            .map_err(|failure| failure.about("/dev/shm"))?;
    }
    let pts = pseudo_terminals(settings)?;
    mount::attach_at(&pts, inside(dev, "pts")?).at("mount").map_err(|failure| failure.about("/dev/pts"))?;
    let console = new_terminal(&pts)?;
    show(&console, dev, "console")?;
    let mut terminals = Vec::new();
    let room = u32::try_from(DESCRIPTORS_MAX).unwrap_or(u32::MAX).saturating_sub(2);
    for number in 1..=settings.terminals.count.min(room) {
        let pair = new_terminal(&pts)?;
        show(&pair, dev, &format!("tty{number}"))?;
        terminals.push(pair.master);
    }
    Ok(Consoles { console, terminals })
}

fn in_memory(size: &str, attributes: MountAttrFlags) -> Step<OwnedFd> {
    let make = || {
        let context = FsContext::open("tmpfs")?;
        context.set_string("source", b"none")?;
        context.set_string("size", size.as_bytes())?;
        context.set_string("mode", b"755")?;
        context.mount(attributes)
    };
    make().at("make a file system in memory")
}

/// Every file system of this kind that is made is a new instance.
fn pseudo_terminals(settings: &Settings) -> Step<OwnedFd> {
    let make = || {
        let context = FsContext::open("devpts")?;
        context.set_string("source", b"devpts")?;
        context.set_string("ptmxmode", b"0666")?;
        context.set_string("mode", b"0620")?;
        // A group that is not mapped would be refused.
        if !settings.identities.are_mapped() || settings.identities.group_outside(TTY_GROUP).is_some() {
            context.set_string("gid", TTY_GROUP.to_string().as_bytes())?;
        }
        if settings.terminals.pty_max > 0 {
            let most = settings
                .terminals
                .pty_max
                .saturating_add(settings.terminals.count)
                .saturating_add(SPARE_TERMINALS);
            context.set_string("max", most.to_string().as_bytes())?;
        }
        context.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
    };
    make().at("make the pseudo-terminals")
}

fn new_terminal(pts: &OwnedFd) -> Step<Pair> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = openat(pts, "ptmx", flags, Mode::empty()).at("make a terminal")?;
    Pair::of(master).at("make a terminal")
}

fn show(pair: &Pair, dev: &OwnedFd, name: &str) -> Step {
    let about = |failure: Failure| failure.about(format!("/dev/{name}"));
    mknodat(dev, name, FileType::RegularFile, Mode::from_raw_mode(0o600), 0).at("make").map_err(about)?;
    show_upon(pair.peer.as_fd(), inside(dev, name)?).map_err(about)
}

/// Shows a console of the host's in a `/dev` that the root filesystem brings along.
pub(super) fn show_host_console(root: &RootDir, pair: &Pair) -> Step {
    match root.open(Path::new("dev/console"), OFlags::PATH) {
        Ok(place) => show_upon(pair.peer.as_fd(), place),
        // A tree without one gets none: what it has is what its owner wanted.
        Err(_) => Ok(()),
    }
}
