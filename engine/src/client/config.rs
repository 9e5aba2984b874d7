//! Every limit, default and time-out of the client.

use alloc::boxed::Box;
use core::time::Duration;

use crate::{
    config::{ConfigError, FRAME_COST_BYTES},
    id::UserId,
};

/// How a [`Client`](crate::Client) behaves. [`ClientConfig::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Who the client speaks for: the `from` of what it sends. Servers that authenticate overwrite it.
    pub user: UserId,
    /// The user's display name, which goes with every message; may be empty.
    pub username: Box<str>,
    /// The file name of the user's picture, which goes with every message; may be empty.
    pub avatar: Box<str>,
    /// How long a connection may take to open, handshakes included. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a closing connection may take to write what is left and its close frame. Default 5 s.
    pub close_timeout: Duration,
    /// After this long without receiving anything, a heartbeat is sent. Default 20 s, below the 25 s and more
    /// after which servers and proxies look after a silent connection.
    pub heartbeat_interval: Duration,
    /// After this long without receiving anything, the link is taken for dead: aborted and dialled again.
    /// Default 45 s: two heartbeats have gone unanswered.
    ///
    /// A heartbeat waits behind what is being written. Where the server sends no Pings, the largest upload
    /// must fit through the slowest uplink within this time.
    pub idle_timeout: Duration,
    /// When a lost link is dialled again.
    pub reconnect: Reconnect,
    /// The limits.
    pub limits: ClientLimits,
}

/// When a [`Client`](crate::Client) dials again: exponential backoff with full jitter.
///
/// The n-th link in a row that failed or was not stable is followed by a delay drawn uniformly from
/// `floor..=min(cap, base * 2^(n-1))`. What the server said with its close code changes that:
///
/// | close code | meant | delay |
/// | --- | --- | --- |
/// | 1013 | the server is overloaded | uniform in `cap/2..=cap` |
/// | 1002, 1003, 1007, 1008, 1009, 4003 | this client is at fault | `cap` |
/// | 4000, 4001 | another device of the same user took its place | none: the client stops, for two devices that take turns would fight for ever |
/// | 4004, 4005 | the login has ended, or the user is banned | none: the client stops until the application dials again |
/// | any other, or none | | as above |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The shortest delay; also keeps jitter from drawing zero. Default 100 ms.
    pub floor: Duration,
    /// The longest delay after the first failure. Default 1 s.
    pub base: Duration,
    /// The longest delay after any number of failures. Default 60 s.
    pub cap: Duration,
    /// A link over which something was still received this long after it opened ends the row of failures.
    /// Merely opening does not: a server that accepts and closes would be dialled without a pause.
    /// Default 30 s.
    pub stable_after: Duration,
}

/// The limits of a [`Client`](crate::Client): everything that can grow has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Size of one outgoing message, encoded. Default 8 MiB, the server's default.
    pub message_bytes: u64,
    /// Messages accepted and not yet flushed, those handed to the driver included. Default 1,024.
    pub queue_messages: u32,
    /// Bytes of these messages, each with [`FRAME_COST_BYTES`](crate::FRAME_COST_BYTES) on top; at least
    /// `message_bytes` and that. Default 16 MiB.
    pub queue_bytes: u64,
    /// Bytes, counted in the same way, that are handed to the driver and not yet reported flushed. A message
    /// that is larger is handed over alone. What is in the window when a link dies is sent again, so a large
    /// window means more duplicates. Default 256 KiB.
    pub window_bytes: u64,
    /// Heartbeats and Pongs that wait to be handed to the driver, and as many again that wait to be flushed.
    /// Beyond that the oldest Pong is left out, which RFC 6455 section 5.5.3 allows. Default 8.
    pub control_frames: u32,
    /// A message that was the oldest unflushed one on this many links that the server closed for an
    /// undecodable or too large message (1007, 1009) is taken for the cause and dropped; otherwise it would
    /// block all later ones for ever. Default 3.
    pub refusals: u32,
    /// Actions that wait to be polled: while there are as many, further messages and Pings are discarded and
    /// counted. Only a driver that does not drain gets there. Default 16,384.
    pub undrained_actions: u32,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            floor: Duration::from_millis(100),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            stable_after: Duration::from_secs(30),
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            queue_messages: 1_024,
            queue_bytes: 16 << 20,
            window_bytes: 256 << 10,
            control_frames: 8,
            refusals: 3,
            undrained_actions: 16_384,
        }
    }
}

impl ClientConfig {
    /// The defaults, for this user, without a display name and a picture.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            username: Box::default(),
            avatar: Box::default(),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(45),
            reconnect: Reconnect::default(),
            limits: ClientLimits::default(),
        }
    }

    /// Checks what the fields require of each other.
    ///
    /// # Errors
    /// The first field that breaks a rule, and the rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (l, r) = (&self.limits, &self.reconnect);
        let rules = [
            ("connect_timeout", "above zero", !self.connect_timeout.is_zero()),
            ("close_timeout", "above zero", !self.close_timeout.is_zero()),
            ("heartbeat_interval", "above zero", !self.heartbeat_interval.is_zero()),
            ("idle_timeout", "longer than heartbeat_interval", self.idle_timeout > self.heartbeat_interval),
            ("floor", "above zero", !r.floor.is_zero()),
            ("base", "at least floor", r.base >= r.floor),
            ("cap", "at least base", r.cap >= r.base),
            ("stable_after", "above zero", !r.stable_after.is_zero()),
            ("message_bytes", "at least 1024", l.message_bytes >= 1024),
            ("queue_messages", "at least 1", l.queue_messages >= 1),
            (
                "queue_bytes",
                "at least message_bytes and FRAME_COST_BYTES more",
                l.queue_bytes >= l.message_bytes.saturating_add(FRAME_COST_BYTES),
            ),
            ("window_bytes", "at least 1", l.window_bytes >= 1),
            ("control_frames", "at least 2", l.control_frames >= 2),
            ("refusals", "at least 1", l.refusals >= 1),
            ("undrained_actions", "at least 16", l.undrained_actions >= 16),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }
}
