//! A run as data: the world, and what happens in it when. First generated or written, then executed without
//! drawing anything.
//!
//! `words.rs` has the words of its lines, `steps.rs` every step, `verbs.rs` how a step is written and read, `settings.rs` every number
//! of a world.

mod settings;
mod steps;
mod verbs;
mod words;

pub use settings::Settings;
pub use steps::What;
pub use words::{
    Carrier, ClientKind, ClientNo, Deed, GroupNo, Misdeed, NodeNo, Seen, To, UserNo, Ways, Whose,
};

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

impl Schedule {
    /// Groups that there are at the beginning, and those that clients may create.
    #[must_use]
    pub const fn all_groups(&self) -> usize {
        self.groups.len() + self.settings.unfounded_groups as usize
    }
}
