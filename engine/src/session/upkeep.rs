//! What keeps a session's connection in use: its beginning and end, what time makes due on it, and when it asks for heads.

use bytes::Bytes;

use super::{
    Session,
    event::{SessionNotification, SessionState},
    log::Teller,
    state::Phase,
    submits::overdue,
};
use crate::{
    client::{ClientAction, LossCause, PING_LIMIT_BYTES, backoff},
    time::Instant,
};

impl Session {
    pub(super) fn opened(&mut self, now: Instant) {
        if !self.link.opened(now, &mut self.actions) {
            self.stats.misplaced_events += 1;
            return;
        }
        self.stats.opened += 1;
        self.phase = Phase::Greeting { hello_due: true, deadline: now + self.config.connect_timeout };
    }

    pub(super) fn pinged(&mut self, now: Instant, payload: Bytes) {
        if payload.len() > PING_LIMIT_BYTES {
            self.stats.misplaced_events += 1;
        } else if self.link.received(now) {
            let all_answered = self.window.push_pong(payload);
            self.stats.pongs_skipped += u64::from(!all_answered);
        } else if !self.link.is_closing() {
            self.stats.misplaced_events += 1;
        }
    }

    pub(super) fn ended(&mut self, now: Instant, close: Option<u16>) {
        if self.link.ended(now, close, &mut self.actions).is_some() {
            self.lost();
        }
        self.count_dials();
    }

    /// Closes a link that is of no use any more; another one follows.
    pub(super) fn give_up(&mut self, now: Instant, code: u16, cause: LossCause) {
        self.link.give_up(now, code, cause, &mut self.actions);
        self.down();
    }

    pub(super) fn lost(&mut self) {
        self.stats.lost += 1;
        self.window.clear();
        self.down();
    }

    /// Nothing more goes over the current link, and no answer comes.
    pub(super) fn down(&mut self) {
        self.phase = Phase::Down;
        self.stats.submits_requeued += self.submits.link_lost();
        self.logs.link_lost();
        self.calls.link_lost();
        self.typing.link_lost();
        self.window.forget_pongs();
        (self.heartbeat_due, self.resync_due, self.paced_until) = (false, false, None);
    }

    /// Does what time or the last event has made due.
    pub(super) fn settle(&mut self, now: Instant) {
        let Self { typing, stats, actions, config, .. } = self;
        typing.forget(now, &mut Teller::new(actions, stats, config));
        let Phase::Up { heads, caught_up } = &mut self.phase else { return };
        if *heads && !*caught_up && self.logs.is_complete() {
            *caught_up = true;
            for notification in
                [SessionNotification::CaughtUp, SessionNotification::StateChanged(SessionState::Online)]
            {
                self.actions.push_back(ClientAction::Notify(notification));
            }
        }
        self.submits.wake(now);
        self.logs.wake(now);
        self.paced_until = self.paced_until.filter(|until| *until > now);
        if self.heartbeat_at() <= now {
            self.heartbeat_due = true;
            self.quiet_since = now;
        }
        if self.resync_at <= now {
            self.resync_due = true;
            self.resynced_at = now;
            self.plan_resync(now);
        }
    }

    pub(super) fn heartbeat_at(&self) -> Instant {
        self.quiet_since + self.terms.heartbeat_interval
    }

    pub(super) fn unanswered_at(&self) -> Option<Instant> {
        let since = [self.submits.waiting_since(), self.logs.waiting_since()].into_iter().flatten().min();
        overdue(since, self.config.answer_timeout)
    }

    /// The next Resync is due after the interval, less a random part of up to a quarter of it.
    pub(super) fn plan_resync(&mut self, now: Instant) {
        let interval = self.terms.resync_interval;
        self.resync_at = now + backoff::between(&mut self.rng, interval * 3 / 4, interval);
    }

    /// Something odd has come: the next Resync is due as soon as it may be.
    pub(super) fn resync_soon(&mut self) {
        let soon = self.resynced_at + self.config.resync_floor;
        self.resync_at = self.resync_at.min(soon.max(self.now));
    }
}
