//! Opening a data folder and the database in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use rusqlite_migration::{M, Migrations};

/// The database's name in the data folder.
pub const DATABASE_FILE: &str = "switchboard.db";

/// The name of the file in the data folder that a server holds a lock on.
pub const LOCK_FILE: &str = "lock";

/// How long a connection waits for another one that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of the write-ahead log after which a commit carries them over: 128 MiB. SQLite's own 4 MiB would
/// have a big batch do that at every commit.
const CHECKPOINT_PAGES: u32 = 32_768;

/// What is left of the write-ahead log after it was carried over.
const JOURNAL_LIMIT_BYTES: u32 = 128 << 20;

/// Memory for pages of the database, in KiB (SQLite counts them in negative numbers). What is not in it is mostly in the
/// system's cache, a call away. More would make commits slower: one that has split a page of an index, as most
/// under load have, ends with a walk over the whole hash table of this cache.
const CACHE_KIB: i32 = 16 << 10;

/// Marks a database as ours ("SWBD").
const APPLICATION_ID: i32 = 0x5357_4244;

/// Every step of the schema, oldest first. One that has been released is never changed.
const MIGRATIONS: [&str; 16] = [
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_sessions.sql"),
    include_str!("../migrations/0004_marks.sql"),
    include_str!("../migrations/0005_seen.sql"),
    include_str!("../migrations/0003_groups.sql"),
    include_str!("../migrations/0007_revisions.sql"),
    include_str!("../migrations/0006_received.sql"),
    include_str!("../migrations/0008_messages.sql"),
    include_str!("../migrations/0009_accounts.sql"),
    include_str!("../migrations/0010_standing.sql"),
    include_str!("../migrations/0011_files.sql"),
    include_str!("../migrations/0012_words.sql"),
    include_str!("../migrations/0013_words_later.sql"),
    include_str!("../migrations/0014_recency.sql"),
    include_str!("../migrations/0015_removed.sql"),
    include_str!("../migrations/0016_going.sql"),
];

/// The number of the newest schema: how many migrations there are.
pub(crate) const SCHEMA_VERSION: i32 = 16;

pub(super) fn migrations() -> Migrations<'static> {
    MIGRATIONS.into_iter().map(M::up).collect()
}

