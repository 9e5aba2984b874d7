//! Every step there is. One table makes the enum, and how its lines are read and written (`verbs.rs`).

use super::verbs::steps;
use super::words::{Carrier, ClientNo, Deed, GroupNo, Misdeed, NodeNo, Seen, To, UserNo, Ways, Whose};

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
    /// The store is backed up.
    Backup "backup" {},
    /// The store is restored from its last backup, or to what it was at the beginning: all nodes die, and come back.
    Restore "restore" {
        /// For how long they are down, in microseconds.
        down_us: u64,
    },
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
    // `world/hostile.rs` or `world/apps.rs`, and in `generate/` how often it comes (`swarm.rs`) and with which words
    // (`sessions.rs`); the compiler names the places.
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
    /// Something else is submitted under the id of what the store has already. Raw sessions only.
    Alter "alter" {
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
    /// A message is given another text. Sessions only.
    Edit "edit" {
        /// By whom.
        client: ClientNo,
        /// The step that said it.
        step: u32,
        /// Which of the step's messages.
        nth: u32,
        /// Extra length of the new text.
        bytes: u32,
    },
    /// A message is taken back. Sessions only.
    Recall "recall" {
        /// By whom.
        client: ClientNo,
        /// The step that said it.
        step: u32,
        /// Which of the step's messages.
        nth: u32,
    },
    /// A client wants to change something about a group. Sessions only.
    Change "change" {
        /// Who.
        client: ClientNo,
        /// Which group.
        group: GroupNo,
        /// What.
        deed: Deed,
        /// About whom, if it is about anybody.
        user: UserNo,
        /// Of a mute: for how many commits of the store, whose clock they are.
        commits: u32,
    },
    /// A session says how far its user is with a conversation: an application what was read, as far as it has it.
    Mark "mark" {
        /// Who.
        client: ClientNo,
        /// Of which conversation.
        of: To,
        /// Up to which place messages have arrived. Raw sessions only.
        delivered: u64,
        /// Up to which place the user has seen them.
        read: u64,
        /// Raw sessions only: 1: of another log; 2: of none; 3: of no conversation.
        wrong: u32,
    },
    /// An entry that the store has is told to a node as one that concerns a user, whom it may not concern; or what is no
    /// note, if there is no such entry.
    Mislead "mislead" {
        /// Which.
        node: NodeNo,
        /// Whom it is to concern.
        user: UserNo,
        /// The step that the entry came from.
        step: u32,
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
    // What sessions say that is not stored: `world/signals.rs`.
    /// Somebody types, or has stopped. Sessions only.
    Typing "typing" {
        /// Who.
        client: ClientNo,
        /// In which conversation.
        to: To,
        /// 1: types; 0: has stopped.
        types: u32,
        /// Whom a raw session's frame names as the one who types.
        claims: UserNo,
    },
    /// A session rings a user; the call is called by this step. Sessions only, and so are all that follow.
    Ring "ring" {
        /// Who.
        client: ClientNo,
        /// Whom.
        to: UserNo,
    },
    /// A session takes a call, whosever it is.
    Accept "accept" {
        /// Who.
        client: ClientNo,
        /// The step that rang.
        call: u32,
    },
    /// A session declines a call.
    Decline "decline" {
        /// Who.
        client: ClientNo,
        /// The step that rang.
        call: u32,
    },
    /// A session hangs up.
    HangUp "hang-up" {
        /// Who.
        client: ClientNo,
        /// The step that rang.
        call: u32,
    },
    /// A session sends signals to the other side of a call.
    Data "data" {
        /// Who.
        client: ClientNo,
        /// The step that rang.
        call: u32,
        /// How many.
        count: u32,
        /// Extra length of each.
        bytes: u32,
    },
    /// A session watches users, in place of those before.
    Watch "watch" {
        /// Who.
        client: ClientNo,
        /// The first of them.
        first: UserNo,
        /// How many, one after the other, also such as there are not.
        count: u32,
    },
    /// A frame of a call that is wrong in itself, or comes again. Raw sessions only.
    Miscall "miscall" {
        /// Who.
        client: ClientNo,
        /// The step that rang.
        call: u32,
        /// What is wrong with it.
        kind: u32,
    },
    /// Something else that names what cannot be, or that only servers say. Raw sessions only.
    Odd "odd" {
        /// Who.
        client: ClientNo,
        /// What.
        kind: u32,
    },
    // What those who run the server do: `world/authority.rs`.
    /// The login that a client's connection was opened with ends; one that is gone already, if it has none.
    Revoke "revoke" {
        /// Whose.
        client: ClientNo,
        /// Why: 0: it has ended; 1: the user is banned; 2: an administrator wants it.
        why: u32,
    },
    /// The same of all connections of a user, wherever they are.
    Expel "expel" {
        /// Whose.
        user: UserNo,
        /// As with `revoke`.
        why: u32,
    },
    /// The servers say something to a user, or to everybody.
    Announce "announce" {
        /// To whom; nobody: everybody.
        to: To,
        /// Extra length of the text.
        bytes: u32,
    },
    // What no profile makes, but the debugger (`step/fork.rs`).
    /// What varies from here on, delays and what is lost, is keyed by another seed than the schedule's.
    Reseed "reseed" {
        /// Which.
        seed: u64,
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
