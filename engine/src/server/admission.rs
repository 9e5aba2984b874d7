//! Connections that are taken in, and those that are told to come back later: a storm of clients that all connect at
//! once is spread over the time that it takes to load them.

use core::time::Duration;
use serde::{Deserialize, Serialize};

use super::{
    Server,
    connections::{Connection, Phase},
    rate::{Meter, Rate},
    session::frames::goodbye,
};
use crate::{
    action::{Action, Frame},
    close::CloseReason,
    digest::Digest,
    event::Protocol,
    id::ConnId,
    probe::{Canary, Probe, Rule},
    time::Instant,
};

/// The longest time for which a place is promised: longer than that no client waits by itself.
const PROMISE_LIMIT: Duration = Duration::from_secs(300);

/// What was used of the rate of admissions, and what was promised of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Admissions {
    taken: Meter,
    /// The last place that somebody was told to come back for.
    promised: Instant,
}

impl Admissions {
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        self.taken.fold(digest);
        digest.future_ns(self.promised.as_nanos());
    }
}

impl<P: Probe> Server<P> {
    /// Whether another connection is taken in now; else how long it is until there is a place for it.
    pub(super) fn take_admission(&mut self) -> Result<(), Duration> {
        let limits = &self.config.limits;
        if limits.admissions_per_second == 0 || self.probe.canary(Canary::AdmissionUnlimited) {
            return Ok(());
        }
        let rate =
            Rate { per_second: limits.admissions_per_second.into(), burst: limits.admission_burst.into() };
        if self.admissions.taken.take(self.now, 1, rate) {
            return Ok(());
        }
        // Each is told a place of its own, behind all that were told before: they come back one by one.
        let next = self.admissions.taken.next(self.now, 1, rate);
        let last = if self.probe.canary(Canary::AdmissionSamePlace) {
            Instant::ZERO
        } else {
            self.admissions.promised
        };
        let place = next.max(last + rate.interval());
        let longest = self.now + PROMISE_LIMIT;
        if place > longest {
            self.probe.reached(Rule::AdmissionsPromised);
        }
        self.admissions.promised = place.min(longest);
        Err(self.admissions.promised.saturating_since(self.now))
    }

    /// Closes a new connection that is not taken in, and tells a session when to come back. Nothing is known or asked
    /// of its user.
    pub(super) fn turn_away(&mut self, conn: ConnId, protocol: Protocol, wait: Duration) {
        self.probe.reached(Rule::AdmissionRefused);
        self.stats.refused_admission += 1;
        let mut connection = Connection::new(conn, Phase::Closing, self.now, None);
        let wait = (protocol == Protocol::Session).then_some(wait);
        let goodbye = wait.map(|wait| goodbye(CloseReason::NotAdmitted, wait, Duration::ZERO));
        let goodbye = goodbye.filter(|frame| {
            self.stats.pushes += 1;
            let has_room = connection.outbox.push(frame.len(), self.config.limits.outbox_bytes);
            self.stats.pushes_dropped_full += u64::from(!has_room);
            has_room
        });
        if self.connections.add(connection, self.config.limits.connections).is_err() {
            self.stats.driver_faults += 1;
            return self.effects.push(Action::Abort { conn });
        }
        if let Some(goodbye) = goodbye {
            self.probe.reached(Rule::GoodbyeSent);
            let mark = self.effects.mark();
            self.effects.recipient(conn);
            self.effects.send(mark, Frame::Message(goodbye));
        }
        self.end(conn, CloseReason::NotAdmitted);
    }
}
