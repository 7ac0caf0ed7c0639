//! How an image is mounted: by the type that its superblock says, which is read each time.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use keiki_core::homes::{Place, Shape};
use keiki_core::mount_plan::{AttachMode, MountPlan, MountRecipe};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_filesystem::{Duplicate, FileSystemType, HEAD_LEN, Superblock, mount_options};

/// Returns the plan for mounting a volume, whoever made it: a container of LXC is started before it is adopted.
pub(crate) fn attach(volume: &Volume, mode: AttachMode) -> Result<MountPlan> {
    let place = Place::of_existing(volume, Shape::File)?;
    let fstype = superblock(place.open_any()?, place.path())?.fstype;
    Ok(plan(fstype, place.path(), mode))
}

/// Returns the plan for mounting an image.
pub(crate) fn plan(fstype: FileSystemType, image: &Path, mode: AttachMode) -> MountPlan {
    MountPlan {
        recipe: MountRecipe::Image {
            fstype: fstype.to_string(),
            image: image.to_owned(),
            // Every image may have a copy.
            options: mount_options(fstype, Duplicate::Possible),
        },
        read_only: mode == AttachMode::ReadOnly,
    }
}

/// Reads what an image says about its file system.
///
/// # Errors
/// `Unsupported` when it holds none that we know.
pub(crate) fn superblock(image: OwnedFd, path: &Path) -> Result<Superblock> {
    let mut head = vec![0; HEAD_LEN];
    let file = std::fs::File::from(image);
    let mut filled = 0;
    while filled < head.len() {
        let count = file
            .read_at(&mut head[filled..], filled as u64)
            .or_err(|| format!("cannot read `{}`", path.display()))?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    keiki_filesystem::parse(&head[..filled]).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("`{}` holds neither ext2, ext3, ext4 nor xfs nor btrfs", path.display()),
        )
        .with_hint(format!("see what it holds: `blkid -p {}`", path.display()))
    })
}
