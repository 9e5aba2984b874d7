//! A client of a Switchboard server, for applications on tokio: the engine's `Client` machine with sockets and a
//! clock around it. The machine decides; this module dials, reads, writes, and waits.
//!
//! ```no_run
//! use switchboard::client::{Event, ServerUrl, Session};
//! use switchboard_engine::{ClientConfig, Notification, UserId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = ServerUrl::new(&"ws://127.0.0.1:8888".parse()?)?;
//! let mut session = Session::new(ClientConfig::new(UserId::new("alice")?), url, 42);
//! session.connect();
//! loop {
//!     match session.next().await {
//!         Event::Notification(Notification::Message(message)) => println!("{}", message.sender()),
//!         event => println!("{event:?}"),
//!     }
//! }
//! # }
//! ```
//!
//! | part | what it does |
//! | --- | --- |
//! | `address` | where to dial, and what to ask for |
//! | `connect` | TCP and the WebSocket handshake |
//! | `reader` | bytes to messages |
//! | `writer` | frames to bytes, and how far they have left |
//! | `link` | one connection: the task that dials and reads, and the writer |
//! | `session` | the machine and its link |

mod address;
mod connect;
mod link;
mod reader;
mod session;
mod writer;

pub use address::{ServerUrl, UrlError};
pub use connect::ConnectError;
pub use link::LinkError;
pub use reader::ReadError;
pub use session::{Event, Session};
