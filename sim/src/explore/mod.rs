//! Exhaustive exploration: every order of a small alphabet of events, up to a depth.
//!
//! The alphabet: a client connects, closes, loses its connection (noticed by the server or not), sends a text
//! to the next user or to the group, calls the next user or signals the other side of its call; the driver tells
//! the end of a former connection again; a user joins or leaves the group; the store does what it was asked, fails,
//! or does it and answers later; whatever is on its way arrives, in any order but that of each way; time
//! passes to the next deadline of an engine; a node crashes, starts, or is told to stop. `world/moves.rs` has
//! what is no choice because it cannot make a difference.
//!
//! One of these is one *choice*, and a *depth* of `n` means all sequences of `n` choices, with what follows from
//! each at once. The worlds, engines and checks are those of `run`, with a full sweep after every event. A state
//! that was met before, by the digest of `world/state.rs`, is not looked at again: breadth comes first,
//! so it was met after as few choices. So the first violation found is one of those with the fewest choices.
//!
//! Of a state only its digest and the choice that led to it are kept; its world is made again from the choices.

mod search;
mod translate;
mod walk;

use std::time::Duration;

use crate::{
    canaries::Bug,
    check::Violation,
    schedule::{ClientKind, ClientSpec, Schedule, Settings, UserNo},
    world::Move,
};

pub use search::{explore, explore_all};
pub use translate::as_schedule;
pub use walk::{Walk, replay};

/// The states that an exploration keeps at the most, unless it is told otherwise: about a gigabyte.
pub const STATE_LIMIT: usize = 30_000_000;

/// What is to be explored.
#[derive(Clone, Debug)]
pub struct Space {
    /// Clients; the users take turns to own them.
    pub clients: u16,
    /// Users, all of them members of the one group.
    pub users: u16,
    /// Choices in a row.
    pub depth: usize,
    /// The world's numbers; `users` is ignored. Delays are, too: nothing waits for its time.
    pub settings: Settings,
    /// A deliberate bug.
    pub bug: Option<Bug>,
    /// Kinds of choices that are left out; see [`kinds`].
    pub without: Vec<String>,
    /// States that may be kept.
    pub state_limit: usize,
    /// Threads.
    pub jobs: usize,
    /// Tell the states of the last level apart too. Nothing follows from them any more, so that only counts them,
    /// and takes a third of the time.
    pub tells_last: bool,
}

impl Space {
    /// A space of so many clients, each of a user of its own, on one node. A user may have two connections.
    #[must_use]
    pub fn new(clients: u16, depth: usize) -> Self {
        Self {
            clients,
            users: clients,
            depth,
            settings: Settings { connections_per_user: 2, ..Settings::default() },
            bug: None,
            without: Vec::new(),
            state_limit: STATE_LIMIT,
            jobs: 1,
            tells_last: true,
        }
    }

    /// The world before the first choice.
    ///
    /// # Errors
    /// What is wrong with the numbers.
    pub fn schedule(&self) -> Result<Schedule, String> {
        if let Some(kind) = self.without.iter().find(|kind| !kinds().any(|(name, _)| name == kind.as_str())) {
            let names: Vec<_> = kinds().map(|(name, _)| name).collect();
            return Err(format!("there is no kind {kind} of choices; there are: {}", names.join(", ")));
        }
        if self.clients == 0 || self.users == 0 {
            return Err("there must be at least one client and one user".to_owned());
        }
        let settings = Settings {
            users: u64::from(self.users),
            net_delay_us: 0,
            net_jitter_us: 0,
            store_delay_us: 0,
            store_jitter_us: 0,
            bus_delay_us: 0,
            bus_jitter_us: 0,
            // Out of reach of so few messages, and then what was sent of late is no part of the state.
            messages_per_second: u64::from(u32::MAX),
            bytes_per_second: 1 << 40,
            ..self.settings
        };
        let users = (0..self.users).map(UserNo);
        let client = |client: u16| ClientSpec { user: UserNo(client % self.users), kind: ClientKind::Raw };
        let schedule = Schedule {
            seed: 1,
            profile: "explore".to_owned(),
            settings,
            clients: (0..self.clients).map(client).collect(),
            groups: vec![users.collect()],
            steps: Vec::new(),
        };
        schedule.check().map(|()| schedule)
    }
}

/// The kinds of choices: their names and what they are.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    Move::KINDS.iter().copied()
}

/// One level: what is reached by so many choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// States reached, each as often as it was.
    pub visited: u64,
    /// Those that were not met before; of the last level, those visited where they are not told apart.
    pub distinct: u64,
}

/// A sequence of choices that breaks something, and no shorter one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The choices, as places in the lists of what could happen.
    pub choices: Vec<u64>,
    /// What does not hold after the last of them.
    pub violation: Violation,
}

/// What came of an exploration.
#[derive(Clone, Debug)]
pub struct Report {
    /// By number of choices, from one.
    pub levels: Vec<Level>,
    /// Calls of engines, without those that only led back to where one was.
    pub events: u64,
    /// Real time.
    pub real_time: Duration,
    /// What was found.
    pub found: Option<Counterexample>,
    /// A digest of the set of all states that were met.
    pub states: u64,
}

impl Report {
    /// States reached, each as often as it was, and the first one.
    #[must_use]
    pub fn visited(&self) -> u64 {
        1 + self.levels.iter().map(|level| level.visited).sum::<u64>()
    }

    /// Different states, the first one included.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        1 + self.levels.iter().map(|level| level.distinct).sum::<u64>()
    }

    /// The greatest number of different states that first came after as many choices.
    #[must_use]
    pub fn widest(&self) -> u64 {
        self.levels.iter().map(|level| level.distinct).max().unwrap_or(1).max(1)
    }
}

/// Why an exploration is not finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExploreError {
    /// The space cannot be.
    #[error("nothing to explore: {0}")]
    Space(String),
    /// There is no such choice.
    #[error("choice {place} is {choice}, and there are {there} from 0 on")]
    NoSuchChoice {
        /// Which of them, from zero.
        place: usize,
        /// What it is.
        choice: u64,
        /// How many could be chosen.
        there: usize,
    },
    /// More states than may be kept.
    #[error(
        "more than {limit} different states within {level} choices: explore less deeply (everything holds up \
         to {whole} choices), or allow more with --states"
    )]
    TooManyStates {
        /// The limit.
        limit: usize,
        /// The level at which it was reached.
        level: usize,
        /// The last level that was finished.
        whole: usize,
    },
}
