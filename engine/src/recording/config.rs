//! Configurations in recordings.

use core::time::Duration;

use switchboard_proto::recording as wire;

use crate::{
    config::{DevicePolicy, Limits, ServerConfig},
    time::nanos,
};

/// The limits, by their names.
macro_rules! limits {
    ($apply:ident) => {
        $apply!(
            connections,
            connections_per_user,
            groups_per_user,
            message_bytes,
            messages_per_second,
            message_burst,
            bytes_per_second,
            byte_burst,
            user_messages_per_second,
            user_message_burst,
            user_bytes_per_second,
            user_byte_burst,
            admissions_per_second,
            admission_burst,
            outbox_bytes,
            streams_per_connection,
            pending_per_connection,
            pending,
            pending_bytes,
            resend_messages,
            resend_conversations,
            resend_held_bytes,
            receipts_per_connection,
            lag_bytes,
            fetches_per_connection,
            marks_per_connection,
            page_messages,
            page_bytes,
            cursors_per_hello,
            heads_per_frame,
            watches,
            calls
        )
    };
}

pub(super) fn wired(config: &ServerConfig) -> wire::ServerConfig {
    let ns = |duration: Duration| Some(nanos(duration));
    let wired_limits = |limits: &Limits| {
        macro_rules! wired {
            ($($name:ident),*) => { wire::Limits { $($name: Some(limits.$name)),* } };
        }
        limits!(wired)
    };
    let ServerConfig {
        devices,
        ping_interval,
        idle_timeout,
        close_timeout,
        request_timeout,
        reload_interval,
        ring_timeout,
        hello_timeout,
        heartbeat_interval,
        resync_interval,
        reconnect_after,
        reconnect_spread,
        presence,
        presence_grace,
        presence_refresh,
        peer_timeout,
        call_grace,
        drain_time,
        receipt_interval,
        peers,
        one_home,
        limits,
    } = config;
    wire::ServerConfig {
        newest_wins: *devices == DevicePolicy::NewestWins,
        ping_interval_ns: ns(*ping_interval),
        idle_timeout_ns: ns(*idle_timeout),
        close_timeout_ns: ns(*close_timeout),
        request_timeout_ns: ns(*request_timeout),
        reload_interval_ns: ns(*reload_interval),
        ring_timeout_ns: ns(*ring_timeout),
        hello_timeout_ns: ns(*hello_timeout),
        heartbeat_interval_ns: ns(*heartbeat_interval),
        resync_interval_ns: ns(*resync_interval),
        reconnect_after_ns: ns(*reconnect_after),
        reconnect_spread_ns: ns(*reconnect_spread),
        presence: Some(*presence),
        presence_grace_ns: ns(*presence_grace),
        presence_refresh_ns: ns(*presence_refresh),
        peer_timeout_ns: ns(*peer_timeout),
        call_grace_ns: ns(*call_grace),
        drain_time_ns: ns(*drain_time),
        receipt_interval_ns: ns(*receipt_interval),
        peers: *peers,
        one_home: *one_home,
        limits: Some(wired_limits(limits)),
    }
}

/// A configuration; what an older version did not write has its default.
pub(super) fn read(config: &wire::ServerConfig) -> ServerConfig {
    let default = ServerConfig::default();
    let time = |ns: Option<u64>, default: Duration| ns.map_or(default, Duration::from_nanos);
    let read_limits = |limits: &wire::Limits, default: &Limits| {
        macro_rules! read {
            ($($name:ident),*) => { Limits { $($name: limits.$name.unwrap_or(default.$name)),* } };
        }
        limits!(read)
    };
    ServerConfig {
        devices: if config.newest_wins { DevicePolicy::NewestWins } else { DevicePolicy::All },
        ping_interval: time(config.ping_interval_ns, default.ping_interval),
        idle_timeout: time(config.idle_timeout_ns, default.idle_timeout),
        close_timeout: time(config.close_timeout_ns, default.close_timeout),
        request_timeout: time(config.request_timeout_ns, default.request_timeout),
        reload_interval: time(config.reload_interval_ns, default.reload_interval),
        ring_timeout: time(config.ring_timeout_ns, default.ring_timeout),
        hello_timeout: time(config.hello_timeout_ns, default.hello_timeout),
        heartbeat_interval: time(config.heartbeat_interval_ns, default.heartbeat_interval),
        resync_interval: time(config.resync_interval_ns, default.resync_interval),
        reconnect_after: time(config.reconnect_after_ns, default.reconnect_after),
        reconnect_spread: time(config.reconnect_spread_ns, default.reconnect_spread),
        presence: config.presence.unwrap_or(default.presence),
        presence_grace: time(config.presence_grace_ns, default.presence_grace),
        presence_refresh: time(config.presence_refresh_ns, default.presence_refresh),
        peer_timeout: time(config.peer_timeout_ns, default.peer_timeout),
        call_grace: time(config.call_grace_ns, default.call_grace),
        drain_time: time(config.drain_time_ns, default.drain_time),
        receipt_interval: time(config.receipt_interval_ns, default.receipt_interval),
        peers: config.peers,
        one_home: config.one_home,
        limits: config
            .limits
            .as_ref()
            .map_or_else(Limits::default, |limits| read_limits(limits, &default.limits)),
    }
}
