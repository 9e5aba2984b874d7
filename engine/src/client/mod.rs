//! The client: keeps a link to a server, and carries an application's messages over it.
//! The driving contract is in the documentation of [`Client`].

pub(crate) mod backoff;
mod classic;
mod config;
mod event;
pub(crate) mod link;
mod outbox;
mod stats;

use alloc::boxed::Box;
use core::fmt;

use bytes::Bytes;

pub use classic::{Body, Incoming, IncomingKind, Media, Outgoing, Scope, SignalKind, Target};
pub use config::{ClientConfig, ClientLimits, Reconnect};
pub use event::{
    ClientAction, ClientEvent, ClosedReason, ConnectionState, DropReason, LinkId, LossCause, Notification,
    SendId,
};
pub use stats::ClientStats;

use crate::{
    digest::{Digest, Extent, as_named},
    time::Instant,
};
use classic::{Class, Classic, Received};
use link::{Actions, End, Link, LinkTimes, Wake};
use outbox::Outbox;

/// The longest payload of a Ping (RFC 6455 section 5.5).
pub(crate) const PING_LIMIT_BYTES: usize = 125;

/// Why a message was not accepted for sending. Each variant gives the message back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// As many messages or bytes wait as may. Some room comes with every [`Notification::Flushed`].
    QueueFull(Box<Outgoing>),
    /// It can never be sent.
    TooLarge {
        /// The message.
        message: Box<Outgoing>,
        /// Its size, encoded.
        bytes: u64,
        /// The size that it may have.
        limit_bytes: u64,
    },
    /// It is a call signal, and there is no connection now.
    Offline(Box<Outgoing>),
    /// The application has closed the client.
    Closed(Box<Outgoing>),
}

impl SendError {
    /// The message.
    #[must_use]
    pub fn into_message(self) -> Outgoing {
        match self {
            Self::QueueFull(message)
            | Self::TooLarge { message, .. }
            | Self::Offline(message)
            | Self::Closed(message) => *message,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull(_) => f.write_str("sending a message: the queue is full"),
            Self::TooLarge { bytes, limit_bytes, .. } => {
                write!(f, "sending a message: it has {bytes} bytes, and {limit_bytes} are allowed")
            }
            Self::Offline(_) => f.write_str("sending a call signal: there is no connection"),
            Self::Closed(_) => f.write_str("sending a message: the client is closed"),
        }
    }
}

impl core::error::Error for SendError {}

/// One user's connection to a server, kept up through everything that networks do, and the messages that go
/// over it.
///
/// [`Client`] does no IO and reads no clock. Its driver owns the sockets and the clock, and does this for ever:
///
/// 1. Tell the client what happened: [`Client::handle`], a command of the application, or, when
///    [`Client::poll_timeout`] says that it is time, [`Client::handle_timeout`].
/// 2. Carry out [`Client::poll_action`] until it gives none.
/// 3. Wait for the next event, command, or for [`Client::poll_timeout`], which may have changed.
///
/// ```
/// use switchboard_engine::{
///     Client, ClientAction, ClientConfig, ClientEvent, ConnectionState, Instant, Notification, UserId,
/// };
///
/// // A driver whose network needs no time: every link opens at once, and takes every frame.
/// let mut now = Instant::ZERO;
/// let config = ClientConfig::new(UserId::new("alice").unwrap());
/// let mut client = Client::new(config, 42, now);
/// client.connect(now);
/// let mut frames_written = 0;
/// while frames_written < 3 {
///     while let Some(action) = client.poll_action() {
///         match action {
///             ClientAction::Connect { link } => client.handle(now, ClientEvent::Opened { link }),
///             ClientAction::Send { link, frame } => {
///                 frames_written += 1;
///                 let payload_bytes = frame.payload().len() as u64;
///                 client.handle(now, ClientEvent::Flushed { link, frames: 1, payload_bytes });
///             }
///             ClientAction::Close { link, .. } => {
///                 client.handle(now, ClientEvent::Disconnected { link, close: None });
///             }
///             ClientAction::Abort { .. } => {}
///             ClientAction::Notify(Notification::StateChanged(state)) => println!("{state:?}"),
///             ClientAction::Notify(notification) => println!("{notification:?}"),
///         }
///     }
///     // No event will come of this network: the next thing to happen is a time-out.
///     if let Some(timeout) = client.poll_timeout() {
///         now = timeout;
///         client.handle_timeout(now);
///     }
/// }
/// // A heartbeat at 20 s and one at 40 s, then silence until 45 s; a new link, and its first heartbeat.
/// assert_eq!(client.stats().dialled, 2);
/// assert_eq!(client.state(), ConnectionState::Online);
/// ```
///
/// # What becomes of a message
/// [`Client::send`] takes it into a bounded queue. While a link is open, messages are handed to the driver in
/// order, as far as the window of unflushed bytes goes. Every accepted message ends in exactly one
/// notification: [`Notification::Flushed`] or [`Notification::Dropped`].
///
/// The classic protocol acknowledges nothing, so a message that was handed over and not reported flushed when
/// its link died may or may not have arrived. Messages (content types 1 to 5) are then sent again on the next
/// link, in order and before newer ones: they may arrive twice. Call signals (content types 0 and 6 to 20) are
/// dropped. A message that was flushed, into the operating system's buffer, and lost with the connection is
/// lost: the history that the server keeps is the only remedy.
///
/// # Time
/// Every `now` is the driver's clock; a reading earlier than the one before counts as the one before.
#[derive(Clone, Debug)]
pub struct Client {
    now: Instant,
    message_limit_bytes: u64,
    undrained_limit: u64,
    link: Link,
    classic: Classic,
    outbox: Outbox,
    /// What waits for the driver, except frames: those are made when they are polled, from what is true then.
    actions: Actions<Notification>,
    stats: ClientStats,
}

