//! Many seeds, on several threads: each world is on one of them, and knows nothing of the others.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::check::Violation;
use crate::counts::{Reached, Tally};
use crate::generate::generate_for;
use crate::schedule::{Schedule, What};
use crate::world::{Options, Outcome, Target, execute, panic_text};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// The seed after the last.
    pub end: u64,
    /// The profile's name.
    pub profile: String,
    /// Threads.
    pub jobs: usize,
    /// Run each seed twice, and compare.
    pub twice: bool,
    /// Engine events between two full sweeps of one engine.
    pub sweep_every: u32,
    /// What stands in the shards.
    pub target: Target,
}

/// A seed that broke something.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What it broke.
    pub violation: Violation,
}

/// What came of many seeds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Calls of engines.
    pub events: u64,
    /// Virtual time, of all seeds together.
    pub virtual_time: Duration,
    /// Real time.
    pub real_time: Duration,
    /// How often each verb was met.
    pub met: BTreeMap<&'static str, u64>,
    /// How often each fault happened.
    pub tally: Tally,
    /// How often each rule of the engine was reached.
    pub reached: Reached,
    /// Failing seeds, lowest first.
    pub failures: Vec<Failure>,
}

/// Seeds that fail in the same way.
#[derive(Clone, Debug)]
pub struct Fault<'a> {
    /// How many.
    pub seeds: u64,
    /// The one with the lowest number.
    pub first: &'a Failure,
}

impl Summary {
    /// The failures by what they have in common, most frequent first.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault<'_>> {
        let mut faults = BTreeMap::new();
        for failure in &self.failures {
            faults.entry(failure.violation.fault()).or_insert(Fault { seeds: 0, first: failure }).seeds += 1;
        }
        let mut faults: Vec<_> = faults.into_values().collect();
        faults.sort_by_key(|fault| (core::cmp::Reverse(fault.seeds), fault.first.seed));
        faults
    }

    /// A rate per second of real time.
    #[must_use]
    pub fn per_second(&self, count: u64) -> u64 {
        u64::try_from(u128::from(count) * 1_000_000 / self.real_time.as_micros().max(1)).unwrap_or(u64::MAX)
    }
}

/// Executes a schedule; an engine or simulator that panics is a violation of the check `crash`.
#[must_use]
pub fn execute_caught(schedule: &Schedule, options: Options) -> Outcome {
    guarded(|| execute(schedule, options))
}

/// What comes of a run; a panic becomes a violation of the check `crash`.
pub(crate) fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    caught(run).unwrap_or_else(|violation| Outcome {
        violation: Some(violation),
        digest: 0,
        events: 0,
        virtual_us: 0,
        met: vec![0; What::VERBS.len()],
        tally: Tally::default(),
        reached: Reached::default(),
        trace: Vec::new(),
    })
}

/// What comes of something that may panic.
///
/// # Errors
/// A violation of the check `crash` if it does.
pub(crate) fn caught<R>(run: impl FnOnce() -> R) -> Result<R, Violation> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let what = panic_text(&*panic);
        Violation { check: "crash", what, at_us: 0 }
    })
}

/// Executes a schedule once, or twice to compare what the engines did.
#[must_use]
pub fn examine(schedule: &Schedule, options: Options, twice: bool) -> Outcome {
    compare(|| execute_caught(schedule, options), twice)
}

fn compare(run: impl Fn() -> Outcome, twice: bool) -> Outcome {
    let mut outcome = run();
    if twice && outcome.violation.is_none() {
        let again = run();
        if (again.digest, again.events) != (outcome.digest, outcome.events) {
            let what = format!("digests {:016x} and {:016x}", outcome.digest, again.digest);
            outcome.violation = Some(Violation { check: "determinism", what, at_us: outcome.virtual_us });
        }
    }
    outcome
}

