//! The one source of randomness, seeded.

use serde::{Deserialize, Serialize};

/// xoshiro256++ 1.0 of Blackman and Vigna, seeded by their SplitMix64, as `rand_xoshiro` has it: a test compares the two. That crate's own way
/// to write a state down needs the standard library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Xoshiro256PlusPlus([u64; 4]);

impl Xoshiro256PlusPlus {
    pub(crate) fn seed_from_u64(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    pub(crate) const fn next_u64(&mut self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.0;
        let next = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        self.0 = [a, b, c, d.rotate_left(45)];
        next
    }

    /// Fills bytes with numbers, the least significant byte of each first.
    pub(crate) fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next_u64().to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn it_is_the_generator_of_rand_xoshiro() {
        for seed in [0, 1, 4711, u64::MAX, 0x0123_4567_89ab_cdef] {
            let mut own = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut other = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
            for _ in 0..100 {
                assert_eq!(own.next_u64(), other.next_u64());
                let (mut filled, mut expected) = ([0; 16], [0; 16]);
                own.fill_bytes(&mut filled);
                other.fill_bytes(&mut expected);
                assert_eq!(filled, expected);
            }
        }
    }
}
