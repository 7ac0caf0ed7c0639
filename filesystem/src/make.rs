//! Makes a file system on a device or in an image file, over whatever was there.

use std::path::Path;

use keiki_core::context::Context;
use keiki_core::{Error, ErrorKind, Result};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom, fstat, open, seek};
use uuid::Uuid;

use crate::FileSystemType;
use crate::kind::effect;
use crate::lost_found;

/// By what a new file system can be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels<'a> {
    /// Its identity; the tool invents one when this is absent.
    pub uuid: Option<Uuid>,
    /// Its name: at most 12 bytes for xfs, 16 for ext4.
    pub label: Option<&'a str>,
}

/// Makes a file system of type `fstype` on `device`. What was there is lost.
///
/// # Behavior
/// It is empty: an ext4 has no `lost+found`, which `e2fsck` makes when it finds something. ext4 gets a checksum seed, so that a copy's
/// identity can be changed without rewriting it. Announced as `filesystem.make`.
///
/// # Errors
/// `InvalidArgument` for a device that is too small; `Unavailable` without the tool, naming its package; what the tool says.
pub fn make(context: &Context, fstype: FileSystemType, device: &Path, labels: Labels<'_>) -> Result<()> {
    let shown = || format!("cannot make {} {fstype} on `{}`", article(fstype), device.display());
    refuse_small(fstype, device).map_err(|error| error.while_doing(shown()))?;
    let mut call = fstype.mkfs().call().arg("-q");
    call = match fstype {
        // -F takes an image file for what it is. Smaller blocks, which it would choose for small devices, hold no large attributes.
        FileSystemType::Ext4 => call.args(["-F", "-b", "4096", "-O", "metadata_csum,metadata_csum_seed"]),
        FileSystemType::Xfs | FileSystemType::Btrfs => call.arg("-f"),
    };
    if let Some(uuid) = labels.uuid {
        call = match fstype {
            FileSystemType::Xfs => call.arg("-m").arg(format!("uuid={uuid}")),
            FileSystemType::Ext4 | FileSystemType::Btrfs => call.arg("-U").arg(uuid.to_string()),
        };
    }
    if let Some(label) = labels.label {
        call = call.arg("-L").arg(label);
    }
    effect(context, "filesystem.make", shown, || {
        call.arg(device).run(context)?;
        require_made(fstype, device)?;
        if fstype == FileSystemType::Ext4 { lost_found::remove(context, device) } else { Ok(()) }
    })
}

/// A tool that says nothing and makes nothing must not leave a volume that cannot be mounted.
fn require_made(fstype: FileSystemType, device: &Path) -> Result<()> {
    match crate::probe(device)? {
        Some(found) if found.fstype == fstype => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Protocol,
            format!("the tool ended well and there is no {fstype} on it"),
        )
        .with_hint(format!("see which `mkfs.{fstype}` is the first in PATH, and run it by hand"))),
    }
}

fn article(fstype: FileSystemType) -> &'static str {
    if fstype == FileSystemType::Btrfs { "a" } else { "an" }
}

fn refuse_small(fstype: FileSystemType, device: &Path) -> Result<()> {
    let (size, minimum) = (device_size(device)?, fstype.minimum());
    if size >= minimum.0 {
        return Ok(());
    }
    let text = format!("{size} bytes are less than the smallest {fstype}, {} bytes", minimum.0);
    Err(Error::new(ErrorKind::InvalidArgument, text)
        .with_hint(format!("choose a size of at least {}M", minimum.0.div_ceil(1 << 20))))
}

/// Returns the size of a block device or file.
pub(crate) fn device_size(device: &Path) -> Result<u64> {
    use keiki_core::ResultExt;
    let shown = || format!("cannot find out the size of `{}`", device.display());
    let file = open(device, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).or_err(shown)?;
    let kind = FileType::from_raw_mode(fstat(&file).or_err(shown)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::BlockDevice) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{}` is neither a block device nor a file", device.display()),
        ));
    }
    seek(&file, SeekFrom::End(0)).or_err(shown)
}
