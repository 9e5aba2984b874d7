//! The session client: one device of one user, its messages on their way into the logs, and the logs on their
//! way to it. The driving contract is in the documentation of [`Session`].

mod calls;
mod config;
mod event;
mod frames;
mod log;
mod logs;
mod pace;
mod received;
mod state;
mod stats;
mod submits;
mod typing;
mod upkeep;
mod watch;
mod wire;

pub use calls::{CallEnd, CallError, CallId, CallNews};
pub use config::{History, Retry, SessionConfig, SessionLimits};
pub use event::{
    Content, FetchError, LogCursor, LogMarks, LogMessage, NoOlderReason, OlderId, PendingSubmit,
    RejectReason, Resume, SessionAction, SessionNotification, SessionState, SubmitError,
};
pub use stats::SessionStats;
pub use watch::WatchError;

use core::time::Duration;

use crate::random::Xoshiro256PlusPlus;
use crate::{
    client::{
        ClientAction, ClientEvent, ConnectionState, LossCause, length,
        link::{Actions, Link, LinkTimes, Wake},
    },
    hash::SeededState,
    id::MessageId,
    storage::{Marks, Recipient},
    time::Instant,
};
use calls::Calls;
use frames::Window;
use log::Teller;
use logs::Logs;
use pace::Pace;
use state::{Phase, Terms};
use submits::Submits;
use typing::Typing;
use watch::Watches;

/// The code of a close frame that says nothing but goodbye (RFC 6455 section 7.4.1).
const NORMAL_CLOSURE: u16 = 1000;

/// One device's session with the server, kept up through everything that networks do: every message submitted
/// gets its one fate, and every message of every conversation is told once, in order.
///
/// [`Session`] does no IO and reads no clock. It is driven like a [`Client`](crate::Client), by the same events
/// and actions, over WebSocket connections with the subprotocol `switchboard.v1`; its driver does this for ever:
///
/// 1. Tell the session what happened: [`Session::handle`], a command of the application, or, when
///    [`Session::poll_timeout`] says that it is time, [`Session::handle_timeout`].
/// 2. Carry out [`Session::poll_action`] until it gives none.
/// 3. Wait for the next event, command, or for [`Session::poll_timeout`], which may have changed.
///
/// What the application keeps to go on after a restart, [`Resume`] says.
///
/// ```
/// use switchboard_engine::{
///     ClientAction, ClientEvent, Content, Instant, MessageId, Recipient, Resume, Session, SessionConfig,
///     SessionState, UserId,
/// };
///
/// let now = Instant::ZERO;
/// let config = SessionConfig::new(UserId::new("alice").unwrap());
/// // A real device has an id of the operating system's randomness, and keeps it.
/// let mut session = Session::new(config, 42, now, Resume { device_id: [7; 16], ..Resume::default() });
/// session.connect(now);
/// let bob = Recipient::User(UserId::new("bob").unwrap());
/// session.submit(now, MessageId([1; 16]), bob, Content::text("hello")).unwrap();
/// let mut frames = 0;
/// while let Some(action) = session.poll_action() {
///     match action {
///         ClientAction::Connect { link } => session.handle(now, ClientEvent::Opened { link }),
///         ClientAction::Send { link, frame } => {
///             frames += 1;
///             let payload_bytes = frame.payload().len() as u64;
///             session.handle(now, ClientEvent::Flushed { link, frames: 1, payload_bytes });
///         }
///         ClientAction::Close { .. } | ClientAction::Abort { .. } => {}
///         ClientAction::Notify(notification) => println!("{notification:?}"),
///     }
/// }
/// // Hello is out; everything else waits for the Welcome.
/// assert_eq!((frames, session.state()), (1, SessionState::Greeting));
/// assert_eq!(session.pending_submits(), 1);
/// ```
///
/// # What becomes of a message
/// [`Session::submit`] takes it into a bounded queue, connected or not. It is sent, and sent again after a lost
/// connection or when the server cannot take it for now, until the server has accepted or rejected it for good:
/// one [`SessionNotification::Accepted`] or [`SessionNotification::Rejected`]. When the server cannot take it for now, a
/// [`SessionNotification::Delayed`] says so, and why, the first time. Closing changes nothing of this:
/// what is pending goes on with the next [`Session::connect`], or with the next session if the application
/// keeps it ([`Resume`]). Within a conversation messages are stored in the order in which they were submitted
/// (but see [`SessionLimits::in_flight_per_conversation`]); a message that waits holds up no other conversation.
///
/// An accepted message is told as [`SessionNotification::Message`] as well, in its place in the log.
///
/// # What becomes of a log
/// Each conversation has a cursor. The message after it is told, and moves it; what is older is dropped; what
/// is beyond is kept if there is room, and what lies between is fetched: one fetch at a time for each
/// conversation, taking turns. A log that has another epoch is told from its beginning after a
/// [`SessionNotification::Reset`]; only what the server answers when asked can bring that about.
///
/// # Broken servers
/// A frame that is undecodable or out of turn, or an answer that cannot be right, ends the connection; the next
/// attempt waits as after any failure. A push or a head that cannot be right is ignored. Both are counted in
/// [`SessionStats::protocol_errors`].
///
/// # Time
/// Every `now` is the driver's clock; a reading earlier than the one before counts as the one before.
#[derive(Clone, Debug)]
pub struct Session {
    config: SessionConfig,
    device_id: [u8; 16],
    now: Instant,
    link: Link,
    phase: Phase,
    terms: Terms,
    submits: Submits,
    logs: Logs,
    typing: Typing,
    watches: Watches,
    calls: Calls,
    window: Window,
    pace: Pace,
    /// When the pace allows the next frame, if one waits for that.
    paced_until: Option<Instant>,
    /// Whether a submit goes before a fetch next time.
    submit_first: bool,
    /// When something was sent last, or a heartbeat was due.
    quiet_since: Instant,
    heartbeat_due: bool,
    /// Heartbeats sent over the current link, and how many of them are answered.
    nonces: (u64, u64),
    /// When heads are asked for, and when they were last.
    resync_at: Instant,
    resynced_at: Instant,
    resync_due: bool,
    rng: Xoshiro256PlusPlus,
    /// What waits for the driver, except frames: those are made when they are polled, from what is true then.
    actions: Actions<SessionNotification>,
    stats: SessionStats,
}

