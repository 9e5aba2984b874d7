//! Digests of states: a machine's whole state folded into one number, to compare and to recognise states by.
//!
//! The hash is SipHash-1-3 with the keys zero and zero over little-endian words, so a digest is the same on
//! every machine. It is no defence against somebody who chooses states: it is for simulators and recordings.

use core::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::random::Xoshiro256PlusPlus;
use crate::{id::ConnId, time::Instant};

/// What a digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What decides future behaviour, times as distances from the machine's `now`.
    Behaviour,
    /// All of it as it is: counters, names, randomness, absolute times.
    Everything,
}

/// A digest in the making. Each part of a machine folds its own state into it.
pub(crate) struct Digest<'a> {
    hasher: SipHasher13,
    extent: Extent,
    now: Instant,
    name: &'a dyn Fn(ConnId) -> u64,
}

impl<'a> Digest<'a> {
    /// A digest of a machine whose time is `now`; in the extent of behaviour, connections are called what
    /// `name` says.
    pub(crate) fn new(extent: Extent, now: Instant, name: &'a dyn Fn(ConnId) -> u64) -> Self {
        Self { hasher: SipHasher13::new_with_keys(0, 0), extent, now, name }
    }

    pub(crate) fn finish(&self) -> u64 {
        self.hasher.finish()
    }

    /// Whether what decides nothing is wanted too.
    pub(crate) fn is_everything(&self) -> bool {
        self.extent == Extent::Everything
    }

    pub(crate) fn word(&mut self, word: u64) {
        self.hasher.write(&word.to_le_bytes());
    }

    pub(crate) fn len(&mut self, len: usize) {
        self.word(u64::try_from(len).unwrap_or(u64::MAX));
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.word(flag.into());
    }

    /// Bytes with their length, so that two texts in a row are not one.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.hasher.write(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A time: how far it is from now, or as it is.
    pub(crate) fn instant(&mut self, at: Instant) {
        let origin = if self.is_everything() { 0 } else { self.now.as_nanos() };
        self.word(at.as_nanos().wrapping_sub(origin));
    }

    /// A time that may not be.
    pub(crate) fn instant_or_none(&mut self, at: Option<Instant>) {
        self.flag(at.is_some());
        if let Some(at) = at {
            self.instant(at);
        }
    }

    /// A time that counts for nothing once it has passed, in nanoseconds.
    pub(crate) fn future_ns(&mut self, at_ns: u64) {
        let origin = if self.is_everything() { 0 } else { self.now.as_nanos() };
        self.word(at_ns.saturating_sub(origin));
    }

    pub(crate) fn conn(&mut self, conn: ConnId) {
        let name = match self.extent {
            Extent::Everything => u64::from(conn.slot()) << 32 | u64::from(conn.generation()),
            Extent::Behaviour => (self.name)(conn),
        };
        self.word(name);
    }

    /// A generator, by its next numbers: as many as it has state.
    pub(crate) fn generator(&mut self, rng: &Xoshiro256PlusPlus) {
        let mut rng = rng.clone();
        (0..4).for_each(|_| self.word(rng.next_u64()));
    }

    /// Items whose order decides nothing: each is folded on its own, and the sum does not depend on the order.
    /// The extent of everything has the order too.
    pub(crate) fn unordered<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        mut fold: impl FnMut(&mut Self, T),
    ) {
        let (mut sum, mut count) = (0_u64, 0_u64);
        for item in items {
            count += 1;
            if self.is_everything() {
                fold(self, item);
                continue;
            }
            let mut alone = Self::new(self.extent, self.now, self.name);
            fold(&mut alone, item);
            sum = sum.wrapping_add(alone.finish());
        }
        self.word(count);
        self.word(sum);
    }
}

/// Connections by the ids that their driver gave them.
pub(crate) fn as_named(conn: ConnId) -> u64 {
    u64::from(conn.slot()) << 32 | u64::from(conn.generation())
}

#[cfg(test)]
mod tests {
    use super::{Digest, Extent, as_named};
    use crate::time::Instant;

    fn digest(extent: Extent, now: u64, fold: impl Fn(&mut Digest<'_>)) -> u64 {
        let mut digest = Digest::new(extent, Instant::from_nanos(now), &as_named);
        fold(&mut digest);
        digest.finish()
    }

    #[test]
    fn the_order_of_a_set_and_the_time_of_day_are_not_behaviour() {
        let set = |items: [u64; 3]| move |d: &mut Digest<'_>| d.unordered(items.iter(), |d, i| d.word(*i));
        let both = |extent| digest(extent, 0, set([1, 2, 3])) == digest(extent, 0, set([3, 1, 2]));
        assert!(both(Extent::Behaviour) && !both(Extent::Everything));
        assert_ne!(
            digest(Extent::Behaviour, 0, set([1, 2, 3])),
            digest(Extent::Behaviour, 0, set([1, 2, 4]))
        );
        let time = |at| move |d: &mut Digest<'_>| d.instant(Instant::from_nanos(at));
        let moved = |extent| digest(extent, 5, time(7)) == digest(extent, 15, time(17));
        assert!(moved(Extent::Behaviour) && !moved(Extent::Everything));
    }

    #[test]
    fn texts_in_a_row_are_not_one_text() {
        let texts = |a: &'static str, b: &'static str| {
            digest(Extent::Behaviour, 0, |d| {
                d.text(a);
                d.text(b);
            })
        };
        assert_ne!(texts("ab", "c"), texts("a", "bc"));
    }
}
