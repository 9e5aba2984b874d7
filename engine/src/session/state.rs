//! How far a session is with its link, what the server has said to hold, and the digests of it all.

use core::time::Duration;

use super::{Session, SessionConfig, SessionState, wire::Welcome, within};
use crate::{
    digest::{Digest, Extent, as_named},
    time::{Instant, nanos},
};

/// ```text
///   Down ── opened ──► Greeting ── Welcome ──► Up ── Goodbye ──► Leaving
///    ▲                    │                    │                    │
///    └──── lost, given up, closed ─────────────┴────────────────────┘
/// ```
/// Not drawn: a server that says Goodbye instead of a Welcome leads from Greeting to Leaving.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Down,
    Greeting {
        hello_due: bool,
        deadline: Instant,
    },
    Up {
        /// Whether all heads have come since the Welcome.
        heads: bool,
        /// Whether all that they named has been told.
        caught_up: bool,
    },
    Leaving {
        deadline: Instant,
        /// What the application was told last.
        shown: SessionState,
    },
}

/// What the last Welcome said, within the bounds of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) message_bytes: u64,
    pub(super) in_flight: u32,
    pub(super) fetches: u32,
    pub(super) cursors: u32,
    pub(super) watches: u32,
    pub(super) heartbeat_interval: Duration,
    pub(super) resync_interval: Duration,
}

impl Terms {
    pub(super) const fn before_welcome(config: &SessionConfig) -> Self {
        Self {
            message_bytes: config.limits.message_bytes,
            in_flight: config.limits.in_flight,
            fetches: config.limits.fetches,
            cursors: config.limits.hello_cursors,
            watches: config.limits.watches,
            heartbeat_interval: config.heartbeat_interval,
            resync_interval: config.resync_interval,
        }
    }

    /// What is not said, or zero, is as configured.
    pub(super) fn of(config: &SessionConfig, welcome: &Welcome) -> Self {
        let Welcome { heartbeat_interval, resync_interval, limits: said, .. } = welcome;
        let own = &config.limits;
        let lower = |said: u32, own: u32| if said == 0 { own } else { said.min(own) };
        let message_bytes = if said.message_bytes == 0 { u64::MAX } else { said.message_bytes };
        let resync = resync_interval.unwrap_or(config.resync_interval);
        let heartbeat = heartbeat_interval.unwrap_or(config.heartbeat_interval);
        Self {
            message_bytes: message_bytes.min(own.message_bytes),
            in_flight: lower(said.pending, own.in_flight),
            fetches: lower(said.fetches, own.fetches),
            cursors: if said.cursors == 0 { own.hello_cursors } else { said.cursors },
            watches: lower(said.watches, own.watches),
            heartbeat_interval: within(heartbeat, HEARTBEAT_FLOOR, config.heartbeat_interval),
            resync_interval: within(resync, config.resync_floor, RESYNC_CAP),
        }
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        digest.word(self.message_bytes);
        [self.in_flight, self.fetches, self.cursors, self.watches]
            .into_iter()
            .for_each(|count| digest.word(count.into()));
        [self.heartbeat_interval, self.resync_interval].into_iter().for_each(|time| digest.word(nanos(time)));
    }
}

/// The shortest heartbeat interval that is taken from a Welcome.
const HEARTBEAT_FLOOR: Duration = Duration::from_secs(1);

/// The longest resync interval that is taken from a Welcome.
const RESYNC_CAP: Duration = Duration::from_secs(3_600);

impl Session {
    /// A digest of all that decides what the session does from here on.
    ///
    /// Two sessions of the same configuration whose digests are equal ask for the same actions from here on, if
    /// they are told the same. To be taken when [`Session::poll_action`] has given `None`. In it are the state
    /// of the link and what the server has said over it, the generator of the delays, all pending messages,
    /// every log with what came early, and what is being fetched. Times are distances from the latest `now`.
    /// Not in it are [`SessionStats`](super::SessionStats), which only count.
    ///
    /// Takes time in proportion to the state. The hash is the one of
    /// [`Server::state_digest`](crate::Server::state_digest).
    #[must_use]
    pub fn state_digest(&self) -> u64 {
        let mut digest = Digest::new(Extent::Behaviour, self.now, &as_named);
        self.fold(&mut digest);
        digest.finish()
    }

    /// A digest of everything: what [`Session::state_digest`] has, and counters and absolute times. Equal only
    /// after equal histories.
    #[must_use]
    pub fn full_digest(&self) -> u64 {
        let mut digest = Digest::new(Extent::Everything, self.now, &as_named);
        self.fold(&mut digest);
        digest.instant(self.now);
        self.stats.fold(&mut digest);
        digest.finish()
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        digest.bytes(&self.device_id);
        self.link.fold(digest);
        match &self.phase {
            Phase::Down => digest.word(0),
            Phase::Greeting { hello_due, deadline } => {
                digest.word(1);
                digest.flag(*hello_due);
                digest.instant(*deadline);
            }
            Phase::Up { heads, caught_up } => {
                digest.word(2);
                digest.flag(*heads);
                digest.flag(*caught_up);
                // Set anew by every Welcome.
                [self.quiet_since, self.resync_at, self.resynced_at]
                    .into_iter()
                    .for_each(|at| digest.instant(at));
                digest.word(self.nonces.0);
                digest.word(self.nonces.1);
            }
            Phase::Leaving { deadline, .. } => {
                digest.word(3);
                digest.instant(*deadline);
            }
        }
        self.terms.fold(digest);
        self.submits.fold(digest);
        self.logs.fold(digest);
        self.typing.fold(digest);
        self.watches.fold(digest);
        self.calls.fold(digest);
        self.window.fold(digest);
        self.pace.fold(digest);
        digest.instant_or_none(self.paced_until);
        [self.submit_first, self.heartbeat_due, self.resync_due]
            .into_iter()
            .for_each(|flag| digest.flag(flag));
        digest.generator(&self.rng);
        digest.len(self.actions.len());
    }
}
