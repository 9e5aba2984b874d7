//! The configuration: what can be set, what it means, and how it becomes the engine's.
//!
//! A value comes from the highest of four layers that names it: the defaults, the file, the environment, the
//! flags. [`load`] merges them and checks every value of every layer, overridden ones too. A key is written
//! with dots (`limits.message_bytes`); its variable is `SWITCHBOARD_LIMITS_MESSAGE_BYTES`. The file
//! `runtime/switchboard.toml` lists all keys with their defaults.

mod error;
mod key;
mod load;
mod show;

use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use switchboard_engine as engine;

pub use error::{ConfigError, ConfigErrors};
pub(crate) use load::is_loopback;
pub use load::{CONFIG_VARIABLE, Layers, Loaded, Origin, load};

/// How a Switchboard server runs. Each field says which values [`load`] takes; numbers in names that end in
/// `_ms` are milliseconds, in `_bytes` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port for WebSockets and HTTP. Default 127.0.0.1:8888; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Address and port for figures, readiness and health alone, for operators. Default `off`: figures are then shown on
    /// `listen`, if that is a loopback address.
    #[serde(with = "optional_address")]
    pub metrics_listen: Option<SocketAddr>,
    /// Folder of the database and of uploaded files. Default `data`, in the working directory.
    #[serde(deserialize_with = "folder")]
    pub data: PathBuf,
    /// Shards: threads with an engine each. Default 1; 1 to 64.
    pub shards: u16,
    /// How a user proves who they are. Default `open`, which [`load`] refuses on an address that is not a
    /// loopback address unless some layer asked for it by name.
    pub auth: AuthMode,
    /// What happens when a connected user connects again. Default: the engine's.
    pub devices: Devices,
    /// Whether it is known who is here, and kept when users were last. Default `on`.
    pub presence: Presence,
    /// Which log lines are written: a filter like `info` or `info,switchboard=debug`. Default `info`.
    #[serde(deserialize_with = "filter")]
    pub log: String,
    /// How log lines are written. Default `text`.
    pub log_format: LogFormat,
    /// How long a shutdown waits for connections to close, in milliseconds. Default 10,000; 0 to a day.
    pub shutdown_timeout_ms: u64,
    /// How long `/readyz` says that the server stops before anything else follows from that, in milliseconds. Default 0; 0 to a
    /// day.
    pub shutdown_notice_ms: u64,
    /// How long frames wait for others to the same connections, in milliseconds: fewer and larger writes, for that much latency.
    /// Default 0, which writes at the end of the turn; at most 1,000.
    pub write_delay_ms: u32,
    /// Connections that are not WebSockets yet.
    pub handshake: Handshake,
    /// Time-outs and intervals of the engine.
    pub timeouts: Timeouts,
    /// Limits of each shard.
    pub limits: Limits,
    /// The database.
    pub store: Store,
    /// The bus between shards.
    pub bus: Bus,
}

/// How a user proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// They need not: `?user=` is believed. For development, and behind a proxy that sets it.
    Open,
}

/// What happens when a connected user connects again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Devices {
    /// All connections stay, and each receives everything.
    All,
    /// The newest connection stays, the others are closed.
    NewestWins,
}

/// Whether it is known who is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// To those who have a conversation or a group in common with a user.
    On,
    /// To nobody: everybody is always said to be offline, and nothing is kept.
    Off,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people: coloured on a terminal, unless `NO_COLOR` is set.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// Section `handshake`: connections that are not WebSockets yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handshake {
    /// How long a new connection may take to finish its request, or to take an answer, in milliseconds.
    /// Default 10,000; 1 to a day.
    pub timeout_ms: u64,
    /// Connections in their handshake at once; more wait to be accepted. Default 1,024; at least 1.
    pub concurrent: u32,
}

/// Section `timeouts`, in milliseconds, 1 to a day each, if nothing else is said. Defaults: the engine's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// A connection silent for this long is sent a Ping.
    pub ping_interval_ms: u64,
    /// A connection silent for this long is closed; longer than `ping_interval_ms`.
    pub idle_timeout_ms: u64,
    /// How long a closing connection may take to write what is left.
    pub close_timeout_ms: u64,
    /// How long an answer of the store is waited for.
    pub request_timeout_ms: u64,
    /// How long after a failed load of a user it is tried again.
    pub reload_interval_ms: u64,
    /// How long a call rings.
    pub ring_timeout_ms: u64,
    /// How long after it has connected a session may take to send its `Hello`.
    pub hello_timeout_ms: u64,
    /// A session that has sent nothing for this long is to send a `Heartbeat`; shorter than `idle_timeout_ms`.
    pub heartbeat_interval_ms: u64,
    /// A session that has asked for nothing for this long is to ask how far its conversations are.
    pub resync_interval_ms: u64,
    /// A session that is told goodbye is to come back no sooner than after this time; 0 to a day ...
    pub reconnect_after_ms: u64,
    /// ... plus a random part of this one; 0 to a day.
    pub reconnect_spread_ms: u64,
    /// How long after the end of a user's last connection the user is said to be offline; 0 to a day.
    pub presence_grace_ms: u64,
    /// How often other shards are asked whether a user is there who is watched.
    pub presence_refresh_ms: u64,
    /// How long the answer of another shard is waited for.
    pub peer_timeout_ms: u64,
    /// How long a call outlives the connection of a device that has it, and the last sign of another shard.
    pub call_grace_ms: u64,
    /// Over how long a shutdown closes the connections, as far as `shutdown_timeout_ms` allows; 0 to a day.
    pub drain_time_ms: u64,
    /// How long after a stored message was sent to a classic client a Ping asks whether it has arrived.
    pub receipt_interval_ms: u64,
}

