//! When users were last here: kept for each, and told to those who have something in common with it.

use rusqlite::{Connection, OptionalExtension, Row};
use switchboard_engine::{Answer, UserId};

/// Notes that a user was here until now. The time only moves forwards, whatever the clock does.
pub(super) fn store(connection: &Connection, user: &UserId, now_ms: i64) -> rusqlite::Result<Answer> {
    let mut statement = connection.prepare_cached(sql::STORE)?;
    let at_ms = statement.query_row((user.as_str(), now_ms), |row| row.get(0)).optional()?;
    Ok(at_ms.map_or(Answer::Refused, |at_ms| Answer::Seen { at_ms: Some(at_ms) }))
}

/// When a user was last here, if the watcher may know: they have talked, or are in a group together.
pub(super) fn load(connection: &Connection, watcher: &UserId, user: &UserId) -> rusqlite::Result<Answer> {
    let known = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?));
    let mut find = connection.prepare_cached(sql::USER)?;
    let Some((user, at_ms)) = find.query_row([user.as_str()], known).optional()? else {
        return Ok(Answer::Refused);
    };
    let Some((watcher, _)) = find.query_row([watcher.as_str()], known).optional()? else {
        return Ok(Answer::Refused);
    };
    let may = watcher == user
        || connection.prepare_cached(sql::HAVE_TALKED)?.exists([watcher.min(user), watcher.max(user)])?
        || connection.prepare_cached(sql::IN_A_GROUP)?.exists([watcher, user])?;
    Ok(if may { Answer::Seen { at_ms } } else { Answer::Refused })
}

/// The statements. None of them may read more than what it needs: a test looks at their plans.
mod sql {
    pub(super) const STORE: &str = "UPDATE users SET seen_at_ms = max(coalesce(seen_at_ms, 0), ?2)
         WHERE uuid = ?1 RETURNING seen_at_ms";

    pub(super) const USER: &str = "SELECT id, seen_at_ms FROM users WHERE uuid = ?1";

    pub(super) const HAVE_TALKED: &str =
        "SELECT 1 FROM conversations WHERE user_low = ?1 AND user_high = ?2 AND head_seq > 0";

    pub(super) const IN_A_GROUP: &str = "SELECT 1 FROM members AS mine
         CROSS JOIN members AS theirs ON theirs.group_id = mine.group_id AND theirs.user_id = ?2
         WHERE mine.user_id = ?1 AND mine.last_seq IS NULL AND theirs.last_seq IS NULL LIMIT 1";
}

#[cfg(test)]
mod tests {
    use super::super::open::{DataFolder, open_locked};
    use super::*;

    #[test]
    fn no_statement_scans_or_sorts() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_locked(&DataFolder::lock(folder.path()).unwrap()).unwrap();
        for statement in [sql::STORE, sql::USER, sql::HAVE_TALKED, sql::IN_A_GROUP] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let parameters = vec![None::<i64>; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3));
            let steps: Vec<String> = steps.unwrap().collect::<Result<_, _>>().unwrap();
            assert!(!steps.is_empty());
            assert!(steps.iter().all(|step| step.starts_with("SEARCH ")), "{statement}: {steps:?}");
        }
    }
}
