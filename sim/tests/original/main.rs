//! The model of the original server: that it works where the original works, and fails where that fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod chat;
mod faults;
mod histories;
mod kept;
mod ordinary;
mod races;
