//! What users may do here: who runs the server, and who is banned.

use std::fmt;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use switchboard_engine::UserId;

use super::{Directory, DirectoryError, Result, User, existing_user, find_user, session::TokenHash, user_id};
use crate::store::log::now_ms;

/// A ban that does not end by itself.
const FOR_EVER_MS: i64 = i64::MAX;

/// What a user is told who was removed, while it is thrown out.
const REMOVED: &str = "the account was removed";

/// Kinds of ended logins.
const SESSION: i64 = 1;
const BANNED: i64 = 2;
const TOKENS: i64 = 3;

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountRole {
    /// What is its own.
    #[default]
    User,
    /// Also what concerns others and the server.
    Administrator,
}

impl AccountRole {
    /// The word for it, as commands and documents have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Administrator => "administrator",
        }
    }

    const fn number(self) -> i64 {
        match self {
            Self::User => 1,
            Self::Administrator => 2,
        }
    }

    fn of_number(number: i64) -> Self {
        if number == Self::Administrator.number() { Self::Administrator } else { Self::User }
    }
}

impl std::str::FromStr for AccountRole {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        [Self::User, Self::Administrator]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or("a role is `user` or `administrator`")
    }
}

/// Why somebody may not come in, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// For the user to read; may be empty.
    pub reason: String,
    /// When it ends, in milliseconds since 1970; none if it does not by itself.
    pub until_ms: Option<i64>,
}

impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this user is banned")?;
        if let Some(until) = self.until_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            write!(f, " until {}", until.strftime("%Y-%m-%d %H:%M UTC"))?;
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// What a user may do here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it runs the server.
    pub role: AccountRole,
    /// Whether it is banned at the moment.
    pub ban: Option<Ban>,
    /// Signed tokens issued before, in milliseconds since 1970, are none any more.
    pub tokens_from_ms: i64,
    /// When it was removed, in milliseconds since 1970: there is nothing of it but its id.
    pub removed_at_ms: Option<i64>,
}

/// A user, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub user: User,
    /// What it may do.
    pub standing: Standing,
    /// Whether it can log in with a password.
    pub has_password: bool,
}

/// Logins that have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedLogins {
    /// Numbers them, ascending.
    pub revision: i64,
    /// Whose they were.
    pub user: UserId,
    /// Which.
    pub which: Ended,
}

/// Which of a user's logins have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A session, and the signed tokens that came from it.
    Session(TokenHash),
    /// All, as the user is banned.
    Banned,
    /// All signed tokens that came from no session.
    Tokens,
}

impl Directory {
    /// What a user may do here; none if there is no such user.
    ///
    /// # Errors
    /// If the database fails.
    pub fn standing(&self, user: &UserId) -> Result<Option<Standing>> {
        let select = format!("SELECT {COLUMNS} FROM users WHERE uuid = ?1");
        let now_ms = now_ms();
        let read = |row: &Row<'_>| read(row, 0, now_ms);
        Ok(self.connection.prepare_cached(&select)?.query_row([user.as_str()], read).optional()?)
    }

    /// Users and what they may do, in the order of their ids, behind this one if it is named.
    ///
    /// # Errors
    /// If the database fails.
    pub fn accounts(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<Account>> {
        let select = format!(
            "SELECT {COLUMNS}, uuid, username, nickname, email, avatar, created_at_ms, password_hash IS NOT NULL
             FROM users WHERE uuid > ?1 ORDER BY uuid LIMIT ?2"
        );
        let (now_ms, mut accounts) = (now_ms(), Vec::new());
        let mut statement = self.connection.prepare_cached(&select)?;
        let mut rows = statement.query(params![after.map_or("", UserId::as_str), limit])?;
        while let Some(row) = rows.next()? {
            accounts.push(account(row, now_ms)?);
        }
        Ok(accounts)
    }

    /// A user and what it may do, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub fn account(&self, user: &UserId) -> Result<Option<Account>> {
        let select = format!(
            "SELECT {COLUMNS}, uuid, username, nickname, email, avatar, created_at_ms, password_hash IS NOT NULL
             FROM users WHERE uuid = ?1"
        );
        let mut statement = self.connection.prepare_cached(&select)?;
        let mut rows = statement.query([user.as_str()])?;
        rows.next()?.map(|row| account(row, now_ms())).transpose()
    }

    /// Makes a user of this id and nothing else, unless there is one; returns whether there was none. Its name is its id, unless
    /// somebody else has that.
    ///
    /// # Errors
    /// If the database fails.
    pub fn provision(&mut self, user: &UserId) -> Result<bool> {
        if find_user(&self.connection, user)?.is_some() {
            return Ok(false);
        }
        self.change(|transaction, now_ms| {
            let insert = "INSERT INTO users (uuid, username, created_at_ms, updated_at_ms)
                VALUES (?1, CASE WHEN EXISTS (SELECT 1 FROM users WHERE username = ?1) THEN NULL ELSE ?1 END, ?2, ?2)
                ON CONFLICT (uuid) DO NOTHING";
            Ok(transaction.execute(insert, params![user.as_str(), now_ms])? > 0)
        })
    }

