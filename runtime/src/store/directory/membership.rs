//! Groups as their members see and change them: by the rules that changes over sessions go by.

use rusqlite::{Connection, Rows, Transaction, params};
use switchboard_engine::{Denial, GroupChange, GroupId, Refusal, Role, UserId};

use super::super::groups;
use super::group::{check_room, enter};
use super::{Directory, DirectoryError, Group, Member, Result, existing_user, find_user, user_id};

/// A group, as somebody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenGroup {
    /// The group.
    pub group: Group,
    /// Whether nobody joins uninvited.
    pub invite_only: bool,
    /// How many members it has.
    pub members: u64,
    /// What who sees it is in it; none if it is no member.
    pub role: Option<Role>,
}

/// Columns of a [`SeenGroup`], of the user whose number is ?1.
const SEEN: &str = "SELECT groups.uuid, groups.id, name, notice, created_at_ms, invite_only,
         (SELECT count(*) FROM members AS all_members
          WHERE all_members.group_id = groups.id AND all_members.last_seq IS NULL),
         (SELECT role FROM members AS own
          WHERE own.group_id = groups.id AND own.user_id = ?1 AND own.last_seq IS NULL)
     FROM groups";

impl Directory {
    /// Makes changes of a group, and gives it another notice, as a member; all of it or nothing. Who joins, and who is
    /// invited, must not be in so many groups already.
    ///
    /// # Errors
    /// If there is no such user, or no such group for it, the group's rules refuse a change, or the database fails.
    pub fn change_group(
        &mut self,
        sender: &UserId,
        group: &GroupId,
        changes: &[GroupChange],
        notice: Option<&str>,
        limit: u32,
    ) -> Result<()> {
        self.change(|transaction, now_ms| {
            let number = existing_user(transaction, sender)?;
            if changes.is_empty() && notice.is_none() {
                // Who changes nothing is not to find out anything either.
                let found = groups::find(transaction, group)?.ok_or(DirectoryError::GroupNotOpen)?;
                groups::membership(transaction, found, number)?.ok_or(DirectoryError::GroupNotOpen)?;
            }
            for change in changes {
                make(transaction, (sender, number), group, change, limit, now_ms)?;
            }
            if let Some(notice) = notice {
                // Whoever may give a group another name may.
                let rename = GroupChange::Rename("x".into());
                let (group, _) = judge(transaction, (sender, number), group, &rename)?;
                let update = "UPDATE groups SET notice = ?2 WHERE id = ?1";
                transaction.execute(update, params![group, notice])?;
            }
            Ok(())
        })
    }

    /// A group, for who is a member or could join it by itself; none for everybody else.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn seen_group(&self, user: &UserId, group: &GroupId) -> Result<Option<SeenGroup>> {
        let user = existing_user(&self.connection, user)?;
        let mut statement = self.connection.prepare_cached(&format!("{SEEN} WHERE uuid = ?2"))?;
        let found = seen(statement.query(params![user, group.as_str()])?)?;
        Ok(found
            .into_iter()
            .next()
            .filter(|seen| seen.role.is_some() || (!seen.invite_only && seen.members > 0)))
    }

    /// The oldest group of this name that may be joined uninvited, as a user sees it.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn open_group_named(&self, user: &UserId, name: &str) -> Result<Option<SeenGroup>> {
        let user = existing_user(&self.connection, user)?;
        let sql = format!("{SEEN} WHERE name = ?2 AND invite_only = 0 ORDER BY id LIMIT 1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(seen(statement.query(params![user, name])?)?.into_iter().next())
    }

    /// So many of the groups that a user belongs to, in the order of their numbers, after this number.
    ///
    /// # Errors
    /// If there is no such user, or the database fails.
    pub fn groups_after(&self, user: &UserId, after: i64, limit: u32) -> Result<Vec<SeenGroup>> {
        let user = existing_user(&self.connection, user)?;
        let sql = format!(
            "{SEEN} WHERE id IN (SELECT group_id FROM members
                 WHERE members.user_id = ?1 AND group_id > ?2 AND last_seq IS NULL ORDER BY group_id LIMIT ?3)
             ORDER BY id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        seen(statement.query(params![user, after, limit])?)
    }

    /// So many members of a group, in the order of their numbers, after this one; each with its number.
    ///
    /// # Errors
    /// If there is no such group of which the user is a member, or the database fails.
    pub fn members_after(
        &self,
        user: &UserId,
        group: &GroupId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Member)>> {
        let (found, user) = (groups::find(&self.connection, group)?, find_user(&self.connection, user)?);
        let (Some(group), Some(user)) = (found, user) else { return Err(DirectoryError::GroupNotOpen) };
        if groups::membership(&self.connection, group, user)?.is_none() {
            return Err(DirectoryError::GroupNotOpen);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT users.uuid, users.username, users.avatar, members.role, members.joined_at_ms,
                    members.muted_until_ms, user_id
             FROM members CROSS JOIN users ON users.id = user_id
             WHERE group_id = ?1 AND user_id > ?2 AND last_seq IS NULL ORDER BY user_id LIMIT ?3",
        )?;
        let mut rows = statement.query(params![group, after, limit])?;
        let mut members = Vec::new();
        while let Some(row) = rows.next()? {
            let member = Member {
                user: user_id(row, 0)?,
                username: row.get(1)?,
                avatar: row.get(2)?,
                role: groups::role(row.get(3)?),
                joined_at_ms: row.get(4)?,
                muted_until_ms: row.get(5)?,
            };
            members.push((row.get(6)?, member));
        }
        Ok(members)
    }
}

