//! A client of a Switchboard server, for applications on tokio: a [`Client`] handle, its [`Events`], and a
//! [`Store`] that lets a restarted client go on where it stopped.
//!
//! ```no_run
//! use switchboard::client::{Client, Content, Event, Recipient, SqliteStore, UserId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder("ws://127.0.0.1:8888".parse()?, UserId::new("alice")?)
//!     .store(SqliteStore::open("alice.db")?)
//!     .start()
//!     .await?;
//! let bob = Recipient::User(UserId::new("bob")?);
//! client.submit(bob, Content::text("hello")).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Message { message, .. } => println!("{}: {}", message.from, message.content.text),
//!         event => println!("{event:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//! The client's half of what docs/protocol.md promises:
//! - what was submitted is in the store, and is sent until it has one fate, across lost connections and restarts;
//! - each message of each conversation is told in order, and is in the store before it is told. It is told once, unless the
//!   application ends before it has taken it: then the next client of the store tells it again;
//! - everything is bounded: what is pending ([`SessionLimits`](switchboard_engine::SessionLimits)), the commands
//!   that wait (64, then callers wait), and the events ([`ClientBuilder::event_limits`], then the connection waits).
//!
//! # After a crash
//! A message is taken when the application asks for the event after it, or [closes](Client::close) the client. What was
//! stored and not taken when the process ended is told again by the next client of the store, before anything new, with
//! the edits and recalls that the store knows: so whoever acts on a message before asking for the next event misses none,
//! and may see the last ones twice. An answer that must not be given twice is [submitted](Client::submit_as) under an id
//! that follows from what it answers: the server stores it once. Other events, the fates of messages among them, are not
//! told again: [`Client::pending`] and the store have what is true.
//!
//! # The classic protocol
//! [`Classic`] speaks it, over the same connections. It knows no acknowledgements, no order and no history.
//!
//! | part | what it does |
//! | --- | --- |
//! | `address` | where to dial, and what to ask for |
//! | `connect` | TCP and the WebSocket handshake |
//! | `reader` | bytes to messages |
//! | `writer` | frames to bytes, and how far they have left |
//! | `link` | one connection: the task that dials and reads, and the writer |
//! | `driver` | a machine of the engine and its link, for either protocol |
//! | `classic` | the classic protocol's client |
//! | `builder`, `handle`, `event` | what applications see of a session protocol's client |
//! | `task`, `queue` | what is behind it: the session with its store, and the events on their way |
//! | `retell` | what an earlier client has stored and its application has not taken |
//! | `store` | what is kept: in memory, in an SQLite file, or by the application |

mod address;
mod builder;
mod classic;
mod connect;
mod driver;
mod event;
mod handle;
mod link;
mod queue;
mod reader;
mod retell;
mod store;
mod stream;
mod task;
mod writer;

pub use crate::accounts::{Token, TokenError};
pub use crate::tls::{ClientTls, TrustError};
pub use address::{ServerUrl, UrlError};
pub use builder::{ClientBuilder, StartError};
pub use classic::{Classic, ClassicEvent};
pub use connect::ConnectError;
pub use event::{Event, State};
pub use handle::{
    CallError, Client, Ended, Older, OlderError, SubmitError, Submitted, Unaccepted, WatchError,
};
pub use link::LinkError;
pub use queue::Events;
pub use reader::ReadError;
pub use store::{Change, MemoryStore, SqliteStore, Store, StoreError, Summary, changed_by};
pub use switchboard_engine::{
    CallEnd, CallId, CallNews, ClosedReason, Content, GroupChange, GroupId, History, LogCursor, LogMessage,
    LossCause, Marks, MessageId, PendingSubmit, Place, Recipient, RejectReason, Resume, Role, Subject,
    UserId,
};
