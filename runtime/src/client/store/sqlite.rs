//! A store in one SQLite file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, params};
use switchboard_engine::{
    Content, GroupId, LogCursor, LogMarks, LogMessage, Marks, MessageId, PendingSubmit, Recipient, Resume,
    UserId,
};

use super::{
    Change, Store, StoreError, Summary,
    changes::{changed_by, target},
    memory::run_before,
};

/// Marks a database as a client's ("SWBC").
const APPLICATION_ID: i32 = 0x5357_4243;
/// The version of the schema.
const VERSION: i32 = 3;
/// What makes each version out of the one before it.
const SCHEMA: [&str; 3] =
    [include_str!("schema.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
/// How long a client waits for one that is just closing the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// A store in one file, which survives the process and the power: what was applied has been synced to the disk. How far the
/// application has taken what it was told ([`Change::Taken`]), if that is all that is applied, survives the process, and is
/// synced with what is applied next: what the power has taken of it is told again.
///
/// The file belongs to one user at one server, and is locked while a client has it; `FILE-wal` beside it is a
/// part of it. There is no limit to its size. It is checked from end to end when it is opened, which takes a
/// second for some hundred megabytes.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    file: PathBuf,
    /// Whether a commit is synced before it is done.
    syncs: bool,
}

impl SqliteStore {
    /// Opens the file, or makes it. Blocks while it does.
    ///
    /// # Errors
    /// If the file cannot be opened or made, is in use, damaged, not a client's store, or of a newer version.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, StoreError> {
        let file = file.as_ref().to_owned();
        let found = Connection::open(&file)
            .and_then(|connection| inspect(&connection).map(|found| (connection, found)));
        let (mut connection, found) = found.map_err(|error| classify(&file, "open", error))?;
        match found {
            Found::Foreign => return Err(StoreError::Foreign { file }),
            Found::Version(found) if found > VERSION => {
                return Err(StoreError::Newer { file, found, known: VERSION });
            }
            Found::Version(_) => {}
        }
        match prepare(&mut connection) {
            Ok(None) => Ok(Self { connection, file, syncs: true }),
            Ok(Some(damage)) => Err(StoreError::Damaged { file, source: damage.into() }),
            Err(error) => Err(classify(&file, "open", error)),
        }
    }

    /// What failed, in the store's terms.
    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let file = self.file.clone();
        move |error| classify(&file, doing, error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Foreign,
    /// 0 if the file is new.
    Version(i32),
}

/// Looks at a file without changing it.
fn inspect(connection: &Connection) -> rusqlite::Result<Found> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Held until the connection ends; without shared memory beside the file.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let new = (application, version, objects) == (0, 0, 0);
    Ok(if new || (application == APPLICATION_ID && version > 0) {
        Found::Version(version)
    } else {
        Found::Foreign
    })
}

