//! Deliberate bugs: a check that has never failed proves nothing, so each of these has to be found.

use switchboard_engine::{Canary, Probe, Rule};

use crate::generate::generate;
use crate::runner::guarded;
use crate::schedule::Schedule;
use crate::shrink::{self, Trial};
use crate::world::{Options, Outcome, execute_with};

/// Deliberate bugs of the simulator's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCanary {
    /// A place in the log is left out.
    SeqSkips,
    /// A message is stored twice.
    StoresTwice,
    /// A message is acknowledged and not kept.
    AnswersUncommitted,
}

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// In the engine.
    Engine(Canary),
    /// In the store.
    Store(StoreCanary),
}

impl Bug {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let store = [StoreCanary::SeqSkips, StoreCanary::StoresTwice, StoreCanary::AnswersUncommitted];
        Canary::ALL.iter().copied().map(Self::Engine).chain(store.into_iter().map(Self::Store)).collect()
    }

    /// The name that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine(canary) => canary.name(),
            Self::Store(StoreCanary::SeqSkips) => "store-seq-skips",
            Self::Store(StoreCanary::StoresTwice) => "store-stores-twice",
            Self::Store(StoreCanary::AnswersUncommitted) => "store-answers-uncommitted",
        }
    }
}

/// The probe of an engine with a bug.
#[derive(Clone, Copy, Debug)]
struct Planted(Option<Canary>);

impl Probe for Planted {
    fn canary(&self, canary: Canary) -> bool {
        self.0 == Some(canary)
    }

    fn reached(&mut self, _: Rule) {}
}

/// Executes schedules with a bug planted.
#[derive(Clone, Copy, Debug)]
pub struct WithBug(pub Bug);

impl WithBug {
    /// What comes of a schedule; a panic is a violation of the check `crash`.
    #[must_use]
    pub fn execute(self, schedule: &Schedule, options: Options) -> Outcome {
        let (engine, store) = match self.0 {
            Bug::Engine(canary) => (Some(canary), None),
            Bug::Store(canary) => (None, Some(canary)),
        };
        guarded(|| execute_with(schedule, options, &Planted(engine), store))
    }
}

impl Trial for WithBug {
    fn failing(&mut self, schedule: &Schedule) -> Option<String> {
        let options = Options { sweep_every: 1, ..Options::default() };
        self.execute(schedule, options).violation.map(|violation| violation.check.to_owned())
    }
}

/// How a bug was found.
#[derive(Clone, Debug)]
pub struct Catch {
    /// Which bug.
    pub bug: Bug,
    /// The checks that caught it, one for each round that did.
    pub checks: Vec<&'static str>,
    /// The seeds that each round needed, in ascending order.
    pub seeds: Vec<u64>,
    /// Rounds that found nothing.
    pub missed: u64,
    /// Steps left after shrinking the first find.
    pub steps: Option<usize>,
}

/// The profiles that seeds are taken from in turn: bugs show in different worlds.
const PROFILES: [&str; 6] = ["small", "default", "storm", "readers", "store", "bus"];

/// Hunts a bug: each round takes seeds of its own until a check catches it, `limit` seeds at the most.
#[must_use]
pub fn hunt(bug: Bug, rounds: u64, limit: u64) -> Catch {
    let mut caught = Catch { bug, checks: Vec::new(), seeds: Vec::new(), missed: 0, steps: None };
    for round in 0..rounds {
        match (0..limit).find_map(|seed| try_seed(bug, round * limit + seed).map(|found| (seed + 1, found))) {
            Some((seeds, (check, schedule))) => {
                if caught.steps.is_none() {
                    caught.steps =
                        shrink::shrink(&schedule, &mut WithBug(bug)).map(|small| small.steps.len());
                }
                caught.checks.push(check);
                caught.seeds.push(seeds);
            }
            None => caught.missed += 1,
        }
    }
    caught.seeds.sort_unstable();
    caught
}

/// Hunts a bug with the specification alone: the seeds that were needed, and the check that caught it; none if
/// `limit` seeds do not show it.
#[must_use]
pub fn hunt_by_specification(bug: Bug, limit: u64) -> Option<(u64, &'static str)> {
    let options = Options { shadow: false, ..Options::default() };
    (0..limit).find_map(|seed| {
        let schedule = generate(seed, PROFILES[(seed % PROFILES.len() as u64) as usize])?;
        let violation = WithBug(bug).execute(&schedule, options).violation?;
        Some((seed + 1, violation.check))
    })
}

fn try_seed(bug: Bug, seed: u64) -> Option<(&'static str, Schedule)> {
    let profile = PROFILES[(seed % PROFILES.len() as u64) as usize];
    let schedule = generate(seed, profile)?;
    let violation = WithBug(bug).execute(&schedule, Options::default()).violation?;
    Some((violation.check, schedule))
}
