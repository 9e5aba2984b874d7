//! A server that speaks TLS, against clients that share no code with its side of it: both protocols, HTTP, certificates that are
//! replaced, and peers that do anything else.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod certificates;
mod chat;
mod client;
#[path = "../server/harness.rs"]
#[allow(dead_code, reason = "the server's tests have more use for it")]
mod harness;
mod hostile;
mod secure;
