//! What comes from the server, and what it changes.

use alloc::{boxed::Box, format, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{
    Session,
    event::{LogMessage, RejectReason, SessionNotification, SessionState},
    log::Teller,
    pace::Pace,
    state::{Phase, Terms},
    submits::Delay,
    wire::{self, Accepted, Page, Received, Refusal, Undecodable, Welcome},
};
use crate::{
    client::{ClientAction, LossCause, backoff::between},
    close::CloseReason,
    id::MessageId,
    storage::Head,
    time::Instant,
};

/// The close code that says that a frame came out of turn, or contradicts another one (docs/protocol.md).
const OUT_OF_TURN: u16 = 4003;

impl Session {
    pub(super) fn received(&mut self, now: Instant, frame: Bytes) {
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
            self.resync_soon();
            return;
        }
        let received = match wire::decode(frame, &self.config.user) {
            Ok(received) => received,
            Err(Undecodable) => {
                self.broken(now, CloseReason::Undecodable.code(), LossCause::Undecodable);
                return;
            }
        };
        match &self.phase {
            Phase::Down | Phase::Leaving { .. } => self.stats.ignored += 1,
            Phase::Greeting { hello_due, .. } => match received {
                Received::Welcome(welcome) if !hello_due && welcome.user == self.config.user.as_str() => {
                    self.welcomed(now, &welcome);
                }
                Received::Goodbye { after, spread } => self.goodbye(now, after, spread),
                Received::Welcome(_)
                | Received::Accepted(_)
                | Received::Rejected { .. }
                | Received::Delivery { .. }
                | Received::Page(_)
                | Received::Heartbeat { .. }
                | Received::Heads { .. }
                | Received::Unfetched { .. }
                | Received::Marked { .. }
                | Received::Typing { .. }
                | Received::Presence { .. }
                | Received::Call { .. }
                | Received::Notice { .. }
                | Received::InvalidHint
                | Received::InvalidAnswer => self.misbehaved(now),
            },
            Phase::Up { .. } => self.dispatch(now, received),
        }
    }

    fn dispatch(&mut self, now: Instant, received: Received) {
        match received {
            Received::Welcome(_) | Received::InvalidAnswer => self.misbehaved(now),
            Received::Accepted(accepted) => self.accepted(now, accepted),
            Received::Rejected { id, refusal, text } => self.rejected(now, id, refusal, text),
            Received::Delivery { conversation, epoch, message } => {
                let Self { logs, typing, stats, actions, config, .. } = self;
                let mut teller = Teller::new(actions, stats, config);
                // Whoever has said something has stopped to type it.
                typing.told(now, conversation.clone(), message.from.clone(), false, &mut teller);
                logs.delivered(&conversation, epoch, message, &mut teller);
            }
            Received::Page(page) => self.page(now, page),
            Received::Heartbeat { nonce } => self.heartbeat(nonce),
            Received::Goodbye { after, spread } => self.goodbye(now, after, spread),
            Received::Heads { heads, invalid, last } => self.heads(now, heads, invalid, last),
            Received::Unfetched { fetch_id, refusal } => {
                let Self { logs, stats, actions, config, rng, .. } = self;
                let mut teller = Teller::new(actions, stats, config);
                logs.unfetched(now, fetch_id, refusal, rng, &mut teller);
            }
            Received::Call { id, user, call } => self.call(id, user, call),
            Received::Marked { conversation, epoch, user, marks } => {
                let Self { logs, stats, actions, config, .. } = self;
                let mut teller = Teller::new(actions, stats, config);
                logs.marked(&conversation, epoch, &user, &config.user, marks, &mut teller);
            }
            Received::Typing { conversation, user, types } => {
                let Self { typing, stats, actions, config, .. } = self;
                typing.told(now, conversation, user, types, &mut Teller::new(actions, stats, config));
            }
            Received::Presence { user, online, last_seen_ms } => self.presence(user, online, last_seen_ms),
            Received::Notice { text } => self.notify(SessionNotification::Notice { text }),
            Received::InvalidHint => {
                self.stats.protocol_errors += 1;
                self.resync_soon();
            }
        }
    }

    fn welcomed(&mut self, now: Instant, welcome: &Welcome) {
        self.stats.welcomed += 1;
        self.terms = Terms::of(&self.config, welcome);
        self.pace = Pace::new(&welcome.limits);
        self.phase = Phase::Up { heads: false, caught_up: false };
        self.nonces = (0, 0);
        (self.quiet_since, self.resynced_at) = (now, now);
        self.plan_resync(now);
        self.logs.link_opened();
        self.watches.link_opened();
        self.notify(SessionNotification::StateChanged(SessionState::Resyncing));
        for entry in self.submits.take_larger(self.terms.message_bytes) {
            self.stats.rejected_locally += 1;
            let (bytes, limit_bytes) = (entry.bytes, self.terms.message_bytes);
            let text = format!("the message has {bytes} bytes, and this server reads {limit_bytes}").into();
            self.notify(SessionNotification::Rejected { id: entry.id, code: RejectReason::TooLarge, text });
        }
    }

    fn accepted(&mut self, now: Instant, accepted: Accepted) {
        let Accepted { id, conversation, place } = accepted;
        match self.submits.conversation(id) {
            Some(expected) if *expected != conversation => return self.misbehaved(now),
            Some(_) => {}
            None => {
                self.stats.unasked += 1;
                return;
            }
        }
        let Some(entry) = self.submits.accept(id) else { return };
        self.stats.accepted += 1;
        self.notify(SessionNotification::Accepted { id, place });
        let message = LogMessage {
            seq: place.seq,
            id,
            from: self.config.user.clone(),
            content: entry.content,
            stored_at_ms: place.stored_at_ms,
            own: true,
            changed_seq: 0,
            is_recalled: false,
        };
        let Self { logs, stats, actions, config, .. } = self;
        let mut teller = Teller::new(actions, stats, config);
        logs.delivered(&conversation, place.epoch, message, &mut teller);
    }

    fn rejected(&mut self, now: Instant, id: MessageId, refusal: Refusal, text: Box<str>) {
        let asked = match refusal {
            Refusal::Transient => {
                let delay = self.submits.delay(now, id, &mut self.rng);
                self.stats.submits_delayed += u64::from(delay.is_some());
                if let Some(Delay { until, is_news: true }) = delay {
                    self.notify(SessionNotification::Delayed { id, text, until });
                }
                delay.is_some()
            }
            Refusal::Final(code) => {
                let taken = self.submits.reject(id).is_some();
                if taken {
                    self.stats.rejected += 1;
                    self.notify(SessionNotification::Rejected { id, code, text });
                }
                taken
            }
        };
        self.stats.unasked += u64::from(!asked);
    }

    fn page(&mut self, now: Instant, page: Page) {
        let Self { logs, stats, actions, config, .. } = self;
        let mut teller = Teller::new(actions, stats, config);
        if logs.page(page, &mut teller).is_err() {
            self.misbehaved(now);
        }
    }

    fn heads(&mut self, now: Instant, heads: Vec<Head>, invalid: u64, last: bool) {
        if invalid > 0 {
            self.stats.protocol_errors += invalid;
            self.resync_soon();
        }
        let Self { logs, stats, actions, config, .. } = self;
        let mut teller = Teller::new(actions, stats, config);
        for head in heads {
            logs.head(head, &mut teller);
        }
        if last {
            if let Phase::Up { heads, .. } = &mut self.phase {
                *heads = true;
            }
            self.end_lost_calls();
            if invalid == 0 {
                self.plan_resync(now);
            }
        }
    }

    /// Heartbeats are this side's: one that answers none is not answered either, or the two sides would answer
    /// each other for ever.
    fn heartbeat(&mut self, nonce: u64) {
        let (sent, answered) = &mut self.nonces;
        if (*answered + 1..=*sent).contains(&nonce) {
            *answered = nonce;
            self.stats.heartbeats_received += 1;
        } else {
            self.stats.unasked += 1;
        }
    }

    fn goodbye(&mut self, now: Instant, after: Option<Duration>, spread: Duration) {
        let absence = after.map(|after| after + between(&mut self.rng, Duration::ZERO, spread));
        self.link.stay_away(absence.map(|absence| absence.min(self.config.absence_limit)));
        let shown = self.state();
        self.down();
        self.phase = Phase::Leaving { deadline: now + self.config.close_timeout, shown };
    }

    fn misbehaved(&mut self, now: Instant) {
        self.broken(now, OUT_OF_TURN, LossCause::Misbehaved);
    }

    fn broken(&mut self, now: Instant, code: u16, cause: LossCause) {
        self.stats.protocol_errors += 1;
        self.stats.given_up += 1;
        self.give_up(now, code, cause);
    }

    pub(super) fn notify(&mut self, notification: SessionNotification) {
        self.actions.push_back(ClientAction::Notify(notification));
    }
}
