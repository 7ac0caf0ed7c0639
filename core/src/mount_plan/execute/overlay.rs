//! Stacks of layers, made ready: what is missing is named, what is to be mapped is mapped, what lives in memory is made.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_sys::mount::{self, FsContext};
use keiki_tree::RootMetadata;
use rustix::fs::{Mode, OFlags, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::stack::{Stack, Writes};
use super::{How, explain, map_ids};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mount_plan::Upper;
use crate::units::Bytes;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where all ids map to themselves: the user namespace in which a machine starts.
const INITIAL_ID_MAP: [&str; 3] = ["0", "0", "4294967295"];

/// What layers named as `/proc/self/fd/N` need until the stack is mounted.
#[derive(Default)]
pub(super) struct Held {
    /// Detached mounts in which layers lie.
    pub(super) trees: Vec<OwnedFd>,
    /// Open directories in them.
    directories: Vec<OwnedFd>,
    /// As whom overlayfs makes its own files, where that is not ourselves.
    pub(super) owner: Option<(u32, u32)>,
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
pub(super) fn descriptor_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Trusted attributes are out of reach in a user namespace; overlayfs keeps its notes in `user.overlay.*` there.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_whitespace().eq(INITIAL_ID_MAP))
}
