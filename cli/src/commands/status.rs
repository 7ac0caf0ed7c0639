//! A container as `ls` and `info` print it.

use keiki_runtime::{ContainerStatus, Manager};

use crate::ui::format::{Cell, Record};

impl Record for ContainerStatus {
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
    ];
    const TABLE: &'static [&'static str] = &["name", "state", "pid", "store", "origin", "snapshots"];

    fn cell(&self, field: &str) -> Cell {
        let record = &self.record;
        match field {
            "name" => Cell::Text(record.key.name.to_string()),
            "state" => Cell::Text(self.state.to_string()),
            "pid" => Cell::number(self.pid),
            "store" => Cell::text(record.store.as_ref()),
            "origin" => Cell::text(record.origin.as_deref()),
            "snapshots" => Cell::List(record.snapshots.iter().map(ToString::to_string).collect()),
            "dependents" => Cell::List(record.dependents.clone()),
            "created" => Cell::time(record.created),
            "source" => Cell::text(record.volume.as_ref().map(|volume| &volume.source)),
            "adopted" => Cell::Flag(record.adopted),
            "manager" => Cell::text(self.manager.map(word)),
            _ => Cell::Absent,
        }
    }
}

fn word(manager: Manager) -> &'static str {
    match manager {
        Manager::Keiki => "keiki",
        Manager::Lxc => "lxc",
    }
}
