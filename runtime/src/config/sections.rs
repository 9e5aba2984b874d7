//! The sections of the configuration.

use serde::{Deserialize, Serialize};

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
/// [`Limits`](switchboard_engine::Limits) say more about each.
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
    /// carries more. What comes after a pause is committed at once. Default 10,000; 0 to 1 s.
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

/// Section `accounts`: users, and who is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Threads that work on users, groups and histories for HTTP calls. Default 2; 1 to 64.
    pub threads: u32,
    /// Calls that wait for these threads; more are answered 503. Default 1,024; 1 to 16,777,216.
    pub waiting: u32,
    /// Passwords that are hashed at once; each takes 19 MiB. Default 2; 1 to 64.
    pub hashes: u32,
    /// Passwords that wait to be hashed; more are answered 503. Default 64; 1 to 16,777,216.
    pub hashes_waiting: u32,
    /// Bytes of a user name, and of a nickname. Default 64; 1 to 1,024.
    pub name_bytes: u32,
    /// Bytes of an e-mail address. Default 254, the longest that there is (RFC 5321); 1 to 1,024.
    pub email_bytes: u32,
    /// Bytes of a group's notice. Default 1,024; 1 to 65,536.
    pub notice_bytes: u32,
    /// Bytes that a password has at least. Default 8 (NIST SP 800-63B); 1 to 64.
    pub password_least_bytes: u32,
    /// Bytes that a password has at most. Default 256; 64 to 4,096.
    pub password_bytes: u32,
    /// Friends in one user's list. Default 2,000; at least 1.
    pub friends: u32,
    /// How long a session lasts. Default 720, 30 days; 1 to 87,600.
    pub session_hours: u32,
    /// Sessions of one user; the oldest ones end. Default 32; at least 1.
    pub sessions_per_user: u32,
    /// Wrong passwords of one user at once, after a pause. Default 10; at least 1.
    pub login_burst: u32,
    /// Then one each time this has passed. Default 6,000.
    pub login_interval_ms: u64,
    /// Logins and registrations from one address (of IPv6: one network of 64 bits) at once, after a pause. Default 100; at least 1.
    pub address_burst: u32,
    /// Then one each time this has passed. Default 1,000.
    pub address_interval_ms: u64,
    /// Users and addresses, each, that are counted by themselves; all others are counted together. Default 65,536.
    pub login_entries: u32,
}

/// Section `http`: requests that are no WebSockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Bytes of a request's JSON. Default 65,536; 1,024 to 16 MiB.
    pub body_bytes: u32,
    /// How long JSON may take to come, and how long an upload may pause. Default 10,000.
    pub body_timeout_ms: u64,
    /// Bytes of an uploaded file. Default 16 MiB; 1 to 1 GiB.
    pub upload_bytes: u64,
    /// Uploads at once; more are answered 503. Default 16; at least 1.
    pub uploads: u32,
    /// How long an upload may take. Default 120,000.
    pub upload_timeout_ms: u64,
    /// Calls of one user, or of one address from which nobody asks who is logged in, per second, sustained; more are answered
    /// 429. Default 50; 0: any number.
    pub calls_per_second: u32,
    /// Calls at once after a pause. Default 500; at least 1.
    pub call_burst: u32,
    /// Members of a group that are listed at most. Default 5,000; at least 1.
    pub members: u32,
    /// Messages that a page of a history has at most. Default 500; at least 1.
    pub page_messages: u32,
    /// Bytes of their content, unless there is only one. Default 1 MiB; 1 to 1 GiB.
    pub page_bytes: u64,
}
