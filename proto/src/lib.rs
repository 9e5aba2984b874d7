//! The wire of Switchboard: protobuf schemas (`proto/*.proto`) and the code that prost generates from them.
//!
//! The generated code is committed, so that a build needs neither protoc nor a build script. The test
//! `generated` compiles the schemas with a pure-Rust compiler and compares; after a change of a schema,
//! `UPDATE_GENERATED=1 cargo test -p switchboard-proto` writes the files anew.
#![no_std]

/// The classic protocol: package `protocol`, the wire of an existing chat front-end.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
#[rustfmt::skip]
pub mod classic {
    include!("generated/protocol.rs");
}

/// The session protocol: package `switchboard.v1`, WebSocket subprotocol `switchboard.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/switchboard.v1.rs");
}

/// Recordings: package `switchboard.recording.v1`, what the engine of one shard was told.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
#[rustfmt::skip]
pub mod recording {
    include!("generated/switchboard.recording.v1.rs");
}

mod glance;

pub use glance::Glance;
pub use prost::{DecodeError, Message, decode_length_delimiter, encoding};
