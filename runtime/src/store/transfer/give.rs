//! What a database holds, as lines of JSON: docs/export.md says what is in them.
//!
//! SQLite makes the lines itself. Their order follows from what they say, so two databases that say the same give the same.

use std::io;
use std::path::Path;

use rusqlite::{Connection, Row, Statement};
use switchboard_engine::UserId;

use super::super::{OpenError, open};

/// Why an export was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its schema is an older one.
    #[error(
        "the database has schema {found}, and {known} is exported: start the server once, or use the older build"
    )]
    OlderSchema {
        /// Its schema.
        found: i32,
        /// This build's.
        known: i32,
    },
    /// There is no such user.
    #[error("there is no user {0}")]
    NoSuchUser(UserId),
    /// The database fails.
    #[error("cannot read the database")]
    Database(#[from] rusqlite::Error),
    /// What is written cannot be.
    #[error("cannot write the export")]
    Write(#[from] io::Error),
}

/// What is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOf {
    /// Whose data; none for everybody's.
    pub user: Option<UserId>,
    /// Whether the hashes of passwords are among it.
    pub with_passwords: bool,
}

/// Writes all lines, as of one moment; gives the names of the files that they name.
///
/// # Errors
/// If the database cannot be read, or a line cannot be written.
pub(crate) fn give(
    data: &Path,
    of: &ExportOf,
    mut line: impl FnMut(&str) -> io::Result<()>,
) -> Result<Vec<String>, ExportError> {
    let (connection, found) = open::open_as_it_is(data)?;
    if found != open::SCHEMA_VERSION {
        return Err(ExportError::OlderSchema { found, known: open::SCHEMA_VERSION });
    }
    // Of one moment, whatever a server writes meanwhile.
    connection.execute_batch("BEGIN")?;
    let user = of.user.as_ref().map(UserId::as_str);
    if let Some(id) = &of.user
        && !connection.prepare("SELECT 1 FROM users WHERE uuid = ?1")?.exists([user])?
    {
        return Err(ExportError::NoSuchUser(id.clone()));
    }
    let mut lines =
        |statement: &mut Statement<'_>, params: &[&dyn rusqlite::ToSql]| -> Result<(), ExportError> {
            let mut rows = statement.query(params)?;
            while let Some(row) = rows.next()? {
                line(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            }
            Ok(())
        };
    lines(&mut connection.prepare(USERS)?, &[&user, &of.with_passwords])?;
    for statement in [GROUPS, MEMBERS, FRIENDS] {
        lines(&mut connection.prepare(statement)?, &[&user])?;
    }
    let conversations = conversations(&connection, user)?;
    let (mut messages, mut revisions) = (connection.prepare(MESSAGES)?, connection.prepare(REVISIONS)?);
    let mut received = connection.prepare(RECEIVED)?;
    let mut conversation = connection.prepare(CONVERSATION)?;
    for Extent { id, first, last } in conversations {
        lines(&mut conversation, &[&id])?;
        lines(&mut messages, &[&id, &first, &last])?;
        // What was replaced is the operator's to see.
        if user.is_none() {
            lines(&mut revisions, &[&id])?;
        }
        lines(&mut received, &[&id, &user])?;
    }
    let mut files = connection.prepare(FILES)?;
    lines(&mut files, &[&user])?;
    let mut names = connection.prepare(FILE_NAMES)?;
    let names = names.query_map([user], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    connection.execute_batch("COMMIT")?;
    Ok(names)
}

/// A conversation, and what of its log is exported.
struct Extent {
    id: i64,
    first: i64,
    last: i64,
}

fn conversations(connection: &Connection, user: Option<&str>) -> rusqlite::Result<Vec<Extent>> {
    let mut statement = connection.prepare(CONVERSATIONS)?;
    let read = |row: &Row<'_>| Ok(Extent { id: row.get(0)?, first: row.get(1)?, last: row.get(2)? });
    statement.query_map([user], read)?.collect()
}

/// Of one user's data, the others are there by their names alone: those who talk with the user, or are in a group with it.
const USERS: &str = "SELECT json_object(
        'kind', 'user', 'id', uuid, 'username', username, 'nickname', nickname, 'avatar', avatar,
        'email', iif(own, email, ''), 'password_hash', iif(own AND ?2, password_hash, NULL),
        'created_at_ms', created_at_ms, 'updated_at_ms', iif(own, updated_at_ms, created_at_ms),
        'seen_at_ms', iif(own, seen_at_ms, NULL), 'is_classic', iif(own, is_classic, 0), 'role', iif(own, role, 1),
        'banned_until_ms', iif(own, banned_until_ms, 0), 'banned_at_ms', iif(own, banned_at_ms, 0),
        'ban_reason', iif(own, ban_reason, ''), 'tokens_from_ms', iif(own, tokens_from_ms, 0),
        'removed_at_ms', iif(own, removed_at_ms, NULL))
    FROM (SELECT *, ?1 IS NULL OR uuid = ?1 AS own FROM users)
    WHERE own OR id IN (
        SELECT user_low FROM conversations WHERE user_high = (SELECT id FROM users WHERE uuid = ?1)
        UNION SELECT user_high FROM conversations WHERE user_low = (SELECT id FROM users WHERE uuid = ?1)
        UNION SELECT friend_id FROM friends WHERE user_id = (SELECT id FROM users WHERE uuid = ?1)
        UNION SELECT theirs.user_id FROM members AS mine JOIN members AS theirs USING (group_id)
            WHERE mine.user_id = (SELECT id FROM users WHERE uuid = ?1))
    ORDER BY uuid";

