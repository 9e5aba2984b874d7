//! The link: dialling, watching for signs of life, closing, and dialling again. Knows nothing of what the
//! messages say.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::{
    backoff::{Backoff, Delay},
    config::Reconnect,
    event::{ClientAction, ClosedReason, ConnectionState, LinkId, LossCause},
};
use crate::{
    close::CloseReason,
    digest::Digest,
    time::{Instant, nanos},
};

/// What waits for the driver.
pub(crate) type Actions<N> = VecDeque<ClientAction<N>>;

/// The code of a close frame that says nothing but goodbye (RFC 6455 section 7.4.1).
const NORMAL_CLOSURE: u16 = CloseReason::PeerClosed.code();

/// ```text
///              connect                Opened
///   Closed ──────────────► Connecting ──────► Open
///    ▲  ▲                   ▲    │              │  │
///    │  │       delay over, │    │ failed,      │  │ close, undecodable message
///    │  │       connect     │    │ timed out    │  ▼
///    │  │                   │    ▼         lost │ Closing
///    │  └── close ──────── Waiting ◄───────────┘  │ Disconnected, or out of time
///    │                       ▲                    │
///    │                       └──── undecodable ───┤
///    └─── closed by the application, taken over ──┘
/// ```
/// Not drawn: `close` leads from Connecting to Closed as well, a close frame that says that another device
/// took over leads from Open to Closed, and `connect` while closing leads to Connecting.
#[derive(Clone, Debug)]
enum State {
    Closed(ClosedReason),
    Connecting { link: LinkId, deadline: Instant },
    Open(Open),
    Closing { link: LinkId, deadline: Instant, then: Then },
    Waiting { until: Instant, cause: LossCause },
}

#[derive(Clone, Debug)]
struct Open {
    link: LinkId,
    opened_at: Instant,
    received_at: Instant,
    /// When a heartbeat was last due.
    beat_at: Instant,
}

/// What follows a closing link.
#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    Dial,
    Wait(LossCause),
}

/// What the end of a link means for the messages that were on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// They go out again.
    Lost,
    /// They go out again, but one of them may be the reason.
    Refused,
    /// They do not go out again.
    Closed,
}

/// What a time-out asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Nothing,
    Heartbeat,
    Ended(End),
}

/// What a close code says about coming back.
enum Verdict {
    Return(Delay),
    Stay(ClosedReason),
}

/// How long a link may take for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkTimes {
    pub(crate) connect_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) idle_timeout: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: State,
    next_link: u64,
    backoff: Backoff,
    /// The shortest time after the end of this link that the server has asked for; for ever if there is none.
    absence: Option<Duration>,
    times: LinkTimes,
}

impl Link {
    pub(crate) fn new(times: LinkTimes, reconnect: Reconnect, seed: u64) -> Self {
        Self {
            state: State::Closed(ClosedReason::NotStarted),
            next_link: 0,
            backoff: Backoff::new(reconnect, seed),
            absence: Some(Duration::ZERO),
            times,
        }
    }

    /// Links dialled so far.
    pub(crate) const fn dialled(&self) -> u64 {
        self.next_link
    }

    /// The link whose events count.
    pub(crate) const fn current(&self) -> Option<LinkId> {
        match &self.state {
            State::Connecting { link, .. } | State::Closing { link, .. } => Some(*link),
            State::Open(open) => Some(open.link),
            State::Closed(_) | State::Waiting { .. } => None,
        }
    }

    /// The link that takes frames.
    pub(crate) const fn open(&self) -> Option<LinkId> {
        match &self.state {
            State::Open(open) => Some(open.link),
            State::Closed(_) | State::Connecting { .. } | State::Closing { .. } | State::Waiting { .. } => {
                None
            }
        }
    }

    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// Whether the application has closed the client, and not asked for a connection since.
    pub(crate) const fn is_closed_by_application(&self) -> bool {
        matches!(
            self.state,
            State::Closed(ClosedReason::Application) | State::Closing { then: Then::Close, .. }
        )
    }

