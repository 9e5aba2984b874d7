//! The real server over loopback, met by a WebSocket client that shares no code with it.
//!
//! | module | what holds |
//! | --- | --- |
//! | `chat` | the classic protocol, on one shard and on four |
//! | `session` | the session protocol beside the classic one |
//! | `presence` | who is told who is here, between shards |
//! | `calls` | calls of sessions, between shards |
//! | `wire` | framing, closing, signs of life |
//! | `http` | the handshake and what else is asked of the port |
//! | `operators` | figures, readiness, and what is logged of requests |
//! | `telemetry` | what a collector of traces is sent |
//! | `recording` | what is recorded, and that it happens again |
//! | `upkeep` | `switchboard backup` and `switchboard doctor` beside a server that runs |
//! | `hostile` | clients that flood, stall and storm |
//! | `lifecycle` | signals, and servers that cannot start |
//! | `durability` | kill -9 and a full disk |
//! | `resend` | classic clients that return and have missed something |
//! | `interop` | a client in Python's standard library |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

mod authority;
mod calls;
mod chat;
mod device;
mod durability;
mod harness;
mod hostile;
mod http;
mod interop;
mod lifecycle;
mod operators;
mod presence;
mod process;
mod raw;
mod recording;
mod resend;
mod session;
mod shards;
mod telemetry;
mod transfer;
mod upkeep;
mod wire;
