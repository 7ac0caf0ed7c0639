//! Changing a container's configuration: read, edited and replaced under its lock, so that no change is lost to another.
//!
//! The file is replaced at once or not at all, so there is nothing to journal. Where the root filesystem is stays the engine's:
//! a configuration that names another place is refused.

use std::path::{Path, PathBuf};

use super::discover::no_container;
use super::locks::Hold;
use super::request::ContainerKey;
use super::{Engine, home};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};

/// Whether a file that is replaced stays under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// It goes.
    None,
    /// It stays beside the new one, with this behind its name.
    Suffix(&'static str),
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// It was so already.
    Unchanged,
    /// It was replaced; where the old one is, if it was kept.
    Replaced(Option<PathBuf>),
}

impl Engine {
    /// Replaces a container's configuration by what `edit` makes of its text and its path: the old one or the new one is there at
    /// every moment.
    ///
    /// # Behavior
    /// The container need not be in the catalogue. `edit` runs under the container's lock; the same text changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`]; [`ErrorKind::InvalidArgument`] for another root filesystem, and with the place
    /// for text that is not LXC configuration; [`ErrorKind::AlreadyExists`] for another backup of that name; what `edit` fails with.
    /// Nothing was changed then.
    pub fn edit_config(
        &self,
        context: &Context,
        key: &ContainerKey,
        backup: Backup,
        edit: impl FnOnce(&[u8], &Path) -> Result<Vec<u8>>,
    ) -> Result<Edited> {
        // An unfinished operation would put its own configuration over this one later.
        if self.catalogue.obstacle().is_none() {
            self.recover()?;
        }
        let path = key.home().join("config");
        // Before the lock, whose file would stay for a name that nobody has.
        if !home::exists(&path)? {
            return Err(no_container(key));
        }
        let _held = self.locks.take(context, &[(key, Hold::Exclusive)], "config")?;
        let old = self.read_config(key)?;
        let new = edit(&old, &path)?;
        self.require_same_rootfs(&old, &new, &path)?;
        replace(context, &path, (&old, &new), backup)
    }

    fn require_same_rootfs(&self, old: &[u8], new: &[u8], path: &Path) -> Result<()> {
        let after = self.editor.rootfs(new, path)?;
        // What cannot be read, or says nothing, is no place that could be lost.
        let Ok(Some(before)) = self.editor.rootfs(old, path) else { return Ok(()) };
        if after.as_ref() == Some(&before) {
            return Ok(());
        }
        let text = format!("the root filesystem of a container stays where it is: `{before}`");
        Err(Error::new(ErrorKind::InvalidArgument, text)
            .with_hint("`keiki clone` and `keiki rename` make and move root filesystems"))
    }
}

/// Replaces a file that is no container's, as [`Engine::edit_config`] does, without a lock.
///
/// # Errors
/// As [`Engine::edit_config`].
pub fn edit_file(
    context: &Context,
    path: &Path,
    backup: Backup,
    edit: impl FnOnce(&[u8], &Path) -> Result<Vec<u8>>,
) -> Result<Edited> {
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no file `{}`", path.display()));
    let old = home::read_file(path)?.ok_or_else(missing)?;
    let new = edit(&old, path)?;
    replace(context, path, (&old, &new), backup)
}

fn replace(context: &Context, path: &Path, (old, new): (&[u8], &[u8]), backup: Backup) -> Result<Edited> {
    if old == new {
        return Ok(Edited::Unchanged);
    }
    refuse_link(path)?;
    let kept = match backup {
        Backup::None => None,
        Backup::Suffix(suffix) => Some(keep(path, old, suffix)?),
    };
    context.step("config.replace")?;
    home::replace_file(path, new)?;
    Ok(Edited::Replaced(kept))
}

/// A link would be replaced by a file of its own, and what it leads to would stay as it is.
fn refuse_link(path: &Path) -> Result<()> {
    match std::fs::read_link(path) {
        Err(_) => Ok(()),
        Ok(target) => {
            let text = format!("`{}` is a symbolic link to `{}`", path.display(), target.display());
            Err(Error::new(ErrorKind::InvalidArgument, text).with_hint("name the file itself"))
        }
    }
}

/// Writes the old text beside its file; a backup that says the same already is one.
fn keep(path: &Path, old: &[u8], suffix: &str) -> Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let backup = PathBuf::from(name);
    match home::read_file(&backup)? {
        Some(content) if content == old => {}
        Some(_) => {
            let text = format!("`{}` exists and is the backup of another text", backup.display());
            return Err(Error::new(ErrorKind::AlreadyExists, text).with_hint("move it away"));
        }
        None => home::copy_beside(path, &backup, old)?,
    }
    Ok(backup)
}
