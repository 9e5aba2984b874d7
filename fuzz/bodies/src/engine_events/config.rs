//! Configurations in which limits are met soon.

use core::time::Duration;

use arbitrary::{Result, Unstructured};
use switchboard_engine::{DevicePolicy, Limits, ServerConfig};

/// One of a few values.
pub(super) fn one_of<T: Copy>(u: &mut Unstructured<'_>, values: &[T]) -> Result<T> {
    u.choose(values).copied()
}

/// A configuration that is valid.
pub(super) fn config(u: &mut Unstructured<'_>, peers: bool) -> Result<ServerConfig> {
    let ms = Duration::from_millis;
    let config = ServerConfig {
        devices: one_of(u, &[DevicePolicy::All, DevicePolicy::NewestWins])?,
        ping_interval: ms(5_000),
        idle_timeout: ms(12_000),
        close_timeout: ms(2_000),
        request_timeout: ms(3_000),
        reload_interval: ms(500),
        ring_timeout: ms(one_of(u, &[60_000, 1_000])?),
        hello_timeout: ms(4_000),
        heartbeat_interval: ms(3_000),
        resync_interval: ms(8_000),
        presence: one_of(u, &[true, false])?,
        presence_grace: ms(one_of(u, &[1_000, 0])?),
        presence_refresh: ms(5_000),
        peer_timeout: ms(1_000),
        call_grace: ms(3_000),
        drain_time: ms(one_of(u, &[0, 1_000])?),
        receipt_interval: ms(2_000),
        peers,
        one_home: false,
        limits: limits(u)?,
        ..ServerConfig::default()
    };
    assert_eq!(config.validate(), Ok(()));
    Ok(config)
}

fn limits(u: &mut Unstructured<'_>) -> Result<Limits> {
    // Without it, what is limited below is hardly met together.
    let is_tight: bool = u.arbitrary()?;
    let (rate, per_second) = if is_tight { (true, one_of(u, &[0, 3])?) } else { (false, 0) };
    Ok(Limits {
        connections: super::node::SLOTS,
        connections_per_user: one_of(u, &[32, 1, 2])?,
        groups_per_user: one_of(u, &[2_000, 1])?,
        message_bytes: 2_048,
        messages_per_second: if rate { 5 } else { 1_000 },
        message_burst: if rate { 20 } else { 2_000 },
        bytes_per_second: if rate { 2_000 } else { 1 << 20 },
        byte_burst: if rate { 8_000 } else { 1 << 22 },
        user_messages_per_second: per_second,
        user_message_burst: 20,
        user_bytes_per_second: u64::from(per_second) * 1_000,
        user_byte_burst: 8_000,
        admissions_per_second: if is_tight { one_of(u, &[0, 2])? } else { 0 },
        admission_burst: 2,
        outbox_bytes: if is_tight { one_of(u, &[3_400, 8_000])? } else { 64 << 10 },
        streams_per_connection: one_of(u, &[8, 1, 0])?,
        pending_per_connection: if is_tight { one_of(u, &[64, 2])? } else { 64 },
        pending: if is_tight { one_of(u, &[64, 4])? } else { 256 },
        pending_bytes: if is_tight { one_of(u, &[64 << 10, 3_100])? } else { 256 << 10 },
        resend_messages: one_of(u, &[50, 1, 0])?,
        resend_conversations: one_of(u, &[20, 1])?,
        resend_held_bytes: one_of(u, &[10_000, 200])?,
        receipts_per_connection: one_of(u, &[100, 2])?,
        lag_bytes: if is_tight { one_of(u, &[2_000, 300])? } else { 16 << 10 },
        fetches_per_connection: one_of(u, &[4, 1])?,
        marks_per_connection: one_of(u, &[256, 1])?,
        page_messages: one_of(u, &[3, 1])?,
        page_bytes: one_of(u, &[1_500, 100])?,
        cursors_per_hello: 256,
        heads_per_frame: one_of(u, &[100, 1])?,
        watches: one_of(u, &[100, 1])?,
        calls: one_of(u, &[100, 1, 3])?,
    })
}