impl Session {
    /// A session that is [closed](crate::ClosedReason::NotStarted) until [`Session::connect`], and knows what
    /// an earlier one knew. All its randomness, that of its delays, comes from `seed`: sessions with the same
    /// seed dial in step, so give each its own.
    ///
    /// The configuration should be [valid](SessionConfig::validate); an invalid one does no harm beyond what it
    /// says.
    #[must_use]
    pub fn new(config: SessionConfig, seed: u64, now: Instant, resume: Resume) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let keys = SeededState::new(rng.next_u64(), rng.next_u64());
        let times = LinkTimes {
            connect_timeout: config.connect_timeout,
            close_timeout: config.close_timeout,
            heartbeat_interval: config.heartbeat_interval,
            idle_timeout: config.idle_timeout,
        };
        let Resume { device_id, cursors, marks, submits } = resume;
        let mut session = Self {
            device_id,
            now,
            link: Link::new(times, config.reconnect.clone(), rng.next_u64()),
            phase: Phase::Down,
            terms: Terms::before_welcome(&config),
            submits: Submits::new(config.limits.clone(), config.retry, keys),
            logs: Logs::new(&config, keys, cursors, &marks),
            typing: Typing::new(&config),
            watches: Watches::default(),
            calls: Calls::default(),
            window: Window::new(config.limits.window_bytes, config.limits.pongs),
            pace: Pace::default(),
            paced_until: None,
            submit_first: false,
            quiet_since: now,
            heartbeat_due: false,
            nonces: (0, 0),
            resync_at: now,
            resynced_at: now,
            resync_due: false,
            rng,
            actions: Actions::new(),
            stats: SessionStats::default(),
            config,
        };
        for submit in submits {
            let bytes = wire::submit_bytes(submit.id, &submit.conversation, &submit.content);
            match session.submits.push(submit, bytes) {
                true => session.stats.submitted += 1,
                false => session.stats.refused += 1,
            }
        }
        session
    }

    /// Wants a connection from now on, and again whenever it is lost. While waiting for the next attempt, makes
    /// it now. While connecting or connected, does nothing.
    pub fn connect(&mut self, now: Instant) {
        let now = self.advance(now);
        self.link.connect(now, &mut self.actions);
        self.count_dials();
    }

    /// Wants no connection any more. What was handed over is still written; what is pending stays pending.
    pub fn close(&mut self, now: Instant) {
        let now = self.advance(now);
        self.link.close(now, &mut self.actions);
        self.down();
        self.end_calls();
    }

    /// What is told from now on of conversations that are new to this device: see [`SessionConfig::history`]. A device
    /// that has caught up once wants [`History::All`]: what is new to it then was said while it was away.
    pub const fn set_history(&mut self, history: History) {
        self.config.history = history;
    }

    /// Takes a message for a conversation. Its id is the caller's: 16 random bytes of the operating system's,
    /// and the same ones whenever the same message is submitted, in whichever session of this user.
    ///
    /// # Errors
    /// If too many messages are pending, one with this id is, or the message is too large. The session is as it
    /// was.
    pub fn submit(
        &mut self,
        now: Instant,
        id: MessageId,
        conversation: Recipient,
        content: Content,
    ) -> Result<(), SubmitError> {
        self.advance(now);
        if let Err(error) = self.admits(id, &conversation, &content) {
            self.stats.refused += 1;
            return Err(error);
        }
        let bytes = wire::submit_bytes(id, &conversation, &content);
        self.typing.forget_own(&conversation);
        self.submits.push(PendingSubmit { id, conversation, content }, bytes);
        self.stats.submitted += 1;
        Ok(())
    }

    /// Whether [`Session::submit`] would take this message now: for an application that keeps it first.
    ///
    /// # Errors
    /// Those of [`Session::submit`].
    pub fn admits(
        &self,
        id: MessageId,
        conversation: &Recipient,
        content: &Content,
    ) -> Result<(), SubmitError> {
        let bytes = wire::submit_bytes(id, conversation, content);
        let limit_bytes = self.terms.message_bytes;
        match self.submits.admit(id, bytes) {
            Ok(()) if bytes > limit_bytes => Err(SubmitError::TooLarge { bytes, limit_bytes }),
            admitted => admitted,
        }
    }

    /// The user has seen a conversation up to this place; what has not been told yet is left out. The server is told
    /// as soon as there is a connection, at most once in [`SessionConfig::mark_interval`] for each conversation: the
    /// newest state is what counts. Returns whether the mark has moved; it never moves back.
    pub fn mark_read(&mut self, now: Instant, conversation: &Recipient, seq: u64) -> bool {
        self.advance(now);
        let Self { logs, stats, actions, config, .. } = self;
        logs.read(conversation, seq, &mut Teller::new(actions, stats, config))
    }

    /// How far the user and the other side are with a conversation, in this order; none if it is not known here.
    #[must_use]
    pub fn marks(&self, conversation: &Recipient) -> Option<(Marks, Marks)> {
        self.logs.marks_of(conversation)
    }

    /// The user types in a conversation, or has stopped. While the user types, the others are told so again and again;
    /// a [`Session::submit`] to the conversation and a lost connection end it too. Returns false, and tells nobody, if
    /// there is no connection or the user types in too many conversations.
    pub fn typing(&mut self, now: Instant, conversation: Recipient, types: bool) -> bool {
        let now = self.advance(now);
        matches!(self.phase, Phase::Up { .. }) && self.typing.set(now, conversation, types)
    }

    /// Asks for at most `limit` messages of a conversation older than `before_seq`; 0: the newest ones. With a
    /// `limit` of 0, as many as the server gives at once. The answer is one [`SessionNotification::Older`] or
    /// [`SessionNotification::NoOlder`], as soon as there is a connection.
    ///
    /// # Errors
    /// If too many requests wait, or there can be nothing older.
    pub fn fetch_older(
        &mut self,
        now: Instant,
        conversation: Recipient,
        before_seq: u64,
        limit: u32,
    ) -> Result<OlderId, FetchError> {
        self.advance(now);
        match before_seq {
            1 => Err(FetchError::NothingOlder),
            _ => self.logs.fetch_older(conversation, before_seq, limit).ok_or(FetchError::TooMany),
        }
    }

    /// Something happened on a link.
    pub fn handle(&mut self, now: Instant, event: ClientEvent) {
        let now = self.advance(now);
        if self.link.current() != Some(event.link()) {
            self.stats.stale_events += 1;
            return;
        }
        match event {
            ClientEvent::Opened { .. } => self.opened(now),
            ClientEvent::ConnectFailed { .. } => {
                if self.link.open().is_some() || self.link.is_closing() {
                    self.stats.misplaced_events += 1;
                }
                self.ended(now, None);
            }
            ClientEvent::Received { message, .. } => self.received(now, message),
            ClientEvent::Pinged { payload, .. } => self.pinged(now, payload),
            ClientEvent::Flushed { frames, payload_bytes, .. } => {
                if !self.window.flushed(frames, payload_bytes) {
                    self.stats.misplaced_events += 1;
                }
            }
            ClientEvent::Disconnected { close, .. } => self.ended(now, close),
        }
        self.settle(now);
    }

    /// The next thing to do; none when all is done.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<SessionAction> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let link = self.link.open()?;
        self.next_frame().map(|frame| ClientAction::Send { link, frame })
    }

    /// When [`Session::handle_timeout`] is to be called; none if nothing is to be waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Down => None,
            Phase::Greeting { deadline, .. } | Phase::Leaving { deadline, .. } => Some(*deadline),
            Phase::Up { .. } => {
                let dues = [
                    Some(self.resync_at),
                    Some(self.heartbeat_at()),
                    self.unanswered_at(),
                    self.submits.next_wake(),
                    self.logs.next_wake(),
                    self.typing.next_due(self.now),
                    self.paced_until,
                ];
                dues.into_iter().flatten().min()
            }
        };
        [self.link.next_timeout(), phase, self.typing.next_forgotten()].into_iter().flatten().min()
    }

    /// Does what is due. Too early a call does nothing. Afterwards, [`Session::poll_timeout`] is after `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        match self.link.handle_timeout(now, &mut self.actions) {
            Wake::Nothing => {}
            Wake::Heartbeat => self.heartbeat_due |= matches!(self.phase, Phase::Up { .. }),
            Wake::Ended(_) => self.lost(),
        }
        match &self.phase {
            Phase::Greeting { deadline, .. } if *deadline <= now => {
                self.give_up(now, NORMAL_CLOSURE, LossCause::Unwelcomed);
            }
            Phase::Leaving { deadline, .. } if *deadline <= now => {
                self.give_up(now, NORMAL_CLOSURE, LossCause::Goodbye);
            }
            Phase::Up { .. } if self.unanswered_at().is_some_and(|at| at <= now) => {
                self.give_up(now, NORMAL_CLOSURE, LossCause::Unanswered);
            }
            Phase::Down | Phase::Greeting { .. } | Phase::Up { .. } | Phase::Leaving { .. } => {}
        }
        self.settle(now);
        self.count_dials();
    }

    /// What an application shows of the session.
    #[must_use]
    pub fn state(&self) -> SessionState {
        match (self.link.connection_state(), &self.phase) {
            (ConnectionState::Online, Phase::Up { caught_up: true, .. }) => SessionState::Online,
            (ConnectionState::Online, Phase::Up { .. }) => SessionState::Resyncing,
            (ConnectionState::Online, Phase::Leaving { shown, .. }) => *shown,
            (state, _) => state.into(),
        }
    }

    /// Messages submitted without a fate.
    #[must_use]
    pub fn pending_submits(&self) -> usize {
        self.submits.len()
    }

    /// What these count against [`SessionLimits::pending_bytes`].
    #[must_use]
    pub const fn pending_bytes(&self) -> u64 {
        self.submits.bytes()
    }

    /// What a session would have to know to go on from here, once [`Session::poll_action`] has given none. Takes
    /// time in proportion to what is known: an application keeps up with notifications instead.
    #[must_use]
    pub fn resume(&self) -> Resume {
        Resume {
            device_id: self.device_id,
            cursors: self.logs.cursors().collect(),
            marks: self.logs.marks().collect(),
            submits: self.submits.pending().collect(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn stats(&self) -> &SessionStats {
        &self.stats
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn is_undrained(&self) -> bool {
        length(self.actions.len()) >= u64::from(self.config.limits.undrained_actions)
    }

    fn count_dials(&mut self) {
        self.stats.dialled = self.link.dialled();
    }
}

/// A time within bounds; the lower one counts more.
fn within(time: Duration, floor: Duration, cap: Duration) -> Duration {
    time.min(cap).max(floor)
}