/// Section `limits`, for each shard. Defaults, but for `receive_budget_bytes`: the engine's, whose
/// [`Limits`](engine::Limits) say more about each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of one shard, closing ones included; 1 to 16,777,216.
    pub connections: u32,
    /// Connections of one user; opening more closes the oldest. At least 1.
    pub connections_per_user: u32,
    /// Groups of one user that are kept; at least 1.
    pub groups_per_user: u32,
    /// Size of one message, received or sent; 1,024 to 1 GiB.
    pub message_bytes: u64,
    /// Messages per second of one connection, sustained; at least 1.
    pub messages_per_second: u32,
    /// Messages that a connection may send at once after a pause; at least 1.
    pub message_burst: u32,
    /// Bytes per second of one connection, sustained; 1 to 1 TiB.
    pub bytes_per_second: u64,
    /// Bytes that a connection may send at once after a pause; `message_bytes` to 1 TiB.
    pub byte_burst: u64,
    /// Messages per second of all connections of one user together, sustained; 0: as many as each may send.
    pub user_messages_per_second: u32,
    /// Messages that the connections of a user may send at once after a pause; at least 1.
    pub user_message_burst: u32,
    /// Bytes per second of all connections of one user together, sustained; 0: as many as each may send; to 1 TiB.
    pub user_bytes_per_second: u64,
    /// Bytes that the connections of a user may send at once after a pause; `message_bytes` to 1 TiB, if limited.
    pub user_byte_burst: u64,
    /// Connections that are taken in per second, sustained; the others are told when to come back. 0: all.
    pub admissions_per_second: u32,
    /// Connections that are taken in at once after a pause; at least 1.
    pub admission_burst: u32,
    /// Bytes waiting to be written to one connection; `message_bytes` and 1,024 more, to 1 TiB.
    pub outbox_bytes: u64,
    /// Live pictures of different senders that one connection is sent at a time; 0 sends none.
    pub streams_per_connection: u32,
    /// Messages of one connection that wait for the store; at least 1.
    pub pending_per_connection: u32,
    /// Messages of all connections that wait for the store; at least 1.
    pub pending: u32,
    /// Bytes of all messages and files that wait for the store; `message_bytes` and 1,024 more, to 1 TiB.
    pub pending_bytes: u64,
    /// Messages of one conversation that are sent again to a classic client that returns, the newest; 0: none.
    pub resend_messages: u32,
    /// Conversations of which a classic client that returns is sent messages again; at least 1.
    pub resend_conversations: u32,
    /// Bytes of stored messages that come for a classic client while it is found out what it has missed, and are kept for
    /// it; what is beyond that is read from the log.
    pub resend_held_bytes: u64,
    /// Messages sent to one classic client of which is remembered whether they have arrived; at least 2.
    pub receipts_per_connection: u32,
    /// Bytes waiting to be written to one session, beyond which nothing is pushed to it until they are written;
    /// 1 to less than `outbox_bytes`.
    pub lag_bytes: u64,
    /// Fetches of one session that wait for the store; at least 1.
    pub fetches_per_connection: u32,
    /// Conversations of which one session's marks wait for the store; marks of more are dropped; at least 1.
    pub marks_per_connection: u32,
    /// Messages of one page of a log; at least 1.
    pub page_messages: u32,
    /// Bytes of content of one page of a log, unless its only message is larger; at least 1, and with 512 for
    /// each of `page_messages` at most `outbox_bytes`.
    pub page_bytes: u64,
    /// Cursors of one `Hello` or `Resync` that are looked at; at least 256.
    pub cursors_per_hello: u32,
    /// Heads of one frame; at least 1.
    pub heads_per_frame: u32,
    /// Users whose presence one session may watch.
    pub watches: u32,
    /// Users in calls, those that ring included.
    pub calls: u32,
    /// Bytes of all unfinished incoming messages of a shard together; `message_bytes` and 1,024 more,
    /// to 1 TiB. Default 256 MiB.
    pub receive_budget_bytes: u64,
}

/// Section `store`: the database. What it commits at once costs one sync to the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Requests committed at once, at most. Default 1,024; at least 1.
    pub batch_messages: u32,
    /// A batch takes no further request once it holds this many bytes. Default 16 MiB; 1 to 1 TiB.
    pub batch_bytes: u64,
    /// Between the begins of two commits lies at least this time, in microseconds, so that under load one sync
    /// carries more. What comes after a pause is committed at once. Default 5,000; 0 to 1 s.
    pub commit_interval_us: u32,
    /// Size of the database at which messages are refused; 0 is no limit. Default 0; to 1 PiB.
    pub max_database_bytes: u64,
}

/// Section `bus`: what shards tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// Records waiting for one shard. Default 65,536; 1 to 16,777,216.
    pub queue_records: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8888)),
            metrics_listen: None,
            data: PathBuf::from("data"),
            shards: 1,
            auth: AuthMode::Open,
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
            commit_interval_us: 5_000,
            max_database_bytes: 0,
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self { queue_records: 65_536 }
    }
}

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
    /// The configuration of each shard's engine. One that [`load`] gave passes the engine's own checks.
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

/// A default of the engine in milliseconds. None comes near the end of `u64`.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a log filter only if it is one. The error has its causes in its text, as serde keeps no more.
fn filter<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match crate::logging::parse_filter(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Err(serde::de::Error::custom(format!("{error}{cause}")))
        }
    }
}

/// Takes a path only if it is one: an empty variable is a slip, not the working directory.
fn folder<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() { Err(serde::de::Error::custom("the path is empty")) } else { Ok(path) }
}

/// An address that may be `off`.
mod optional_address {
    use std::net::SocketAddr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    const OFF: &str = "off";

    pub(super) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str(OFF),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == OFF { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
    }
}
