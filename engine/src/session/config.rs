//! Every limit, default and time-out of the session client.

use core::time::Duration;

use crate::{
    client::Reconnect,
    config::{ConfigError, FRAME_COST_BYTES},
    id::UserId,
};

/// How a [`Session`](crate::Session) behaves. [`SessionConfig::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Who the session is of. A server that welcomes somebody else is taken for broken: cursors and pending
    /// messages are this user's.
    pub user: UserId,
    /// What is told of a conversation that this device does not know yet. Default: all of it.
    pub history: History,
    /// How long a connection may take to open, handshakes included, and as long again to be welcomed.
    /// Default 10 s.
    pub connect_timeout: Duration,
    /// How long a closing connection may take to write what is left and its close frame, and how long a server
    /// may take to close after its Goodbye. Default 5 s.
    pub close_timeout: Duration,
    /// After this long without receiving anything, or without sending anything, a heartbeat is sent; the
    /// server's Welcome may ask for a shorter time without sending. Default 20 s.
    pub heartbeat_interval: Duration,
    /// After this long without receiving anything, the link is taken for dead: aborted and dialled again.
    /// Default 45 s: two heartbeats have gone unanswered.
    pub idle_timeout: Duration,
    /// A server that has not answered a submit or a fetch for this long is taken for broken: closed and dialled
    /// again. Longer than the server waits for its store. Default 30 s.
    pub answer_timeout: Duration,
    /// Heads are asked for at this interval, less a random part of up to a quarter of it, if the Welcome names
    /// none. Default 60 s.
    pub resync_interval: Duration,
    /// The shortest time between two Resyncs, and the shortest interval that is taken from a Welcome: a server
    /// cannot ask for more. Default 1 s.
    pub resync_floor: Duration,
    /// The shortest time between two Marks of one conversation; what moves meanwhile is told together. Default 1 s.
    pub mark_interval: Duration,
    /// While the user types, the others are told so at this interval. The protocol wants 5 s at the most; less leaves
    /// time for the way. Default 4 s.
    pub typing_interval: Duration,
    /// Others type no more when nothing was heard of it for this long. The protocol wants 8 s, the default.
    pub typing_timeout: Duration,
    /// The longest time that a Goodbye can keep this client away. Default 5 min.
    pub absence_limit: Duration,
    /// When a lost link is dialled again.
    pub reconnect: Reconnect,
    /// When what the server could not do is tried again.
    pub retry: Retry,
    /// The limits.
    pub limits: SessionLimits,
}

/// What is told of a conversation that a device does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Every message that the user may read.
    All,
    /// The last so many, counted back from where the session first hears of the conversation; older ones by
    /// [`Session::fetch_older`](crate::Session::fetch_older).
    Latest(u32),
}

/// When a submit or a fetch that the server could not do now (`UNAVAILABLE`, `BUSY`) is tried again: after the
/// n-th failure in a row in one conversation, a delay drawn uniformly from `floor..=min(cap, base * 2^(n-1))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The shortest delay. Default 100 ms.
    pub floor: Duration,
    /// The longest delay after the first failure. Default 500 ms.
    pub base: Duration,
    /// The longest delay after any number of failures. Default 30 s.
    pub cap: Duration,
}

