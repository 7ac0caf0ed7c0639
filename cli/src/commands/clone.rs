//! `keiki clone`: one source, any number of clones, all of them or none.

use keiki_core::Result;
use keiki_core::engine::{CloneContainer, CloneMode, ContainerKey, Identity, Payload};

use super::outcome::described;
use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Clone) -> Result<Exit> {
    let (source, snapshot) = session.source(&args.source)?;
    let request = CloneContainer {
        source,
        snapshot,
        targets: targets(session, args)?,
        mode: mode(args),
        store: args.store.choice()?,
        options: args.store.properties(),
        identity: if args.keep_identity { Identity::Kept } else { Identity::Fresh },
        payload: payload(args),
    };
    let outcomes = session.runtime()?.engine().clone_container(&session.context()?, &request)?;
    for outcome in &outcomes {
        let line = format!("cloned {} from {} ({})", outcome.name, args.source, described(outcome));
        session.ui().done(&line)?;
    }
    Ok(Exit::DONE)
}

fn targets(session: &Session, args: &args::Clone) -> Result<Vec<ContainerKey>> {
    let names: Vec<String> = match args.count {
        None => args.names.clone(),
        Some(count) => {
            args.names.iter().flat_map(|name| (1..=count).map(move |n| format!("{name}{n}"))).collect()
        }
    };
    names.iter().map(|name| session.new_container(name)).collect()
}

fn mode(args: &args::Clone) -> CloneMode {
    match (args.snapshot, args.copy) {
        (true, _) => CloneMode::Snapshot,
        (_, true) => CloneMode::Copy,
        (false, false) => CloneMode::SnapshotOrCopy,
    }
}

fn payload(args: &args::Clone) -> Payload {
    match (args.tmpfs, args.ephemeral) {
        (true, _) => Payload::EphemeralInMemory,
        (_, true) => Payload::Ephemeral,
        (false, false) => Payload::Persistent,
    }
}
