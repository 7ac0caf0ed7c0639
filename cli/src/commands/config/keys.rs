//! `keiki config keys`: the table of keys, for people, completion and scripts.

use keiki_config::keys::{KEYS, Key, NETWORK, NETWORK_KEYS, Shape};
use keiki_core::Result;

use super::show::applied;
use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Record};

pub(super) fn run(session: &Session, args: &args::ConfigKeys) -> Result<Exit> {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let whole = KEYS.iter().chain([&NETWORK]).map(|key| Row { name: key.name.to_owned(), key });
    let interfaces = NETWORK_KEYS.iter().map(|key| Row { name: format!("lxc.net.N.{}", key.name), key });
    let mut rows: Vec<Row> = whole.chain(interfaces).filter(|row| row.begins_with(prefix)).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let text = if args.names_only {
        rows.iter().map(|row| format!("{}\n", row.name)).collect()
    } else {
        format::many(&rows, args.format, &[], session.ui().palette())?
    };
    session.ui().data(&text)?;
    Ok(Exit::DONE)
}

struct Row {
    name: String,
    key: &'static Key,
}

impl Row {
    /// `lxc.net.0.` is asked for as well as `lxc.net.N.`.
    fn begins_with(&self, prefix: &str) -> bool {
        let general: String = match prefix.strip_prefix("lxc.net.").and_then(|rest| rest.split_once('.')) {
            Some((number, rest)) if number.parse::<u32>().is_ok() => format!("lxc.net.N.{rest}"),
            _ => prefix.to_owned(),
        };
        self.name.starts_with(&general)
    }
}

impl Record for Row {
    const FIELDS: &'static [&'static str] =
        &["key", "takes", "many", "default", "example", "applied", "meaning"];
    const TABLE: &'static [&'static str] = &["key", "default", "applied", "meaning"];

    fn cell(&self, field: &str) -> Cell {
        let present = |text: &str| Cell::text(Some(text).filter(|text| !text.is_empty()));
        let key = self.key;
        match field {
            "key" => Cell::Text(self.name.clone()),
            "takes" if key.shape == Shape::Family => Cell::Text("nothing: it is cleared".to_owned()),
            "takes" => Cell::Text(key.kind.expected()),
            "many" => Cell::Flag(key.is_list()),
            "default" => present(key.default),
            "example" if key.shape == Shape::Family => Cell::Absent,
            "example" => Cell::Text(format!("{}{} = {}", self.name, key.example.0, key.example.1)),
            "applied" => Cell::Text(applied(key.applied).to_owned()),
            "meaning" => Cell::Text(key.doc.to_owned()),
            _ => Cell::Absent,
        }
    }
}
