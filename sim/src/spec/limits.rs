//! The settings that the specification needs, and the bounds that follow from them.

use super::duties;
use crate::{
    schedule::Schedule,
    world::{lag_bytes, page_messages},
};

/// The settings that the specification needs, and the bound that follows from them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bound_us: u64,
    pub(super) connections_per_user: usize,
    pub(super) message_burst: u64,
    pub(super) byte_burst: u64,
    /// Whether there are limits that a user's connections share, and how much they allow at once.
    pub(super) user_messages: bool,
    pub(super) user_message_burst: u64,
    pub(super) user_bytes: bool,
    pub(super) user_byte_burst: u64,
    pub(super) message_bytes: u64,
    pub(super) idle_timeout_us: u64,
    /// Users from here on are unknown to the directory: nothing of theirs is stored.
    pub(super) known_users: u16,
    pub(super) groups_are_limited: bool,
    /// How long an answer to a session may take, in microseconds, however the store is.
    pub(super) answer_us: u64,
    pub(super) hello_timeout_us: u64,
    pub(super) lag_bytes: u64,
    pub(super) page_messages: u64,
    pub(super) pending: u64,
    pub(super) fetches: u64,
    pub(super) history: u64,
    pub(super) ring_timeout_us: u64,
    pub(super) call_grace_us: u64,
    pub(super) peer_timeout_us: u64,
    pub(super) calls_are_limited: bool,
    pub(super) has_peers: bool,
    pub(super) has_presence: bool,
    pub(super) presence_grace_us: u64,
    pub(super) presence_refresh_us: u64,
    pub(super) watches: usize,
    /// What the store takes for an answer when it is well.
    pub(super) store_us: u64,
    pub(super) resend_messages: u64,
    pub(super) resend_conversations: u64,
    /// What a frame takes at the most between a client and its node, when nothing is wrong, and how much of frames goes
    /// at once.
    pub(super) net_us: u64,
    pub(super) socket_bytes: u64,
}

impl Limits {
    /// Those of a schedule, with machines that need so much longer than their requests take.
    pub(super) fn new(schedule: &Schedule, slack_us: u64) -> Self {
        let s = &schedule.settings;
        Self {
            bound_us: duties::bound_us(s) + slack_us,
            connections_per_user: if s.newest_wins == 1 { 1 } else { s.connections_per_user as usize },
            message_burst: s.message_burst,
            byte_burst: s.byte_burst,
            user_messages: s.user_messages_per_second > 0,
            user_message_burst: s.user_message_burst,
            user_bytes: s.user_bytes_per_second > 0,
            user_byte_burst: s.user_byte_burst,
            message_bytes: s.message_bytes,
            idle_timeout_us: s.idle_timeout_ms * 1000,
            known_users: (s.users - s.unknown_users) as u16,
            groups_are_limited: schedule.all_groups() as u64 > s.groups_per_user,
            answer_us: duties::answer_us(s) + slack_us,
            hello_timeout_us: s.hello_timeout_ms * 1000,
            lag_bytes: lag_bytes(s),
            page_messages: page_messages(s),
            pending: s.pending_per_connection,
            fetches: s.fetches_per_connection,
            history: s.history,
            ring_timeout_us: s.ring_timeout_ms * 1000,
            call_grace_us: s.call_grace_ms * 1000,
            peer_timeout_us: s.peer_timeout_ms * 1000,
            calls_are_limited: s.calls < s.users,
            has_peers: s.nodes * s.shards > 1,
            has_presence: s.presence == 1,
            presence_grace_us: s.presence_grace_ms * 1000,
            presence_refresh_us: s.presence_refresh_ms * 1000,
            watches: s.watches as usize,
            store_us: s.store_delay_us + s.store_jitter_us + s.answer_jitter_us + 100,
            resend_messages: s.resend_messages,
            resend_conversations: s.resend_conversations,
            net_us: s.net_delay_us + s.net_jitter_us,
            socket_bytes: s.socket_bytes,
        }
    }
}
