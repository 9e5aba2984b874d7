//! A run as data: the world, and what happens in it when. First generated or written, then executed without
//! drawing anything.

use core::fmt;
use core::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            /// As an index of a table.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                word.strip_prefix($letter).and_then(|n| n.parse().ok()).map(Self).ok_or(())
            }
        }
    };
}

number! {
    /// A client: one device.
    ClientNo, "c"
}
number! {
    /// A user; several clients may be one user's.
    UserNo, "u"
}
number! {
    /// A group.
    GroupNo, "g"
}
number! {
    /// A node.
    NodeNo, "n"
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

words! {
    /// What a client is made of.
    ClientKind {
        /// A front-end that only speaks the wire and answers Pings.
        Raw = "raw",
        /// The engine's own client.
        Engine = "engine",
        /// A session that only speaks the wire, and does what its steps say: also what no client should.
        RawSession = "raw-session",
        /// The engine's session client, with an application above it that keeps what it has to.
        Session = "session",
    }
}

impl ClientKind {
    /// Whether it speaks the session protocol.
    #[must_use]
    pub const fn is_session(self) -> bool {
        matches!(self, Self::RawSession | Self::Session)
    }

    /// Whether it only speaks the wire.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::Raw | Self::RawSession)
    }
}

words! {
    /// Who notices at once that a connection is lost.
    Seen {
        /// The server.
        Server = "server",
        /// The client.
        Client = "client",
        /// Both.
        Both = "both",
        /// Nobody: it is half-open until somebody's patience ends.
        Nobody = "nobody",
    }
}

words! {
    /// Which records a partition stops.
    Ways {
        /// Those in both directions.
        Both = "both",
        /// Those from the first node to the second.
        One = "one",
    }
}

words! {
    /// How a file travels.
    Carrier {
        /// In the field `file`.
        Bytes = "bytes",
        /// As a `data:` URL in the content.
        DataUrl = "url",
    }
}

words! {
    /// What a connection does that is wrong below the messages.
    Misdeed {
        /// Wrong framing.
        Framing = "framing",
        /// A text message.
        Text = "text",
        /// Text that is not UTF-8.
        Utf8 = "utf8",
        /// A message larger than the limit, found by its header.
        Large = "large",
        /// There is no room for its unfinished message.
        Budget = "budget",
    }
}

/// Which clients something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of them.
    All,
    /// One.
    One(ClientNo),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(client) => client.fmt(f),
        }
    }
}

impl FromStr for Whose {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        if word == "all" { Ok(Self::All) } else { word.parse().map(Self::One) }
    }
}

/// To whom something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A user.
    User(UserNo),
    /// A group.
    Group(GroupNo),
    /// Nobody in particular: everyone, or the other side of the call.
    Nobody,
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Group(group) => group.fmt(f),
            Self::Nobody => f.write_str("-"),
        }
    }
}

impl FromStr for To {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "-" => Ok(Self::Nobody),
            word => word.parse().map(Self::User).or_else(|()| word.parse().map(Self::Group)),
        }
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident $verb:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* },)+) => {
        /// What happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum What {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $type,)* },)+
        }

        impl What {
            /// The verbs of the text format, with the names of what follows them.
            pub const VERBS: &[(&str, &[&str])] = &[$(($verb, &[$(stringify!($field),)*]),)+];

            /// The verb.
            #[must_use]
            pub const fn verb(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $verb,)+ }
            }

            /// The place of the verb in [`What::VERBS`].
            #[must_use]
            pub fn number(&self) -> usize {
                Self::VERBS.iter().position(|(verb, _)| *verb == self.verb()).unwrap_or(0)
            }

            /// Reads a verb and what follows it.
            ///
            /// # Errors
            /// A text that says what is wrong and what would be right.
            pub fn parse(verb: &str, rest: &[&str]) -> Result<Self, String> {
                let mut words = rest.iter();
                let step = match verb {
                    $($verb => Self::$variant { $($field: {
                        let word = words.next().ok_or(concat!($verb, ": ", stringify!($field), " is missing"))?;
                        word.parse::<$type>().map_err(|_| {
                            format!(concat!($verb, ": {} is no ", stringify!($field)), word)
                        })?
                    },)* },)+
                    _ => return Err(format!("{verb} is no verb of this format")),
                };
                match words.next() {
                    None => Ok(step),
                    Some(word) => Err(format!("{verb}: {word} is one word too many")),
                }
            }
        }

        impl fmt::Display for What {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.verb())?;
                match self {
                    $(Self::$variant { $($field,)* } => { $(write!(f, " {}", $field)?;)* })+
                }
                Ok(())
            }
        }
    };
}

