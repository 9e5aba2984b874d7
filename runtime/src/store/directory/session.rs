//! Who is logged in.

use rusqlite::{Connection, OptionalExtension, Row, params};
use switchboard_engine::UserId;

use super::{AccountRole, Directory, Result, Standing, existing_user, now_ms, standing, user_id};

/// How often it is noted that a session is used.
const USE_INTERVAL_MS: i64 = 3_600_000;

/// The SHA-256 of a session's token.
pub type TokenHash = [u8; 32];

/// A session to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// What its token is known by.
    pub token_hash: TokenHash,
    /// How long it lasts, in milliseconds.
    pub lifetime_ms: i64,
    /// What the browser or program calls itself.
    pub user_agent: String,
    /// Sessions that a user may have; the oldest ones end.
    pub sessions_per_user: u32,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUser {
    /// The user.
    pub user: UserId,
    /// The name to log in with, if the user has one.
    pub username: Option<String>,
    /// What the user may do.
    pub role: AccountRole,
    /// When the session ends by itself, in milliseconds since 1970.
    pub expires_at_ms: i64,
}

impl Directory {
    /// Begins a session of a user.
    ///
    /// # Errors
    /// If there is no such user, if it is banned, or the database fails.
    pub fn begin_session(&mut self, user: &UserId, new: &NewSession) -> Result<()> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            begin(transaction, user, new, now_ms)
        })
    }

    /// Whose session this token's is; none if there is none, it has expired, or its user was banned since it began.
    ///
    /// # Errors
    /// If its user is banned, or the database fails.
    pub fn session(&mut self, token: &TokenHash) -> Result<Option<SessionUser>> {
        let now_ms = now_ms();
        let (found, used_at_ms) = {
            let mut statement = self.connection.prepare_cached(
                "SELECT users.uuid, users.username, used_at_ms, user_id, expires_at_ms,
                     sessions.created_at_ms <= banned_at_ms
                 FROM sessions CROSS JOIN users ON users.id = user_id
                 WHERE token_hash = ?1 AND expires_at_ms > ?2",
            )?;
            let mut rows = statement.query(params![token, now_ms])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let Standing { role, .. } = standing::admit(&self.connection, row.get(3)?, now_ms)?;
            if row.get(5)? {
                return Ok(None);
            }
            let (user, username, expires_at_ms) = (user_id(row, 0)?, row.get(1)?, row.get(4)?);
            (SessionUser { user, username, role, expires_at_ms }, row.get::<_, i64>(2)?)
        };
        if now_ms.saturating_sub(used_at_ms) >= USE_INTERVAL_MS {
            let update = "UPDATE sessions SET used_at_ms = ?2 WHERE token_hash = ?1";
            // What cannot be noted now is noted at the next use.
            if let Err(error) = self.connection.execute(update, params![token, now_ms]) {
                tracing::warn!(%error, "cannot note that a session is used");
            }
        }
        Ok(Some(found))
    }

    /// Ends a session; returns whether there was one.
    ///
    /// # Errors
    /// If the database fails.
    pub fn end_session(&mut self, token: &TokenHash) -> Result<bool> {
        self.change(|transaction, _| {
            Ok(transaction.execute("DELETE FROM sessions WHERE token_hash = ?1", [token])? > 0)
        })
    }

    /// How many sessions a user has that have not ended.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn sessions_of(&self, user: &UserId) -> Result<u32> {
        let user = existing_user(&self.connection, user)?;
        let select = format!("SELECT count(*) FROM sessions WHERE {OPEN}");
        Ok(self.connection.query_row(&select, [user, now_ms()], |row| row.get(0))?)
    }
}

/// Sessions of the user of the first parameter that are open at the time of the second.
const OPEN: &str = "user_id = ?1 AND expires_at_ms > ?2
    AND created_at_ms > (SELECT banned_at_ms FROM users WHERE id = ?1)";

/// Begins a session, and clears away what has ended by itself.
pub(super) fn begin(connection: &Connection, user: i64, new: &NewSession, now_ms: i64) -> Result<()> {
    standing::admit(connection, user, now_ms)?;
    connection.prepare_cached("DELETE FROM sessions WHERE expires_at_ms <= ?1")?.execute([now_ms])?;
    let insert =
        "INSERT INTO sessions (token_hash, user_id, created_at_ms, used_at_ms, expires_at_ms, user_agent)
                  VALUES (?1, ?2, ?3, ?3, ?4, ?5)";
    let expires_at_ms = now_ms.saturating_add(new.lifetime_ms);
    let params = params![new.token_hash, user, now_ms, expires_at_ms, new.user_agent];
    connection.prepare_cached(insert)?.execute(params)?;
    // The one that has just begun stays, whatever else began in the same millisecond.
    let oldest = "SELECT token_hash FROM sessions WHERE user_id = ?1 AND token_hash <> ?2
                  ORDER BY created_at_ms DESC LIMIT 1 OFFSET ?3";
    let params = params![user, new.token_hash, new.sessions_per_user.saturating_sub(1)];
    let read = |row: &Row<'_>| row.get::<_, TokenHash>(0);
    while let Some(oldest) = connection.prepare_cached(oldest)?.query_row(params, read).optional()? {
        connection.execute("DELETE FROM sessions WHERE token_hash = ?1", [oldest])?;
    }
    Ok(())
}

/// Ends all sessions of a user but one.
pub(super) fn end_others(connection: &Connection, user: i64, keep: Option<&TokenHash>) -> Result<()> {
    let delete = "DELETE FROM sessions WHERE user_id = ?1 AND token_hash IS NOT ?2";
    connection.execute(delete, params![user, keep])?;
    Ok(())
}
