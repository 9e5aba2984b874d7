//! The JSON API, against a real server: the shape of each call, what bad input gets, who may do what, and its document.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

#[path = "../server/ask.rs"]
mod ask;
mod bad_input;
mod client;
mod contract;
#[path = "../server/device.rs"]
#[allow(dead_code, reason = "the server's tests have more use for it")]
mod device;
mod document;
#[path = "../server/harness.rs"]
#[allow(dead_code, reason = "the server's tests have more use for it")]
mod harness;
mod rights;
mod search;
