//! What is read for clients: the heads of a user's conversations, and parts of their logs.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use switchboard_engine::{
    Answer, GroupChange, GroupId, Head, Marks, MessageId, Messages, Range, Recipient, Request, StoredMessage,
    Subject, UserId,
};

use super::log::valid;
use super::seen;

/// The content type of an edit.
const EDIT: u8 = 21;

/// Heads that one [`Answer::HeadsLoaded`] has at the most.
pub const HEADS_AT_A_TIME: usize = 512;

/// The last of the lists of a user's heads: see [`Place`].
pub(super) const GROUPS: usize = 2;

/// Reads through a connection that does nothing else.
///
/// It remembers nothing but its statements: what is read is what the transaction sees.
pub(crate) struct Reads<'c> {
    connection: &'c Connection,
    user: Statement<'c>,
    direct: Statement<'c>,
    group: Statement<'c>,
    group_log: Statement<'c>,
    forwards: Statement<'c>,
    backwards: Statement<'c>,
    heads: [Statement<'c>; 3],
}

/// A conversation's log, for one who may read it.
struct Readable {
    /// Its number.
    id: i64,
    head_seq: i64,
    epoch: i64,
}

impl<'c> Reads<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        let [low, high, groups] = sql::HEADS;
        Ok(Self {
            connection,
            user: prepare(sql::USER)?,
            direct: prepare(sql::DIRECT)?,
            group: prepare(sql::GROUP)?,
            group_log: prepare(sql::GROUP_LOG)?,
            forwards: prepare(sql::FORWARDS)?,
            backwards: prepare(sql::BACKWARDS)?,
            heads: [prepare(low)?, prepare(high)?, prepare(groups)?],
        })
    }

    /// Begins a transaction, unless one is going on. Its first reading decides what all of it sees.
    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { self.connection.execute_batch("BEGIN") } else { Ok(()) }
    }

    /// Ends the transaction, if one is going on: as long as it does, the write-ahead log only grows.
    pub(crate) fn end(&mut self) -> rusqlite::Result<()> {
        // Some failures have made SQLite end it already.
        if self.connection.is_autocommit() { Ok(()) } else { self.connection.execute_batch("ROLLBACK") }
    }

    /// Reads a little, to see whether that works.
    pub(crate) fn probe(&mut self) -> rusqlite::Result<()> {
        self.user.exists([""]).map(drop)
    }

    /// Does one request within the transaction.
    pub(crate) fn apply(&mut self, request: &Request) -> rusqlite::Result<Answer> {
        match request {
            Request::LoadHeads { user, after } => self.load_heads(user, *after),
            Request::LoadMessages(range) => self.load_messages(range),
            Request::LoadSeen { watcher, user } => seen::load(self.connection, watcher, user),
            // The other threads'.
            Request::LoadUser(_)
            | Request::StoreMessage(_)
            | Request::StoreFile(_)
            | Request::StoreMarks(_)
            | Request::StoreSeen(_)
            | Request::StoreReceived(_)
            | Request::LoadUnreceived { .. } => Ok(Answer::Failed),
        }
    }

    fn load_heads(&mut self, user: &UserId, after: u64) -> rusqlite::Result<Answer> {
        let (heads, next) = self.heads_after(user, after, HEADS_AT_A_TIME)?;
        Ok(Answer::HeadsLoaded { heads, next })
    }

    /// So many heads of a user's at the most, and where to go on; none if these were the last.
    pub(super) fn heads_after(
        &mut self,
        user: &UserId,
        after: u64,
        most: usize,
    ) -> rusqlite::Result<(Vec<Head>, Option<u64>)> {
        let mut heads = Vec::new();
        let Some(user) = self.user(user)? else { return Ok((heads, None)) };
        let mut place = Place::from_cursor(after);
        let mut count = 0;
        while let Some(statement) = self.heads.get_mut(place.list) {
            // One more than fits tells whether there is more.
            let wanted = i64::try_from(most.saturating_sub(count).saturating_add(1)).unwrap_or(i64::MAX);
            let mut rows = statement.query([user, place.number, wanted])?;
            while let Some(row) = rows.next()? {
                if count == most {
                    return Ok((heads, Some(place.cursor())));
                }
                count += 1;
                heads.extend(head(row, place.list)?);
                place.number = row.get(0)?;
            }
            place = Place { list: place.list + 1, number: 0 };
        }
        Ok((heads, None))
    }

    /// A part of a group's log for who may read everything, backwards; none if there is no such group.
    pub(super) fn load_whole_group(
        &mut self,
        group: &GroupId,
        from_seq: u64,
        limit: u32,
        limit_bytes: u64,
    ) -> rusqlite::Result<Option<Messages>> {
        let select = "SELECT id, name FROM groups WHERE uuid = ?1";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
        let found = self.connection.query_row(select, [group.as_str()], read).optional()?;
        let Some((number, group_name)) = found else { return Ok(None) };
        let mut whole = Messages { epoch: 0, head_seq: 0, first_seq: 1, messages: Vec::new(), group_name };
        if let Some(log) = self.group_log.query_row([number], readable).optional()? {
            whole.head_seq = log.head_seq.unsigned_abs();
            whole.messages = self.page((from_seq, true), (limit, limit_bytes), &log, 1)?;
        }
        Ok(Some(whole))
    }

    pub(super) fn load_messages(&mut self, range: &Range) -> rusqlite::Result<Answer> {
        let mut group_name = Box::default();
        let (log, first_seq) = match &range.conversation {
            Recipient::User(other) => (self.direct_log(&range.reader, other)?, 1_i64),
            Recipient::Group(group) => {
                let ids = [group.as_str(), range.reader.as_str()];
                let member = |row: &Row<'_>| {
                    let name: Box<str> = row.get(3)?;
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, name))
                };
                let member = self.group.query_row(ids, member).optional()?;
                // Whether the group is another's or nobody's is nothing to tell a stranger.
                let Some((group, first_seq, last_seq, name)) = member else { return Ok(Answer::Refused) };
                // What it is called by now is nothing to tell who has left.
                if last_seq.is_none() {
                    group_name = name;
                }
                let mut log = self.group_log.query_row([group], readable).optional()?;
                if let (Some(log), Some(last_seq)) = (&mut log, last_seq) {
                    // To who has left, the log ends where that says so.
                    log.head_seq = log.head_seq.min(last_seq);
                }
                (log, first_seq)
            }
        };
        let mut messages = Messages {
            epoch: 0,
            head_seq: 0,
            first_seq: first_seq.unsigned_abs(),
            messages: Vec::new(),
            group_name,
        };
        // A log without messages is as good as none.
        if let Some(log) = log.filter(|log| log.head_seq > 0) {
            messages.epoch = log.epoch.cast_unsigned();
            messages.head_seq = log.head_seq.unsigned_abs();
            let extent = (range.limit, range.limit_bytes);
            messages.messages = self.page((range.from_seq, range.backwards), extent, &log, first_seq)?;
        }
        Ok(Answer::MessagesLoaded(messages))
    }

    fn page(
        &mut self,
        (from_seq, backwards): (u64, bool),
        (limit, limit_bytes): (u32, u64),
        log: &Readable,
        first_seq: i64,
    ) -> rusqlite::Result<Vec<StoredMessage>> {
        let from = i64::try_from(from_seq).unwrap_or(i64::MAX);
        let (statement, low, high) = match (backwards, from) {
            (false, from) => (&mut self.forwards, from.max(first_seq), log.head_seq),
            (true, 0) => (&mut self.backwards, first_seq, log.head_seq),
            (true, from) => (&mut self.backwards, first_seq, from.min(log.head_seq)),
        };
        let mut rows = statement.query(params![log.id, low, high, limit, log.head_seq])?;
        let (mut messages, mut bytes) = (Vec::new(), 0_u64);
        while let Some(row) = rows.next()? {
            let texts = row.get_ref(4)?.as_str()?.len() + row.get_ref(5)?.as_str()?.len();
            bytes = bytes.saturating_add(u64::try_from(texts).unwrap_or(u64::MAX));
            if bytes > limit_bytes && !messages.is_empty() {
                break;
            }
            messages.push(message(row)?);
        }
        if backwards {
            messages.reverse();
        }
        Ok(messages)
    }

    /// The log of two users, of whom there may be none.
    fn direct_log(&mut self, one: &UserId, other: &UserId) -> rusqlite::Result<Option<Readable>> {
        let (Some(one), Some(other)) = (self.user(one)?, self.user(other)?) else { return Ok(None) };
        self.direct.query_row([one.min(other), one.max(other)], readable).optional()
    }

    /// The user's number.
    fn user(&mut self, user: &UserId) -> rusqlite::Result<Option<i64>> {
        self.user.query_row([user.as_str()], |row| row.get(0)).optional()
    }
}

