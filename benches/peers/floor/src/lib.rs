//! The floor that the kernel sets: a repeater of WebSocket messages that does nothing else.
//!
//! A chat server must read each message from one socket and write it to others. This program does that and no more: one
//! thread, epoll, no protobuf, no users, no limits but those of memory. What it costs is what the kernel costs, and what
//! a server costs beyond it is the server's own.
//!
//! As servers do that are meant to be fast, it makes one read of a socket in a turn of its loop, and one write to each
//! socket that something is for, however many messages that is.

mod client;
mod frame;
mod handshake;
mod repeater;

pub use repeater::{Repeater, Route};
