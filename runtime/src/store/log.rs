//! What one transaction does: messages into their conversations' logs, marks, users out of the directory.

mod amend;
mod change;
mod marks;
mod news;
mod received;
mod statements;

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{files, groups};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use switchboard_engine::{
    Answer, Denial, GroupId, Membership, NewMessage, Place, Recipient, Request, Subject, UserId, UserProfile,
};

use self::statements::Statements;
use super::seen;
use super::words::Behind;

/// Cached entries of one kind at which the caches are emptied.
const CACHE_LIMIT: usize = 1 << 16;

/// What a failure's probe writes, in bytes: enough that it does not fit where nothing does.
const PROBE_BYTES: i32 = 64 << 10;

/// The conversations' logs, through one connection.
///
/// It remembers what it reads and writes: ids, memberships, the heads of logs. That holds as long as no
/// other connection writes, which `PRAGMA data_version` tells at the begin of each transaction, and no
/// transaction is rolled back.
pub(crate) struct Log<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    provision: bool,
    cache: Cache,
    version: i64,
    /// The newest change of the directory that was handed on.
    revision: i64,
    /// The directory's log may have more than was read of it: another connection has written, or this one a change.
    unannounced: bool,
    /// Conversations whose heads this transaction has moved.
    moved: Vec<usize>,
    /// Commits that wrote something, since the database was made. Nobody else counts while this one runs.
    commits: i64,
    wrote: bool,
    /// What is not in the index of words yet.
    behind: Behind,
    now_ms: i64,
}

#[derive(Default)]
struct Cache {
    users: HashMap<UserId, i64>,
    groups: HashMap<GroupId, i64>,
    /// (group, user)
    members: HashMap<(i64, i64), Membership>,
    index: HashMap<Key, usize>,
    conversations: Vec<Conversation>,
}

/// A conversation by its participants' numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Direct { low: i64, high: i64 },
    Group(i64),
}

struct Conversation {
    id: i64,
    key: Key,
    head_seq: i64,
    /// As the database has it: the same bits with a sign.
    epoch: i64,
    moved: bool,
}

impl<'c> Log<'c> {
    pub(crate) fn new(connection: &'c Connection, provision: bool) -> rusqlite::Result<Self> {
        let mut statements = Statements::prepare(connection)?;
        let version = statements.data_version()?;
        let revision = statements.revision()?;
        let commits = connection.query_row("SELECT commits FROM store_state", [], number)?;
        Ok(Self {
            connection,
            statements,
            provision,
            cache: Cache::default(),
            version,
            revision,
            unannounced: false,
            moved: Vec::new(),
            commits,
            wrote: false,
            behind: Behind::look(connection)?,
            now_ms: 0,
        })
    }

