//! Looking for what was said by its words.

use rusqlite::{OptionalExtension, params};
use switchboard_engine::{GroupId, MessageId, Recipient, StoredMessage, Subject, UserId};

use super::super::words;
use super::{Directory, DirectoryError, Result, existing_user, find_user, user_id};

/// Words that are looked for at the most.
pub const SEARCH_WORDS: usize = 16;

/// Entries of the index that are looked at for one page: some are of times at which the user was no member.
const SCANNED: u32 = 1_000;

/// Groups whose messages are looked for at the most, the newest.
const GROUPS: u32 = 2_000;

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Who.
    pub user: UserId,
    /// Words, all of which a message must have; the last one may be the beginning of a word.
    pub words: Vec<String>,
    /// Only here.
    pub conversation: Option<Recipient>,
    /// Only what was stored before the message of this number.
    pub before: Option<i64>,
    /// How much at the most.
    pub limit: u32,
}

/// A message, and where it was said.
type Found = (Recipient, StoredMessage);

/// The words in a text; at most [`SEARCH_WORDS`], the rest is left out.
#[must_use]
pub fn search_words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words = words.filter(|word| word.chars().any(char::is_alphanumeric));
    words.take(SEARCH_WORDS).map(str::to_owned).collect()
}

impl Directory {
    /// Messages that have all these words, the newest first, of conversations that the user takes part in or has taken part in
    /// when they were said; and where to go on, if there may be more.
    ///
    /// # Errors
    /// If there is no such user, no words, no such conversation, or the database fails.
    pub fn search(&self, search: &Search) -> Result<(Vec<Found>, Option<i64>)> {
        let transaction = self.connection.unchecked_transaction()?;
        let user = existing_user(&self.connection, &search.user)?;
        let places = match &search.conversation {
            Some(conversation) => self.place_of(user, conversation)?,
            None => self.places_of(user)?,
        };
        let expression = format!("places : ({places}) AND content : ({})", terms(&search.words));
        let before = search.before.unwrap_or(i64::MAX);
        let hits = words::find(&transaction, user, &expression, (before, SCANNED))?;
        let is_all = u32::try_from(hits.len()).unwrap_or(u32::MAX) < SCANNED;
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for (index, rowid) in hits.iter().enumerate() {
            found.extend(self.readable(user, &search.user, *rowid)?);
            if found.len() == limit {
                let more = index + 1 < hits.len() || !is_all;
                return Ok((found, Some(*rowid).filter(|_| more)));
            }
        }
        Ok((found, hits.last().copied().filter(|_| !is_all)))
    }

    /// The words of all places where a user may have read something.
    fn places_of(&self, user: i64) -> Result<String> {
        let select = "SELECT group_id FROM members WHERE user_id = ?1 ORDER BY group_id DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(select)?;
        let groups = statement.query_map(params![user, GROUPS], |row| row.get::<_, i64>(0))?;
        let mut places = words::user(user);
        for group in groups {
            places.push_str(" OR ");
            places.push_str(&words::group(group?));
        }
        Ok(places)
    }

    fn place_of(&self, user: i64, conversation: &Recipient) -> Result<String> {
        match conversation {
            Recipient::User(other) => {
                let other = find_user(&self.connection, other)?;
                let other = other.ok_or_else(|| DirectoryError::NoSuchName(String::new()))?;
                Ok(format!("{} AND {}", words::user(user), words::user(other)))
            }
            Recipient::Group(group) => {
                // Whether there is a group that one was never in is not for one's eyes.
                let select = "SELECT group_id FROM members CROSS JOIN groups ON groups.id = group_id
                              WHERE user_id = ?1 AND groups.uuid = ?2";
                let mut statement = self.connection.prepare_cached(select)?;
                let number =
                    statement.query_row(params![user, group.as_str()], |row| row.get(0)).optional()?;
                Ok(words::group(number.ok_or(DirectoryError::GroupNotOpen)?))
            }
        }
    }

    /// The message of this number, and where it was said, if the user may read it as it is.
    fn readable(&self, user: i64, own: &UserId, rowid: i64) -> Result<Option<Found>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, message_id, sender.uuid, content_type, content, url, stored_at_ms, changed_seq,
                 iif(sender_name IN ('', sender.uuid), coalesce(sender.username, ''), sender_name),
                 sender.avatar, groups.uuid, low.uuid, high.uuid
             FROM messages
                 CROSS JOIN conversations ON conversations.id = conversation_id
                 CROSS JOIN users AS sender ON sender.id = sender_id
                 LEFT JOIN groups ON groups.id = conversations.group_id
                 LEFT JOIN members ON members.group_id = conversations.group_id AND members.user_id = ?2
                 LEFT JOIN users AS low ON low.id = user_low
                 LEFT JOIN users AS high ON high.id = user_high
             WHERE messages.rowid = ?1 AND content_type <= 5 AND NOT is_recalled AND (
                 user_low = ?2 OR user_high = ?2
                 -- Who has left is not told of later edits.
                 OR (seq >= first_seq AND (last_seq IS NULL OR max(seq, changed_seq) <= last_seq)))",
        )?;
        let mut rows = statement.query([rowid, user])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let conversation = if let Some(group) = row.get::<_, Option<String>>(10)? {
            Recipient::Group(GroupId::new(&group).map_err(DirectoryError::ForeignId)?)
        } else {
            let (low, high) = (user_id(row, 11)?, user_id(row, 12)?);
            Recipient::User(if low == *own { high } else { low })
        };
        let message = StoredMessage {
            seq: row.get::<_, i64>(0)?.unsigned_abs(),
            id: MessageId(row.get(1)?),
            sender: user_id(row, 2)?,
            content_type: row.get(3)?,
            content: row.get(4)?,
            url: row.get(5)?,
            stored_at_ms: row.get(6)?,
            changed_seq: row.get::<_, i64>(7)?.unsigned_abs(),
            sender_name: row.get(8)?,
            avatar: row.get(9)?,
            subject: Subject::Message,
            is_recalled: false,
        };
        Ok(Some((conversation, message)))
    }
}

/// Words as FTS5's language has them: each in quotes, so that none of them is an operator.
fn terms(words: &[String]) -> String {
    let mut terms = String::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            terms.push_str(" AND ");
        }
        terms.push('"');
        terms.push_str(&word.replace('"', "\"\""));
        terms.push('"');
        if index + 1 == words.len() {
            terms.push_str(" *");
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_looked_for_is_an_operator() {
        let words = search_words(" a\"b  OR\tNEAR(x) \0 - * ^y ");
        assert_eq!(words, ["a\"b", "OR", "NEAR(x)", "^y"]);
        assert_eq!(terms(&words), "\"a\"\"b\" AND \"OR\" AND \"NEAR(x)\" AND \"^y\" *");
        assert_eq!(search_words(&"x ".repeat(100)).len(), SEARCH_WORDS);
        assert_eq!(search_words("\u{0} !! ..."), [""; 0]);
    }
}
