//! A stack of layers is said to the kernel in one of three ways.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_sys::mount::{
    self, FsContext, MountError, Reach, VALUE_MAX, clone_tree, mount_classic,
    private::{as_owner, in_private_namespace},
};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::overlay::{Held, descriptor_path};
use super::{Calls, set_options};

/// A stack, ready to be said to the kernel in one way or another.
pub(super) struct Stack {
    /// A directory that surely exists and is named by a path of its own.
    pub(super) place: PathBuf,
    pub(super) lowers: Vec<PathBuf>,
    pub(super) writes: Option<Writes>,
    pub(super) options: Vec<String>,
    pub(super) held: Held,
}

/// Where changes go.
pub(super) struct Writes {
    pub(super) upper: PathBuf,
    pub(super) work: PathBuf,
}

impl Stack {
    /// Mounts the stack and returns it detached.
    pub(super) fn mount(&self, calls: Calls) -> mount::Result<OwnedFd> {
        match self.held.owner {
            Some((uid, gid)) => as_owner(uid, gid, || self.mount_by(calls)),
            None => self.mount_by(calls),
        }
    }

    fn mount_by(&self, calls: Calls) -> mount::Result<OwnedFd> {
        match calls {
            Calls::Classic => self.classic(),
            Calls::OneString => self.as_one_string().or_else(|error| self.or_classic(error)),
            Calls::Best => self.layer_by_layer().or_else(|error| self.or_older(error)),
        }
    }

    /// Only a kernel that does not know how to hear us is asked in an older way; every other refusal stands.
    fn or_older(&self, error: MountError) -> mount::Result<OwnedFd> {
        if is_unknown_parameter(&error) {
            return self.as_one_string().or_else(|error| self.or_classic(error));
        }
        self.or_classic(error)
    }

    fn or_classic(&self, error: MountError) -> mount::Result<OwnedFd> {
        // Before Linux 6.15 overlayfs cannot use a layer in a mount that is attached nowhere, and says EINVAL.
        let is_detached = !self.held.trees.is_empty();
        let cannot_hear =
            error.is_missing_call() || error.errno == Errno::NAMETOOLONG || is_unknown_parameter(&error);
        if cannot_hear || (is_detached && error.errno == Errno::INVAL) {
            // Where the old way is refused too, the words of the new one say more.
            return self.classic().map_err(|older| if older.errno == error.errno { error } else { older });
        }
        Err(error)
    }

    fn layer_by_layer(&self) -> mount::Result<OwnedFd> {
        let context = FsContext::open("overlay")?;
        for lower in &self.lowers {
            set_layer(&context, "lowerdir+", lower, Reading::Literal)?;
        }
        self.finish(context)
    }

    fn as_one_string(&self) -> mount::Result<OwnedFd> {
        let context = FsContext::open("overlay")?;
        let joined = self.lowers_joined(b":\\");
        if joined.len() > VALUE_MAX {
            return Err(MountError::new(
                "fsconfig(overlay, FSCONFIG_SET_STRING, \"lowerdir\", …)",
                Errno::NAMETOOLONG,
            ));
        }
        context.set_string("lowerdir", &joined)?;
        self.finish(context)
    }

    fn finish(&self, context: FsContext) -> mount::Result<OwnedFd> {
        if let Some(writes) = &self.writes {
            set_layer(&context, "upperdir", &writes.upper, Reading::Unescaped)?;
            set_layer(&context, "workdir", &writes.work, Reading::Unescaped)?;
        }
        set_options(&context, &self.options)?;
        context.mount(MountAttrFlags::empty())
    }

    /// Mounts upon the topmost layer, where nobody else sees it, and copies the mount out.
    fn classic(&self) -> mount::Result<OwnedFd> {
        let (options, place) = (self.option_string(), self.place.as_path());
        in_private_namespace(|| {
            for tree in &self.held.trees {
                // Upon the root: it is attached then, but no path that starts at our root sees it.
                mount::attach(tree, Path::new("/"))?;
            }
            mount_classic("overlay", place, &options)?;
            clone_tree(place, Reach::Single)
        })
    }

    /// Writes the options as one string. The kernel takes backslashes away once, so everything is escaped at once.
    fn option_string(&self) -> Vec<u8> {
        let mut text = b"lowerdir=".to_vec();
        text.extend(self.lowers_joined(b":,\\"));
        if let Some(writes) = &self.writes {
            for (key, path) in [(&b",upperdir="[..], &writes.upper), (b",workdir=", &writes.work)] {
                text.extend(key);
                text.extend(escaped(path, b",\\"));
            }
        }
        for option in &self.options {
            text.push(b',');
            text.extend(option.as_bytes());
        }
        text
    }

    fn lowers_joined(&self, special: &[u8]) -> Vec<u8> {
        let layers: Vec<_> = self.lowers.iter().map(|lower| escaped(lower, special)).collect();
        layers.join(&b':')
    }
}

/// How the kernel reads a layer that is given as a string.
#[derive(Clone, Copy)]
enum Reading {
    /// As it is (`lowerdir+`).
    Literal,
    /// Backslashes are taken away (`upperdir`, `workdir`).
    Unescaped,
}

/// Names a layer by its path, or by descriptor where the path is too long for the call.
fn set_layer(context: &FsContext, key: &str, path: &Path, reading: Reading) -> mount::Result<()> {
    let text = match reading {
        Reading::Literal => path.as_os_str().as_bytes().to_vec(),
        Reading::Unescaped => escaped(path, b"\\"),
    };
    if text.len() <= VALUE_MAX {
        return context.set_string(key, &text);
    }
    let fd = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| MountError::new(format!("open({path:?}, O_PATH|O_DIRECTORY)"), errno))?;
    // A descriptor itself is taken since Linux 6.13; its name under /proc always.
    let name = descriptor_path(&fd);
    context.set_fd(key, fd.as_fd()).or_else(|_| context.set_string(key, name.as_os_str().as_bytes()))
}

/// Returns a path with a backslash before every byte of `special`.
fn escaped(path: &Path, special: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

fn is_unknown_parameter(error: &MountError) -> bool {
    error.errno == Errno::INVAL && error.messages.iter().any(|message| message.contains("Unknown parameter"))
}
