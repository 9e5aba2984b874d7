//! Groups in the database: who is what in them, and what a change of one changes. For the store's thread and for
//! the directory, each within a transaction of its own.

use rusqlite::{Connection, OptionalExtension, Row, params};
use switchboard_engine::{GroupChange, GroupFacts, GroupId, Membership, Role};

/// Kinds of changes in the directory's log.
pub(super) const JOINED: i64 = 1;
pub(super) const LEFT: i64 = 2;
pub(super) const AVATAR: i64 = 3;

/// The content type of a group's change.
pub(super) const CHANGE: u8 = 23;

/// The number of a group.
pub(super) fn find(connection: &Connection, group: &GroupId) -> rusqlite::Result<Option<i64>> {
    let select = "SELECT id FROM groups WHERE uuid = ?1";
    connection.prepare_cached(select)?.query_row([group.as_str()], |row| row.get(0)).optional()
}

/// What the rules ask about a group.
pub(super) fn facts(connection: &Connection, group: i64) -> rusqlite::Result<GroupFacts> {
    let select = "SELECT invite_only,
             (SELECT count(*) FROM members WHERE group_id = ?1 AND last_seq IS NULL),
             (SELECT count(*) FROM members WHERE group_id = ?1 AND last_seq IS NULL AND role = 3)
         FROM groups WHERE id = ?1";
    connection.prepare_cached(select)?.query_row([group], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(GroupFacts { invite_only: row.get(0)?, members: count(1)?, owners: count(2)? })
    })
}

/// What a user is in a group; none if it is no member now.
pub(super) fn membership(
    connection: &Connection,
    group: i64,
    user: i64,
) -> rusqlite::Result<Option<Membership>> {
    let select = "SELECT role, muted_until_ms FROM members
                  WHERE group_id = ?1 AND user_id = ?2 AND last_seq IS NULL";
    let read = |row: &Row<'_>| Ok(Membership { role: role(row.get(0)?), muted_until_ms: row.get(1)? });
    connection.prepare_cached(select)?.query_row([group, user], read).optional()
}

/// Makes a group without members; gives its number.
pub(super) fn make(
    connection: &Connection,
    group: &GroupId,
    (name, notice): (&str, &str),
    owner: i64,
    invite_only: bool,
    now_ms: i64,
) -> rusqlite::Result<i64> {
    let insert = "INSERT INTO groups (uuid, name, notice, owner_id, created_at_ms, invite_only)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let params = params![group.as_str(), name, notice, owner, now_ms, invite_only];
    connection.prepare_cached(insert)?.insert(params)
}

/// What a change changes, whose entry is at this place of the group's log: `target` is the number of whom the
/// change is about, if that is not the sender. Whether it may be made was asked before.
pub(super) fn apply(
    connection: &Connection,
    group: i64,
    change: &GroupChange,
    (sender, target): (i64, Option<i64>),
    seq: i64,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let target = target.unwrap_or(sender);
    match change {
        GroupChange::Create { .. } => join(connection, (group, sender), Role::Owner, seq, now_ms),
        GroupChange::Join => join(connection, (group, sender), Role::Member, seq, now_ms),
        GroupChange::Invite(_) => join(connection, (group, target), Role::Member, seq, now_ms),
        GroupChange::Leave | GroupChange::Kick(_) => {
            let update = "UPDATE members SET last_seq = ?3 WHERE group_id = ?1 AND user_id = ?2";
            connection.prepare_cached(update)?.execute([group, target, seq])?;
            log_change(connection, target, LEFT, Some(group), None, now_ms)
        }
        GroupChange::SetRole(_, role) => {
            let update = "UPDATE members SET role = ?3 WHERE group_id = ?1 AND user_id = ?2";
            connection.prepare_cached(update)?.execute([group, target, number(*role)]).map(drop)
        }
        GroupChange::Mute(_, until_ms) => {
            let update = "UPDATE members SET muted_until_ms = ?3 WHERE group_id = ?1 AND user_id = ?2";
            connection.prepare_cached(update)?.execute([group, target, *until_ms]).map(drop)
        }
        GroupChange::Rename(name) => {
            let update = "UPDATE groups SET name = ?2 WHERE id = ?1";
            connection.prepare_cached(update)?.execute(params![group, name]).map(drop)
        }
    }
}

/// Makes a user a member who reads from this place on. Who was one before begins anew, but stays muted.
fn join(
    connection: &Connection,
    (group, user): (i64, i64),
    role: Role,
    seq: i64,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO members (group_id, user_id, role, joined_at_ms, first_seq)
                  VALUES (?1, ?2, ?3, ?4, ?5)
                  ON CONFLICT (group_id, user_id) DO UPDATE SET
                      role = excluded.role, joined_at_ms = excluded.joined_at_ms,
                      first_seq = excluded.first_seq, last_seq = NULL, delivered_seq = 0, read_seq = 0";
    connection.prepare_cached(upsert)?.execute([group, user, number(role), now_ms, seq])?;
    log_change(connection, user, JOINED, Some(group), None, now_ms)
}

/// Writes a change down that engines are to be told of.
pub(super) fn log_change(
    connection: &Connection,
    user: i64,
    kind: i64,
    group: Option<i64>,
    avatar: Option<&str>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO directory_log (user_id, kind, group_id, avatar, changed_at_ms)
                  VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(insert)?.execute(params![user, kind, group, avatar, now_ms]).map(drop)
}

/// A role as the database has it.
pub(super) const fn number(role: Role) -> i64 {
    match role {
        Role::Member => 1,
        Role::Admin => 2,
        Role::Owner => 3,
    }
}

/// A role from the database, which has no others.
pub(super) const fn role(number: i64) -> Role {
    match number {
        3.. => Role::Owner,
        2 => Role::Admin,
        ..=1 => Role::Member,
    }
}
