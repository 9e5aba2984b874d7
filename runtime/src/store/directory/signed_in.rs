//! Where users are logged in, for them to look at and to end.

use data_encoding::HEXLOWER;
use rusqlite::{OptionalExtension as _, Row, params};
use switchboard_engine::UserId;

use super::session::{self, TokenHash};
use super::{Directory, Result, existing_user, now_ms, standing};

/// What a session is called: the first half of what its token is known by. It proves nothing.
pub type SessionId = [u8; 16];

/// What the session of this token is called.
#[must_use]
pub fn session_id(token: &TokenHash) -> SessionId {
    let mut id = SessionId::default();
    id.iter_mut().zip(token).for_each(|(id, byte)| *id = *byte);
    id
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// What it is called.
    pub id: SessionId,
    /// When it began, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last used, as far as that was noted.
    pub used_at_ms: i64,
    /// When it ends by itself.
    pub expires_at_ms: i64,
    /// What the browser or program called itself.
    pub user_agent: String,
}

impl Directory {
    /// So many sessions of a user, the oldest first, after the one that began then and is called so.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn signed_in(
        &self,
        user: &UserId,
        after: Option<(i64, SessionId)>,
        limit: u32,
    ) -> Result<Vec<SignedIn>> {
        let user = existing_user(&self.connection, user)?;
        let (created_at_ms, id) = after.unwrap_or((i64::MIN, SessionId::default()));
        let mut statement = self.connection.prepare_cached(
            "SELECT substr(token_hash, 1, 16), created_at_ms, used_at_ms, expires_at_ms, user_agent
             FROM sessions
             WHERE user_id = ?1 AND expires_at_ms > ?2
                 AND created_at_ms > (SELECT banned_at_ms FROM users WHERE id = ?1)
                 AND (created_at_ms > ?3 OR created_at_ms = ?3 AND substr(token_hash, 1, 16) > ?4)
             ORDER BY created_at_ms, token_hash LIMIT ?5",
        )?;
        let mut rows = statement.query(params![user, now_ms(), created_at_ms, id, limit])?;
        let mut sessions = Vec::new();
        while let Some(row) = rows.next()? {
            sessions.push(SignedIn {
                id: row.get(0)?,
                created_at_ms: row.get(1)?,
                used_at_ms: row.get(2)?,
                expires_at_ms: row.get(3)?,
                user_agent: row.get(4)?,
            });
        }
        Ok(sessions)
    }

    /// The session of a user that is called so, in hexadecimal, if it is open: what its token is known by, and when it ends.
    ///
    /// # Errors
    /// If the database fails.
    pub fn open_session(&self, user: &UserId, id: &str) -> Result<Option<(TokenHash, i64)>> {
        let Ok(id) = HEXLOWER.decode(id.as_bytes()) else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(
            "SELECT token_hash, expires_at_ms FROM sessions CROSS JOIN users ON users.id = user_id
             WHERE user_id = (SELECT id FROM users WHERE uuid = ?1) AND substr(token_hash, 1, 16) = ?2
                 AND expires_at_ms > ?3 AND sessions.created_at_ms > banned_at_ms",
        )?;
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(statement.query_row(params![user.as_str(), id, now_ms()], read).optional()?)
    }

    /// Ends a session of a user; returns whether there was one.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn end_session_of(&mut self, user: &UserId, id: SessionId) -> Result<bool> {
        self.change(|transaction, _| {
            let user = existing_user(transaction, user)?;
            let delete = "DELETE FROM sessions WHERE user_id = ?1 AND substr(token_hash, 1, 16) = ?2";
            Ok(transaction.execute(delete, params![user, id])? > 0)
        })
    }

    /// Ends all sessions of a user but one, and all signed tokens that came from no session.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn end_other_sessions(&mut self, user: &UserId, keep: &TokenHash) -> Result<()> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            session::end_others(transaction, user, Some(keep))?;
            standing::end_tokens(transaction, user, now_ms)
        })
    }
}
