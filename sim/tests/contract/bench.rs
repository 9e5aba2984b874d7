//! A store as a shard uses it, whichever it is.

use std::collections::BTreeMap;

use switchboard_engine::DirectoryChangeKind::Avatar;
use switchboard_engine::{
    Answer, DirectoryChange, Head, Messages, Range, Recipient, Request, Ticket, UserProfile,
};
use switchboard_sim::store::StoreCanary;

use super::sides::{Entry, Model, Side, Strangers, Told};
use super::{group, load, message, user};

/// A store as a shard uses it. Revisions are counted from where the directory was at the beginning.
pub(crate) struct Bench {
    side: Box<dyn Side>,
    first_revision: u64,
    tickets: u64,
    markers: u32,
    /// What was announced, and not asked for yet.
    pub(crate) changes: Vec<DirectoryChange>,
    newest: u64,
    /// The epochs met so far, which stores draw at random: here they are numbered in this order, from 1.
    epochs: Vec<u64>,
    /// What it was told of when users were last here, in order.
    pub(crate) seen_at_ms: Vec<i64>,
    /// When messages were committed, as far as that was told.
    times: BTreeMap<(u64, u64), i64>,
}

impl Bench {
    pub(crate) fn new(side: Box<dyn Side>) -> Self {
        let mut bench = Self {
            side,
            first_revision: 0,
            tickets: 0,
            markers: 0,
            changes: Vec::new(),
            newest: 0,
            epochs: Vec::new(),
            seen_at_ms: Vec::new(),
            times: BTreeMap::new(),
        };
        bench.first_revision = bench.load("alice").revision;
        bench
    }

    pub(crate) fn submit(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        self.side.submit(Ticket(self.tickets), request);
        Ticket(self.tickets)
    }

    /// The next thing that the store tells: an answer, or none for a change, which is kept.
    pub(crate) fn next(&mut self) -> Option<(Ticket, Answer)> {
        match self.side.next() {
            Told::Answer(ticket, mut answer) => {
                self.level(&mut answer);
                Some((ticket, answer))
            }
            Told::Change(mut change) => {
                change.revision -= self.first_revision;
                assert!(change.revision > self.newest, "{change:?} after revision {}", self.newest);
                self.newest = change.revision;
                self.changes.push(change);
                None
            }
        }
    }

    /// Takes out of an answer what is each store's own: what is left, both must say alike.
    fn level(&mut self, answer: &mut Answer) {
        match answer {
            Answer::UserLoaded(profile) => {
                profile.revision -= self.first_revision;
                profile.groups.sort();
                assert!(profile.revision >= self.newest, "a load of before what was announced");
            }
            Answer::MessageStored(place) | Answer::StoredEarlier(place) => {
                place.epoch = self.epoch(place.epoch);
                self.level_time(place.epoch, place.seq, &mut place.stored_at_ms);
            }
            Answer::HeadsLoaded { heads, .. } => {
                heads.iter_mut().for_each(|head| head.epoch = self.epoch(head.epoch));
            }
            Answer::MessagesLoaded(part) => {
                assert_eq!(part.epoch == 0, part.head_seq == 0, "an epoch begins with the first message");
                part.epoch = self.epoch(part.epoch);
                for message in &mut part.messages {
                    // Ids of what the directory has entered are random; tests' own are one byte, repeated.
                    if message.id.0.iter().any(|byte| *byte != message.id.0[0]) {
                        message.id.0 = [0; 16];
                    }
                    self.level_time(part.epoch, message.seq, &mut message.stored_at_ms);
                }
            }
            Answer::UnreceivedLoaded { unreceived, .. } => {
                for (head, received) in unreceived {
                    head.epoch = self.epoch(head.epoch);
                    received.epoch = self.epoch(received.epoch);
                }
            }
            Answer::Seen { at_ms } => {
                self.seen_at_ms.extend(*at_ms);
                *at_ms = at_ms.map(|_| 0);
            }
            Answer::FileStored { .. }
            | Answer::MarksStored(_)
            | Answer::ReceivedStored
            | Answer::Denied(_)
            | Answer::Refused
            | Answer::Failed
            | Answer::Full => {}
        }
    }

    /// An epoch by its number, and 0 for none.
    fn epoch(&mut self, epoch: u64) -> u64 {
        if epoch == 0 {
            return 0;
        }
        let known = self.epochs.iter().position(|other| *other == epoch);
        let place = known.unwrap_or(self.epochs.len());
        if known.is_none() {
            self.epochs.push(epoch);
        }
        place as u64 + 1
    }

