//! The text form of a [`Schedule`]: one line a thing, to be read, written and compared by people.
//!
//! ```text
//! switchboard-schedule 1
//! profile default
//! seed 42
//! set nodes 2                     every setting that is not the default
//! client c0 u0 raw                the clients, in order
//! group g0 u0 u1                  the groups and their members, in order
//! 1500 1 connect c0 n0            time in microseconds, id, verb, what belongs to it
//! ```
//! Empty lines and what follows a `;` are ignored.

use core::fmt;

use crate::schedule::{ClientNo, ClientSpec, GroupNo, Schedule, Settings, Step, To, What};

/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 1;

const MAGIC: &str = "switchboard-schedule";

/// The latest time of a step, in microseconds: twelve days, in which idle connections are pinged all the time.
pub const TIME_LIMIT_US: u64 = 1 << 40;

/// The settings that are delays, and how long each may be, in microseconds.
const DELAYS: [&str; 7] = [
    "net_delay_us",
    "net_jitter_us",
    "store_delay_us",
    "store_jitter_us",
    "answer_jitter_us",
    "bus_delay_us",
    "bus_jitter_us",
];
const DELAY_LIMIT_US: u64 = 500_000;

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first line is not that of a schedule.
    #[error("not a schedule: the first line must be \"{MAGIC} {VERSION}\"")]
    NotASchedule,
    /// It is a schedule of another version, which may mean other things by the same words.
    #[error("the schedule has version {found}, and this program reads version {VERSION} only")]
    Version {
        /// The version that it names.
        found: String,
    },
    /// A line is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC} {VERSION}\nprofile {}\nseed {}", self.profile, self.seed)?;
        let defaults = Settings::default().list();
        for ((name, value), (_, default)) in self.settings.list().into_iter().zip(defaults) {
            if value != default {
                writeln!(f, "set {name} {value}")?;
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            writeln!(f, "client c{number} {} {}", client.user, client.kind)?;
        }
        for (number, members) in self.groups.iter().enumerate() {
            write!(f, "group g{number}")?;
            members.iter().try_for_each(|member| write!(f, " {member}"))?;
            writeln!(f)?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{} {} {}", step.at_us, step.id, step.what))
    }
}

impl core::str::FromStr for Schedule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut lines = text.lines().enumerate().map(|(number, line)| {
            (number + 1, line.split(';').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>())
        });
        match lines.next().as_ref().map(|(_, words)| words.as_slice()) {
            Some([MAGIC, version]) if version.parse() == Ok(VERSION) => {}
            Some([MAGIC, version]) => return Err(ParseError::Version { found: (*version).to_owned() }),
            Some(_) | None => return Err(ParseError::NotASchedule),
        }
        let mut schedule = Self {
            seed: 0,
            profile: "none".to_owned(),
            settings: Settings::default(),
            clients: Vec::new(),
            groups: Vec::new(),
            steps: Vec::new(),
        };
        for (line, words) in lines {
            schedule.read_line(&words).map_err(|what| ParseError::Line { line, what })?;
        }
        schedule.check().map_err(|what| ParseError::Line { line: text.lines().count(), what })?;
        Ok(schedule)
    }
}

