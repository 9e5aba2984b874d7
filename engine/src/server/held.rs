//! Stored messages that come for a classic connection before it is their turn. They are kept as they came, and sent so:
//! a log does not know everything that a classic client has said.

use alloc::{collections::VecDeque, vec::Vec};
use serde::{Deserialize, Serialize};

use bytes::Bytes;

use super::receipts::Entry;
use crate::{config::FRAME_COST_BYTES, digest::Digest, storage::Recipient};

/// What is kept for one connection: in the order in which it came, but each log's in that of its places.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    frames: VecDeque<(Entry, Bytes)>,
    cost_bytes: u64,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What is kept counts as much as it will in the outbox.
    pub(super) const fn cost_bytes(&self) -> u64 {
        self.cost_bytes
    }

    /// Keeps a message, if there is room. Returns whether it is kept.
    pub(super) fn keep(&mut self, entry: Entry, frame: &Bytes, limit_bytes: u64) -> bool {
        if self.find(&entry).is_some() {
            return true;
        }
        let cost = cost(frame);
        if self.cost_bytes.saturating_add(cost) > limit_bytes {
            return false;
        }
        // Two engines may deliver in another order than that of the log.
        let is_later = |(other, _): &(Entry, Bytes)| {
            other.seq > entry.seq && other.epoch == entry.epoch && other.conversation == entry.conversation
        };
        let at = self.frames.iter().position(is_later).unwrap_or(self.frames.len());
        self.cost_bytes += cost;
        self.frames.insert(at, (entry, frame.clone()));
        true
    }

    /// What is kept of this place.
    pub(super) fn find(&self, entry: &Entry) -> Option<&Bytes> {
        self.frames.iter().find(|(kept, _)| kept == entry).map(|(_, frame)| frame)
    }

    /// Takes what is kept of those logs that are meant, in its order.
    pub(super) fn take(&mut self, is_meant: impl Fn(&Entry) -> bool) -> Vec<(Entry, Bytes)> {
        let (taken, left) = core::mem::take(&mut self.frames).into_iter().partition(|(e, _)| is_meant(e));
        self.frames = left;
        let taken: Vec<(Entry, Bytes)> = VecDeque::into(taken);
        self.cost_bytes -= taken.iter().map(|(_, frame)| cost(frame)).sum::<u64>();
        taken
    }

    /// Forgets what is kept of one place.
    pub(super) fn forget(&mut self, entry: &Entry) {
        if let Some(at) = self.frames.iter().position(|(kept, _)| kept == entry)
            && let Some((_, frame)) = self.frames.remove(at)
        {
            self.cost_bytes -= cost(&frame);
        }
    }

    /// Forgets what is kept of one log.
    pub(super) fn forget_log(&mut self, conversation: &Recipient) {
        if !self.is_empty() {
            self.take(|entry| entry.conversation == *conversation);
        }
    }

    /// Whether the sum is that of what is kept.
    pub(super) fn is_sound(&self) -> bool {
        self.cost_bytes == self.frames.iter().map(|(_, frame)| cost(frame)).sum::<u64>()
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.frames.len());
        for (entry, frame) in &self.frames {
            entry.fold(digest);
            digest.bytes(frame);
        }
    }
}

fn cost(frame: &Bytes) -> u64 {
    frame.len() as u64 + FRAME_COST_BYTES
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::Bytes;

    use super::Held;
    use crate::{id::UserId, server::receipts::Entry, storage::Recipient};

    fn entry(of: &str, seq: u64) -> Entry {
        Entry { conversation: Recipient::User(UserId::new(of).unwrap()), epoch: 1, seq }
    }

    fn frame(len: usize) -> Bytes {
        Bytes::from(alloc::vec![0; len])
    }

    #[test]
    fn what_is_kept_keeps_its_order_but_for_that_of_its_log() {
        let mut held = Held::default();
        for (of, seq) in [("alice", 3), ("carol", 9), ("alice", 1), ("alice", 2), ("alice", 4)] {
            assert!(held.keep(entry(of, seq), &frame(10), 1_000));
        }
        let seqs: Vec<_> = held.take(|_| true).into_iter().map(|(entry, _)| entry.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 9, 4]);
        assert!(held.is_empty() && held.cost_bytes() == 0);
    }

    #[test]
    fn there_is_room_for_so_many_bytes_and_each_place_counts_once() {
        let mut held = Held::default();
        assert!(held.keep(entry("alice", 1), &frame(36), 250));
        assert!(held.keep(entry("alice", 1), &frame(36), 250));
        assert!(held.keep(entry("carol", 1), &frame(36), 250));
        assert!(!held.keep(entry("carol", 2), &frame(36), 250));
        assert_eq!(held.cost_bytes(), 200);
        held.forget(&entry("alice", 1));
        held.forget(&entry("alice", 1));
        assert_eq!((held.cost_bytes(), held.is_sound()), (100, true));
        held.forget_log(&entry("carol", 0).conversation);
        assert!(held.is_empty() && held.is_sound());
    }
}
