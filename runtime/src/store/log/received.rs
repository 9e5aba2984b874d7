//! How far conversations have arrived at users' classic clients.

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use switchboard_engine::{Answer, Received, Recipient, UserId};

use super::super::reads::{HEADS_AT_A_TIME, Place, head};
use super::{Key, Log, number};

/// The prepared statements about what has arrived.
pub(super) struct ReceivedStatements<'c> {
    is_classic: Statement<'c>,
    set_classic: Statement<'c>,
    begin: [Statement<'c>; 3],
    lists: [Statement<'c>; 3],
    first_seq: Statement<'c>,
    read: Statement<'c>,
    write: Statement<'c>,
    of_others: Statement<'c>,
}

impl<'c> ReceivedStatements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let prepare = |sql| connection.prepare(sql);
        let all = |[low, high, groups]: [&str; 3]| {
            let prepare = |sql| connection.prepare(sql);
            Ok::<_, rusqlite::Error>([prepare(low)?, prepare(high)?, prepare(groups)?])
        };
        Ok(Self {
            is_classic: prepare("SELECT is_classic FROM users WHERE id = ?1")?,
            set_classic: prepare("UPDATE users SET is_classic = 1 WHERE id = ?1")?,
            begin: all(sql::BEGIN)?,
            lists: all(sql::LISTS)?,
            first_seq: prepare(
                "SELECT first_seq FROM members WHERE group_id = ?1 AND user_id = ?2 AND last_seq IS NULL",
            )?,
            read: prepare("SELECT seq FROM received WHERE user_id = ?1 AND conversation_id = ?2")?,
            write: prepare(
                "INSERT INTO received (user_id, conversation_id, seq) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET seq = excluded.seq",
            )?,
            of_others: prepare(sql::OF_OTHERS)?,
        })
    }
}

/// A log of which something may not have arrived.
struct Unread {
    conversation: i64,
    head_seq: i64,
    received: i64,
}

impl Log<'_> {
    /// Moves the place up to which everything has arrived forwards over what has.
    pub(super) fn store_received(&mut self, told: &Received) -> rusqlite::Result<Answer> {
        let Some(user) = self.known_user(&told.user)? else { return Ok(Answer::Refused) };
        let key = match &told.conversation {
            Recipient::User(other) => self
                .known_user(other)?
                .map(|other| Key::Direct { low: user.min(other), high: user.max(other) }),
            Recipient::Group(group) => self.group_of(group, user)?.map(Key::Group),
        };
        let Some(key) = key else { return Ok(Answer::Refused) };
        let Some((id, head_seq, epoch)) = self.where_is(key)? else { return Ok(Answer::Refused) };
        if head_seq == 0 || epoch.cast_unsigned() != told.epoch {
            return Ok(Answer::Refused);
        }
        let statements = &mut self.statements.received;
        let joined_at = match key {
            Key::Direct { .. } => Some(1),
            Key::Group(group) => statements.first_seq.query_row([group, user], number).optional()?,
        };
        let Some(first_seq) = joined_at else { return Ok(Answer::Refused) };
        let before = statements.read.query_row([user, id], number).optional()?.unwrap_or(0);
        let signed = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX).min(head_seq);
        let mut seq = before.max(first_seq - 1).max(signed(told.seq));
        if let Some(last) = told.beyond.last().map(|last| signed(*last)).filter(|last| *last > seq) {
            let mut rows = statements.of_others.query(params![id, seq, last, user])?;
            seq = last;
            while let Some(row) = rows.next()? {
                let wanted: i64 = row.get(0)?;
                if told.beyond.binary_search(&wanted.unsigned_abs()).is_err() {
                    seq = wanted - 1;
                    break;
                }
            }
        }
        if seq > before {
            self.statements.received.write.execute([user, id, seq])?;
            self.wrote = true;
        }
        Ok(Answer::ReceivedStored)
    }

    /// The logs of which something has not arrived at the classic clients of a user, who comes with one now.
    pub(super) fn load_unreceived(&mut self, of: &UserId, after: u64) -> rusqlite::Result<Answer> {
        let mut unreceived = Vec::new();
        let Some(user) = self.known_user(of)? else { return Ok(Answer::Refused) };
        // The lists are read from the table, where the heads must be.
        self.write_heads()?;
        if self.statements.received.is_classic.query_row([user], number)? == 0 {
            for list in &mut self.statements.received.begin {
                list.execute([user])?;
            }
            self.statements.received.set_classic.execute([user])?;
            self.wrote = true;
            return Ok(Answer::UnreceivedLoaded { unreceived, next: None });
        }
        let mut place = Place::from_cursor(after);
        let mut in_step = Vec::new();
        let mut next = None;
        while let Some(list) = self.statements.received.lists.get_mut(place.list)
            && next.is_none()
        {
            let mut rows = list.query(params![user, place.number])?;
            while let Some(row) = rows.next()? {
                if unreceived.len() == HEADS_AT_A_TIME {
                    next = Some(place.cursor());
                    break;
                }
                let unread = unread(row)?;
                let Unread { conversation, head_seq, received } = unread;
                let others = &mut self.statements.received.of_others;
                if !others.exists([conversation, received, head_seq, user])? {
                    in_step.push((conversation, head_seq));
                } else if let Some(head) = head(row, place.list)? {
                    let received = Received {
                        user: of.clone(),
                        conversation: head.conversation.clone(),
                        epoch: head.epoch,
                        seq: received.unsigned_abs(),
                        beyond: Vec::new(),
                    };
                    unreceived.push((head, received));
                }
                place.number = row.get(0)?;
            }
            if next.is_none() {
                place = Place { list: place.list + 1, number: 0 };
            }
        }
        // What the user has said is not looked through again.
        for (conversation, head_seq) in in_step {
            self.statements.received.write.execute([user, conversation, head_seq])?;
            self.wrote = true;
        }
        Ok(Answer::UnreceivedLoaded { unreceived, next })
    }
}

