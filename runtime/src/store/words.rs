//! The words of messages: an index that comes a little after what is stored.
//!
//! An entry costs a third of the time that storing its message does if it is written with it, and less than half of that if thousands are written
//! at a time. So messages come into the index in passes, one after the other up to a rowid (`store_state.indexed_to`); who searches looks at what
//! is behind it, too. Edits and recalls of what is in the index change it at once.

use rusqlite::{Connection, params};

use super::log::Key;

/// Messages that one pass takes into the index. It keeps those who store waiting for some milliseconds.
pub(super) const PASS_MESSAGES: i64 = 8_192;

/// Characters of a message that are looked at.
const TEXT_CHARS: usize = 4_096;

/// Bytes of texts that are remembered until they come into the index; beyond them they are read again.
const REMEMBERED_BYTES: usize = 16 << 20;

/// The index, and the like of it for what is not in it yet.
const OPTIONS: &str = "places, content, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2'";

/// Puts a message into the index: its rowid, where it was said, and its text, of which this is the beginning.
const INSERT: &str = "INSERT INTO words (rowid, places, content) VALUES (?1, ?2, ?3)";

/// Takes it out: with the same values, or the index is damaged.
const DELETE: &str = "INSERT INTO words (words, rowid, places, content) VALUES ('delete', ?1, ?2, ?3)";

/// What the index has of messages.
const ENTRIES: &str = "SELECT messages.rowid,
         iif(group_id IS NULL, 'u' || user_low || ' u' || user_high, 'g' || group_id),
         substr(content, 1, 4096)
     FROM messages CROSS JOIN conversations ON conversations.id = conversation_id
     WHERE content_type <= 5 AND content <> '' AND NOT is_recalled";

/// What is not in the index yet, as the thread that stores it knows.
pub(super) struct Behind {
    /// How many entries, at least; those of no message are among them.
    pub(super) entries: i64,
    /// All their texts, if `is_whole`: reading them again costs as much as the index does.
    texts: Vec<(i64, Key, Box<str>)>,
    bytes: usize,
    /// The rowid of the last entry.
    last: i64,
    is_whole: bool,
}

impl Behind {
    pub(super) fn look(connection: &Connection) -> rusqlite::Result<Self> {
        let entries = behind(connection)?;
        let is_whole = entries <= 0;
        Ok(Self { entries, texts: Vec::new(), bytes: 0, last: 0, is_whole })
    }

    /// An entry was stored; a message has a text.
    pub(super) fn add(&mut self, rowid: i64, key: Key, text: Option<&str>) {
        self.entries += 1;
        self.last = rowid;
        let Some(text) = text.filter(|text| self.is_whole && !text.is_empty()) else { return };
        let text: Box<str> = beginning(text).into();
        self.bytes += text.len();
        self.texts.push((rowid, key, text));
        if self.bytes > REMEMBERED_BYTES {
            self.forget();
        }
    }

    /// Something that was stored says something else now, or was not stored after all.
    pub(super) fn forget(&mut self) {
        (self.texts, self.bytes, self.is_whole) = (Vec::new(), 0, false);
    }

    /// Takes the next messages into the index, in the caller's transaction. Once that is committed, [`Behind::look`] has to look again.
    pub(super) fn pass(&self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.is_whole {
            return pass(connection);
        }
        let mut insert = connection.prepare_cached(INSERT)?;
        for (rowid, key, text) in &self.texts {
            insert.execute(params![rowid, places(*key), text])?;
        }
        connection.prepare_cached("UPDATE store_state SET indexed_to = ?1")?.execute([self.last]).map(drop)
    }
}

/// How many messages there may be that are not in the index.
pub(super) fn behind(connection: &Connection) -> rusqlite::Result<i64> {
    let select = "SELECT (SELECT coalesce(max(rowid), 0) FROM messages) - indexed_to FROM store_state";
    connection.prepare_cached(select)?.query_row([], |row| row.get(0))
}

/// Takes the next messages into the index, in the caller's transaction.
pub(super) fn pass(connection: &Connection) -> rusqlite::Result<()> {
    let last = "SELECT max(rowid) FROM
                (SELECT rowid FROM messages WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)";
    let from = indexed_to(connection)?;
    let last: Option<i64> =
        connection.prepare_cached(last)?.query_row([from, PASS_MESSAGES], |row| row.get(0))?;
    let Some(to) = last else { return Ok(()) };
    let insert = format!(
        "INSERT INTO words (rowid, places, content)
         {ENTRIES} AND messages.rowid > ?1 AND messages.rowid <= ?2 ORDER BY messages.rowid"
    );
    connection.prepare_cached(&insert)?.execute([from, to])?;
    connection.prepare_cached("UPDATE store_state SET indexed_to = ?1")?.execute([to]).map(drop)
}