impl Client {
    /// A client that is [closed](ClosedReason::NotStarted) until [`Client::connect`]. All its randomness, the
    /// jitter of reconnecting, comes from `seed`: clients with the same seed dial in step, so give each its own.
    ///
    /// The configuration should be [valid](ClientConfig::validate); an invalid one does no harm beyond what it
    /// says, such as not waiting at all.
    #[must_use]
    // By value, like `Server::new`: a client keeps what it is configured with.
    #[allow(clippy::needless_pass_by_value)]
    pub fn new(config: ClientConfig, seed: u64, now: Instant) -> Self {
        let times = LinkTimes {
            connect_timeout: config.connect_timeout,
            close_timeout: config.close_timeout,
            heartbeat_interval: config.heartbeat_interval,
            idle_timeout: config.idle_timeout,
        };
        Self {
            now,
            message_limit_bytes: config.limits.message_bytes,
            undrained_limit: u64::from(config.limits.undrained_actions),
            link: Link::new(times, config.reconnect.clone(), seed),
            classic: Classic::new(&config),
            outbox: Outbox::new(config.limits),
            actions: Actions::new(),
            stats: ClientStats::default(),
        }
    }

    /// Wants a connection from now on, and again whenever it is lost. While waiting for the next attempt, makes
    /// it now. While connecting or online, does nothing.
    pub fn connect(&mut self, now: Instant) {
        let now = self.advance(now);
        self.link.connect(now, &mut self.actions);
        self.count_dials();
    }

    /// Wants no connection any more. What was handed over is still written; all other messages are dropped. An
    /// application that wants everything out waits until [`Client::pending_messages`] is zero.
    pub fn close(&mut self, now: Instant) {
        let now = self.advance(now);
        self.link.close(now, &mut self.actions);
        match self.link.current() {
            Some(_) => self.outbox.drop_queue(&mut self.actions, &mut self.stats),
            None => self.outbox.drop_all(&mut self.actions, &mut self.stats),
        }
    }

    /// Accepts a message for sending, at once if online.
    ///
    /// # Errors
    /// If the queue is full, the message is too large, it is a call signal and there is no connection, or the
    /// application has closed the client. The error gives the message back.
    pub fn send(&mut self, now: Instant, outgoing: Outgoing) -> Result<SendId, SendError> {
        self.advance(now);
        self.accept(outgoing).inspect(|_| self.stats.accepted += 1).inspect_err(|_| self.stats.refused += 1)
    }

    /// Something happened on a link.
    pub fn handle(&mut self, now: Instant, event: ClientEvent) {
        let now = self.advance(now);
        if self.link.current() != Some(event.link()) {
            self.stats.stale_events += 1;
            return;
        }
        match event {
            ClientEvent::Opened { .. } => {
                if self.link.opened(now, &mut self.actions) {
                    self.stats.opened += 1;
                    self.classic.link_opened();
                } else {
                    self.stats.misplaced_events += 1;
                }
            }
            ClientEvent::ConnectFailed { .. } => {
                if self.link.open().is_some() || self.link.is_closing() {
                    self.stats.misplaced_events += 1;
                }
                self.ended(now, None);
            }
            ClientEvent::Received { message, .. } => self.received(now, message),
            ClientEvent::Pinged { payload, .. } => self.pinged(now, payload),
            ClientEvent::Flushed { frames, payload_bytes, .. } => {
                if !self.outbox.flushed(frames, payload_bytes, &mut self.actions, &mut self.stats) {
                    self.stats.misplaced_events += 1;
                }
            }
            ClientEvent::Disconnected { close, .. } => self.ended(now, close),
        }
    }