/// Where a user's heads go on. They are three lists, one after the other: one-to-one conversations in which
/// the user has the lower number of the two, those in which it has the higher one, and groups. Each is in the
/// order of numbers that never change: the conversation's, or the group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) list: usize,
    /// What comes after this number.
    pub(super) number: i64,
}

impl Place {
    /// Bits of a cursor that are the number; the list is in those above. Rows are counted from 1, so that the
    /// numbers never come near this.
    const NUMBER_BITS: u32 = 62;
    const NUMBER_MASK: u64 = (1 << Self::NUMBER_BITS) - 1;

    pub(super) fn from_cursor(cursor: u64) -> Self {
        Self {
            list: usize::try_from(cursor >> Self::NUMBER_BITS).unwrap_or(usize::MAX),
            number: (cursor & Self::NUMBER_MASK).cast_signed(),
        }
    }

    pub(super) fn cursor(self) -> u64 {
        let list = u64::try_from(self.list).unwrap_or(u64::MAX);
        list << Self::NUMBER_BITS | (self.number.cast_unsigned() & Self::NUMBER_MASK)
    }
}

/// A head from a row of number, epoch, head, first place, the other's id, and both sides' marks; none if that makes
/// no sense.
pub(super) fn head(row: &Row<'_>, list: usize) -> rusqlite::Result<Option<Head>> {
    let id = row.get_ref(4)?.as_str()?;
    let conversation = if list == GROUPS {
        valid(GroupId::new(id)).map(Recipient::Group)
    } else {
        valid(UserId::new(id)).map(Recipient::User)
    };
    let Some(conversation) = conversation else { return Ok(None) };
    Ok(Some(Head {
        conversation,
        epoch: row.get::<_, i64>(1)?.cast_unsigned(),
        seq: row.get::<_, i64>(2)?.unsigned_abs(),
        first_seq: row.get::<_, i64>(3)?.unsigned_abs(),
        own: marks(row, 5)?,
        // The one side of a conversation with oneself has the user's own.
        peer: if list == GROUPS { Marks::default() } else { marks(row, 7)? },
    }))
}

