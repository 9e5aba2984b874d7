//! What the fuzz targets do with their bytes.
//!
//! Each target is a function that takes any bytes at all, makes something of them and holds the result to a property; it panics if
//! that does not hold. The binaries in `fuzz/fuzz_targets` have libFuzzer call them, the test `corpora` gives them what is kept in
//! `fuzz/corpus` and `fuzz/regressions`. `fuzz/README.md` says how to use them.
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "numbers of engines and lengths of inputs are the targets' own and small; a wrong one must stop a run, and a panic does"
)]

mod byte_by_byte;
mod classic_decode;
mod engine_events;
#[cfg(feature = "runtime")]
mod handshake;
#[cfg(feature = "runtime")]
mod http_query;
mod recording_reader;
mod schedule_text;
mod schedules;
mod script_text;
pub mod seeds;
mod session_decode;
#[cfg(feature = "runtime")]
mod upload_form;
#[cfg(feature = "runtime")]
mod waiting;

pub use byte_by_byte::byte_by_byte;
pub use classic_decode::classic_decode;
pub use engine_events::engine_events;
#[cfg(feature = "runtime")]
pub use handshake::handshake;
#[cfg(feature = "runtime")]
pub use http_query::http_query;
pub use recording_reader::recording_reader;
pub use schedule_text::schedule_text;
pub use schedules::schedules;
pub use script_text::script_text;
pub use session_decode::session_decode;
#[cfg(feature = "runtime")]
pub use upload_form::upload_form;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called: its binary, its corpus.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// The same input in words, where it is something else than bytes or text.
    pub show: Option<fn(&[u8]) -> String>,
    /// The memory that it may take for an input.
    pub memory: Memory,
}

/// How much memory may be taken.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes in any case.
    pub base_bytes: usize,
    /// Bytes for each byte of the input.
    pub bytes_per_byte: usize,
}

/// What decoding something takes.
const LITTLE: Memory = Memory { base_bytes: 1 << 20, bytes_per_byte: 1 << 10 };

/// Four bytes of a compressed block become 128 KiB at the most (RFC 8878).
const UNPACKED: Memory = Memory { base_bytes: 4 << 20, bytes_per_byte: 34 << 10 };

const WORLD: Memory = Memory { base_bytes: 256 << 20, bytes_per_byte: 1 << 10 };

/// All of them.
pub const TARGETS: &[Target] = &[
    target("classic_decode", classic_decode, None, LITTLE),
    target("session_decode", session_decode, None, LITTLE),
    target("engine_events", engine_events, Some(engine_events::show), WORLD),
    target("schedules", schedules, Some(schedules::show), WORLD),
    target("recording_reader", recording_reader, None, UNPACKED),
    target("schedule_text", schedule_text, None, LITTLE),
    target("script_text", script_text, None, LITTLE),
    target("byte_by_byte", byte_by_byte, None, LITTLE),
    #[cfg(feature = "runtime")]
    target("handshake", handshake, None, LITTLE),
    #[cfg(feature = "runtime")]
    target("http_query", http_query, None, LITTLE),
    #[cfg(feature = "runtime")]
    target("upload_form", upload_form, None, LITTLE),
];

const fn target(
    name: &'static str,
    run: fn(&[u8]),
    show: Option<fn(&[u8]) -> String>,
    memory: Memory,
) -> Target {
    Target { name, run, show, memory }
}
