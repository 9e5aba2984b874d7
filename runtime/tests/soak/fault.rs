//! What goes wrong, and in which order.

use crate::crowd::Rng;

/// What happens to the server in a round, beside what happens to its connections in every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL, and a new start on the same store.
    Kill,
    /// SIGTERM, and a new start on the same store.
    Stop,
    /// SIGSTOP, and SIGCONT after a while.
    Freeze,
    /// No room is left on the disk of its database and its recordings, and then there is again.
    FullDisk,
    /// The time of day is another one.
    ClockStep,
    /// None: only connections break.
    Network,
}

impl Fault {
    /// Whether the process is another one behind it.
    const fn ends_it(self) -> bool {
        match self {
            Self::Kill | Self::Stop => true,
            Self::Freeze | Self::FullDisk | Self::ClockStep | Self::Network => false,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Stop => "stop and start",
            Self::Freeze => "freeze",
            Self::FullDisk => "full disk",
            Self::ClockStep => "clock step",
            Self::Network => "network alone",
        }
    }
}

/// Faults in an order that the seed decides: each comes once before any comes again.
#[derive(Debug)]
pub(crate) struct Deck {
    all: Vec<Fault>,
    left: Vec<Fault>,
    is_dealt: bool,
}

impl Deck {
    /// Those that the machine allows; without those that end the process, if it is to live on.
    pub(crate) fn new(lives_on: bool, has_disk: bool, has_clock: bool) -> Self {
        use Fault::{ClockStep, Freeze, FullDisk, Kill, Network, Stop};
        let mut all = vec![Kill, Kill, Stop, Freeze, FullDisk, ClockStep, Network];
        all.retain(|fault| !(lives_on && fault.ends_it()));
        all.retain(|fault| (has_disk || *fault != FullDisk) && (has_clock || *fault != ClockStep));
        Self { left: all.clone(), all, is_dealt: false }
    }

    pub(crate) fn draw(&mut self, rng: &mut Rng) -> Fault {
        if self.left.is_empty() {
            self.left = self.all.clone();
        }
        let fault = self.left.swap_remove(rng.below(self.left.len() as u64) as usize);
        self.is_dealt |= self.left.is_empty();
        fault
    }

    /// Whether each has come.
    pub(crate) const fn is_dealt(&self) -> bool {
        self.is_dealt
    }
}
