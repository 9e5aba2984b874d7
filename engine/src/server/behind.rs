//! How far a classic connection is with a log of which it is to be sent more.

use super::receipts::Entry;
use crate::{digest::Digest, storage::Recipient, time::Instant};
use serde::{Deserialize, Serialize};

/// A log that a connection is behind with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Behind {
    pub(super) conversation: Recipient,
    pub(super) epoch: u64,
    /// The next place that it is sent.
    pub(super) next_seq: u64,
    /// The last place that it is known to be sent.
    pub(super) until: u64,
    /// The place at which reading began; 0 if everything before it has arrived.
    pub(super) since_seq: u64,
    /// Whether that is all that is known of it: it was delivered before the store had said where to begin.
    pub(super) is_noted: bool,
    /// Whether all that was delivered of it is held: unless the store names it, nothing of it need be read.
    pub(super) is_whole: bool,
}

/// A log that was read to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Caught {
    /// The last place that was read.
    pub(super) last: Entry,
    pub(super) since_seq: u64,
    pub(super) at: Instant,
}

impl Behind {
    /// A log of which something was delivered before the store has said whether more of it is missing.
    pub(super) const fn noted(conversation: Recipient, epoch: u64, seq: u64) -> Self {
        Self { conversation, epoch, next_seq: seq, until: seq, since_seq: 0, is_noted: true, is_whole: true }
    }

    /// A log of which the store has said that everything before `from` has arrived.
    pub(super) const fn named(conversation: Recipient, epoch: u64, from: u64, until: u64) -> Self {
        Self { conversation, epoch, next_seq: from, until, since_seq: 0, is_noted: false, is_whole: false }
    }

    /// It is read from where it is.
    pub(super) const fn begin(&mut self) {
        if self.is_noted {
            self.since_seq = self.next_seq;
            self.is_noted = false;
        }
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        let Self { conversation, epoch, next_seq, until, since_seq, is_noted, is_whole } = self;
        conversation.fold(digest);
        for word in [epoch, next_seq, until, since_seq] {
            digest.word(*word);
        }
        digest.flag(*is_noted);
        digest.flag(*is_whole);
    }
}

impl Caught {
    pub(super) fn has(&self, conversation: &Recipient, epoch: u64, seq: u64) -> bool {
        let is_log = self.last.conversation == *conversation && self.last.epoch == epoch;
        is_log && (self.since_seq..=self.last.seq).contains(&seq)
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        let Self { last, since_seq, at } = self;
        last.fold(digest);
        digest.word(*since_seq);
        digest.instant(*at);
    }
}
