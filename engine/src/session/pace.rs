//! How fast a client may send: the rates that a Welcome names, of which it uses half, so that frames that the
//! network holds up and then delivers together stay within what the server allows. The generic cell rate
//! algorithm (ITU-T I.371), in whole nanoseconds.

use switchboard_proto::v1;

use crate::{digest::Digest, time::Instant};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// One rate, and the time at which what was used of it is free again.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// 0: no limit.
    per_second: u64,
    burst: u64,
    free_at_ns: u64,
}

impl Bucket {
    fn new(per_second: u64, burst: u64) -> Self {
        let half = |limit: u64| if limit == 0 { 0 } else { (limit / 2).max(1) };
        Self { per_second: half(per_second), burst: half(burst).max(1), free_at_ns: 0 }
    }

    /// This rate, where another one is shared with others: one connection may use no more than the lesser of both.
    fn within(self, shared: Self) -> Self {
        match (self.per_second, shared.per_second) {
            (0, _) => shared,
            (_, 0) => self,
            (own, all) => {
                Self { per_second: own.min(all), burst: self.burst.min(shared.burst), free_at_ns: 0 }
            }
        }
    }

    fn nanos(&self, units: u64) -> u64 {
        let nanos = (u128::from(units) * NANOS_PER_SECOND).checked_div(self.per_second.into());
        nanos.map_or(0, |nanos| u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When so many units may go; what is larger than a burst goes after a whole burst's pause.
    fn due_ns(&self, units: u64) -> u64 {
        let room = self.nanos(self.burst).saturating_sub(self.nanos(units.min(self.burst)));
        self.free_at_ns.saturating_sub(room)
    }

    fn spend(&mut self, now: Instant, units: u64) {
        self.free_at_ns = self.free_at_ns.max(now.as_nanos()).saturating_add(self.nanos(units));
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    frames: Bucket,
    bytes: Bucket,
}

impl Pace {
    pub(super) fn new(limits: &v1::Limits) -> Self {
        let frames = Bucket::new(limits.messages_per_second.into(), limits.message_burst.into());
        let bytes = Bucket::new(limits.bytes_per_second, limits.byte_burst);
        let all_frames =
            Bucket::new(limits.user_messages_per_second.into(), limits.user_message_burst.into());
        let all_bytes = Bucket::new(limits.user_bytes_per_second, limits.user_byte_burst);
        Self { frames: frames.within(all_frames), bytes: bytes.within(all_bytes) }
    }

    /// When a frame of so many bytes may go, if not now.
    pub(super) fn wait(&self, now: Instant, bytes: u64) -> Option<Instant> {
        let due_ns = self.frames.due_ns(1).max(self.bytes.due_ns(bytes));
        (due_ns > now.as_nanos()).then_some(Instant::from_nanos(due_ns))
    }

    /// A frame of so many bytes has gone.
    pub(super) fn spend(&mut self, now: Instant, bytes: u64) {
        self.frames.spend(now, 1);
        self.bytes.spend(now, bytes);
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        for bucket in [&self.frames, &self.bytes] {
            digest.word(bucket.per_second);
            digest.word(bucket.burst);
            digest.future_ns(bucket.free_at_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use switchboard_proto::v1::Limits;

    use super::Pace;
    use crate::time::Instant;

    /// Sends frames of this size as fast as it may; gives how many go within the time.
    fn sent(pace: &mut Pace, start: Instant, time: Duration, bytes: u64) -> usize {
        let (mut now, mut count) = (start, 0);
        while now <= start + time {
            match pace.wait(now, bytes) {
                Some(due) => {
                    assert!(due > now);
                    now = due;
                }
                None => {
                    pace.spend(now, bytes);
                    count += 1;
                }
            }
        }
        count
    }

    #[test]
    fn what_is_shared_with_other_connections_counts_if_it_is_less() {
        let own = Limits { messages_per_second: 1_000, message_burst: 2_000, ..Limits::default() };
        let shared = Limits { user_messages_per_second: 10, user_message_burst: 6, ..own };
        let start = Instant::from_nanos(5_000_000_000);
        let mut pace = Pace::new(&shared);
        assert_eq!(sent(&mut pace, start, Duration::ZERO, 100), 3);
        let more = Limits { user_messages_per_second: 5_000, user_message_burst: 9_000, ..own };
        let (mut pace, mut alone) = (Pace::new(&more), Pace::new(&own));
        let second = Duration::from_secs(1);
        assert_eq!(sent(&mut pace, start, second, 100), sent(&mut alone, start, second, 100));
        let only_shared = Limits { user_messages_per_second: 10, user_message_burst: 6, ..Limits::default() };
        assert_eq!(sent(&mut Pace::new(&only_shared), start, Duration::ZERO, 100), 3);
    }

    #[test]
    fn half_of_the_burst_goes_at_once_and_then_half_of_the_rate() {
        let mut pace = Pace::new(&Limits { messages_per_second: 10, message_burst: 6, ..Limits::default() });
        let start = Instant::from_nanos(5_000_000_000);
        assert_eq!(sent(&mut pace, start, Duration::ZERO, 100), 3);
        assert_eq!(sent(&mut pace, start, Duration::from_secs(2), 100), 10);
    }

    #[test]
    fn a_frame_larger_than_a_burst_goes_alone() {
        let limits = Limits { bytes_per_second: 200, byte_burst: 200, ..Limits::default() };
        let mut pace = Pace::new(&limits);
        let start = Instant::from_nanos(5_000_000_000);
        assert_eq!(sent(&mut pace, start, Duration::from_millis(2_999), 300), 1);
        assert_eq!(sent(&mut pace, start, Duration::from_millis(3_000), 300), 1);
    }

    #[test]
    fn nothing_said_is_no_limit() {
        let mut pace = Pace::new(&Limits::default());
        assert!((0..10_000).all(|_| {
            pace.spend(Instant::ZERO, 1 << 20);
            pace.wait(Instant::ZERO, 1 << 20).is_none()
        }));
    }
}