/// Why a store could not be opened. The message names the file and what to do about it; the source has
/// what the system or SQLite says.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be created or used.
    #[error("cannot use the data folder {}: check that it is a folder that this account may read and write", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the data folder locked.
    #[error(
        "the data folder {} is in use by another server: stop that one, or give this one a folder of its own",
        .folder.display()
    )]
    InUse {
        /// Which.
        folder: PathBuf,
    },
    /// The file is not an SQLite database.
    #[error(
        "{} is not a database: move it away to start with an empty one, or put a backup in its place",
        .file.display()
    )]
    NotADatabase {
        /// Which.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file is a database of some other program.
    #[error("{} belongs to another program: move it away, or use another data folder", .file.display())]
    Foreign {
        /// Which.
        file: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "the database {} is damaged: put a backup in its place, or try `sqlite3 {} .recover` on a copy",
        .file.display(), .file.display()
    )]
    Corrupt {
        /// Which.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The database was written by a newer version of this program.
    #[error(
        "the database {} has schema {found}, and this build knows schemas up to {known}: use a newer build, \
         or put a backup from before the upgrade in its place",
        .file.display()
    )]
    NewerSchema {
        /// Which.
        file: PathBuf,
        /// Its schema.
        found: i32,
        /// The newest schema that this build knows.
        known: i32,
    },
    /// The database could not be brought to the newest schema.
    #[error("cannot bring the database {} to schema {SCHEMA_VERSION}: nothing was changed in it", .file.display())]
    Migration {
        /// Which.
        file: PathBuf,
        /// What failed.
        source: rusqlite_migration::Error,
    },
    /// Any other failure of the database.
    #[error("cannot open the database {}: check that it is readable and writable, and that there is space", .file.display())]
    Database {
        /// Which.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The store's thread could not be started.
    #[error("cannot start the thread of the store: check the limit on threads")]
    Thread(#[source] io::Error),
}

/// A data folder of which this process is the only server, until the last clone of this is dropped.
#[derive(Clone, Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl DataFolder {
    /// Creates the folder if it is missing, and locks it against other servers.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another server has it, [`OpenError::Folder`] if it cannot be used.
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { folder: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { folder: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens the database of a folder that this process has locked, and brings it to the newest schema.
pub(crate) fn open_locked(folder: &DataFolder) -> Result<Connection, OpenError> {
    let database = Database::open(folder.path())?;
    if database.version == SCHEMA_VERSION { Ok(database.connection) } else { database.migrate() }
}

/// Opens the database of a folder that a server may be using.
pub(crate) fn open_shared(folder: &Path) -> Result<Connection, OpenError> {
    fs::create_dir_all(folder).map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })?;
    let database = Database::open(folder)?;
    if database.version == SCHEMA_VERSION {
        return Ok(database.connection);
    }
    // Whoever holds the lock may have brought the database to the newest schema meanwhile, so look again.
    drop(database);
    open_locked(&DataFolder::lock(folder)?)
}

/// Opens the database of a folder that a server may be using, and leaves its schema as it is; gives the schema.
pub(crate) fn open_as_it_is(folder: &Path) -> Result<(Connection, i32), OpenError> {
    let Database { connection, version, .. } = Database::open(folder)?;
    Ok((connection, version))
}

/// Opens the database of a folder for reading only. It has to be of the newest schema.
pub(crate) fn open_for_reading(folder: &DataFolder) -> Result<Connection, OpenError> {
    let Database { connection, file, .. } = Database::open(folder.path())?;
    match connection.pragma_update(None, "query_only", true) {
        Ok(()) => Ok(connection),
        Err(source) => Err(classify(file, source)),
    }
}

/// Opens the database of a folder that this process has locked, as [`open_locked`], but without a look at what is in its tables: one
/// of them is to be put right.
pub(crate) fn open_unseen(folder: &DataFolder) -> Result<Connection, OpenError> {
    let database = Database::open_with(folder.path(), |_| Ok(()))?;
    if database.version == SCHEMA_VERSION { Ok(database.connection) } else { database.migrate() }
}

/// An open database of ours, of whatever schema we know.
struct Database {
    connection: Connection,
    file: PathBuf,
    version: i32,
}

impl Database {
    fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, touch_every_table)
    }

    fn open_with(folder: &Path, look: fn(&Connection) -> rusqlite::Result<()>) -> Result<Self, OpenError> {
        let file = folder.join(DATABASE_FILE);
        match Self::inspect(&file, look) {
            Ok((_, Found::Foreign)) => Err(OpenError::Foreign { file }),
            Ok((_, Found::Schema(found))) if found > SCHEMA_VERSION => {
                Err(OpenError::NewerSchema { file, found, known: SCHEMA_VERSION })
            }
            Ok((connection, Found::Schema(version))) => Ok(Self { connection, file, version }),
            Err(source) => Err(classify(file, source)),
        }
    }

    /// Opens the file without changing anything of a database that is not ours or newer than this build.
    fn inspect(
        file: &Path,
        look: fn(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<(Connection, Found)> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let objects: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let empty = objects == 0 && version == 0 && application == 0;
        if (application != APPLICATION_ID && !empty) || version < 0 {
            return Ok((connection, Found::Foreign));
        }
        if version <= SCHEMA_VERSION {
            configure(&connection)?;
        }
        if version == SCHEMA_VERSION {
            look(&connection)?;
        }
        Ok((connection, Found::Schema(version)))
    }

    fn migrate(mut self) -> Result<Connection, OpenError> {
        match self.migrated() {
            Ok(()) => Ok(self.connection),
            Err(rusqlite_migration::Error::RusqliteError { err, .. }) if is_damage(&err) => {
                Err(classify(self.file, err))
            }
            Err(source) => Err(OpenError::Migration { file: self.file, source }),
        }
    }

    /// With files for what is sorted on the way: an index of a large log does not fit into memory.
    fn migrated(&mut self) -> rusqlite_migration::Result<()> {
        self.connection.pragma_update(None, "temp_store", "FILE")?;
        migrations().to_latest(&mut self.connection)?;
        self.connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(())
    }
}

/// Whose database a file is.
enum Found {
    /// Some other program's.
    Foreign,
    /// Ours, of this schema; 0 if it is new.
    Schema(i32),
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // The mode is kept in the file; setting it again changes nothing.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", JOURNAL_LIMIT_BYTES, |_| Ok(()))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(())
}

