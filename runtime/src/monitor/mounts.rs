//! The mount namespace of a container: its root, the entries of its configuration, and the change of root.
//!
//! Sources of the host are resolved as the host's names; targets only through [`RootDir`]; what was resolved is mounted
//! by descriptor, so that nothing is resolved twice.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_sys::mount::{self, Attributes, FsContext, Propagation, Reach};
use keiki_sys::rootdir::{Missing, RootDir};
use rustix::fs::OFlags;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount_change, open_tree, unmount,
};

use crate::failure::{AtStep, Failure, Step};
use crate::settings::mounts::entry::{Bind, Create, Events, MountEntry, Owners};

/// Cuts the namespace off from the host's: no mount event travels in either direction.
pub(super) fn isolate() -> Step {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at("isolate the mounts")
}

/// Opens the directory that the root filesystem is attached at, until it becomes the root.
pub(super) fn mount_point(path: &Path) -> Step<OwnedFd> {
    use rustix::fs::{Mode, open};
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at("open the mount point")
        .map_err(|failure| failure.about(path.display()))
}

/// Attaches the root filesystem at a place that only this namespace sees, and returns it as a tree.
pub(super) fn attach_root(root: OwnedFd, place: &OwnedFd) -> Step<RootDir> {
    mount::attach_at(&root, place).at("attach the root filesystem")?;
    Ok(RootDir::new(root))
}

/// Makes the tree the root of everything and takes the host's away.
pub(super) fn change_root(root: &RootDir) -> Step {
    rustix::process::fchdir(root).at("enter the root filesystem")?;
    rustix::process::pivot_root(".", ".").at("change the root")?;
    // The old root lies upon the new one now, and goes with everything below it.
    unmount(".", UnmountFlags::DETACH).at("take the host's root away")?;
    rustix::process::chdir("/").at("enter the root filesystem")
}

/// Opens what the entries show of the host, each as a detached mount; `None` for those that show nothing of it, and for optional
/// ones whose source is missing.
///
/// # Behavior
/// The monitor does it: in a user namespace of its own, a first process could not even look at much of the host.
pub(super) fn host_sources(entries: &[MountEntry]) -> Step<Vec<Option<OwnedFd>>> {
    let source = |entry: &MountEntry| match host_source(entry) {
        Err(_) if entry.optional => Ok(None),
        other => other.map_err(|failure| failure.about(&entry.source)),
    };
    entries.iter().map(source).collect()
}

fn host_source(entry: &MountEntry) -> Step<Option<OwnedFd>> {
    let Some(reach) = reach(entry).filter(|_| !entry.relative) else { return Ok(None) };
    let mount = mount::clone_tree(Path::new(&entry.source), reach).at("find the mount source")?;
    restrict(&mount, entry, reach)?;
    if let Some(Owners::Namespace(path)) = &entry.owners {
        let namespace = File::open(path).at("open the user namespace");
        map_owners(&mount, reach, &namespace.map_err(|failure| failure.about(path.display()))?)?;
    }
    Ok(Some(mount))
}

/// Returns further descriptors of the same mounts.
pub(super) fn duplicates(sources: &[Option<OwnedFd>]) -> Step<Vec<Option<OwnedFd>>> {
    let copies = sources.iter().map(|source| source.as_ref().map(OwnedFd::try_clone).transpose());
    copies.collect::<std::io::Result<_>>().at("copy the mount's descriptor")
}

/// Shows the files of those entries that ask for it as the container's own.
pub(super) fn map_sources(entries: &[MountEntry], sources: &[Option<OwnedFd>], namespace: &OwnedFd) -> Step {
    for (entry, source) in entries.iter().zip(sources) {
        let (Some(source), Some(Owners::Container), Some(reach)) = (source, &entry.owners, reach(entry))
        else {
            continue;
        };
        map_owners(source, reach, namespace).map_err(|failure| failure.about(&entry.source))?;
    }
    Ok(())
}