/// Whether a change may be made: the numbers of the group, and of whom it is about.
fn judge(
    connection: &Connection,
    (sender, number): (&UserId, i64),
    group: &GroupId,
    change: &GroupChange,
) -> Result<(i64, Option<i64>)> {
    let found = groups::find(connection, group)?;
    let facts = found.map(|group| groups::facts(connection, group)).transpose()?;
    let own = found.map(|group| groups::membership(connection, group, number)).transpose()?.flatten();
    let target = change.target().map(|user| find_user(connection, user)).transpose()?.flatten();
    let seat = match (found, target) {
        (Some(group), Some(target)) => groups::membership(connection, group, target)?,
        _ => None,
    };
    match change.judge(sender, facts, own, seat) {
        Ok(()) => {}
        Err(Refusal::NoSuchGroup) => return Err(DirectoryError::GroupNotOpen),
        Err(Refusal::Denied(denial)) => return Err(DirectoryError::Denied(denial)),
    }
    if change.target().is_some() && target.is_none() {
        return Err(DirectoryError::Denied(Denial::NoUser));
    }
    Ok((found.ok_or(DirectoryError::GroupNotOpen)?, target))
}

fn make(
    transaction: &Transaction<'_>,
    (sender, number): (&UserId, i64),
    group: &GroupId,
    change: &GroupChange,
    limit: u32,
    now_ms: i64,
) -> Result<()> {
    if GroupChange::decode(&change.encode()).is_none() {
        return Err(DirectoryError::GroupName);
    }
    let (group, target) = judge(transaction, (sender, number), group, change)?;
    match change {
        GroupChange::Join => check_room(transaction, number, limit)?,
        GroupChange::Invite(_) => check_room(transaction, target.unwrap_or(number), limit)?,
        GroupChange::Create { .. }
        | GroupChange::Leave
        | GroupChange::Kick(_)
        | GroupChange::SetRole(..)
        | GroupChange::Mute(..)
        | GroupChange::Rename(_) => {}
    }
    enter(transaction, group, change, (number, target), now_ms)
}

/// Reads groups from rows of [`SEEN`].
fn seen(mut rows: Rows<'_>) -> Result<Vec<SeenGroup>> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let group = Group {
            id: GroupId::new(id).map_err(DirectoryError::ForeignId)?,
            number: row.get(1)?,
            name: row.get(2)?,
            notice: row.get(3)?,
            created_at_ms: row.get(4)?,
        };
        found.push(SeenGroup {
            group,
            invite_only: row.get(5)?,
            members: row.get::<_, i64>(6)?.unsigned_abs(),
            role: row.get::<_, Option<i64>>(7)?.map(groups::role),
        });
    }
    Ok(found)
}
