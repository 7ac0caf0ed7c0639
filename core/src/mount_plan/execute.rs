//! A [`MountPlan`] becomes a detached mount: a descriptor on nobody's mount table.
//!
//! The new mount calls do everything. Where an older kernel cannot say a stack of layers with them (`lowerdir+` is as old as
//! Linux 6.5, and one string holds 255 bytes), the stack is mounted with `mount(2)` on a thread in a private mount
//! namespace and copied out of it as a descriptor. Either way the host's mount table never shows it.
//!
//! For a user namespace, what is mounted is id-mapped: a directory or file system itself, a stack layer by layer, because
//! overlayfs cannot be mapped as a whole.
//!
//! What it does not do: it activates no device, except for images, whose loop devices live no longer than their mounts.

mod image;
mod overlay;
mod stack;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use keiki_sys::mount::{
    self, Attributes, FsContext, MountError, Propagation, Reach, clone_tree, set_attributes,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{MountPlan, MountRecipe};
use crate::error::{Error, ErrorKind, Result};

/// By which calls a stack of layers is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Calls {
    /// The best ones that this kernel has.
    #[default]
    Best,
    /// One `lowerdir` string through the new calls, as before Linux 6.5.
    OneString,
    /// `mount(2)` in a private mount namespace.
    Classic,
}

/// Makes the mount of `plan` and returns it detached; it lives as long as the descriptor, or until it is attached.
///
/// # Behavior
/// A mount made so is private: no mount event travels into it or out of it.
///
/// # Requires
/// Linux 5.12 and `CAP_SYS_ADMIN` over the mount namespace.
///
/// # Errors
/// `NotFound` naming the directory that is missing; `Unavailable` when the kernel lacks the file system or the calls;
/// else what the kernel says, with the messages of the file system context.
pub fn execute(plan: &MountPlan) -> Result<OwnedFd> {
    execute_by(plan, Calls::Best)
}

/// Makes the mount of `plan` as it shows in a user namespace: who is `0` on the disk is the namespace's `0`.
///
/// # Requires
/// A file system that can be id-mapped, below every layer.
///
/// # Errors
/// As [`execute`].
pub fn execute_mapped(plan: &MountPlan, namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    make(plan, How { calls: Calls::Best, id_map: Some(namespace) })
}

/// Makes the mount of `plan` by the given calls, so that the ways of older kernels can be tried on a new one.
///
/// # Errors
/// As [`execute`].
pub fn execute_by(plan: &MountPlan, calls: Calls) -> Result<OwnedFd> {
    make(plan, How { calls, id_map: None })
}

/// By which calls, and for whom.
#[derive(Clone, Copy)]
struct How<'a> {
    calls: Calls,
    /// A user namespace.
    id_map: Option<BorrowedFd<'a>>,
}

fn make(plan: &MountPlan, how: How<'_>) -> Result<OwnedFd> {
    let mount = match &plan.recipe {
        MountRecipe::Directory { path } => map_ids(directory(path)?, how.id_map)?,
        MountRecipe::Overlay { lowers, upper, options } => overlay::stack(lowers, upper, options, how)?,
        MountRecipe::Image { fstype, image, options } => {
            map_ids(image::mount_image(fstype, image, options, plan.read_only)?, how.id_map)?
        }
        MountRecipe::Filesystem { fstype, device, options } => {
            map_ids(filesystem(fstype, device, options, plan.read_only)?, how.id_map)?
        }
    };
    let mut wanted = Attributes { propagation: Propagation::Private, ..Attributes::NONE };
    if plan.read_only {
        wanted.set = MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    set_attributes(&mount, &wanted, Reach::Recursive)
        .map_err(|error| explain(error, "cannot set the attributes of the mount".to_owned()))?;
    Ok(mount)
}

/// Gives a detached mount the mapping of a user namespace.
fn map_ids(mount: OwnedFd, namespace: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    if namespace.is_some() {
        let wanted = Attributes { id_map: namespace, ..Attributes::NONE };
        set_attributes(&mount, &wanted, Reach::Single).map_err(|error| {
            let cannot = error.errno == Errno::INVAL;
            let explained = explain(error, "cannot map the owners of the mount".to_owned());
            if cannot {
                explained.with_hint("the file system or kernel has no id-mapped mounts")
            } else {
                explained
            }
        })?;
    }
    Ok(mount)
}

fn directory(path: &Path) -> Result<OwnedFd> {
    let shown = || format!("cannot mount the directory `{}`", path.display());
    if !std::fs::metadata(path).map_err(|e| Error::io(shown(), e))?.is_dir() {
        return Err(Error::new(ErrorKind::InvalidArgument, shown()).with_source(Errno::NOTDIR));
    }
    match clone_tree(path, Reach::Single) {
        // In a user namespace, cutting off what a more privileged one has mounted below would uncover it.
        Err(error) if error.errno == Errno::INVAL => clone_tree(path, Reach::Recursive),
        other => other,
    }
    .map_err(|error| explain(error, shown()))
}

fn filesystem(fstype: &str, device: &str, options: &[String], read_only: bool) -> Result<OwnedFd> {
    let is_ro = read_only && !options.iter().any(|option| option == "rw");
    let flags: &[&str] = if is_ro { &["ro"] } else { &[] };
    mount_device(fstype, device, options, flags)
        .map_err(|error| explain(error, format!("cannot mount `{device}` as {fstype}")))
}

fn mount_device(fstype: &str, device: &str, options: &[String], flags: &[&str]) -> mount::Result<OwnedFd> {
    let context = FsContext::open(fstype)?;
    context.set_string("source", device.as_bytes())?;
    flags.iter().try_for_each(|flag| context.set_flag(flag))?;
    set_options(&context, options)?;
    context.mount(MountAttrFlags::empty())
}

/// Sets options in the form of a mount table: `key=value`, or a word that is a flag.
fn set_options(context: &FsContext, options: &[String]) -> mount::Result<()> {
    options.iter().try_for_each(|option| match option.split_once('=') {
        Some((key, value)) => context.set_string(key, value.as_bytes()),
        None => context.set_flag(option),
    })
}

/// Turns a refused call into an error that says `message`, with kind and hint for what we know about it.
fn explain(error: MountError, message: String) -> Error {
    let kind = match error.errno {
        Errno::NODEV | Errno::NOSYS => ErrorKind::Unavailable,
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => ErrorKind::InvalidArgument,
        errno => ErrorKind::from_io(&errno.into()),
    };
    let hint = match error.errno {
        Errno::NODEV => {
            Some("load the kernel module of the file system: `modprobe overlay`, `modprobe ext4`, …")
        }
        Errno::NOSYS => Some("keiki needs Linux 5.12 or newer"),
        Errno::PERM => Some("run it as root, or in a user namespace of your own"),
        _ => None,
    };
    let explained = Error::new(kind, message).with_source(error);
    hint.into_iter().fold(explained, Error::with_hint)
}

#[cfg(test)]
mod tests;
