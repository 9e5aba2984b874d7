//! Whom users have in their lists.

use rusqlite::{Transaction, params};
use switchboard_engine::UserId;

use super::{Directory, DirectoryError, Result, User, existing_user, find_user, user_id};

/// Somebody in a user's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Friend {
    /// Who.
    pub user: UserId,
    /// The name to log in with, if it has one.
    pub username: Option<String>,
    /// The file name of the user's picture; may be empty.
    pub avatar: String,
}

impl Directory {
    /// Puts a user, by name, into another one's list, which holds so many at the most.
    ///
    /// # Errors
    /// If there is no such user or name, it is the same one, it is in the list, the list is full, or the database
    /// fails.
    pub fn befriend(&mut self, user: &UserId, friend: &str, limit: u32) -> Result<()> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let select = "SELECT id FROM users WHERE username = ?1";
            let found: Option<i64> = {
                let mut statement = transaction.prepare_cached(select)?;
                let mut rows = statement.query([friend])?;
                rows.next()?.map(|row| row.get(0)).transpose()?
            };
            let Some(other) = found else { return Err(DirectoryError::NoSuchName(friend.to_owned())) };
            if !add(transaction, (user, other), limit, now_ms)? {
                return Err(DirectoryError::FriendAlready(friend.to_owned()));
            }
            Ok(())
        })
    }

    /// Who is in a user's list, the first to be put there first.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn friends_of(&self, user: &UserId) -> Result<Vec<Friend>> {
        let user = existing_user(&self.connection, user)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT users.uuid, users.username, users.avatar
             FROM friends CROSS JOIN users ON users.id = friend_id
             WHERE user_id = ?1 ORDER BY added_at_ms, friend_id",
        )?;
        let mut rows = statement.query([user])?;
        let mut friends = Vec::new();
        while let Some(row) = rows.next()? {
            friends.push(Friend { user: user_id(row, 0)?, username: row.get(1)?, avatar: row.get(2)? });
        }
        Ok(friends)
    }

    /// Puts a user into another one's list, which holds so many at the most; returns whether it was not there.
    ///
    /// # Errors
    /// If there is no such user, it is the same one, the list is full, or the database fails.
    pub fn befriend_user(&mut self, user: &UserId, friend: &UserId, limit: u32) -> Result<bool> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let other = existing_user(transaction, friend)?;
            add(transaction, (user, other), limit, now_ms)
        })
    }

    /// Takes a user out of another one's list; returns whether it was there.
    ///
    /// # Errors
    /// If there is no such user who has the list, or the database fails.
    pub fn unfriend(&mut self, user: &UserId, friend: &UserId) -> Result<bool> {
        self.change(|transaction, _| {
            let user = existing_user(transaction, user)?;
            let Some(other) = find_user(transaction, friend)? else { return Ok(false) };
            let delete = "DELETE FROM friends WHERE user_id = ?1 AND friend_id = ?2";
            Ok(transaction.prepare_cached(delete)?.execute([user, other])? > 0)
        })
    }

    /// So many of those in a user's list, the first to be put there first, behind a place in it; each with its place.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn friends_after(
        &self,
        user: &UserId,
        after: Option<(i64, i64)>,
        limit: u32,
    ) -> Result<Vec<((i64, i64), User)>> {
        let user = existing_user(&self.connection, user)?;
        let (added_at_ms, friend) = after.unwrap_or((i64::MIN, i64::MIN));
        let mut statement = self.connection.prepare_cached(
            "SELECT users.uuid, users.username, users.avatar, users.nickname, users.email, users.created_at_ms,
                 added_at_ms, friend_id
             FROM friends CROSS JOIN users ON users.id = friend_id
             WHERE user_id = ?1 AND (added_at_ms, friend_id) > (?2, ?3)
             ORDER BY added_at_ms, friend_id LIMIT ?4",
        )?;
        let mut rows = statement.query(params![user, added_at_ms, friend, limit])?;
        let mut friends = Vec::new();
        while let Some(row) = rows.next()? {
            let user = User {
                id: user_id(row, 0)?,
                username: row.get(1)?,
                avatar: row.get(2)?,
                nickname: row.get(3)?,
                email: row.get(4)?,
                created_at_ms: row.get(5)?,
            };
            friends.push(((row.get(6)?, row.get(7)?), user));
        }
        Ok(friends)
    }
}

/// Puts one user, by number, into the other one's list.
fn add(transaction: &Transaction<'_>, (user, other): (i64, i64), limit: u32, now_ms: i64) -> Result<bool> {
    if other == user {
        return Err(DirectoryError::OwnFriend);
    }
    let insert = "INSERT INTO friends (user_id, friend_id, added_at_ms) VALUES (?1, ?2, ?3)
                  ON CONFLICT (user_id, friend_id) DO NOTHING";
    if transaction.prepare_cached(insert)?.execute(params![user, other, now_ms])? == 0 {
        return Ok(false);
    }
    let count = "SELECT count(*) FROM friends WHERE user_id = ?1";
    if transaction.query_row(count, [user], |row| row.get::<_, i64>(0))? > i64::from(limit) {
        return Err(DirectoryError::TooMany { what: "friends", limit });
    }
    Ok(true)
}
