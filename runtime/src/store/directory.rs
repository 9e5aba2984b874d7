//! Users, groups and histories, on a connection of their own.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use switchboard_engine::{GroupChange, GroupId, IdError, MessageId, Role, Subject, UserId};

use super::Shared;
use super::groups;
use super::log::now_ms;
use super::reads::subject;

/// The directory of users and groups, and what their conversations hold; see [`Store::directory`] and
/// [`Directory::open`].
///
/// Its calls block, for reading and writing files and for up to 5 s while somebody else writes: they are not
/// for a shard's thread. What a call returns of its own writing is durable.
///
/// [`Store::directory`]: super::Store::directory
pub struct Directory {
    connection: Connection,
    store: Option<Arc<Shared>>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Why the directory did not do what was asked. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is a user with this id already.
    #[error("there is a user {0} already")]
    UserExists(UserId),
    /// Another user has this name.
    #[error("the user name {0:?} is taken")]
    UsernameTaken(String),
    /// There is a group with this id already.
    #[error("there is a group {0} already")]
    GroupExists(GroupId),
    /// A group cannot have this name.
    #[error("a group's name has 1 to 256 bytes, without control characters")]
    GroupName,
    /// There is no such user.
    #[error("there is no user {0}")]
    NoSuchUser(UserId),
    /// There is no such group.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
    /// The database has an id in it that is none.
    #[error("the database has an id in it that is none of ours")]
    ForeignId(#[source] IdError),
    /// The database could not be read or written.
    #[error("cannot read or write the directory")]
    Database(#[from] rusqlite::Error),
}

/// A user to create. Its `Debug` shows no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The name to log in with; nobody else may have it.
    pub username: String,
    /// The name to show.
    pub nickname: String,
    /// An e-mail address; may be empty.
    pub email: String,
    /// The file name of the user's picture; may be empty.
    pub avatar: String,
    /// The hash of the password in a form that names its algorithm; without one, no password logs in.
    pub password_hash: Option<String>,
}

impl NewUser {
    /// A user of this id and name, and nothing else.
    #[must_use]
    pub fn new(id: UserId, username: &str) -> Self {
        Self {
            id,
            username: username.to_owned(),
            nickname: String::new(),
            email: String::new(),
            avatar: String::new(),
            password_hash: None,
        }
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("id", &self.id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What the directory knows of a user, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name to log in with; none while somebody else has what would have been the name.
    pub username: Option<String>,
    /// The name to show.
    pub nickname: String,
    /// An e-mail address; may be empty.
    pub email: String,
    /// The file name of the user's picture; may be empty.
    pub avatar: String,
    /// When it was created, in milliseconds since 1970.
    pub created_at_ms: i64,
}

/// A group to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// A text for its members; may be empty.
    pub notice: String,
    /// Who owns it, and is its first member.
    pub owner: UserId,
    /// Whether nobody joins uninvited.
    pub invite_only: bool,
}

/// What the directory knows of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its number in the directory, never used twice.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// A text for its members; may be empty.
    pub notice: String,
    /// When it was created, in milliseconds since 1970.
    pub created_at_ms: i64,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// The name to log in with, if it has one.
    pub username: Option<String>,
    /// The file name of the user's picture; may be empty.
    pub avatar: String,
    /// What the member may do.
    pub role: Role,
    /// Since when, in milliseconds since 1970.
    pub joined_at_ms: i64,
}

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

type Result<T> = std::result::Result<T, DirectoryError>;

impl Directory {
    pub(super) fn new(connection: Connection, store: Option<Arc<Shared>>) -> Self {
        Self { connection, store }
    }

    /// Creates a user.
    ///
    /// # Errors
    /// If the id or the name is taken, or the database fails.
    pub fn create_user(&mut self, new: &NewUser) -> Result<()> {
        self.change(|transaction, now_ms| {
            if find_user(transaction, &new.id)?.is_some() {
                return Err(DirectoryError::UserExists(new.id.clone()));
            }
            let taken = "SELECT EXISTS (SELECT 1 FROM users WHERE username = ?1)";
            if transaction.query_row(taken, [&new.username], |row| row.get(0))? {
                return Err(DirectoryError::UsernameTaken(new.username.clone()));
            }
            transaction.execute(
                "INSERT INTO users (uuid, username, nickname, email, avatar, password_hash,
                                    created_at_ms, updated_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
                params![
                    new.id.as_str(),
                    new.username,
                    new.nickname,
                    new.email,
                    new.avatar,
                    new.password_hash,
                    now_ms
                ],
            )?;
            Ok(())
        })
    }

