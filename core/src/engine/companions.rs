//! Files beside the root filesystem that a configuration names: a clone gets copies of its own, as LXC gives it (an fstab, hook
//! scripts, includes).
//!
//! Only regular files below the source's home are copied, found without following a link; the editor decides which values
//! name such files. A file that is not there is left to whoever reads the configuration: it was missing before.

use std::fs::{DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::Engine;
use crate::error::{Result, ResultExt};

/// What a home holds that has its own way into a clone, or none.
const OWN_WAY: [&str; 9] =
    ["rootfs", "overlay", "snaps", "rootdev", "config", "lxc_snapshots", "lxc_rdepends", "ts", "comment"];

impl Engine {
    /// Copies every file of `home` that `config` names into the staging home of a clone.
    pub(super) fn copy_companions(&self, config: &[u8], home: &Path, staging: &Path) -> Result<()> {
        for path in self.editor.companions(config, home)? {
            let Some(relative) = path.strip_prefix(home).ok().filter(|path| is_plain(path)) else { continue };
            copy(home, relative, staging)
                .or_err(|| format!("cannot copy `{}`, which the configuration names", path.display()))?;
        }
        Ok(())
    }
}

fn is_plain(relative: &Path) -> bool {
    let mut components = relative.components();
    let first = components.clone().next();
    components.all(|part| matches!(part, Component::Normal(_)))
        && first.is_some_and(|first| !OWN_WAY.iter().any(|own| first.as_os_str() == *own))
}

fn copy(home: &Path, relative: &Path, staging: &Path) -> std::io::Result<()> {
    let Some(mut from) = open(home, relative)? else { return Ok(()) };
    let metadata = from.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mut directories: Vec<PathBuf> = Vec::new();
    for parent in relative.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
        directories.push(staging.join(parent));
    }
    if let Some(deepest) = directories.first() {
        DirBuilder::new().recursive(true).mode(0o770).create(deepest)?;
    }
    let mut to = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(metadata.mode() & 0o7777)
        .open(staging.join(relative))?;
    std::io::copy(&mut from, &mut to)?;
    fchown(&to, Some(metadata.uid()), Some(metadata.gid()))?;
    // Set again: the mask of the process took bits away, and a change of owner does too.
    to.set_permissions(metadata.permissions())?;
    to.sync_all()?;
    directories.iter().try_for_each(|directory| File::open(directory)?.sync_all())
}

/// Opens a file below `home` without following any link; `None` when it is not there.
fn open(home: &Path, relative: &Path) -> std::io::Result<Option<File>> {
    let home = File::open(home)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(home.as_fd(), relative, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_beside_the_volume_are_companions() {
        for (path, expected) in [
            ("fstab", true),
            ("hooks/start.sh", true),
            ("rootfs/etc/fstab", false),
            ("snaps/snap0/fstab", false),
            ("config", false),
            ("../other/fstab", false),
            ("/etc/fstab", false),
            ("", false),
        ] {
            assert_eq!(is_plain(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_copy_keeps_mode_and_place_and_never_follows_a_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let ground = tempfile::tempdir().unwrap();
        let (home, staging) = (ground.path().join("home"), ground.path().join("staging"));
        std::fs::create_dir_all(home.join("hooks")).unwrap();
        std::fs::create_dir(&staging).unwrap();
        std::fs::write(home.join("hooks/start.sh"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(home.join("hooks/start.sh"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        symlink("/etc/shadow", home.join("fstab")).unwrap();
        for relative in ["hooks/start.sh", "fstab", "absent", "hooks"] {
            copy(&home, Path::new(relative), &staging).unwrap();
        }
        let copied = staging.join("hooks/start.sh").metadata().unwrap();
        assert_eq!(copied.permissions().mode() & 0o7777, 0o755);
        assert!(!staging.join("fstab").exists() && !staging.join("absent").exists());
    }
}
