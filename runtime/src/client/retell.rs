//! What the store has and the application had not taken when the last client of the store ended: told again, in order,
//! before anything new.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use switchboard_engine::{LogCursor, LogMessage, Recipient};

use super::event::Event;

/// Messages that are read from the store at a time.
const PAGE_MESSAGES: u32 = 64;

/// A part of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Untaken {
    conversation: Recipient,
    /// That the log before this one is gone was not taken.
    reset: bool,
    epoch: u64,
    /// From the place after this one on.
    after_seq: u64,
    /// Up to this one.
    last_seq: u64,
}

/// What is left to tell again.
#[derive(Debug)]
pub(super) struct Retelling(VecDeque<Untaken>);

/// Messages to read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) conversation: Recipient,
    pub(super) after_seq: u64,
    pub(super) limit: u32,
}

impl Retelling {
    /// What lies between how far the application has `taken` conversations and how far the store has them, whose
    /// `cursors` are those that moved last first.
    pub(super) fn new(cursors: &[LogCursor], taken: Vec<LogCursor>) -> Self {
        let mut taken: BTreeMap<_, _> =
            taken.into_iter().map(|cursor| (cursor.conversation, (cursor.epoch, cursor.seq))).collect();
        let mut untaken: VecDeque<_> = cursors
            .iter()
            .rev()
            .filter_map(|LogCursor { conversation, epoch, seq }| {
                // There is no log of epoch 0: nothing of any was taken.
                let (taken_epoch, taken_seq) = taken.remove(conversation).unwrap_or_default();
                let same = taken_epoch == *epoch;
                let after_seq = if same { taken_seq } else { 0 };
                let reset = !same && taken_epoch != 0;
                (reset || after_seq < *seq).then(|| Untaken {
                    conversation: conversation.clone(),
                    reset,
                    epoch: *epoch,
                    after_seq,
                    last_seq: *seq,
                })
            })
            .collect();
        // Logs that are gone, without a new one so far.
        for (conversation, _) in taken.into_iter().filter(|(_, (epoch, _))| *epoch != 0) {
            untaken.push_front(Untaken { conversation, reset: true, epoch: 0, after_seq: 0, last_seq: 0 });
        }
        Self(untaken)
    }

    /// Nobody listens.
    pub(super) fn stop(&mut self) {
        self.0.clear();
    }

    /// What to read next.
    pub(super) fn next(&self) -> Option<Page> {
        let Untaken { conversation, after_seq, .. } = self.0.front()?;
        Some(Page { conversation: conversation.clone(), after_seq: *after_seq, limit: PAGE_MESSAGES })
    }

    /// What was read, as it is told.
    pub(super) fn read(&mut self, messages: Vec<Arc<LogMessage>>) -> Vec<Event> {
        let Some(Untaken { conversation, reset, epoch, after_seq, last_seq }) = self.0.front_mut() else {
            return Vec::new();
        };
        let epoch = *epoch;
        let mut events = Vec::with_capacity(messages.len());
        if std::mem::take(reset) {
            events.push(Event::Reset { conversation: conversation.clone() });
        }
        let last = u32::try_from(messages.len()).is_ok_and(|read| read < PAGE_MESSAGES);
        let skipped = |seq| Event::Skipped { conversation: conversation.clone(), epoch, seq };
        for message in messages {
            if message.seq > *after_seq + 1 {
                events.push(skipped(message.seq - 1));
            }
            *after_seq = message.seq;
            events.push(Event::Message { conversation: conversation.clone(), epoch, message });
        }
        if last && *after_seq < *last_seq {
            events.push(skipped(*last_seq));
        }
        if last || *after_seq >= *last_seq {
            self.0.pop_front();
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_engine::{Content, MessageId, UserId};

    fn cursor(peer: &str, epoch: u64, seq: u64) -> LogCursor {
        LogCursor { conversation: Recipient::User(UserId::new(peer).unwrap()), epoch, seq }
    }

    fn message(seq: u64) -> Arc<LogMessage> {
        Arc::new(LogMessage {
            seq,
            id: MessageId([0; 16]),
            from: UserId::new("bob").unwrap(),
            content: Content::text("hi"),
            stored_at_ms: 0,
            own: false,
            changed_seq: 0,
            is_recalled: false,
        })
    }

    /// Everything that is told, of a store that has these messages in each conversation.
    #[allow(clippy::needless_pass_by_value, reason = "ranges are made where it is called")]
    fn told(mut retelling: Retelling, kept: impl Iterator<Item = u64> + Clone) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(Page { after_seq, limit, .. }) = retelling.next() {
            let after = kept.clone().filter(|seq| *seq > after_seq).take(limit as usize);
            let events = retelling.read(after.map(message).collect());
            told.extend(events.iter().map(|event| {
                let (conversation, place) = event.progress().unwrap();
                let Recipient::User(peer) = conversation else { panic!("{event:?}") };
                match (event, place) {
                    (Event::Reset { .. }, _) => format!("{peer} anew"),
                    (Event::Skipped { .. }, (_, seq)) => format!("to {seq}"),
                    (_, (epoch, seq)) => format!("{peer} {epoch}.{seq}"),
                }
            }));
        }
        told
    }

    #[test]
    fn what_was_not_taken_is_told_again_and_nothing_else() {
        let cursors = [cursor("bob", 1, 4), cursor("carol", 1, 4), cursor("dave", 1, 2)];
        let retelling = Retelling::new(&cursors, vec![cursor("carol", 1, 4), cursor("bob", 1, 2)]);
        assert_eq!(
            told(retelling, 1..=4),
            ["dave 1.1", "dave 1.2", "dave 1.3", "dave 1.4", "bob 1.3", "bob 1.4"]
        );
        assert!(Retelling::new(&cursors, cursors.to_vec()).next().is_none());
    }

    #[test]
    fn gaps_of_the_store_are_told_as_gaps() {
        let retelling = Retelling::new(&[cursor("bob", 1, 9)], Vec::new());
        assert_eq!(
            told(retelling, [3, 4, 7].into_iter()),
            ["to 2", "bob 1.3", "bob 1.4", "to 6", "bob 1.7", "to 9"]
        );
        assert_eq!(told(Retelling::new(&[cursor("bob", 1, 9)], Vec::new()), [].into_iter()), ["to 9"]);
        let long = u64::from(PAGE_MESSAGES) + 1;
        let many = told(Retelling::new(&[cursor("bob", 1, long)], Vec::new()), 1..=long);
        assert_eq!((many.len() as u64, many.last().unwrap().as_str()), (long, "bob 1.65"));
    }

    #[test]
    fn that_a_log_is_gone_is_told_again() {
        let taken = || vec![cursor("bob", 1, 4)];
        assert_eq!(
            told(Retelling::new(&[cursor("bob", 2, 1)], taken()), [1].into_iter()),
            ["bob anew", "bob 2.1"]
        );
        assert_eq!(told(Retelling::new(&[], taken()), [].into_iter()), ["bob anew"]);
        // It was taken, and nothing of the new log.
        let taken = vec![cursor("bob", 0, 0)];
        assert_eq!(told(Retelling::new(&[cursor("bob", 2, 1)], taken.clone()), [1].into_iter()), ["bob 2.1"]);
        assert!(Retelling::new(&[], taken).next().is_none());
    }
}
