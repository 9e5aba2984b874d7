//! Deliberate bugs: a check that has never failed proves nothing, so each of these has to be found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use switchboard_engine::{Canary, Probe, Rule};

use crate::counts::{Counts, Reached};
use crate::generate::generate;
use crate::runner::{execute_caught, guarded};
use crate::schedule::Schedule;
use crate::shrink::{self, Trial};
pub use crate::store::StoreCanary;
use crate::world::{Options, Outcome, execute_with};

/// One deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// In the engine.
    Engine(Canary),
    /// In the store.
    Store(StoreCanary),
}

/// Bugs in what classic clients are sent again, which the worlds of the profile `resend` show soonest.
const OF_RESEND: &[Bug] = &[
    Bug::Engine(Canary::ResendForgotten),
    Bug::Engine(Canary::ResendsOwn),
    Bug::Engine(Canary::PongCountsTooMuch),
    Bug::Engine(Canary::OneDeviceIsEnough),
    Bug::Engine(Canary::LossForgotten),
    Bug::Engine(Canary::LaterLossForgotten),
    Bug::Engine(Canary::FirstTakenForRead),
    Bug::Engine(Canary::LiveOvertakes),
    Bug::Engine(Canary::CaughtUpTwice),
    Bug::Engine(Canary::ResendNotRetried),
    Bug::Store(StoreCanary::ReceivedOverGaps),
];

impl Bug {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let engine = Canary::ALL.iter().copied().map(Self::Engine);
        engine.chain(StoreCanary::ALL.iter().copied().map(Self::Store)).collect()
    }

    /// The bug of an engine; none if it is the store's.
    #[must_use]
    pub const fn engine(self) -> Option<Canary> {
        match self {
            Self::Engine(canary) => Some(canary),
            Self::Store(_) => None,
        }
    }

    /// The name that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Engine(canary) => canary.name(),
            Self::Store(canary) => canary.name(),
        }
    }
}

/// The probe of an engine with a bug, or with none.
#[derive(Clone, Copy, Debug)]
pub struct Planted(pub Option<Canary>);

impl Probe for Planted {
    fn canary(&self, canary: Canary) -> bool {
        self.0 == Some(canary)
    }

    fn reached(&mut self, _: Rule) {}
}

impl Counts for Planted {
    fn reached(&self) -> Reached {
        Reached::default()
    }
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
        let check = self.execute(schedule, options).violation?.check;
        // What fails without the bug says nothing about it.
        execute_caught(schedule, options).violation.is_none().then(|| check.to_owned())
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
    /// What is left after shrinking the find of the first round that has one; it holds without the bug.
    pub small: Option<Schedule>,
}

/// Steps that a shrunk schedule may have.
pub const STEPS_LIMIT: usize = 12;

impl Catch {
    /// Steps left after shrinking.
    #[must_use]
    pub fn steps(&self) -> Option<usize> {
        self.small.as_ref().map(|small| small.steps.len())
    }

    /// What is not as it has to be: every round finds the bug, by a check and not by a crash, and the find can
    /// be made small. None if all is well.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        if self.missed > 0 {
            return Some(format!("missed in {} rounds", self.missed));
        }
        if self.checks.contains(&"crash") {
            return Some("found by a crash".to_owned());
        }
        match self.steps() {
            None => Some("the schedule fails without the bug too".to_owned()),
            Some(steps) if steps > STEPS_LIMIT => Some(format!("more than {STEPS_LIMIT} steps are left")),
            Some(_) => None,
        }
    }

    fn add(&mut self, find: Option<Find>) {
        let Some(find) = find else {
            self.missed += 1;
            return;
        };
        self.checks.push(find.check);
        self.seeds.push(find.seeds);
        self.seeds.sort_unstable();
        self.small = self.small.take().or(find.small);
    }
}

/// What one round came to.
#[derive(Debug)]
struct Find {
    check: &'static str,
    seeds: u64,
    small: Option<Schedule>,
}

