//! Stacks of layers: three ways to say them to the kernel, and an upper layer in memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keiki_sys::mount::{
    self, FsContext, MountError, Reach, VALUE_MAX, clone_tree, mount_classic,
    private::{as_owner, in_private_namespace},
};
use keiki_tree::RootMetadata;
use rustix::fs::{Mode, OFlags, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Calls, How, explain, map_ids, set_options};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mount_plan::Upper;
use crate::units::Bytes;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where all ids map to themselves: the user namespace in which a machine starts.
const INITIAL_ID_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// A stack, ready to be said to the kernel in one way or another.
struct Stack {
    /// A directory that surely exists and is named by a path of its own.
    place: PathBuf,
    lowers: Vec<PathBuf>,
    writes: Option<Writes>,
    options: Vec<String>,
    held: Held,
}

/// Where changes go.
struct Writes {
    upper: PathBuf,
    work: PathBuf,
}

/// What layers named as `/proc/self/fd/N` need until the stack is mounted.
#[derive(Default)]
struct Held {
    /// Detached mounts in which layers lie.
    trees: Vec<OwnedFd>,
    /// Open directories in them.
    directories: Vec<OwnedFd>,
    /// As whom overlayfs makes its own files, where that is not ourselves.
    owner: Option<(u32, u32)>,
}

/// Makes the stack and returns it detached.
pub(super) fn stack(lowers: &[PathBuf], upper: &Upper, options: &[String], how: How<'_>) -> Result<OwnedFd> {
    let [top, ..] = lowers else {
        return Err(Error::new(ErrorKind::Internal, "an overlay needs at least one lower layer"));
    };
    check_layers(lowers)?;
    let shown = || format!("cannot stack {} upon `{}`", layers_shown(lowers.len()), top.display());
    let mut held = Held::default();
    let writes = match upper {
        Upper::Directory { upper, work } => Some(on_disk(upper, work, how.id_map, &mut held)?),
        Upper::Memory { size } => Some(in_memory(top, *size, how.id_map, &mut held)?),
        // Overlayfs wants two layers at least; one alone is a directory.
        Upper::None if lowers.len() == 1 => return map_ids(super::directory(top)?, how.id_map),
        Upper::None => None,
    };
    let lowers = match how.id_map {
        Some(_) => mapped(lowers, how.id_map, &mut held)?,
        None => lowers.to_vec(),
    };
    let mut options = options.to_vec();
    if in_user_namespace() && !options.iter().any(|option| option == "userxattr") {
        options.push("userxattr".to_owned());
    }
    Stack { place: top.to_owned(), lowers, writes, options, held }
        .mount(how.calls)
        .map_err(|error| explain(error, shown()))
}

/// Makes an id-mapped mount of every layer, and returns their names.
fn mapped(layers: &[PathBuf], namespace: Option<BorrowedFd<'_>>, held: &mut Held) -> Result<Vec<PathBuf>> {
    let mut names = Vec::with_capacity(layers.len());
    for layer in layers {
        let tree = map_ids(super::directory(layer)?, namespace)?;
        names.push(descriptor_path(&tree));
        held.trees.push(tree);
    }
    Ok(names)
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

fn on_disk(upper: &Path, work: &Path, namespace: Option<BorrowedFd<'_>>, held: &mut Held) -> Result<Writes> {
    for directory in [upper, work] {
        open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .or_err(|| format!("cannot open `{}`, which the overlay writes to", directory.display()))?;
    }
    if namespace.is_none() {
        return Ok(Writes { upper: upper.to_owned(), work: work.to_owned() });
    }
    // Both must be on one mount, so that their common parent is mapped.
    let above = upper.ancestors().skip(1).find(|above| work.starts_with(above)).unwrap_or(Path::new("/"));
    let tree = map_ids(super::directory(above)?, namespace)?;
    let below = |path: &Path| {
        let name = path.strip_prefix(above).unwrap_or(path);
        openat(&tree, name, DIRECTORY, Mode::empty()).or_err(|| format!("cannot open `{}`", path.display()))
    };
    let (upper, work) = (below(upper)?, below(work)?);
    held.own(&work)?;
    Ok(held.writes(tree, upper, work))
}

/// Makes a file system in memory with an upper layer whose root looks like that of the layer below.
fn in_memory(
    top: &Path,
    size: Option<Bytes>,
    namespace: Option<BorrowedFd<'_>>,
    held: &mut Held,
) -> Result<Writes> {
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
    // Only now: through a mapped mount we could not give anything to the owner of the layer below.
    let memory = map_ids(memory, namespace)?;
    if namespace.is_some() {
        held.own(&work)?;
    }
    Ok(held.writes(memory, upper, work))
}

impl Held {
    /// Lets overlayfs work as the owner of its scratch directory, who is nobody we are where that is id-mapped.
    fn own(&mut self, work: &OwnedFd) -> Result<()> {
        let found = fstat(work).or_err(|| "cannot look at the work directory".to_owned())?;
        self.owner = Some((found.st_uid, found.st_gid));
        Ok(())
    }

    /// Keeps the mount `tree` and two directories in it, and returns their names.
    fn writes(&mut self, tree: OwnedFd, upper: OwnedFd, work: OwnedFd) -> Writes {
        let writes = Writes { upper: descriptor_path(&upper), work: descriptor_path(&work) };
        self.trees.push(tree);
        self.directories.extend([upper, work]);
        writes
    }
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

impl Stack {
    fn mount(&self, calls: Calls) -> mount::Result<OwnedFd> {
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
