//! A user's conversations as a client lists them, and their logs.

use rusqlite::{Connection, OptionalExtension, params};
use switchboard_engine::{Answer, Head, Marks, Messages, Range, Recipient, StoredMessage, Subject, UserId};

use super::super::reads::{Place, Reads};
use super::super::recent;
use super::history::{Conversation, find_conversation};
use super::{Directory, DirectoryError, Result, SeenGroup, User, find_user};

/// Entries at the end of a log that are looked at for a message.
const LAST_ENTRIES: u32 = 16;

/// Bytes of these.
const LAST_BYTES: u64 = 64 << 10;

/// Entries at the end of a log that are looked at for what is unread.
const UNREAD_ENTRIES: i64 = 1_000;

/// A conversation, as one of its participants sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Which, and how far it is.
    pub head: Head,
    /// The other user, if it is one-to-one and there is one.
    pub user: Option<User>,
    /// The group, if it is a group's and the participant is a member.
    pub group: Option<SeenGroup>,
    /// The last message of the last few entries that was not recalled.
    pub last_message: Option<StoredMessage>,
    /// How many messages of others, among the last thousand entries, are behind the read mark; none of whom no client
    /// has ever set a mark.
    pub unread: Option<u64>,
}

/// Part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Who reads.
    pub reader: UserId,
    /// Which conversation.
    pub conversation: Recipient,
    /// The first place of it, in its direction; 0: the end of the log, backwards, or its beginning.
    pub from_seq: u64,
    /// Whether from there towards the beginning.
    pub backwards: bool,
    /// Entries at the most.
    pub limit: u32,
    /// Bytes of their content at the most, unless it is one.
    pub limit_bytes: u64,
}

