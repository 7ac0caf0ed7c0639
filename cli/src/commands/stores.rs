//! `keiki stores`: what each store of this build can do in the lxcpath, at what cost, and what is missing.

use std::path::PathBuf;
use std::sync::Arc;

use keiki_core::capability::{
    Availability, Capabilities, Cost, ParentDelete, ParentWrite, Residence, SnapshotStyle,
};
use keiki_core::store::{BackingStore, Pool};
use keiki_core::volume::Properties;
use keiki_core::{Error, ErrorKind, Result};

use crate::args;
use crate::error::Exit;
use crate::registry;
use crate::session::Session;
use crate::ui::format::{self, Cell, Format, Record};

pub(crate) fn run(session: &Session, args: &args::Stores) -> Result<Exit> {
    let path = pool_path(session)?;
    let registry = registry::with_defaults(session.global_config()?);
    let executor = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|e| Error::io("cannot make an executor", e))?;
    let row = |store: &Arc<dyn BackingStore>| {
        let pool = registry.default_pool(&store.kind(), &path);
        let availability = executor.block_on(store.availability(&pool));
        Row::new(store, pool, availability)
    };
    let rows: Vec<Row> = registry.stores().iter().map(row).collect();
    let ui = session.ui();
    ui.data(&format::many(&rows, args.format, &[], ui.palette())?)?;
    if args.format == Format::Table {
        for row in &rows {
            ui.data(&row.footnote())?;
        }
        ui.data(&format!(
            "\n--bdev best takes the first usable of: {}\n",
            registry::preference().join(", ")
        ))?;
    }
    Ok(Exit::DONE)
}

/// Returns the lxcpath, or the nearest directory above it that exists: that is where it would be made.
fn pool_path(session: &Session) -> Result<PathBuf> {
    let error = match session.lxcpath() {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        Err(error) => return Err(error),
    };
    let wanted = session.wanted_lxcpath()?;
    wanted.ancestors().find(|path| path.is_dir()).map(PathBuf::from).ok_or(error)
}

struct Row {
    store: Arc<dyn BackingStore>,
    availability: Availability,
    capabilities: Option<Capabilities>,
    /// The options of volumes for which no others are given.
    defaults: Properties,
}

impl Row {
    fn new(store: &Arc<dyn BackingStore>, pool: Pool, availability: Availability) -> Self {
        let capabilities = store.capabilities(&pool).ok();
        Self { store: Arc::clone(store), availability, capabilities, defaults: pool.options }
    }

    /// Returns the defaults as they would be typed.
    fn defaults(&self) -> Vec<String> {
        self.defaults.iter().map(|(name, value)| format!("--{name} {value}")).collect()
    }

    fn status(&self) -> (&'static str, Option<&str>, Option<&str>) {
        match &self.availability {
            Availability::Ready => ("ready", None, None),
            Availability::Degraded { reason, remedy } => ("degraded", Some(reason), Some(remedy)),
            Availability::Unavailable { reason, remedy } => ("unavailable", Some(reason), Some(remedy)),
        }
    }

    fn footnote(&self) -> String {
        let defaults = match self.defaults().join(" ") {
            none if none.is_empty() => none,
            defaults => {
                format!("\n{} makes volumes with {defaults}, unless told otherwise\n", self.store.kind())
            }
        };
        defaults + &self.shortcoming()
    }

    fn shortcoming(&self) -> String {
        match self.status() {
            (status, Some(reason), Some(remedy)) => {
                format!("\n{} is {status}: {reason}\n  remedy: {remedy}\n", self.store.kind())
            }
            _ => String::new(),
        }
    }

    fn snapshot_words(&self, capabilities: &Capabilities) -> &'static str {
        let has_verb = self.store.snapshots().is_some()
            || (capabilities.snapshot_style == SnapshotStyle::Freeze && self.store.clones().is_some());
        if has_verb { cost(capabilities.snapshot_cost) } else { "none" }
    }

    /// What bounds the size of a volume.
    fn size_words(&self) -> &'static str {
        match (self.store.resize().is_some(), self.store.quota().is_some()) {
            (true, true) => "size and quota",
            (true, false) => "size",
            (false, true) => "quota",
            (false, false) => "none",
        }
    }

    fn clone_words(&self, capabilities: &Capabilities) -> String {
        let own = self.store.clones().map(|_| cost(capabilities.clone_cost));
        match (own, &capabilities.snapshot_clones_by) {
            (Some(own), Some(other)) => format!("{own}, or by {other}"),
            (Some(own), None) => own.to_owned(),
            (None, Some(other)) => format!("by {other}"),
            (None, None) => "none".to_owned(),
        }
    }
}

impl Record for Row {
    const FIELDS: &'static [&'static str] = &[
        "name",
        "status",
        "reason",
        "remedy",
        "snapshot",
        "clone",
        "parent_write",
        "parent_destroy",
        "max_depth",
        "lives_in",
        "sizes",
        "promote",
        "flatten",
        "defaults",
        "capabilities",
    ];
    const TABLE: &'static [&'static str] = &[
        "name",
        "status",
        "snapshot",
        "clone",
        "parent_write",
        "parent_destroy",
        "max_depth",
        "lives_in",
        "sizes",
    ];

    fn cell(&self, field: &str) -> Cell {
        let (status, reason, remedy) = self.status();
        match (field, &self.capabilities) {
            ("name", _) => Cell::Text(self.store.kind().to_string()),
            ("status", _) => Cell::Text(status.to_owned()),
            ("reason", _) => Cell::text(reason),
            ("remedy", _) => Cell::text(remedy),
            ("snapshot", Some(it)) => Cell::Text(self.snapshot_words(it).to_owned()),
            ("clone", Some(it)) => Cell::Text(self.clone_words(it)),
            ("parent_write", Some(it)) => Cell::Text(parent_write(it.parent_write).to_owned()),
            ("parent_destroy", Some(it)) => Cell::Text(parent_delete(it.parent_delete).to_owned()),
            ("max_depth", Some(it)) => Cell::number(it.max_depth),
            ("lives_in", Some(it)) => Cell::Text(residence(it.residence).to_owned()),
            ("sizes", _) => Cell::Text(self.size_words().to_owned()),
            ("promote", _) => {
                Cell::Text(if self.store.promotion().is_some() { "constant" } else { "none" }.to_owned())
            }
            // Every store can: without a verb of its own the tree is copied.
            ("flatten", Some(it)) => {
                Cell::Text(if it.clones_depend() { "copy" } else { "not needed" }.to_owned())
            }
            ("defaults", _) => Cell::List(self.defaults()),
            ("capabilities", Some(it)) => {
                serde_json::to_value(it).map_or(Cell::Absent, |value| Cell::Nested(value, String::new()))
            }
            _ => Cell::Absent,
        }
    }
}

fn cost(cost: Cost) -> &'static str {
    match cost {
        Cost::Constant => "constant",
        Cost::PerEntry => "per file",
        Cost::PerByte => "copy",
    }
}

fn parent_write(rule: ParentWrite) -> &'static str {
    match rule {
        ParentWrite::Free => "free",
        ParentWrite::Forbidden => "forbidden",
    }
}

fn parent_delete(rule: ParentDelete) -> &'static str {
    match rule {
        ParentDelete::Independent => "free",
        ParentDelete::Deferred => "deferred",
        ParentDelete::Refused => "refused",
    }
}

fn residence(residence: Residence) -> &'static str {
    match residence {
        Residence::Home => "home",
        Residence::Named => "pool",
    }
}
