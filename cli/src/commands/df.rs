//! `keiki df`: the space that containers take, and what would be free without all of them.
//!
//! The columns have no totals: shared data would be counted twice. The one number about the whole set is what destroying it frees.

use keiki_core::Result;
use keiki_core::engine::{ContainerKey, ContainerSpace, Space};
use keiki_core::store::Exactness;

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Format, Record};

pub(crate) fn run(session: &Session, args: &args::Df) -> Result<Exit> {
    let engine = session.runtime()?.engine();
    let keys: Vec<ContainerKey> = if args.names.is_empty() {
        engine.containers(&session.listed_lxcpath()?)?.into_iter().map(|record| record.key).collect()
    } else {
        args.names
            .iter()
            .map(|name| Ok(engine.container(&session.container(name)?)?.key))
            .collect::<Result<_>>()?
    };
    let space = engine.space(&session.context()?, &keys)?;
    let ui = session.ui();
    if args.total {
        ui.data(&format::many(std::slice::from_ref(&Total(&space)), args.format, &[], ui.palette())?)?;
        return Ok(Exit::DONE);
    }
    let rows: Vec<Row<'_>> = space.containers.iter().map(Row).collect();
    ui.data(&format::many(&rows, args.format, &[], ui.palette())?)?;
    if args.format == Format::Table && !rows.is_empty() {
        ui.data(&footnote(&space))?;
    }
    Ok(Exit::DONE)
}

/// Says what the whole set is worth.
fn footnote(space: &Space) -> String {
    let what = if space.containers.len() == 1 { "it" } else { "all of them" };
    match space.freed {
        _ if !space.needed_by.is_empty() => {
            format!("\n{} cannot be destroyed: needed by {}\n", capital(what), space.needed_by.join(", "))
        }
        Some(freed) => {
            let word = match freed.exactness {
                Exactness::Exact => "",
                Exactness::Approximate => "about ",
                Exactness::AtLeast => "at least ",
            };
            format!("\nDestroying {what} with all snapshots would free {word}{}\n", freed.bytes)
        }
        None => format!("\nWhat destroying {what} would free cannot be told: data may be shared\n"),
    }
}

fn capital(what: &str) -> &'static str {
    if what == "it" { "It" } else { "All of them" }
}

fn exactness(word: Exactness) -> &'static str {
    match word {
        Exactness::Exact => "exact",
        Exactness::Approximate => "approximate",
        Exactness::AtLeast => "at-least",
    }
}

struct Row<'a>(&'a ContainerSpace);

impl Record for Row<'_> {
    const FIELDS: &'static [&'static str] =
        &["name", "store", "referenced", "exclusive", "shared", "snapshots", "limit", "exactness"];
    const TABLE: &'static [&'static str] =
        &["name", "store", "referenced", "exclusive", "shared", "snapshots", "limit"];

    fn cell(&self, field: &str) -> Cell {
        let Self(space) = self;
        match field {
            "name" => Cell::Text(space.name.clone()),
            "store" => Cell::Text(space.store.to_string()),
            "referenced" => Cell::size(space.head.referenced),
            "exclusive" => Cell::size(space.head.exclusive),
            "shared" => Cell::size(space.shared),
            "snapshots" => Cell::size(space.snapshots),
            "limit" => Cell::size(space.head.limit),
            "exactness" => Cell::Text(exactness(space.head.exactness).to_owned()),
            _ => Cell::Absent,
        }
    }
}

struct Total<'a>(&'a Space);

impl Record for Total<'_> {
    const FIELDS: &'static [&'static str] = &["containers", "freed", "exactness", "needed_by"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        let Self(space) = self;
        match field {
            "containers" => Cell::List(space.containers.iter().map(|one| one.name.clone()).collect()),
            "freed" => Cell::size(space.freed.map(|freed| freed.bytes)),
            "exactness" => Cell::text(space.freed.map(|freed| exactness(freed.exactness))),
            "needed_by" => Cell::List(space.needed_by.clone()),
            _ => Cell::Absent,
        }
    }
}
