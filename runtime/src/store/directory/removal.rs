//! Users who go for good.

use rusqlite::{Connection, Row, params};
use switchboard_engine::{GroupId, UserId};

use super::super::files;
use super::super::groups;
use super::super::log::Key;
use super::super::words;
use super::{Directory, DirectoryError, Result, existing_user, group, standing};

/// What became of what a user had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The groups that it has left.
    pub groups: usize,
    /// Of those, the ones that it alone owned and that have others, and who owns each now.
    pub handed_over: Vec<(GroupId, UserId)>,
    /// Messages to itself, which nobody else could read, and which are empty now.
    pub notes: usize,
}

impl Directory {
    /// Takes a user away for good: its name, its profile and its password, its sessions and tokens, its place in lists of friends and in
    /// groups, and what it has said to itself. It leaves its groups as with [`Directory::leave`]. What it has said to others
    /// stays in their histories under its id, which nobody is given again; files go with the last message that names them. A
    /// running server closes its connections. None if that was done before.
    ///
    /// # Errors
    /// If there is no such user, or the database fails; nothing is changed then.
    pub fn remove_user(&mut self, user: &UserId) -> Result<Option<Removed>> {
        self.change(|transaction, now_ms| {
            let user = existing_user(transaction, user)?;
            let removed = "SELECT removed_at_ms IS NOT NULL FROM users WHERE id = ?1";
            if transaction.query_row(removed, [user], |row| row.get(0))? {
                return Ok(None);
            }
            let mut done = Removed::default();
            for (number, id) in groups_of(transaction, user)? {
                done.groups += 1;
                let next = group::depart(transaction, (number, user), now_ms)?;
                done.handed_over.extend(next.map(|next| (id, next)));
            }
            done.notes = empty_notes(transaction, user, now_ms)?;
            // Before its sessions end, so that its connections are told that it is of no use to log in again.
            standing::shut_out(transaction, user, now_ms)?;
            transaction.execute("DELETE FROM friends WHERE user_id = ?1 OR friend_id = ?1", [user])?;
            transaction.execute("DELETE FROM received WHERE user_id = ?1", [user])?;
            transaction.execute("DELETE FROM sessions WHERE user_id = ?1", [user])?;
            // Those that no message names are gone with the next look at them.
            let disown = "UPDATE files SET owner_id = NULL, check_at_ms = ?2 WHERE owner_id = ?1";
            transaction.execute(disown, [user, now_ms])?;
            let avatar: String =
                transaction.query_row("SELECT avatar FROM users WHERE id = ?1", [user], |row| row.get(0))?;
            if !avatar.is_empty() {
                files::release(transaction, &avatar, now_ms.saturating_add(files::OLD_AVATAR_MS))?;
                groups::log_change(transaction, user, groups::AVATAR, None, Some(""), now_ms)?;
            }
            transaction.execute(
                "UPDATE users SET username = NULL, nickname = '', email = '', avatar = '', password_hash = NULL,
                     seen_at_ms = NULL, is_classic = 0, updated_at_ms = ?2, removed_at_ms = ?2
                 WHERE id = ?1",
                [user, now_ms],
            )?;
            Ok(Some(done))
        })
    }
}

/// The groups that a user is a member of: their numbers and ids.
fn groups_of(connection: &Connection, user: i64) -> Result<Vec<(i64, GroupId)>> {
    let select = "SELECT groups.id, groups.uuid FROM members CROSS JOIN groups ON groups.id = group_id
                  WHERE user_id = ?1 AND last_seq IS NULL ORDER BY groups.id";
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query([user])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        found.push((row.get(0)?, GroupId::new(id).map_err(DirectoryError::ForeignId)?));
    }
    Ok(found)
}

/// Empties what a user has said to itself, the places in that log stay; gives how many messages had something in them.
fn empty_notes(connection: &Connection, user: i64, now_ms: i64) -> rusqlite::Result<usize> {
    let own = "(SELECT id FROM conversations WHERE user_low = ?1 AND user_high = ?1)";
    let select =
        format!("SELECT rowid FROM messages WHERE conversation_id = {own} AND (content <> '' OR url <> '')");
    let rowids = connection
        .prepare(&select)?
        .query_map([user], |row| row.get::<_, i64>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let key = Key::Direct { low: user, high: user };
    for rowid in &rowids {
        let select = "SELECT iif(content_type <= 5 AND NOT is_recalled, content, ''), url FROM messages WHERE rowid = ?1";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let (indexed, file) = connection.prepare_cached(select)?.query_row([rowid], read)?;
        // What was said in the last second may be behind the index, and come into it as it was: where nobody finds it.
        words::replace(connection, (*rowid, key), &indexed, "")?;
        let empty =
            "UPDATE messages SET content = '', url = '', file_suffix = '', sender_name = '' WHERE rowid = ?1";
        connection.prepare_cached(empty)?.execute([rowid])?;
        files::release(connection, &file, now_ms)?;
    }
    connection.execute(&format!("DELETE FROM revisions WHERE conversation_id = {own}"), params![user])?;
    Ok(rowids.len())
}
