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
    /// Place of the last edit or recall that was shown with it.
    changed_seq: u64,
    /// It was taken back.
    is_gone: bool,
    /// Empty if it was never shown.
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
        if message.content.subject != Subject::Message {
            return;
        }
        let LogMessage { seq, own, changed_seq, is_recalled, ref content, .. } = *message;
        let quote = if is_recalled { String::new() } else { quote(&content.text) };
        self.put(Said {
            conversation: conversation.clone(),
            seq,
            own,
            changed_seq,
            is_gone: is_recalled,
            quote,
        });
    }

    /// An edit or a recall. Whether it is news: none of a message that was shown as it has left it. Unknown if the message
    /// was not shown lately.
    pub(super) fn change(&mut self, conversation: &Recipient, entry: &LogMessage) -> Option<bool> {
        let (target_seq, is_gone) = match entry.content.subject {
            Subject::Edit { target_seq } => (target_seq, false),
            Subject::Recall { target_seq } => (target_seq, true),
            Subject::Message | Subject::Change(_) => return Some(true),
        };
        let said = self.at(conversation, target_seq)?;
        if said.changed_seq >= entry.seq {
            return Some(false);
        }
        said.changed_seq = entry.seq;
        said.is_gone |= is_gone;
        // The text of an edit is gone with the message: a recall follows.
        let is_news = is_gone || !entry.content.text.is_empty();
        if is_news && !is_gone {
            said.quote = quote(&entry.content.text);
        }
        Some(is_news)
    }

    /// Remembers a message of the user that has just got its place; it may be a while until it comes back as a part of
    /// the conversation.
    pub(super) fn said(&mut self, conversation: &Recipient, seq: u64, quote: String) {
        let conversation = conversation.clone();
        self.put(Said { conversation, seq, own: true, changed_seq: 0, is_gone: false, quote });
    }

    /// Nothing of a conversation is true any more.
    pub(super) fn forget(&mut self, conversation: &Recipient) {
        self.recent.retain(|said| said.conversation != *conversation);
        self.peers.remove(conversation);
    }

    fn put(&mut self, said: Said) {
        if let Some(known) = self.at(&said.conversation, said.seq) {
            if known.changed_seq < said.changed_seq {
                *known = said;
            }
            return;
        }
        if self.recent.len() >= RECENT_LIMIT {
            self.recent.pop_front();
        }
        self.recent.push_back(said);
    }

    fn at(&mut self, conversation: &Recipient, seq: u64) -> Option<&mut Said> {
        self.recent.iter_mut().find(|said| said.seq == seq && said.conversation == *conversation)
    }

    /// What was said at this place, shortened.
    pub(super) fn quote(&self, conversation: &Recipient, seq: u64) -> Option<&str> {
        let mut at = self.recent.iter().filter(|said| said.seq == seq && said.conversation == *conversation);
        at.next().map(|said| said.quote.as_str()).filter(|quote| !quote.is_empty())
    }

    /// The place of the last message that the user has said, up to this place.
    pub(super) fn last_own(&self, conversation: &Recipient, up_to: u64) -> Option<u64> {
        let own =
            self.recent.iter().filter(|said| said.own && !said.is_gone && said.conversation == *conversation);
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
