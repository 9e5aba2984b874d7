//! Routing and delivery of the Switchboard chat server, as pure state machines: events in, actions out.
//! No clock, no randomness but a seed, no IO, no threads; `no_std` with `alloc`.
//!
//! # The driving contract
//!
//! A driver owns the sockets, the clock, the store and the bus. For each thing that happens it
//!
//! 1. calls [`Server::handle`] with the time and the [`Event`] (or [`Server::handle_timeout`] when the time
//!    of [`Server::poll_timeout`] has come),
//! 2. calls [`Server::poll_action`] until it gives `None`, and carries out each [`Action`] in that order,
//! 3. waits for the next event, or until [`Server::poll_timeout`], which may have changed.
//!
//! An action lends from the server, so nothing can be handled while one is held. `handle` is infallible: an
//! event about a connection that is gone is a counted no-op, a peer's fault becomes [`Action::Close`].
//!
//! ```
//! use switchboard_engine::{
//!     Action, Answer, ConnId, Event, Frame, Instant, Protocol, Server, ServerConfig, UserId, UserProfile,
//! };
//!
//! let mut server = Server::new(ServerConfig::default(), 42, Instant::ZERO);
//! let alice = ConnId::new(0, 1);
//! let user = UserId::new("alice").expect("a valid id");
//! let mut events = vec![Event::Connected { conn: alice, user, protocol: Protocol::Classic }];
//! let mut welcomed = false;
//! while let Some(event) = events.pop() {
//!     server.handle(Instant::ZERO, event);
//!     while let Some(action) = server.poll_action() {
//!         match action {
//!             // A real driver asks its store, and answers when that has answered.
//!             Action::Request { ticket, request: _ } => {
//!                 let answer = Answer::UserLoaded(UserProfile::default());
//!                 events.push(Event::Answered { ticket, answer });
//!             }
//!             // A real driver writes to the recipients' sockets, and reports `Event::Flushed`.
//!             Action::Send { to, frame: Frame::Message(_) } => welcomed = to == [alice],
//!             _ => {}
//!         }
//!     }
//! }
//! assert!(welcomed);
//! ```
//!
//! What a driver owes: [`ConnId`]s that are never reused; for every connection, events in the order in which
//! they happened, ending with exactly one [`Event::Disconnected`]; frames of one connection written in the
//! order of their actions, each reported by [`Event::Flushed`] once it is written; answers to requests as
//! they come. What it may do: answer in any order, late, or never; lose, repeat and reorder bus records.
#![no_std]

extern crate alloc;

mod action;
mod amend;
mod answer;
mod bus;
mod client;
mod close;
mod config;
mod denial;
mod digest;
mod entry;
mod event;
mod fields;
mod groups;
mod hash;
mod id;
mod probe;
mod random;
pub mod recording;
mod server;
mod session;
mod stats;
mod storage;
mod time;

pub use action::{Action, Frame, OwnedAction, Recipients};
pub use amend::TargetFacts;
pub use answer::Undone;
pub use bus::{Carried, Note, Record, Topic};
pub use client::{
    Body, Client, ClientAction, ClientConfig, ClientEvent, ClientLimits, ClientStats, ClosedReason,
    ConnectionState, DropReason, Incoming, IncomingKind, LinkId, LossCause, Media, Notification, Outgoing,
    Reconnect, Scope, SendError, SendId, SignalKind, Target,
};
pub use close::CloseReason;
pub use config::{
    CURSORS_FLOOR, ConfigError, DevicePolicy, FRAME_COST_BYTES, Limits, PAGE_MESSAGE_COST_BYTES, ServerConfig,
};
pub use denial::Denial;
pub use event::{Audience, Event, PeerFault, Protocol, Revocation, Whose};
pub use groups::{GroupFacts, Membership, Refusal};
pub use id::{ConnId, GroupId, ID_LIMIT_BYTES, IdError, MessageId, SYSTEM, Ticket, UserId};
#[doc(hidden)]
pub use probe::{Canary, Probe, Rule, Shipped};
pub use server::{ConnectionPhase, ConnectionView, Gauges, InvariantViolation, Server, SnapshotError};
pub use session::{
    CallEnd, CallError, CallId, CallNews, Content, FetchError, History, LogCursor, LogMarks, LogMessage,
    NoOlderReason, OlderId, PendingSubmit, RejectReason, Resume, Retry, Session, SessionAction,
    SessionConfig, SessionLimits, SessionNotification, SessionState, SessionStats, SubmitError, WatchError,
};
pub use stats::Stats;
pub use storage::{
    Answer, DirectoryChange, DirectoryChangeKind, FileKind, FileSource, FileUpload, GroupChange, Head, Marks,
    Messages, NewMarks, NewMessage, Place, Range, Received, Recipient, Request, Role, StoredMarks,
    StoredMessage, Subject, UserProfile,
};
pub use time::Instant;
