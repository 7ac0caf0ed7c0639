//! `keiki df`: the space that containers take. No total: shared data would be counted twice, and a total that lies is
//! worse than none.

use keiki_core::Result;
use keiki_core::engine::{ContainerKey, ContainerRecord};
use keiki_core::store::Usage;

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Record};

pub(crate) fn run(session: &Session, args: &args::Df) -> Result<Exit> {
    let engine = session.runtime()?.engine();
    let records: Vec<ContainerRecord> = if args.names.is_empty() {
        engine.containers(&session.lxcpath()?)?
    } else {
        args.names.iter().map(|name| engine.container(&session.container(name)?)).collect::<Result<_>>()?
    };
    let keys: Vec<ContainerKey> = records.iter().map(|record| record.key.clone()).collect();
    let usages = engine.usage(&session.context()?, &keys)?;
    let rows: Vec<Row> =
        records.into_iter().zip(usages).map(|(record, usage)| Row { record, usage }).collect();
    session.ui().data(&format::many(&rows, args.format, &[], session.ui().palette())?)?;
    Ok(Exit::DONE)
}

struct Row {
    record: ContainerRecord,
    usage: Usage,
}

impl Record for Row {
    const FIELDS: &'static [&'static str] = &["name", "store", "referenced", "exclusive"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        match field {
            "name" => Cell::Text(self.record.key.name.to_string()),
            "store" => Cell::text(self.record.store.as_ref()),
            "referenced" => Cell::size(self.usage.referenced),
            "exclusive" => Cell::size(self.usage.exclusive),
            _ => Cell::Absent,
        }
    }
}
