//! What comes to a shard from other threads, besides records of the bus.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use mio::Registry;
use rustls::ServerConnection;
use switchboard_engine::{Event, Gauges, Protocol, Stats, UserId};
use tokio::sync::oneshot;

use super::{Login, Order, Place};
use crate::{server::doorbell::Doorbell, store::StoreEvent};

/// A WebSocket connection fresh from its handshake.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) stream: std::net::TcpStream,
    /// With TLS, its state; what it has decrypted already comes after what was read ahead.
    pub(crate) tls: Option<ServerConnection>,
    pub(crate) user: UserId,
    /// What was agreed on in the handshake.
    pub(crate) protocol: Protocol,
    /// What was read together with the handshake's request.
    pub(crate) read_ahead: Bytes,
    /// What it was opened with; none where users are believed.
    pub(crate) login: Option<Login>,
    /// Counts it among the shard's connections until it is gone.
    pub(crate) place: Place,
}

/// What a shard is asked by those who watch it. It answers within its next turn.
#[derive(Debug)]
pub(crate) enum Question {
    /// Whether it goes on.
    Alive(oneshot::Sender<()>),
    /// What it has counted, and what there is: takes time in proportion to its connections.
    Figures(oneshot::Sender<Figures>),
}

/// What a shard's engine has counted, and how much of everything there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) stats: Stats,
    pub(crate) gauges: Gauges,
}

/// The mailbox of one shard. Whoever puts something into it does not wait, and rings the shard's bell.
#[derive(Debug)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    bell: Arc<Doorbell>,
}

/// Orders that may wait at the most.
const ORDERS_LIMIT: usize = 1024;

/// What is in it. Bounded by those who send: each connection has a place, and a store answers what the engine has outstanding,
/// and each question is that of one HTTP request; of orders there is a limit.
#[derive(Debug, Default)]
struct Mail {
    connections: VecDeque<NewConnection>,
    store_events: VecDeque<StoreEvent>,
    questions: Vec<Question>,
    orders: Vec<Order>,
    stop: bool,
    /// The shard has ended: nobody takes anything any more.
    closed: bool,
}

/// What a shard takes at a time.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) connections: Vec<NewConnection>,
    /// What the stores say, one by one. They say much at once, so what is not done in one turn stays here.
    pub(super) answers: VecDeque<Event>,
    pub(super) questions: Vec<Question>,
    /// To be obeyed after the connections are open that came before.
    pub(super) orders: Vec<Order>,
    /// The shard is to end; told once.
    pub(super) stop: bool,
    /// There is more.
    pub(super) more: bool,
}

impl Taken {
    fn unpack(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Answers(answers) => {
                let answered = answers.into_iter().map(|(ticket, answer)| Event::Answered { ticket, answer });
                self.answers.extend(answered);
            }
            StoreEvent::Directory(changes) => {
                self.answers.extend(changes.into_iter().map(Event::DirectoryChanged));
            }
        }
    }
}

impl Mailbox {
    /// An empty one, of the shard that waits with this poll.
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Self { mail: Mutex::default(), bell: Arc::new(Doorbell::new(registry)?) })
    }

    /// The shard's bell.
    pub(crate) fn bell(&self) -> &Arc<Doorbell> {
        &self.bell
    }

    /// Brings a connection. A shard that has ended takes nothing more, and the socket closes.
    pub(crate) fn connect(&self, new: NewConnection) {
        self.put(|mail| mail.connections.push_back(new));
    }

    /// Brings what a store says.
    pub(crate) fn store_event(&self, event: StoreEvent) {
        self.put(|mail| mail.store_events.push_back(event));
    }

    /// Asks something. A shard that has ended answers nothing, and drops the way to answer.
    pub(crate) fn ask(&self, question: Question) {
        self.put(|mail| mail.questions.push(question));
    }

    /// Gives an order, if there is room for it and the shard goes on. It holds for connections that wait to be opened as well:
    /// those are closed without a word.
    pub(crate) fn order(&self, order: Order) -> bool {
        let mut mail = self.mail();
        if mail.closed || mail.orders.len() >= ORDERS_LIMIT {
            return false;
        }
        let waiting = std::mem::take(&mut mail.connections);
        let (forbidden, left): (VecDeque<_>, _) = waiting.into_iter().partition(|new| order.forbids(new));
        mail.connections = left;
        mail.orders.push(order);
        drop(mail);
        drop(forbidden);
        self.bell.ring();
        true
    }

    /// Asks the shard to close its connections and end.
    pub(crate) fn stop(&self) {
        self.put(|mail| mail.stop = true);
    }

    fn put(&self, what: impl FnOnce(&mut Mail)) {
        let mut mail = self.mail();
        if mail.closed {
            return;
        }
        what(&mut mail);
        drop(mail);
        self.bell.ring();
    }

    /// Takes up to so many connections, and what the stores say until there are so many answers.
    pub(super) fn take(&self, into: &mut Taken, connections: usize, answers: usize) {
        let mut mail = self.mail();
        let some = mail.connections.len().min(connections);
        into.connections.extend(mail.connections.drain(..some));
        while into.answers.len() < answers
            && let Some(event) = mail.store_events.pop_front()
        {
            into.unpack(event);
        }
        into.questions.append(&mut mail.questions);
        into.orders.append(&mut mail.orders);
        into.stop = std::mem::take(&mut mail.stop);
        into.more =
            !mail.connections.is_empty() || !mail.store_events.is_empty() || into.answers.len() > answers;
        if mail.connections.is_empty() {
            // Thousands come at once after a restart, and then hardly any.
            mail.connections = VecDeque::new();
        }
    }

    /// Throws away what is there, and whatever comes.
    pub(super) fn close(&self) {
        let mut mail = self.mail();
        let left = std::mem::replace(&mut *mail, Mail { closed: true, ..Mail::default() });
        drop(mail);
        drop(left);
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
