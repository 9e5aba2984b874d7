//! The specification of the server: scenarios in the words of a chat, and random histories against a model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod driver;
mod harness;
mod history;
mod hostile_scene;
mod model;
mod session_words;
mod store;

mod authority;
mod bus;
mod calls;
mod calls_bus;
mod canaries;
mod delivery_order;
mod digests;
mod directory;
mod flow;
mod hostile_frames;
mod hostile_stranger;
mod limits;
mod liveness;
mod original_faults;
mod pictures;
mod presence;
mod properties;
mod resend;
mod resend_live;
mod rules;
mod session_calls;
mod session_connect;
mod session_entries;
mod session_marks;
mod session_messages;
mod session_places;
mod session_typing;
mod shutdown;
