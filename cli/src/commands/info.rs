//! `keiki info`: everything about one container.

use keiki_core::Result;
use keiki_core::engine::SnapshotRecord;
use keiki_core::store::Usage;
use keiki_runtime::ContainerStatus;
use serde_json::{Value, json};

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Record};
use crate::ui::time::rfc3339;

pub(crate) fn run(session: &Session, args: &args::Info) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let runtime = session.runtime()?;
    let status = runtime.status(&key)?;
    let snapshots = runtime.engine().snapshots(&key)?;
    let usage = runtime.engine().usage(&session.context()?, std::slice::from_ref(&key))?;
    let info = Report { status, snapshots, usage: usage.first().copied().unwrap_or_default() };
    session.ui().data(&format::one(&info, args.format, session.ui().palette())?)?;
    Ok(Exit::DONE)
}

struct Report {
    status: ContainerStatus,
    snapshots: Vec<SnapshotRecord>,
    usage: Usage,
}

impl Record for Report {
    const FIELDS: &'static [&'static str] = &[
        "name",
        "state",
        "pid",
        "store",
        "origin",
        "snapshots",
        "dependents",
        "created",
        "source",
        "adopted",
        "manager",
        "home",
        "config",
        "referenced",
        "exclusive",
    ];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        let home = self.status.record.key.home();
        match field {
            "snapshots" => snapshots(&self.snapshots),
            "home" => Cell::Text(home.display().to_string()),
            "config" => Cell::Text(home.join("config").display().to_string()),
            "referenced" => Cell::size(self.usage.referenced),
            "exclusive" => Cell::size(self.usage.exclusive),
            _ => self.status.cell(field),
        }
    }
}

fn snapshots(records: &[SnapshotRecord]) -> Cell {
    if records.is_empty() {
        return Cell::List(Vec::new());
    }
    let values: Vec<Value> = records
        .iter()
        .map(|record| {
            json!({
                "name": record.name,
                "created": record.created.map(rfc3339),
                "comment": record.comment,
                "dependents": record.dependents,
            })
        })
        .collect();
    let lines: Vec<String> = records.iter().map(line).collect();
    Cell::Nested(Value::Array(values), lines.join("\n"))
}

fn line(record: &SnapshotRecord) -> String {
    let mut text = record.name.to_string();
    if let Some(created) = record.created {
        text.push_str(&format!("  {}", rfc3339(created)));
    }
    if let Some(comment) = &record.comment {
        text.push_str(&format!("  {}", comment.replace('\n', " ")));
    }
    text
}
