//! Snapshots and clones: an independent image with the same content, which shares blocks where the file system below can.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use keiki_core::context::{Context, Progress};
use keiki_core::homes::{MakeSteps, Place, Shape};
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_filesystem::FileSystemType;
use rustix::fs::{SeekFrom, copy_file_range, fstat, ftruncate, ioctl_ficlone, seek, syncfs};
use rustix::io::{Errno, retry_on_intr};

use crate::attach::{plan, superblock};
use crate::create::make;
use crate::idle::{PATIENCE, becomes_idle};
use crate::resize;
use crate::spec::Spec;

const CLONE: MakeSteps = MakeSteps { make: "loop.clone", mark: "loop.mark", publish: "loop.publish" };

/// The kernel copies at most this much in one call, so that progress is seen.
const MOST_AT_ONCE: u64 = 64 << 20;

/// Makes `target` hold what `source` holds now.
///
/// # Behavior
/// A target with a larger `fssize` grows to it; one with a smaller gets the size of its source.
///
/// # Errors
/// `Unsupported` for another `fstype` than the source's.
pub(crate) fn copy(context: &Context, source: &Volume, target: &Volume) -> Result<()> {
    let spec = Spec::parse(&target.properties)?;
    make(context, target, &CLONE, |image, path| {
        let from = Place::of_existing(source, Shape::File)?;
        let content = from.open_ours()?;
        let fstype = superblock(reopened(&content)?, from.path())?.fstype;
        write_back(fstype, &from, &content)?;
        refuse_other_type(spec, fstype, source)?;
        share_or_copy(context, &content, image)
            .or_err(|| format!("cannot copy `{}` to `{}`", from.path().display(), path.display()))?;
        drop(content);
        // Two of one identity: btrfs mixes them up, xfs is mounted with `nouuid`, ext4 only confuses its owner.
        if fstype != FileSystemType::Xfs {
            keiki_filesystem::renew_uuid(context, fstype, path)?;
        }
        let size = fstat(image).or_err(|| format!("cannot look at `{}`", path.display()))?.st_size;
        match spec.size {
            Some(wanted) if u64::try_from(size).is_ok_and(|size| size < wanted.0) => {
                resize::grow_idle(context, fstype, image, path, wanted).map(|_| ())
            }
            _ => Ok(()),
        }
    })
}

/// Waits until an image holds everything that was written through its mounts.
fn write_back(fstype: FileSystemType, from: &Place, image: &OwnedFd) -> Result<()> {
    // Those of a container that has just ended are being taken away.
    if becomes_idle(from, image, PATIENCE)?.is_idle() {
        return Ok(());
    }
    // Somebody looks at it. The engine knows that nobody writes; what was written before is brought into the image.
    let mount = execute(&plan(fstype, from.path(), AttachMode::ReadOnly))?;
    let root = keiki_sys::filesystem_size::reopen(mount.as_fd()).map_err(std::io::Error::from);
    root.and_then(|root| Ok(syncfs(root)?))
        .or_err(|| format!("cannot write back `{}`", from.path().display()))
}

fn reopened(file: &OwnedFd) -> Result<OwnedFd> {
    file.try_clone().map_err(|error| Error::io("cannot duplicate a descriptor", error))
}

fn refuse_other_type(spec: Spec, fstype: FileSystemType, source: &Volume) -> Result<()> {
    match spec.fstype {
        Some(wanted) if wanted != fstype => Err(Error::new(
            ErrorKind::Unsupported,
            format!("a clone of `{}` has its file system, {fstype}, and not {wanted}", source.source),
        )
        .with_hint("leave `fstype` out")),
        _ => Ok(()),
    }
}

/// Returns whether two files, one of which is new and empty, can share blocks; does it if they can.
fn share_or_copy(context: &Context, from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    match retry_on_intr(|| ioctl_ficlone(to, from)) {
        // About this pair of file systems, or this file (btrfs without checksums).
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS | Errno::INVAL) => {
            copy_around_holes(context, from, to)
        }
        other => other,
    }
}

/// Copies what is not a hole.
fn copy_around_holes(context: &Context, from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let size = u64::try_from(fstat(from)?.st_size).map_err(|_| Errno::INVAL)?;
    ftruncate(to, size)?;
    let mut end = 0;
    while end < size {
        let start = match seek(from, SeekFrom::Data(end)) {
            // A hole until the end.
            Err(Errno::NXIO) => break,
            other => other?,
        };
        end = seek(from, SeekFrom::Hole(start))?;
        copy_range(from, to, start, end)?;
        context.progress(Progress { entries: 0, bytes: end });
    }
    Ok(())
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Result<(), Errno> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let length = usize::try_from((end - read).min(MOST_AT_ONCE)).unwrap_or(usize::MAX);
        match retry_on_intr(|| copy_file_range(from, Some(&mut read), to, Some(&mut written), length)) {
            Ok(0) => return Err(Errno::IO),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                return copy_by_hand(from, to, read, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> Result<(), Errno> {
    let mut buffer = vec![0; 1 << 20];
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let count = retry_on_intr(|| rustix::io::pread(from, &mut buffer[..length], at))?;
        if count == 0 {
            return Err(Errno::IO);
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let written = retry_on_intr(|| rustix::io::pwrite(to, rest, at))?;
            at += written as u64;
            rest = &rest[written..];
        }
    }
    Ok(())
}

/// Refuses what a clone that shares blocks cannot be, before anything is made.
///
/// # Errors
/// `Unsupported` when source and target are on two file systems, of which the target's could share.
pub(crate) fn refuse_apart(source: &Path, target: &Path) -> Result<()> {
    let device = |path: &Path| {
        // The home need not be there yet; what it will be in is.
        path.ancestors()
            .find_map(|path| std::fs::metadata(path).ok())
            .map(|found| std::os::unix::fs::MetadataExt::dev(&found))
    };
    if device(source) == device(target) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "`{}` and `{}` are on two file systems, which share no blocks",
            source.display(),
            target.display()
        ),
    )
    .with_hint("copy instead: `keiki clone --copy`"))
}
