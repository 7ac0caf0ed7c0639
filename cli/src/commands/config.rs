//! `keiki config`: LXC configuration read, checked and changed, one file a verb below.

mod change;
mod check;
mod keys;
mod migrate;
mod show;

use std::path::{Path, PathBuf};

use keiki_core::engine::{Backup, ContainerKey, Edited, edit_file};
use keiki_core::{Error, Result};

use crate::args::ConfigVerb;
use crate::error::Exit;
use crate::session::Session;
use crate::surroundings::absolute;

pub(crate) fn run(session: &Session, verb: &ConfigVerb) -> Result<Exit> {
    match verb {
        ConfigVerb::Check(args) => check::run(session, args),
        ConfigVerb::Show(args) => show::show(session, args),
        ConfigVerb::Get(args) => show::get(session, args),
        ConfigVerb::Set(args) => change::set(session, args),
        ConfigVerb::Clear(args) => change::clear(session, args),
        ConfigVerb::Keys(args) => keys::run(session, args),
        ConfigVerb::Migrate(args) => migrate::run(session, args),
    }
}

/// Whose configuration is meant.
#[derive(Debug)]
enum Target {
    Container(ContainerKey),
    File(PathBuf),
}

impl Target {
    /// Returns what a word of the command line means: no container has a slash in its name.
    fn parse(session: &Session, text: &str) -> Result<Self> {
        if text.contains('/') {
            return Ok(Self::File(absolute(Path::new(text))?));
        }
        session.container(text).map(Self::Container)
    }

    /// Returns the file.
    fn path(&self) -> PathBuf {
        match self {
            Self::Container(key) => key.home().join("config"),
            Self::File(path) => path.clone(),
        }
    }

    /// Returns how it is called.
    fn name(&self) -> String {
        match self {
            Self::Container(key) => key.name.to_string(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn read(&self, session: &Session) -> Result<Vec<u8>> {
        match self {
            Self::Container(key) => session.runtime()?.engine().read_config(key),
            Self::File(path) => std::fs::read(path)
                .map_err(|e| Error::io(format!("cannot read the configuration `{}`", path.display()), e)),
        }
    }

    fn edit(
        &self,
        session: &Session,
        backup: Backup,
        edit: impl FnOnce(&[u8], &Path) -> Result<Vec<u8>>,
    ) -> Result<Edited> {
        let context = session.context()?;
        match self {
            Self::Container(key) => session.runtime()?.engine().edit_config(&context, key, backup, edit),
            Self::File(path) => edit_file(&context, path, backup, edit),
        }
    }
}
