//! `keiki receive`: a container comes from stdin.

use std::io::IsTerminal;

use keiki_core::engine::{Divergence, Pending, ReceiveContainer, Received};
use keiki_core::name::ContainerName;
use keiki_core::units::Bytes;
use keiki_core::{Error, ErrorKind, Result};

use super::send::plural;
use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Record};

pub(crate) fn run(session: &Session, args: &args::Receive) -> Result<Exit> {
    if args.offer {
        return offer(session);
    }
    if args.pending {
        return pending(session, args);
    }
    if let Some(name) = &args.discard {
        return discard(session, name);
    }
    let request = request(session, args)?;
    let engine = session.runtime()?.engine();
    let received = match &args.finish {
        Some(name) => {
            engine.finish_received(&session.context()?, &request, &ContainerName::existing(name)?)?
        }
        None => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(Error::new(ErrorKind::InvalidArgument, "a stream is not read from a terminal")
                    .with_hint("pipe it: `ssh HOST keiki send NAME | keiki receive`, or `< FILE`"));
            }
            engine.receive(&session.context()?, &request, Box::new(stdin))?
        }
    };
    session.ui().done(&format!("received {}", described(&received)))?;
    Ok(Exit::DONE)
}

fn request(session: &Session, args: &args::Receive) -> Result<ReceiveContainer> {
    Ok(ReceiveContainer {
        lxcpath: session.made_lxcpath()?,
        name: args.name.as_deref().map(ContainerName::parse).transpose()?,
        store: args.store.choice()?,
        options: args.store.properties(),
        divergence: if args.overwrite { Divergence::Overwrite } else { Divergence::Refuse },
    })
}

fn offer(session: &Session) -> Result<Exit> {
    let lxcpath = session.made_lxcpath()?;
    let forms = session.runtime()?.engine().understood_forms(&lxcpath)?;
    session.ui().data(&format!("{}\n", forms.join(" ")))?;
    Ok(Exit::DONE)
}

fn pending(session: &Session, args: &args::Receive) -> Result<Exit> {
    let pending = session.runtime()?.engine().pending(&session.lxcpath()?)?;
    let text = format::many(&pending, args.format, &[], session.ui().palette())?;
    session.ui().data(&text)?;
    Ok(Exit::DONE)
}

fn discard(session: &Session, name: &str) -> Result<Exit> {
    let name = ContainerName::existing(name)?;
    let engine = session.runtime()?.engine();
    let count = engine.discard_pending(&session.context()?, &session.lxcpath()?, &name)?;
    session.ui().done(&format!("discarded {count} stream{} of {name}", plural(count)))?;
    Ok(Exit::DONE)
}

fn described(received: &Received) -> String {
    let count = received.snapshots.len();
    let how = if received.is_new { "new" } else { "brought up to date" };
    format!(
        "{} ({}, {how}, {count} snapshot{}, {}, {})",
        received.name,
        received.store,
        plural(count),
        received.encoding,
        Bytes(received.bytes)
    )
}

impl Record for Pending {
    const FIELDS: &'static [&'static str] = &["name", "stream", "arrived", "of", "token"];
    const TABLE: &'static [&'static str] = &["name", "arrived", "of", "token"];

    fn cell(&self, field: &str) -> Cell {
        match field {
            "name" => Cell::Text(self.name.to_string()),
            "stream" => Cell::Text(self.stream.to_string()),
            "arrived" => Cell::Text(self.sections.0.to_string()),
            "of" => Cell::Text(self.sections.1.to_string()),
            "token" => Cell::text(self.token.as_ref().map(ToString::to_string).as_deref()),
            _ => Cell::Absent,
        }
    }
}
