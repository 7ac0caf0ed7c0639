//! `keiki config show` and `keiki config get`: what is in force.

use keiki_config::keys::{self, Applied};
use keiki_config::{ContainerConfig, Setting};
use keiki_core::Result;

use super::Target;
use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Format, Record};

pub(super) fn show(session: &Session, args: &args::ConfigShow) -> Result<Exit> {
    let config = parsed(session, &args.target)?;
    let rows: Vec<Row<'_>> = config.settings().iter().map(Row).collect();
    session.ui().data(&format::many(&rows, args.format, &[], session.ui().palette())?)?;
    Ok(Exit::DONE)
}

pub(super) fn get(session: &Session, args: &args::ConfigGet) -> Result<Exit> {
    let config = parsed(session, &args.target)?;
    let items: Vec<Item> = args.keys.iter().map(|key| Item::of(&config, key)).collect::<Result<_>>()?;
    let text = match args.format {
        Format::Table => items.iter().map(Item::lines).collect(),
        other => format::many(&items, other, &[], session.ui().palette())?,
    };
    session.ui().data(&text)?;
    Ok(Exit::DONE)
}

fn parsed(session: &Session, target: &str) -> Result<ContainerConfig> {
    let target = Target::parse(session, target)?;
    Ok(ContainerConfig::parse(&target.read(session)?, &target.path())?)
}

/// Returns the word for who acts upon a key.
pub(super) fn applied(applied: Applied) -> &'static str {
    match applied {
        Applied::AtStart => "start",
        Applied::Elsewhere => "elsewhere",
        Applied::NotYet | Applied::Unused => "no",
    }
}

struct Row<'a>(&'a Setting);

impl Record for Row<'_> {
    const FIELDS: &'static [&'static str] = &["key", "value", "file", "line", "column", "applied"];
    const TABLE: &'static [&'static str] = &["key", "value", "file", "line"];

    fn cell(&self, field: &str) -> Cell {
        let Self(setting) = self;
        match field {
            "key" => Cell::Text(setting.key.clone()),
            "value" => Cell::Text(setting.value.clone()),
            "file" => Cell::text(Some(setting.place.file.display())),
            "line" => Cell::number(u64::try_from(setting.place.line).ok()),
            "column" => Cell::number(u64::try_from(setting.place.column).ok()),
            "applied" => Cell::text(keys::find(&setting.key).map(|(key, _)| applied(key.applied))),
            _ => Cell::Absent,
        }
    }
}

/// One key and its text.
struct Item {
    key: String,
    text: String,
    default: &'static str,
}

impl Item {
    fn of(config: &ContainerConfig, key: &str) -> Result<Self> {
        let default = keys::find(key).map_or("", |(key, _)| key.default);
        Ok(Self { key: key.to_owned(), text: config.item(key)?, default })
    }

    fn lines(&self) -> String {
        match self.text.strip_suffix('\n').unwrap_or(&self.text) {
            "" => String::new(),
            text => format!("{}\n", Cell::Text(text.to_owned()).shown()),
        }
    }
}

impl Record for Item {
    const FIELDS: &'static [&'static str] = &["key", "value", "default"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        let present = |text: &str| Cell::text(Some(text).filter(|text| !text.is_empty()));
        match field {
            "key" => Cell::Text(self.key.clone()),
            "value" => present(self.text.strip_suffix('\n').unwrap_or(&self.text)),
            "default" => present(self.default),
            _ => Cell::Absent,
        }
    }
}
