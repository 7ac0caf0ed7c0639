//! `keiki run`: a command as init, in the foreground, in a container or in an ephemeral clone of it.

use keiki_core::engine::{CloneContainer, CloneMode, ContainerKey, DestroyScope, Identity, Payload};
use keiki_core::volume::VolumeId;
use keiki_core::{Error, ErrorKind, Result};
use keiki_runtime::{Running, StartOptions};

use super::exec::environment;
use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Run) -> Result<Exit> {
    let options =
        StartOptions { command: Some(args.command.clone()), environment: environment(&args.environment)? };
    if !args.rm {
        return foreground(session, &session.container(&args.source)?, &options);
    }
    let key = ephemeral_clone(session, args)?;
    let result = foreground(session, &key, &options);
    // A monitor that honours `lxc.ephemeral` may have been faster.
    let destroyed =
        session.runtime()?.destroy(&session.context()?, &key, DestroyScope::WithSnapshots, Running::Stop);
    match (result, destroyed) {
        (Ok(_), Err(error)) if error.kind() != ErrorKind::NotFound => {
            Err(error.while_doing(format!("cannot destroy the ephemeral container `{}`", key.name)))
        }
        (result, _) => result,
    }
}

fn foreground(session: &Session, key: &ContainerKey, options: &StartOptions) -> Result<Exit> {
    session.runtime()?.run_foreground(&session.context()?, key, options).map(Exit::of_command)
}

fn ephemeral_clone(session: &Session, args: &args::Run) -> Result<ContainerKey> {
    let (source, snapshot) = session.source(&args.source)?;
    let target = session.new_container(&ephemeral_name(source.name.as_str()))?;
    let request = CloneContainer {
        source,
        snapshot,
        targets: vec![target.clone()],
        mode: CloneMode::SnapshotOrCopy,
        store: args.store.choice()?,
        options: args.store.properties(),
        identity: Identity::Fresh,
        payload: if args.tmpfs { Payload::EphemeralInMemory } else { Payload::Ephemeral },
    };
    let outcomes = session.runtime()?.engine().clone_container(&session.context()?, &request)?;
    match outcomes.first() {
        Some(_) => Ok(target),
        None => Err(Error::new(ErrorKind::Internal, "the engine made no clone and reported no error")),
    }
}

/// Returns a name that no other run takes: the source's, shortened to leave room, and random digits.
fn ephemeral_name(source: &str) -> String {
    const LONGEST: usize = 40;
    let stem: String =
        source.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(LONGEST).collect();
    let stem = stem.trim_start_matches('-');
    format!("{}-run-{}", if stem.is_empty() { "x" } else { stem }, VolumeId::generate().short())
}

#[cfg(test)]
mod tests {
    use keiki_core::name::ContainerName;

    use super::*;

    #[test]
    fn names_of_ephemeral_clones_are_valid_whatever_the_source_is_called() {
        for source in ["base", "a b", "-x", "ä", &"y".repeat(200)] {
            let name = ephemeral_name(source);
            assert!(ContainerName::parse(&name).is_ok(), "{name}");
        }
    }
}