    pub(crate) const fn connection_state(&self) -> ConnectionState {
        match &self.state {
            State::Closed(reason) => ConnectionState::Closed(*reason),
            State::Connecting { .. } => ConnectionState::Connecting { failures: self.backoff.failures() },
            State::Open(_) => ConnectionState::Online,
            State::Closing { .. } => ConnectionState::Closing,
            State::Waiting { until, cause } => {
                ConnectionState::Waiting { until: *until, failures: self.backoff.failures(), cause: *cause }
            }
        }
    }

    pub(crate) fn connect<N: From<ConnectionState>>(&mut self, now: Instant, actions: &mut Actions<N>) {
        match &mut self.state {
            State::Closed(_) => {
                self.backoff.reset();
                self.dial(now, actions);
            }
            State::Waiting { .. } => self.dial(now, actions),
            State::Closing { then: then @ Then::Close, .. } => *then = Then::Dial,
            State::Closing { then: Then::Dial | Then::Wait(_), .. }
            | State::Connecting { .. }
            | State::Open(_) => {}
        }
    }

    /// Ends the link on behalf of the application. Whether it takes time, [`Link::current`] tells.
    pub(crate) fn close<N: From<ConnectionState>>(&mut self, now: Instant, actions: &mut Actions<N>) {
        match &mut self.state {
            State::Closed(ClosedReason::Application) => {}
            State::Closed(
                ClosedReason::NotStarted
                | ClosedReason::TakenOver
                | ClosedReason::TooManyDevices
                | ClosedReason::SignedOut
                | ClosedReason::Banned
                | ClosedReason::Dismissed,
            )
            | State::Waiting { .. } => self.enter(State::Closed(ClosedReason::Application), actions),
            State::Connecting { link, .. } => {
                actions.push_back(ClientAction::Abort { link: *link });
                self.enter(State::Closed(ClosedReason::Application), actions);
            }
            State::Open(_) => self.close_open(now, NORMAL_CLOSURE, Then::Close, actions),
            State::Closing { then, .. } => *then = Then::Close,
        }
    }