steps! {
    /// A client wants a connection to a node; the engine's client keeps wanting it.
    Connect "connect" {
        /// Who.
        client: ClientNo,
        /// Where.
        node: NodeNo,
    },
    /// A client closes its connection properly.
    Close "close" {
        /// Who.
        client: ClientNo,
    },
    /// A client's connection is lost.
    Cut "cut" {
        /// Whose.
        client: ClientNo,
        /// Who notices at once.
        seen: Seen,
        /// When the others notice, in microseconds from now; zero: when their patience ends.
        later_us: u64,
    },
    /// A text to a user, a group, or everyone.
    Send "send" {
        /// Who.
        client: ClientNo,
        /// To whom.
        to: To,
        /// Extra length of the text.
        bytes: u32,
    },
    /// Several texts at once.
    Burst "burst" {
        /// Who.
        client: ClientNo,
        /// To whom.
        to: To,
        /// Extra length of each.
        bytes: u32,
        /// How many.
        count: u32,
    },
    /// A file to a user or a group.
    Media "media" {
        /// Who.
        client: ClientNo,
        /// To whom.
        to: To,
        /// Its length.
        bytes: u32,
        /// How it travels.
        carrier: Carrier,
    },
    /// A call's signal.
    Signal "signal" {
        /// Who.
        client: ClientNo,
        /// To whom; nobody: the other side of the call.
        to: To,
        /// `contentType`.
        kind: i32,
    },
    /// Live pictures, one after the other.
    Pictures "pictures" {
        /// Who.
        client: ClientNo,
        /// To whom.
        to: To,
        /// `contentType`, 8 or 9.
        kind: i32,
        /// How many.
        count: u32,
        /// Time between two, in microseconds.
        gap_us: u64,
    },
    /// A text that claims to be somebody else's. Raw clients only.
    Spoof "spoof" {
        /// Who.
        client: ClientNo,
        /// Whose it claims to be.
        claims: UserNo,
        /// To whom.
        to: To,
    },
    /// Bytes that are no message. Raw clients only.
    Garbage "garbage" {
        /// Who.
        client: ClientNo,
        /// Which kind of garbage.
        kind: u32,
    },
    /// Something wrong below the messages. Raw clients only.
    Misbehave "misbehave" {
        /// Who.
        client: ClientNo,
        /// What.
        how: Misdeed,
    },
    /// A heartbeat. Raw clients only; the engine's client sends its own.
    Heartbeat "heartbeat" {
        /// Who.
        client: ClientNo,
    },
    /// A text to what cannot be anybody's id. Raw clients only.
    Nowhere "nowhere" {
        /// Who.
        client: ClientNo,
    },
    /// A WebSocket Ping. Raw clients only.
    Ping "ping" {
        /// Who.
        client: ClientNo,
    },
    /// A client stops reading.
    Pause "pause" {
        /// Who.
        client: ClientNo,
    },
    /// A client reads again.
    Resume "resume" {
        /// Who.
        client: ClientNo,
    },
    /// The driver repeats a late event of the client's connection before the current one.
    Ghost "ghost" {
        /// Whose.
        client: ClientNo,
        /// Which event.
        kind: u32,
    },
    /// A user is made a member of a group.
    Join "join" {
        /// Who.
        user: UserNo,
        /// Where.
        group: GroupNo,
    },
    /// A user is removed from a group.
    Part "part" {
        /// Who.
        user: UserNo,
        /// From where.
        group: GroupNo,
    },
    /// A user has another picture.
    Avatar "avatar" {
        /// Who.
        user: UserNo,
    },
    /// How the store behaves from now on.
    Store "store" {
        /// Longest additional delay, in microseconds.
        slow_us: u64,
        /// Requests in a thousand that fail.
        fail_permille: u64,
        /// Requests in a thousand that are never answered.
        lose_permille: u64,
        /// Requests in a thousand that do not wait for those before them.
        reorder_permille: u64,
    },
    /// How the network between clients and nodes behaves from now on.
    Net "net" {
        /// Whose.
        whose: Whose,
        /// What is added to the shortest delay, in microseconds.
        slow_us: u64,
        /// What is added to the most that is added to it, in microseconds.
        jitter_us: u64,
    },
    /// How the bus behaves from now on.
    Bus "bus" {
        /// Longest additional delay, in microseconds.
        slow_us: u64,
        /// Records in a thousand that are lost.
        drop_permille: u64,
        /// Records in a thousand that come twice.
        repeat_permille: u64,
        /// Records in a thousand that do not wait for those before them.
        reorder_permille: u64,
    },
    /// Something that is no message comes to a node over the bus.
    Garble "garble" {
        /// To which.
        node: NodeNo,
    },
    /// The bus carries nothing between two nodes.
    Partition "partition" {
        /// One.
        from: NodeNo,
        /// The other.
        into: NodeNo,
        /// In which directions.
        ways: Ways,
    },
    /// The bus carries everything between all nodes again.
    Rejoin "rejoin" {},
    /// A node dies, and what it had not committed with it; it comes back.
    Crash "crash" {
        /// Which.
        node: NodeNo,
        /// For how long, in microseconds.
        down_us: u64,
    },
    /// A node is told to stop, and comes back once it has.
    Stop "stop" {
        /// Which.
        node: NodeNo,
        /// For how long after it has stopped, in microseconds.
        down_us: u64,
    },
    /// All nodes are stopped and started, one after the other.
    Rolling "rolling" {
        /// Time between two, in microseconds.
        gap_us: u64,
    },
    /// A node's clock jumps.
    Clock "clock" {
        /// Which.
        node: NodeNo,
        /// By how much, in microseconds; backwards if negative.
        jump_us: i64,
    },
    /// All connections of a node are lost at once; raw clients dial again within a second.
    Mass "mass" {
        /// Which.
        node: NodeNo,
    },
    // What sessions do. To add a step: here, its numbers in `text.rs`, its colour in `trace.rs`, what it does in
    // `world/hostile.rs` or `world/apps.rs`, and how often it comes in `generate.rs`; the compiler names the places.
    /// A Hello, as soon as there is a connection. Raw sessions only.
    Hello "hello" {
        /// Who.
        client: ClientNo,
        /// Cursors in it that make no sense.
        cursors: u32,
    },
    /// Resyncs. Raw sessions only.
    Resync "resync" {
        /// Who.
        client: ClientNo,
        /// Cursors in each that make no sense.
        cursors: u32,
        /// How many.
        count: u32,
    },
    /// Fetches of a part of a log, their own or somebody else's. Raw sessions only.
    Fetch "fetch" {
        /// Who.
        client: ClientNo,
        /// Of which conversation; nobody: of none.
        of: To,
        /// From which place; 0 forwards: an invalid one.
        from_seq: u64,
        /// 1: towards older messages.
        backwards: u32,
        /// At most so many messages.
        limit: u32,
        /// How many fetches.
        count: u32,
    },
    /// What was submitted before is submitted again, by whoever has it. Raw sessions only.
    Again "again" {
        /// Who.
        client: ClientNo,
        /// The step that submitted it.
        step: u32,
        /// Which of the step's messages.
        nth: u32,
    },
    /// A Submit that says something wrong. Raw sessions only.
    Invalid "invalid" {
        /// Who.
        client: ClientNo,
        /// What is wrong with it.
        kind: u32,
    },
    /// Older messages are asked for. The engine's session client only.
    Older "older" {
        /// Who.
        client: ClientNo,
        /// Of which conversation.
        of: To,
        /// Older than this place; 0: the newest ones.
        before_seq: u64,
        /// At most so many; 0: as many as the server gives.
        limit: u32,
    },
    /// The process of a session client dies, and starts again with what its application has kept.
    Die "die" {
        /// Whose.
        client: ClientNo,
        /// After so many more actions of the session.
        actions: u32,
        /// For how long, in microseconds.
        down_us: u64,
    },
    /// A session client's application loses all that it has kept, and begins anew as another device.
    Wipe "wipe" {
        /// Whose.
        client: ClientNo,
    },
}

