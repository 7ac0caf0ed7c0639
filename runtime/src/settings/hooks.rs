//! Commands of the administrator's that run at certain moments of a container's life (`lxc.hook.*`).

use std::ffi::OsString;

use keiki_config::Setting;
use keiki_core::Result;
use serde::{Deserialize, Serialize};

use super::{Part, Taken, number, program};

/// The hooks of a container, in the order of its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hooks {
    pub(crate) interface: Interface,
    pub(crate) commands: Vec<(HookKind, String)>,
    /// `lxc.environment.hooks`.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

/// How hooks are told what they are called for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Interface {
    /// By arguments: name, section, kind, and what the kind adds.
    #[default]
    Arguments,
    /// By variables (`lxc.hook.version = 1`).
    Variables,
}

/// The moments at which a start or an end calls hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HookKind {
    /// On the host, before anything is made.
    PreStart,
    /// In the mount namespace, before anything of the container's is mounted.
    PreMount,
    /// There, after the mounts, before the change of root.
    Mount,
    /// The same, with `/dev` made.
    Autodev,
    /// On the host, when the first process is complete and has not executed its program.
    StartHost,
    /// Inside, as the first process's last deed before it executes its program.
    Start,
    /// On the host, when every process is dead; the namespaces are still there.
    Stop,
    /// On the host, when nothing of the container is left.
    PostStop,
}

impl HookKind {
    const ALL: [Self; 8] = [
        Self::PreStart,
        Self::PreMount,
        Self::Mount,
        Self::Autodev,
        Self::StartHost,
        Self::Start,
        Self::Stop,
        Self::PostStop,
    ];

    /// Returns the word that configurations and hooks have for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PreMount => "pre-mount",
            Self::Mount => "mount",
            Self::Autodev => "autodev",
            Self::StartHost => "start-host",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::PostStop => "post-stop",
        }
    }
}

impl Hooks {
    /// Returns the commands of one kind, in order.
    pub(crate) fn of(&self, kind: HookKind) -> impl Iterator<Item = &str> {
        self.commands.iter().filter(move |(of, _)| *of == kind).map(|(_, command)| command.as_str())
    }

    /// Returns whether there is any of this kind.
    pub(crate) fn has(&self, kind: HookKind) -> bool {
        self.of(kind).next().is_some()
    }
}

impl Part for Hooks {
    fn take(&mut self, line: &Setting) -> Result<Taken> {
        match line.key.as_str() {
            "lxc.hook.version" => {
                self.interface =
                    if number::<u8>(line)? == 0 { Interface::Arguments } else { Interface::Variables };
            }
            "lxc.environment.hooks" => self.environment.push(program::variable(line)?),
            key => {
                let kind = key
                    .strip_prefix("lxc.hook.")
                    .and_then(|word| HookKind::ALL.into_iter().find(|kind| kind.as_str() == word));
                let Some(kind) = kind else { return Ok(Taken::NotMine) };
                self.commands.push((kind, line.value.clone()));
            }
        }
        Ok(Taken::Applied)
    }
}
