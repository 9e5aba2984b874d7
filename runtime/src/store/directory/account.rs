//! Accounts: who can log in, and what users change about themselves.

use rusqlite::{OptionalExtension, Row, params};
use switchboard_engine::UserId;

use super::session::{NewSession, TokenHash};
use super::{Directory, DirectoryError, NewUser, Result, User, existing_user, session, standing};

/// A user who registers, and the session that begins with that.
#[derive(Debug)]
pub struct NewAccount {
    /// Who.
    pub user: NewUser,
    /// The session.
    pub session: NewSession,
}

/// What a login is checked against. Its `Debug` shows no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose they are.
    pub user: UserId,
    /// The password's hash; without one, no password logs in.
    pub password_hash: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What to change about a user; what is none stays as it is. Its `Debug` shows no secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// The name to show.
    pub nickname: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The hash of the new password. All sessions of the user but one end then, and all signed tokens.
    pub password_hash: Option<String>,
    /// The session that does not.
    pub keep: Option<TokenHash>,
}

impl std::fmt::Debug for AccountChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountChange").field("nickname", &self.nickname).finish_non_exhaustive()
    }
}

impl Directory {
    /// Creates a user, and a first session.
    ///
    /// # Errors
    /// As [`Directory::create_user`]; nothing is left then.
    pub fn register(&mut self, new: &NewAccount) -> Result<User> {
        self.change(|transaction, now_ms| {
            super::insert_user(transaction, &new.user, now_ms)?;
            let user = existing_user(transaction, &new.user.id)?;
            session::begin(transaction, user, &new.session, now_ms)?;
            let NewUser { id, username, nickname, email, avatar, .. } = new.user.clone();
            Ok(User { id, username: Some(username), nickname, email, avatar, created_at_ms: now_ms })
        })
    }

    /// What a login of this name is checked against; none if nobody has the name.
    ///
    /// # Errors
    /// If the database fails.
    pub fn credentials(&self, username: &str) -> Result<Option<Credentials>> {
        let mut statement =
            self.connection.prepare_cached("SELECT uuid, password_hash FROM users WHERE username = ?1")?;
        let mut rows = statement.query([username])?;
        match rows.next()? {
            Some(row) => {
                let user = super::user_id(row, 0)?;
                Ok(Some(Credentials { user, password_hash: row.get(1)? }))
            }
            None => Ok(None),
        }
    }

    /// The user of this name, if there is one.
    ///
    /// # Errors
    /// If the database fails.
    pub fn user_named(&self, username: &str) -> Result<Option<User>> {
        let select = "SELECT uuid FROM users WHERE username = ?1";
        let read = |row: &Row<'_>| row.get::<_, String>(0);
        let found = self.connection.prepare_cached(select)?.query_row([username], read).optional()?;
        match found {
            Some(id) => self.user(&UserId::new(&id).map_err(DirectoryError::ForeignId)?),
            None => Ok(None),
        }
    }

    /// Changes what a user says of itself.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn change_account(&mut self, user: &UserId, change: &AccountChange) -> Result<()> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let AccountChange { nickname, email, password_hash, keep } = change;
            transaction.execute(
                "UPDATE users SET nickname = coalesce(?2, nickname), email = coalesce(?3, email),
                     password_hash = coalesce(?4, password_hash), updated_at_ms = ?5
                 WHERE id = ?1",
                params![user, nickname, email, password_hash, now_ms],
            )?;
            if password_hash.is_some() {
                session::end_others(transaction, user, keep.as_ref())?;
                standing::end_tokens(transaction, user, now_ms)?;
            }
            Ok(())
        })
    }
}
