//! Lines of JSON, put into a database.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Deserialize;

use super::super::words;

/// Why a line cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no line of an export.
    #[error("it cannot be understood")]
    Form(#[from] serde_json::Error),
    /// It refers to something that no line before it, and nothing here, is.
    #[error("there is no {what} {id}")]
    Unknown {
        /// What it refers to.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// What is here already says something else.
    #[error("{0}")]
    Conflict(String),
    /// The database does not take it.
    #[error("the database does not take it")]
    Database(#[from] rusqlite::Error),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    User(User),
    Group(Group),
    Member(Member),
    Friend { user: String, friend: String, added_at_ms: i64 },
    Conversation(Conversation),
    Message(Message),
    Revision { target_seq: i64, seq: i64, content: String, file: String },
    Received { user: String, seq: i64 },
    File { name: String, owner: Option<String>, bytes: i64, media: u8, created_at_ms: i64 },
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    username: Option<String>,
    nickname: String,
    avatar: String,
    email: String,
    password_hash: Option<String>,
    created_at_ms: i64,
    updated_at_ms: i64,
    seen_at_ms: Option<i64>,
    is_classic: u8,
    role: u8,
    banned_until_ms: i64,
    banned_at_ms: i64,
    ban_reason: String,
    tokens_from_ms: i64,
}

#[derive(Debug, Deserialize)]
struct Group {
    id: String,
    name: String,
    notice: String,
    owner: String,
    invite_only: u8,
    created_at_ms: i64,
}

#[derive(Debug, Deserialize)]
struct Member {
    group: String,
    user: String,
    role: u8,
    joined_at_ms: i64,
    first_seq: i64,
    last_seq: Option<i64>,
    muted_until_ms: i64,
    delivered_seq: i64,
    read_seq: i64,
}

#[derive(Debug, Deserialize)]
struct Conversation {
    group: Option<String>,
    users: Option<[String; 2]>,
    /// Delivered and read, of the one and of the other.
    marks: Option<[i64; 4]>,
    epoch: String,
    head_seq: i64,
    created_at_ms: i64,
}

#[derive(Debug, Deserialize)]
struct Message {
    seq: i64,
    sender: String,
    id: String,
    content_type: u8,
    content: String,
    sender_name: String,
    file: String,
    file_suffix: String,
    stored_at_ms: i64,
    change: String,
    target_seq: Option<i64>,
    changed_seq: i64,
    is_recalled: u8,
}

/// What was taken in, and what was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines that are new here.
    pub new: u64,
    /// Lines that were here.
    pub known: u64,
}

/// Takes lines into a database, all or none of them.
#[derive(Debug)]
pub(crate) struct Taking<'c> {
    transaction: Transaction<'c>,
    /// The conversation whose messages follow, and how far its log was when they began.
    conversation: Option<i64>,
    taken: Imported,
}

type Result<T> = std::result::Result<T, LineError>;

impl<'c> Taking<'c> {
    pub(crate) fn begin(connection: &'c mut Connection) -> rusqlite::Result<Self> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Self { transaction, conversation: None, taken: Imported::default() })
    }

    /// All of it is there when this returns.
    pub(crate) fn finish(self) -> rusqlite::Result<Imported> {
        while words::behind(&self.transaction)? > 0 {
            words::pass(&self.transaction)?;
        }
        self.transaction.execute("UPDATE store_state SET commits = commits + 1", [])?;
        self.transaction.commit()?;
        Ok(self.taken)
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        let new = match serde_json::from_str(text)? {
            Line::User(user) => self.user(&user)?,
            Line::Group(group) => self.group(&group)?,
            Line::Member(member) => self.member(&member)?,
            Line::Friend { user, friend, added_at_ms } => {
                let insert = "INSERT INTO friends (user_id, friend_id, added_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
                let row = params![self.id_of("user", &user)?, self.id_of("user", &friend)?, added_at_ms];
                self.insert(insert, row)?
            }
            Line::Conversation(conversation) => self.begin_conversation(&conversation)?,
            Line::Message(message) => self.message(&message)?,
            Line::Revision { target_seq, seq, content, file } => {
                let insert = "INSERT INTO revisions (conversation_id, target_seq, seq, content, url)
                              VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
                self.insert(insert, params![self.open_conversation()?, target_seq, seq, content, file])?
            }
            Line::Received { user, seq } => {
                let insert = "INSERT INTO received (user_id, conversation_id, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
                self.insert(insert, params![self.id_of("user", &user)?, self.open_conversation()?, seq])?
            }
            Line::File { name, owner, bytes, media, created_at_ms } => {
                let owner = owner.map(|owner| self.id_of("user", &owner)).transpose()?;
                let insert = "INSERT INTO files (name, owner_id, bytes, kind, created_at_ms, check_at_ms)
                              VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING";
                self.insert(insert, params![name, owner, bytes, media, created_at_ms])?
            }
        };
        if new {
            self.taken.new += 1;
        } else {
            self.taken.known += 1;
        }
        Ok(())
    }

