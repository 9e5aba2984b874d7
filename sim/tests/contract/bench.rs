//! A store as a shard uses it, whichever it is.

use switchboard_engine::DirectoryChangeKind::Avatar;
use switchboard_engine::{Answer, DirectoryChange, Recipient, Request, Ticket, UserProfile};
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
}

impl Bench {
    pub(crate) fn new(side: Box<dyn Side>) -> Self {
        let mut bench =
            Self { side, first_revision: 0, tickets: 0, markers: 0, changes: Vec::new(), newest: 0 };
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
                if let Answer::UserLoaded(profile) = &mut answer {
                    profile.revision -= self.first_revision;
                    profile.groups.sort();
                    assert!(profile.revision >= self.newest, "a load of before what was announced");
                }
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
        let Answer::MessageStored { seq } = answer else { panic!("message {id} of {sender}: {answer:?}") };
        seq
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
