//! A device on a thread of its own. It can be cut off as if its process were killed, and goes on from its store.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

use switchboard::{
    client::{
        Client, ClientBuilder, ClosedReason, Content, Event, LogMessage, MemoryStore, MessageId, Recipient,
        SqliteStore, State,
    },
    store::Conversation,
};
use switchboard_engine::{GroupId, SessionConfig};
use tokio::sync::mpsc;

use super::{
    GROUP, Rng, USERS,
    ledger::{Entry, Ledger},
    user,
};

/// Messages without a fate, at most, that a device says on.
const UNANSWERED: usize = 8;

/// Where a device keeps what it knows.
#[derive(Clone, Debug)]
pub(crate) enum Keeping {
    File(PathBuf),
    Memory(MemoryStore),
}

impl Keeping {
    pub(crate) fn memory() -> Self {
        Self::Memory(MemoryStore::keeping(usize::MAX))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Say so many messages more.
    Say(u32),
    /// Stop at once, as if the process were killed, and start again.
    Crash,
    /// Close the client, and do nothing until the device is to come back.
    Leave,
    ComeBack,
    /// Close the client, and end.
    End,
}

/// What a device knows of a conversation.
#[derive(Clone, Debug, Default)]
struct View {
    /// Messages up to this place are not for this user.
    skipped: u64,
    entries: Vec<Entry>,
}

/// What a device knows, for the test to look at.
#[derive(Debug, Default)]
struct Known {
    views: BTreeMap<Recipient, View>,
    /// Messages that are still to be said, or have no fate.
    open: usize,
    is_away: bool,
    state: String,
}

#[derive(Debug)]
pub(crate) struct Device {
    user: &'static str,
    number: u64,
    orders: mpsc::UnboundedSender<Order>,
    known: Arc<Mutex<Known>>,
    thread: JoinHandle<()>,
}

impl Device {
    pub(crate) fn start(
        user: &'static str,
        number: u64,
        seed: u64,
        keeping: Keeping,
        server: SocketAddr,
        ledger: Arc<Ledger>,
    ) -> Self {
        let (orders, receiver) = mpsc::unbounded_channel();
        let known = Arc::new(Mutex::new(Known::default()));
        let life = Life {
            user,
            number,
            rng: Rng::new(seed, number),
            keeping,
            server,
            ledger,
            known: Arc::clone(&known),
            orders: receiver,
            to_say: 0,
            said: 0,
            open: BTreeSet::new(),
        };
        let thread = std::thread::spawn(move || live(life));
        Self { user, number, orders, known, thread }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.user, self.number)
    }

    /// What keeps it, for a test that fails.
    pub(crate) fn says(&self) -> String {
        let known = self.lock();
        let views = known.views.iter().map(|(conversation, view)| (conversation, view.entries.len()));
        format!("{} open, {}, {:?}", known.open, known.state, views.collect::<Vec<_>>())
    }

    pub(crate) fn order(&self, order: Order) {
        // Until the device has counted anew, there is something to do.
        let mut known = self.known.lock().unwrap();
        known.open += 1;
        assert!(self.orders.send(order).is_ok(), "{} has died", self.name());
    }

    /// Whether everything was said, and has its fate.
    pub(crate) fn is_done(&self) -> bool {
        assert!(!self.thread.is_finished(), "{} has died", self.name());
        self.lock().open == 0
    }

    /// Whether it has left, and the connection is closed as far as the device is concerned.
    pub(crate) fn is_away(&self) -> bool {
        assert!(!self.thread.is_finished(), "{} has died", self.name());
        self.lock().is_away
    }

    /// How much it knows of all conversations.
    pub(crate) fn known(&self) -> u64 {
        self.lock().views.values().map(|view| view.entries.len() as u64).sum()
    }

    /// Whether it knows as much of a conversation as there is.
    pub(crate) fn has(&self, conversation: &Conversation, log: &[Entry]) -> bool {
        let Some(conversation) = self.seen_from_here(conversation) else { return true };
        let known = self.lock();
        let last = known.views.get(&conversation).map_or(0, View::last);
        last == log.len() as u64
    }

    pub(crate) fn assert_has(&self, conversation: &Conversation, log: &[Entry]) {
        let Some(conversation) = self.seen_from_here(conversation) else { return };
        let known = self.lock();
        let view = known.views.get(&conversation).cloned().unwrap_or_default();
        let skipped = view.skipped as usize;
        assert_eq!(view.entries, log[skipped..], "{} has the log of {conversation:?}", self.name());
    }

