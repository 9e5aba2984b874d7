//! The Switchboard chat server: sockets, HTTP, store and bus around the engine.
pub mod websocket;
