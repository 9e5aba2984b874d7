//! How much a connection may send: a second reading of the limits, by units and nanoseconds.

use switchboard_engine::CloseReason;
use switchboard_proto::v1::Goodbye;

use super::{Check, ConnKey, Phase};

/// What a client's Ping carries.
pub(crate) const PING: &[u8] = b"ping";

/// Whether the limits let something pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They do.
    #[default]
    Admitted,
    /// It is so close that a rounded nanosecond decides.
    Doubtful,
    /// They do not: the connection has to be closed for it.
    Refused(CloseReason),
}

/// What a connection has used of one rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// Units times nanoseconds that are still to drain.
    level: u64,
    at_ns: u64,
    /// Takes since it was empty: each may have been rounded by a nanosecond.
    takes: u64,
}

const SECOND_NS: u64 = 1_000_000_000;

/// The longest time that a place is promised for, as docs/protocol.md has it.
const PROMISE_LIMIT_NS: u64 = 300 * SECOND_NS;

/// In how many steps a shutdown closes connections.
const DRAIN_STEPS: u64 = 20;

impl Bucket {
    pub(crate) const EMPTY: Self = Self { level: 0, at_ns: 0, takes: 0 };

    fn take(
        &mut self,
        now_ns: u64,
        units: u64,
        per_second: u64,
        burst: u64,
        otherwise: CloseReason,
    ) -> Verdict {
        let drained = (now_ns - self.at_ns).saturating_mul(per_second);
        self.at_ns = now_ns;
        self.level = self.level.saturating_sub(drained);
        self.takes = if self.level == 0 { 0 } else { self.takes };
        let wanted = self.level + units * SECOND_NS;
        let (limit, slack) = (burst * SECOND_NS, per_second * (self.takes + 2));
        if wanted > limit + slack {
            return Verdict::Refused(otherwise);
        }
        self.level = wanted;
        self.takes += 1;
        if wanted + slack > limit && wanted != limit { Verdict::Doubtful } else { Verdict::Admitted }
    }
}

impl Check {
    /// Something of this size has come over a connection. Returns whether it may be taken.
    pub(crate) fn admit(&mut self, conn: ConnKey, len: usize) -> bool {
        if self.cause.stale {
            return true;
        }
        let s = &self.settings;
        let seat = &mut self.seats[conn as usize];
        let now_ns = self.watches[seat.shard as usize].now_ns;
        let len = len as u64;
        let mut verdict = Verdict::Admitted;
        if len > s.message_bytes {
            verdict = Verdict::Refused(CloseReason::MessageTooLarge);
        }
        let (rate, burst) = (s.messages_per_second, s.message_burst);
        if verdict == Verdict::Admitted {
            verdict = seat.messages.take(now_ns, 1, rate, burst, CloseReason::TooManyMessages);
        }
        let (rate, burst) = (s.bytes_per_second, s.byte_burst);
        if verdict == Verdict::Admitted {
            verdict = seat.bytes.take(now_ns, len, rate, burst, CloseReason::TooManyBytes);
        }
        // What a user's connections share is used of as long as one of them is there.
        let told = &mut self.watches[seat.shard as usize].told[seat.user as usize];
        let (rate, burst) = (s.user_messages_per_second, s.user_message_burst);
        if verdict == Verdict::Admitted && rate > 0 {
            verdict = told.messages.take(now_ns, 1, rate, burst, CloseReason::TooManyMessages);
        }
        let (rate, burst) = (s.user_bytes_per_second, s.user_byte_burst);
        if verdict == Verdict::Admitted && rate > 0 {
            verdict = told.bytes.take(now_ns, len, rate, burst, CloseReason::TooManyBytes);
        }
        self.cause.verdict = verdict;
        !matches!(verdict, Verdict::Refused(_))
    }

    /// A connection is told to an engine, which takes in so many per second.
    pub(crate) fn admit_connection(&mut self, shard: usize) {
        let (rate, burst) = (self.settings.admissions_per_second, self.settings.admission_burst);
        let watch = &mut self.watches[shard];
        self.cause.admission = match rate {
            0 => Verdict::Admitted,
            // Who comes when it stops is told that.
            _ if watch.stopping => Verdict::Admitted,
            _ => watch.admissions.take(watch.now_ns, 1, rate, burst, CloseReason::NotAdmitted),
        };
    }