/// The profiles that seeds are taken from in turn: bugs show in different worlds.
const PROFILES: [&str; 8] = ["small", "default", "storm", "readers", "store", "bus", "rates", "sessions"];

/// Where a bug is hunted with a seed.
fn profile(bug: Bug, seed: u64) -> &'static str {
    if OF_RESEND.contains(&bug) { "resend" } else { PROFILES[(seed % PROFILES.len() as u64) as usize] }
}

/// What is hunted, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Independent hunts for each bug.
    pub rounds: u64,
    /// Seeds of one hunt at the most.
    pub limit: u64,
    /// Threads.
    pub jobs: usize,
}

/// Hunts a bug: each round takes seeds of its own until a check catches it.
#[must_use]
pub fn hunt(bug: Bug, rounds: u64, limit: u64) -> Catch {
    let mut caught = Catch { bug, checks: Vec::new(), seeds: Vec::new(), missed: 0, small: None };
    (0..rounds).for_each(|round| caught.add(hunt_once(bug, round, limit)));
    caught
}

/// Hunts all these bugs, on several threads; `progress` is told how many hunts have ended, on the calling thread.
#[must_use]
pub fn hunt_all(bugs: &[Bug], plan: Plan, mut progress: impl FnMut(u64)) -> Vec<Catch> {
    let hunts = bugs.len() as u64 * plan.rounds;
    let next = AtomicU64::new(0);
    let finds = Mutex::new(BTreeMap::new());
    let ended = || finds.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= hunts {
                        return;
                    }
                    let (round, place) = (number / bugs.len() as u64, (number % bugs.len() as u64) as usize);
                    let find = hunt_once(bugs[place], round, plan.limit);
                    finds.lock().unwrap_or_else(PoisonError::into_inner).insert((place, round), find);
                }
            });
        }
        while ended() < hunts {
            progress(ended());
            thread::sleep(Duration::from_millis(20));
        }
    });
    let mut catches: Vec<_> = bugs.iter().map(|bug| hunt(*bug, 0, 0)).collect();
    for ((place, _), find) in finds.into_inner().unwrap_or_else(PoisonError::into_inner) {
        catches[place].add(find);
    }
    catches
}

/// One round; the first one's find is made small.
fn hunt_once(bug: Bug, round: u64, limit: u64) -> Option<Find> {
    let tried = |seed: u64| try_seed(bug, round * limit + seed).map(|found| (seed + 1, found));
    let (seeds, (check, schedule)) = (0..limit).find_map(tried)?;
    let small = (round == 0).then(|| shrink::shrink(&schedule, &mut WithBug(bug))).flatten();
    Some(Find { check, seeds, small })
}

/// The check that catches a bug with the first seed, of so many, that shows it. Nothing is made small, which takes most of a hunt's time.
#[must_use]
pub fn caught_by(bug: Bug, limit: u64) -> Option<&'static str> {
    (0..limit).find_map(|seed| try_seed(bug, seed)).map(|(check, _)| check)
}

/// Hunts a bug with the specification alone: the seeds that were needed, and the check that caught it; none if
/// `limit` seeds do not show it.
#[must_use]
pub fn hunt_by_specification(bug: Bug, limit: u64) -> Option<(u64, &'static str)> {
    let options = Options { shadow: false, ..Options::default() };
    (0..limit).find_map(|seed| {
        let schedule = generate(seed, profile(bug, seed))?;
        let violation = WithBug(bug).execute(&schedule, options).violation?;
        Some((seed + 1, violation.check))
    })
}

fn try_seed(bug: Bug, seed: u64) -> Option<(&'static str, Schedule)> {
    let schedule = generate(seed, profile(bug, seed))?;
    let violation = WithBug(bug).execute(&schedule, Options::default()).violation?;
    // What fails without the bug says nothing about it.
    let holds = execute_caught(&schedule, Options::default()).violation.is_none();
    holds.then_some((violation.check, schedule))
}
