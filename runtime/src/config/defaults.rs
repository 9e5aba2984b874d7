//! What holds where nothing is set.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use switchboard_engine as engine;

use super::{
    Accounts, AuthMode, Bus, Config, FrontEnd, Handshake, Http, Limits, LogFormat, Media, Presence, Record,
    Store, Telemetry, Timeouts, Tokens,
};

impl Default for Accounts {
    fn default() -> Self {
        Self {
            threads: 2,
            waiting: 1_024,
            hashes: 2,
            hashes_waiting: 64,
            name_bytes: 64,
            email_bytes: 254,
            notice_bytes: 1_024,
            password_least_bytes: 8,
            password_bytes: 256,
            friends: 2_000,
            session_hours: 720,
            sessions_per_user: 32,
            login_burst: 10,
            login_interval_ms: 6_000,
            address_burst: 100,
            address_interval_ms: 1_000,
            login_entries: 65_536,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            body_bytes: 65_536,
            body_timeout_ms: 10_000,
            upload_bytes: 16 << 20,
            uploads: 16,
            upload_timeout_ms: 120_000,
            calls_per_second: 50,
            call_burst: 500,
            members: 5_000,
            page_messages: 500,
            page_bytes: 1 << 20,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8888)),
            metrics_listen: None,
            tls_cert: None,
            tls_key: None,
            data: PathBuf::from("data"),
            shards: 1,
            auth: AuthMode::Open,
            allowed_origins: String::new(),
            trusted_proxies: String::new(),
            front_end: FrontEnd::BuiltIn,
            devices: engine::ServerConfig::default().devices.into(),
            presence: Presence::On,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            shutdown_timeout_ms: 10_000,
            shutdown_notice_ms: 0,
            write_delay_ms: 0,
            handshake: Handshake::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            store: Store::default(),
            bus: Bus::default(),
            accounts: Accounts::default(),
            tokens: Tokens::default(),
            http: Http::default(),
            media: Media::default(),
            record: Record::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self { timeout_ms: 10_000, concurrent: 1_024 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let engine = engine::ServerConfig::default();
        Self {
            ping_interval_ms: millis(engine.ping_interval),
            idle_timeout_ms: millis(engine.idle_timeout),
            close_timeout_ms: millis(engine.close_timeout),
            request_timeout_ms: millis(engine.request_timeout),
            reload_interval_ms: millis(engine.reload_interval),
            ring_timeout_ms: millis(engine.ring_timeout),
            hello_timeout_ms: millis(engine.hello_timeout),
            heartbeat_interval_ms: millis(engine.heartbeat_interval),
            resync_interval_ms: millis(engine.resync_interval),
            reconnect_after_ms: millis(engine.reconnect_after),
            reconnect_spread_ms: millis(engine.reconnect_spread),
            presence_grace_ms: millis(engine.presence_grace),
            presence_refresh_ms: millis(engine.presence_refresh),
            peer_timeout_ms: millis(engine.peer_timeout),
            call_grace_ms: millis(engine.call_grace),
            drain_time_ms: millis(engine.drain_time),
            receipt_interval_ms: millis(engine.receipt_interval),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        // Taken apart by name, so that a new limit of the engine does not compile until it can be set.
        let engine::Limits {
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
            calls,
        } = engine::Limits::default();
        Self {
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
            calls,
            receive_budget_bytes: 256 << 20,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            batch_messages: 1_024,
            batch_bytes: 16 << 20,
            commit_interval_us: 10_000,
            max_database_bytes: 0,
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self { queue_records: 65_536 }
    }
}

/// A default of the engine in milliseconds. None comes near the end of `u64`.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