    /// Gives a user a role; returns whether it is another one.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn set_role(&mut self, user: &UserId, role: AccountRole) -> Result<bool> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let update = "UPDATE users SET role = ?2, updated_at_ms = ?3 WHERE id = ?1 AND role <> ?2";
            Ok(transaction.execute(update, params![user, role.number(), now_ms])? > 0)
        })
    }

    /// Bans a user: it cannot log in, and nothing that it has logged in with before is good for anything, also when the ban is
    /// over. A running server closes its connections.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn ban(&mut self, user: &UserId, ban: &Ban) -> Result<()> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let until_ms = ban.until_ms.unwrap_or(FOR_EVER_MS);
            transaction.execute(
                "UPDATE users SET banned_until_ms = ?2, banned_at_ms = ?3, ban_reason = ?4, tokens_from_ms = ?3,
                     updated_at_ms = ?3
                 WHERE id = ?1",
                params![user, until_ms, now_ms, ban.reason],
            )?;
            log_end(transaction, user, BANNED)
        })
    }

    /// Ends a ban; returns whether there was one.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn unban(&mut self, user: &UserId) -> Result<bool> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            transaction.execute("DELETE FROM sessions WHERE user_id = ?1", [user])?;
            let update = "UPDATE users SET banned_until_ms = 0, ban_reason = '', updated_at_ms = ?2
                          WHERE id = ?1 AND banned_until_ms > ?2";
            Ok(transaction.execute(update, params![user, now_ms])? > 0)
        })
    }

    /// Ends all logins of a user: its sessions, and the signed tokens that were issued so far.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn end_logins(&mut self, user: &UserId) -> Result<()> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            transaction.execute("DELETE FROM sessions WHERE user_id = ?1", [user])?;
            end_tokens(transaction, user, now_ms)
        })
    }

    /// The number of the last logins that have ended.
    ///
    /// # Errors
    /// If the database fails.
    pub fn last_ended(&self) -> Result<i64> {
        let select = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'login_log'";
        Ok(self.connection.prepare_cached(select)?.query_row([], |row| row.get(0))?)
    }

    /// The next logins that have ended, behind this number.
    ///
    /// # Errors
    /// If the database fails.
    pub fn ended_after(&self, revision: i64, limit: u32) -> Result<Vec<EndedLogins>> {
        let select = "SELECT revision, users.uuid, kind, token_hash
                      FROM login_log JOIN users ON users.id = user_id
                      WHERE revision > ?1 ORDER BY revision LIMIT ?2";
        let mut statement = self.connection.prepare_cached(select)?;
        let mut rows = statement.query(params![revision, limit])?;
        let mut ended = Vec::new();
        while let Some(row) = rows.next()? {
            let which = match row.get(2)? {
                SESSION => Ended::Session(row.get(3)?),
                BANNED => Ended::Banned,
                // The table has no other.
                _ => Ended::Tokens,
            };
            ended.push(EndedLogins { revision: row.get(0)?, user: user_id(row, 1)?, which });
        }
        Ok(ended)
    }
}

/// What a standing is read from.
const COLUMNS: &str = "role, banned_until_ms, ban_reason, tokens_from_ms, removed_at_ms";

fn read(row: &Row<'_>, first: usize, now_ms: i64) -> rusqlite::Result<Standing> {
    let until_ms: i64 = row.get(first + 1)?;
    let ban = if until_ms > now_ms {
        let until_ms = Some(until_ms).filter(|until_ms| *until_ms != FOR_EVER_MS);
        Some(Ban { reason: row.get(first + 2)?, until_ms })
    } else {
        None
    };
    let role = AccountRole::of_number(row.get(first)?);
    Ok(Standing { role, ban, tokens_from_ms: row.get(first + 3)?, removed_at_ms: row.get(first + 4)? })
}

fn account(row: &Row<'_>, now_ms: i64) -> Result<Account> {
    let user = User {
        id: user_id(row, 5)?,
        username: row.get(6)?,
        nickname: row.get(7)?,
        email: row.get(8)?,
        avatar: row.get(9)?,
        created_at_ms: row.get(10)?,
    };
    Ok(Account { user, standing: read(row, 0, now_ms)?, has_password: row.get(11)? })
}

/// Refuses who is banned.
pub(super) fn admit(connection: &Connection, user: i64, now_ms: i64) -> Result<Standing> {
    let select = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
    let standing = connection.prepare_cached(&select)?.query_row([user], |row| read(row, 0, now_ms))?;
    match standing.ban {
        Some(ban) => Err(DirectoryError::Banned(ban)),
        None => Ok(standing),
    }
}

/// Keeps a user outside for ever, who was removed, and ends what it has logged in with.
pub(super) fn shut_out(connection: &Connection, user: i64, now_ms: i64) -> Result<()> {
    connection.execute(
        "UPDATE users SET role = 1, banned_until_ms = ?2, banned_at_ms = ?3, ban_reason = ?4, tokens_from_ms = ?3
         WHERE id = ?1",
        params![user, FOR_EVER_MS, now_ms, REMOVED],
    )?;
    log_end(connection, user, BANNED)
}

/// Signed tokens of a user that were issued so far are none any more.
pub(super) fn end_tokens(connection: &Connection, user: i64, now_ms: i64) -> Result<()> {
    connection.execute("UPDATE users SET tokens_from_ms = ?2 WHERE id = ?1", [user, now_ms])?;
    log_end(connection, user, TOKENS)
}

fn log_end(connection: &Connection, user: i64, kind: i64) -> Result<()> {
    connection.execute("INSERT INTO login_log (user_id, kind) VALUES (?1, ?2)", [user, kind])?;
    Ok(())
}