const GROUPS: &str = "SELECT json_object(
        'kind', 'group', 'id', g.uuid, 'name', name, 'notice', notice, 'owner', users.uuid, 'invite_only', invite_only,
        'created_at_ms', g.created_at_ms)
    FROM groups AS g JOIN users ON users.id = owner_id
    WHERE ?1 IS NULL OR EXISTS (SELECT 1 FROM members JOIN users ON users.id = user_id
        WHERE group_id = g.id AND uuid = ?1)
    ORDER BY g.uuid";

const MEMBERS: &str = "SELECT json_object(
        'kind', 'member', 'group', g.uuid, 'user', users.uuid, 'role', m.role, 'joined_at_ms', joined_at_ms,
        'first_seq', first_seq, 'last_seq', last_seq, 'muted_until_ms', muted_until_ms,
        'delivered_seq', delivered_seq, 'read_seq', read_seq)
    FROM members AS m JOIN groups AS g ON g.id = m.group_id JOIN users ON users.id = user_id
    WHERE ?1 IS NULL OR users.uuid = ?1
    ORDER BY g.uuid, users.uuid";

const FRIENDS: &str = "SELECT json_object(
        'kind', 'friend', 'user', users.uuid, 'friend', them.uuid, 'added_at_ms', added_at_ms)
    FROM friends JOIN users ON users.id = user_id JOIN users AS them ON them.id = friend_id
    WHERE ?1 IS NULL OR users.uuid = ?1
    ORDER BY users.uuid, them.uuid";

/// In the order of the ids of whose they are.
const CONVERSATIONS: &str = "SELECT c.id, coalesce(m.first_seq, 1), coalesce(m.last_seq, 9223372036854775807)
    FROM conversations AS c
    LEFT JOIN users AS low ON low.id = user_low LEFT JOIN users AS high ON high.id = user_high
    LEFT JOIN groups AS g ON g.id = c.group_id
    LEFT JOIN members AS m ON m.group_id = c.group_id AND m.user_id = (SELECT id FROM users WHERE uuid = ?1)
    WHERE ?1 IS NULL OR ?1 IN (low.uuid, high.uuid) OR m.user_id IS NOT NULL
    ORDER BY g.uuid, min(low.uuid, high.uuid), max(low.uuid, high.uuid)";

const CONVERSATION: &str = "SELECT json_object(
        'kind', 'conversation', 'group', g.uuid, 'users', CASE WHEN g.id IS NULL THEN json(iif(low.uuid <= high.uuid,
            json_array(low.uuid, high.uuid), json_array(high.uuid, low.uuid))) END,
        'marks', CASE WHEN g.id IS NULL THEN json(iif(low.uuid <= high.uuid,
            json_array(low_delivered, low_read, high_delivered, high_read),
            json_array(high_delivered, high_read, low_delivered, low_read))) END,
        'epoch', CAST(epoch AS TEXT), 'head_seq', head_seq, 'created_at_ms', c.created_at_ms)
    FROM conversations AS c
    LEFT JOIN users AS low ON low.id = user_low LEFT JOIN users AS high ON high.id = user_high
    LEFT JOIN groups AS g ON g.id = c.group_id
    WHERE c.id = ?1";

const MESSAGES: &str = "SELECT json_object(
        'kind', 'message', 'seq', seq, 'sender', uuid, 'id', lower(hex(message_id)), 'content_type', content_type,
        'content', content, 'sender_name', sender_name, 'file', url, 'file_suffix', file_suffix,
        'stored_at_ms', stored_at_ms, 'change', lower(hex(change)), 'target_seq', target_seq,
        'changed_seq', changed_seq, 'is_recalled', is_recalled)
    FROM messages JOIN users ON users.id = sender_id
    WHERE conversation_id = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq";

const REVISIONS: &str = "SELECT json_object(
        'kind', 'revision', 'target_seq', target_seq, 'seq', seq, 'content', content, 'file', url)
    FROM revisions WHERE conversation_id = ?1 ORDER BY target_seq, seq";

const RECEIVED: &str = "SELECT json_object('kind', 'received', 'user', uuid, 'seq', seq)
    FROM received JOIN users ON users.id = user_id
    WHERE conversation_id = ?1 AND (?2 IS NULL OR uuid = ?2) ORDER BY uuid";

const FILES: &str = "SELECT json_object(
        'kind', 'file', 'name', name, 'owner', uuid, 'bytes', bytes, 'media', kind, 'created_at_ms', files.created_at_ms)
    FROM files LEFT JOIN users ON users.id = owner_id
    WHERE ?1 IS NULL OR uuid = ?1 ORDER BY name";

const FILE_NAMES: &str = "SELECT name FROM files LEFT JOIN users ON users.id = owner_id
    WHERE ?1 IS NULL OR uuid = ?1 ORDER BY name";
