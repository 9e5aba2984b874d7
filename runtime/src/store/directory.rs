//! Users, groups and histories, on a connection of their own.

mod account;
mod friends;
mod group;
mod history;
mod membership;
mod overview;
mod page;
mod removal;
mod search;
mod session;
mod signed_in;
mod standing;
mod totals;

use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use switchboard_engine::{Denial, GroupId, IdError, UserId};

use super::Shared;
use super::files;
use super::groups;
use super::log::now_ms;

pub use account::{AccountChange, Credentials, NewAccount};
pub use friends::Friend;
pub use group::{Group, Member, NewGroup};
pub use history::{Conversation, ConversationInfo, StoredMessage};
pub use membership::SeenGroup;
pub use overview::{Excerpt, Overview};
pub use page::{PageOf, PastMessage};
pub use removal::Removed;
pub use search::{SEARCH_WORDS, Search, search_words};
pub use session::{NewSession, SessionUser, TokenHash};
pub use signed_in::{SessionId, SignedIn, session_id};
pub use standing::{Account, AccountRole, Ban, Ended, EndedLogins, Standing};
pub use totals::Totals;

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
    /// There is no such user, by name.
    #[error("there is no user called {0:?}")]
    NoSuchName(String),
    /// There is no such group, or not for this user.
    #[error("there is no such group, or it is not open to you")]
    GroupNotOpen,
    /// The group's rules refuse it.
    #[error("{0}")]
    Denied(Denial),
    /// The user is banned.
    #[error("{0}")]
    Banned(Ban),
    /// Whom to befriend is oneself.
    #[error("nobody needs oneself as a friend")]
    OwnFriend,
    /// Whom to befriend is a friend.
    #[error("{0:?} is among your friends already")]
    FriendAlready(String),
    /// There are as many as there may be.
    #[error("there are {limit} {what} already, which is the limit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u32,
    },
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
        self.change(|transaction, now_ms| insert_user(transaction, new, now_ms))
    }

    /// Gives a user another picture, by its file name; returns whether it is another one.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn set_avatar(&mut self, user: &UserId, avatar: &str) -> Result<bool> {
        self.change(|transaction, now_ms| change_avatar(transaction, user, avatar, now_ms))
    }

    /// The same with a file that was uploaded, unless it has been removed since.
    pub(crate) fn set_uploaded_avatar(&mut self, user: &UserId, file: &str) -> Result<bool> {
        self.change(|transaction, now_ms| {
            if !files::may_be_named(transaction, file)? {
                return Err(DirectoryError::Denied(Denial::NoFile));
            }
            change_avatar(transaction, user, file, now_ms)
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

fn change_avatar(transaction: &Transaction<'_>, user: &UserId, avatar: &str, now_ms: i64) -> Result<bool> {
    let user = existing_user(transaction, user)?;
    let old: String =
        transaction.query_row("SELECT avatar FROM users WHERE id = ?1", [user], |row| row.get(0))?;
    let updated = transaction.execute(
        "UPDATE users SET avatar = ?2, updated_at_ms = ?3 WHERE id = ?1 AND avatar <> ?2",
        params![user, avatar, now_ms],
    )?;
    if updated == 0 {
        return Ok(false);
    }
    files::release(transaction, &old, now_ms.saturating_add(files::OLD_AVATAR_MS))?;
    groups::log_change(transaction, user, groups::AVATAR, None, Some(avatar), now_ms)?;
    Ok(true)
}

fn insert_user(connection: &Connection, new: &NewUser, now_ms: i64) -> Result<()> {
    if find_user(connection, &new.id)?.is_some() {
        return Err(DirectoryError::UserExists(new.id.clone()));
    }
    let taken = "SELECT EXISTS (SELECT 1 FROM users WHERE username = ?1)";
    if connection.query_row(taken, [&new.username], |row| row.get(0))? {
        return Err(DirectoryError::UsernameTaken(new.username.clone()));
    }
    connection.execute(
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
}

fn find_user(connection: &Connection, user: &UserId) -> Result<Option<i64>> {
    let sql = "SELECT id FROM users WHERE uuid = ?1";
    Ok(connection.query_row(sql, [user.as_str()], |row| row.get(0)).optional()?)
}

fn existing_user(connection: &Connection, user: &UserId) -> Result<i64> {
    find_user(connection, user)?.ok_or_else(|| DirectoryError::NoSuchUser(user.clone()))
}

fn user_id(row: &Row<'_>, column: usize) -> Result<UserId> {
    let id = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    UserId::new(id).map_err(DirectoryError::ForeignId)
}
