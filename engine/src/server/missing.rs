//! What some classic connections of a user lack, so that it does not count as arrived although others have it.

use alloc::{collections::BTreeSet, vec::Vec};
use serde::{Deserialize, Serialize};

use super::receipts::Entry;
use crate::{digest::Digest, storage::Recipient};

/// See the module's documentation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Missing {
    /// They lack what nobody knows.
    unknown: bool,
    single: BTreeSet<Entry>,
    /// Logs of which they lack everything from these places on.
    from: Vec<Entry>,
}

impl Missing {
    /// Nobody knows what is lacking: it may be everything.
    pub(super) const fn anything(&mut self) {
        self.unknown = true;
    }

    /// A place is lacking.
    pub(super) fn one(&mut self, entry: &Entry) {
        self.single.insert(entry.clone());
    }

    /// A place is lacking, and all behind it.
    pub(super) fn from(&mut self, entry: Entry) {
        self.from.push(entry);
    }

    /// Something else is lacking as well. Beyond so many places and logs nobody remembers what.
    pub(super) fn add(&mut self, other: &Self, limit: usize, limit_logs: usize) {
        self.unknown |= other.unknown;
        self.single.extend(other.single.iter().cloned());
        self.from.extend(other.from.iter().cloned());
        if self.unknown || self.single.len() > limit || self.from.len() > limit_logs {
            *self = Self { unknown: true, ..Self::default() };
        }
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.flag(self.unknown);
        digest.len(self.single.len());
        self.single.iter().for_each(|entry| entry.fold(digest));
        digest.len(self.from.len());
        self.from.iter().for_each(|entry| entry.fold(digest));
    }

    pub(super) fn has(&self, conversation: &Recipient, epoch: u64, seq: u64) -> bool {
        if self.unknown {
            return true;
        }
        let is_behind =
            |log: &Entry| log.conversation == *conversation && log.epoch == epoch && log.seq <= seq;
        if self.from.iter().any(is_behind) {
            return true;
        }
        !self.single.is_empty()
            && self.single.contains(&Entry { conversation: conversation.clone(), epoch, seq })
    }
}