    /// The current link has opened. False if it was not being opened.
    pub(crate) fn opened<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        actions: &mut Actions<N>,
    ) -> bool {
        match &self.state {
            State::Connecting { link, .. } => {
                let open = Open { link: *link, opened_at: now, received_at: now, beat_at: now };
                self.enter(State::Open(open), actions);
                true
            }
            State::Closed(_) | State::Open(_) | State::Closing { .. } | State::Waiting { .. } => false,
        }
    }

    /// A sign of life. False if the link is not open.
    pub(crate) fn received(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Open(open) => {
                open.received_at = now;
                true
            }
            State::Closed(_) | State::Connecting { .. } | State::Closing { .. } | State::Waiting { .. } => {
                false
            }
        }
    }

    /// The server has sent what no server sends.
    pub(crate) fn undecodable<N: From<ConnectionState>>(&mut self, now: Instant, actions: &mut Actions<N>) {
        self.give_up(now, CloseReason::Undecodable.code(), LossCause::Undecodable, actions);
    }

    /// Closes the open link, to dial again after a delay.
    pub(crate) fn give_up<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        code: u16,
        cause: LossCause,
        actions: &mut Actions<N>,
    ) {
        self.close_open(now, code, Then::Wait(cause), actions);
    }

    /// The server asks not to be dialled before this time after the end of this link; or not at all, unless the
    /// application wants it.
    pub(crate) const fn stay_away(&mut self, absence: Option<Duration>) {
        self.absence = absence;
    }

    /// The current link could not be opened, or is gone.
    pub(crate) fn ended<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        close: Option<u16>,
        actions: &mut Actions<N>,
    ) -> Option<End> {
        match &self.state {
            State::Connecting { .. } => {
                let cause = close.map_or(LossCause::ConnectFailed, LossCause::Closed);
                Some(self.lost(now, close, cause, actions))
            }
            State::Open(open) => {
                self.backoff.lived(open.received_at.saturating_since(open.opened_at));
                let cause = close.map_or(LossCause::Broken, LossCause::Closed);
                let end = self.lost(now, close, cause, actions);
                Some(if is_refusal(close) { End::Refused } else { end })
            }
            State::Closing { then, .. } => {
                let then = *then;
                Some(self.closed(now, close, then, actions))
            }
            State::Closed(_) | State::Waiting { .. } => None,
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Closed(_) => None,
            State::Connecting { deadline, .. } | State::Closing { deadline, .. } => Some(*deadline),
            State::Open(open) => Some(self.beat_due(open).min(self.idle_deadline(open))),
            State::Waiting { until, .. } => Some(*until),
        }
    }

    pub(crate) fn handle_timeout<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        actions: &mut Actions<N>,
    ) -> Wake {
        match &self.state {
            State::Closed(_) => Wake::Nothing,
            State::Connecting { link, deadline } if *deadline <= now => {
                actions.push_back(ClientAction::Abort { link: *link });
                Wake::Ended(self.lost(now, None, LossCause::ConnectTimeout, actions))
            }
            State::Open(open) if self.idle_deadline(open) <= now => {
                actions.push_back(ClientAction::Abort { link: open.link });
                self.backoff.lived(open.received_at.saturating_since(open.opened_at));
                Wake::Ended(self.lost(now, None, LossCause::Idle, actions))
            }
            State::Open(open) if self.beat_due(open) <= now => {
                if let State::Open(open) = &mut self.state {
                    open.beat_at = now;
                }
                Wake::Heartbeat
            }
            State::Closing { link, deadline, then } if *deadline <= now => {
                let then = *then;
                actions.push_back(ClientAction::Abort { link: *link });
                Wake::Ended(self.closed(now, None, then, actions))
            }
            State::Waiting { until, .. } if *until <= now => {
                self.dial(now, actions);
                Wake::Nothing
            }
            State::Connecting { .. } | State::Open(_) | State::Closing { .. } | State::Waiting { .. } => {
                Wake::Nothing
            }
        }
    }

    fn beat_due(&self, open: &Open) -> Instant {
        open.received_at.max(open.beat_at) + self.times.heartbeat_interval
    }

    fn idle_deadline(&self, open: &Open) -> Instant {
        open.received_at + self.times.idle_timeout
    }

    fn dial<N: From<ConnectionState>>(&mut self, now: Instant, actions: &mut Actions<N>) {
        self.absence = Some(Duration::ZERO);
        let link = LinkId(self.next_link);
        self.next_link = self.next_link.saturating_add(1);
        actions.push_back(ClientAction::Connect { link });
        self.enter(State::Connecting { link, deadline: now + self.times.connect_timeout }, actions);
    }

    fn close_open<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        code: u16,
        then: Then,
        actions: &mut Actions<N>,
    ) {
        if let State::Open(open) = &self.state {
            let link = open.link;
            self.backoff.lived(open.received_at.saturating_since(open.opened_at));
            actions.push_back(ClientAction::Close { link, code });
            self.enter(State::Closing { link, deadline: now + self.times.close_timeout, then }, actions);
        }
    }

    /// The link has ended by itself or by the server's will.
    fn lost<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        close: Option<u16>,
        cause: LossCause,
        actions: &mut Actions<N>,
    ) -> End {
        match (verdict(close), self.absence) {
            (Verdict::Return(delay), Some(absence)) => {
                let until = now + self.backoff.fail(delay).max(absence);
                self.enter(State::Waiting { until, cause }, actions);
            }
            (Verdict::Return(_), None) => self.enter(State::Closed(ClosedReason::Dismissed), actions),
            (Verdict::Stay(reason), _) => self.enter(State::Closed(reason), actions),
        }
        End::Lost
    }

    /// The link that was being closed has ended.
    fn closed<N: From<ConnectionState>>(
        &mut self,
        now: Instant,
        close: Option<u16>,
        then: Then,
        actions: &mut Actions<N>,
    ) -> End {
        match then {
            Then::Close => {
                self.enter(State::Closed(ClosedReason::Application), actions);
                End::Closed
            }
            Then::Dial => {
                self.backoff.reset();
                self.dial(now, actions);
                End::Lost
            }
            Then::Wait(cause) => match verdict(close) {
                Verdict::Stay(_) => self.lost(now, close, cause, actions),
                // The peer's close frame repeats our code (RFC 6455 section 5.5.1): it accuses nobody.
                Verdict::Return(_) => self.lost(now, None, cause, actions),
            },
        }
    }

    pub(crate) fn fold(&self, digest: &mut Digest<'_>) {
        digest.word(self.next_link);
        self.backoff.fold(digest);
        digest.flag(self.absence.is_some());
        digest.word(self.absence.map_or(0, nanos));
        match &self.state {
            State::Closed(reason) => {
                digest.word(0);
                digest.word(match reason {
                    ClosedReason::NotStarted => 0,
                    ClosedReason::Application => 1,
                    ClosedReason::TakenOver => 2,
                    ClosedReason::TooManyDevices => 3,
                    ClosedReason::Dismissed => 4,
                    ClosedReason::SignedOut => 5,
                    ClosedReason::Banned => 6,
                });
            }
            State::Connecting { link, deadline } => {
                digest.word(1);
                digest.word(link.0);
                digest.instant(*deadline);
            }
            State::Open(open) => {
                digest.word(2);
                digest.word(open.link.0);
                [open.opened_at, open.received_at, open.beat_at]
                    .into_iter()
                    .for_each(|at| digest.instant(at));
            }
            State::Closing { link, deadline, then } => {
                digest.word(3);
                digest.word(link.0);
                digest.instant(*deadline);
                match then {
                    Then::Close => digest.word(0),
                    Then::Dial => digest.word(1),
                    Then::Wait(cause) => {
                        digest.word(2);
                        fold_cause(*cause, digest);
                    }
                }
            }
            State::Waiting { until, cause } => {
                digest.word(4);
                digest.instant(*until);
                fold_cause(*cause, digest);
            }
        }
    }

    fn enter<N: From<ConnectionState>>(&mut self, state: State, actions: &mut Actions<N>) {
        self.state = state;
        actions.push_back(ClientAction::Notify(self.connection_state().into()));
    }
}