impl Schedule {
    fn read_line(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            [] => Ok(()),
            ["profile", name] => {
                (*name).clone_into(&mut self.profile);
                Ok(())
            }
            ["seed", seed] => seed.parse().map(|seed| self.seed = seed).map_err(|_| bad(seed, "seed")),
            ["set", name, value] => {
                let value = value.parse().map_err(|_| bad(value, "number"))?;
                if self.settings.set(name, value) { Ok(()) } else { Err(bad(name, "setting")) }
            }
            ["client", name, user, kind] => {
                if name.parse() != Ok(ClientNo(self.clients.len() as u16)) {
                    return Err(format!("{name} is out of order: clients are c0, c1, ..."));
                }
                let user = user.parse().map_err(|()| bad(user, "user"))?;
                let kind = kind
                    .parse()
                    .map_err(|()| bad(kind, "kind of client: raw, engine, raw-session or session"))?;
                self.clients.push(ClientSpec { user, kind });
                Ok(())
            }
            ["group", name, members @ ..] => {
                if name.parse() != Ok(GroupNo(self.groups.len() as u16)) {
                    return Err(format!("{name} is out of order: groups are g0, g1, ..."));
                }
                let members: Result<Vec<_>, _> =
                    members.iter().map(|word| word.parse().map_err(|()| bad(word, "user"))).collect();
                self.groups.push(members?);
                Ok(())
            }
            [at, id, verb, rest @ ..] if at.starts_with(|c: char| c.is_ascii_digit()) => {
                let at_us = at.parse().map_err(|_| bad(at, "time in microseconds"))?;
                let id = id.parse().map_err(|_| bad(id, "id of a step"))?;
                self.steps.push(Step { at_us, id, what: What::parse(verb, rest)? });
                Ok(())
            }
            [word, ..] => Err(format!("{word} does not begin a line of this format")),
        }
    }

    /// Checks that everything that is named exists, and that the world is one that can be built.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let s = &self.settings;
        let within = |name: &str, value: u64, low: u64, high: u64| {
            let holds = (low..=high).contains(&value);
            if holds { Ok(()) } else { Err(format!("{name} is {value}, and must be from {low} to {high}")) }
        };
        within("nodes", s.nodes, 1, 16)?;
        within("shards", s.shards, 1, 16)?;
        within("users", s.users, 1, 4096)?;
        within("connections_per_user", s.connections_per_user, 1, u64::from(u32::MAX))?;
        within("message_bytes", s.message_bytes, 1024, 1 << 20)?;
        within("outbox_bytes", s.outbox_bytes, s.message_bytes + 1024, 1 << 30)?;
        within("pending_per_connection", s.pending_per_connection, 1, 1 << 20)?;
        within("messages_per_second", s.messages_per_second, 1, u64::from(u32::MAX))?;
        within("message_burst", s.message_burst, 1, 1 << 20)?;
        within("bytes_per_second", s.bytes_per_second, 1, 1 << 40)?;
        within("byte_burst", s.byte_burst, s.message_bytes, 1 << 40)?;
        within("user_messages_per_second", s.user_messages_per_second, 0, u64::from(u32::MAX))?;
        within("user_message_burst", s.user_message_burst, 1, 1 << 20)?;
        within("user_bytes_per_second", s.user_bytes_per_second, 0, 1 << 40)?;
        within("user_byte_burst", s.user_byte_burst, s.message_bytes, 1 << 40)?;
        // Slower, and not everybody would be back in time once the faults have ended.
        if s.admissions_per_second > 0 {
            within("admissions_per_second", s.admissions_per_second, 10, u64::from(u32::MAX))?;
        }
        within("admission_burst", s.admission_burst, 1, 1 << 20)?;
        within("drain_time_ms", s.drain_time_ms, 0, 10_000)?;
        within("ping_interval_ms", s.ping_interval_ms, 1, 1 << 30)?;
        within("idle_timeout_ms", s.idle_timeout_ms, s.ping_interval_ms + 1, 1 << 31)?;
        within("close_timeout_ms", s.close_timeout_ms, 1, 1 << 30)?;
        within("request_timeout_ms", s.request_timeout_ms, 1, 1 << 30)?;
        within("reload_interval_ms", s.reload_interval_ms, 1, 1 << 30)?;
        within("ring_timeout_ms", s.ring_timeout_ms, 1, 1 << 30)?;
        within("call_grace_ms", s.call_grace_ms, 100, 60_000)?;
        within("peer_timeout_ms", s.peer_timeout_ms, 100, 10_000)?;
        within("calls", s.calls, 1, u64::from(u32::MAX))?;
        within("presence", s.presence, 0, 1)?;
        within("presence_grace_ms", s.presence_grace_ms, 0, 60_000)?;
        within("presence_refresh_ms", s.presence_refresh_ms, 100, 60_000)?;
        within("watches", s.watches, 1, 1 << 12)?;
        within("unknown_users", s.unknown_users, 0, s.users)?;
        within("clock_skew_us", s.clock_skew_us, 0, 1 << 40)?;
        within("socket_bytes", s.socket_bytes, 1, 1 << 30)?;
        within("hello_timeout_ms", s.hello_timeout_ms, 1, 1 << 30)?;
        within("resync_interval_ms", s.resync_interval_ms, 1_000, 60_000)?;
        within("page_messages", s.page_messages, 1, 1 << 20)?;
        within("fetches_per_connection", s.fetches_per_connection, 1, 1 << 20)?;
        within("history", s.history, 0, 1 << 20)?;
        within("resend_messages", s.resend_messages, 0, 1 << 20)?;
        within("resend_conversations", s.resend_conversations, 1, 1 << 20)?;
        within("marks_per_connection", s.marks_per_connection, 1, 1 << 20)?;
        within("unfounded_groups", s.unfounded_groups, 0, 256)?;
        // Longer ones do not fit into the time in which everything must come right once the faults have ended.
        for (name, delay_us) in s.list().into_iter().filter(|(name, _)| DELAYS.contains(name)) {
            within(name, delay_us, 0, DELAY_LIMIT_US)?;
        }
        if let Some(client) = self.clients.iter().find(|client| u64::from(client.user.0) >= s.users) {
            return Err(format!("a client is {}'s, and there are {} users", client.user, s.users));
        }
        if let Some(user) = self.groups.iter().flatten().find(|user| u64::from(user.0) >= s.users) {
            return Err(format!("{user} is a member, and there are {} users", s.users));
        }
        let known = s.users - s.unknown_users;
        if let Some(user) = self.groups.iter().flatten().find(|user| u64::from(user.0) >= known) {
            return Err(format!("{user} is a member, and the directory does not know them"));
        }
        let mut ids = std::collections::BTreeSet::new();
        let mut last_us = 0;
        for step in &self.steps {
            if !ids.insert(step.id) {
                return Err(format!("two steps have the id {}", step.id));
            }
            if step.at_us < last_us {
                return Err(format!("step {} is earlier than the one before it", step.id));
            }
            last_us = step.at_us;
            within("the time of a step", step.at_us, 0, TIME_LIMIT_US)?;
            check_numbers(step)?;
            self.check_names(step)?;
        }
        Ok(())
    }

    fn check_names(&self, step: &Step) -> Result<(), String> {
        for word in step.what.to_string().split(' ').skip(1) {
            let exists = match word.parse::<To>() {
                Ok(To::User(user)) => u64::from(user.0) < self.settings.users,
                Ok(To::Group(group)) => group.index() < self.all_groups(),
                Ok(To::Nobody) => true,
                Err(()) => match (word.parse::<ClientNo>(), word.parse::<crate::schedule::NodeNo>()) {
                    (Ok(client), _) => client.index() < self.clients.len(),
                    (_, Ok(node)) => u64::from(node.0) < self.settings.nodes,
                    (Err(()), Err(())) => true,
                },
            };
            if !exists {
                return Err(format!("step {}: there is no {word} in this world", step.id));
            }
        }
        Ok(())
    }
}

