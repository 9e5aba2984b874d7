//! Load generator of the Switchboard chat server: what `switchboard-bench` measures, as a library.
//!
//! One thread drives all clients with nonblocking sockets. Frames are made once and sent again and again, and of
//! what arrives only headers are read, so that the generator costs little beside the server that it shares the
//! machine with. Only loopback addresses are targets.
//!
//! - [`direct`]: pairs of clients send to each other; messages per second, latency, CPU per message.
//! - [`durable`]: durable messages of sessions beside relayed ones, alternately; the ratio of their cost.
//! - [`resume`]: a session that has missed messages; CPU time until it has them.
//! - [`idle`]: many connections that say nothing; memory per connection, of both protocols.
//! - [`peers`]: the same loads with other servers, and with the floor that the kernel sets; the ratios.
//! - [`plot`]: what was measured, in bars.

mod connection;
pub mod direct;
pub mod durable;
mod error;
mod fleet;
pub mod idle;
pub mod peers;
pub mod plot;
mod progress;
mod report;
pub mod resume;
mod scanner;
mod server;
mod session;
mod under_way;
mod usage;
mod wire;

pub use error::BenchError;
pub use progress::Progress;
pub use report::{Latency, Spread, Used};
pub use server::{Server, Target};
pub use usage::{Process, Usage};
pub use wire::Protocol;
