//! Random numbers for names and ids: others in each run, because a server that is used again must not know them.

use std::hash::{BuildHasher as _, RandomState};

/// One number.
pub(crate) fn id() -> u64 {
    RandomState::new().hash_one(())
}

/// A longer one.
pub(crate) fn id128() -> u128 {
    u128::from(id()) << 64 | u128::from(id())
}
