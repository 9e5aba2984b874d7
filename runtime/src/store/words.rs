//! The words of messages: an index that is kept in the transaction that stores, edits or recalls a message.

use rusqlite::{Connection, TransactionBehavior, params};

use super::log::Key;
use super::open::{self, DataFolder, OpenError};

/// Puts a message into the index: its rowid, where it was said, and its text, of which this is the beginning.
pub(super) const INSERT: &str =
    "INSERT INTO words (rowid, places, content) VALUES (?1, ?2, substr(?3, 1, 4096))";

/// Takes it out: with the same values, or the index is damaged.
const DELETE: &str =
    "INSERT INTO words (words, rowid, places, content) VALUES ('delete', ?1, ?2, substr(?3, 1, 4096))";

/// The index as the migration makes it; a test holds the two together.
const TABLE: &str = "CREATE VIRTUAL TABLE words USING fts5(places, content, content='', columnsize=0, \
                     tokenize='unicode61 remove_diacritics 2')";

/// Makes the index of a data folder anew, of all messages; gives how many are in it. To be done when it is damaged, while no
/// server runs.
///
/// # Errors
/// If the database cannot be opened or written; see [`OpenError`].
pub fn rebuild_search(folder: &DataFolder) -> Result<u64, OpenError> {
    let mut connection = open::open_unseen(folder)?;
    let rebuilt = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch("DROP TABLE IF EXISTS words")?;
        transaction.execute_batch(TABLE)?;
        let messages = index_after(&transaction, 0)?;
        transaction.commit()?;
        Ok(messages as u64)
    })();
    rebuilt.map_err(|source| open::classify(folder.path().join(open::DATABASE_FILE), source))
}

/// Puts all messages into the index that came after the one of this rowid, as the migration does with those that were there; gives
/// how many.
pub(super) fn index_after(connection: &Connection, rowid: i64) -> rusqlite::Result<usize> {
    let insert = "INSERT INTO words (rowid, places, content)
                  SELECT messages.rowid,
                         iif(group_id IS NULL, 'u' || user_low || ' u' || user_high, 'g' || group_id),
                         substr(content, 1, 4096)
                  FROM messages CROSS JOIN conversations ON conversations.id = conversation_id
                  WHERE messages.rowid > ?1 AND content_type <= 5 AND content <> '' AND NOT is_recalled
                  ORDER BY messages.rowid";
    connection.execute(insert, [rowid])
}

/// Where something was said, as words.
pub(super) fn places(key: Key) -> String {
    match key {
        Key::Direct { low, high } => format!("{} {}", user(low), user(high)),
        Key::Group(number) => group(number),
    }
}

/// The word of what was said to or by a user, one to one.
pub(super) fn user(number: i64) -> String {
    format!("u{number}")
}

/// The word of what was said in a group.
pub(super) fn group(number: i64) -> String {
    format!("g{number}")
}

/// Puts another text in the place of a message's; an empty one is no entry.
pub(super) fn replace(
    connection: &Connection,
    (rowid, key): (i64, Key),
    old: &str,
    new: &str,
) -> rusqlite::Result<()> {
    let places = places(key);
    if !old.is_empty() {
        connection.prepare_cached(DELETE)?.execute(params![rowid, places, old])?;
    }
    if !new.is_empty() {
        connection.prepare_cached(INSERT)?.execute(params![rowid, places, new])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_made_anew_is_the_one_that_the_migration_makes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::lock(folder.path()).unwrap();
        let made = || {
            let connection = open::open_locked(&folder).unwrap();
            let select = "SELECT sql FROM sqlite_schema WHERE name = 'words'";
            connection.query_row(select, [], |row| row.get::<_, String>(0)).unwrap()
        };
        let before = made();
        assert_eq!(rebuild_search(&folder).unwrap(), 0);
        assert_eq!(made(), before);
    }
}
