//! Every limit, default and time-out of the engine.

use core::fmt;
use core::time::Duration;

/// A limit, to compare a length with.
pub(crate) fn to_usize(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

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
    /// How long an answer of the store is waited for; later answers are ignored. Sessions wait 30 s for theirs.
    pub request_timeout: Duration,
    /// How long after a failed load of a user it is tried again.
    pub reload_interval: Duration,
    /// How long a call rings: after this, a callee's signals without a recipient go nowhere.
    pub ring_timeout: Duration,
    /// How long after it has connected a session may take to send its `Hello`.
    pub hello_timeout: Duration,
    /// What a session is told in its `Welcome`: having sent nothing for this long, it is to send a `Heartbeat`.
    /// Shorter than `idle_timeout`, and in whole milliseconds at most `u32::MAX`, as the other times told to sessions.
    pub heartbeat_interval: Duration,
    /// What a session is told in its `Welcome`: having asked for nothing for this long, it is to send a `Resync`.
    pub resync_interval: Duration,
    /// What a session is told in its `Goodbye`: it is to come back no sooner than after this time ...
    pub reconnect_after: Duration,
    /// ... plus a random part of this one, so that those of a server that restarts do not come all at once.
    pub reconnect_spread: Duration,
    /// Whether sessions are told who is here, and the store keeps when users were last. If not, everybody is always said
    /// to be offline.
    pub presence: bool,
    /// How long after the end of a user's last connection the user is said to be offline.
    pub presence_grace: Duration,
    /// How often other engines are asked whether a user is there who is watched.
    pub presence_refresh: Duration,
    /// How long the answer of another engine is waited for.
    pub peer_timeout: Duration,
    /// How long a call outlives the connection of a device that has it, and the last sign of another engine.
    pub call_grace: Duration,
    /// Over how long a shutdown closes the connections, in equal steps; zero closes all of them at once.
    pub drain_time: Duration,
    /// How long after a stored message was sent to a classic client a Ping asks whether it has arrived.
    pub receipt_interval: Duration,
    /// Whether there are other engines: without them, nothing is published or subscribed to.
    pub peers: bool,
    /// Whether all connections of a user are of the same engine, as with the shards of a single node: then what is for a
    /// user who is here is not published. Default: no.
    pub one_home: bool,
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
            hello_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(20),
            resync_interval: Duration::from_secs(60),
            reconnect_after: Duration::from_secs(1),
            reconnect_spread: Duration::from_secs(10),
            presence: true,
            presence_grace: Duration::from_secs(10),
            presence_refresh: Duration::from_secs(60),
            peer_timeout: Duration::from_secs(2),
            call_grace: Duration::from_secs(15),
            drain_time: Duration::from_secs(1),
            receipt_interval: Duration::from_secs(10),
            peers: false,
            one_home: false,
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
    /// Messages per second of all connections of one user together, sustained; 0: as many as each may send.
    pub user_messages_per_second: u32,
    /// Messages that the connections of a user may send at once after a pause, if that is limited.
    pub user_message_burst: u32,
    /// Bytes per second of all connections of one user together, sustained; 0: as many as each may send.
    pub user_bytes_per_second: u64,
    /// Bytes that the connections of a user may send at once after a pause, if that is limited; at least
    /// `message_bytes` then.
    pub user_byte_burst: u64,
    /// Connections that are taken in per second, sustained; 0: as many as come. The others are closed before anything
    /// is asked about them, and told when there will be a place.
    pub admissions_per_second: u32,
    /// Connections that are taken in at once after a pause, if that is limited.
    pub admission_burst: u32,
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
    /// Messages of one conversation that are sent again to a classic client that returns, the newest; 0: none, and
    /// nothing is remembered of what has arrived.
    pub resend_messages: u32,
    /// Conversations of which a classic client that returns is sent messages again.
    pub resend_conversations: u32,
    /// Bytes of stored messages that come for one classic client before it is their turn and are kept for it, counted as
    /// in `outbox_bytes`; what is beyond that is read from the log.
    pub resend_held_bytes: u64,
    /// Messages sent to one classic client of which is remembered whether they have arrived; others are sent again.
    pub receipts_per_connection: u32,
    /// Bytes waiting to be written to one session, counted as in `outbox_bytes` and less than that, beyond which
    /// nothing more is pushed to it until all of them are written; then it is told the heads.
    pub lag_bytes: u64,
    /// Fetches of one session that wait for the store; more are refused.
    pub fetches_per_connection: u32,
    /// Conversations of which one session's marks wait for the store; marks of more are dropped.
    pub marks_per_connection: u32,
    /// Messages of one page of a log.
    pub page_messages: u32,
    /// Bytes of content of one page of a log, unless its only message is larger. With [`PAGE_MESSAGE_COST_BYTES`]
    /// for each of `page_messages` at most `outbox_bytes`.
    pub page_bytes: u64,
    /// Cursors of one `Hello` or `Resync` that are looked at; the others' conversations are treated as unknown to
    /// the client. At least [`CURSORS_FLOOR`].
    pub cursors_per_hello: u32,
    /// Heads of one frame.
    pub heads_per_frame: u32,
    /// Users that one session may watch; those beyond are passed over.
    pub watches: u32,
    /// Users of one engine that are in calls, those that ring included; those beyond are not reached.
    pub calls: u32,
}

