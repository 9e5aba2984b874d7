//! New epochs for logs that have lost something.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::mark::Mark;
use super::open::{self, DATABASE_FILE, DataFolder, OpenError};

/// Gives every conversation of a data folder a new epoch, so that clients fetch again all that they have:
/// for an operator who has restored a backup of the whole folder, which the store cannot notice by itself.
/// Returns how many conversations there are. To be done before the server starts on what was restored.
///
/// # Errors
/// If the database cannot be opened or written; see [`OpenError`].
pub fn renew_epochs(folder: &DataFolder) -> Result<usize, OpenError> {
    let mut connection = open::open_locked(folder)?;
    let renewed = (|| {
        settle(&mut connection, folder)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let conversations = renew(&transaction)?;
        transaction.commit()?;
        Ok(conversations)
    })();
    renewed.map_err(|source| open::classify(folder.path().join(DATABASE_FILE), source))
}

/// Notices that the database is older than the mark, and gives its logs new epochs then; gives the mark, which
/// agrees with the database.
pub(crate) fn settle(connection: &mut Connection, folder: &DataFolder) -> rusqlite::Result<Mark> {
    let mut mark = Mark::open(folder.path());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut commits: i64 = transaction.query_row("SELECT commits FROM store_state", [], |row| row.get(0))?;
    if let Some(seen) = mark.commits().filter(|seen| *seen > commits) {
        let conversations = renew(&transaction)?;
        tracing::warn!(
            commits,
            seen,
            conversations,
            "the database is older than what this folder has held: it was restored from a copy. Messages may \
             be lost; clients are told to fetch their conversations again"
        );
        // Beyond what was seen: to put the same copy in its place once more is another loss.
        commits = seen.saturating_add(1);
        transaction.execute("UPDATE store_state SET commits = ?1", [commits])?;
    }
    transaction.commit()?;
    mark.write(commits);
    Ok(mark)
}

fn renew(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    // What is there has arrived as far as it had; what was lost and takes its place has not.
    transaction.execute(
        "UPDATE received SET seq = min(seq, (SELECT head_seq FROM conversations WHERE id = conversation_id))",
        [],
    )?;
    transaction.execute("UPDATE conversations SET epoch = coalesce(nullif(random(), 0), 1)", [])
}