    pub(crate) fn end(self) {
        self.order(Order::End);
        self.thread.join().unwrap();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn seen_from_here(&self, conversation: &Conversation) -> Option<Recipient> {
        match conversation {
            Conversation::Group(group) => Some(Recipient::Group(group.clone())),
            Conversation::Direct(one, other) if one.as_str() == self.user => {
                Some(Recipient::User(other.clone()))
            }
            Conversation::Direct(one, other) if other.as_str() == self.user => {
                Some(Recipient::User(one.clone()))
            }
            Conversation::Direct(..) => None,
        }
    }
}

impl View {
    fn last(&self) -> u64 {
        self.entries.last().map_or(self.skipped, |entry| entry.seq)
    }
}

/// What survives when a device is cut off: what the test knows of it, and its store.
struct Life {
    user: &'static str,
    number: u64,
    rng: Rng,
    keeping: Keeping,
    server: SocketAddr,
    ledger: Arc<Ledger>,
    known: Arc<Mutex<Known>>,
    orders: mpsc::UnboundedReceiver<Order>,
    to_say: u32,
    said: u64,
    /// Submitted, without a fate.
    open: BTreeSet<[u8; 16]>,
}

fn live(mut life: Life) {
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(life.once());
        // What has not ended by itself stops where it is.
        runtime.shutdown_background();
        if ended {
            return;
        }
    }
}

/// Times that a test can wait for.
fn hurried(config: &mut SessionConfig) {
    config.reconnect.floor = Duration::from_millis(10);
    config.reconnect.base = Duration::from_millis(50);
    config.reconnect.cap = Duration::from_millis(200);
    config.retry.base = Duration::from_millis(100);
    config.retry.cap = Duration::from_millis(500);
    config.heartbeat_interval = Duration::from_millis(300);
    config.idle_timeout = Duration::from_millis(1_000);
    config.connect_timeout = Duration::from_millis(2_000);
    // Longer than the server waits for its store.
    config.answer_timeout = Duration::from_millis(4_000);
    config.resync_interval = Duration::from_millis(1_000);
    config.resync_floor = Duration::from_millis(500);
}