/// Runs the plan; `progress` is told how many seeds are done, ten times a second, on the calling thread.
/// Returns none if there is no such profile.
#[must_use]
pub fn run(plan: &Plan, mut progress: impl FnMut(u64)) -> Option<Summary> {
    generate_for(plan.target, plan.first, &plan.profile)?;
    let start = Instant::now();
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let finished = AtomicBool::new(false);
    let total = Mutex::new(Total::default());
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..plan.jobs.max(1)).map(|_| scope.spawn(|| work(plan, &next, &done, &total))).collect();
        while !finished.load(Ordering::Relaxed) {
            progress(done.load(Ordering::Relaxed));
            finished.store(workers.iter().all(thread::ScopedJoinHandle::is_finished), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(if plan.end - plan.first < 100 { 1 } else { 20 }));
        }
    });
    let mut total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    total.failures.sort_by_key(|failure| failure.seed);
    let met = What::VERBS.iter().zip(&total.met).map(|((verb, _), count)| (*verb, *count)).collect();
    Some(Summary {
        seeds: done.load(Ordering::Relaxed),
        events: total.events,
        virtual_time: Duration::from_micros(total.virtual_us),
        real_time: start.elapsed(),
        met,
        tally: total.tally,
        reached: total.reached,
        failures: total.failures,
    })
}

#[derive(Debug, Default)]
struct Total {
    events: u64,
    virtual_us: u64,
    met: Vec<u64>,
    tally: Tally,
    reached: Reached,
    failures: Vec<Failure>,
}

fn work(plan: &Plan, next: &AtomicU64, done: &AtomicU64, total: &Mutex<Total>) {
    let mut mine = Total { met: vec![0; What::VERBS.len()], ..Total::default() };
    let options = Options { sweep_every: plan.sweep_every, target: plan.target, ..Options::default() };
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place >= plan.end - plan.first {
            break;
        }
        let seed = plan.first + place;
        let Some(schedule) = generate_for(plan.target, seed, &plan.profile) else { break };
        let outcome = examine(&schedule, options, plan.twice);
        mine.events += outcome.events;
        mine.virtual_us += outcome.virtual_us;
        mine.met.iter_mut().zip(&outcome.met).for_each(|(sum, count)| *sum += count);
        mine.tally.add_all(&outcome.tally);
        mine.reached.add(&outcome.reached);
        mine.failures.extend(outcome.violation.map(|violation| Failure { seed, violation }));
        done.fetch_add(1, Ordering::Relaxed);
    }
    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    total.events += mine.events;
    total.virtual_us += mine.virtual_us;
    total.met.resize(mine.met.len(), 0);
    total.met.iter_mut().zip(&mine.met).for_each(|(sum, count)| *sum += count);
    total.tally.add_all(&mine.tally);
    total.reached.add(&mine.reached);
    total.failures.append(&mut mine.failures);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use switchboard_engine::{Server, ServerConfig};

    use super::*;
    use crate::counts::Marks;
    use crate::generate::generate;
    use crate::world::execute_sut;
    use crate::world::sut::{Engine, Sut};

    /// Engines that depend on something which is in no schedule: how many of them were made before.
    #[derive(Clone, Debug)]
    struct Ambient(Arc<AtomicU64>);

    impl Sut for Ambient {
        type Machine = Server<Marks>;

        const IS_SHADOWED: bool = true;
        const SLACK_US: u64 = 0;
        const REFUSES_FILES: bool = true;

        fn start(&self, config: ServerConfig, seed: u64, now: switchboard_engine::Instant) -> Server<Marks> {
            let made = self.0.fetch_add(1, Ordering::Relaxed);
            Engine(Marks::default()).start(config, seed ^ made, now)
        }
    }

    #[test]
    fn an_engine_that_depends_on_what_is_in_no_schedule_is_found_by_running_it_twice() {
        let schedule = generate(7, "small").unwrap();
        let run = |sut: &Ambient| execute_sut(&schedule, Options::default(), sut.clone());
        let ambient = Ambient(Arc::default());
        assert_eq!(compare(|| run(&ambient), false).violation, None, "nothing else is wrong with it");
        let violation = compare(|| run(&ambient), true).violation.unwrap();
        assert_eq!(violation.check, "determinism");
        let alike = compare(|| run(&Ambient(Arc::default())), true);
        assert_eq!(alike.violation, None, "the same engines with nothing to depend on do the same");
    }
}
