//! The one source of choices: finite, integers only, with several backends.
//!
//! Choices are drawn while a schedule is generated, never while it is executed. What varies during execution
//! (a frame's delay, a record's fate) is [`keyed`] by the run's seed and by what it is about, so that removing
//! one item does not shift the others.

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng as _, SeedableRng as _},
};

/// What a draw is for; each has numbers of its own, so that more workload does not change the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Who says what to whom.
    Workload = 1,
    /// Delays of the network.
    Network = 2,
    /// What breaks, and when.
    Faults = 3,
    /// The times of everything.
    Scheduling = 4,
    /// What sessions say that is not stored.
    Signals = 5,
}

/// A source of choices.
#[derive(Clone, Debug)]
pub struct Choices {
    backend: Backend,
    taken: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Backend {
    Seed(Box<Xoshiro256PlusPlus>),
    Bytes {
        bytes: Vec<u8>,
        next: usize,
    },
    Recorded {
        choices: Vec<u64>,
        next: usize,
    },
    /// Each choice with its bound.
    Exhaustive {
        digits: Vec<(u64, u64)>,
        next: usize,
    },
}

impl Choices {
    /// Choices that follow from a seed, other ones for each stream.
    #[must_use]
    pub fn from_seed(seed: u64, stream: Stream) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(keyed(seed, stream as u64, 0));
        Self::new(Backend::Seed(Box::new(rng)))
    }

    /// Choices read from the bytes of a fuzzer, as many per choice as its range needs. Zero once they are used up.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::new(Backend::Bytes { bytes: bytes.to_vec(), next: 0 })
    }

    /// The choices of an earlier run, as [`Choices::taken`] gave them. Zero once they are used up.
    #[must_use]
    pub fn recorded(choices: Vec<u64>) -> Self {
        Self::new(Backend::Recorded { choices, next: 0 })
    }

    /// Every sequence of choices of a program, one after the other: first that of zeros only. For programs that
    /// make few of them; see [`Choices::advance`].
    #[must_use]
    pub fn exhaustive() -> Self {
        Self::new(Backend::Exhaustive { digits: Vec::new(), next: 0 })
    }

    /// Begins again: with the next sequence if these choices are exhaustive, the last choice that can change
    /// changing first. False if there is none; choices of the other kinds go on as they are, and have none.
    pub fn advance(&mut self) -> bool {
        let Backend::Exhaustive { digits, next } = &mut self.backend else { return false };
        digits.truncate(*next);
        *next = 0;
        self.taken.clear();
        while let Some((value, bound)) = digits.pop() {
            if value + 1 < bound {
                digits.push((value + 1, bound));
                return true;
            }
        }
        false
    }

    fn new(backend: Backend) -> Self {
        Self { backend, taken: Vec::new() }
    }

    /// The choices drawn so far.
    #[must_use]
    pub fn taken(&self) -> &[u64] {
        &self.taken
    }

    /// A number from zero up to, but not including, `bound`; zero if that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        let bound = bound.max(1);
        let choice = match &mut self.backend {
            // The high half of a product: the bias is below one in 2^32 for the bounds used here.
            Backend::Seed(rng) => ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64,
            Backend::Bytes { bytes, next } => {
                let width = ((64 - (bound - 1).leading_zeros()).div_ceil(8)) as usize;
                let read = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0));
                let value = (0..width).fold(0, |value, place| value << 8 | read(*next + place));
                *next += width;
                value % bound
            }
            Backend::Recorded { choices, next } => {
                let value = choices.get(*next).copied().unwrap_or(0);
                *next += 1;
                value % bound
            }
            Backend::Exhaustive { digits, next } => {
                if *next == digits.len() {
                    digits.push((0, bound));
                }
                *next += 1;
                digits[*next - 1].0
            }
        };
        self.taken.push(choice);
        choice
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// The place of one of the weights, each as often as it weighs; zero if none weighs anything.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        0
    }
}

/// A number that depends on nothing but its three keys (the finaliser of SplitMix64, applied to each).
#[must_use]
pub const fn keyed(seed: u64, item: u64, purpose: u64) -> u64 {
    mix(mix(mix(seed) ^ item) ^ purpose)
}

const fn mix(key: u64) -> u64 {
    let z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_drawn_again() {
        let mut first = Choices::from_seed(7, Stream::Faults);
        let drawn: Vec<u64> = (1..50).map(|bound| first.below(bound)).collect();
        let mut second = Choices::recorded(first.taken().to_vec());
        assert_eq!((1..50).map(|bound| second.below(bound)).collect::<Vec<_>>(), drawn);
        let mut other = Choices::from_seed(7, Stream::Workload);
        assert_ne!((1..50).map(|bound| other.below(bound)).collect::<Vec<_>>(), drawn);
    }

    #[test]
    fn bytes_are_used_as_far_as_they_go() {
        let mut choices = Choices::from_bytes(&[5, 1, 2]);
        assert_eq!([choices.below(10), choices.below(1 << 16), choices.below(10)], [5, 0x102, 0]);
    }

    #[test]
    fn exhaustive_choices_meet_every_combination_once() {
        let mut choices = Choices::exhaustive();
        let mut met = std::collections::BTreeSet::new();
        loop {
            let first = choices.below(3);
            let second = if first == 1 { choices.below(4) } else { 0 };
            assert!(met.insert((first, second)));
            assert_eq!(choices.taken(), if first == 1 { vec![first, second] } else { vec![first] });
            if !choices.advance() {
                break;
            }
        }
        assert_eq!(met.len(), 6);
    }

    #[test]
    fn weights_are_kept_to() {
        let mut choices = Choices::from_seed(1, Stream::Workload);
        let counts = (0..4000).fold([0; 3], |mut counts: [u32; 3], _| {
            counts[choices.weighted(&[1, 0, 3])] += 1;
            counts
        });
        assert_eq!(counts[1], 0);
        assert!((800..1200).contains(&counts[0]), "{counts:?}");
    }
}
