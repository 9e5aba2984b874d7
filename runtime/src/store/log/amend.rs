//! Edits and recalls: entries of a log that change what an earlier one says from then on.

use rusqlite::{Connection, OptionalExtension, Row, params};
use switchboard_engine::{Answer, NewMessage, Recipient, Role, Subject, TargetFacts};

use super::super::files;
use super::super::words;
use super::{Key, Log};

/// The largest content type of a message; what is above is about one, or about the group.
const LAST_MESSAGE_KIND: u8 = 5;

impl Log<'_> {
    /// Stores an edit or a recall, if the message may be changed, and changes the message.
    pub(super) fn store_amendment(&mut self, entry: &NewMessage, target: u64) -> rusqlite::Result<Answer> {
        let Some(sender) = self.user(&entry.sender)? else { return Ok(Answer::Refused) };
        if let Some(answer) = self.stored_earlier(sender, entry)? {
            return Ok(answer);
        }
        let (key, seat) = match &entry.recipient {
            Recipient::User(other) => match self.known_user(other)? {
                Some(other) => (Key::Direct { low: sender.min(other), high: sender.max(other) }, None),
                None => return Ok(Answer::Refused),
            },
            Recipient::Group(group) => {
                let Some(group) = self.group(group)? else { return Ok(Answer::Refused) };
                let Some(seat) = self.membership(group, sender)? else { return Ok(Answer::Refused) };
                if let Some(denial) = seat.muted(self.now_ms) {
                    return Ok(Answer::Denied(denial));
                }
                (Key::Group(group), Some((group, seat.role)))
            }
        };
        let target = i64::try_from(target).unwrap_or(i64::MAX);
        let role = seat.map(|(_, role): (i64, Role)| role);
        let facts = match self.where_is(key)? {
            Some((id, ..)) => facts(self.connection, (id, target), sender, seat.map(|(group, _)| group))?,
            // Nothing was said there, so there is nothing to change, and nothing begins.
            None => None,
        };
        if let Err(denial) = entry.subject.judge(facts, role) {
            return Ok(Answer::Denied(denial));
        }
        let index = self.conversation_of(key)?;
        let Some(place) = self.append(index, sender, entry, None)? else {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        };
        if let Some(conversation) = self.cache.conversations.get(index) {
            let places = (conversation.id, target, place.seq.cast_signed());
            apply(self.connection, (places, conversation.key), entry, self.now_ms)?;
            self.behind.forget();
        }
        Ok(Answer::MessageStored(place))
    }
}

/// What the rules ask about the entry at a place; none if there is none that the sender may read.
fn facts(
    connection: &Connection,
    (conversation, seq): (i64, i64),
    sender: i64,
    group: Option<i64>,
) -> rusqlite::Result<Option<TargetFacts>> {
    if let Some(group) = group {
        let select = "SELECT first_seq FROM members WHERE group_id = ?1 AND user_id = ?2";
        let first =
            connection.prepare_cached(select)?.query_row([group, sender], |row| row.get::<_, i64>(0))?;
        if seq < first {
            return Ok(None);
        }
    }
    let select =
        "SELECT sender_id, content_type, is_recalled FROM messages WHERE conversation_id = ?1 AND seq = ?2";
    let read = |row: &Row<'_>| {
        Ok(TargetFacts {
            is_own: row.get::<_, i64>(0)? == sender,
            is_message: row.get::<_, u8>(1)? <= LAST_MESSAGE_KIND,
            is_recalled: row.get(2)?,
        })
    };
    connection.prepare_cached(select)?.query_row([conversation, seq], read).optional()
}

/// Changes the message at `target` as the entry at `seq` says, and keeps what it has said so far.
fn apply(
    connection: &Connection,
    ((conversation, target, seq), key): ((i64, i64, i64), Key),
    entry: &NewMessage,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let select = "SELECT rowid, content FROM messages WHERE conversation_id = ?1 AND seq = ?2";
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
    let (rowid, old) = connection.prepare_cached(select)?.query_row([conversation, target], read)?;
    let new = match entry.subject {
        Subject::Edit { .. } => &*entry.content,
        Subject::Recall { .. } | Subject::Message | Subject::Change(_) => "",
    };
    words::replace(connection, (rowid, key), &old, new)?;
    let keep = "INSERT INTO revisions (conversation_id, target_seq, seq, content, url)
                SELECT conversation_id, seq, ?3, content, url FROM messages
                WHERE conversation_id = ?1 AND seq = ?2";
    connection.prepare_cached(keep)?.execute([conversation, target, seq])?;
    match entry.subject {
        Subject::Edit { .. } => {
            let edit =
                "UPDATE messages SET content = ?4, changed_seq = ?3 WHERE conversation_id = ?1 AND seq = ?2";
            let params = params![conversation, target, seq, entry.content];
            connection.prepare_cached(edit)?.execute(params).map(drop)
        }
        Subject::Recall { .. } => {
            let select = "SELECT url FROM messages WHERE conversation_id = ?1 AND seq = ?2";
            let read = |row: &Row<'_>| row.get::<_, String>(0);
            let file = connection.prepare_cached(select)?.query_row([conversation, target], read)?;
            // Its file goes, unless something else refers to it.
            files::release(connection, &file, now_ms)?;
            let recall = "UPDATE messages SET content = '', url = '', is_recalled = 1, changed_seq = ?3
                          WHERE conversation_id = ?1 AND seq = ?2";
            connection.prepare_cached(recall)?.execute([conversation, target, seq])?;
            // All that its edits have said is among what they and this have replaced.
            let empty = "UPDATE messages SET content = '' WHERE conversation_id = ?1 AND seq IN
                         (SELECT seq FROM revisions WHERE conversation_id = ?1 AND target_seq = ?2)";
            connection.prepare_cached(empty)?.execute([conversation, target]).map(drop)
        }
        Subject::Message | Subject::Change(_) => Ok(()),
    }
}
