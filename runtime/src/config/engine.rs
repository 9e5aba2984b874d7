//! What of the configuration is the engine's.

use std::time::Duration;

use switchboard_engine as engine;

use super::{Config, Devices, Presence};

impl From<engine::DevicePolicy> for Devices {
    fn from(policy: engine::DevicePolicy) -> Self {
        match policy {
            engine::DevicePolicy::All => Self::All,
            engine::DevicePolicy::NewestWins => Self::NewestWins,
        }
    }
}

impl From<Devices> for engine::DevicePolicy {
    fn from(devices: Devices) -> Self {
        match devices {
            Devices::All => Self::All,
            Devices::NewestWins => Self::NewestWins,
        }
    }
}

impl Config {
    /// The configuration of each shard's engine. One that [`load`](super::load) gave passes the engine's own checks.
    pub fn engine(&self) -> engine::ServerConfig {
        let (timeouts, limits) = (&self.timeouts, &self.limits);
        engine::ServerConfig {
            devices: self.devices.into(),
            ping_interval: Duration::from_millis(timeouts.ping_interval_ms),
            idle_timeout: Duration::from_millis(timeouts.idle_timeout_ms),
            close_timeout: Duration::from_millis(timeouts.close_timeout_ms),
            request_timeout: Duration::from_millis(timeouts.request_timeout_ms),
            reload_interval: Duration::from_millis(timeouts.reload_interval_ms),
            ring_timeout: Duration::from_millis(timeouts.ring_timeout_ms),
            hello_timeout: Duration::from_millis(timeouts.hello_timeout_ms),
            heartbeat_interval: Duration::from_millis(timeouts.heartbeat_interval_ms),
            resync_interval: Duration::from_millis(timeouts.resync_interval_ms),
            reconnect_after: Duration::from_millis(timeouts.reconnect_after_ms),
            reconnect_spread: Duration::from_millis(timeouts.reconnect_spread_ms),
            receipt_interval: Duration::from_millis(timeouts.receipt_interval_ms),
            presence: self.presence == Presence::On,
            presence_grace: Duration::from_millis(timeouts.presence_grace_ms),
            presence_refresh: Duration::from_millis(timeouts.presence_refresh_ms),
            peer_timeout: Duration::from_millis(timeouts.peer_timeout_ms),
            call_grace: Duration::from_millis(timeouts.call_grace_ms),
            // Beyond the time-out of the whole shutdown nobody waits for anything.
            drain_time: Duration::from_millis(timeouts.drain_time_ms.min(self.shutdown_timeout_ms)),
            peers: self.shards > 1,
            // A user's name says which shard has its connections.
            one_home: true,
            limits: engine::Limits {
                connections: limits.connections,
                connections_per_user: limits.connections_per_user,
                groups_per_user: limits.groups_per_user,
                message_bytes: limits.message_bytes,
                messages_per_second: limits.messages_per_second,
                message_burst: limits.message_burst,
                bytes_per_second: limits.bytes_per_second,
                byte_burst: limits.byte_burst,
                user_messages_per_second: limits.user_messages_per_second,
                user_message_burst: limits.user_message_burst,
                user_bytes_per_second: limits.user_bytes_per_second,
                user_byte_burst: limits.user_byte_burst,
                admissions_per_second: limits.admissions_per_second,
                admission_burst: limits.admission_burst,
                outbox_bytes: limits.outbox_bytes,
                streams_per_connection: limits.streams_per_connection,
                pending_per_connection: limits.pending_per_connection,
                pending: limits.pending,
                pending_bytes: limits.pending_bytes,
                resend_messages: limits.resend_messages,
                resend_conversations: limits.resend_conversations,
                resend_held_bytes: limits.resend_held_bytes,
                receipts_per_connection: limits.receipts_per_connection,
                lag_bytes: limits.lag_bytes,
                fetches_per_connection: limits.fetches_per_connection,
                marks_per_connection: limits.marks_per_connection,
                page_messages: limits.page_messages,
                page_bytes: limits.page_bytes,
                cursors_per_hello: limits.cursors_per_hello,
                heads_per_frame: limits.heads_per_frame,
                watches: limits.watches,
                calls: limits.calls,
            },
        }
    }
}
