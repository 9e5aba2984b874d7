//! What was said before: from the store and, where that has no more, from the server.

use std::{sync::Arc, time::Duration};

use switchboard_engine::{LogMessage, Recipient};

use crate::client::{Client, OlderError};

use super::conversation::is_change;

/// How long the server may take where somebody waits for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Entries that are read at a time, at least.
const PAGE_ENTRIES: u32 = 20;
/// Pages that are read at most: a message may have been edited any number of times.
const PAGES_LIMIT: usize = 50;

/// Whether to wait for the server as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it takes, if there is nothing else to show.
    Endless,
    /// If there is a connection, for a short time.
    Short,
}

/// Entries of a conversation before a place (0: the newest), with `count` among them that are no edits or recalls, if
/// there are so many.
pub(super) async fn past(
    client: Client,
    conversation: Recipient,
    mut before: u64,
    count: u32,
    patience: Patience,
) -> Result<Vec<Arc<LogMessage>>, OlderError> {
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let limit = count.max(PAGE_ENTRIES);
    let mut entries: Vec<Arc<LogMessage>> = Vec::new();
    for _ in 0..PAGES_LIMIT {
        if before == 1 || beginning_of_last(&entries, wanted).is_some() {
            break;
        }
        // The store's failure is told by the client's events.
        let mut older = client.messages(conversation.clone(), before, limit).await.unwrap_or_default();
        if older.is_empty() {
            let fetch = client.fetch_older(conversation.clone(), before, limit);
            let fetched = if patience == Patience::Endless && entries.is_empty() {
                fetch.await
            } else if !client.state().is_connected() {
                break;
            } else {
                match tokio::time::timeout(FETCH_TIMEOUT, fetch).await {
                    Ok(fetched) => fetched,
                    Err(_) => break,
                }
            };
            older = match fetched {
                Ok(older) => older.messages,
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => break,
            };
        }
        let Some(first) = older.first() else { break };
        before = first.seq;
        older.append(&mut entries);
        entries = older;
    }
    Ok(entries.split_off(beginning_of_last(&entries, wanted).unwrap_or(0)))
}

/// Where the last so many entries begin that are no edits or recalls; none if there are fewer.
fn beginning_of_last(entries: &[Arc<LogMessage>], wanted: usize) -> Option<usize> {
    let mut newest_first = entries.iter().enumerate().rev().filter(|(_, entry)| !is_change(entry));
    newest_first.nth(wanted.checked_sub(1)?).map(|(index, _)| index)
}
