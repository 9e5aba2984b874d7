//! What conversations hold.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, Row, params};
use switchboard_engine::{GroupId, MessageId, Subject, UserId};

use super::super::reads::subject;
use super::{Directory, Result, user_id};

/// Which conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// The one of two users, in any order; of a user with itself if they are the same.
    Direct(UserId, UserId),
    /// A group's.
    Group(GroupId),
}

/// The state of a conversation's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationInfo {
    /// The place of its newest message; 0 if there is none.
    pub head_seq: u64,
    /// Chosen at random when the log was begun: another epoch is another log, whose places mean nothing in
    /// this one. Never 0.
    pub epoch: u64,
}

/// A message in its conversation's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place, gapless from 1.
    pub seq: u64,
    /// Who sent it.
    pub sender: UserId,
    /// Unique per sender.
    pub id: MessageId,
    /// 1 text, 2 file, 3 image, 4 audio, 5 video; 23 a change of the group.
    pub content_type: u8,
    /// What the entry is.
    pub subject: Subject,
    /// Its text.
    pub content: Box<str>,
    /// The display name that the sender's client put into it.
    pub sender_name: Box<str>,
    /// The stored file's name, if it has one.
    pub url: Box<str>,
    /// The file's suffix as the sender gave it.
    pub file_suffix: Box<str>,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at_ms: i64,
}

impl Directory {
    /// The state of a conversation's log; none if nothing was ever written there.
    ///
    /// # Errors
    /// If the database fails.
    pub fn conversation(&self, conversation: &Conversation) -> Result<Option<ConversationInfo>> {
        Ok(find_conversation(&self.connection, conversation)?.map(|(_, info)| info))
    }

    /// The messages of a conversation whose places are in the range, in order; at most `limit`, the first
    /// ones then.
    ///
    /// # Errors
    /// If the database fails.
    pub fn history(
        &self,
        conversation: &Conversation,
        seqs: RangeInclusive<u64>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>> {
        let Some((conversation, _)) = find_conversation(&self.connection, conversation)? else {
            return Ok(Vec::new());
        };
        let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare(
            "SELECT seq, users.uuid, message_id, content_type, content, sender_name, url, file_suffix,
                    stored_at_ms, change, target_seq
             FROM messages JOIN users ON users.id = sender_id
             WHERE conversation_id = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT ?4",
        )?;
        let range = params![conversation, bound(*seqs.start()), bound(*seqs.end()), limit];
        let mut rows = statement.query(range)?;
        let mut messages = Vec::new();
        while let Some(row) = rows.next()? {
            messages.push(StoredMessage {
                seq: row.get::<_, i64>(0)?.unsigned_abs(),
                sender: user_id(row, 1)?,
                id: MessageId(row.get(2)?),
                content_type: row.get(3)?,
                content: row.get(4)?,
                sender_name: row.get(5)?,
                url: row.get(6)?,
                file_suffix: row.get(7)?,
                stored_at_ms: row.get(8)?,
                subject: subject(row.get(3)?, row.get_ref(9)?, row.get(10)?)?,
            });
        }
        Ok(messages)
    }
}

pub(super) fn find_conversation(
    connection: &Connection,
    conversation: &Conversation,
) -> Result<Option<(i64, ConversationInfo)>> {
    let read = |row: &Row<'_>| {
        let info = ConversationInfo {
            head_seq: row.get::<_, i64>(1)?.unsigned_abs(),
            epoch: row.get::<_, i64>(2)?.cast_unsigned(),
        };
        Ok((row.get(0)?, info))
    };
    let found = match conversation {
        Conversation::Direct(one, other) => connection.query_row(
            "SELECT conversations.id, head_seq, epoch FROM conversations
             JOIN users AS one ON one.uuid = ?1 JOIN users AS other ON other.uuid = ?2
             WHERE user_low = min(one.id, other.id) AND user_high = max(one.id, other.id)",
            [one.as_str(), other.as_str()],
            read,
        ),
        Conversation::Group(group) => connection.query_row(
            "SELECT conversations.id, head_seq, epoch FROM conversations
             JOIN groups ON groups.id = group_id WHERE groups.uuid = ?1",
            [group.as_str()],
            read,
        ),
    };
    Ok(found.optional()?)
}
