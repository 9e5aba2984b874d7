//! What the store commits: as its sender's, as the next of its log, as often as servers have received it, and in the order in which one
//! connection has said it.

use super::{Spec, logs::NO_MESSAGE};
use crate::{
    check::{MessageKey, Said},
    store::Stored,
    wire::{self, session::LogKey},
};

impl Spec {
    /// What the directory has changed is in a group's log.
    pub(crate) fn entered(&mut self, log: LogKey, stored: &Stored) {
        if !self.is_on {
            return;
        }
        let seq = stored.seq;
        self.clock_ms = stored.stored_at_ms + 1;
        self.logs.commit(NO_MESSAGE, log, stored, self.now_us);
        self.group_changes(log, stored);
        let head = self.heads.entry(log).or_insert(0);
        *head += 1;
        let expected = *head;
        if seq != expected {
            self.fail("one-order", |_| {
                format!("a change is number {seq} of its log, and {expected} is next")
            });
        }
    }

    /// The store has committed a message as its sender's, as this number of this conversation's log.
    pub(crate) fn committed(&mut self, key: MessageKey, said: &Said, log: LogKey, stored: &Stored) {
        if !self.is_on {
            return;
        }
        let (sender, seq) = (wire::index(stored.message.sender.as_str()).unwrap_or(u16::MAX), stored.seq);
        self.judge_entry(log, stored);
        self.clock_ms = stored.stored_at_ms + 1;
        self.logs.commit(key, log, stored, self.now_us);
        self.keeps(key, seq);
        self.group_changes(log, stored);
        let head = self.heads.entry(log).or_insert(0);
        *head += 1;
        let expected = *head;
        if seq != expected {
            self.fail("one-order", |_| {
                format!("{} is number {seq} of its log, and {expected} is next", said.token)
            });
        }
        if sender != said.sender {
            self.fail("no-spoof", |_| {
                format!("{} is kept as said by u{sender}, and u{} said it", said.token, said.sender)
            });
        }
        let Some(word) = self.words.get_mut(key as usize) else { return };
        word.commits += 1;
        let word = *word;
        if word.commits > if said.is_session { 1 } else { word.received } {
            self.fail("exactly-once", |_| {
                format!(
                    "{} is committed {} times, and was received {} times",
                    said.token, word.commits, word.received
                )
            });
        }
        let orderly = word.received == 1 && self.health.store_was_well(word.received_us);
        let last = &mut self.lines[word.conn as usize].committed;
        let overtaken = orderly && word.number < *last;
        if word.received == 1 {
            *last = word.number.max(*last);
        }
        if overtaken {
            self.fail("one-order", |_| {
                format!("{} is committed after a later one of its connection", said.token)
            });
        }
    }
}