    fn insert(&self, sql: &str, row: impl rusqlite::Params) -> Result<bool> {
        Ok(self.transaction.prepare_cached(sql)?.execute(row)? > 0)
    }

    fn id_of(&self, what: &'static str, id: &str) -> Result<i64> {
        let select = match what {
            "group" => "SELECT id FROM groups WHERE uuid = ?1",
            _ => "SELECT id FROM users WHERE uuid = ?1",
        };
        let found = self.transaction.prepare_cached(select)?.query_row([id], |row| row.get(0)).optional()?;
        found.ok_or_else(|| LineError::Unknown { what, id: id.to_owned() })
    }

    fn open_conversation(&self) -> Result<i64> {
        self.conversation.ok_or_else(|| LineError::Conflict("no conversation comes before it".to_owned()))
    }

    fn user(&self, user: &User) -> Result<bool> {
        switchboard_engine::UserId::new(&user.id).map_err(|error| LineError::Conflict(error.to_string()))?;
        let taken = "SELECT uuid FROM users WHERE username = ?1 AND uuid <> ?2";
        let other: Option<String> = self
            .transaction
            .prepare_cached(taken)?
            .query_row(params![user.username, user.id], |row| row.get(0))
            .optional()?;
        if let (Some(other), Some(name)) = (other, &user.username) {
            return Err(LineError::Conflict(format!("the user name {name:?} is that of {other} here")));
        }
        let insert = "INSERT INTO users (uuid, username, nickname, avatar, email, password_hash, created_at_ms, updated_at_ms,
                          seen_at_ms, is_classic, role, banned_until_ms, banned_at_ms, ban_reason, tokens_from_ms)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT (uuid) DO NOTHING";
        let row = params![
            user.id,
            user.username,
            user.nickname,
            user.avatar,
            user.email,
            user.password_hash,
            user.created_at_ms,
            user.updated_at_ms,
            user.seen_at_ms,
            user.is_classic,
            user.role,
            user.banned_until_ms,
            user.banned_at_ms,
            user.ban_reason,
            user.tokens_from_ms
        ];
        self.insert(insert, row)
    }

    fn group(&self, group: &Group) -> Result<bool> {
        switchboard_engine::GroupId::new(&group.id)
            .map_err(|error| LineError::Conflict(error.to_string()))?;
        let owner = self.id_of("user", &group.owner)?;
        let insert = "INSERT INTO groups (uuid, name, notice, owner_id, invite_only, created_at_ms)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (uuid) DO NOTHING";
        let row = params![group.id, group.name, group.notice, owner, group.invite_only, group.created_at_ms];
        self.insert(insert, row)
    }

    fn member(&self, member: &Member) -> Result<bool> {
        let (group, user) = (self.id_of("group", &member.group)?, self.id_of("user", &member.user)?);
        let insert =
            "INSERT INTO members (group_id, user_id, role, joined_at_ms, first_seq, last_seq, muted_until_ms,
                          delivered_seq, read_seq)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
        let row = params![
            group,
            user,
            member.role,
            member.joined_at_ms,
            member.first_seq,
            member.last_seq,
            member.muted_until_ms,
            member.delivered_seq,
            member.read_seq
        ];
        self.insert(insert, row)
    }

    /// What follows is of this conversation. One that is here already goes on only if it is the same log.
    fn begin_conversation(&mut self, conversation: &Conversation) -> Result<bool> {
        let epoch: i64 = conversation
            .epoch
            .parse()
            .map_err(|_| LineError::Conflict("its epoch is no number".to_owned()))?;
        let (group, sides) = match (&conversation.group, &conversation.users) {
            (Some(group), None) => (Some(self.id_of("group", group)?), None),
            (None, Some([one, other])) => {
                (None, Some((self.id_of("user", one)?, self.id_of("user", other)?)))
            }
            _ => return Err(LineError::Conflict("a conversation is of two users or of a group".to_owned())),
        };
        let (low, high) = sides.map(|(one, other)| (one.min(other), one.max(other))).unzip();
        let select = "SELECT id, epoch, head_seq FROM conversations WHERE user_low IS ?1 AND user_high IS ?2 AND group_id IS ?3";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let found: Option<(i64, i64, i64)> =
            self.transaction.prepare_cached(select)?.query_row(params![low, high, group], read).optional()?;
        if let Some((id, known, _)) = found {
            if known != epoch {
                return Err(LineError::Conflict(
                    "this conversation has another log here, and two logs cannot be made one".to_owned(),
                ));
            }
            let grow = "UPDATE conversations SET head_seq = max(head_seq, ?2) WHERE id = ?1";
            self.transaction.prepare_cached(grow)?.execute(params![id, conversation.head_seq])?;
            self.conversation = Some(id);
            return Ok(false);
        }
        let [one_delivered, one_read, other_delivered, other_read] = conversation.marks.unwrap_or_default();
        let in_order = sides.is_none_or(|(one, other)| one <= other);
        let marks = if in_order {
            [one_delivered, one_read, other_delivered, other_read]
        } else {
            [other_delivered, other_read, one_delivered, one_read]
        };
        let insert =
            "INSERT INTO conversations (kind, user_low, user_high, group_id, head_seq, epoch, created_at_ms,
                          low_delivered, low_read, high_delivered, high_read)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let kind = if group.is_some() { 2 } else { 1 };
        let row = params![
            kind,
            low,
            high,
            group,
            conversation.head_seq,
            epoch,
            conversation.created_at_ms,
            marks[0],
            marks[1],
            marks[2],
            marks[3]
        ];
        self.insert(insert, row)?;
        self.conversation = Some(self.transaction.last_insert_rowid());
        Ok(true)
    }

    fn message(&self, message: &Message) -> Result<bool> {
        let (conversation, sender) = (self.open_conversation()?, self.id_of("user", &message.sender)?);
        let bytes = |text: &str| {
            data_encoding::HEXLOWER
                .decode(text.as_bytes())
                .map_err(|error| LineError::Conflict(error.to_string()))
        };
        let (id, change) = (bytes(&message.id)?, bytes(&message.change)?);
        let insert = "INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content, sender_name, url,
                          file_suffix, stored_at_ms, change, target_seq, changed_seq, is_recalled)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                      ON CONFLICT (conversation_id, seq) DO NOTHING";
        let row = params![
            conversation,
            message.seq,
            sender,
            id,
            message.content_type,
            message.content,
            message.sender_name,
            message.file,
            message.file_suffix,
            message.stored_at_ms,
            Some(change).filter(|change| !change.is_empty()),
            message.target_seq,
            message.changed_seq,
            message.is_recalled
        ];
        if self.insert(insert, row)? {
            return Ok(true);
        }
        let select = "SELECT 1 FROM messages WHERE conversation_id = ?1 AND seq = ?2 AND sender_id = ?3 AND message_id = ?4";
        let same = self.transaction.prepare_cached(select)?.exists(params![
            conversation,
            message.seq,
            sender,
            id
        ])?;
        if same {
            Ok(false)
        } else {
            Err(LineError::Conflict("another message is at its place here".to_owned()))
        }
    }
}
