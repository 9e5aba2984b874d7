//! WebSocket framing (RFC 6455), the server's side, without sockets: bytes in, messages out, and back.
//!
//! A shard reads every socket into one buffer and gives what has arrived to the connection's [`Decoder`]. The
//! decoder copies each payload out once and keeps nothing between messages, so an idle connection costs
//! [`Decoder`]'s few bytes and no buffer:
//!
//! ```
//! # use switchboard_websocket::{Decoder, Incoming};
//! # use switchboard_engine::PeerFault;
//! # fn turn(decoder: &mut Decoder, buffer: &mut [u8], arrived: usize) -> Result<(), PeerFault> {
//! let mut input = &mut buffer[..arrived];
//! while let Some(incoming) = decoder.next(&mut input, 8 << 20)? {
//!     match incoming {
//!         Incoming::Message(message) => drop(message), // Event::Received
//!         Incoming::Text(_) => return Err(PeerFault::TextMessage), // no protocol of ours has any
//!         Incoming::Ping(payload) => drop(payload),    // Event::Ping
//!         Incoming::Pong(payload) => drop(payload),    // Event::Pong
//!         Incoming::Close(_) => break,                 // Event::PeerClosed
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A crate's reader would not do: fastwebsockets keeps 8 KiB per connection and takes unmasked client frames.

/// The subprotocol of sessions (RFC 6455 section 1.9). There is none for the classic protocol.
pub const SESSION_SUBPROTOCOL: &str = "switchboard.v1";

mod decode;
mod encode;

pub use decode::{CloseFrame, Decoder, Incoming, OVERHEAD_BYTES};
pub use encode::{encode, encode_close, encode_close_answer, encode_text};
