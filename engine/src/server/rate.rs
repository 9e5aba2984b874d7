//! Rate limits: the generic cell rate algorithm (ITU-T I.371), in whole nanoseconds.

use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::{digest::Digest, time::Instant};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How fast something may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: u64,
    pub(super) burst: u64,
}

impl Rate {
    /// The time that `units` take at this rate.
    fn nanos(self, units: u64) -> u64 {
        let nanos = u128::from(units) * u128::from(NANOS_PER_SECOND) / u128::from(self.per_second.max(1));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// The time from one unit to the next.
    pub(super) fn interval(self) -> Duration {
        Duration::from_nanos(self.nanos(1))
    }
}

/// What was used of a rate: the time at which its bucket is empty again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meter(u64);

impl Meter {
    /// Takes `units` if the rate allows them now.
    pub(super) fn take(&mut self, now: Instant, units: u64, rate: Rate) -> bool {
        let start = self.0.max(now.as_nanos());
        let end = start.saturating_add(rate.nanos(units));
        if end.saturating_sub(now.as_nanos()) > rate.nanos(rate.burst) {
            return false;
        }
        self.0 = end;
        true
    }

    /// When the rate allows `units`, if nothing is taken before: not before `now`.
    pub(super) fn next(self, now: Instant, units: u64, rate: Rate) -> Instant {
        let end = self.0.saturating_add(rate.nanos(units));
        Instant::from_nanos(end.saturating_sub(rate.nanos(rate.burst)).max(now.as_nanos()))
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.future_ns(self.0);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Meter, Rate};
    use crate::time::Instant;

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut meter = Meter::default();
        let start = Instant::from_nanos(5_000_000_000);
        assert_eq!((0..9).filter(|_| meter.take(start, 1, rate)).count(), 3);
        assert!(!meter.take(start + Duration::from_millis(99), 1, rate));
        assert!(meter.take(start + Duration::from_millis(100), 1, rate));
        assert!(!meter.take(start + Duration::from_millis(100), 1, rate));
        let rested = start + Duration::from_secs(60);
        assert_eq!((0..9).filter(|_| meter.take(rested, 1, rate)).count(), 3);
    }

    #[test]
    fn more_than_the_burst_never_passes_at_once_and_costs_nothing() {
        let rate = Rate { per_second: 1_000, burst: 10 };
        let mut meter = Meter::default();
        assert!(!meter.take(Instant::from_nanos(u64::MAX / 2), 11, rate));
        assert!(meter.take(Instant::ZERO, 10, rate), "what was refused was not counted");
    }

    #[test]
    fn no_span_of_time_lets_more_pass_than_the_burst_and_the_rate_allow() {
        for (per_second, burst) in [(1, 1), (3, 7), (10, 3), (999, 50)] {
            let rate = Rate { per_second, burst };
            let mut meter = Meter::default();
            let (mut now, mut passed) = (Instant::ZERO, 0);
            for step in 0..2_000_u64 {
                now += Duration::from_millis(step * step % 37);
                let units = 1 + step % 3;
                passed += if meter.take(now, units, rate) { units } else { 0 };
                let allowed = burst + now.as_nanos() * per_second / 1_000_000_000 + 1;
                assert!(passed <= allowed, "{passed} of {allowed} passed by {now:?}");
            }
            let offered_slowly = now.as_nanos() * per_second / 1_000_000_000;
            assert!(passed >= offered_slowly.min(2_000) / 2, "only {passed} passed: the rate is not usable");
        }
    }

    #[test]
    fn the_next_time_at_which_something_passes_is_known() {
        let rate = Rate { per_second: 10, burst: 2 };
        let mut meter = Meter::default();
        let start = Instant::from_nanos(5_000_000_000);
        assert_eq!(meter.next(start, 1, rate), start);
        assert!(meter.take(start, 2, rate));
        let next = meter.next(start, 1, rate);
        assert_eq!(next, start + Duration::from_millis(100));
        assert!(!meter.take(Instant::from_nanos(next.as_nanos() - 1), 1, rate));
        assert!(meter.take(next, 1, rate));
    }

    #[test]
    fn a_clock_that_stands_still_or_runs_back_gives_nothing() {
        let rate = Rate { per_second: 1, burst: 1 };
        let mut meter = Meter::default();
        assert!(meter.take(Instant::from_nanos(9_000_000_000), 1, rate));
        assert!(!meter.take(Instant::from_nanos(9_000_000_000), 1, rate));
        assert!(!meter.take(Instant::from_nanos(5), 1, rate));
    }
}
