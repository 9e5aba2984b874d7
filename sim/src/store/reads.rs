//! What sessions read of a store: how far their user's conversations are, and parts of their logs.

use std::ops::RangeInclusive;

use switchboard_engine::{Answer, Head, Marks, Messages, Range, Recipient, StoredMessage, UserId};

use super::{Conversation, SimStore, StoreCanary, Stored};

/// Heads of one answer at the most: so few that even small worlds have several answers.
pub(super) const HEADS_AT_A_TIME: usize = 3;

impl Conversation {
    /// Who or what is on the other side of it for a user, if the user is on one side.
    pub(super) fn other_side(&self, user: &UserId) -> Option<Recipient> {
        match self {
            Self::Direct(one, other) if one == user => Some(Recipient::User(other.clone())),
            Self::Direct(one, other) if other == user => Some(Recipient::User(one.clone())),
            Self::Direct(..) => None,
            Self::Group(group) => Some(Recipient::Group(group.clone())),
        }
    }
}

impl SimStore {
    /// The heads from a place in the table of all conversations on. What begins meanwhile moves the places behind
    /// it up, so that some heads may come again and none is left out.
    pub(super) fn load_heads(&self, user: &UserId, after: u64) -> Answer {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let mut heads = Vec::new();
        for (place, (conversation, seq)) in self.heads.iter().enumerate().skip(after) {
            let Some(other_side) = conversation.other_side(user).filter(|_| *seq > 0) else { continue };
            let Some((first_seq, last_seq)) = self.readable(user, &other_side) else { continue };
            if heads.len() == HEADS_AT_A_TIME {
                return Answer::HeadsLoaded { heads, next: Some(place as u64) };
            }
            heads.push(Head {
                epoch: conversation.epoch(),
                seq: (*seq).min(last_seq),
                first_seq,
                own: self.marks_of(conversation, user),
                peer: match &other_side {
                    Recipient::User(other) if other != user => self.marks_of(conversation, other),
                    Recipient::User(_) | Recipient::Group(_) => Marks::default(),
                },
                conversation: other_side,
            });
        }
        Answer::HeadsLoaded { heads, next: None }
    }

    pub(super) fn load_messages(&self, range: &Range) -> Answer {
        // Whether the group is another's or nobody's is nothing to tell a stranger.
        let Some((first_seq, last_seq)) = self.readable(&range.reader, &range.conversation) else {
            return Answer::Refused;
        };
        let conversation = Conversation::of(&range.reader, &range.conversation);
        let head_seq = self.heads.get(&conversation).copied().unwrap_or(0).min(last_seq);
        let epoch = if head_seq == 0 { 0 } else { conversation.epoch() };
        let messages = self.part(range, &conversation, first_seq..=last_seq);
        let group_name = match &range.conversation {
            Recipient::Group(group) => self.group_name(group, &range.reader),
            Recipient::User(_) => Box::default(),
        };
        Answer::MessagesLoaded(Messages { epoch, head_seq, first_seq, messages, group_name })
    }

    /// Which places of a conversation a user may read; none if not any.
    pub(super) fn readable(&self, reader: &UserId, conversation: &Recipient) -> Option<(u64, u64)> {
        match conversation {
            Recipient::User(_) => Some((1, u64::MAX)),
            Recipient::Group(group) => {
                let (first_seq, last_seq) = self.group(group)?.range(reader)?;
                let last_seq = last_seq.filter(|_| !self.has(StoreCanary::FormerReadsOn));
                Some((first_seq, last_seq.unwrap_or(u64::MAX)))
            }
        }
    }

    fn part(&self, range: &Range, of: &Conversation, seqs: RangeInclusive<u64>) -> Vec<StoredMessage> {
        let readable = |stored: &&Stored| stored.conversation == *of && seqs.contains(&stored.seq);
        let log = self.log.iter().filter(readable);
        let wanted: Vec<_> = if range.backwards {
            let to = if range.from_seq == 0 { u64::MAX } else { range.from_seq };
            log.rev().filter(|stored| stored.seq <= to).collect()
        } else {
            log.filter(|stored| stored.seq >= range.from_seq).collect()
        };
        let (mut part, mut bytes) = (Vec::new(), 0);
        for stored in wanted.into_iter().take(usize::try_from(range.limit).unwrap_or(usize::MAX)) {
            let read = self.as_read(stored, *seqs.end());
            bytes += (read.content.len() + read.url.len()) as u64;
            if bytes > range.limit_bytes && !part.is_empty() {
                break;
            }
            part.push(read);
        }
        if range.backwards {
            part.reverse();
        }
        part
    }
}
