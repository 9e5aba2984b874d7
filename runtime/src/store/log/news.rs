//! What is new in the directory: this store's own changes of groups, and what others have written.

use rusqlite::Row;
use switchboard_engine::{DirectoryChange, DirectoryChangeKind, GroupId, UserId};

use super::{Log, valid};

/// Changes of the directory that are read at a time.
const CHANGES_AT_A_TIME: i64 = 4_096;

impl Log<'_> {
    /// The changes of the directory since the last that this gave, oldest first; some of them if they are
    /// many, so that it is to be called until it gives none. To be called outside transactions.
    pub(crate) fn directory_changes(&mut self) -> rusqlite::Result<Vec<DirectoryChange>> {
        self.notice_foreign_writes()?;
        let mut changes = Vec::new();
        if !self.unannounced {
            return Ok(changes);
        }
        let mut newest = self.revision;
        {
            let mut rows = self.statements.changes.query([self.revision, CHANGES_AT_A_TIME])?;
            while let Some(row) = rows.next()? {
                newest = row.get(0)?;
                changes.extend(change(row)?);
            }
        }
        // Only what was skipped can have made this empty while there was something: then look on.
        if newest == self.revision {
            self.unannounced = false;
        }
        self.revision = newest;
        Ok(changes)
    }

    /// Whether [`directory_changes`](Self::directory_changes) has more to give.
    pub(crate) fn has_unannounced(&self) -> bool {
        self.unannounced
    }
}

/// A row of the directory's log as the engine wants it; none if it makes no sense.
fn change(row: &Row<'_>) -> rusqlite::Result<Option<DirectoryChange>> {
    let Some(user) = valid(UserId::new(row.get_ref(1)?.as_str()?)) else { return Ok(None) };
    let group = match row.get_ref(3)?.as_str_or_null()? {
        Some(group) => valid(GroupId::new(group)),
        None => None,
    };
    let avatar: Option<Box<str>> = row.get(4)?;
    let kind = match (row.get::<_, i64>(2)?, group, avatar) {
        (1, Some(group), _) => DirectoryChangeKind::Joined(group),
        (2, Some(group), _) => DirectoryChangeKind::Left(group),
        (3, _, Some(avatar)) => DirectoryChangeKind::Avatar(avatar),
        _ => return Ok(None),
    };
    Ok(Some(DirectoryChange { revision: row.get::<_, i64>(0)?.unsigned_abs(), user, kind }))
}
