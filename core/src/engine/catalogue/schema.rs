//! The tables, and the refusal of a catalogue from the future.

use rusqlite::Connection;

use super::explain;
use crate::error::{Error, ErrorKind, Result};

/// The version that this program writes. A new one comes with a migration from each older one.
const VERSION: i64 = 1;

const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS containers (
        lxcpath TEXT NOT NULL,
        name    TEXT NOT NULL,
        home_id TEXT NOT NULL,
        created INTEGER,
        PRIMARY KEY (lxcpath, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS volumes (
        id         TEXT PRIMARY KEY,
        lxcpath    TEXT NOT NULL,
        name       TEXT NOT NULL,
        role       TEXT NOT NULL CHECK (role IN ('head', 'snapshot', 'layer', 'ghost')),
        snapshot   TEXT,
        placed     TEXT NOT NULL CHECK (placed IN ('head', 'snapshot', 'successor')),
        source     TEXT NOT NULL,
        properties TEXT NOT NULL,
        created    INTEGER,
        CHECK ((role = 'snapshot') = (snapshot IS NOT NULL))
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS volumes_of ON volumes (lxcpath, name);
    CREATE UNIQUE INDEX IF NOT EXISTS one_head ON volumes (lxcpath, name) WHERE role = 'head';
    CREATE UNIQUE INDEX IF NOT EXISTS one_snapshot ON volumes (lxcpath, name, snapshot) WHERE role = 'snapshot';
    CREATE TABLE IF NOT EXISTS edges (
        child  TEXT NOT NULL,
        parent TEXT NOT NULL,
        terms  TEXT,
        kind   TEXT NOT NULL CHECK (kind IN ('dependency', 'provenance')),
        PRIMARY KEY (child, kind),
        CHECK ((kind = 'dependency') = (terms IS NOT NULL))
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS edges_of_parent ON edges (parent);
    CREATE TABLE IF NOT EXISTS intents (
        id        TEXT PRIMARY KEY,
        operation TEXT NOT NULL,
        owner     TEXT NOT NULL,
        since     INTEGER NOT NULL,
        payload   TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS reservations (
        lxcpath TEXT NOT NULL,
        name    TEXT NOT NULL,
        intent  TEXT NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
        PRIMARY KEY (lxcpath, name)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS reservations_of ON reservations (intent);
    PRAGMA user_version = 1;
    COMMIT;
";

/// Makes the tables where they are missing.
///
/// # Errors
/// [`ErrorKind::Unavailable`] for a catalogue that a newer program wrote.
pub(super) fn install(connection: &Connection) -> Result<()> {
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|e| explain(e, "read"))?;
    match version {
        VERSION => Ok(()),
        0 => connection.execute_batch(TABLES).map_err(|e| explain(e, "make")),
        newer => Err(Error::new(
            ErrorKind::Unavailable,
            format!("the catalogue has format {newer}, and this keiki knows format {VERSION}"),
        )
        .with_hint("use the keiki that wrote it, or a newer one")),
    }
}