    /// Creates a group, with its owner as its first member: the first entry of its log.
    ///
    /// # Errors
    /// If the id is taken, the name is none, the owner does not exist, or the database fails.
    pub fn create_group(&mut self, new: &NewGroup) -> Result<()> {
        let create = GroupChange::Create { name: new.name.as_str().into(), invite_only: new.invite_only };
        if GroupChange::decode(&create.encode()).is_none() {
            return Err(DirectoryError::GroupName);
        }
        self.change(|transaction, now_ms| {
            if groups::find(transaction, &new.id)?.is_some() {
                return Err(DirectoryError::GroupExists(new.id.clone()));
            }
            let owner = existing_user(transaction, &new.owner)?;
            let names = (&*new.name, &*new.notice);
            let group = groups::make(transaction, &new.id, names, owner, new.invite_only, now_ms)?;
            enter(transaction, group, &create, (owner, None), now_ms)
        })
    }

    /// Makes a user a member of a group, invited or not, as if the user had joined; returns whether it was none. A new
    /// member reads what is said in the group from now on, whether it was a member before or not. The first
    /// member of a group that has none owns it.
    ///
    /// # Errors
    /// If there is no such group or user, or the database fails.
    pub fn join(&mut self, group: &GroupId, user: &UserId) -> Result<bool> {
        self.change(|transaction, now_ms| {
            let group = existing_group(transaction, group)?;
            let number = existing_user(transaction, user)?;
            if groups::membership(transaction, group, number)?.is_some() {
                return Ok(false);
            }
            let is_first = groups::facts(transaction, group)?.members == 0;
            enter(transaction, group, &GroupChange::Join, (number, None), now_ms)?;
            if is_first {
                let own = GroupChange::SetRole(user.clone(), Role::Owner);
                enter(transaction, group, &own, (number, Some(number)), now_ms)?;
            }
            Ok(true)
        })
    }

    /// Makes a user no member of a group any more, as if the user had left; returns whether it was one. A group keeps
    /// its messages, whoever leaves. If it was the last owner, another member is first made one: of those with the
    /// highest role the one who joined first.
    ///
    /// # Errors
    /// If there is no such group or user, or the database fails.
    pub fn leave(&mut self, group: &GroupId, user: &UserId) -> Result<bool> {
        self.change(|transaction, now_ms| {
            let group = existing_group(transaction, group)?;
            let user = existing_user(transaction, user)?;
            let Some(seat) = groups::membership(transaction, group, user)? else { return Ok(false) };
            if seat.role == Role::Owner
                && groups::facts(transaction, group)?.owners == 1
                && let Some((next, number)) = successor(transaction, group, user)?
            {
                let own = GroupChange::SetRole(next, Role::Owner);
                enter(transaction, group, &own, (user, Some(number)), now_ms)?;
            }
            enter(transaction, group, &GroupChange::Leave, (user, None), now_ms)?;
            Ok(true)
        })
    }

    /// Gives a user another picture, by its file name; returns whether it is another one.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn set_avatar(&mut self, user: &UserId, avatar: &str) -> Result<bool> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let updated = transaction.execute(
                "UPDATE users SET avatar = ?2, updated_at_ms = ?3 WHERE id = ?1 AND avatar <> ?2",
                params![user, avatar, now_ms],
            )?;
            if updated == 0 {
                return Ok(false);
            }
            groups::log_change(transaction, user, groups::AVATAR, None, Some(avatar), now_ms)?;
            Ok(true)
        })
    }

    /// The user of this id, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub fn user(&self, user: &UserId) -> Result<Option<User>> {
        let columns = "SELECT username, nickname, email, avatar, created_at_ms FROM users WHERE uuid = ?1";
        let read = |row: &Row<'_>| {
            Ok(User {
                id: user.clone(),
                username: row.get(0)?,
                nickname: row.get(1)?,
                email: row.get(2)?,
                avatar: row.get(3)?,
                created_at_ms: row.get(4)?,
            })
        };
        Ok(self.connection.query_row(columns, [user.as_str()], read).optional()?)
    }

    /// The groups that a user belongs to, oldest group first; none if there is no such user.
    ///
    /// # Errors
    /// If the database fails.
    pub fn groups_of(&self, user: &UserId) -> Result<Vec<Group>> {
        let mut statement = self.connection.prepare(
            "SELECT groups.uuid, groups.id, groups.name, groups.notice, groups.created_at_ms
             FROM users JOIN members ON members.user_id = users.id JOIN groups ON groups.id = group_id
             WHERE users.uuid = ?1 AND last_seq IS NULL ORDER BY groups.id",
        )?;
        groups(statement.query([user.as_str()])?)
    }

    /// All groups, oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub fn groups(&self) -> Result<Vec<Group>> {
        let mut statement = self
            .connection
            .prepare("SELECT uuid, id, name, notice, created_at_ms FROM groups ORDER BY id")?;
        groups(statement.query([])?)
    }

    /// The members of a group, oldest user first.
    ///
    /// # Errors
    /// If there is no such group, or the database fails.
    pub fn members_of(&self, group: &GroupId) -> Result<Vec<Member>> {
        let group = existing_group(&self.connection, group)?;
        let mut statement = self.connection.prepare(
            "SELECT users.uuid, users.username, users.avatar, members.role, members.joined_at_ms
             FROM members JOIN users ON users.id = user_id
             WHERE group_id = ?1 AND last_seq IS NULL ORDER BY user_id",
        )?;
        let mut rows = statement.query([group])?;
        let mut members = Vec::new();
        while let Some(row) = rows.next()? {
            members.push(Member {
                user: user_id(row, 0)?,
                username: row.get(1)?,
                avatar: row.get(2)?,
                role: groups::role(row.get(3)?),
                joined_at_ms: row.get(4)?,
            });
        }
        Ok(members)
    }

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

    /// Makes a change in a transaction of its own, as the only writer; a running store is told.
    fn change<T>(&mut self, change: impl FnOnce(&Transaction<'_>, i64) -> Result<T>) -> Result<T> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = change(&transaction, now_ms())?;
        transaction.commit()?;
        if let Some(store) = &self.store {
            store.queue.poke();
        }
        Ok(value)
    }
}

