//! The books on files: whose each is, how large, and whether anything refers to it.
//!
//! A file has its row before it is there, and loses it after it has gone, so that no crash leaves a file that nobody knows of.
//!
//! Nothing comes to refer to a file that goes. Whether anything refers to it is looked at in the transaction that notes that it goes,
//! and whether it is there in the one that stores what refers to it; SQLite has one writer at a time, so one of them sees the other.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use switchboard_engine::{FileKind, UserId};

use super::log::now_ms;
use super::{DataFolder, OpenError, open};

/// How long a picture that is not its user's any more stays: open windows still show it.
pub(super) const OLD_AVATAR_MS: i64 = 3_600_000;

/// The books, on a connection of their own. The calls block on the disk.
#[derive(Debug)]
pub(crate) struct FileBooks {
    connection: Connection,
}

/// A file that is to be entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) owner: &'a UserId,
    pub(crate) bytes: u64,
    pub(crate) kind: FileKind,
    /// How long nothing may refer to it.
    pub(crate) unused_ms: i64,
    /// What its owner's files may have together, in bytes; 0: there is no limit.
    pub(crate) quota_bytes: u64,
}

/// A file that was found, and may be in the books already.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) kind: FileKind,
    pub(crate) written_at_ms: i64,
}

/// Files that nothing refers to, as far as they were looked at.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Their names.
    pub(crate) unused: Vec<String>,
    /// How many were looked at; less than was asked for if there are no more.
    pub(crate) seen: usize,
}

type Result<T> = rusqlite::Result<T>;

impl FileBooks {
    /// Opens the database of a data folder, and brings it to the newest schema if nobody has.
    pub(crate) fn open(folder: &DataFolder) -> std::result::Result<Self, OpenError> {
        open::open_locked(folder).map(|connection| Self { connection })
    }

    /// Enters a file that is not there yet; false if its owner has no room for it.
    pub(crate) fn enter(&mut self, file: &NewFile<'_>) -> Result<bool> {
        let now_ms = now_ms();
        // The sum and the entry are one step, whoever else enters something.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let owner: Option<i64> = transaction
            .prepare_cached(sql::OWNER)?
            .query_row([file.owner.as_str()], |row| row.get(0))
            .optional()?;
        if file.quota_bytes > 0 {
            let used: i64 = transaction.prepare_cached(sql::USED)?.query_row([owner], |row| row.get(0))?;
            if used.unsigned_abs().saturating_add(file.bytes) > file.quota_bytes {
                return Ok(false);
            }
        }
        let check_at_ms = now_ms.saturating_add(file.unused_ms);
        let row = params![file.name, owner, signed(file.bytes), number(file.kind), now_ms, check_at_ms];
        transaction.prepare_cached(sql::ENTER)?.execute(row)?;
        transaction.commit()?;
        Ok(true)
    }

    /// Strikes out files that are not there any more.
    pub(crate) fn strike<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for name in names {
            transaction.prepare_cached(sql::STRIKE)?.execute([name])?;
        }
        transaction.commit()
    }

    /// Looks at some of the files that are to be looked at by now, and gives those to which nothing refers. Nothing comes to refer to them
    /// any more: they go.
    pub(crate) fn due(&mut self, limit: u32) -> Result<Due> {
        let now_ms = now_ms();
        let names = {
            let mut statement = self.connection.prepare_cached(sql::DUE)?;
            let rows = statement.query_map(params![now_ms, limit], |row| row.get::<_, String>(0))?;
            rows.collect::<Result<Vec<_>>>()?
        };
        let mut due = Due { unused: Vec::new(), seen: names.len() };
        if names.is_empty() {
            return Ok(due);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for name in names {
            if transaction.prepare_cached(sql::IS_USED)?.exists([&name])? {
                transaction.prepare_cached(sql::CHECK_AT)?.execute(params![name, None::<i64>])?;
            } else {
                transaction.prepare_cached(sql::GOES)?.execute([&name])?;
                due.unused.push(name);
            }
        }
        transaction.commit()?;
        Ok(due)
    }

    /// Has a file looked at again after a while.
    pub(crate) fn postpone(&mut self, name: &str, by_ms: i64) -> Result<()> {
        let at_ms = now_ms().saturating_add(by_ms);
        self.connection.prepare_cached(sql::CHECK_AT)?.execute(params![name, Some(at_ms)]).map(drop)
    }

    /// Enters those of the files that are not in the books, for whoever has sent each first, or has it as its picture. Those that
    /// nothing refers to are entered if they are `ours`, to be looked at again. Gives how many were entered.
    pub(crate) fn adopt(&mut self, files: &[FoundFile], ours: bool, unused_ms: i64) -> Result<usize> {
        let check_at_ms = now_ms().saturating_add(unused_ms);
        let mut adopted = 0;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for file in files {
            if transaction.prepare_cached(sql::IS_ENTERED)?.exists([&file.name])? {
                continue;
            }
            let owner: Option<i64> =
                transaction.prepare_cached(sql::SENDER)?.query_row([&file.name], |row| row.get(0))?;
            if owner.is_some() || ours {
                let (bytes, kind) = (signed(file.bytes), number(file.kind));
                let row = params![file.name, owner, bytes, kind, file.written_at_ms, check_at_ms];
                adopted += transaction.prepare_cached(sql::ENTER)?.execute(row)?;
            }
        }
        transaction.commit()?;
        Ok(adopted)
    }
}

