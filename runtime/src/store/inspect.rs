//! Looking at a database, and copying it, whether a server uses it or not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::open::{self, DATABASE_FILE, OpenError, SCHEMA_VERSION};

/// A database as it is: of whatever schema this build knows, and nothing is changed in it.
#[derive(Debug)]
pub struct Inspector {
    connection: Connection,
    file: PathBuf,
    schema: i32,
}

impl Inspector {
    /// Opens the database of a folder that has one.
    ///
    /// # Errors
    /// If it is damaged, not ours, of a newer build, or cannot be read; each says what to do.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let (connection, schema) = open::open_as_it_is(folder)?;
        Ok(Self { connection, file: folder.join(DATABASE_FILE), schema })
    }

    /// Its schema, and the newest one that this build knows.
    #[must_use]
    pub const fn schema(&self) -> (i32, i32) {
        (self.schema, SCHEMA_VERSION)
    }

    /// What is wrong with it: nothing, if it is whole. Reads all of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn quick_check(&self) -> Result<Vec<String>, OpenError> {
        quick_check(&self.connection).map_err(|source| self.failed(source))
    }

    /// When the newest message was stored, in milliseconds since 1970.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn newest_message_ms(&self) -> Result<Option<i64>, OpenError> {
        let select = "SELECT stored_at_ms FROM messages ORDER BY rowid DESC LIMIT 1";
        let newest = self.connection.prepare(select).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            rows.next()?.map(|row| row.get(0)).transpose()
        });
        newest.map_err(|source| self.failed(source))
    }

    /// The names of all files in the books, and whether anything refers to each; none of an older schema, which has no books.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn files(&self) -> Result<Option<BTreeMap<String, bool>>, OpenError> {
        if self.schema < SCHEMA_VERSION {
            return Ok(None);
        }
        let select = "SELECT name, EXISTS (SELECT 1 FROM messages WHERE url = name AND url <> '')
                          OR EXISTS (SELECT 1 FROM users WHERE avatar = name AND avatar <> '') FROM files";
        let read = self.connection.prepare(select).and_then(|mut statement| {
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<BTreeMap<String, bool>>>()
        });
        read.map(Some).map_err(|source| self.failed(source))
    }

    /// Writes a copy as of now to a file that is not there, and checks that it is whole. The copy is not synced. A server may go on
    /// writing meanwhile; its write-ahead log grows until the copy is done.
    ///
    /// # Errors
    /// If the database cannot be read or the file not be written, and if the copy is damaged.
    pub fn copy_to(&self, file: &Path) -> Result<(), OpenError> {
        let name = file.to_str().ok_or_else(|| OpenError::Folder {
            folder: file.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "its name is not UTF-8"),
        })?;
        self.connection.execute("VACUUM INTO ?1", [name]).map_err(|source| self.failed(source))?;
        let failed = |source| open::classify(file.to_owned(), source);
        let damage = Connection::open(file).and_then(|copy| quick_check(&copy)).map_err(failed)?;
        if damage.is_empty() {
            return Ok(());
        }
        let text = Some(damage.join("; "));
        let source =
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), text);
        Err(OpenError::Corrupt { file: file.to_owned(), source })
    }

    fn failed(&self, source: rusqlite::Error) -> OpenError {
        open::classify(self.file.clone(), source)
    }
}

fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(10)")?;
    let lines = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