/// Cursors that every server looks at: so many a client may send before it is told the limit.
pub const CURSORS_FLOOR: u32 = 256;

/// What a frame counts in an outbox beyond its payload: its header and the driver's bookkeeping.
pub const FRAME_COST_BYTES: u64 = 64;

/// What a message in a page counts beyond its content: its id, its sender, its place and its file's name.
pub const PAGE_MESSAGE_COST_BYTES: u64 = 512;

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
            user_messages_per_second: 0,
            user_message_burst: 4_000,
            user_bytes_per_second: 0,
            user_byte_burst: 64 << 20,
            admissions_per_second: 0,
            admission_burst: 1_000,
            outbox_bytes: (8 << 20) + (64 << 10),
            streams_per_connection: 8,
            pending_per_connection: 2_048,
            pending: 65_536,
            pending_bytes: 256 << 20,
            resend_messages: 1_000,
            resend_conversations: 1_000,
            resend_held_bytes: 256 << 10,
            receipts_per_connection: 2_048,
            lag_bytes: 1 << 20,
            fetches_per_connection: 4,
            marks_per_connection: 256,
            page_messages: 200,
            page_bytes: 256 << 10,
            cursors_per_hello: 4_096,
            heads_per_frame: 500,
            watches: 1_000,
            calls: 65_536,
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
        let (flow, sessions) = (self.flow_rules(), self.session_rules());
        let mut rules = rules.into_iter().chain(flow).chain(sessions);
        match rules.find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }

    /// What is required of limits that need not be set.
    fn flow_rules(&self) -> [(&'static str, &'static str, bool); 6] {
        let l = &self.limits;
        let (messages, bytes) = (l.user_messages_per_second > 0, l.user_bytes_per_second > 0);
        [
            ("user_message_burst", "at least 1", l.user_message_burst >= 1 || !messages),
            ("user_byte_burst", "at least message_bytes", l.user_byte_burst >= l.message_bytes || !bytes),
            ("receipt_interval", "above zero", !self.receipt_interval.is_zero()),
            ("resend_conversations", "at least 1", l.resend_conversations >= 1),
            ("receipts_per_connection", "at least 2", l.receipts_per_connection >= 2),
            ("admission_burst", "at least 1", l.admission_burst >= 1 || l.admissions_per_second == 0),
        ]
    }

    /// What is required of what only sessions have.
    fn session_rules(&self) -> [(&'static str, &'static str, bool); 16] {
        let l = &self.limits;
        let is_told = |time: Duration| time.as_millis() <= u128::from(u32::MAX);
        let page_bytes =
            l.page_bytes.saturating_add(PAGE_MESSAGE_COST_BYTES.saturating_mul(l.page_messages.into()));
        let beats = self.heartbeat_interval;
        [
            ("hello_timeout", "above zero", !self.hello_timeout.is_zero()),
            ("heartbeat_interval", "at least a millisecond", beats >= Duration::from_millis(1)),
            ("heartbeat_interval", "shorter than idle_timeout", beats < self.idle_timeout && is_told(beats)),
            ("resync_interval", "a millisecond to 49 days", {
                self.resync_interval >= Duration::from_millis(1) && is_told(self.resync_interval)
            }),
            ("reconnect_after", "less than 49 days", is_told(self.reconnect_after)),
            ("reconnect_spread", "less than 49 days", is_told(self.reconnect_spread)),
            ("lag_bytes", "less than outbox_bytes", l.lag_bytes < l.outbox_bytes),
            ("fetches_per_connection", "at least 1", l.fetches_per_connection >= 1),
            ("marks_per_connection", "at least 1", l.marks_per_connection >= 1),
            ("page_messages", "at least 1", l.page_messages >= 1),
            ("page_bytes", "at least 1, and with 512 for each of page_messages at most outbox_bytes", {
                l.page_bytes >= 1 && page_bytes <= l.outbox_bytes
            }),
            ("cursors_per_hello", "at least 256", l.cursors_per_hello >= CURSORS_FLOOR),
            ("heads_per_frame", "at least 1", l.heads_per_frame >= 1),
            ("presence_refresh", "above zero", !self.presence_refresh.is_zero()),
            ("peer_timeout", "above zero", !self.peer_timeout.is_zero()),
            ("call_grace", "at least a millisecond", self.call_grace >= Duration::from_millis(1)),
        ]
    }
}