/// The limits of a [`Session`](crate::Session): everything that can grow has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Size of one outgoing frame, encoded; the server's Welcome may set a lower one. Default 8 MiB.
    pub message_bytes: u64,
    /// Submits without a fate. At the limit, `submit` refuses. What [`Resume`](crate::Resume) brings is taken
    /// all the same. Default 1,024.
    pub pending_messages: u32,
    /// Bytes of these, each with [`FRAME_COST_BYTES`](crate::FRAME_COST_BYTES) on top. At the limit, `submit`
    /// refuses. Default 16 MiB.
    pub pending_bytes: u64,
    /// Submits that may wait for their answers at a time; the Welcome's `pending` may be lower. Default 256.
    pub in_flight: u32,
    /// The same within one conversation. With 1, a conversation's messages are stored in the order in which
    /// they were submitted, come what may. With more, a server that turns one away and takes the next one
    /// changes their order, and a conversation is not limited to one message for each round trip. Default 1.
    pub in_flight_per_conversation: u32,
    /// Bytes of frames, counted in the same way, that are handed to the driver and not yet reported flushed. A
    /// frame that is larger is handed over alone. Default 256 KiB.
    pub window_bytes: u64,
    /// Pongs that wait to be handed to the driver. Beyond that the oldest is left out, which RFC 6455 section
    /// 5.5.3 allows. Default 8.
    pub pongs: u32,
    /// Fetches that may wait for their answers at a time; the Welcome's `fetches` may be lower. Default 8.
    pub fetches: u32,
    /// Requests for older messages without an answer. At the limit, `fetch_older` refuses. Default 64.
    pub older: u32,
    /// Conversations known. Those beyond the limit are not followed: nothing of them is told, which is counted.
    /// What [`Resume`](crate::Resume) brings is taken all the same. Default 65,536.
    pub conversations: u32,
    /// Messages that came before those with earlier places, of all conversations. Beyond the limit they are
    /// dropped and fetched when their turn comes. Default 4,096.
    pub early_messages: u32,
    /// Bytes of their contents, each with [`FRAME_COST_BYTES`](crate::FRAME_COST_BYTES) on top. Default 4 MiB.
    pub early_bytes: u64,
    /// Marks, of all conversations together, in one `mark_interval`; more wait for the next. Default 64: a server takes
    /// 256 at a time.
    pub marks_per_interval: u32,
    /// Conversations that the user types in at a time. Default 8.
    pub typing: u32,
    /// Others who type, in all conversations; of more nothing is told. Default 256.
    pub typists: u32,
    /// Cursors of a Hello before any Welcome has said how many it may have. Default 256.
    pub hello_cursors: u32,
    /// Users who are watched at a time. Default 1,000.
    pub watches: u32,
    /// Calls at a time, those that ring included. Default 8.
    pub calls: u32,
    /// Frames of calls that wait to be sent; those that end calls have room for 32 more. Default 64.
    pub call_frames: u32,
    /// Epochs of one conversation that are over, and of which nothing more is believed while the connection
    /// lasts. Beyond the limit the oldest is forgotten. Default 8.
    pub retired_epochs: u32,
    /// Actions that wait to be polled: while there are as many, what is received is discarded and counted, and
    /// asked for again. Only a driver that does not drain gets there. Default 65,536.
    pub undrained_actions: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            floor: Duration::from_millis(100),
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            pending_messages: 1_024,
            pending_bytes: 16 << 20,
            in_flight: 256,
            in_flight_per_conversation: 1,
            window_bytes: 256 << 10,
            pongs: 8,
            fetches: 8,
            older: 64,
            conversations: 65_536,
            early_messages: 4_096,
            early_bytes: 4 << 20,
            marks_per_interval: 64,
            typing: 8,
            typists: 256,
            hello_cursors: 256,
            watches: 1_000,
            calls: 8,
            call_frames: 64,
            retired_epochs: 8,
            undrained_actions: 65_536,
        }
    }
}

impl SessionConfig {
    /// The defaults, for this user.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            history: History::All,
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(45),
            answer_timeout: Duration::from_secs(30),
            resync_interval: Duration::from_secs(60),
            resync_floor: Duration::from_secs(1),
            mark_interval: Duration::from_secs(1),
            typing_interval: Duration::from_secs(4),
            typing_timeout: Duration::from_secs(8),
            absence_limit: Duration::from_secs(300),
            reconnect: Reconnect::default(),
            retry: Retry::default(),
            limits: SessionLimits::default(),
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
            ("answer_timeout", "above zero", !self.answer_timeout.is_zero()),
            ("resync_floor", "above zero", !self.resync_floor.is_zero()),
            ("resync_interval", "at least resync_floor", self.resync_interval >= self.resync_floor),
            ("mark_interval", "above zero", !self.mark_interval.is_zero()),
            ("typing_interval", "above zero", !self.typing_interval.is_zero()),
            ("typing_timeout", "longer than typing_interval", self.typing_timeout > self.typing_interval),
            ("reconnect.floor", "above zero", !r.floor.is_zero()),
            ("reconnect.base", "at least reconnect.floor", r.base >= r.floor),
            ("reconnect.cap", "at least reconnect.base", r.cap >= r.base),
            ("reconnect.stable_after", "above zero", !r.stable_after.is_zero()),
            ("retry.floor", "above zero", !self.retry.floor.is_zero()),
            ("retry.base", "at least retry.floor", self.retry.base >= self.retry.floor),
            ("retry.cap", "at least retry.base", self.retry.cap >= self.retry.base),
            ("message_bytes", "at least 1024", l.message_bytes >= 1024),
            ("pending_messages", "at least 1", l.pending_messages >= 1),
            (
                "pending_bytes",
                "at least message_bytes and FRAME_COST_BYTES more",
                l.pending_bytes >= l.message_bytes.saturating_add(FRAME_COST_BYTES),
            ),
            ("in_flight", "at least 1", l.in_flight >= 1),
            ("in_flight_per_conversation", "at least 1", l.in_flight_per_conversation >= 1),
            ("window_bytes", "at least 1", l.window_bytes >= 1),
            ("pongs", "at least 1", l.pongs >= 1),
            ("fetches", "at least 1", l.fetches >= 1),
            ("older", "at least 1", l.older >= 1),
            ("conversations", "at least 1", l.conversations >= 1),
            ("marks_per_interval", "at least 1", l.marks_per_interval >= 1),
            ("retired_epochs", "at least 1", l.retired_epochs >= 1),
            ("undrained_actions", "at least 16", l.undrained_actions >= 16),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, rule, _)) => Err(ConfigError { field, rule }),
            None => Ok(()),
        }
    }
}
