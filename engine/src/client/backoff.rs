//! How long to wait before dialling again; the rules are those of [`Reconnect`].

use core::time::Duration;

use super::config::Reconnect;
use crate::random::Xoshiro256PlusPlus;
use crate::{digest::Digest, time::nanos};

/// Which delay a lost link asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// By the number of failures in a row.
    Exponential,
    /// At least half the cap.
    Long,
    /// The cap.
    Longest,
}

/// The row of failures so far, and the randomness of the delays.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    config: Reconnect,
    failures: u32,
    rng: Xoshiro256PlusPlus,
}

impl Backoff {
    pub(crate) fn new(config: Reconnect, seed: u64) -> Self {
        Self { config, failures: 0, rng: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// Links in a row that failed or were not stable.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// A link was up, and something came over it, for this long: ends the row of failures if that is enough.
    pub(crate) fn lived(&mut self, lifetime: Duration) {
        if lifetime >= self.config.stable_after {
            self.failures = 0;
        }
    }

    /// The row of failures is over, because the application starts afresh.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// One more failure: how long to wait now.
    pub(crate) fn fail(&mut self, delay: Delay) -> Duration {
        let Reconnect { floor, base, cap, .. } = self.config;
        let doublings = self.failures;
        self.failures = self.failures.saturating_add(1);
        match delay {
            Delay::Exponential => exponential(&mut self.rng, floor, base, cap, doublings),
            Delay::Long => between(&mut self.rng, cap / 2, cap),
            Delay::Longest => between(&mut self.rng, cap, cap),
        }
    }

    /// The generator decides when the next link is dialled.
    pub(crate) fn fold(&self, digest: &mut Digest<'_>) {
        digest.word(self.failures.into());
        digest.generator(&self.rng);
    }
}

/// The delay after as many failures in a row: uniform in `floor..=min(cap, base * 2^failures)`.
pub(crate) fn exponential(
    rng: &mut Xoshiro256PlusPlus,
    floor: Duration,
    base: Duration,
    cap: Duration,
    failures: u32,
) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    between(rng, floor, base.saturating_mul(factor).min(cap))
}

/// Uniform in `low..=high`; `low` if it is not below `high`.
pub(crate) fn between(rng: &mut Xoshiro256PlusPlus, low: Duration, high: Duration) -> Duration {
    let (low, high) = (nanos(low), nanos(high));
    let span = u128::from(high.saturating_sub(low)) + 1;
    // A product's upper half scales without the cost and the bias of a remainder (bias below 2^-20 for
    // spans of up to hours); it is less than `span`, so it fits.
    let offset = u64::try_from((u128::from(rng.next_u64()) * span) >> 64).unwrap_or(u64::MAX);
    Duration::from_nanos(low.saturating_add(offset))
}