/// Appends a change to a group's log, and makes it.
fn enter(
    transaction: &Transaction<'_>,
    group: i64,
    change: &GroupChange,
    users: (i64, Option<i64>),
    now_ms: i64,
) -> Result<()> {
    // The end of the log itself, as the writers take it, should a head lag behind it.
    let head = "SELECT id, max(head_seq, (SELECT coalesce(max(seq), 0) FROM messages WHERE conversation_id = conversations.id))
                FROM conversations WHERE group_id = ?1";
    let found = transaction
        .prepare_cached(head)?
        .query_row([group], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let (conversation, head_seq) = match found {
        Some(found) => found,
        None => {
            let insert = "INSERT INTO conversations (kind, group_id, head_seq, epoch, created_at_ms)
                          VALUES (2, ?1, 0, coalesce(nullif(random(), 0), 1), ?2)";
            (transaction.prepare_cached(insert)?.insert([group, now_ms])?, 0)
        }
    };
    let seq = head_seq.saturating_add(1);
    let insert = "INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content,
                                        sender_name, url, file_suffix, stored_at_ms, change)
                  VALUES (?1, ?2, ?3, randomblob(16), ?4, '', '', '', '', ?5, ?6)";
    let params = params![conversation, seq, users.0, groups::CHANGE, now_ms, change.encode()];
    transaction.prepare_cached(insert)?.execute(params)?;
    let update = "UPDATE conversations SET head_seq = ?2 WHERE id = ?1";
    transaction.prepare_cached(update)?.execute([conversation, seq])?;
    Ok(groups::apply(transaction, group, change, users, seq, now_ms)?)
}

/// Who owns a group after its last owner, and its number; none if there is nobody else.
fn successor(transaction: &Transaction<'_>, group: i64, owner: i64) -> Result<Option<(UserId, i64)>> {
    let select = "SELECT users.uuid, users.id FROM members JOIN users ON users.id = user_id
                  WHERE group_id = ?1 AND user_id <> ?2 AND last_seq IS NULL
                  ORDER BY role DESC, first_seq, users.uuid LIMIT 1";
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query([group, owner])?;
    match rows.next()? {
        Some(row) => Ok(Some((user_id(row, 0)?, row.get(1)?))),
        None => Ok(None),
    }
}

fn find_user(connection: &Connection, user: &UserId) -> Result<Option<i64>> {
    let sql = "SELECT id FROM users WHERE uuid = ?1";
    Ok(connection.query_row(sql, [user.as_str()], |row| row.get(0)).optional()?)
}

fn existing_user(connection: &Connection, user: &UserId) -> Result<i64> {
    find_user(connection, user)?.ok_or_else(|| DirectoryError::NoSuchUser(user.clone()))
}

fn existing_group(connection: &Connection, group: &GroupId) -> Result<i64> {
    groups::find(connection, group)?.ok_or_else(|| DirectoryError::NoSuchGroup(group.clone()))
}

fn find_conversation(
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

fn user_id(row: &Row<'_>, column: usize) -> Result<UserId> {
    let id = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    UserId::new(id).map_err(DirectoryError::ForeignId)
}

/// Reads groups from rows of uuid, id, name, notice and time of creation.
fn groups(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        groups.push(Group {
            id: GroupId::new(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)
                .map_err(DirectoryError::ForeignId)?,
            number: row.get(1)?,
            name: row.get(2)?,
            notice: row.get(3)?,
            created_at_ms: row.get(4)?,
        });
    }
    Ok(groups)
}