/// Reads the first page of every table, so that gross damage is met at the start and not with the first
/// message. (A full check would read the whole file.)
fn touch_every_table(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM users), EXISTS (SELECT 1 FROM groups), EXISTS (SELECT 1 FROM members),
                EXISTS (SELECT 1 FROM conversations), EXISTS (SELECT 1 FROM messages),
                EXISTS (SELECT 1 FROM directory_log), EXISTS (SELECT 1 FROM write_probe),
                EXISTS (SELECT 1 FROM store_state), EXISTS (SELECT 1 FROM revisions),
                EXISTS (SELECT 1 FROM received), EXISTS (SELECT 1 FROM sessions),
                EXISTS (SELECT 1 FROM friends), EXISTS (SELECT 1 FROM login_log),
                EXISTS (SELECT 1 FROM files), EXISTS (SELECT 1 FROM words_data)",
        [],
        |_| Ok(()),
    )
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

pub(crate) fn classify(file: PathBuf, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { file, source },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { file, source },
        _ => OpenError::Database { file, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_run_and_lead_to_the_schema_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        for _ in 0..2 {
            migrations().to_latest(&mut connection).unwrap();
            let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, SCHEMA_VERSION);
        }
    }

    #[test]
    fn what_was_said_before_there_was_an_index_is_found() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations().to_version(&mut connection, 9).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users (id, uuid, created_at_ms, updated_at_ms) VALUES (1, 'alice', 0, 0), (2, 'bob', 0, 0);
                 INSERT INTO groups (id, uuid, name, owner_id, created_at_ms) VALUES (7, 'chess', '', 1, 0);
                 INSERT INTO conversations (id, kind, user_low, user_high, group_id, head_seq, epoch, created_at_ms)
                 VALUES (1, 1, 1, 2, NULL, 3, 1, 0), (2, 2, NULL, NULL, 7, 2, 1, 0);
                 INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content, sender_name,
                                       url, file_suffix, stored_at_ms, is_recalled)
                 VALUES (1, 1, 1, randomblob(16), 1, 'The quick fox', '', '', '', 0, 0),
                        (2, 1, 1, randomblob(16), 23, 'fox', '', '', '', 0, 0),
                        (2, 2, 1, randomblob(16), 1, 'a fox', '', '', '', 0, 0),
                        (1, 2, 1, randomblob(16), 1, 'fox', '', '', '', 0, 1),
                        (1, 3, 1, randomblob(16), 3, '', '', 'x.png', '', 0, 0);",
            )
            .unwrap();
        migrations().to_latest(&mut connection).unwrap();
        let found = |words: &str| -> Vec<i64> {
            let select = "SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid";
            let mut statement = connection.prepare(select).unwrap();
            statement.query_map([words], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(found("content : fox"), [1, 3]);
        assert_eq!(found("places : u1 AND content : fox"), [1]);
        assert_eq!(found("places : g7 AND content : fox"), [3]);
        assert_eq!(found("places : u7"), [0; 0]);
    }

    #[test]
    fn members_of_before_are_members_still_and_every_group_has_an_owner() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations().to_version(&mut connection, 4).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users (id, uuid, created_at_ms, updated_at_ms)
                 VALUES (1, 'alice', 0, 0), (2, 'bob', 0, 0), (3, 'carol', 0, 0);
                 INSERT INTO groups (id, uuid, name, owner_id, created_at_ms) VALUES (1, 'chess', '', 1, 0), (2, 'go', '', 1, 0);
                 INSERT INTO members (group_id, user_id, role, joined_at_ms, first_seq, read_seq)
                 VALUES (1, 1, 2, 0, 1, 9), (1, 2, 1, 5, 7, 8), (2, 2, 1, 6, 1, 0), (2, 3, 1, 5, 1, 0);",
            )
            .unwrap();
        migrations().to_latest(&mut connection).unwrap();
        let select =
            "SELECT group_id, user_id, role, first_seq, last_seq, read_seq, muted_until_ms FROM members";
        let mut statement = connection.prepare(select).unwrap();
        type Row = (i64, i64, i64, i64, Option<i64>, i64, i64);
        let rows: Vec<Row> =
            statement.query_map([], |row| Ok(row.try_into().unwrap())).unwrap().map(Result::unwrap).collect();
        let expected = [
            (1, 1, 3, 1, None, 9, 0),
            (1, 2, 1, 7, None, 8, 0),
            (2, 2, 1, 1, None, 0, 0),
            (2, 3, 3, 1, None, 0, 0),
        ];
        assert_eq!(rows, expected);
        let open: i64 = connection
            .query_row("SELECT count(*) FROM groups WHERE invite_only = 0", [], |row| row.get(0))
            .unwrap();
        assert_eq!(open, 0, "nobody could join by itself before");
    }
}
