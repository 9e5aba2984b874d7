//! Groups and their members.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use switchboard_engine::{GroupChange, GroupId, Refusal, Role, UserId};

use super::super::groups;
use super::{Directory, DirectoryError, Result, existing_user, find_user, user_id};

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
        let create = creation(new)?;
        self.change(|transaction, now_ms| found(transaction, new, &create, now_ms))
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

    /// Makes a user a member of a group if the group's rules let it join uninvited.
    ///
    /// # Errors
    /// If there is no such user, no such group or none that is open to it, it is a member, it is in so many groups
    /// already, or the database fails.
    pub fn join_open(&mut self, group: &GroupId, user: &UserId, limit: u32) -> Result<()> {
        self.change(|transaction, now_ms| {
            let number = existing_user(transaction, user)?;
            let found = groups::find(transaction, group)?;
            let facts = found.map(|group| groups::facts(transaction, group)).transpose()?;
            let own =
                found.map(|group| groups::membership(transaction, group, number)).transpose()?.flatten();
            match GroupChange::Join.judge(user, facts, own, None) {
                Ok(()) => {}
                Err(Refusal::NoSuchGroup) => return Err(DirectoryError::GroupNotOpen),
                Err(Refusal::Denied(denial)) => return Err(DirectoryError::Denied(denial)),
            }
            let group = found.ok_or(DirectoryError::GroupNotOpen)?;
            check_room(transaction, number, limit)?;
            enter(transaction, group, &GroupChange::Join, (number, None), now_ms)
        })
    }

    /// Creates a group as [`Directory::create_group`], unless its owner is in so many already.
    ///
    /// # Errors
    /// As there, and if the owner is in too many.
    pub fn found_group(&mut self, new: &NewGroup, limit: u32) -> Result<()> {
        let create = creation(new)?;
        self.change(|transaction, now_ms| {
            let owner = existing_user(transaction, &new.owner)?;
            check_room(transaction, owner, limit)?;
            found(transaction, new, &create, now_ms)
        })
    }

    /// Whether a user is a member of a group now; not if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub fn is_member(&self, group: &GroupId, user: &UserId) -> Result<bool> {
        let (group, user) = (groups::find(&self.connection, group)?, find_user(&self.connection, user)?);
        let (Some(group), Some(user)) = (group, user) else { return Ok(false) };
        Ok(groups::membership(&self.connection, group, user)?.is_some())
    }

    /// The group of this name; of several, the oldest. Of groups that are not open, only one that the user is a member
    /// of.
    ///
    /// # Errors
    /// If the database fails.
    pub fn group_named(&self, name: &str, member: Option<&UserId>) -> Result<Option<Group>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT uuid, id, name, notice, created_at_ms FROM groups
             WHERE name = ?1 AND (invite_only = 0 OR EXISTS (
                 SELECT 1 FROM members CROSS JOIN users ON users.id = members.user_id
                 WHERE members.group_id = groups.id AND users.uuid = ?2 AND last_seq IS NULL))
             ORDER BY id LIMIT 1",
        )?;
        let found = groups(statement.query(params![name, member.map(UserId::as_str)])?)?;
        Ok(found.into_iter().next())
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
            if groups::membership(transaction, group, user)?.is_none() {
                return Ok(false);
            }
            depart(transaction, (group, user), now_ms)?;
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
        self.first_members_of(group, u32::MAX)
    }

    /// So many members of a group at the most, oldest user first.
    ///
    /// # Errors
    /// If there is no such group, or the database fails.
    pub fn first_members_of(&self, group: &GroupId, limit: u32) -> Result<Vec<Member>> {
        let group = existing_group(&self.connection, group)?;
        let mut statement = self.connection.prepare(
            "SELECT users.uuid, users.username, users.avatar, members.role, members.joined_at_ms,
                    members.muted_until_ms
             FROM members JOIN users ON users.id = user_id
             WHERE group_id = ?1 AND last_seq IS NULL ORDER BY user_id LIMIT ?2",
        )?;
        let mut rows = statement.query([group, i64::from(limit)])?;
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

/// The first entry of a group's log.
fn creation(new: &NewGroup) -> Result<GroupChange> {
    let create = GroupChange::Create { name: new.name.as_str().into(), invite_only: new.invite_only };
    match GroupChange::decode(&create.encode()) {
        Some(_) => Ok(create),
        None => Err(DirectoryError::GroupName),
    }
}

fn found(transaction: &Transaction<'_>, new: &NewGroup, create: &GroupChange, now_ms: i64) -> Result<()> {
    if groups::find(transaction, &new.id)?.is_some() {
        return Err(DirectoryError::GroupExists(new.id.clone()));
    }
    let owner = existing_user(transaction, &new.owner)?;
    let names = (&*new.name, &*new.notice);
    let group = groups::make(transaction, &new.id, names, owner, new.invite_only, now_ms)?;
    enter(transaction, group, create, (owner, None), now_ms)
}

/// Refuses one more group for who is in as many as a user may be.
pub(super) fn check_room(transaction: &Transaction<'_>, user: i64, limit: u32) -> Result<()> {
    let count = "SELECT count(*) FROM members WHERE user_id = ?1 AND last_seq IS NULL";
    let count: i64 = transaction.prepare_cached(count)?.query_row([user], |row| row.get(0))?;
    if count >= i64::from(limit) { Err(DirectoryError::TooMany { what: "groups", limit }) } else { Ok(()) }
}

/// Appends a change to a group's log, and makes it.
pub(super) fn enter(
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
    let update = "UPDATE conversations SET head_seq = ?2, last_at_ms = ?3 WHERE id = ?1";
    transaction.prepare_cached(update)?.execute([conversation, seq, now_ms])?;
    Ok(groups::apply(transaction, group, change, users, seq, now_ms)?)
}

/// Has a member leave a group; gives who owns it from then on, if the member was its last owner and there are others.
pub(super) fn depart(
    transaction: &Transaction<'_>,
    (group, user): (i64, i64),
    now_ms: i64,
) -> Result<Option<UserId>> {
    let mut next_owner = None;
    let seat = groups::membership(transaction, group, user)?;
    if seat.is_some_and(|seat| seat.role == Role::Owner)
        && groups::facts(transaction, group)?.owners == 1
        && let Some((next, number)) = successor(transaction, group, user)?
    {
        let own = GroupChange::SetRole(next.clone(), Role::Owner);
        enter(transaction, group, &own, (user, Some(number)), now_ms)?;
        next_owner = Some(next);
    }
    enter(transaction, group, &GroupChange::Leave, (user, None), now_ms)?;
    Ok(next_owner)
}

/// Who owns a group after its last owner, and its number; none if there is nobody else.
fn successor(transaction: &Transaction<'_>, group: i64, owner: i64) -> Result<Option<(UserId, i64)>> {
    let select = "SELECT users.uuid, users.id FROM members JOIN users ON users.id = user_id
                  WHERE group_id = ?1 AND user_id <> ?2 AND last_seq IS NULL
                  ORDER BY members.role DESC, first_seq, users.uuid LIMIT 1";
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
