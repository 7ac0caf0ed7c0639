//! The catalogue: one SQLite file that any number of processes open at once.
//!
//! It holds names, volumes, edges and intents; it never holds configuration, which is LXC's `config` file. Transactions
//! are short: no effect on a store ever happens inside one. Readers write nothing and wait for no disk.
//!
//! ```text
//! <state>/catalogue.sqlite      user_version = the schema's version; WAL; synchronous = FULL, or NORMAL for the
//!                               transactions that may be lost ([`Durable::WithTheNext`])
//! ```
//!
//! A catalogue that cannot be read is not replaced: it is set aside in memory ([`Condition::Damaged`]), everything on
//! disk can still be listed, and changes are refused until `keiki check --repair`.

mod edges;
mod intents;
mod rows;
mod schema;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::error::{Error, ErrorKind, Result, ResultExt};

pub(super) use edges::{Everything, Neighbourhood};
pub(super) use intents::StoredIntent;
pub(super) use rows::{ContainerRow, PlacedRole, VolumeRow};

/// Changes of rows, for use inside a transaction.
pub(super) mod journal {
    pub(in crate::engine) use super::edges::{drop_dependency, drop_provenance, move_provenance, put_edge};
    pub(in crate::engine) use super::intents::{drop_intent, put_intent};
    pub(in crate::engine) use super::rows::{
        drop_container_of, drop_volume, freeze_head, make_ghost, move_volume, put_container, put_volume,
    };
}

/// How long a transaction waits for another process's.
const BUSY: Duration = Duration::from_secs(20);

/// Length of the log beyond which it is copied into the file and cut. Every process reads the whole log when it opens the
/// catalogue (measured: 0.7 ms a megabyte), and a copy waits for the disk twice: this is 0.4 ms at most, and nine clones.
const LOG_BYTES: u64 = 512 * 1024;

/// When a transaction is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// When it returns.
    Now,
    /// With the next that is so, or sooner: the log keeps its order, so nothing later survives without it. When the power
    /// fails first, it never happened; whoever asks for this must come to the same end again then.
    WithTheNext,
}

/// What can be done with the catalogue.
#[derive(Debug)]
enum Condition {
    /// Everything.
    Writable,
    /// Reading; the file or its directory is read-only for us.
    ReadOnly(Error),
    /// Nothing; the connection is an empty one in memory.
    Damaged(Error),
}

/// The open catalogue.
#[derive(Debug)]
pub(super) struct Catalogue {
    connection: Mutex<Connection>,
    condition: Condition,
    path: PathBuf,
}

impl Catalogue {
    /// Opens the catalogue in `state`, making it when it is not there.
    ///
    /// # Errors
    /// When neither the file nor a read-only view of it can be had.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let path = state.join("catalogue.sqlite");
        match open_writable(state, &path) {
            Ok(connection) => Ok(Self::with(connection, Condition::Writable, path)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let empty = Connection::open_in_memory().map_err(|e| explain(e, "open"))?;
                schema::install(&empty)?;
                Ok(Self::with(empty, Condition::Damaged(error), path))
            }
            Err(error) if matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::PermissionDenied) => {
                Self::open_read_only(path, error)
            }
            Err(error) => Err(error),
        }
    }

    fn open_read_only(path: PathBuf, why: Error) -> Result<Self> {
        if !path.exists() {
            return Err(why);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| explain(e, "open"))?;
        connection.busy_timeout(BUSY).map_err(|e| explain(e, "open"))?;
        Ok(Self::with(connection, Condition::ReadOnly(why), path))
    }

    fn with(connection: Connection, condition: Condition, path: PathBuf) -> Self {
        Self { connection: Mutex::new(connection), condition, path }
    }

    /// Returns the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns why nothing can be changed, or `None`.
    pub(super) fn obstacle(&self) -> Option<&Error> {
        match &self.condition {
            Condition::Writable => None,
            Condition::ReadOnly(error) | Condition::Damaged(error) => Some(error),
        }
    }

    /// Looks through the whole file, and returns why it cannot be read, or what in it cannot be true, or `None`.
    ///
    /// # Errors
    /// When it could not be looked through.
    pub(super) fn damage(&self, lxcpath: &Path) -> Result<Option<Error>> {
        if let Condition::Damaged(error) = &self.condition {
            return Ok(Some(Error::new(ErrorKind::Corrupt, error.full_message())));
        }
        let verdict =
            self.read(|db| db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
        let looked = verdict.and_then(|verdict| match verdict.as_str() {
            "ok" => self.everything(lxcpath).and_then(|all| all.lineage(lxcpath)).map(drop),
            _ => Err(Error::new(ErrorKind::Corrupt, verdict)),
        });
        match looked {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// Refuses unless another file may be put in the catalogue's place.
    pub(super) fn require_owned(&self) -> Result<()> {
        match &self.condition {
            Condition::ReadOnly(_) => self.require_writable(),
            Condition::Writable | Condition::Damaged(_) => Ok(()),
        }
    }

    /// Refuses unless the catalogue can be changed.
    pub(super) fn require_writable(&self) -> Result<()> {
        let shown = self.path.display();
        match &self.condition {
            Condition::Writable => Ok(()),
            Condition::ReadOnly(why) => Err(Error::new(
                why.kind(),
                format!("the catalogue `{shown}` cannot be written: {}", why.full_message()),
            )
            .with_hint("run as the user who owns it, or choose another place with KEIKI_STATE")),
            Condition::Damaged(why) => Err(Error::new(
                ErrorKind::Corrupt,
                format!("the catalogue `{shown}` is damaged: {}", why.full_message()),
            )
            .with_hint("`keiki check --repair` sets it aside and rebuilds it from what is on disk")),
        }
    }

    /// Runs `work` for reading; everything that it reads is of one moment, whatever others change meanwhile.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.lock();
        let moment = connection.unchecked_transaction().map_err(|e| explain(e, "read"))?;
        work(&moment).map_err(|e| explain(e, "read"))
    }

    /// Runs `work` in a transaction that is on the disk when this returns `Ok`, and leaves no trace otherwise.
    pub(super) fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.write_as(Durable::Now, work)
    }

    /// Runs `work` in a transaction that every process sees when this returns `Ok`, and leaves no trace otherwise.
    pub(super) fn write_as<T>(
        &self,
        durable: Durable,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.require_writable()?;
        let mut connection = self.lock();
        // NORMAL still waits for the disk around a copy of the log into the file, without which that would not be safe.
        let level = if durable == Durable::Now { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", level).map_err(|e| explain(e, "change"))?;
        // Immediate: two writers would otherwise find out only at their first write, when one of them must give up.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| explain(e, "change"))?;
        let value = work(&transaction)?;
        transaction.commit().map_err(|e| explain(e, "change"))?;
        shorten_log(&connection, &self.path);
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in another thread cannot leave a transaction open: dropping it rolls it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a damaged catalogue, with its log, another name beside the old one, and returns that name.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when there are a hundred already.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for number in 1..=100 {
        let aside = named(&format!(".damaged-{number}"));
        if aside.exists() {
            continue;
        }
        // The log first: a fresh catalogue must never meet an old one.
        for suffix in ["-wal", "-shm", ""] {
            let target = named(&format!(".damaged-{number}{suffix}"));
            match std::fs::rename(named(suffix), &target) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.or_err(|| format!("cannot set `{}` aside", path.display()))?,
            }
        }
        return Ok(aside);
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("`{}` was set aside too often", path.display()))
        .with_hint("remove the files whose names end in `.damaged-N`"))
}

