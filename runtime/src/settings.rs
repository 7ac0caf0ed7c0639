//! From configuration to [`Settings`]: every key is applied, known to be without effect on a start, warned about by
//! name and place, or refused. None is passed over in silence.
//!
//! Each [`Part`] is one idea with the keys that say it; a line goes to the first part that knows its key. What a part holds is
//! what the monitor is told: plain data, checked here, so that a start has nothing left to doubt.

pub(crate) mod cgroup;
pub(crate) mod confinement;
pub(crate) mod hooks;
pub(crate) mod identities;
pub(crate) mod log;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod parameters;
pub(crate) mod program;
pub(crate) mod terminals;

use std::collections::BTreeMap;
use std::path::Path;

use keiki_config::keys::{self, Applied};
use keiki_config::{ContainerConfig, Setting};
use keiki_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use cgroup::CgroupSettings;
use confinement::{Bounds, Confinement};
use hooks::Hooks;
use identities::Identities;
use log::LogSettings;
use mounts::Mounts;
use network::NetworkSettings;
use parameters::Parameters;
use program::Program;
use terminals::Terminals;

/// Why a key is warned about.
const NOT_BY_THIS_VERSION: &str = "is not applied by this version of keiki";

/// What a container's configuration says, typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) program: Program,
    pub(crate) mounts: Mounts,
    pub(crate) terminals: Terminals,
    pub(crate) cgroup: CgroupSettings,
    pub(crate) confinement: Confinement,
    pub(crate) identities: Identities,
    pub(crate) parameters: Parameters,
    pub(crate) network: NetworkSettings,
    pub(crate) hooks: Hooks,
    pub(crate) log: LogSettings,
    pub(crate) ephemeral: bool,
}

/// What a part makes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// It is in force.
    Applied,
    /// It is understood and left out, for this reason.
    NotApplied(&'static str),
    /// The key belongs to somebody else.
    NotMine,
}

/// The settings of one idea.
trait Part {
    /// Takes a line if its key is one of the part's own; lines come in the order of the configuration.
    ///
    /// # Errors
    /// `InvalidArgument` with the line's place; `Unsupported` for what must not be left out.
    fn take(&mut self, line: &Setting) -> Result<Taken>;
}

/// Returns what a configuration says, and warnings about what of it is not applied.
///
/// # Errors
/// `InvalidArgument` with `file:line:column` for what is no configuration; `Unsupported` for what must not be left out.
pub(crate) fn read(config: &[u8], file: &Path, name: &str) -> Result<(Settings, Vec<String>)> {
    let config = ContainerConfig::parse(config, file)?;
    let mut settings = Settings::new(name);
    settings.cgroup.devices = cgroup::devices::read(&config)?;
    settings.network = network::read(&config)?;
    let (mut bounds, mut warnings) = (Bounds::default(), Warnings::default());
    for line in config.settings() {
        settings.take(line, &mut bounds, &mut warnings)?;
    }
    let place = file.display().to_string();
    settings.confinement = bounds.finish(&place)?;
    settings.identities.check(&place)?;
    settings.mounts.check(&settings.identities, &place)?;
    Ok((settings, warnings.told()))
}

/// Returns what a start with this configuration would warn about: what of it is understood and not applied.
///
/// # Errors
/// What a start would be refused for.
pub fn start_warnings(config: &[u8], file: &Path, name: &str) -> Result<Vec<String>> {
    read(config, file, name).map(|(_, warnings)| warnings)
}

impl Settings {
    fn new(name: &str) -> Self {
        Self {
            program: Program::new(name),
            mounts: Mounts::default(),
            terminals: Terminals::default(),
            cgroup: CgroupSettings::new(name),
            confinement: Confinement::default(),
            identities: Identities::default(),
            parameters: Parameters::default(),
            network: NetworkSettings::default(),
            hooks: Hooks::default(),
            log: LogSettings::default(),
            ephemeral: false,
        }
    }

    fn take(&mut self, line: &Setting, bounds: &mut Bounds, warnings: &mut Warnings) -> Result<()> {
        let key = line.key.as_str();
        if key == "lxc.ephemeral" {
            self.ephemeral = switch(line)?;
            return Ok(());
        }
        // The table of keys says who acts upon one; docs/configuration.md is made of it.
        let Some((known, _)) = keys::find(key) else {
            return Err(invalid(line, "there is no such key"));
        };
        if matches!(known.applied, Applied::Elsewhere | Applied::Unused) {
            return Ok(());
        }
        let parts: [&mut dyn Part; 10] = [
            &mut self.program,
            &mut self.mounts,
            &mut self.terminals,
            &mut self.cgroup,
            bounds,
            &mut self.identities,
            &mut self.parameters,
            &mut self.network,
            &mut self.hooks,
            &mut self.log,
        ];
        for part in parts {
            match part.take(line)? {
                Taken::Applied => return Ok(()),
                Taken::NotApplied(why) => {
                    warnings.add(line, why);
                    return Ok(());
                }
                Taken::NotMine => {}
            }
        }
        if known.applied == Applied::NotYet {
            warnings.add(line, NOT_BY_THIS_VERSION);
            return Ok(());
        }
        Err(refuse(line, ErrorKind::Internal, "the key should be applied, and no part takes it"))
    }
}

/// What is told about a configuration: key → how often, where first, and why.
#[derive(Debug, Default)]
struct Warnings(BTreeMap<String, (usize, String, &'static str)>);

impl Warnings {
    fn add(&mut self, line: &Setting, why: &'static str) {
        self.0.entry(line.key.clone()).or_insert_with(|| (0, line.place.to_string(), why)).0 += 1;
    }

    fn told(self) -> Vec<String> {
        let told = self.0.into_iter().map(|(key, (count, place, why))| match count {
            1 => format!("{place}: {key} {why}"),
            _ => format!("{place}: {key} {why} ({count} lines)"),
        });
        told.collect()
    }
}

fn refuse(line: &Setting, kind: ErrorKind, why: &str) -> Error {
    Error::new(kind, format!("{}: `{} = {}`: {why}", line.place, line.key, line.value))
}

fn invalid(line: &Setting, why: &str) -> Error {
    refuse(line, ErrorKind::InvalidArgument, why)
}

fn number<T: TryFrom<u64>>(line: &Setting) -> Result<T> {
    let number = line.number().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| invalid(line, "this is no number"))
}

fn switch(line: &Setting) -> Result<bool> {
    match line.number() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(invalid(line, "write 0 or 1")),
    }
}

#[cfg(test)]
mod tests;
