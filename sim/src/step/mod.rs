//! A debugger of runs: forwards and backwards through a schedule, a recording or a script, step by step.
//!
//! [`Timeline`] walks a [`Course`] in both directions; [`world`], [`recording`] and [`script`] are the three that there are. What is seen at
//! a step is a [`view::View`], words in tables, and [`screen`] draws it on a terminal. [`fork`] makes other runs that are like this one up to a
//! step.

pub mod fork;
pub mod recording;
pub mod screen;
pub mod script;
mod snapshots;
mod timeline;
pub mod view;
pub mod world;

pub use self::snapshots::Keep;
pub use self::timeline::{Course, Patience, Timeline};

use self::view::{Row, View};
use crate::schedule::Schedule;
use crate::script::Script;

/// A run that is walked, whatever it is of.
pub trait Walk {
    /// What is said of the run as a whole.
    fn title(&self) -> String;

    /// What is seen where one is.
    fn view(&self) -> &View;

    /// The last step, once it is known.
    fn last(&self) -> Option<u64>;

    /// What is said of its end, if that is not all.
    fn end(&self) -> Option<String>;

    /// Goes to a step, or to the last if there are fewer; 0 is before the first. Who loses patience stays where that is.
    fn seek(&mut self, step: u64, patience: Patience<'_>);

    /// Steps for the list.
    fn rows(&mut self, from: u64, count: usize) -> Vec<Row>;

    /// The next step that is sought, or the last one before this; none if there is none, or somebody has lost patience.
    fn find(&mut self, what: &Sought, forwards: bool, patience: Patience<'_>) -> Option<u64>;

    /// Another run that is like this one up to here.
    ///
    /// # Errors
    /// Why there is none.
    fn fork(&mut self, branch: Branch) -> Result<Forked, String>;
}

/// What is sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A step since which something does not hold, or that leads to something else than was recorded.
    Failure,
    /// A step that concerns a user, a client or a connection.
    Whom(String),
    /// A step in whose words this is, in lower case.
    Text(String),
}

/// How another run is to go on where it leaves this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// It ends there.
    Cut,
    /// Of a world: the same steps follow, and what varies is keyed by this.
    Luck(u64),
    /// Of a world: other steps follow, made from this seed, which keys what varies too.
    Steps(u64),
}

/// Another run.
#[derive(Clone, Debug)]
pub enum Forked {
    /// Of a world.
    Schedule(Box<Schedule>),
    /// Of one server.
    Script(Box<Script>),
}

impl Forked {
    /// As a text that is read again.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Schedule(schedule) => schedule.to_string(),
            Self::Script(script) => script.to_string(),
        }
    }

    /// How its files end.
    #[must_use]
    pub const fn ending(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "schedule",
            Self::Script(_) => "events",
        }
    }
}
