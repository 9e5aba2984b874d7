//! Histograms as Prometheus takes them: counts of values up to fixed bounds. Many may observe and one reads, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Bounds of durations in microseconds: from less than a system call takes to more than anybody waits.
const TIME_BOUNDS_US: [u64; 18] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Bounds of how many requests one commit carries.
const COUNT_BOUNDS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048];

/// How often which values were observed.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// How many of the shown unit one of the values is.
    scale: f64,
    /// One for each bound, and one for what is beyond the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// The upper bounds, infinity the last, and how many values lie between each and the one before.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    fn new(bounds: &'static [u64], scale: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, scale, counts, sum: AtomicU64::new(0) }
    }

    /// One of durations; it is shown in seconds.
    pub(crate) fn of_times() -> Self {
        Self::new(&TIME_BOUNDS_US, 1e-6)
    }

    /// One of counts.
    pub(crate) fn of_counts() -> Self {
        Self::new(&COUNT_BOUNDS, 1.0)
    }

    /// A duration was observed so many times.
    pub(crate) fn time(&self, time: Duration, times: u64) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), times);
    }

    /// A value was observed so many times.
    pub(crate) fn observe(&self, value: u64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(times, Ordering::Relaxed);
            self.sum.fetch_add(value.saturating_mul(times), Ordering::Relaxed);
        }
    }

    /// What was observed so far.
    #[allow(clippy::cast_precision_loss, reason = "a sum beyond 2^53 may be rounded")]
    pub(crate) fn observed(&self) -> Observed {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 * self.scale);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        Observed {
            sum: self.sum.load(Ordering::Relaxed) as f64 * self.scale,
            // From the same look at the counts: a count that differs from its buckets is no histogram.
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_up_to_the_bound_that_it_reaches_and_beyond_the_last_one() {
        let histogram = Histogram::of_counts();
        for (value, times) in [(1, 1), (2, 2), (3, 4), (2_049, 8)] {
            histogram.observe(value, times);
        }
        let Observed { sum, count, buckets } = histogram.observed();
        assert_eq!((sum, count), (f64::from(1 + 4 + 12 + 2_049 * 8), 15));
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1.0, 1), (2.0, 2), (4.0, 4), (f64::INFINITY, 8)]);
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let histogram = Histogram::of_times();
        histogram.time(Duration::from_millis(1_500), 2);
        let Observed { sum, count, buckets } = histogram.observed();
        assert!((sum - 3.0).abs() < 1e-9 && count == 2);
        assert!(buckets.iter().any(|(bound, count)| (bound - 2.5).abs() < 1e-9 && *count == 2));
    }
}
