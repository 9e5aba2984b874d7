//! Load generator of the Switchboard chat server: what `switchboard-bench` measures, as a library.
//!
//! One thread of a process drives all its clients with nonblocking sockets. Frames are made once and sent again and again, and of
//! what arrives only headers are read, so that the generator costs little beside the server that it shares the
//! machine with. Only loopback addresses are targets.
//!
//! - [`direct`]: pairs of clients send to each other; messages per second, latency, CPU per message.
//! - [`broadcast`]: one client sends to everybody; the same, with clients besides that read nothing.
//! - [`group`]: groups in each of which one member speaks; what is said is stored.
//! - [`durable`]: durable messages of sessions beside relayed ones, alternately; the ratio of their cost.
//! - [`resume`]: a session that has missed messages; CPU time until it has them.
//! - [`storm`]: all clients reconnect at once, while others go on talking.
//! - [`stall`]: the same broadcast with and without clients that read nothing.
//! - [`mixed`]: a day of chat in a minute.
//! - [`idle`]: many connections that say nothing; memory per connection, of both protocols.
//! - [`peers`]: the same loads with other servers, and with the floor that the kernel sets; the ratios.
//! - [`plot`]: what was measured, in bars.
//!
//! One process holds as many connections as it may have open files; [`idle`] and [`storm`] spread more over several ([`crew`]).

pub mod broadcast;
mod connection;
pub mod crew;
pub mod direct;
pub mod durable;
mod error;
mod fleet;
mod flows;
pub mod group;
pub mod idle;
pub mod load;
pub mod mixed;
pub mod peers;
pub mod plot;
mod progress;
mod random;
mod report;
pub mod resume;
mod scanner;
mod server;
mod session;
pub mod stall;
pub mod storm;
mod usage;
mod wire;

pub use error::BenchError;
pub use progress::Progress;
pub use report::{Latency, Report, Spread, Used};
pub use server::{Server, Settings, Target, servers_for};
pub use usage::{Process, Usage};
pub use wire::Protocol;
