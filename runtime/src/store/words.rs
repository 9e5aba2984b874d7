//! The words of messages: an index that is kept in the transaction that stores, edits or recalls a message.

use rusqlite::{Connection, params};

use super::log::Key;

/// Puts a message into the index: its rowid, where it was said, and its text, of which this is the beginning.
pub(super) const INSERT: &str =
    "INSERT INTO words (rowid, places, content) VALUES (?1, ?2, substr(?3, 1, 4096))";

/// Takes it out: with the same values, or the index is damaged.
const DELETE: &str =
    "INSERT INTO words (words, rowid, places, content) VALUES ('delete', ?1, ?2, substr(?3, 1, 4096))";

/// Puts all messages into the index that came after the one of this rowid, as the migration does with those that were there.
pub(super) fn index_after(connection: &Connection, rowid: i64) -> rusqlite::Result<()> {
    let insert = "INSERT INTO words (rowid, places, content)
                  SELECT messages.rowid,
                         iif(group_id IS NULL, 'u' || user_low || ' u' || user_high, 'g' || group_id),
                         substr(content, 1, 4096)
                  FROM messages CROSS JOIN conversations ON conversations.id = conversation_id
                  WHERE messages.rowid > ?1 AND content_type <= 5 AND content <> '' AND NOT is_recalled
                  ORDER BY messages.rowid";
    connection.execute(insert, [rowid]).map(drop)
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