    /// The next thing to do; none when all is done.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<ClientAction> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let link = self.link.open()?;
        self.outbox.next_frame().map(|frame| ClientAction::Send { link, frame })
    }

    /// When to call [`Client::handle_timeout`], unless this changes before; none: not before something happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.link.next_timeout()
    }

    /// Does what is due. Too early a call does nothing. Afterwards, [`Client::poll_timeout`] is after `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        match self.link.handle_timeout(now, &mut self.actions) {
            Wake::Nothing => {}
            Wake::Heartbeat => {
                let queued = self.outbox.push_heartbeat(Classic::heartbeat());
                self.stats.heartbeats += u64::from(queued);
            }
            Wake::Ended(end) => self.settle(end),
        }
        self.count_dials();
    }

    /// What an application shows of the connection.
    #[must_use]
    pub const fn state(&self) -> ConnectionState {
        self.link.connection_state()
    }

    /// Messages accepted and neither flushed nor dropped.
    #[must_use]
    pub fn pending_messages(&self) -> usize {
        self.outbox.messages()
    }

    /// What these count against [`ClientLimits::queue_bytes`].
    #[must_use]
    pub const fn pending_bytes(&self) -> u64 {
        self.outbox.bytes()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn stats(&self) -> &ClientStats {
        &self.stats
    }

    /// A digest of all that decides what the client does from here on.
    ///
    /// Two clients of the same configuration whose digests are equal ask for the same actions from here on, if
    /// they are told the same. To be taken when [`Client::poll_action`] has given `None`. In it are the state of
    /// the link with its name and the next one's, the row of failures and the generator of the delays, and all
    /// messages that wait or are unflushed. Times are distances from the latest `now`. Not in it are
    /// [`ClientStats`] and the [`SendId`]s, which only count and name.
    ///
    /// The hash is the one of [`Server::state_digest`](crate::Server::state_digest).
    #[must_use]
    pub fn state_digest(&self) -> u64 {
        let mut digest = Digest::new(Extent::Behaviour, self.now, &as_named);
        self.fold(&mut digest);
        digest.finish()
    }

    /// A digest of everything: what [`Client::state_digest`] has, and counters, names and absolute times. Equal
    /// only after equal histories.
    #[must_use]
    pub fn full_digest(&self) -> u64 {
        let mut digest = Digest::new(Extent::Everything, self.now, &as_named);
        self.fold(&mut digest);
        digest.instant(self.now);
        self.stats.fold(&mut digest);
        digest.finish()
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        self.link.fold(digest);
        self.classic.fold(digest);
        self.outbox.fold(digest);
        digest.len(self.actions.len());
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn accept(&mut self, outgoing: Outgoing) -> Result<SendId, SendError> {
        if self.link.is_closed_by_application() {
            return Err(SendError::Closed(Box::new(outgoing)));
        }
        let limit_bytes = self.message_limit_bytes;
        match self.classic.encode(&outgoing, limit_bytes) {
            Err(bytes) => Err(SendError::TooLarge { message: Box::new(outgoing), bytes, limit_bytes }),
            Ok((_, Class::Signal | Class::LivePicture { .. })) if self.link.open().is_none() => {
                Err(SendError::Offline(Box::new(outgoing)))
            }
            Ok((message, class)) => self
                .outbox
                .push(message, class, &mut self.actions, &mut self.stats)
                .ok_or_else(|| SendError::QueueFull(Box::new(outgoing))),
        }
    }

    fn received(&mut self, now: Instant, message: Bytes) {
        if !self.link.received(now) {
            match self.link.is_closing() {
                true => self.stats.ignored += 1,
                false => self.stats.misplaced_events += 1,
            }
            return;
        }
        self.stats.received += 1;
        if self.is_undrained() {
            self.stats.undrained_events += 1;
            return;
        }
        match self.classic.decode(message) {
            Ok(Received::Heartbeat) => self.stats.heartbeats_received += 1,
            Ok(Received::Greeting) => self.notify(Notification::Welcomed),
            Ok(Received::Message(message)) => self.notify(Notification::Message(message)),
            Err(_) => {
                self.stats.undecodable += 1;
                self.link.undecodable(now, &mut self.actions);
            }
        }
    }

    fn pinged(&mut self, now: Instant, payload: Bytes) {
        if payload.len() > PING_LIMIT_BYTES {
            self.stats.misplaced_events += 1;
        } else if self.link.received(now) {
            let all_answered = self.outbox.push_pong(payload);
            self.stats.pongs_skipped += u64::from(!all_answered);
        } else if !self.link.is_closing() {
            self.stats.misplaced_events += 1;
        }
    }

    fn ended(&mut self, now: Instant, close: Option<u16>) {
        if let Some(end) = self.link.ended(now, close, &mut self.actions) {
            self.settle(end);
        }
        self.count_dials();
    }

    /// The link is gone: what becomes of the messages that were on it.
    fn settle(&mut self, end: End) {
        self.stats.lost += 1;
        match end {
            End::Lost => self.outbox.link_lost(false, &mut self.actions, &mut self.stats),
            End::Refused => self.outbox.link_lost(true, &mut self.actions, &mut self.stats),
            End::Closed => self.outbox.drop_all(&mut self.actions, &mut self.stats),
        }
    }

    fn notify(&mut self, notification: Notification) {
        self.actions.push_back(ClientAction::Notify(notification));
    }

    fn is_undrained(&self) -> bool {
        length(self.actions.len()) >= self.undrained_limit
    }

    fn count_dials(&mut self) {
        self.stats.dialled = self.link.dialled();
    }
}

/// A length as the limits count it.
pub(crate) fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
