//! How much there is.

use super::{Directory, Result, now_ms};

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Users.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Conversations in which something was said.
    pub conversations: u64,
    /// Entries of all logs.
    pub entries: u64,
    /// Sessions that have not ended.
    pub sessions: u64,
}

impl Directory {
    /// How much there is of everything.
    ///
    /// # Errors
    /// If the database fails.
    pub fn totals(&self) -> Result<Totals> {
        // Nothing is ever deleted from the messages, so the last number is how many there are: to count them reads all of an index.
        let select = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM groups),
                          (SELECT count(*) FROM conversations WHERE head_seq > 0),
                          (SELECT coalesce(max(rowid), 0) FROM messages),
                          (SELECT count(*) FROM sessions WHERE expires_at_ms > ?1)";
        Ok(self.connection.prepare_cached(select)?.query_row([now_ms()], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(Totals {
                users: count(0)?,
                groups: count(1)?,
                conversations: count(2)?,
                entries: count(3)?,
                sessions: count(4)?,
            })
        })?)
    }
}