impl Life {
    /// From a start to being cut off; true at the end.
    async fn once(&mut self) -> bool {
        let url = format!("ws://{}", self.server).parse().unwrap();
        let builder: ClientBuilder =
            Client::builder(url, user(self.user)).configure(hurried).connecting(false);
        let (client, mut events) = match self.keeping.clone() {
            Keeping::File(file) => builder.store(SqliteStore::open(file).unwrap()).start().await.unwrap(),
            Keeping::Memory(store) => builder.store(store).start().await.unwrap(),
        };
        // Before anything new comes.
        self.recall(&client).await;
        client.connect().await.unwrap();
        loop {
            while self.to_say > 0 && self.open.len() < UNANSWERED {
                self.to_say -= 1;
                let (id, conversation, text) = self.think();
                client.submit_as(MessageId(id), conversation, Content::text(&text)).await.unwrap();
                self.ledger.taken(id);
            }
            self.count();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Say(messages)) => self.to_say += messages,
                    Some(Order::Crash) => {
                        // In the middle of a submit: it may have been taken, or not.
                        let (id, conversation, text) = self.think();
                        let submit = client.submit_as(MessageId(id), conversation, Content::text(&text));
                        tokio::select! {
                            biased;
                            _ = submit => {}
                            () = std::future::ready(()) => {}
                        }
                        return false;
                    }
                    Some(Order::Leave) => {
                        client.close().await;
                        return self.stay_away().await;
                    }
                    Some(Order::ComeBack) => {}
                    Some(Order::End) | None => {
                        client.close().await;
                        return true;
                    }
                },
                event = events.next() => self.told(event.expect("the client goes on"), &client).await,
            }
        }
    }

    /// Until the device is to come back; true if it is to end.
    async fn stay_away(&mut self) -> bool {
        self.lock().is_away = true;
        loop {
            self.count();
            match self.orders.recv().await {
                Some(Order::Say(messages)) => self.to_say += messages,
                Some(Order::ComeBack) => break,
                Some(Order::Crash | Order::Leave) => {}
                Some(Order::End) | None => return true,
            }
        }
        self.lock().is_away = false;
        false
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn count(&self) {
        let mut known = self.lock();
        known.open = self.to_say as usize + self.open.len() + self.orders.len();
    }

    /// What to say next, and to whom.
    fn think(&mut self) -> ([u8; 16], Recipient, String) {
        let others: Vec<_> = USERS.iter().filter(|id| **id != self.user).collect();
        let conversation = match self.rng.below(2) {
            0 => Recipient::Group(GroupId::new(GROUP).unwrap()),
            _ => Recipient::User(user(others[self.rng.below(others.len() as u64) as usize])),
        };
        self.said += 1;
        let id = ((u128::from(self.number) << 64) | u128::from(self.said)).to_be_bytes();
        let text = format!("{} {}, {}", self.user, self.number, self.said);
        self.ledger.offered(id, self.user, &text);
        self.open.insert(id);
        self.count();
        (id, conversation, text)
    }

    /// After a start: the store knows everything that was told, and maybe more.
    async fn recall(&mut self, client: &Client) {
        let known = self.lock().views.clone();
        let mut views = BTreeMap::new();
        for summary in client.conversations(u32::MAX).await.unwrap() {
            let conversation = summary.conversation;
            let kept = client.messages(conversation.clone(), 0, u32::MAX).await.unwrap();
            let mut view = known.get(&conversation).cloned().unwrap_or_default();
            let told = view.entries.len();
            let entries: Vec<_> = kept.iter().map(|message| entry(message)).collect();
            assert_eq!(view.entries, entries[..told], "{} {} keeps what it was told", self.user, self.number);
            view.skipped = entries.first().map_or(view.skipped, |first| first.seq - 1);
            view.entries = entries;
            views.insert(conversation, view);
        }
        assert!(known.keys().all(|conversation| views.contains_key(conversation)));
        self.lock().views = views;
        // A message that is pending no more has its fate, or was never taken.
        let pending: BTreeSet<_> =
            client.pending().await.unwrap().into_iter().map(|submit| submit.id.0).collect();
        for id in self.open.difference(&pending) {
            self.ledger.settled(*id);
        }
        assert!(pending.is_subset(&self.open), "nothing is pending that was not submitted, or has its fate");
        pending.iter().for_each(|id| self.ledger.taken(*id));
        self.open = pending;
    }

    async fn told(&mut self, event: Event, client: &Client) {
        match event {
            Event::Message { conversation, message, .. } => {
                let who = format!("{} {}, {conversation:?}", self.user, self.number);
                let mut known = self.lock();
                let view = known.views.entry(conversation).or_default();
                // What was stored and not taken before is told again.
                if message.seq <= view.last() {
                    let kept = view.entries.iter().find(|kept| kept.seq == message.seq);
                    assert_eq!(kept, Some(&entry(&message)), "{who}: what is told again is what was kept");
                    return;
                }
                assert_eq!(message.seq, view.last() + 1, "{who}: one after the other");
                view.entries.push(entry(&message));
            }
            Event::Skipped { conversation, seq, .. } => {
                let mut known = self.lock();
                let view = known.views.entry(conversation).or_default();
                if seq <= view.skipped {
                    return;
                }
                assert!(view.entries.is_empty(), "what was said before the user came comes first");
                view.skipped = seq;
            }
            Event::Accepted { id, place } => {
                assert!(self.open.remove(&id.0), "{} {}: one fate", self.user, self.number);
                self.ledger.accepted_at(id.0, place.epoch, place.seq);
            }
            Event::Rejected { id, text, .. } => panic!("{id:?} was rejected: {text}"),
            Event::Reset { conversation } => panic!("{conversation:?} has lost nothing"),
            Event::State(state) => {
                self.lock().state = format!("{state:?}");
                // Half-open connections count as the user's, until the server finds out.
                if let State::Closed(ClosedReason::TooManyDevices) = state {
                    client.connect().await.unwrap();
                }
            }
            // A store that is busy after a kill, or whose disk is full.
            Event::Delayed { id, text, .. } => {
                assert!(self.open.contains(&id.0), "it has no fate");
                self.ledger.delayed(&text);
            }
            Event::Marked { .. }
            | Event::Named { .. }
            | Event::Typing { .. }
            | Event::Notice { .. }
            | Event::Presence { .. }
            | Event::Call { .. }
            | Event::CaughtUp
            | Event::Stalled => {}
        }
    }
}

fn entry(message: &LogMessage) -> Entry {
    Entry {
        seq: message.seq,
        from: message.from.as_str().to_owned(),
        id: message.id.0,
        text: message.content.text.clone().into(),
    }
}
