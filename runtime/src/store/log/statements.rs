//! What the store's thread asks the database again and again.

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use switchboard_engine::{MessageId, Place};

use super::{Key, marks, number, received};

/// Where a sender's message of this id is already.
const STORED: &str = "SELECT epoch, seq, stored_at_ms, conversation_id
     FROM messages CROSS JOIN conversations ON conversations.id = conversation_id
     WHERE message_id = ?2 AND sender_id = ?1";

/// The prepared statements of the store's thread.
pub(super) struct Statements<'c> {
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    pub(super) user: Statement<'c>,
    pub(super) insert_user: Statement<'c>,
    pub(super) avatar: Statement<'c>,
    pub(super) groups_of: Statement<'c>,
    pub(super) direct: Statement<'c>,
    pub(super) insert_direct: Statement<'c>,
    pub(super) group_conversation: Statement<'c>,
    pub(super) insert_group_conversation: Statement<'c>,
    pub(super) insert_message: Statement<'c>,
    pub(super) stored: Statement<'c>,
    pub(super) move_head: Statement<'c>,
    pub(super) count_commit: Statement<'c>,
    pub(super) revision: Statement<'c>,
    pub(super) changes: Statement<'c>,
    pub(super) data_version: Statement<'c>,
    pub(super) marks: marks::MarkStatements<'c>,
    pub(super) received: received::ReceivedStatements<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        Ok(Self {
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            user: prepare("SELECT id FROM users WHERE uuid = ?1")?,
            insert_user: prepare(
                "INSERT INTO users (uuid, username, created_at_ms, updated_at_ms)
                 VALUES (?1, iif(EXISTS (SELECT 1 FROM users WHERE username = ?1), NULL, ?1), ?2, ?2)",
            )?,
            avatar: prepare("SELECT avatar FROM users WHERE id = ?1")?,
            groups_of: prepare(
                "SELECT groups.uuid FROM members JOIN groups ON groups.id = members.group_id
                 WHERE members.user_id = ?1 AND last_seq IS NULL ORDER BY members.group_id",
            )?,
            // The log is the truth: a head that lags behind it, by whatever damage, must not stop the writers.
            direct: prepare(
                "SELECT id, max(head_seq, (SELECT coalesce(max(seq), 0) FROM messages WHERE conversation_id = conversations.id)), epoch
                 FROM conversations WHERE user_low = ?1 AND user_high = ?2",
            )?,
            insert_direct: prepare(
                "INSERT INTO conversations (kind, user_low, user_high, head_seq, epoch, created_at_ms)
                 VALUES (1, ?1, ?2, 0, coalesce(nullif(random(), 0), 1), ?3) RETURNING id, epoch",
            )?,
            group_conversation: prepare(
                "SELECT id, max(head_seq, (SELECT coalesce(max(seq), 0) FROM messages WHERE conversation_id = conversations.id)), epoch
                 FROM conversations WHERE group_id = ?1",
            )?,
            insert_group_conversation: prepare(
                "INSERT INTO conversations (kind, group_id, head_seq, epoch, created_at_ms)
                 VALUES (2, ?1, 0, coalesce(nullif(random(), 0), 1), ?2) RETURNING id, epoch",
            )?,
            insert_message: prepare(
                "INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content,
                                       sender_name, url, file_suffix, stored_at_ms, change, target_seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (message_id, sender_id) DO NOTHING",
            )?,
            stored: prepare(STORED)?,
            move_head: prepare("UPDATE conversations SET head_seq = ?1 WHERE id = ?2")?,
            count_commit: prepare("UPDATE store_state SET commits = ?1")?,
            revision: prepare(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'directory_log'",
            )?,
            changes: prepare(
                "SELECT revision, users.uuid, kind, groups.uuid, directory_log.avatar
                 FROM directory_log JOIN users ON users.id = user_id LEFT JOIN groups ON groups.id = group_id
                 WHERE revision > ?1 ORDER BY revision LIMIT ?2",
            )?,
            data_version: prepare("PRAGMA data_version")?,
            marks: marks::MarkStatements::prepare(connection)?,
            received: received::ReceivedStatements::prepare(connection)?,
        })
    }

    pub(super) fn data_version(&mut self) -> rusqlite::Result<i64> {
        self.data_version.query_row([], number)
    }

    pub(super) fn revision(&mut self) -> rusqlite::Result<i64> {
        self.revision.query_row([], number)
    }

    /// Where this message of the sender's is already: in which conversation, and there.
    pub(super) fn stored(&mut self, sender: i64, id: MessageId) -> rusqlite::Result<Option<(i64, Place)>> {
        let place = |row: &Row<'_>| {
            let place = Place {
                epoch: row.get::<_, i64>(0)?.cast_unsigned(),
                seq: row.get::<_, i64>(1)?.unsigned_abs(),
                stored_at_ms: row.get(2)?,
            };
            Ok((row.get(3)?, place))
        };
        self.stored.query_row(params![sender, id.0], place).optional()
    }

    /// Its number, head and epoch.
    pub(super) fn find_conversation(&mut self, key: Key) -> rusqlite::Result<Option<(i64, i64, i64)>> {
        let found = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        match key {
            Key::Direct { low, high } => self.direct.query_row([low, high], found).optional(),
            Key::Group(group) => self.group_conversation.query_row([group], found).optional(),
        }
    }

    /// Its number and its epoch.
    pub(super) fn insert_conversation(&mut self, key: Key, now_ms: i64) -> rusqlite::Result<(i64, i64)> {
        let made = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        match key {
            Key::Direct { low, high } => self.insert_direct.query_row([low, high, now_ms], made),
            Key::Group(group) => self.insert_group_conversation.query_row([group, now_ms], made),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::open::{DataFolder, open_locked};
    use super::*;

    #[test]
    fn a_message_is_looked_up_by_both_parts_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_locked(&DataFolder::lock(folder.path()).unwrap()).unwrap();
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {STORED}")).unwrap();
        let steps = plan.query_map([None::<i64>; 2], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        let by_id = "SEARCH messages USING INDEX messages_by_id (message_id=? AND sender_id=?)";
        assert_eq!(steps, [by_id, "SEARCH conversations USING INTEGER PRIMARY KEY (rowid=?)"]);
    }
}
