//! How a client is started.

use switchboard_engine::{ConfigError, History, Session, SessionConfig, UserId};
use switchboard_websocket::SESSION_SUBPROTOCOL;
use tokio::sync::{mpsc, watch};

use super::{
    address::ServerUrl,
    driver::Driver,
    event::State,
    handle::Client,
    link::Target,
    queue::{Events, QueueLimits, queue},
    retell::Retelling,
    store::{MemoryStore, Store, StoreError, StoreThread},
    task::Task,
};
use crate::{
    accounts::Token,
    tls::{ClientTls, TrustError},
};

/// Commands that may wait for the client's task; then callers wait.
const WAITING_COMMANDS: usize = 64;
/// Events that may wait to be read, unless it is said otherwise.
const EVENT_LIMIT: usize = 1_024;
/// Bytes of these, unless it is said otherwise.
const EVENT_LIMIT_BYTES: usize = 16 << 20;

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration breaks one of its rules.
    #[error("the configuration of the client")]
    Config(#[source] ConfigError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// TLS is to be spoken, and nobody is trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The operating system has no random numbers.
    #[error("cannot draw random numbers for the client: {0}")]
    Random(getrandom::Error),
}

/// A client that is not started yet. Everything but the server and the user has a default.
#[derive(Debug)]
#[must_use = "a client does nothing before it is started"]
pub struct ClientBuilder<S = MemoryStore> {
    server: ServerUrl,
    config: SessionConfig,
    store: S,
    events: QueueLimits,
    connect: bool,
    token: Option<Token>,
    tls: Option<ClientTls>,
}

impl ClientBuilder {
    pub(super) fn new(server: ServerUrl, user: UserId) -> Self {
        Self {
            server,
            config: SessionConfig::new(user),
            store: MemoryStore::default(),
            events: QueueLimits { events: EVENT_LIMIT, bytes: EVENT_LIMIT_BYTES },
            connect: true,
            token: None,
            tls: None,
        }
    }
}

impl<S: Store> ClientBuilder<S> {
    /// Where the client keeps what it has to know after a restart. Default: a [`MemoryStore`] of its own.
    pub fn store<T: Store>(self, store: T) -> ClientBuilder<T> {
        let Self { server, config, events, connect, token, tls, .. } = self;
        ClientBuilder { server, config, store, events, connect, token, tls }
    }

    /// The session of the user at a server where users log in: the value of its cookie. Default: none, for servers that
    /// believe everybody.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Whose servers are believed to be who they say, with a `wss://` URL. Default: [`ClientTls::system`].
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What a new device is told of what was said before it came: in each conversation that there is until it has
    /// caught up for the first time. What is said later is told in any case. Default: everything.
    pub const fn history(mut self, history: History) -> Self {
        self.config.history = history;
        self
    }

    /// How many events may wait to be read, and how many bytes they may have, before the client stops reading
    /// from its connection; both at least 1. What is on its way into the queue comes on top: the messages of one
    /// page, at most 1,024. Default: 1,024 events and 16 MiB.
    pub fn event_limits(mut self, events: usize, bytes: usize) -> Self {
        self.events = QueueLimits { events: events.max(1), bytes: bytes.max(1) };
        self
    }

    /// Whether the client connects when it is started; otherwise it waits for [`Client::connect`]. Default: it
    /// does.
    pub const fn connecting(mut self, connect: bool) -> Self {
        self.connect = connect;
        self
    }

    /// Changes the times and limits of the session, whose defaults are those of [`SessionConfig`].
    pub fn configure(mut self, change: impl FnOnce(&mut SessionConfig)) -> Self {
        let user = self.config.user.clone();
        change(&mut self.config);
        // Store and address are this user's.
        self.config.user = user;
        self
    }

    /// Opens the store and starts the client, in the current tokio runtime, which needs IO and time. Does not wait
    /// for the connection.
    ///
    /// # Errors
    /// If the configuration is not valid, the store cannot be used, or there are no random numbers.
    pub async fn start(self) -> Result<(Client, Events), StartError> {
        let Self { server, mut config, store, events, connect, token, tls } = self;
        let tls = match tls.filter(|_| server.is_tls()) {
            None if server.is_tls() => Some(ClientTls::system()?),
            given => given,
        };
        config.validate().map_err(StartError::Config)?;
        let seed = getrandom::u64().map_err(StartError::Random)?;
        let mut device_id = [0; 16];
        getrandom::fill(&mut device_id).map_err(StartError::Random)?;

        let user = config.user.clone();
        let store = StoreThread::start(store)?;
        let owner = user.clone();
        let resume = store.call(move |store| store.open(&owner, device_id)).await?;
        let taken = store.call(|store| store.taken()).await?;
        let retelling = Retelling::new(&resume.cursors, taken);
        if !resume.cursors.is_empty() {
            config.history = History::All;
        }
        let target =
            Target { server, user: user.clone(), subprotocol: Some(SESSION_SUBPROTOCOL), token, tls };
        let driver = Driver::new(target, |now| Session::new(config, seed, now, resume));

        let (to_task, commands) = mpsc::channel(WAITING_COMMANDS);
        let (sender, events) = queue(events);
        let first = State::Closed(switchboard_engine::ClosedReason::NotStarted);
        let (states, state) = watch::channel(first);
        let task = Task::new(driver, store.clone(), commands, sender, states, retelling);
        tokio::spawn(task.run(connect));
        Ok((Client { user, commands: to_task, state, store }, events))
    }
}
