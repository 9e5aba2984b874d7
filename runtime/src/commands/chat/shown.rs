//! What was shown lately: for ticks, and for edits and recalls to come.

use std::collections::{BTreeMap, VecDeque};

use switchboard_engine::{LogMessage, Marks, Recipient, Subject};

use super::text::quote;

/// Messages that are remembered.
const RECENT_LIMIT: usize = 500;
/// Conversations whose marks are remembered.
const CONVERSATIONS_LIMIT: usize = 1_000;

/// The mark of a message that the server has.
pub(super) const ACCEPTED: &str = "✓";
/// Of one that has arrived at the other user's, and of one that was read.
const DELIVERED: &str = "✓✓";
const READ: &str = "✓✓ read";

/// A message that was shown.
#[derive(Debug)]
struct Said {
    conversation: Recipient,
    seq: u64,
    own: bool,
    quote: String,
}

/// The newest messages, and how far the others are with the own ones.
#[derive(Debug, Default)]
pub(super) struct Shown {
    recent: VecDeque<Said>,
    peers: BTreeMap<Recipient, Marks>,
}

impl Shown {
    /// Remembers a message.
    pub(super) fn add(&mut self, conversation: &Recipient, message: &LogMessage) {
        if message.content.subject != Subject::Message || message.is_recalled {
            return;
        }
        if self.recent.len() >= RECENT_LIMIT {
            self.recent.pop_front();
        }
        let (conversation, quote) = (conversation.clone(), quote(&message.content.text));
        self.recent.push_back(Said { conversation, seq: message.seq, own: message.own, quote });
    }

    /// What was said at this place, shortened.
    pub(super) fn quote(&self, conversation: &Recipient, seq: u64) -> Option<&str> {
        let mut at = self.recent.iter().filter(|said| said.seq == seq && said.conversation == *conversation);
        at.next().map(|said| said.quote.as_str())
    }

    /// The place of the last message that the user has said, up to this place.
    pub(super) fn last_own(&self, conversation: &Recipient, up_to: u64) -> Option<u64> {
        let own = self.recent.iter().filter(|said| said.own && said.conversation == *conversation);
        own.map(|said| said.seq).filter(|seq| *seq <= up_to).max()
    }

    /// The other user is this far now. Gives the ticks of the last own message for which that is news.
    pub(super) fn marked(&mut self, conversation: &Recipient, marks: Marks) -> Option<String> {
        let before = self.marks(conversation);
        if self.peers.len() < CONVERSATIONS_LIMIT || self.peers.contains_key(conversation) {
            self.peers.insert(conversation.clone(), marks);
        }
        let news = |now: u64, before: u64| {
            self.last_own(conversation, now)
                .filter(|seq| *seq > before)
                .and_then(|seq| self.quote(conversation, seq))
        };
        news(marks.read, before.read)
            .map(|quote| format!("{READ} {quote}"))
            .or_else(|| news(marks.delivered, before.delivered).map(|quote| format!("{DELIVERED} {quote}")))
    }

    /// The ticks of an own message, for its line.
    pub(super) fn ticks(&self, conversation: &Recipient, seq: u64) -> &'static str {
        match self.marks(conversation) {
            Marks { read, .. } if read >= seq => READ,
            Marks { delivered, .. } if delivered >= seq => DELIVERED,
            Marks { .. } => ACCEPTED,
        }
    }

    fn marks(&self, conversation: &Recipient) -> Marks {
        self.peers.get(conversation).copied().unwrap_or_default()
    }
}
