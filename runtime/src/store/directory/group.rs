//! Groups and their members.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use switchboard_engine::{GroupChange, GroupId, Role, UserId};

use super::super::groups;
use super::{Directory, DirectoryError, Result, existing_user, user_id};

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
    /// It may not write before this time, in milliseconds since 1970; 0: it may.
    pub muted_until_ms: i64,
    /// Since when, in milliseconds since 1970.
    pub joined_at_ms: i64,
}

impl Directory {
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
            "SELECT users.uuid, users.username, users.avatar, members.role, members.joined_at_ms,
                    members.muted_until_ms
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
                muted_until_ms: row.get(5)?,
            });
        }
        Ok(members)
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

fn existing_group(connection: &Connection, group: &GroupId) -> Result<i64> {
    groups::find(connection, group)?.ok_or_else(|| DirectoryError::NoSuchGroup(group.clone()))
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
