//! Stacks of layers: three ways to say them to the kernel, and an upper layer in memory.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_sys::mount::{
    self, FsContext, MountError, Reach, VALUE_MAX, clone_tree, mount_classic, private::in_private_namespace,
};
use keiki_tree::RootMetadata;
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Calls, explain, set_options};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mount_plan::Upper;
use crate::units::Bytes;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where all ids map to themselves: the user namespace in which a machine starts.
const INITIAL_ID_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// A stack, ready to be said to the kernel in one way or another.
struct Stack<'a> {
    lowers: &'a [PathBuf],
    writes: Option<Writes>,
    options: Vec<String>,
}

/// Where changes go.
struct Writes {
    upper: PathBuf,
    work: PathBuf,
    /// The file system in memory that holds both, if it does.
    memory: Option<OwnedFd>,
    /// What keeps `/proc/self/fd` paths of the memory alive.
    _held: Vec<OwnedFd>,
}

/// Makes the stack and returns it detached.
pub(super) fn stack(lowers: &[PathBuf], upper: &Upper, options: &[String], calls: Calls) -> Result<OwnedFd> {
    let [top, ..] = lowers else {
        return Err(Error::new(ErrorKind::Internal, "an overlay needs at least one lower layer"));
    };
    check_layers(lowers)?;
    let shown = || format!("cannot stack {} upon `{}`", layers_shown(lowers.len()), top.display());
    let writes = match upper {
        Upper::Directory { upper, work } => Some(on_disk(upper, work)?),
        Upper::Memory { size } => Some(in_memory(top, *size)?),
        // Overlayfs wants two layers at least; one alone is a directory.
        Upper::None if lowers.len() == 1 => return super::directory(top),
        Upper::None => None,
    };
    let mut options = options.to_vec();
    if in_user_namespace() && !options.iter().any(|option| option == "userxattr") {
        options.push("userxattr".to_owned());
    }
    Stack { lowers, writes, options }.mount(calls).map_err(|error| explain(error, shown()))
}

fn layers_shown(count: usize) -> String {
    if count == 1 { "a layer".to_owned() } else { format!("a layer and {} more", count - 1) }
}

/// Refuses a missing layer by name; the kernel would only say `ENOENT` about the whole.
fn check_layers(lowers: &[PathBuf]) -> Result<()> {
    for (index, lower) in lowers.iter().enumerate() {
        let shown = || format!("cannot use layer {} of {}, `{}`", index + 1, lowers.len(), lower.display());
        if !std::fs::metadata(lower).map_err(|error| Error::io(shown(), error))?.is_dir() {
            return Err(Error::new(ErrorKind::InvalidArgument, shown()).with_source(Errno::NOTDIR));
        }
    }
    Ok(())
}

fn on_disk(upper: &Path, work: &Path) -> Result<Writes> {
    for directory in [upper, work] {
        open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .or_err(|| format!("cannot open `{}`, which the overlay writes to", directory.display()))?;
    }
    Ok(Writes { upper: upper.to_owned(), work: work.to_owned(), memory: None, _held: Vec::new() })
}

/// Makes a file system in memory with an upper layer whose root looks like that of the layer below.
fn in_memory(top: &Path, size: Option<Bytes>) -> Result<Writes> {
    let memory =
        tmpfs(size).map_err(|error| explain(error, "cannot make an upper layer in memory".to_owned()))?;
    let shown = || "cannot prepare the upper layer in memory".to_owned();
    let mode = Mode::from_raw_mode(0o700);
    mkdirat(&memory, "upper", mode).or_err(shown)?;
    mkdirat(&memory, "work", mode).or_err(shown)?;
    let upper = openat(&memory, "upper", DIRECTORY, Mode::empty()).or_err(shown)?;
    let work = openat(&memory, "work", DIRECTORY, Mode::empty()).or_err(shown)?;
    let below = open(top, DIRECTORY, Mode::empty()).or_err(shown)?;
    RootMetadata::of(below.as_fd()).and_then(|meta| meta.apply(upper.as_fd())).or_err(shown)?;
    Ok(Writes {
        upper: descriptor_path(&upper),
        work: descriptor_path(&work),
        memory: Some(memory),
        _held: vec![upper, work],
    })
}

fn tmpfs(size: Option<Bytes>) -> mount::Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set_string("mode", b"0700")?;
    if let Some(Bytes(size)) = size {
        context.set_string("size", size.to_string().as_bytes())?;
    }
    context.mount(MountAttrFlags::empty())
}

/// Returns a name for an open directory that any thread of this process can resolve.
fn descriptor_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Trusted attributes are out of reach in a user namespace; overlayfs keeps its notes in `user.overlay.*` there.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_whitespace().eq(INITIAL_ID_MAP))
}

impl Stack<'_> {
    fn mount(&self, calls: Calls) -> mount::Result<OwnedFd> {
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
        // Before Linux 6.15 overlayfs cannot write into a mount that is attached nowhere, and says EINVAL.
        let is_memory = self.writes.as_ref().is_some_and(|writes| writes.memory.is_some());
        let cannot_hear =
            error.is_missing_call() || error.errno == Errno::NAMETOOLONG || is_unknown_parameter(&error);
        if cannot_hear || (is_memory && error.errno == Errno::INVAL) {
            // Where the old way is refused too, the words of the new one say more.
            return self.classic().map_err(|older| if older.errno == error.errno { error } else { older });
        }
        Err(error)
    }

    fn layer_by_layer(&self) -> mount::Result<OwnedFd> {
        let context = FsContext::open("overlay")?;
        for lower in self.lowers {
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

    /// Mounts upon the topmost layer, which surely exists, where nobody else sees it, and copies the mount out.
    fn classic(&self) -> mount::Result<OwnedFd> {
        let (options, place) = (self.option_string(), self.lowers[0].as_path());
        let memory = self.writes.as_ref().and_then(|writes| writes.memory.as_ref());
        in_private_namespace(|| {
            if let Some(memory) = memory {
                // Upon the root: it is attached then, but no path that starts at our root sees it.
                mount::attach(memory, Path::new("/"))?;
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
