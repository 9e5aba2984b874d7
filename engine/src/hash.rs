//! Hashing for look-up tables. Peers choose the keys, so the hash is SipHash-1-3 with keys from the seed.

use core::hash::BuildHasher;
use serde::{Deserialize, Serialize};

use siphasher::sip::SipHasher13;

/// Makes hashers that all agree.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SeededState {
    key0: u64,
    key1: u64,
}

impl SeededState {
    pub(crate) const fn new(key0: u64, key1: u64) -> Self {
        Self { key0, key1 }
    }
}

impl BuildHasher for SeededState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key0, self.key1)
    }
}

/// A map for look-up only: its order depends on the seed and is never visible.
pub(crate) type Lookup<K, V> = hashbrown::HashMap<K, V, SeededState>;

/// A set that is iterated in an order that depends on its history alone.
pub(crate) type OrderedSet<K> = indexmap::IndexSet<K, SeededState>;
