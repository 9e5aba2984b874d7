//! Edits and recalls: entries of a log that change what an earlier one says from then on.

use switchboard_engine::{Answer, NewMessage, Recipient, StoredMessage, Subject, TargetFacts};

use super::{Conversation, SimStore, StoreCanary, Stored};

/// The largest content type of a message; what is above is about one, or about the group.
const LAST_MESSAGE_KIND: u8 = 5;

impl SimStore {
    /// Stores an edit or a recall, if the message may be changed. What the message says from then on is worked out
    /// when it is read.
    pub(super) fn amend(&mut self, entry: Box<NewMessage>, target_seq: u64) -> Answer {
        if !self.admit(&entry.sender) {
            return Answer::Refused;
        }
        if let Some(answer) = self.stored_earlier(&entry) {
            return answer;
        }
        let (first_seq, seat) = match &entry.recipient {
            Recipient::User(user) if !self.users.contains_key(user) => return Answer::Refused,
            Recipient::User(_) => (1, None),
            Recipient::Group(group) => {
                let Some(of) = self.group(group) else { return Answer::Refused };
                let Some(seat) = of.membership(&entry.sender) else { return Answer::Refused };
                let muted = seat.muted(self.now_ms());
                if let Some(denial) = muted.filter(|_| !self.has(StoreCanary::MutedMayWrite)) {
                    return Answer::Denied(denial);
                }
                (of.range(&entry.sender).map_or(1, |(first, _)| first), Some(seat.role))
            }
        };
        let conversation = Conversation::of(&entry.sender, &entry.recipient);
        let target = self.entry_at(&conversation, target_seq).filter(|_| target_seq >= first_seq);
        let facts = target.map(|target| TargetFacts {
            is_message: target.message.content_type <= LAST_MESSAGE_KIND,
            is_own: target.message.sender == entry.sender || self.has(StoreCanary::EditsOfOthers),
            is_recalled: self.is_recalled(&conversation, target_seq, u64::MAX)
                && !self.has(StoreCanary::RecalledIsEdited),
        });
        match entry.subject.judge(facts, seat) {
            Ok(()) => self.append(entry),
            Err(denial) => Answer::Denied(denial),
        }
    }

    fn entry_at(&self, of: &Conversation, seq: u64) -> Option<&Stored> {
        self.log.iter().find(|stored| stored.conversation == *of && stored.seq == seq)
    }

    /// The edits and recalls of a message, as far as this place, oldest first.
    fn amendments<'a>(&'a self, of: &'a Conversation, seq: u64, to: u64) -> impl Iterator<Item = &'a Stored> {
        let is_about = move |stored: &&Stored| match stored.message.subject {
            Subject::Edit { target_seq } | Subject::Recall { target_seq } => target_seq == seq,
            Subject::Message | Subject::Change(_) => false,
        };
        self.log.iter().filter(move |stored| stored.conversation == *of && stored.seq <= to).filter(is_about)
    }

    fn is_recalled(&self, of: &Conversation, seq: u64, to: u64) -> bool {
        self.amendments(of, seq, to).any(|entry| matches!(entry.message.subject, Subject::Recall { .. }))
    }

    /// What an entry says now.
    #[must_use]
    pub fn text_of(&self, stored: &Stored) -> Box<str> {
        self.as_read(stored, u64::MAX).content
    }

    /// An entry as it is given to who may read the log up to this place: edits beyond it are not for its eyes; what was
    /// recalled is for nobody's.
    pub(super) fn as_read(&self, stored: &Stored, to: u64) -> StoredMessage {
        let (message, of) = (&stored.message, &stored.conversation);
        let target = match message.subject {
            Subject::Edit { target_seq } => target_seq,
            Subject::Message | Subject::Recall { .. } | Subject::Change(_) => stored.seq,
        };
        let is_recalled = self.is_recalled(of, target, u64::MAX) && !self.has(StoreCanary::RecallKeepsText);
        let is_target = target == stored.seq;
        let is_edit = |entry: &&Stored| matches!(entry.message.subject, Subject::Edit { .. });
        let shows = !self.has(StoreCanary::EditNotShown);
        let edits = self.amendments(of, stored.seq, to).filter(is_edit).filter(|_| shows);
        let last = self.amendments(of, stored.seq, to).last();
        let text = edits.last().map_or(&message.content, |edit| &edit.message.content);
        StoredMessage {
            seq: stored.seq,
            id: message.id,
            sender: message.sender.clone(),
            sender_name: message.sender_name.clone(),
            avatar: self.avatar(&message.sender),
            content_type: message.content_type,
            content: if is_recalled { "".into() } else { text.clone() },
            url: if is_recalled { "".into() } else { message.url.clone() },
            stored_at_ms: stored.stored_at_ms,
            subject: message.subject.clone(),
            changed_seq: match last {
                _ if is_recalled && is_target => {
                    self.amendments(of, stored.seq, u64::MAX).last().map_or(0, |last| last.seq).min(to)
                }
                Some(last) => last.seq,
                None => 0,
            },
            is_recalled: is_recalled && is_target,
        }
    }
}
