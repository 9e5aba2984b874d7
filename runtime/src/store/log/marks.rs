//! How far users are with their conversations.

use rusqlite::{Connection, OptionalExtension, Row, Statement, params_from_iter};
use switchboard_engine::{Answer, Marks, NewMarks, Recipient, StoredMarks};

use super::{Key, Log};

/// The prepared statements about marks.
pub(super) struct MarkStatements<'c> {
    low: Side<'c>,
    high: Side<'c>,
    member: Side<'c>,
}

/// Where one side's marks of a conversation are.
struct Side<'c> {
    read: Statement<'c>,
    write: Statement<'c>,
}

impl<'c> MarkStatements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let side = |read, write| {
            Ok::<_, rusqlite::Error>(Side {
                read: connection.prepare(read)?,
                write: connection.prepare(write)?,
            })
        };
        Ok(Self {
            low: side(
                "SELECT low_delivered, low_read, NULL FROM conversations WHERE id = ?1",
                "UPDATE conversations SET low_delivered = ?2, low_read = ?3 WHERE id = ?1",
            )?,
            high: side(
                "SELECT high_delivered, high_read, NULL FROM conversations WHERE id = ?1",
                "UPDATE conversations SET high_delivered = ?2, high_read = ?3 WHERE id = ?1",
            )?,
            member: side(
                "SELECT delivered_seq, read_seq, last_seq FROM members WHERE group_id = ?1 AND user_id = ?2",
                "UPDATE members SET delivered_seq = ?3, read_seq = ?4 WHERE group_id = ?1 AND user_id = ?2",
            )?,
        })
    }
}

impl Side<'_> {
    /// Moves marks forwards, and not beyond the head, or the last place that a former member may read; none if there is
    /// nobody whose marks they would be.
    fn advance(&mut self, keys: &[i64], new: Marks, head_seq: i64) -> rusqlite::Result<Option<StoredMarks>> {
        let known = |row: &Row<'_>| Ok((marks(row)?, row.get::<_, Option<i64>>(2)?));
        let Some((before, last_seq)) = self.read.query_row(params_from_iter(keys), known).optional()? else {
            return Ok(None);
        };
        let head = last_seq.map_or(head_seq, |last_seq| last_seq.min(head_seq)).unsigned_abs();
        let Marks { delivered, read } = before.max_of(new);
        let after = Marks { delivered: delivered.min(head), read: read.min(head) };
        if after != before {
            // Heads are counted in the same signed numbers, so these fit.
            let places = [after.delivered.cast_signed(), after.read.cast_signed()];
            self.write.execute(params_from_iter(keys.iter().chain(&places)))?;
        }
        Ok(Some(StoredMarks { marks: after, has_moved: after != before }))
    }
}

fn marks(row: &Row<'_>) -> rusqlite::Result<Marks> {
    Ok(Marks { delivered: row.get::<_, i64>(0)?.unsigned_abs(), read: row.get::<_, i64>(1)?.unsigned_abs() })
}

impl Log<'_> {
    /// Moves a user's marks in a conversation of which something is in the log that they are of.
    pub(super) fn store_marks(&mut self, new: &NewMarks) -> rusqlite::Result<Answer> {
        // To mark makes nobody come into being.
        let Some(user) = self.known_user(&new.user)? else { return Ok(Answer::Refused) };
        let (key, other) = match &new.conversation {
            Recipient::User(other) => match self.known_user(other)? {
                Some(other) => (Key::Direct { low: user.min(other), high: user.max(other) }, other),
                None => return Ok(Answer::Refused),
            },
            // Whether the user belongs to it, or did, the marks' row says.
            Recipient::Group(group) => match self.group(group)? {
                Some(group) => (Key::Group(group), group),
                None => return Ok(Answer::Refused),
            },
        };
        let Some((id, head_seq, epoch)) = self.where_is(key)? else { return Ok(Answer::Refused) };
        if head_seq == 0 || epoch.cast_unsigned() != new.epoch {
            return Ok(Answer::Refused);
        }
        let statements = &mut self.statements.marks;
        let stored = match key {
            Key::Direct { .. } if user <= other => statements.low.advance(&[id], new.marks, head_seq)?,
            Key::Direct { .. } => statements.high.advance(&[id], new.marks, head_seq)?,
            Key::Group(group) => statements.member.advance(&[group, user], new.marks, head_seq)?,
        };
        self.wrote |= stored.is_some_and(|stored| stored.has_moved);
        Ok(stored.map_or(Answer::Refused, Answer::MarksStored))
    }

    /// A conversation's number, head and epoch, as this transaction has left them.
    pub(super) fn where_is(&mut self, key: Key) -> rusqlite::Result<Option<(i64, i64, i64)>> {
        let cached = self.cache.index.get(&key).and_then(|index| self.cache.conversations.get(*index));
        match cached {
            Some(conversation) => Ok(Some((conversation.id, conversation.head_seq, conversation.epoch))),
            None => self.statements.find_conversation(key),
        }
    }
}