/// The table of [`Reconnect`](super::config::Reconnect).
const fn verdict(close: Option<u16>) -> Verdict {
    match close {
        Some(1002 | 1003 | 1007 | 1008 | 1009 | 4003) => Verdict::Return(Delay::Longest),
        Some(1013) => Verdict::Return(Delay::Long),
        Some(4000) => Verdict::Stay(ClosedReason::TakenOver),
        Some(4001) => Verdict::Stay(ClosedReason::TooManyDevices),
        Some(4004) => Verdict::Stay(ClosedReason::SignedOut),
        Some(4005) => Verdict::Stay(ClosedReason::Banned),
        Some(_) | None => Verdict::Return(Delay::Exponential),
    }
}

fn fold_cause(cause: LossCause, digest: &mut Digest<'_>) {
    digest.word(match cause {
        LossCause::ConnectFailed => 0,
        LossCause::ConnectTimeout => 1,
        LossCause::Idle => 2,
        LossCause::Undecodable => 3,
        LossCause::Broken => 4,
        LossCause::Closed(code) => 16 + u64::from(code),
        LossCause::Misbehaved => 5,
        LossCause::Unwelcomed => 6,
        LossCause::Unanswered => 7,
        LossCause::Goodbye => 8,
    });
}

/// Whether the code says that one message is at fault: undecodable, or too large.
const fn is_refusal(close: Option<u16>) -> bool {
    matches!(close, Some(1007 | 1009))
}