fn unread(row: &Row<'_>) -> rusqlite::Result<Unread> {
    Ok(Unread { head_seq: row.get(2)?, conversation: row.get(9)?, received: row.get(10)? })
}

mod sql {
    /// What of a log has to arrive at somebody's classic clients: the messages of others.
    pub(super) const OF_OTHERS: &str = "SELECT seq FROM messages
         WHERE conversation_id = ?1 AND seq > ?2 AND seq <= ?3 AND sender_id <> ?4 AND content_type <= 5
         ORDER BY seq";

    /// Everything that there is when a user first comes with a classic client.
    pub(super) const BEGIN: [&str; 3] = [
        "INSERT INTO received (user_id, conversation_id, seq)
         SELECT ?1, id, head_seq FROM conversations INDEXED BY conversations_by_low
         WHERE user_low = ?1 AND head_seq > 0 ON CONFLICT DO NOTHING",
        "INSERT INTO received (user_id, conversation_id, seq)
         SELECT ?1, id, head_seq FROM conversations INDEXED BY conversations_by_high
         WHERE user_high = ?1 AND user_low <> ?1 AND head_seq > 0 ON CONFLICT DO NOTHING",
        "INSERT INTO received (user_id, conversation_id, seq)
         SELECT ?1, conversations.id, head_seq
         FROM members CROSS JOIN conversations ON conversations.group_id = members.group_id
         WHERE members.user_id = ?1 AND last_seq IS NULL AND head_seq > 0 ON CONFLICT DO NOTHING",
    ];

    /// As the lists of heads, with the conversation's number and the place up to which everything has arrived. Marks
    /// are nothing to classic clients.
    pub(super) const LISTS: [&str; 3] = [
        "SELECT conversations.id, epoch, head_seq, 1, users.uuid, 0, 0, 0, 0, conversations.id, coalesce(seq, 0)
         FROM conversations INDEXED BY conversations_by_low CROSS JOIN users ON users.id = user_high
             LEFT JOIN received ON received.user_id = ?1 AND conversation_id = conversations.id
         WHERE user_low = ?1 AND conversations.id > ?2 AND head_seq > coalesce(seq, 0) ORDER BY conversations.id",
        "SELECT conversations.id, epoch, head_seq, 1, users.uuid, 0, 0, 0, 0, conversations.id, coalesce(seq, 0)
         FROM conversations INDEXED BY conversations_by_high CROSS JOIN users ON users.id = user_low
             LEFT JOIN received ON received.user_id = ?1 AND conversation_id = conversations.id
         WHERE user_high = ?1 AND user_low <> ?1 AND conversations.id > ?2 AND head_seq > coalesce(seq, 0)
         ORDER BY conversations.id",
        "SELECT groups.id, epoch, head_seq, first_seq, groups.uuid, 0, 0, 0, 0, conversations.id,
                max(coalesce(seq, 0), first_seq - 1)
         FROM members CROSS JOIN groups ON groups.id = members.group_id
             CROSS JOIN conversations ON conversations.group_id = members.group_id
             LEFT JOIN received ON received.user_id = ?1 AND conversation_id = conversations.id
         WHERE members.user_id = ?1 AND last_seq IS NULL AND members.group_id > ?2
             AND head_seq > max(coalesce(seq, 0), first_seq - 1)
         ORDER BY members.group_id",
    ];
}