    /// The epoch of this number as the store has it; of 0, and of numbers not met yet, one that no log has.
    pub(crate) fn real_epoch(&self, number: u64) -> u64 {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        // The model's are odd, and no random number of the other store's will be this one.
        place.and_then(|place| self.epochs.get(place)).copied().unwrap_or(2)
    }

    fn level_time(&mut self, epoch: u64, seq: u64, stored_at_ms: &mut i64) {
        let first = *self.times.entry((epoch, seq)).or_insert(*stored_at_ms);
        assert_eq!(*stored_at_ms, first, "a message was committed when it was committed");
        *stored_at_ms = 0;
    }

    pub(crate) fn answer(&mut self) -> (Ticket, Answer) {
        loop {
            if let Some(answered) = self.next() {
                return answered;
            }
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        let ticket = self.submit(request);
        let (answered, answer) = self.answer();
        assert_eq!(answered, ticket);
        answer
    }

    /// Stores a message and gives its place.
    pub(crate) fn say(&mut self, sender: &str, id: u8, recipient: Recipient, content: &str) -> u64 {
        let answer = self.ask(message(sender, id, recipient, content));
        let (Answer::MessageStored(place) | Answer::StoredEarlier(place)) = answer else {
            panic!("message {id} of {sender}: {answer:?}")
        };
        place.seq
    }

    /// All heads of a user, sorted; one that came twice was the same twice.
    pub(crate) fn heads(&mut self, who: &str) -> Vec<Head> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let answer = self.ask(Request::LoadHeads { user: user(who), after });
            let Answer::HeadsLoaded { heads, next } = answer else { panic!("heads of {who}: {answer:?}") };
            all.extend(heads);
            let Some(next) = next else { break };
            assert!(next != 0 && next != after, "the heads of {who} go on where they were");
            after = next;
        }
        all.sort_by(|one, other| one.conversation.cmp(&other.conversation));
        all.dedup();
        assert!(all.windows(2).all(|pair| pair[0].conversation != pair[1].conversation), "{all:?}");
        all
    }

    /// A part of a log; none if the reader takes no part in it.
    pub(crate) fn read(&mut self, range: Range) -> Option<Messages> {
        let answer = self.ask(Request::LoadMessages(Box::new(range)));
        if answer == Answer::Refused {
            return None;
        }
        let Answer::MessagesLoaded(messages) = answer else { panic!("a part of a log: {answer:?}") };
        Some(messages)
    }

    pub(crate) fn load(&mut self, who: &str) -> UserProfile {
        let answer = self.ask(load(who));
        let Answer::UserLoaded(profile) = answer else { panic!("loading {who}: {answer:?}") };
        profile
    }

    pub(crate) fn set_member(&mut self, to: &str, who: &str, member: bool) -> bool {
        self.side.set_member(&group(to), &user(who), member)
    }

    pub(crate) fn set_avatar(&mut self, who: &str, avatar: &str) -> bool {
        self.side.set_avatar(&user(who), avatar)
    }

    /// All that was announced since the last time. So that it is known to be all, another change is made.
    pub(crate) fn announced(&mut self) -> Vec<DirectoryChange> {
        self.markers += 1;
        let marker = Avatar(format!("marker {}", self.markers).into());
        let Avatar(avatar) = &marker else { unreachable!() };
        assert!(self.set_avatar("witness", avatar));
        while self.changes.last().is_none_or(|change| change.kind != marker) {
            assert_eq!(self.next(), None, "answers to no question");
        }
        self.changes.pop();
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn crash(&mut self) {
        self.side.crash();
        self.changes.clear();
    }

    pub(crate) fn history(&self, sender: &str, recipient: &Recipient) -> Vec<Entry> {
        self.side.history(&user(sender), recipient)
    }

    /// The places and ids of a conversation's messages.
    pub(crate) fn places(&self, sender: &str, recipient: &Recipient) -> Vec<(u64, u8)> {
        self.history(sender, recipient).iter().map(|(seq, _, id, _)| (*seq, id[0])).collect()
    }
}

/// The simulator's model, with a bug if one is wanted.
pub(crate) fn model(strangers: Strangers, bug: Option<StoreCanary>) -> Bench {
    Bench::new(Box::new(Model::open(strangers, bug)))
}
