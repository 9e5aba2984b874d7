//! A store in a temporary folder, and what its shards see of it.

// Each test binary uses a part of it.
#![allow(dead_code)]
// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use switchboard::store::{DataFolder, OpenError, Store, StoreEvent, StoreOptions};
use switchboard_engine::{
    Answer, DirectoryChange, GroupId, Head, MessageId, Messages, NewMessage, Place, Range, Recipient,
    Request, Ticket, UserId,
};

/// Longer than anything takes; only a test that fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

pub(crate) fn to_user(id: &str) -> Recipient {
    Recipient::User(user(id))
}

pub(crate) fn to_group(id: &str) -> Recipient {
    Recipient::Group(group(id))
}

pub(crate) fn message_id(number: u64) -> MessageId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

pub(crate) fn message(sender: &str, id: u64, recipient: Recipient, content: &str) -> Request {
    Request::StoreMessage(Box::new(NewMessage {
        sender: user(sender),
        id: message_id(id),
        recipient,
        content_type: 1,
        content: content.into(),
        sender_name: format!("the {sender}").into(),
        url: "".into(),
        file_suffix: "".into(),
        subject: switchboard_engine::Subject::Message,
    }))
}

/// The answer to a message that is stored at this place of its log, as far as a test can know it beforehand:
/// see [`plain`].
pub(crate) fn stored(seq: u64) -> Answer {
    Answer::MessageStored(Place { epoch: 0, seq, stored_at_ms: 0 })
}

/// The answer about a message that was stored by an earlier request at this place.
pub(crate) fn earlier(seq: u64) -> Answer {
    Answer::StoredEarlier(Place { epoch: 0, seq, stored_at_ms: 0 })
}

/// An answer without what no test can know beforehand, the epoch and the time.
pub(crate) fn plain(answer: Answer) -> Answer {
    let (Answer::MessageStored(place) | Answer::StoredEarlier(place)) = answer else { return answer };
    assert_ne!(place.epoch, 0);
    assert!(place.stored_at_ms > 1_600_000_000_000);
    if matches!(answer, Answer::StoredEarlier(_)) { earlier(place.seq) } else { stored(place.seq) }
}

/// The place of a message that is stored.
pub(crate) fn place(answer: &Answer) -> Place {
    let (Answer::MessageStored(place) | Answer::StoredEarlier(place)) = answer else { panic!("{answer:?}") };
    *place
}

pub(crate) fn open_authentication() -> StoreOptions {
    StoreOptions { provision: true, ..StoreOptions::default() }
}

/// A door that the store's thread goes through with each event that has answers.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap()
    }

    fn wait(&self) {
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
    }
}

/// The gate as a test holds it: a test that fails leaves it open, so that its store can stop.
pub(crate) struct GateKeeper(Arc<Gate>);

impl std::ops::Deref for GateKeeper {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for GateKeeper {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A store and its shards.
pub(crate) struct Fixture {
    // Dropped before the store, which waits for its thread.
    pub(crate) gate: GateKeeper,
    pub(crate) store: Store,
    pub(crate) events: Receiver<(usize, StoreEvent)>,
    pub(crate) changes: Vec<DirectoryChange>,
    next_ticket: u64,
}

impl Fixture {
    pub(crate) fn open(folder: &Path, options: &StoreOptions) -> Self {
        Self::try_open(folder, options, 2).unwrap()
    }

    pub(crate) fn try_open(folder: &Path, options: &StoreOptions, shards: usize) -> Result<Self, OpenError> {
        Self::open_locked(&DataFolder::lock(folder)?, options, shards)
    }

    pub(crate) fn open_locked(
        folder: &DataFolder,
        options: &StoreOptions,
        shards: usize,
    ) -> Result<Self, OpenError> {
        let (sender, events) = mpsc::channel();
        let gate = Arc::new(Gate::default());
        let sink = {
            let gate = Arc::clone(&gate);
            move |shard, event| {
                // As it was when the event came: a gate that is closed because of this event lets it through.
                let wait = gate.is_closed() && matches!(event, StoreEvent::Answers(_));
                let _ = sender.send((shard, event));
                if wait {
                    gate.wait();
                }
            }
        };
        let store = Store::open(folder, options, shards, Box::new(sink))?;
        Ok(Self { gate: GateKeeper(gate), store, events, changes: Vec::new(), next_ticket: 0 })
    }

