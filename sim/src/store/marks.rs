//! How far users are with their conversations.

use switchboard_engine::{Answer, Marks, NewMarks, Recipient, StoredMarks, UserId};

use super::{Conversation, SimStore, StoreCanary};

impl SimStore {
    /// Moves marks forwards, and not beyond the head, in a conversation of which something is in the log that they
    /// are of.
    pub(super) fn store_marks(&mut self, new: &NewMarks) -> Answer {
        let NewMarks { user, conversation, epoch, marks } = new;
        // Who has left a group may say that they have seen what is theirs to read.
        let last_seq = match conversation {
            Recipient::User(other) => self.users.contains_key(other).then_some(u64::MAX),
            Recipient::Group(group) => {
                let range = self.group(group).and_then(|group| group.range(user));
                range.map(|(_, last_seq)| last_seq.unwrap_or(u64::MAX))
            }
        };
        let Some(last_seq) = last_seq else { return Answer::Refused };
        let conversation = Conversation::of(user, conversation);
        let head = self.heads.get(&conversation).copied().unwrap_or(0).min(last_seq);
        let is_of_log = *epoch == conversation.epoch() || self.has(StoreCanary::MarksOfEveryLog);
        if !self.users.contains_key(user) || head == 0 || !is_of_log {
            return Answer::Refused;
        }
        let before = self.marks_of(&conversation, user);
        let wanted = if self.has(StoreCanary::MarksBackwards) { *marks } else { before.max_of(*marks) };
        let limit = if self.has(StoreCanary::MarksBeyondHead) { u64::MAX } else { head };
        let marks = Marks { delivered: wanted.delivered.min(limit), read: wanted.read.min(limit) };
        self.marks.insert((conversation, user.clone()), marks);
        Answer::MarksStored(StoredMarks { marks, has_moved: marks != before })
    }

    pub(super) fn marks_of(&self, conversation: &Conversation, user: &UserId) -> Marks {
        self.marks.get(&(conversation.clone(), user.clone())).copied().unwrap_or_default()
    }
}