fn map_owners(mount: &OwnedFd, reach: Reach, namespace: impl AsFd) -> Step {
    let wanted = Attributes { id_map: Some(namespace.as_fd()), ..Attributes::NONE };
    mount::set_attributes(mount, &wanted, reach).at("map the owners of the mount")
}

/// Mounts one line of the configuration; `source` is what [`host_sources`] opened for it.
pub(super) fn mount_entry(root: &RootDir, entry: &MountEntry, source: Option<OwnedFd>) -> Step {
    match try_entry(root, entry, source) {
        Err(_) if entry.optional => Ok(()),
        other => other.map_err(|failure| failure.about(format!("/{}", entry.target.display()))),
    }
}

fn try_entry(root: &RootDir, entry: &MountEntry, source: Option<OwnedFd>) -> Step {
    let mount = match (source, reach(entry)) {
        (Some(source), _) => source,
        (None, None) => file_system(entry)?,
        (None, Some(reach)) if entry.relative => second_view(root, entry, reach)?,
        // Optional, and not there.
        (None, Some(_)) => return Ok(()),
    };
    let missing = match entry.create {
        Create::Nothing => Missing::Refuse,
        Create::Directory => Missing::MakeDirectory,
        Create::File => Missing::MakeFile,
    };
    let target = root.mount_target(&entry.target, missing).at("find the mount target")?;
    mount::attach_at(&mount, &target).at("mount")
}

fn reach(entry: &MountEntry) -> Option<Reach> {
    match entry.bind {
        Bind::None => None,
        Bind::Single => Some(Reach::Single),
        Bind::Recursive => Some(Reach::Recursive),
    }
}

fn file_system(entry: &MountEntry) -> Step<OwnedFd> {
    let make = || {
        let context = FsContext::open(&entry.fstype)?;
        context.set_string("source", entry.source.as_bytes())?;
        for option in &entry.data {
            match option.split_once('=') {
                Some((key, value)) => context.set_string(key, value.as_bytes())?,
                None => context.set_flag(option)?,
            }
        }
        context.mount(MountAttrFlags::from_bits_retain(entry.attributes))
    };
    make().at("mount")
}

/// Shows a place of the container's own tree a second time.
fn second_view(root: &RootDir, entry: &MountEntry, reach: Reach) -> Step<OwnedFd> {
    let inside = root.open(Path::new(&entry.source), OFlags::PATH).at("find the mount source")?;
    let mount = clone_of(inside, reach)?;
    restrict(&mount, entry, reach)?;
    Ok(mount)
}

fn restrict(mount: &OwnedFd, entry: &MountEntry, reach: Reach) -> Step {
    let propagation = match entry.events {
        Events::Private => Propagation::Private,
        Events::Slave => Propagation::Slave,
        Events::Shared => Propagation::Shared,
        Events::Unbindable => Propagation::Unbindable,
    };
    let set = MountAttrFlags::from_bits_retain(entry.attributes);
    mount::set_attributes(mount, &Attributes { set, propagation, ..Attributes::NONE }, reach)
        .at("set the mount's attributes")
}

/// Returns a detached copy of the mount that shows an open file or directory.
pub(super) fn clone_of(place: impl AsFd, reach: Reach) -> Step<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if reach == Reach::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(place, c"", flags).at("copy the mount")
}

/// Shows what is open as `what` upon what is open as `place`.
pub(super) fn show_upon(what: impl AsFd, place: impl AsFd) -> Step {
    let copy = clone_of(what, Reach::Single)?;
    mount::attach_at(&copy, place).at("mount")
}

/// Makes a mount read-only.
pub(super) fn forbid_writing(mount: impl AsFd) -> Step {
    let wanted = Attributes { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Attributes::NONE };
    mount::set_attributes(mount, &wanted, Reach::Single).at("make the mount read-only")
}

/// Opens a name inside a file system that we just made, where no link of others can be.
pub(super) fn inside(mount: impl AsFd, name: &str) -> Step<OwnedFd> {
    use rustix::fs::{Mode, openat};
    openat(mount, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .at("open")
        .map_err(|failure: Failure| failure.about(name))
}
