//! `keiki snapshot`: take, list, restore, destroy, comment.

use keiki_core::Result;
use keiki_core::engine::{ContainerKey, RestoreTarget, SnapshotContainer, SnapshotRecord};
use keiki_core::name::SnapshotName;

use super::outcome::described;
use crate::args::{
    SnapshotComment, SnapshotCreate, SnapshotDestroy, SnapshotList, SnapshotRestore, SnapshotVerb,
};
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Record};

pub(crate) fn run(session: &Session, verb: &SnapshotVerb) -> Result<Exit> {
    match verb {
        SnapshotVerb::Create(args) => create(session, args),
        SnapshotVerb::List(args) => list(session, args),
        SnapshotVerb::Restore(args) => restore(session, args),
        SnapshotVerb::Destroy(args) => destroy(session, args),
        SnapshotVerb::Comment(args) => comment(session, args),
    }
}

fn create(session: &Session, args: &SnapshotCreate) -> Result<Exit> {
    let request = SnapshotContainer {
        key: session.container(&args.name)?,
        name: args.snapshot.as_deref().map(SnapshotName::parse).transpose()?,
        comment: args.comment.clone(),
    };
    let outcome = session.runtime()?.engine().snapshot(&session.context()?, &request)?;
    session.ui().done(&format!("created {}@{} ({})", args.name, outcome.name, described(&outcome)))?;
    Ok(Exit::DONE)
}

fn list(session: &Session, args: &SnapshotList) -> Result<Exit> {
    let snapshots = session.runtime()?.engine().snapshots(&session.container(&args.name)?)?;
    let text = format::many(&snapshots, args.format, &[], session.ui().palette())?;
    session.ui().data(&text)?;
    Ok(Exit::DONE)
}

fn restore(session: &Session, args: &SnapshotRestore) -> Result<Exit> {
    let (key, snapshot) = existing(session, &args.name, &args.snapshot)?;
    let target = match &args.new {
        None => RestoreTarget::InPlace,
        Some(new) => RestoreTarget::New(session.new_container(new)?),
    };
    let engine = session.runtime()?.engine();
    let outcome = engine.restore(&session.context()?, &key, &snapshot, &target)?;
    let restored = args.new.as_deref().unwrap_or(&args.name);
    session.ui().done(&format!(
        "restored {restored} from {}@{snapshot} ({})",
        key.name,
        described(&outcome)
    ))?;
    Ok(Exit::DONE)
}

fn destroy(session: &Session, args: &SnapshotDestroy) -> Result<Exit> {
    session.each(&args.snapshots, |snapshot| {
        let (key, snapshot) = existing(session, &args.name, snapshot)?;
        session.runtime()?.engine().destroy_snapshot(&session.context()?, &key, &snapshot)?;
        session.ui().done(&format!("destroyed {}@{snapshot}", key.name))
    })
}

fn comment(session: &Session, args: &SnapshotComment) -> Result<Exit> {
    let (key, snapshot) = existing(session, &args.name, &args.snapshot)?;
    session.runtime()?.engine().set_comment(&key, &snapshot, &args.text)?;
    session.ui().done(&format!("commented {}@{snapshot}", key.name))?;
    Ok(Exit::DONE)
}

fn existing(session: &Session, name: &str, snapshot: &str) -> Result<(ContainerKey, SnapshotName)> {
    Ok((session.container(name)?, SnapshotName::existing(snapshot)?))
}

impl Record for SnapshotRecord {
    const FIELDS: &'static [&'static str] = &["name", "created", "comment", "dependents", "store", "source"];
    const TABLE: &'static [&'static str] = &["name", "created", "store", "dependents", "comment"];

    fn cell(&self, field: &str) -> Cell {
        match field {
            "name" => Cell::Text(self.name.to_string()),
            "created" => Cell::time(self.created),
            "comment" => Cell::text(self.comment.as_deref()),
            "dependents" => Cell::List(self.dependents.clone()),
            "store" => Cell::Text(self.volume.kind().to_string()),
            "source" => Cell::Text(self.volume.source.to_string()),
            _ => Cell::Absent,
        }
    }
}