impl What {
    /// The same about others: every word that follows the verb is replaced by what `rename` makes of it.
    ///
    /// # Errors
    /// A text that says which word is not what it has to be.
    pub fn renamed(&self, rename: impl Fn(&str) -> String) -> Result<Self, String> {
        let text = self.to_string();
        let words: Vec<String> = text.split(' ').skip(1).map(rename).collect();
        Self::parse(self.verb(), &words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// Its name in this schedule: what varies about it is keyed by this, so it stays when others are removed.
    pub id: u32,
    /// What.
    pub what: What,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $default:literal,)+) => {
        /// The numbers of a world; what is not set has its default.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Settings { $($(#[$doc])* pub $name: u64,)+ }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Settings {
            /// All settings with their names.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }

            /// Sets one by its name; false if there is none of this name.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name { $(stringify!($name) => self.$name = value,)+ _ => return false }
                true
            }
        }
    };
}

settings! {
    /// Nodes.
    nodes = 1,
    /// Shards of each node.
    shards = 1,
    /// Users.
    users = 2,
    /// 0: a user's devices all stay; 1: the newest wins.
    newest_wins = 0,
    /// The engine's limit of the same name.
    connections_per_user = 32,
    /// The engine's limit of the same name.
    groups_per_user = 2000,
    /// The engine's limit of the same name.
    message_bytes = 16384,
    /// The engine's limit of the same name.
    outbox_bytes = 32768,
    /// The engine's limit of the same name.
    streams_per_connection = 8,
    /// The engine's limit of the same name.
    pending_per_connection = 64,
    /// The engine's limit of the same name.
    messages_per_second = 1000,
    /// The engine's limit of the same name.
    message_burst = 2000,
    /// The engine's limit of the same name.
    bytes_per_second = 8388608,
    /// The engine's limit of the same name.
    byte_burst = 33554432,
    /// The engine's time of the same name, in milliseconds.
    ping_interval_ms = 5000,
    /// The engine's time of the same name, in milliseconds.
    idle_timeout_ms = 12000,
    /// The engine's time of the same name, in milliseconds.
    close_timeout_ms = 2000,
    /// The engine's time of the same name, in milliseconds.
    request_timeout_ms = 3000,
    /// The engine's time of the same name, in milliseconds.
    reload_interval_ms = 500,
    /// The engine's time of the same name, in milliseconds.
    ring_timeout_ms = 60000,
    /// Shortest delay of a frame between a client and its node, in microseconds.
    net_delay_us = 500,
    /// The most that is added to it.
    net_jitter_us = 2000,
    /// Shortest delay of the store, in microseconds.
    store_delay_us = 300,
    /// The most that is added to it.
    store_jitter_us = 1000,
    /// The most that an answer of the store takes on its way, beyond what it always takes, in microseconds.
    answer_jitter_us = 0,
    /// Users, the last ones, whom the directory does not know.
    unknown_users = 0,
    /// How far ahead of virtual time a node's clock may be from the start, in microseconds.
    clock_skew_us = 0,
    /// Shortest delay of the bus, in microseconds.
    bus_delay_us = 300,
    /// The most that is added to it.
    bus_jitter_us = 1000,
    /// What the operating system takes for a connection whose peer does not read.
    socket_bytes = 4096,
    /// The engine's time of the same name, in milliseconds.
    hello_timeout_ms = 4000,
    /// The engine's time of the same name, in milliseconds.
    resync_interval_ms = 8000,
    /// The engine's limit of the same name; fewer where pages of so many would not fit into an outbox.
    page_messages = 16,
    /// The engine's limit of the same name.
    fetches_per_connection = 4,
    /// 0: devices are told all of a conversation that is new to them; else the last so many messages.
    history = 0,
}

/// One client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSpec {
    /// Whose it is.
    pub user: UserNo,
    /// What it is made of.
    pub kind: ClientKind,
}

/// A run: the world, and what happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Keys all that varies during execution.
    pub seed: u64,
    /// Where it came from: a profile's name, or any word.
    pub profile: String,
    /// The world's numbers.
    pub settings: Settings,
    /// The clients.
    pub clients: Vec<ClientSpec>,
    /// The members of each group at the beginning.
    pub groups: Vec<Vec<UserNo>>,
    /// What happens, in the order of time.
    pub steps: Vec<Step>,
}