    /// Submits on behalf of a shard.
    pub(crate) fn submit(&mut self, shard: usize, request: Request) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.store.handle().submit(shard, ticket, request);
        ticket
    }

    /// The next event that has answers, which are [`plain`].
    pub(crate) fn answers(&mut self) -> (usize, Vec<(Ticket, Answer)>) {
        let (shard, answers) = self.full_answers();
        (shard, answers.into_iter().map(|(ticket, answer)| (ticket, plain(answer))).collect())
    }

    /// The next event that has answers.
    pub(crate) fn full_answers(&mut self) -> (usize, Vec<(Ticket, Answer)>) {
        loop {
            match self.events.recv_timeout(PATIENCE).expect("the store answers") {
                (shard, StoreEvent::Answers(answers)) => return (shard, answers),
                (0, StoreEvent::Directory(changes)) => self.changes.extend(changes),
                (_, StoreEvent::Directory(_)) => {}
            }
        }
    }

    /// Asks, and gives the answer, which is [`plain`].
    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        plain(self.ask_fully(request))
    }

    /// Has a message stored, and gives its place.
    pub(crate) fn store(&mut self, message: Request) -> Place {
        place(&self.ask_fully(message))
    }

    /// Asks, and gives the answer.
    pub(crate) fn ask_fully(&mut self, request: Request) -> Answer {
        let ticket = self.submit(0, request);
        let (shard, mut answers) = self.full_answers();
        let (answered, answer) = answers.pop().unwrap();
        assert_eq!((shard, answered, answers), (0, ticket, Vec::new()));
        answer
    }

    /// Submits all the requests so that they go into one batch; gives their answers, which have come in one
    /// event, in the order of the requests.
    pub(crate) fn ask_in_one_batch(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        self.gate.close();
        let first = self.submit(0, Request::LoadUser(user("gatekeeper")));
        // The store's thread stands at the gate once this has come through.
        assert_eq!(self.answers().1[0].0, first);
        let tickets: Vec<Ticket> = requests.into_iter().map(|request| self.submit(0, request)).collect();
        self.gate.open();
        let (_, answers) = self.answers();
        assert_eq!(answers.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), tickets);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Waits for so many changes of the directory, and gives them.
    pub(crate) fn directory_changes(&mut self, count: usize) -> Vec<DirectoryChange> {
        while self.changes.len() < count {
            match self.events.recv_timeout(PATIENCE).expect("the store tells of changes") {
                (0, StoreEvent::Directory(changes)) => self.changes.extend(changes),
                (_, StoreEvent::Directory(_)) => {}
                (_, StoreEvent::Answers(answers)) => panic!("{answers:?} to no question"),
            }
        }
        std::mem::take(&mut self.changes)
    }
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All of a conversation, as a reader sees it.
pub(crate) fn range(reader: &str, conversation: Recipient) -> Range {
    Range {
        reader: user(reader),
        conversation,
        from_seq: 0,
        backwards: false,
        limit: 1_000,
        limit_bytes: 1 << 20,
    }
}

/// Reads a page that the reader may read.
pub(crate) fn page(fixture: &mut Fixture, range: Range) -> Messages {
    let answer = fixture.ask(Request::LoadMessages(Box::new(range)));
    let Answer::MessagesLoaded(messages) = answer else { panic!("{answer:?} instead of messages") };
    messages
}

/// The heads of a user's conversations, which must fit into one page.
pub(crate) fn heads(fixture: &mut Fixture, of: &str) -> Vec<Head> {
    let answer = fixture.ask(Request::LoadHeads { user: user(of), after: 0 });
    let Answer::HeadsLoaded { heads, next: None } = answer else { panic!("{answer:?} instead of heads") };
    heads
}
