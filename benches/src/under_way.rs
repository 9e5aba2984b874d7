//! When messages were sent of which something is waited for.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;

/// Beyond an hour, a latency counts as an hour.
const LATENCY_LIMIT_NS: u64 = 3_600_000_000_000;

/// Messages that something is waited for of, and how long that took.
pub(crate) struct UnderWay {
    /// For each client by its number, when its messages were sent or due. What is waited for comes in the order
    /// in which they were sent.
    since: Vec<VecDeque<Instant>>,
    pub(crate) latency: Histogram<u64>,
    /// How many have come while it was measured.
    pub(crate) measured: u64,
}

impl UnderWay {
    pub(crate) fn new(clients: usize) -> Self {
        #[allow(clippy::expect_used, reason = "the bounds are constants that a histogram can have")]
        let latency = Histogram::new_with_bounds(1, LATENCY_LIMIT_NS, 3).expect("valid bounds");
        Self { since: vec![VecDeque::new(); clients], latency, measured: 0 }
    }

    pub(crate) fn sent(&mut self, client: usize, count: usize, at: Instant) {
        if let Some(since) = self.since.get_mut(client) {
            since.extend(std::iter::repeat_n(at, count));
        }
    }

    /// Takes the oldest of a client, and gives how many of them there were.
    pub(crate) fn arrived(&mut self, client: usize, count: usize, at: Instant, measuring: bool) -> usize {
        let Some(since) = self.since.get_mut(client) else { return 0 };
        let expected = count.min(since.len());
        for sent in since.drain(..expected).filter(|_| measuring) {
            self.measured += 1;
            let ns = u64::try_from(at.saturating_duration_since(sent).as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record(ns);
        }
        expected
    }

    pub(crate) fn len(&self) -> u64 {
        self.since.iter().map(|since| u64::try_from(since.len()).unwrap_or_default()).sum()
    }
}
