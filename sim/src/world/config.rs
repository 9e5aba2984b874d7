//! The configuration of the engines of a world: what its settings say, and what is the same in all of them.

use core::time::Duration;

use switchboard_engine::{DevicePolicy, Limits, PAGE_MESSAGE_COST_BYTES, ServerConfig};

use crate::schedule::Settings;

/// When a session that a server has closed is to come back, and the most that is added to it.
const RECONNECT_AFTER_MS: u64 = 200;
const RECONNECT_SPREAD_MS: u64 = 500;

/// Heads of one frame: so few that even small worlds have several frames.
const HEADS_PER_FRAME: u32 = 2;

/// Stored messages of which is remembered whether they have arrived at a classic client: so few that more are sent.
pub(crate) const RECEIPTS: u32 = 24;

/// How long after a stored message a classic client is asked whether it has arrived.
pub(crate) const RECEIPT_INTERVAL_MS: u64 = 400;

/// What may wait for a session before nothing more is pushed to it.
pub(crate) const fn lag_bytes(s: &Settings) -> u64 {
    s.outbox_bytes / 2
}

/// Bytes of a page.
const fn page_bytes(s: &Settings) -> u64 {
    s.outbox_bytes / 4
}

/// Messages of a page: no more than would fit into an outbox.
pub(crate) fn page_messages(s: &Settings) -> u64 {
    let room = (s.outbox_bytes - page_bytes(s)) / PAGE_MESSAGE_COST_BYTES;
    s.page_messages.min(room).max(1)
}

/// The configuration of each engine; with `peers`, of one that has others beside it.
#[allow(
    clippy::needless_update,
    reason = "what the engine's configuration may have besides, has its default"
)]
pub(super) fn server_config(s: &Settings, peers: bool) -> ServerConfig {
    let u32_of = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    ServerConfig {
        devices: if s.newest_wins == 1 { DevicePolicy::NewestWins } else { DevicePolicy::All },
        ping_interval: Duration::from_millis(s.ping_interval_ms),
        idle_timeout: Duration::from_millis(s.idle_timeout_ms),
        close_timeout: Duration::from_millis(s.close_timeout_ms),
        request_timeout: Duration::from_millis(s.request_timeout_ms),
        reload_interval: Duration::from_millis(s.reload_interval_ms),
        ring_timeout: Duration::from_millis(s.ring_timeout_ms),
        hello_timeout: Duration::from_millis(s.hello_timeout_ms),
        heartbeat_interval: Duration::from_millis(s.ping_interval_ms),
        resync_interval: Duration::from_millis(s.resync_interval_ms),
        presence_grace: Duration::from_millis(s.presence_grace_ms),
        presence_refresh: Duration::from_millis(s.presence_refresh_ms),
        call_grace: Duration::from_millis(s.call_grace_ms),
        peer_timeout: Duration::from_millis(s.peer_timeout_ms),
        reconnect_after: Duration::from_millis(RECONNECT_AFTER_MS),
        reconnect_spread: Duration::from_millis(RECONNECT_SPREAD_MS),
        drain_time: Duration::from_millis(s.drain_time_ms),
        receipt_interval: Duration::from_millis(RECEIPT_INTERVAL_MS),
        peers,
        one_home: s.nodes == 1,
        limits: Limits {
            resend_messages: u32_of(s.resend_messages),
            resend_conversations: u32_of(s.resend_conversations),
            receipts_per_connection: RECEIPTS,
            resend_held_bytes: s.outbox_bytes / 8,
            connections_per_user: u32_of(s.connections_per_user),
            groups_per_user: u32_of(s.groups_per_user),
            message_bytes: s.message_bytes,
            outbox_bytes: s.outbox_bytes,
            streams_per_connection: u32_of(s.streams_per_connection),
            pending_per_connection: u32_of(s.pending_per_connection),
            messages_per_second: u32_of(s.messages_per_second),
            message_burst: u32_of(s.message_burst),
            bytes_per_second: s.bytes_per_second,
            byte_burst: s.byte_burst,
            user_messages_per_second: u32_of(s.user_messages_per_second),
            user_message_burst: u32_of(s.user_message_burst),
            user_bytes_per_second: s.user_bytes_per_second,
            user_byte_burst: s.user_byte_burst,
            admissions_per_second: u32_of(s.admissions_per_second),
            admission_burst: u32_of(s.admission_burst),
            lag_bytes: lag_bytes(s),
            fetches_per_connection: u32_of(s.fetches_per_connection),
            marks_per_connection: u32_of(s.marks_per_connection),
            page_messages: u32_of(page_messages(s)),
            page_bytes: page_bytes(s),
            heads_per_frame: HEADS_PER_FRAME,
            calls: u32_of(s.calls),
            watches: u32_of(s.watches),
            ..Limits::default()
        },
        presence: s.presence == 1,
        ..ServerConfig::default()
    }
}