    /// A session is told when to come back: those that are not taken in, each after the one before it.
    pub(crate) fn promises(&mut self, shard: usize, conn: ConnKey, goodbye: &Goodbye) {
        let rate = self.settings.admissions_per_second;
        if rate == 0 || self.cause.admission == Verdict::Admitted || self.cause.conn != Some(conn) {
            return;
        }
        let watch = &mut self.watches[shard];
        let wait_ns = u64::from(goodbye.reconnect_after_ms) * 1_000_000;
        // Whole milliseconds are told.
        let earliest_ns = watch.promised_ns + SECOND_NS / rate;
        let place_ns = watch.now_ns + wait_ns;
        let is_in_turn = place_ns + 1_000_000 >= earliest_ns || wait_ns + 1_000_000 >= PROMISE_LIMIT_NS;
        watch.promised_ns = watch.promised_ns.max(place_ns);
        if !is_in_turn || wait_ns > PROMISE_LIMIT_NS {
            self.fail("isolation", |check| {
                format!("{} is told another one's place: {goodbye:?}", check.name(conn))
            });
        }
    }

    /// Whether the engine may close a connection as it is not taken in.
    pub(crate) fn is_not_admitted(&self, conn: ConnKey) -> bool {
        self.cause.arrived && self.cause.conn == Some(conn) && self.cause.admission != Verdict::Admitted
    }

    /// Who is not to be taken in is not.
    pub(crate) fn end_admission(&mut self) {
        let (Verdict::Refused(_), Some(conn)) = (self.cause.admission, self.cause.conn) else { return };
        if matches!(self.seats[conn as usize].phase, Phase::Loading | Phase::Online) {
            self.fail("bounded", |check| format!("{} is one connection too many", check.name(conn)));
        }
    }

    /// An engine that stops closes a connection: a twentieth of them at a time, over the time that it is given.
    pub(crate) fn drains(&mut self, shard: usize) -> bool {
        let (drain_ns, watch) = (self.settings.drain_time_ms * 1_000_000, &mut self.watches[shard]);
        if drain_ns == 0 {
            return true;
        }
        let open = watch.told.iter().map(|told| told.seats.len() as u64).sum();
        let (since_ns, total, closed) = watch.drain.get_or_insert((watch.now_ns, open, 0));
        *closed += 1;
        let steps = (watch.now_ns - *since_ns) * DRAIN_STEPS / drain_ns + 1;
        *closed <= steps * total.div_ceil(DRAIN_STEPS)
    }

    /// A Pong has come over a connection.
    pub(crate) fn ponged(&mut self, conn: ConnKey, len: usize) {
        self.heard(conn);
        self.admit(conn, len);
    }

    /// A connection has done something for which it has to be closed.
    pub(crate) fn misbehaved(&mut self, conn: ConnKey, reason: CloseReason) {
        self.heard(conn);
        if !self.cause.stale {
            self.cause.verdict = Verdict::Refused(reason);
        }
    }

    /// Whether the event gives reason to close a connection for what it has sent.
    pub(crate) fn is_refused(&self, conn: ConnKey, reason: CloseReason) -> bool {
        let verdict = self.cause.verdict;
        self.cause.conn == Some(conn) && (verdict == Verdict::Doubtful || verdict == Verdict::Refused(reason))
    }

    /// Who has to be closed for what came over the connection is.
    pub(crate) fn end_intake(&mut self) {
        let (Verdict::Refused(reason), Some(conn)) = (self.cause.verdict, self.cause.conn) else { return };
        if matches!(self.seats[conn as usize].phase, Phase::Loading | Phase::Online) {
            self.fail("bounded", |check| format!("{} has to be closed: {reason:?}", check.name(conn)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: CloseReason = CloseReason::TooManyMessages;

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let mut bucket = Bucket::default();
        let mut take = |at_ns| bucket.take(at_ns, 1, 10, 3, WHY);
        let start = 5 * SECOND_NS;
        assert_eq!(
            [0; 4].map(|_| take(start)),
            [Verdict::Admitted, Verdict::Admitted, Verdict::Admitted, Verdict::Refused(WHY)]
        );
        assert_eq!(take(start + 99_000_000), Verdict::Refused(WHY));
        assert_eq!(take(start + 99_999_999), Verdict::Doubtful, "one nanosecond may be rounded away");
        assert_eq!(take(start + 300_000_000), Verdict::Admitted);
    }
}
