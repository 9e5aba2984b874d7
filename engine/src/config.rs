//! Every limit, default and time-out of the engine.

use core::fmt;
use core::time::Duration;

/// How a [`Server`](crate::Server) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// What happens when a user who is connected connects again.
    pub devices: DevicePolicy,
    /// A connection that has been silent for this long is sent a Ping.
    pub ping_interval: Duration,
    /// A connection that has been silent for this long is taken for dead and closed. Browsers answer Pings
    /// by themselves, so with a longer time than `ping_interval` only dead peers are met.
    pub idle_timeout: Duration,
    /// How long a closing connection may take to write what is left and its close frame.
    pub close_timeout: Duration,
    /// How long an answer of the store is waited for; later answers are ignored.
    pub request_timeout: Duration,
    /// How long after a failed load of a user it is tried again.
    pub reload_interval: Duration,
    /// How long a call rings: after this, a callee's signals without a recipient go nowhere.
    pub ring_timeout: Duration,
    /// Whether there are other engines: without them, nothing is published or subscribed to.
    pub peers: bool,
    /// The limits.
    pub limits: Limits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            devices: DevicePolicy::All,
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            reload_interval: Duration::from_secs(1),
            ring_timeout: Duration::from_secs(60),
            peers: false,
            limits: Limits::default(),
        }
    }
}

/// What happens when a user who is connected connects again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DevicePolicy {
    /// All connections stay, and each receives everything.
    All,
    /// The newest connection stays, the others are closed.
    NewestWins,
}

/// The limits of a [`Server`](crate::Server): everything that can grow has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one engine, closing ones included; also the end of the driver's slots.
    pub connections: u32,
    /// Connections of one user; opening more closes the oldest. At least 1.
    pub connections_per_user: u32,
    /// Groups of one user that the engine keeps; a user in more receives nothing of the rest.
    pub groups_per_user: u32,
    /// Size of one message, received or sent.
    pub message_bytes: u64,
    /// Messages per second of one connection, sustained.
    pub messages_per_second: u32,
    /// Messages that a connection may send at once after a pause.
    pub message_burst: u32,
    /// Bytes per second of one connection, sustained.
    pub bytes_per_second: u64,
    /// Bytes that a connection may send at once after a pause; at least `message_bytes`.
    pub byte_burst: u64,
    /// Bytes waiting to be written to one connection, [`FRAME_COST_BYTES`] for each frame included; at
    /// least `message_bytes` and that. At the limit the connection is closed.
    pub outbox_bytes: u64,
    /// Live pictures (content types 8 and 9) of different senders that one connection is sent at a time.
    pub streams_per_connection: u32,
    /// Messages of one connection that wait for the store, or for the user to be loaded.
    pub pending_per_connection: u32,
    /// Messages of all connections that wait for the store.
    pub pending: u32,
    /// Bytes of all messages and files that wait for the store.
    pub pending_bytes: u64,
}

/// What a frame counts in an outbox beyond its payload: its header and the driver's bookkeeping.
pub const FRAME_COST_BYTES: u64 = 64;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1 << 20,
            connections_per_user: 32,
            groups_per_user: 2_000,
            message_bytes: 8 << 20,
            messages_per_second: 1_000,
            message_burst: 2_000,
            bytes_per_second: 8 << 20,
            byte_burst: 32 << 20,
            outbox_bytes: (8 << 20) + (64 << 10),
            streams_per_connection: 8,
            pending_per_connection: 2_048,
            pending: 65_536,
            pending_bytes: 256 << 20,
        }
    }
}

/// A limit that contradicts another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The offending field's name.
    pub field: &'static str,
    /// What would be right.
    pub rule: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.field, self.rule)
    }
}

impl core::error::Error for ConfigError {}

impl ServerConfig {
    /// Checks what the fields require of each other.
    ///
    /// # Errors
    /// The first field that breaks a rule, and the rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let l = &self.limits;
        let rules = [
            ("ping_interval", "above zero", !self.ping_interval.is_zero()),
            ("idle_timeout", "longer than ping_interval", self.idle_timeout > self.ping_interval),
            ("close_timeout", "above zero", !self.close_timeout.is_zero()),
            ("request_timeout", "above zero", !self.request_timeout.is_zero()),
            ("reload_interval", "above zero", !self.reload_interval.is_zero()),
            ("connections", "at least 1", l.connections >= 1),
            ("connections_per_user", "at least 1", l.connections_per_user >= 1),
            ("message_bytes", "at least 1024", l.message_bytes >= 1024),
            ("messages_per_second", "at least 1", l.messages_per_second >= 1),
            ("message_burst", "at least 1", l.message_burst >= 1),
            ("bytes_per_second", "at least 1", l.bytes_per_second >= 1),
            ("byte_burst", "at least message_bytes", l.byte_burst >= l.message_bytes),
            (
                "outbox_bytes",
                "at least message_bytes and 1024 more",
                l.outbox_bytes >= l.message_bytes.saturating_add(1024),
            ),
            ("pending_per_connection", "at least 1", l.pending_per_connection >= 1),
            ("pending", "at least 1", l.pending >= 1),
            ("pending_bytes", "at least message_bytes and 1024 more", {
                l.pending_bytes >= l.message_bytes.saturating_add(1024)
            }),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }
}
