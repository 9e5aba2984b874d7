//! The Switchboard chat server: sockets, HTTP, store and bus around the engine.

mod accounts;
pub mod cli;
pub mod client;
mod clock;
pub mod commands;
pub mod config;
mod histogram;
pub mod logging;
pub mod media;
mod recorder;
pub mod server;
pub mod store;
mod telemetry;
pub mod tls;
pub mod tokens;