/// Takes the lock, brings the schema to the newest version, and says what is damaged.
fn prepare(connection: &mut Connection) -> rusqlite::Result<Option<String>> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
    // Under the lock: another client may have done it since the file was looked at.
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < VERSION {
        for step in SCHEMA.iter().skip(usize::try_from(version).unwrap_or_default()) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

fn classify(file: &Path, doing: &'static str, error: rusqlite::Error) -> StoreError {
    let file = file.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase { file },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { file, source: error.into() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { file },
        // What a column holds is not what was put there.
        None if !matches!(error, rusqlite::Error::InvalidPath(_)) => {
            StoreError::Damaged { file, source: error.into() }
        }
        _ => StoreError::Failed { doing, source: error.into() },
    }
}

impl Store for SqliteStore {
    fn open(&mut self, user: &UserId, new_device_id: [u8; 16]) -> Result<Resume, StoreError> {
        let failed = self.failed("read");
        let owner = self
            .connection
            .query_row("SELECT user, device_id FROM owner", [], |row| Ok((user_at(row, 0)?, row.get(1)?)))
            .optional()
            .map_err(&failed)?;
        let device_id = match owner {
            Some((owner, device_id)) if owner == *user => device_id,
            Some((owner, _)) => return Err(StoreError::OtherUser { owner, user: user.clone() }),
            None => {
                let insert = "INSERT INTO owner (only, user, device_id) VALUES (1, ?1, ?2)";
                self.connection
                    .execute(insert, params![user.as_str(), new_device_id])
                    .map_err(self.failed("write"))?;
                new_device_id
            }
        };
        let logs = "SELECT is_group, peer, epoch, seq, own_delivered, own_read, peer_delivered, peer_read
                    FROM logs WHERE seq > 0 ORDER BY moved DESC";
        let logs = self.all(logs, [], |row| {
            let (conversation, epoch) = (conversation_at(row, 0)?, u64_at(row, 2)?);
            let cursor = LogCursor { conversation: conversation.clone(), epoch, seq: u64_at(row, 3)? };
            Ok((cursor, LogMarks { conversation, epoch, own: marks_at(row, 4)?, peer: marks_at(row, 6)? }))
        });
        let (cursors, marks) = logs.map_err(&failed)?.into_iter().unzip();
        let submits = "SELECT id, is_group, peer, kind, text, file, subject FROM submits ORDER BY position";
        let submits = self.all(submits, [], |row| {
            let (id, conversation) = (MessageId(row.get(0)?), conversation_at(row, 1)?);
            Ok(PendingSubmit { id, conversation, content: content_at(row, 3)? })
        });
        Ok(Resume { device_id, cursors, marks, submits: submits.map_err(&failed)? })
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let failed = self.failed("write");
        // An application that reads its events one by one would wait for a second sync after each.
        let syncs = changes.iter().any(|change| !matches!(change, Change::Taken { .. }));
        if syncs != self.syncs {
            // In a write-ahead log, NORMAL writes without a sync, and the order in which things become durable is kept.
            let mode = if syncs { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", mode).map_err(&failed)?;
            self.syncs = syncs;
        }
        let transaction = self.connection.transaction().map_err(&failed)?;
        changes.iter().try_for_each(|change| apply(&transaction, change)).map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    fn messages(
        &mut self,
        conversation: &Recipient,
        before_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError> {
        let (is_group, peer) = key(conversation);
        let end =
            if before_seq == 0 { i64::MAX } else { before_seq.min(i64::MAX.unsigned_abs()).cast_signed() };
        let select =
            "SELECT seq, id, sender, kind, text, file, subject, stored_at_ms, own, changed_seq, is_recalled
                      FROM messages
                      WHERE is_group = ?1 AND peer = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4";
        let newest_first =
            self.all(select, params![is_group, peer, end, limit], |row| message_at(row).map(Arc::new));
        Ok(run_before(before_seq, newest_first.map_err(self.failed("read"))?))
    }

    fn messages_after(
        &mut self,
        conversation: &Recipient,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError> {
        let (is_group, peer) = key(conversation);
        let select =
            "SELECT seq, id, sender, kind, text, file, subject, stored_at_ms, own, changed_seq, is_recalled
                      FROM messages
                      WHERE is_group = ?1 AND peer = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";
        let params = params![is_group, peer, after_seq.cast_signed(), limit];
        self.all(select, params, |row| message_at(row).map(Arc::new)).map_err(self.failed("read"))
    }

    fn taken(&mut self) -> Result<Vec<LogCursor>, StoreError> {
        let taken = self.all("SELECT is_group, peer, epoch, seq FROM taken", [], |row| {
            Ok(LogCursor {
                conversation: conversation_at(row, 0)?,
                epoch: u64_at(row, 2)?,
                seq: u64_at(row, 3)?,
            })
        });
        taken.map_err(self.failed("read"))
    }

    fn conversations(&mut self, limit: u32) -> Result<Vec<Summary>, StoreError> {
        // What is counted is what `is_unread` says.
        let select = "SELECT is_group, peer, epoch, seq, own_delivered, own_read, peer_delivered, peer_read,
                          (SELECT count(*) FROM messages WHERE messages.is_group = logs.is_group
                              AND messages.peer = logs.peer AND messages.seq > own_read
                              AND NOT own AND NOT is_recalled AND subject = x''),
                          coalesce((SELECT name FROM group_names WHERE is_group AND group_names.peer = logs.peer), '')
                      FROM logs WHERE seq > 0 ORDER BY moved DESC LIMIT ?1";
        let summaries = self.all(select, [limit], |row| {
            Ok(Summary {
                conversation: conversation_at(row, 0)?,
                name: row.get(9)?,
                epoch: u64_at(row, 2)?,
                last_seq: u64_at(row, 3)?,
                own: marks_at(row, 4)?,
                peer: marks_at(row, 6)?,
                unread: u64_at(row, 8)?,
            })
        });
        summaries.map_err(self.failed("read"))
    }
}

impl SqliteStore {
    fn all<T>(
        &self,
        select: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection.prepare_cached(select)?.query_map(params, read)?.collect()
    }
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Submit(PendingSubmit { id, conversation, content }) => {
            let (is_group, peer) = key(conversation);
            let insert = "INSERT INTO submits (id, is_group, peer, kind, text, file, subject) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (Content { kind, text, file, .. }, subject) = (content, content.subject_bytes());
            let params = params![id.0, is_group, peer, kind, text, file, subject];
            transaction.prepare_cached(insert)?.execute(params)?;
        }
        Change::Withdraw { id } | Change::Accepted { id, .. } | Change::Rejected { id, .. } => {
            transaction.prepare_cached("DELETE FROM submits WHERE id = ?1")?.execute([id.0])?;
        }
        Change::Message { conversation, epoch, message } => {
            moved(transaction, conversation, *epoch, message.seq)?;
            put(transaction, conversation, message)?;
            if let Some(name) = message.content.subject.group_name() {
                call(transaction, conversation, name)?;
            }
            if let Some(target) = target(message) {
                let about = "seq = ?3";
                for target in some(transaction, conversation, about, target)? {
                    if let Some(changed) = changed_by(&target, message) {
                        put(transaction, conversation, &changed)?;
                    }
                }
            }
        }
        Change::Skipped { conversation, epoch, seq } => moved(transaction, conversation, *epoch, *seq)?,
        Change::Marked { conversation, epoch, own, marks } => {
            // They may come before anything else of the log; one of place 0 has nothing but them.
            let upsert = if *own {
                "INSERT INTO logs (is_group, peer, epoch, seq, moved, own_delivered, own_read)
                 VALUES (?1, ?2, ?3, 0, 0, ?4, ?5)
                 ON CONFLICT DO UPDATE SET epoch = excluded.epoch,
                     own_delivered = excluded.own_delivered, own_read = excluded.own_read,
                     peer_delivered = iif(epoch = excluded.epoch, peer_delivered, 0),
                     peer_read = iif(epoch = excluded.epoch, peer_read, 0)
                 WHERE epoch = excluded.epoch OR seq = 0"
            } else {
                "INSERT INTO logs (is_group, peer, epoch, seq, moved, peer_delivered, peer_read)
                 VALUES (?1, ?2, ?3, 0, 0, ?4, ?5)
                 ON CONFLICT DO UPDATE SET epoch = excluded.epoch,
                     peer_delivered = excluded.peer_delivered, peer_read = excluded.peer_read,
                     own_delivered = iif(epoch = excluded.epoch, own_delivered, 0),
                     own_read = iif(epoch = excluded.epoch, own_read, 0)
                 WHERE epoch = excluded.epoch OR seq = 0"
            };
            let (is_group, peer) = key(conversation);
            let [epoch, delivered, read] = [*epoch, marks.delivered, marks.read].map(u64::cast_signed);
            transaction.prepare_cached(upsert)?.execute(params![is_group, peer, epoch, delivered, read])?;
        }
        Change::Named { conversation, name } => call(transaction, conversation, name)?,
        Change::Taken { conversation, epoch, seq } => {
            let (is_group, peer) = key(conversation);
            let upsert = "INSERT INTO taken (is_group, peer, epoch, seq) VALUES (?1, ?2, ?3, ?4)
                          ON CONFLICT DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq";
            let params = params![is_group, peer, epoch.cast_signed(), seq.cast_signed()];
            transaction.prepare_cached(upsert)?.execute(params)?;
        }
        Change::Reset { conversation } => {
            let conversation = key(conversation);
            for delete in [
                "DELETE FROM logs WHERE is_group = ?1 AND peer = ?2",
                "DELETE FROM messages WHERE is_group = ?1 AND peer = ?2",
            ] {
                transaction.prepare_cached(delete)?.execute(conversation)?;
            }
        }
        Change::Older { conversation, epoch, messages } => {
            let (is_group, peer) = key(conversation);
            let known: Option<i64> = transaction
                .prepare_cached("SELECT epoch FROM logs WHERE is_group = ?1 AND peer = ?2 AND seq > 0")?
                .query_row((is_group, peer), |row| row.get(0))
                .optional()?;
            if known == Some(epoch.cast_signed()) {
                messages.iter().try_for_each(|message| put_older(transaction, conversation, message))?;
            }
        }
    }
    Ok(())
}

/// Keeps what a group is called.
fn call(transaction: &Transaction<'_>, conversation: &Recipient, name: &str) -> rusqlite::Result<()> {
    let Recipient::Group(group) = conversation else { return Ok(()) };
    let upsert = "INSERT INTO group_names (peer, name) VALUES (?1, ?2)
                  ON CONFLICT DO UPDATE SET name = excluded.name";
    transaction.prepare_cached(upsert)?.execute([group.as_str(), name]).map(drop)
}

fn moved(
    transaction: &Transaction<'_>,
    conversation: &Recipient,
    epoch: u64,
    seq: u64,
) -> rusqlite::Result<()> {
    let (is_group, peer) = key(conversation);
    let upsert = "INSERT INTO logs (is_group, peer, epoch, seq, moved)
                  VALUES (?1, ?2, ?3, ?4, (SELECT coalesce(max(moved), 0) + 1 FROM logs))
                  ON CONFLICT DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, moved = excluded.moved,
                      own_delivered = iif(epoch = excluded.epoch, own_delivered, 0),
                      own_read = iif(epoch = excluded.epoch, own_read, 0),
                      peer_delivered = iif(epoch = excluded.epoch, peer_delivered, 0),
                      peer_read = iif(epoch = excluded.epoch, peer_read, 0)";
    let params = params![is_group, peer, epoch.cast_signed(), seq.cast_signed()];
    transaction.prepare_cached(upsert)?.execute(params)?;
    Ok(())
}

/// Puts a message in its place, with the changes of it that are here already.
fn put_older(
    transaction: &Transaction<'_>,
    conversation: &Recipient,
    message: &LogMessage,
) -> rusqlite::Result<()> {
    let mut message = message.clone();
    for entry in some(transaction, conversation, "target_seq = ?3", message.seq)? {
        if let Some(changed) = changed_by(&message, &entry) {
            message = changed;
        }
    }
    put(transaction, conversation, &message)
}

/// Messages of a conversation for which this holds of a place, in the order of their places.
fn some(
    transaction: &Transaction<'_>,
    conversation: &Recipient,
    condition: &str,
    seq: u64,
) -> rusqlite::Result<Vec<LogMessage>> {
    let (is_group, peer) = key(conversation);
    let select = format!(
        "SELECT seq, id, sender, kind, text, file, subject, stored_at_ms, own, changed_seq, is_recalled
         FROM messages WHERE is_group = ?1 AND peer = ?2 AND {condition} ORDER BY seq"
    );
    let mut statement = transaction.prepare_cached(&select)?;
    statement.query_map(params![is_group, peer, seq.cast_signed()], message_at)?.collect()
}

/// Puts a message in its place, unless a newer reading of it is there.
fn put(
    transaction: &Transaction<'_>,
    conversation: &Recipient,
    message: &LogMessage,
) -> rusqlite::Result<()> {
    let (is_group, peer) = key(conversation);
    let upsert = "INSERT INTO messages
                  (is_group, peer, seq, id, sender, kind, text, file, subject, stored_at_ms, own, changed_seq,
                   is_recalled, target_seq)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                  ON CONFLICT DO UPDATE SET text = excluded.text, file = excluded.file,
                      changed_seq = excluded.changed_seq, is_recalled = excluded.is_recalled
                  WHERE excluded.changed_seq > changed_seq";
    let LogMessage { seq, id, from, content, stored_at_ms, own, changed_seq, is_recalled } = message;
    let (Content { kind, text, file, .. }, subject) = (content, content.subject_bytes());
    let params = params![
        is_group,
        peer,
        seq.cast_signed(),
        id.0,
        from.as_str(),
        kind,
        text,
        file,
        subject,
        stored_at_ms,
        own,
        changed_seq.cast_signed(),
        is_recalled,
        target(message).map(u64::cast_signed),
    ];
    transaction.prepare_cached(upsert)?.execute(params)?;
    Ok(())
}

/// Users and groups may have the same ids.
fn key(conversation: &Recipient) -> (bool, &str) {
    match conversation {
        Recipient::User(user) => (false, user.as_str()),
        Recipient::Group(group) => (true, group.as_str()),
    }
}

fn conversation_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Recipient> {
    if row.get(first)? {
        let group: String = row.get(first + 1)?;
        GroupId::new(&group).map(Recipient::Group).map_err(|error| unreadable(first + 1, error))
    } else {
        user_at(row, first + 1).map(Recipient::User)
    }
}

fn user_at(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    let user: String = row.get(column)?;
    UserId::new(&user).map_err(|error| unreadable(column, error))
}

fn u64_at(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

fn marks_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Marks> {
    Ok(Marks { delivered: u64_at(row, first)?, read: u64_at(row, first + 1)? })
}

/// Of a row of [`some`] and its like.
fn message_at(row: &Row<'_>) -> rusqlite::Result<LogMessage> {
    Ok(LogMessage {
        seq: u64_at(row, 0)?,
        id: MessageId(row.get(1)?),
        from: user_at(row, 2)?,
        content: content_at(row, 3)?,
        stored_at_ms: row.get(7)?,
        own: row.get(8)?,
        changed_seq: u64_at(row, 9)?,
        is_recalled: row.get(10)?,
    })
}

fn content_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Content> {
    let (text, file): (String, String) = (row.get(first + 1)?, row.get(first + 2)?);
    let subject = row.get_ref(first + 3)?.as_blob()?;
    Ok(Content::restore(row.get(first)?, text.into(), file.into(), subject))
}

fn unreadable(column: usize, error: switchboard_engine::IdError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nothing_but_taken_waits_for_the_next_sync() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(folder.path().join("client.db")).unwrap();
        let bob = || Recipient::User(UserId::new("bob").unwrap());
        let taken = || Change::Taken { conversation: bob(), epoch: 1, seq: 2 };
        let skipped = || Change::Skipped { conversation: bob(), epoch: 1, seq: 2 };
        // PRAGMA synchronous: 1 is NORMAL, 2 is FULL.
        for (changes, mode) in
            [(vec![taken()], 1), (vec![taken(), skipped()], 2), (vec![taken()], 1), (vec![skipped()], 2)]
        {
            store.apply(&changes).unwrap();
            let found = store.connection.pragma_query_value(None, "synchronous", |row| row.get(0));
            assert_eq!(found, Ok(mode), "{changes:?}");
        }
        assert_eq!(store.taken().unwrap().len(), 1);
    }
}