/// Whether the numbers of a step are such as can be carried out: nothing lasts longer than a schedule may, and
/// nobody says more than fits into memory.
fn check_numbers(step: &Step) -> Result<(), String> {
    let within = |name: &str, value: u64, high: u64| {
        let wrong = || format!("step {}: {name} is {value}, and must be at most {high}", step.id);
        if value <= high { Ok(()) } else { Err(wrong()) }
    };
    match step.what {
        What::Send { bytes, .. } | What::Media { bytes, .. } | What::Edit { bytes, .. } => {
            within("bytes", bytes.into(), 1 << 24)
        }
        What::Burst { bytes, count, .. } => {
            within("count", count.into(), 1 << 20)?;
            within("bytes times count", u64::from(bytes) * u64::from(count), 1 << 26)
        }
        What::Pictures { count, gap_us, .. } => {
            within("count", count.into(), 1 << 16)?;
            within("gap_us", gap_us, 1 << 24)
        }
        What::Store { slow_us, fail_permille, lose_permille, reorder_permille } => {
            within("slow_us", slow_us, 1 << 32)?;
            [fail_permille, lose_permille, reorder_permille]
                .iter()
                .try_for_each(|n| within("permille", *n, 1000))
        }
        What::Bus { slow_us, drop_permille, repeat_permille, reorder_permille } => {
            within("slow_us", slow_us, 1 << 32)?;
            [drop_permille, repeat_permille, reorder_permille]
                .iter()
                .try_for_each(|n| within("permille", *n, 1000))
        }
        What::Net { slow_us, jitter_us, .. } => {
            within("slow_us", slow_us, 1 << 32)?;
            within("jitter_us", jitter_us, 1 << 32)
        }
        What::Cut { later_us, .. } => within("later_us", later_us, 1 << 32),
        What::Crash { down_us, .. } | What::Stop { down_us, .. } | What::Restore { down_us } => {
            within("down_us", down_us, 1 << 32)
        }
        What::Rolling { gap_us } => within("gap_us", gap_us, 1 << 32),
        What::Hello { cursors, .. } => within("cursors", cursors.into(), 1 << 12),
        What::Resync { cursors, count, .. } => {
            within("cursors", cursors.into(), 1 << 12)?;
            within("count", count.into(), 1 << 12)
        }
        What::Fetch { backwards, count, .. } => {
            within("backwards", backwards.into(), 1)?;
            within("count", count.into(), 1 << 12)
        }
        What::Die { down_us, .. } => within("down_us", down_us, 1 << 32),
        What::Typing { types, .. } => within("types", types.into(), 1),
        What::Watch { count, .. } => within("count", count.into(), 1 << 12),
        What::Data { count, bytes, .. } => {
            within("count", count.into(), 1 << 12)?;
            within("bytes", bytes.into(), 1 << 16)
        }
        What::Revoke { why, .. } | What::Expel { why, .. } => within("why", why.into(), 2),
        What::Announce { bytes, .. } => within("bytes", bytes.into(), 1 << 16),
        What::Clock { jump_us, .. } => within("jump_us", jump_us.unsigned_abs(), 1 << 36),
        What::Connect { .. }
        | What::Close { .. }
        | What::Signal { .. }
        | What::Spoof { .. }
        | What::Garbage { .. }
        | What::Misbehave { .. }
        | What::Heartbeat { .. }
        | What::Nowhere { .. }
        | What::Ping { .. }
        | What::Pause { .. }
        | What::Resume { .. }
        | What::Ghost { .. }
        | What::Join { .. }
        | What::Part { .. }
        | What::Avatar { .. }
        | What::Garble { .. }
        | What::Partition { .. }
        | What::Rejoin { .. }
        | What::Backup { .. }
        | What::Mass { .. }
        | What::Again { .. }
        | What::Alter { .. }
        | What::Invalid { .. }
        | What::Recall { .. }
        | What::Change { .. }
        | What::Mark { .. }
        | What::Mislead { .. }
        | What::Older { .. }
        | What::Ring { .. }
        | What::Accept { .. }
        | What::Decline { .. }
        | What::HangUp { .. }
        | What::Miscall { .. }
        | What::Odd { .. }
        | What::Wipe { .. }
        | What::Reseed { .. } => Ok(()),
    }
}

fn bad(word: &str, wanted: &str) -> String {
    format!("{word} is no {wanted}")
}