/// Copies a log that has grown long into the file, and cuts it unless somebody reads in it. Nobody is waited for.
fn shorten_log(connection: &Connection, path: &Path) {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if !std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES) {
        return;
    }
    // What was committed is safe in the log whatever happens here, and the next transaction tries again.
    let _tried_again = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    let _kept = connection.busy_timeout(BUSY);
}

fn open_writable(state: &Path, path: &Path) -> Result<Connection> {
    std::fs::create_dir_all(state).or_err(|| format!("cannot make the directory `{}`", state.display()))?;
    write_in_place(state);
    let connection = Connection::open(path).map_err(|e| explain(e, "open"))?;
    // SQLite opens what it may only read without a word.
    if connection.is_readonly(MAIN_DB).map_err(|e| explain(e, "open"))? {
        return Err(Error::new(ErrorKind::ReadOnly, format!("`{}` can only be read", path.display())));
    }
    configure(&connection).map_err(|e| explain(e, "open"))?;
    schema::install(&connection)?;
    Ok(connection)
}

/// Keeps btrfs from copying on write what SQLite maps into memory.
///
/// On a full btrfs a write to such a page has nowhere to go, and the kernel kills the process (`SIGBUS`) instead of
/// answering `ENOSPC`. New files inherit the flag from their directory. Where it cannot be set, everything still works
/// until the disk is full.
fn write_in_place(state: &Path) {
    let Ok(directory) = std::fs::File::open(state) else { return };
    if !keiki_sys::btrfs::is_btrfs(directory.as_fd()).unwrap_or(false) {
        return;
    }
    if let Ok(flags) = ioctl_getflags(&directory)
        && !flags.contains(IFlags::NOCOW)
    {
        let _best_effort = ioctl_setflags(&directory, flags | IFlags::NOCOW);
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    switch_to_wal(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // SQLite's own way copies and does not cut: the next process reads everything again, and copies it again.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // Closing would copy the log into the file and wait for the disk, also in a process that only read.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// Switches a new file to the write-ahead log; one that has it already is not touched.
///
/// The switch needs the file alone and does not wait for others as a transaction does, so processes that open a new
/// installation at once must try again.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    use rusqlite::ErrorCode as Code;
    let end = Instant::now() + BUSY;
    loop {
        let mode = connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        let switched = match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => connection.pragma_update(None, "journal_mode", "WAL"),
            Err(error) => Err(error),
        };
        match switched {
            Err(error)
                if matches!(error.sqlite_error_code(), Some(Code::DatabaseBusy | Code::DatabaseLocked))
                    && Instant::now() < end =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Turns an error of SQLite into ours, by its code.
pub(super) fn explain(error: rusqlite::Error, verb: &str) -> Error {
    use rusqlite::ErrorCode as Code;
    let kind = match error.sqlite_error_code() {
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => ErrorKind::Corrupt,
        Some(Code::ReadOnly) => ErrorKind::ReadOnly,
        Some(Code::CannotOpen | Code::PermissionDenied) => ErrorKind::PermissionDenied,
        Some(Code::DiskFull) => ErrorKind::NoSpace,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => ErrorKind::Busy,
        Some(Code::ConstraintViolation) => ErrorKind::AlreadyExists,
        Some(Code::SystemIoFailure) => ErrorKind::Io,
        _ => ErrorKind::Internal,
    };
    let explained = Error::new(kind, format!("cannot {verb} the catalogue")).with_source(error);
    if kind == ErrorKind::Corrupt {
        return explained
            .with_hint("`keiki check --repair` sets it aside and rebuilds it from what is on disk");
    }
    explained
}