/// Marks from a row's columns from this one on.
fn marks(row: &Row<'_>, column: usize) -> rusqlite::Result<Marks> {
    let place = |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
    Ok(Marks { delivered: place(column)?, read: place(column + 1)? })
}

fn readable(row: &Row<'_>) -> rusqlite::Result<Readable> {
    Ok(Readable { id: row.get(0)?, head_seq: row.get(1)?, epoch: row.get(2)? })
}

fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    // To leave the message out would look like a gap, so its page fails.
    let sender = UserId::new(row.get_ref(2)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error)))?;
    Ok(StoredMessage {
        seq: row.get::<_, i64>(0)?.unsigned_abs(),
        id: MessageId(row.get(1)?),
        sender,
        sender_name: row.get(11)?,
        avatar: row.get(12)?,
        content_type: row.get(3)?,
        content: row.get(4)?,
        url: row.get(5)?,
        stored_at_ms: row.get(6)?,
        subject: subject(row.get(3)?, row.get_ref(7)?, row.get(8)?)?,
        changed_seq: row.get::<_, i64>(9)?.unsigned_abs(),
        is_recalled: row.get(10)?,
    })
}

/// What an entry is, from what is kept of it beside its texts.
pub(super) fn subject(
    content_type: u8,
    change: rusqlite::types::ValueRef<'_>,
    target_seq: Option<i64>,
) -> rusqlite::Result<Subject> {
    if let Some(target_seq) = target_seq.map(i64::unsigned_abs) {
        let is_edit = content_type == EDIT;
        return Ok(if is_edit { Subject::Edit { target_seq } } else { Subject::Recall { target_seq } });
    }
    let Some(change) = change.as_blob_or_null()? else { return Ok(Subject::Message) };
    // One that a newer version has put there keeps its place.
    Ok(GroupChange::decode(change).map_or(Subject::Message, |change| Subject::Change(Box::new(change))))
}

/// The statements. None of them may read more than what it gives: a test looks at their plans.
mod sql {
    pub(super) const USER: &str = "SELECT id FROM users WHERE uuid = ?1";

    pub(super) const DIRECT: &str =
        "SELECT id, head_seq, epoch FROM conversations WHERE user_low = ?1 AND user_high = ?2";