/// The rowid of the last message that is in the index.
fn indexed_to(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT indexed_to FROM store_state")?.query_row([], |row| row.get(0))
}

/// Messages behind the index that a search looks at, the newest: more than there are while the index is in step.
const TAIL_MESSAGES: i64 = 65_536;

/// The rowids of a user's messages that an expression matches, the newest first, in or behind the index.
/// To be asked within one transaction, or a message may be seen in neither.
pub(super) fn find(
    connection: &Connection,
    user: i64,
    expression: &str,
    (before, limit): (i64, u32),
) -> rusqlite::Result<Vec<i64>> {
    let mut found = find_behind(connection, user, expression, (before, limit))?;
    let select = "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT ?3";
    let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
    let mut statement = connection.prepare_cached(select)?;
    for rowid in statement.query_map(params![expression, before, left], |row| row.get(0))? {
        found.push(rowid?);
    }
    Ok(found)
}

/// Has what is behind the index and may be the user's in an index for this one question.
fn find_behind(
    connection: &Connection,
    user: i64,
    expression: &str,
    (before, limit): (i64, u32),
) -> rusqlite::Result<Vec<i64>> {
    let from = indexed_to(connection)?;
    let newest = connection.prepare_cached("SELECT coalesce(max(rowid), 0) FROM messages")?;
    let newest: i64 = { newest }.query_row([], |row| row.get(0))?;
    if newest <= from || before <= from {
        return Ok(Vec::new());
    }
    connection
        .execute_batch(&format!("CREATE VIRTUAL TABLE IF NOT EXISTS temp.tail USING fts5({OPTIONS})"))?;
    let insert = format!(
        "INSERT INTO temp.tail (rowid, places, content)
         {ENTRIES} AND messages.rowid > ?1 AND messages.rowid < ?2 AND (user_low = ?3 OR user_high = ?3
             OR group_id IN (SELECT members.group_id FROM members WHERE user_id = ?3))
         ORDER BY messages.rowid"
    );
    let from = from.max(newest.saturating_sub(TAIL_MESSAGES));
    connection.prepare_cached(&insert)?.execute(params![from, before, user])?;
    let select = "SELECT rowid FROM temp.tail WHERE tail MATCH ?1 ORDER BY rowid DESC LIMIT ?2";
    let found = connection
        .prepare_cached(select)?
        .query_map(params![expression, limit], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>();
    connection.prepare_cached("INSERT INTO temp.tail (tail) VALUES ('delete-all')")?.execute([])?;
    found
}

/// What is looked at of a text; `substr(content, 1, 4096)` in SQL.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(TEXT_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
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

/// Puts another text in the place of a message's; an empty one is no entry. What is not in the index yet comes into it as it is then.
pub(super) fn replace(
    connection: &Connection,
    (rowid, key): (i64, Key),
    old: &str,
    new: &str,
) -> rusqlite::Result<()> {
    if rowid > indexed_to(connection)? {
        return Ok(());
    }
    let places = places(key);
    if !old.is_empty() {
        connection.prepare_cached(DELETE)?.execute(params![rowid, places, beginning(old)])?;
    }
    if !new.is_empty() {
        connection.prepare_cached(INSERT)?.execute(params![rowid, places, beginning(new)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::migrations;

    const ALICE: i64 = 1;
    const BOB: i64 = 2;
    const CAROL: i64 = 3;

    /// A store in which Alice and Bob have talked: so many messages, the first of which says "fox 1".
    fn store(messages: i64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations().to_latest(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users (id, uuid, created_at_ms, updated_at_ms)
                 VALUES (1, 'alice', 0, 0), (2, 'bob', 0, 0), (3, 'carol', 0, 0);
                 INSERT INTO conversations (id, kind, user_low, user_high, head_seq, epoch, created_at_ms)
                 VALUES (1, 1, 1, 2, 0, 1, 0);",
            )
            .unwrap();
        let insert = "WITH RECURSIVE count (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < ?1)
             INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content, sender_name,
                                   url, file_suffix, stored_at_ms, is_recalled)
             SELECT 1, n, 1, randomblob(16), 1, 'fox ' || n, '', '', '', 0, 0 FROM count";
        connection.execute(insert, [messages]).unwrap();
        connection
    }

    fn found(connection: &Connection, user: i64, word: &str) -> Vec<i64> {
        let expression = format!("places : {} AND content : ({word})", self::user(user));
        find(connection, user, &expression, (i64::MAX, 10_000)).unwrap()
    }

    #[test]
    fn a_message_is_found_behind_the_index_and_in_it() {
        let messages = PASS_MESSAGES + 2;
        let connection = store(messages);
        let all: Vec<i64> = (1..=messages).rev().collect();
        for left in [messages, 2, 0, 0] {
            assert_eq!(behind(&connection).unwrap(), left);
            assert_eq!(found(&connection, ALICE, "fox"), all);
            assert_eq!(found(&connection, BOB, "2050"), [2050]);
            assert_eq!(found(&connection, CAROL, "fox"), [0; 0]);
            pass(&connection).unwrap();
        }
    }

    #[test]
    fn what_is_remembered_and_what_is_read_again_come_into_the_index_alike() {
        let long = "é".repeat(TEXT_CHARS) + "x";
        for is_forgotten in [false, true] {
            let connection = store(1);
            pass(&connection).unwrap();
            let mut behind = Behind::look(&connection).unwrap();
            let insert = "INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content, sender_name,
                                                url, file_suffix, stored_at_ms, is_recalled)
                          VALUES (1, ?1, 1, randomblob(16), 1, ?2, '', '', '', 0, 0)";
            for (seq, text) in [(2, "fox two"), (3, ""), (4, &long), (5, "")] {
                connection.execute(insert, params![seq, text]).unwrap();
                let key = Key::Direct { low: ALICE, high: BOB };
                behind.add(connection.last_insert_rowid(), key, Some(text));
            }
            if is_forgotten {
                behind.forget();
            }
            assert_eq!(behind.entries, 4);
            behind.pass(&connection).unwrap();
            assert_eq!(Behind::look(&connection).unwrap().entries, 0);
            assert_eq!(found(&connection, BOB, "fox"), [2, 1]);
            assert_eq!(found(&connection, BOB, &"é".repeat(TEXT_CHARS)), [4]);
            connection.execute("INSERT INTO words (words) VALUES ('integrity-check')", []).unwrap();
        }
    }

    #[test]
    fn a_page_goes_on_from_what_is_behind_the_index_into_it() {
        let connection = store(PASS_MESSAGES);
        pass(&connection).unwrap();
        let insert = "INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content, sender_name,
                                            url, file_suffix, stored_at_ms, is_recalled)
                      SELECT 1, seq + ?1, 1, randomblob(16), 1, content, '', '', '', 0, 0 FROM messages WHERE seq <= 3";
        connection.execute(insert, [PASS_MESSAGES]).unwrap();
        let expression = "places : u1 AND content : fox";
        let page = |before, limit| find(&connection, ALICE, expression, (before, limit)).unwrap();
        let last = PASS_MESSAGES + 3;
        assert_eq!(page(i64::MAX, 2), [last, last - 1]);
        assert_eq!(page(last - 1, 3), [last - 2, last - 3, last - 4]);
        assert_eq!(page(last - 3, 1), [last - 4]);
    }

    #[test]
    fn what_was_edited_is_found_by_what_it_says_now() {
        let connection = store(PASS_MESSAGES + 1);
        pass(&connection).unwrap();
        let key = Key::Direct { low: ALICE, high: BOB };
        for (rowid, is_indexed) in [(1, true), (PASS_MESSAGES + 1, false)] {
            assert_eq!(indexed_to(&connection).unwrap() >= rowid, is_indexed);
            replace(&connection, (rowid, key), &format!("fox {rowid}"), &format!("hen {rowid}")).unwrap();
            let edit = "UPDATE messages SET content = ?2 WHERE rowid = ?1";
            connection.execute(edit, params![rowid, format!("hen {rowid}")]).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(found(&connection, BOB, "hen"), [PASS_MESSAGES + 1, 1]);
            assert_eq!(found(&connection, BOB, "fox AND 1"), [0; 0]);
            pass(&connection).unwrap();
        }
    }
}
