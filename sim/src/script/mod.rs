//! A stretch of what one server was told, as a text that people read and edit, and that can be made small.
//!
//! A schedule holds the choices of a simulated world, a recording the events of one engine. A [`Script`] is the latter as text: [`text`]
//! has its form, [`from`] makes one of a recording, [`run`] tells an engine what is in it, [`shrink`] removes what is not needed for it to
//! fail, [`rust`] makes a test of it.

pub mod from;
pub mod run;
pub mod rust;
pub mod shrink;
pub mod text;

use std::collections::BTreeSet;

use switchboard_engine::{Answer, Canary, ConnId, Event, ServerConfig};

use crate::canaries::Planted;
use crate::recording::file::SavedState;
use crate::recording::judge::conn_of;

/// What one engine is told.
#[derive(Clone, Debug)]
pub struct Script {
    /// The engine's seed.
    pub seed: u64,
    /// The engine's time when it is made, in nanoseconds.
    pub start_ns: u64,
    /// Its configuration.
    pub config: ServerConfig,
    /// The state that it begins with; none: nothing has happened to it. Only the build that wrote it can read it.
    pub state: Option<SavedState>,
    /// What it is told, in order.
    pub lines: Vec<Line>,
}

/// One thing that an engine is told.
#[derive(Clone, Debug)]
pub struct Line {
    /// Names it, for others that refer to it. No two lines have the same.
    pub id: u32,
    /// When, in nanoseconds of the engine's time.
    pub at_ns: u64,
    /// What.
    pub what: What,
}

/// What an engine is told.
#[derive(Clone, Debug)]
pub enum What {
    /// An event that is no answer.
    Event(Event),
    /// The answer to a request.
    Answer {
        /// Which request.
        to: Ask,
        /// What the store says.
        answer: Answer,
    },
    /// That its deadline has come.
    Timeout,
}

/// A request, by what has led to it: that stays its name when other lines are removed, which its ticket does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The `nth` request of the line `line`, from 0.
    Of {
        /// The line's id.
        line: u32,
        /// Which of its requests.
        nth: u32,
    },
    /// A request from before the script, by its ticket.
    Before(u64),
}

impl Script {
    /// The connections that it is about.
    #[must_use]
    pub fn connections(&self) -> BTreeSet<ConnId> {
        self.lines.iter().filter_map(Line::conn).collect()
    }
}

impl Line {
    /// The connection that it is about.
    #[must_use]
    pub const fn conn(&self) -> Option<ConnId> {
        match &self.what {
            What::Event(event) => conn_of(event),
            What::Answer { .. } | What::Timeout => None,
        }
    }
}

/// Tells the shipped engine what is in a script: for tests that were made of one.
///
/// With the variable `CANARY`, the engine has the planted bug of that name, as a server has that is built to be sick: so such a
/// test can be seen to fail.
///
/// # Panics
/// If the text is no script, something does not hold, or `CANARY` names no bug.
pub fn holds(text: &str) {
    let script: Script = match text.parse() {
        Ok(script) => script,
        Err(error) => panic!("{error}"),
    };
    match run::run(&script, planted()) {
        Ok(outcome) => assert!(outcome.violation.is_none(), "{}", outcome.words()),
        Err(error) => panic!("{error}"),
    }
}

fn planted() -> Planted {
    let Some(name) = std::env::var("CANARY").ok().filter(|name| !name.is_empty()) else {
        return Planted(None);
    };
    let canary = Canary::ALL.iter().copied().find(|canary| canary.name() == name);
    assert!(canary.is_some(), "CANARY={name} names no bug: `switchboard-sim canaries` lists them");
    Planted(canary)
}