impl Directory {
    /// So many conversations of a user at the most, from the one in which something was said last, from after a place on: each with
    /// its own place.
    ///
    /// # Errors
    /// If the database fails.
    pub fn overview(
        &self,
        user: &UserId,
        before: Option<(i64, i64)>,
        limit: u32,
    ) -> Result<Vec<((i64, i64), Overview)>> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        self.reading(|reads| {
            let Some(number) = find_user(&self.connection, user)? else { return Ok(Vec::new()) };
            let heads = recent::heads_before(&self.connection, number, before, most)?;
            let of = |(place, head)| Ok((place, self.overview_of(reads, user, head)?));
            heads.into_iter().map(of).collect()
        })
    }

    /// How far a conversation of a user is; none if nothing was said in it, or it is not the user's.
    ///
    /// # Errors
    /// If the database fails.
    pub fn head_of(&self, user: &UserId, conversation: &Recipient) -> Result<Option<Head>> {
        let Some(number) = find_user(&self.connection, user)? else { return Ok(None) };
        self.reading(|reads| self.head_at(reads, (user, number), conversation))
    }

    fn head_at(
        &self,
        reads: &mut Reads<'_>,
        (user, number): (&UserId, i64),
        conversation: &Recipient,
    ) -> Result<Option<Head>> {
        let Some(place) = place(&self.connection, number, conversation)? else { return Ok(None) };
        let (heads, _) = reads.heads_after(user, place.cursor(), 1)?;
        Ok(heads.into_iter().next().filter(|head| head.conversation == *conversation))
    }

    /// One conversation of a user; none if nothing was said in it, or it is not the user's.
    ///
    /// # Errors
    /// If the database fails.
    pub fn overview_at(&self, user: &UserId, conversation: &Recipient) -> Result<Option<Overview>> {
        let Some(number) = find_user(&self.connection, user)? else { return Ok(None) };
        self.reading(|reads| {
            let head = self.head_at(reads, (user, number), conversation)?;
            head.map(|head| self.overview_of(reads, user, head)).transpose()
        })
    }

    /// A part of a log, for who may read it.
    ///
    /// # Errors
    /// If there is no such user or group for the reader, or the database fails.
    pub fn excerpt(&self, of: &Excerpt) -> Result<Messages> {
        let Excerpt { reader, conversation, from_seq, backwards, limit, limit_bytes } = of.clone();
        if let Recipient::User(other) = &conversation {
            super::existing_user(&self.connection, other)?;
        }
        let range = Range { reader, conversation, from_seq, backwards, limit, limit_bytes };
        self.reading(|reads| self.part(reads, &range)?.ok_or(DirectoryError::GroupNotOpen))
    }

    /// A part of a log, in which who has given no display name goes by the user name, as all do who speak the session protocol.
    fn part(&self, reads: &mut Reads<'_>, range: &Range) -> Result<Option<Messages>> {
        let mut found = part(reads, range)?;
        let mut names: Vec<(UserId, Box<str>)> = Vec::new();
        for message in found.iter_mut().flat_map(|part| &mut part.messages) {
            if !message.sender_name.is_empty() && *message.sender_name != *message.sender.as_str() {
                continue;
            }
            if !names.iter().any(|(user, _)| *user == message.sender) {
                let name = self.user(&message.sender)?.and_then(|user| user.username);
                names.push((message.sender.clone(), name.unwrap_or_default().into()));
            }
            let name = names.iter().find(|(user, _)| *user == message.sender).map(|(_, name)| name.clone());
            message.sender_name = name.unwrap_or_default();
        }
        Ok(found)
    }

    fn reading<T>(&self, read: impl FnOnce(&mut Reads<'_>) -> Result<T>) -> Result<T> {
        let mut reads = Reads::new(&self.connection)?;
        reads.begin()?;
        let done = read(&mut reads);
        reads.end()?;
        done
    }

    fn overview_of(&self, reads: &mut Reads<'_>, user: &UserId, head: Head) -> Result<Overview> {
        let (other, group) = match &head.conversation {
            Recipient::User(other) => (self.user(other)?, None),
            Recipient::Group(group) => {
                let seen = self.seen_group(user, group)?;
                (None, seen.filter(|seen| seen.role.is_some()))
            }
        };
        let range = Range {
            reader: user.clone(),
            conversation: head.conversation.clone(),
            from_seq: 0,
            backwards: true,
            limit: LAST_ENTRIES,
            limit_bytes: LAST_BYTES,
        };
        let last = self.part(reads, &range)?.map(|part| part.messages).unwrap_or_default();
        let is_message = |entry: &StoredMessage| entry.subject == Subject::Message && !entry.is_recalled;
        let last_message = last.into_iter().rfind(is_message);
        let unread = self.unread(user, &head)?;
        Ok(Overview { head, user: other, group, last_message, unread })
    }

    fn unread(&self, user: &UserId, head: &Head) -> Result<Option<u64>> {
        let select = "SELECT id, is_classic FROM users WHERE uuid = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?));
        let found = self.connection.prepare_cached(select)?.query_row([user.as_str()], read).optional()?;
        let Some((number, is_classic)) = found else { return Ok(None) };
        // Classic clients set no marks.
        if is_classic && head.own == Marks::default() {
            return Ok(None);
        }
        let conversation = match &head.conversation {
            Recipient::User(other) => Conversation::Direct(user.clone(), other.clone()),
            Recipient::Group(group) => Conversation::Group(group.clone()),
        };
        let Some((conversation, _)) = find_conversation(&self.connection, &conversation)? else {
            return Ok(None);
        };
        let signed = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let from = signed(head.own.read.max(head.first_seq.saturating_sub(1)));
        let count = "SELECT count(*) FROM messages WHERE conversation_id = ?1 AND seq > max(?2, ?3 - ?4)
                     AND seq <= ?3 AND sender_id <> ?5 AND content_type <= 5 AND is_recalled = 0";
        let params = params![conversation, from, signed(head.seq), UNREAD_ENTRIES, number];
        let count: i64 = self.connection.prepare_cached(count)?.query_row(params, |row| row.get(0))?;
        Ok(Some(count.unsigned_abs()))
    }
}

/// Part of a log; none for who may not read it.
fn part(reads: &mut Reads<'_>, range: &Range) -> Result<Option<Messages>> {
    let answer = reads.load_messages(range)?;
    Ok(if let Answer::MessagesLoaded(messages) = answer { Some(messages) } else { None })
}

/// Right before where a conversation is in the list of a user's heads, if it is there.
fn place(connection: &Connection, user: i64, conversation: &Recipient) -> Result<Option<Place>> {
    let before = |list, number: i64| Some(Place { list, number: number.saturating_sub(1) });
    match conversation {
        Recipient::User(other) => {
            let Some(other) = find_user(connection, other)? else { return Ok(None) };
            let select = "SELECT id FROM conversations WHERE user_low = ?1 AND user_high = ?2";
            let ids = [user.min(other), user.max(other)];
            let found = connection.prepare_cached(select)?.query_row(ids, |row| row.get(0)).optional()?;
            Ok(found.and_then(|id| before(usize::from(user > other), id)))
        }
        Recipient::Group(group) => {
            let found = super::super::groups::find(connection, group)?;
            Ok(found.and_then(|number| before(2, number)))
        }
    }
}
