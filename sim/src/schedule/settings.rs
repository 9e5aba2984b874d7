//! Every number of a world that can be set.

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
    /// The engine's limit of the same name.
    user_messages_per_second = 0,
    /// The engine's limit of the same name.
    user_message_burst = 4000,
    /// The engine's limit of the same name.
    user_bytes_per_second = 0,
    /// The engine's limit of the same name.
    user_byte_burst = 67108864,
    /// The engine's limit of the same name.
    admissions_per_second = 0,
    /// The engine's limit of the same name.
    admission_burst = 1000,
    /// The engine's time of the same name, in milliseconds.
    drain_time_ms = 0,
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
    /// The engine's limit of the same name.
    marks_per_connection = 256,
    /// Groups that there are none of yet, and that clients may create: their numbers follow those of the others.
    unfounded_groups = 0,
    /// The engine's limit of the same name. 0: nothing is sent again to classic clients.
    resend_messages = 0,
    /// The engine's limit of the same name.
    resend_conversations = 1000,
    /// 0: devices are told all of a conversation that is new to them; else the last so many messages.
    history = 0,
    /// The engine's time of the same name, in milliseconds.
    call_grace_ms = 15000,
    /// The engine's time of the same name, in milliseconds.
    peer_timeout_ms = 2000,
    /// The engine's limit of the same name.
    calls = 65536,
    /// 1: who is here is told to those who watch.
    presence = 0,
    /// The engine's time of the same name, in milliseconds.
    presence_grace_ms = 10000,
    /// The engine's time of the same name, in milliseconds.
    presence_refresh_ms = 60000,
    /// The engine's limit of the same name.
    watches = 1000,
}
