//! How far conversations have arrived at users' classic clients.

use switchboard_engine::{Answer, Head, Marks, Received, Recipient, UserId};

use super::reads::HEADS_AT_A_TIME;
use super::{Conversation, SimStore, StoreCanary};

impl SimStore {
    /// Moves the place up to which everything has arrived forwards over what has.
    pub(super) fn store_received(&mut self, told: &Received) -> Answer {
        let takes_part = match &told.conversation {
            Recipient::User(other) => self.users.contains_key(other),
            Recipient::Group(group) => self.is_member(group, &told.user),
        };
        let conversation = Conversation::of(&told.user, &told.conversation);
        let head = self.heads.get(&conversation).copied().unwrap_or(0);
        if !takes_part
            || !self.users.contains_key(&told.user)
            || head == 0
            || told.epoch != self.epoch_of(&conversation)
        {
            return Answer::Refused;
        }
        let first_seq = self.reads_from(&told.user, &told.conversation).unwrap_or(1);
        let before = self.received.get(&(told.user.clone(), conversation.clone())).copied().unwrap_or(0);
        let mut seq = before.max(first_seq - 1).max(told.seq.min(head));
        let last = told.beyond.last().copied().unwrap_or(0).min(head);
        if last > seq {
            let lacks = |seq: &u64| !told.beyond.contains(seq) && !self.has(StoreCanary::ReceivedOverGaps);
            let missing = self.of_others(&told.user, &conversation, seq).find(lacks);
            seq = missing.map_or(last, |missing| last.min(missing - 1));
        }
        self.received.insert((told.user.clone(), conversation), seq.max(before));
        Answer::ReceivedStored
    }

    /// The logs of which something has not arrived at the classic clients of a user, who comes with one now.
    pub(super) fn load_unreceived(&mut self, user: &UserId, after: u64) -> Answer {
        if !self.users.contains_key(user) {
            return Answer::Refused;
        }
        let is_first = self.classic.insert(user.clone());
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let (mut unreceived, mut next) = (Vec::new(), None);
        let heads: Vec<_> = self.heads.iter().map(|(of, head)| (of.clone(), *head)).collect();
        for (place, (of, head)) in heads.into_iter().enumerate().skip(after) {
            let Some(conversation) = of.other_side(user).filter(|_| head > 0) else { continue };
            let Some(first_seq) = self.reads_from(user, &conversation) else { continue };
            let key = (user.clone(), of.clone());
            if is_first {
                self.received.insert(key, head);
                continue;
            }
            let seq = self.received.get(&key).copied().unwrap_or(0).max(first_seq - 1);
            if self.of_others(user, &of, seq).next().is_none() {
                // What the user has said is not looked through again.
                self.received.insert(key, head.max(seq));
                continue;
            }
            if unreceived.len() == HEADS_AT_A_TIME {
                next = Some(place as u64);
                break;
            }
            let (epoch, own, peer) = (self.epoch_of(&of), Marks::default(), Marks::default());
            let received = Received {
                user: user.clone(),
                conversation: conversation.clone(),
                epoch,
                seq,
                beyond: Vec::new(),
            };
            unreceived.push((Head { conversation, epoch, seq: head, first_seq, own, peer }, received));
        }
        Answer::UnreceivedLoaded { unreceived, next }
    }

    /// From where on a user who takes part in a conversation now reads it; none of others.
    fn reads_from(&self, user: &UserId, conversation: &Recipient) -> Option<u64> {
        let takes_part = match conversation {
            Recipient::User(_) => true,
            Recipient::Group(group) => self.is_member(group, user),
        };
        self.readable(user, conversation).filter(|_| takes_part).map(|(first_seq, _)| first_seq)
    }

    /// The messages of others beyond a place: what has to arrive at a user's classic clients.
    fn of_others(&self, user: &UserId, of: &Conversation, seq: u64) -> impl Iterator<Item = u64> {
        let is_wanted = move |stored: &&super::Stored| {
            let message = &stored.message;
            stored.conversation == *of
                && stored.seq > seq
                && message.sender != *user
                && message.content_type <= 5
        };
        self.log.iter().filter(is_wanted).map(|stored| stored.seq)
    }
}