    /// The number of a group, from where on and how far this user reads, who is a member or was one, and its name.
    pub(super) const GROUP: &str = "SELECT groups.id, first_seq, last_seq, groups.name
         FROM groups CROSS JOIN users CROSS JOIN members ON group_id = groups.id AND user_id = users.id
         WHERE groups.uuid = ?1 AND users.uuid = ?2";

    pub(super) const GROUP_LOG: &str = "SELECT id, head_seq, epoch FROM conversations WHERE group_id = ?1";

    /// An entry, to who may read the log up to ?5: edits beyond that are not for its eyes; what was recalled is for
    /// nobody's.
    macro_rules! entry_columns {
        () => {
            "SELECT seq, message_id, users.uuid, content_type,
             iif(changed_seq <= ?5 OR is_recalled, content,
                 (SELECT revisions.content FROM revisions WHERE revisions.conversation_id = ?1
                  AND revisions.target_seq = messages.seq AND revisions.seq > ?5
                  ORDER BY revisions.seq LIMIT 1)),
             url, stored_at_ms, change, messages.target_seq,
             iif(changed_seq <= ?5, changed_seq, iif(is_recalled, ?5,
                 (SELECT coalesce(max(revisions.seq), 0) FROM revisions WHERE revisions.conversation_id = ?1
                  AND revisions.target_seq = messages.seq AND revisions.seq <= ?5))),
             is_recalled, sender_name, users.avatar"
        };
    }

    // CROSS JOIN keeps SQLite from beginning with the users, whatever its statistics say.
    pub(super) const FORWARDS: &str = concat!(
        entry_columns!(),
        "
         FROM messages CROSS JOIN users ON users.id = sender_id
         WHERE conversation_id = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT ?4"
    );

    pub(super) const BACKWARDS: &str = concat!(
        entry_columns!(),
        "
         FROM messages CROSS JOIN users ON users.id = sender_id
         WHERE conversation_id = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq DESC LIMIT ?4"
    );

    pub(super) const HEADS: [&str; 3] = [
        "SELECT conversations.id, epoch, head_seq, 1, users.uuid, low_delivered, low_read, high_delivered, high_read
         FROM conversations INDEXED BY conversations_by_low CROSS JOIN users ON users.id = user_high
         WHERE user_low = ?1 AND conversations.id > ?2 AND head_seq > 0 ORDER BY conversations.id LIMIT ?3",
        // The conversation with oneself is in the first list.
        "SELECT conversations.id, epoch, head_seq, 1, users.uuid, high_delivered, high_read, low_delivered, low_read
         FROM conversations INDEXED BY conversations_by_high CROSS JOIN users ON users.id = user_low
         WHERE user_high = ?1 AND user_low <> ?1 AND conversations.id > ?2 AND head_seq > 0
         ORDER BY conversations.id LIMIT ?3",
        "SELECT groups.id, epoch, min(head_seq, coalesce(last_seq, head_seq)), first_seq, groups.uuid,
             delivered_seq, read_seq
         FROM members CROSS JOIN groups ON groups.id = members.group_id
             CROSS JOIN conversations ON conversations.group_id = members.group_id
         WHERE members.user_id = ?1 AND members.group_id > ?2 AND head_seq > 0
         ORDER BY members.group_id LIMIT ?3",
    ];
}

#[cfg(test)]
mod tests {
    use super::super::open::{DataFolder, open_locked};
    use super::*;

    #[test]
    fn no_statement_scans_or_sorts() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_locked(&DataFolder::lock(folder.path()).unwrap()).unwrap();
        let others = [sql::USER, sql::DIRECT, sql::GROUP, sql::GROUP_LOG, sql::FORWARDS, sql::BACKWARDS];
        for statement in others.into_iter().chain(sql::HEADS) {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let parameters = vec![None::<i64>; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3));
            let steps: Vec<String> = steps.unwrap().collect::<Result<_, _>>().unwrap();
            assert!(!steps.is_empty());
            assert!(
                steps.iter().all(|step| {
                    step.starts_with("SEARCH ") || step.starts_with("CORRELATED SCALAR SUBQUERY")
                }),
                "{statement}: {steps:?}"
            );
        }
    }

    #[test]
    fn cursors_keep_their_place() {
        for list in 0..=3 {
            for number in [0, 1, 77, (1 << 62) - 1] {
                let place = Place { list, number };
                assert_eq!(Place::from_cursor(place.cursor()), place);
            }
        }
        assert_eq!(Place::from_cursor(0), Place { list: 0, number: 0 });
    }
}
