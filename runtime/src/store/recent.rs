//! A user's conversations, from the one in which something was said last.

use std::collections::BTreeMap;

use rusqlite::Connection;
use switchboard_engine::Head;

use super::reads::{self, GROUPS};

/// Where a conversation is among a user's, newest first: when something was last put into what the user may read of it, and its
/// number, as many are of one commit.
pub(crate) type Recency = (i64, i64);

/// So many of a user's conversations at the most, from after a place on, each with its own. All are looked at, and no more of them
/// than these are kept in memory.
pub(super) fn heads_before(
    connection: &Connection,
    user: i64,
    before: Option<Recency>,
    most: usize,
) -> rusqlite::Result<Vec<(Recency, Head)>> {
    let mut newest = BTreeMap::new();
    for (list, sql) in [(0, sql::LOW), (1, sql::HIGH), (GROUPS, sql::OF_GROUPS)] {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([user])?;
        while let Some(row) = rows.next()? {
            let recency = (row.get("last_at_ms")?, row.get("conversation")?);
            if before.is_some_and(|before| recency >= before) {
                continue;
            }
            let has_room =
                newest.len() < most || newest.first_key_value().is_some_and(|(oldest, _)| *oldest < recency);
            if has_room && let Some(head) = reads::head(row, list)? {
                newest.insert(recency, head);
                if newest.len() > most {
                    newest.pop_first();
                }
            }
        }
    }
    Ok(newest.into_iter().rev().collect())
}

/// The statements: rows of what [`reads::head`] takes, and of how recent each is. None of them may read more than the user's
/// conversations: a test looks at their plans.
mod sql {
    pub(super) const LOW: &str =
        "SELECT conversations.id, epoch, head_seq, 1, users.uuid, low_delivered, low_read, high_delivered,
             high_read, last_at_ms, conversations.id AS conversation
         FROM conversations INDEXED BY conversations_by_low CROSS JOIN users ON users.id = user_high
         WHERE user_low = ?1 AND head_seq > 0";

    /// The conversation with oneself is in the other list.
    pub(super) const HIGH: &str =
        "SELECT conversations.id, epoch, head_seq, 1, users.uuid, high_delivered, high_read, low_delivered,
             low_read, last_at_ms, conversations.id AS conversation
         FROM conversations INDEXED BY conversations_by_high CROSS JOIN users ON users.id = user_low
         WHERE user_high = ?1 AND user_low <> ?1 AND head_seq > 0";

    /// To who has left a group, its leaving is the last that was put there.
    pub(super) const OF_GROUPS: &str =
        "SELECT groups.id, epoch, min(head_seq, coalesce(last_seq, head_seq)), first_seq, groups.uuid,
             delivered_seq, read_seq,
             iif(last_seq IS NULL, last_at_ms, coalesce((SELECT stored_at_ms FROM messages
                 WHERE conversation_id = conversations.id AND seq = last_seq), 0)) AS last_at_ms,
             conversations.id AS conversation
         FROM members CROSS JOIN groups ON groups.id = members.group_id
             CROSS JOIN conversations ON conversations.group_id = members.group_id
         WHERE members.user_id = ?1 AND head_seq > 0";
}

#[cfg(test)]
mod tests {
    use super::super::open::{DataFolder, open_locked};
    use super::*;

    #[test]
    fn no_statement_scans_or_sorts() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_locked(&DataFolder::lock(folder.path()).unwrap()).unwrap();
        for statement in [sql::LOW, sql::HIGH, sql::OF_GROUPS] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let parameters = vec![None::<i64>; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3));
            let steps: Vec<String> = steps.unwrap().collect::<Result<_, _>>().unwrap();
            let is_good =
                |step: &String| step.starts_with("SEARCH ") || step.starts_with("CORRELATED SCALAR SUBQUERY");
            assert!(!steps.is_empty() && steps.iter().all(is_good), "{statement}: {steps:?}");
        }
    }
}
