//! Routing and delivery of the Switchboard chat server, as pure state machines.
#![no_std]
extern crate alloc;
mod action;
mod bus;
mod close;
mod config;
mod event;
mod id;
mod storage;
mod time;
pub use action::{Action, Frame, Recipients};
pub use bus::{Record, Topic};
pub use close::CloseReason;
pub use config::{ConfigError, DevicePolicy, FRAME_COST_BYTES, Limits, ServerConfig};
pub use event::{Event, PeerFault};
pub use id::{ConnId, GroupId, ID_LIMIT_BYTES, IdError, MessageId, Ticket, UserId};
pub use storage::{
    Answer, DirectoryChange, DirectoryChangeKind, FileKind, FileSource, FileUpload, NewMessage, Recipient,
    Request, UserProfile,
};
pub use time::Instant;
