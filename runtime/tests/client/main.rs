//! Clients of the session protocol over real sockets.
//!
//! | module | what holds |
//! | --- | --- |
//! | `store` | what stores keep, in memory and in a file |
//! | `api` | what an application is told, and what it can ask for |
//! | `example` | the bot of `examples/echo.rs` |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

mod api;
mod example;
mod harness;
mod store;