    /// Begins a transaction, as the only writer.
    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        self.statements.begin.execute([])?;
        self.wrote = false;
        self.now_ms = now_ms();
        self.notice_foreign_writes()?;
        if self.cache.is_full() {
            self.cache = Cache::default();
        }
        Ok(())
    }

    /// Commits; returns whether there was anything to write.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<bool> {
        self.write_heads()?;
        let commits = self.commits.saturating_add(i64::from(self.wrote));
        if self.wrote {
            self.statements.count_commit.execute([commits])?;
        }
        self.statements.commit.execute([])?;
        self.commits = commits;
        Ok(self.wrote)
    }

    /// Writes the heads that this transaction has moved, so that they are in the table.
    fn write_heads(&mut self) -> rusqlite::Result<()> {
        for index in self.moved.drain(..) {
            if let Some(conversation) = self.cache.conversations.get_mut(index) {
                let moved = params![conversation.head_seq, conversation.id, self.now_ms];
                self.statements.move_head.execute(moved)?;
                conversation.moved = false;
            }
        }
        Ok(())
    }

    /// Entries that are not in the index of words yet, or no messages.
    pub(crate) fn unindexed(&self) -> i64 {
        self.behind.entries
    }

    /// Takes the next messages into the index of words. Not waiting for the disk: if this is lost, it is done again.
    pub(crate) fn index_words(&mut self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let done = self.index_next_words();
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        done
    }

    fn index_next_words(&mut self) -> rusqlite::Result<()> {
        self.begin()?;
        self.behind.pass(self.connection)?;
        self.statements.commit.execute([])?;
        self.behind = Behind::look(self.connection)?;
        Ok(())
    }

    /// How many commits have written something; all of them are durable.
    pub(crate) fn commits(&self) -> i64 {
        self.commits
    }

    /// Ends a transaction that failed, wherever that was, and forgets what was read in it.
    pub(crate) fn roll_back(&mut self) -> rusqlite::Result<()> {
        self.moved.clear();
        self.cache = Cache::default();
        self.behind.forget();
        // Some failures have made SQLite roll back already.
        if self.connection.is_autocommit() { Ok(()) } else { self.connection.execute_batch("ROLLBACK") }
    }

    /// Does one request within the transaction. After an error the transaction has to be rolled back.
    pub(crate) fn apply(&mut self, request: &Request) -> rusqlite::Result<Answer> {
        match request {
            Request::LoadUser(user) => self.load_user(user),
            Request::StoreMessage(message) => match self.store_entry(message) {
                Err(error) => match error.sqlite_error_code() {
                    // The message alone is at fault: it is larger than SQLite's largest row.
                    Some(ErrorCode::TooBig) => Ok(Answer::Refused),
                    // What is in the database contradicts it; the rest of the batch is not to suffer.
                    // Of a change something may have been written before that: nothing of it may stay.
                    Some(ErrorCode::ConstraintViolation) if message.subject == Subject::Message => {
                        tracing::error!(%error, sender = %message.sender, "the database contradicts a message");
                        Ok(Answer::Failed)
                    }
                    _ => Err(error),
                },
                answer => answer,
            },
            Request::StoreSeen(user) => {
                let answer = seen::store(self.connection, user, self.now_ms)?;
                self.wrote |= answer != Answer::Refused;
                Ok(answer)
            }
            Request::StoreMarks(new) => self.store_marks(new),
            Request::StoreReceived(told) => self.store_received(told),
            Request::LoadUnreceived { user, after } => self.load_unreceived(user, *after),
            // Files have a store of their own, `crate::media`, and reading has a thread of its own.
            Request::StoreFile(_)
            | Request::LoadHeads { .. }
            | Request::LoadMessages(_)
            | Request::LoadSeen { .. } => Ok(Answer::Failed),
        }
    }

    fn load_user(&mut self, user: &UserId) -> rusqlite::Result<Answer> {
        let Some(id) = self.user(user)? else { return Ok(Answer::Refused) };
        let avatar = self.statements.avatar.query_row([id], |row| row.get::<_, Box<str>>(0))?;
        let rows = self.statements.groups_of.query_map([id], |row| row.get::<_, Box<str>>(0))?;
        let mut groups = Vec::new();
        for group in rows {
            groups.extend(valid(GroupId::new(&group?)));
        }
        let revision = self.statements.revision()?.unsigned_abs();
        Ok(Answer::UserLoaded(UserProfile { avatar, groups, revision }))
    }

    fn store_entry(&mut self, message: &NewMessage) -> rusqlite::Result<Answer> {
        match (&message.subject, &message.recipient) {
            (Subject::Message, _) => self.store_message(message),
            (Subject::Change(change), Recipient::Group(group)) => self.store_change(message, change, group),
            (Subject::Edit { target_seq } | Subject::Recall { target_seq }, _) => {
                self.store_amendment(message, *target_seq)
            }
            // A user has no members.
            (Subject::Change(_), Recipient::User(_)) => Ok(Answer::Failed),
        }
    }

    fn store_message(&mut self, message: &NewMessage) -> rusqlite::Result<Answer> {
        let Some(sender) = self.user(&message.sender)? else { return Ok(Answer::Refused) };
        let Some(index) = self.conversation(sender, message)? else {
            // A message that was stored once stays stored, even if its sender has left the group since.
            return Ok(self.stored_earlier(sender, message)?.unwrap_or(Answer::Refused));
        };
        if let Some(denial) = self.muted(&message.recipient, sender) {
            // The same holds for who was muted since.
            let earlier = self.stored_earlier(sender, message)?;
            return Ok(earlier.unwrap_or(Answer::Denied(denial)));
        }
        if is_media(message.content_type) && !files::may_be_named(self.connection, &message.url)? {
            // And for one whose file was removed since, with a recall of it.
            let earlier = self.stored_earlier(sender, message)?;
            return Ok(earlier.unwrap_or(Answer::Denied(Denial::NoFile)));
        }
        match self.append(index, sender, message, None)? {
            Some(place) => Ok(Answer::MessageStored(place)),
            None => self.stored_earlier(sender, message)?.ok_or(rusqlite::Error::QueryReturnedNoRows),
        }
    }

    /// What a sender is told whose entry's id is in the store already; none if it is not. One that is in another
    /// conversation was never stored in this one, and cannot be any more.
    fn stored_earlier(&mut self, sender: i64, entry: &NewMessage) -> rusqlite::Result<Option<Answer>> {
        let Some((conversation, place)) = self.statements.stored(sender, entry.id)? else { return Ok(None) };
        let key = match &entry.recipient {
            Recipient::User(user) => self
                .known_user(user)?
                .map(|other| Key::Direct { low: sender.min(other), high: sender.max(other) }),
            Recipient::Group(group) => self.group(group)?.map(Key::Group),
        };
        let there = key.map(|key| self.where_is(key)).transpose()?.flatten();
        let is_it = there.is_some_and(|(id, ..)| id == conversation);
        Ok(Some(if is_it { Answer::StoredEarlier(place) } else { Answer::Denied(Denial::OtherConversation) }))
    }

    /// Appends an entry to a log of the cache; none if it is stored already.
    fn append(
        &mut self,
        index: usize,
        sender: i64,
        entry: &NewMessage,
        change: Option<&[u8]>,
    ) -> rusqlite::Result<Option<Place>> {
        // The index was given out a moment ago, and nothing is removed within a transaction.
        let Some(conversation) = self.cache.conversations.get_mut(index) else {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        };
        let seq = conversation.head_seq.saturating_add(1);
        let inserted = self.statements.insert_message.execute(params![
            conversation.id,
            seq,
            sender,
            entry.id.0,
            entry.content_type,
            entry.content,
            entry.sender_name,
            entry.url,
            entry.file_suffix,
            self.now_ms,
            change,
            target_seq(&entry.subject),
        ])?;
        if inserted == 0 {
            return Ok(None);
        }
        self.wrote = true;
        let text = (entry.subject == Subject::Message).then_some(&*entry.content);
        self.behind.add(self.connection.last_insert_rowid(), conversation.key, text);
        conversation.head_seq = seq;
        if !conversation.moved {
            conversation.moved = true;
            self.moved.push(index);
        }
        Ok(Some(Place {
            epoch: conversation.epoch.cast_unsigned(),
            seq: seq.unsigned_abs(),
            stored_at_ms: self.now_ms,
        }))
    }

    /// Why a member may not write to a group now; none if it may.
    fn muted(&self, recipient: &Recipient, user: i64) -> Option<Denial> {
        let Recipient::Group(group) = recipient else { return None };
        // Whose conversation was found a moment ago is a member, and known to be one.
        let seat = self.cache.groups.get(group).and_then(|group| self.cache.members.get(&(*group, user)))?;
        seat.muted(self.now_ms)
    }

    /// The user's number; none if there is no such user and none is to be made.
    fn user(&mut self, user: &UserId) -> rusqlite::Result<Option<i64>> {
        if let Some(id) = self.known_user(user)? {
            return Ok(Some(id));
        }
        if !self.provision {
            return Ok(None);
        }
        let id = self.statements.insert_user.insert(params![user.as_str(), self.now_ms])?;
        self.wrote = true;
        self.cache.users.insert(user.clone(), id);
        Ok(Some(id))
    }

    /// The user's number, if there is such a user.
    fn known_user(&mut self, user: &UserId) -> rusqlite::Result<Option<i64>> {
        if let Some(&id) = self.cache.users.get(user) {
            return Ok(Some(id));
        }
        let found = self.statements.user.query_row([user.as_str()], number).optional()?;
        if let Some(id) = found {
            self.cache.users.insert(user.clone(), id);
        }
        Ok(found)
    }

    /// The number of a group, if it exists.
    fn group(&mut self, group: &GroupId) -> rusqlite::Result<Option<i64>> {
        if let Some(&id) = self.cache.groups.get(group) {
            return Ok(Some(id));
        }
        let found = groups::find(self.connection, group)?;
        if let Some(id) = found {
            self.cache.groups.insert(group.clone(), id);
        }
        Ok(found)
    }

    /// What a user is in a group; none if it is no member.
    fn membership(&mut self, group: i64, user: i64) -> rusqlite::Result<Option<Membership>> {
        if let Some(&seat) = self.cache.members.get(&(group, user)) {
            return Ok(Some(seat));
        }
        let found = groups::membership(self.connection, group, user)?;
        if let Some(seat) = found {
            self.cache.members.insert((group, user), seat);
        }
        Ok(found)
    }

    /// The number of a group, if it exists and the user belongs to it.
    fn group_of(&mut self, group: &GroupId, user: i64) -> rusqlite::Result<Option<i64>> {
        let Some(id) = self.group(group)? else { return Ok(None) };
        Ok(self.membership(id, user)?.map(|_| id))
    }

    /// The place in the cache of the conversation that a message goes to, which is made if it is new; none if
    /// the sender may not write there, or if it is new and the message is stored elsewhere already: nothing
    /// would be said in it.
    fn conversation(&mut self, sender: i64, message: &NewMessage) -> rusqlite::Result<Option<usize>> {
        let key = match &message.recipient {
            Recipient::User(user) => {
                self.user(user)?.map(|other| Key::Direct { low: sender.min(other), high: sender.max(other) })
            }
            Recipient::Group(group) => self.group_of(group, sender)?.map(Key::Group),
        };
        let Some(key) = key else { return Ok(None) };
        if !self.cache.index.contains_key(&key)
            && self.statements.find_conversation(key)?.is_none()
            && self.statements.stored(sender, message.id)?.is_some()
        {
            return Ok(None);
        }
        self.conversation_of(key).map(Some)
    }

    /// The place in the cache of a conversation, which is made if it is new.
    fn conversation_of(&mut self, key: Key) -> rusqlite::Result<usize> {
        if let Some(&index) = self.cache.index.get(&key) {
            return Ok(index);
        }
        let conversation = match self.statements.find_conversation(key)? {
            Some((id, head_seq, epoch)) => Conversation { id, key, head_seq, epoch, moved: false },
            None => {
                let (id, epoch) = self.statements.insert_conversation(key, self.now_ms)?;
                self.wrote = true;
                Conversation { id, key, head_seq: 0, epoch, moved: false }
            }
        };
        let index = self.cache.conversations.len();
        self.cache.conversations.push(conversation);
        self.cache.index.insert(key, index);
        Ok(index)
    }

    fn notice_foreign_writes(&mut self) -> rusqlite::Result<()> {
        let version = self.statements.data_version()?;
        if version != self.version {
            self.version = version;
            self.unannounced = true;
            self.cache = Cache::default();
        }
        Ok(())
    }

    /// Writes something, and takes it away again.
    pub(crate) fn probe(&mut self) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO write_probe (id, filler) VALUES (1, zeroblob(?1))",
                [PROBE_BYTES],
            )
            .and_then(|_| self.connection.execute("DELETE FROM write_probe", []))
            .map(drop)
    }

    /// Limits the database's size; what is there already stays.
    pub(crate) fn limit_pages(&mut self, pages: i64) -> rusqlite::Result<()> {
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }
}

impl Cache {
    fn is_full(&self) -> bool {
        [self.users.len(), self.groups.len(), self.members.len(), self.conversations.len()]
            .iter()
            .any(|&entries| entries >= CACHE_LIMIT)
    }
}

/// Whether messages of this content are about a file (2 file, 3 image, 4 audio, 5 video).
const fn is_media(content_type: u8) -> bool {
    matches!(content_type, 2..=5)
}

/// The place that an entry is about, if it is about one.
fn target_seq(subject: &Subject) -> Option<i64> {
    match subject {
        Subject::Edit { target_seq } | Subject::Recall { target_seq } => i64::try_from(*target_seq).ok(),
        Subject::Message | Subject::Change(_) => None,
    }
}

fn number(row: &Row<'_>) -> rusqlite::Result<i64> {
    row.get(0)
}

/// An id out of the database. One that is none of ours was put there by somebody else's hand; the engine is
/// better off without it.
pub(crate) fn valid<T>(id: Result<T, switchboard_engine::IdError>) -> Option<T> {
    id.inspect_err(|error| tracing::warn!(%error, "the database has an id that is none in it")).ok()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