/// Has the file of a name looked at from a time on; of one that is not in the books, nothing.
pub(super) fn release(connection: &Connection, name: &str, at_ms: i64) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    connection.prepare_cached(sql::CHECK_AT)?.execute(params![name, Some(at_ms)]).map(drop)
}

/// Whether a message, or a user as its picture, may come to refer to what has this name. A bare one is that of a file, which is in the
/// books, and stays, or was referred to before there were books; anything else, like a URL of classic clients, is not ours.
pub(super) fn may_be_named(connection: &Connection, name: &str) -> Result<bool> {
    if name.is_empty() || name.contains(['/', ':']) {
        return Ok(true);
    }
    connection.prepare_cached(sql::IS_THERE)?.exists([name])
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A kind as messages have it.
const fn number(kind: FileKind) -> u8 {
    match kind {
        FileKind::Other => 2,
        FileKind::Image => 3,
        FileKind::Audio => 4,
        FileKind::Video => 5,
    }
}

/// The statements. None of them may read more than what it needs: a test looks at their plans.
mod sql {
    pub(super) const OWNER: &str = "SELECT id FROM users WHERE uuid = ?1";

    pub(super) const USED: &str = "SELECT coalesce(sum(bytes), 0) FROM files WHERE owner_id = ?1";

    pub(super) const ENTER: &str =
        "INSERT INTO files (name, owner_id, bytes, kind, created_at_ms, check_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

    pub(super) const STRIKE: &str = "DELETE FROM files WHERE name = ?1";

    pub(super) const DUE: &str =
        "SELECT name FROM files WHERE check_at_ms <= ?1 ORDER BY check_at_ms LIMIT ?2";

    pub(super) const CHECK_AT: &str = "UPDATE files SET check_at_ms = ?2 WHERE name = ?1";

    pub(super) const IS_ENTERED: &str = "SELECT 1 FROM files WHERE name = ?1";

    pub(super) const GOES: &str = "UPDATE files SET is_going = 1 WHERE name = ?1";

    pub(super) const IS_THERE: &str = "SELECT 1 FROM files WHERE name = ?1 AND NOT is_going
         UNION ALL SELECT 1 FROM messages WHERE url = ?1 AND url <> '' LIMIT 1";

    pub(super) const IS_USED: &str = "SELECT 1 FROM messages WHERE url = ?1 AND url <> ''
         UNION ALL SELECT 1 FROM users WHERE avatar = ?1 AND avatar <> '' LIMIT 1";

    /// Who has sent it first, or has it as its picture.
    pub(super) const SENDER: &str = "SELECT coalesce(
         (SELECT sender_id FROM messages WHERE url = ?1 AND url <> '' ORDER BY rowid LIMIT 1),
         (SELECT id FROM users WHERE avatar = ?1 AND avatar <> '' LIMIT 1))";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books() -> (tempfile::TempDir, FileBooks) {
        let folder = tempfile::tempdir().unwrap();
        let books = FileBooks::open(&DataFolder::lock(folder.path()).unwrap()).unwrap();
        let insert =
            "INSERT INTO users (uuid, created_at_ms, updated_at_ms) VALUES ('alice', 0, 0), ('bob', 0, 0)";
        books.connection.execute_batch(insert).unwrap();
        (folder, books)
    }

    fn enter(books: &mut FileBooks, name: &str, owner: &str, bytes: u64, quota_bytes: u64) -> bool {
        let owner = &UserId::new(owner).unwrap();
        let kind = FileKind::Image;
        books.enter(&NewFile { name, owner, bytes, kind, unused_ms: -1, quota_bytes }).unwrap()
    }

    #[test]
    fn a_users_files_have_so_many_bytes_together_and_no_more() {
        let (_folder, mut books) = books();
        assert!(enter(&mut books, "a", "alice", 60, 100));
        assert!(!enter(&mut books, "b", "alice", 41, 100));
        assert!(enter(&mut books, "b", "alice", 40, 100));
        assert!(!enter(&mut books, "c", "alice", 1, 100));
        assert!(enter(&mut books, "c", "bob", 100, 100));
        assert!(enter(&mut books, "d", "alice", 1 << 40, 0), "without a limit");
        books.strike(["a", "d"]).unwrap();
        assert!(enter(&mut books, "e", "alice", 60, 100));
        assert!(!enter(&mut books, "f", "bob", u64::MAX, 100));
    }

    #[test]
    fn what_nothing_refers_to_is_found_and_what_something_refers_to_is_left_alone() {
        let (_folder, mut books) = books();
        for name in ["sent", "avatar", "unused", "later"] {
            enter(&mut books, name, "alice", 1, 0);
        }
        books
            .connection
            .execute_batch(
                "UPDATE users SET avatar = 'avatar' WHERE uuid = 'bob';
                 INSERT INTO messages (conversation_id, seq, sender_id, message_id, content_type, content, sender_name, url,
                                       file_suffix, stored_at_ms)
                 VALUES (1, 1, 1, zeroblob(16), 3, '', '', 'sent', '', 0)",
            )
            .unwrap();
        books.postpone("later", 60_000).unwrap();
        let due = books.due(10).unwrap();
        assert_eq!((due.unused, due.seen), (vec!["unused".to_owned()], 3));
        books.strike(["unused"]).unwrap();
        assert_eq!(books.due(10).unwrap().seen, 0);
        books.connection.execute_batch("UPDATE users SET avatar = ''").unwrap();
        release(&books.connection, "avatar", 0).unwrap();
        release(&books.connection, "unknown", 0).unwrap();
        release(&books.connection, "", 0).unwrap();
        assert_eq!(books.due(10).unwrap().unused, ["avatar"]);
    }

    #[test]
    fn what_goes_and_what_was_never_there_cannot_be_named_any_more() {
        let (_folder, mut books) = books();
        let named = |books: &FileBooks, name: &str| may_be_named(&books.connection, name).unwrap();
        assert!(!named(&books, "file"), "it never was");
        enter(&mut books, "file", "alice", 1, 0);
        assert!(named(&books, "file"));
        assert_eq!(books.due(10).unwrap().unused, ["file"]);
        assert!(!named(&books, "file"), "it is being removed");
        books.postpone("file", 60_000).unwrap();
        assert!(!named(&books, "file"), "it will be, though that has failed once");
        books.strike(["file"]).unwrap();
        assert!(!named(&books, "file"), "it has gone");
        for foreign in ["", "https://example.org/cat.png", "files/cat.png"] {
            assert!(named(&books, foreign), "{foreign:?} is not ours");
        }
    }

    #[test]
    fn files_of_before_are_entered_for_whoever_has_sent_them() {
        let (_folder, mut books) = books();
        books.connection.execute_batch("UPDATE users SET avatar = 'face' WHERE uuid = 'bob'").unwrap();
        let file = |name: &str| FoundFile {
            name: name.to_owned(),
            bytes: 70,
            kind: FileKind::Image,
            written_at_ms: 5,
        };
        let files = [file("face"), file("lost")];
        assert_eq!(books.adopt(&files, false, 0).unwrap(), 1);
        assert_eq!(books.adopt(&files, false, 0).unwrap(), 0);
        assert!(!enter(&mut books, "more", "bob", 31, 100), "it counts");
        assert_eq!(books.adopt(&files, true, -1).unwrap(), 1);
        assert_eq!(books.due(10).unwrap().unused, ["lost"]);
    }

    #[test]
    fn no_statement_scans_or_sorts() {
        let (_folder, books) = books();
        for statement in [
            sql::OWNER,
            sql::USED,
            sql::STRIKE,
            sql::DUE,
            sql::CHECK_AT,
            sql::IS_ENTERED,
            sql::GOES,
            sql::IS_THERE,
            sql::IS_USED,
            sql::SENDER,
        ] {
            let mut plan = books.connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let parameters = vec![None::<i64>; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3));
            let steps: Vec<String> = steps.unwrap().collect::<Result<_>>().unwrap();
            let is_bad = |step: &String| {
                (step.starts_with("SCAN ") && step != "SCAN CONSTANT ROW") || step.starts_with("USE TEMP")
            };
            assert!(!steps.iter().any(is_bad), "{statement}: {steps:?}");
        }
    }
}
