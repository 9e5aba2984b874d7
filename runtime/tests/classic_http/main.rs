//! The HTTP calls of the classic front-end, against a real server: the shape of each, what bad input gets, who may do
//! what, and a front-end's whole way.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

#[path = "../server/ask.rs"]
mod ask;
mod bad_input;
mod bucket;
#[path = "../store_media/bucket_server.rs"]
#[allow(dead_code, reason = "the media store's tests have more use for it")]
mod bucket_server;
mod contract;
#[path = "../server/device.rs"]
#[allow(dead_code, reason = "the server's tests have more use for it")]
mod device;
mod ends;
mod files;
mod frames;
mod front_end;
#[path = "../server/harness.rs"]
#[allow(dead_code, reason = "the server's tests have more use for it")]
mod harness;
mod http;
mod journey;
mod rights;
mod sessions;
mod thumbnails;
mod tokens;
