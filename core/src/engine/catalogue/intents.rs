//! Intents as rows: the journal.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::key_text;
use super::{Catalogue, explain};
use crate::engine::ContainerKey;
use crate::engine::intent::Intent;
use crate::error::{Error, ErrorKind, Result};
use crate::volume::VolumeId;

/// An intent, as the journal keeps it.
#[derive(Debug, Clone)]
pub(in crate::engine) struct StoredIntent {
    pub(in crate::engine) id: VolumeId,
    pub(in crate::engine) operation: String,
    pub(in crate::engine) owner: String,
    pub(in crate::engine) intent: Intent,
}

impl Catalogue {
    /// Returns the ids of all intents, eldest first.
    pub(in crate::engine) fn intent_ids(&self) -> Result<Vec<VolumeId>> {
        let texts: Vec<String> = self.read(|db| {
            db.prepare_cached("SELECT id FROM intents ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        texts.iter().map(|text| text.parse()).collect()
    }

    /// Returns an intent, or `None` when it is gone.
    pub(in crate::engine) fn intent(&self, id: VolumeId) -> Result<Option<StoredIntent>> {
        let found: Option<(String, String, String)> = self.read(|db| {
            db.prepare_cached("SELECT operation, owner, payload FROM intents WHERE id = ?1")?
                .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })?;
        let Some((operation, owner, payload)) = found else { return Ok(None) };
        let intent = serde_json::from_str(&payload).map_err(|e| {
            Error::new(
                ErrorKind::Corrupt,
                format!("the journal's intent `{id}` ({operation}) cannot be read"),
            )
            .with_source(e)
        })?;
        Ok(Some(StoredIntent { id, operation, owner, intent }))
    }
}

/// Writes an intent and reserves the names that it makes.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when another intent holds one of the names.
pub(in crate::engine) fn put_intent(
    db: &Connection,
    stored: &StoredIntent,
    reserve: &[ContainerKey],
) -> Result<()> {
    let payload = serde_json::to_string(&stored.intent)
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot write an intent").with_source(e))?;
    let since = i64::try_from(crate::engine::now()).unwrap_or(i64::MAX);
    db.prepare_cached(
        "INSERT INTO intents (id, operation, owner, since, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut statement| {
        statement.execute(params![stored.id.to_string(), stored.operation, stored.owner, since, payload])
    })
    .map_err(|e| explain(e, "change"))?;
    for key in reserve {
        let (lxcpath, name) = key_text(key)?;
        db.prepare_cached("INSERT INTO reservations (lxcpath, name, intent) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![lxcpath, name, stored.id.to_string()]))
            .map_err(|e| {
                let error = explain(e, "change");
                let text = format!("container `{name}` is being made by somebody else");
                if error.kind() == ErrorKind::AlreadyExists { Error::new(error.kind(), text) } else { error }
            })?;
    }
    Ok(())
}

/// Removes an intent with its reservations; nothing when it is gone.
pub(in crate::engine) fn drop_intent(db: &Connection, id: VolumeId) -> Result<()> {
    db.prepare_cached("DELETE FROM intents WHERE id = ?1")
        .and_then(|mut statement| statement.execute([id.to_string()]))
        .map(drop)
        .map_err(|e| explain(e, "change"))
}
