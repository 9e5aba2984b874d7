//! Breadth first, level by level. What comes out does not depend on the threads: a level's states are looked at
//! in parts, by whichever thread is free, and what they lead to is taken in the order of the states.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use core::hash::BuildHasherDefault;
use hashbrown::HashSet;

use super::{
    Counterexample, ExploreError, Level, Report, Space,
    walk::{Worlds, attempt, moves, with_worlds},
};
use crate::{
    check::Violation,
    choice::{Choices, keyed},
};

/// Digests are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl core::hash::Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type States = HashSet<u64, BuildHasherDefault<AsIs>>;

/// How one came to a state: from which one, by which choice.
#[derive(Clone, Copy, Debug)]
struct Origin {
    parent: u32,
    choice: u16,
}

/// A state that was reached.
#[derive(Clone, Copy, Debug)]
struct Reached {
    state: u64,
    origin: Origin,
}

/// What a part of a level led to, in the order of its states.
#[derive(Debug, Default)]
struct Part {
    reached: Vec<Reached>,
    visited: u64,
    events: u64,
    found: Option<(Origin, Violation)>,
}

/// States that one thread takes at a time, and those that are looked at before they are put together.
const PART: usize = 256;
const BATCH: usize = 128 * PART;

/// Explores a space. `progress` is told the level, how many of the states before it are done, and how many there are.
///
/// # Errors
/// If the space cannot be, or there are more states than may be kept.
pub fn explore(space: &Space, progress: impl FnMut(usize, usize, usize)) -> Result<Report, ExploreError> {
    with_worlds(space, |worlds| Search::new(space, worlds).run(progress))
}

/// Explores a space without taking any two states for the same: as a test of that. For small depths.
///
/// # Errors
/// If the space cannot be.
pub fn explore_all(space: &Space) -> Result<Report, ExploreError> {
    with_worlds(space, |worlds| {
        let start = Instant::now();
        let mut choices = Choices::exhaustive();
        let first = worlds.make(false).state();
        let mut met: Vec<States> = vec![States::default(); space.depth];
        let mut levels = vec![Level::default(); space.depth];
        let (mut found, mut events): (Option<Counterexample>, u64) = (None, 0);
        let mut before: Vec<u64> = Vec::new();
        loop {
            let mut world = worlds.make(false);
            for depth in 0..space.depth {
                let moves = moves(space, &*world);
                if moves.is_empty() {
                    break;
                }
                let choice = choices.below(moves.len() as u64) as usize;
                let violation = attempt(&mut *world, moves[choice], true);
                // What this sequence has in common with the one before was counted then.
                let taken = choices.taken();
                levels[depth].visited += u64::from(!before.starts_with(taken));
                if let Some(violation) = violation {
                    let shorter = found.as_ref().is_none_or(|best| depth + 1 < best.choices.len());
                    if shorter {
                        found = Some(Counterexample { choices: choices.taken().to_vec(), violation });
                    }
                    break;
                }
                levels[depth].distinct += u64::from(met[depth].insert(world.state()));
            }
            events += world.events();
            before = choices.taken().to_vec();
            if !choices.advance() {
                break;
            }
        }
        let states = digest(core::iter::once(first).chain(met.into_iter().flatten()).collect());
        Ok(Report { levels, events, real_time: start.elapsed(), found, states })
    })
}

/// A digest of a set: its order is nobody's business.
fn digest(states: States) -> u64 {
    let mut states: Vec<u64> = states.into_iter().collect();
    states.sort_unstable();
    states.into_iter().fold(0, |sum, state| keyed(sum, state, 0))
}

struct Search<'a> {
    space: &'a Space,
    worlds: &'a dyn Worlds,
    /// Of all states, level by level; the first is its own origin.
    origins: Vec<Origin>,
    states: States,
}

impl<'a> Search<'a> {
    fn new(space: &'a Space, worlds: &'a dyn Worlds) -> Self {
        let first = Origin { parent: 0, choice: 0 };
        let states = core::iter::once(worlds.make(false).state()).collect();
        Self { space, worlds, origins: vec![first], states }
    }

    fn run(mut self, mut progress: impl FnMut(usize, usize, usize)) -> Result<Report, ExploreError> {
        let start = Instant::now();
        let mut report =
            Report { levels: Vec::new(), events: 0, real_time: start.elapsed(), found: None, states: 0 };
        let mut level = 0..1;
        while report.levels.len() < self.space.depth && report.found.is_none() && !level.is_empty() {
            let depth = report.levels.len() + 1;
            let mut counts = Level::default();
            for first in level.clone().step_by(BATCH) {
                progress(depth, first - level.start, level.len());
                let batch = first..(first + BATCH).min(level.end);
                for part in self.look(batch, depth - 1) {
                    counts.visited += part.visited;
                    report.events += part.events;
                    counts.distinct += self.take(part.reached, depth)?;
                    if let (None, Some((origin, violation))) = (&report.found, part.found) {
                        let choices = self.path(origin, depth);
                        report.found = Some(Counterexample { choices, violation });
                    }
                }
                if report.found.is_some() {
                    break;
                }
            }
            if depth == self.space.depth && !self.space.tells_last {
                counts.distinct = counts.visited;
            }
            report.levels.push(counts);
            level = level.end..self.origins.len();
        }
        report.real_time = start.elapsed();
        report.states = digest(self.states);
        Ok(report)
    }

    /// Keeps the states that are new. Gives their number.
    fn take(&mut self, reached: Vec<Reached>, depth: usize) -> Result<u64, ExploreError> {
        let before = self.origins.len();
        for Reached { state, origin } in reached {
            if self.states.insert(state) {
                self.origins.push(origin);
            }
        }
        let limit = self.space.state_limit.min(u32::MAX as usize);
        if self.origins.len() > limit {
            return Err(ExploreError::TooManyStates { limit, level: depth, whole: depth - 1 });
        }
        Ok((self.origins.len() - before) as u64)
    }

    /// The choices that lead to a state.
    fn path(&self, mut origin: Origin, depth: usize) -> Vec<u64> {
        let mut choices = vec![0; depth];
        for place in (0..depth).rev() {
            choices[place] = u64::from(origin.choice);
            origin = self.origins[origin.parent as usize];
        }
        choices
    }

    /// Looks at all that can follow states that are `depth` choices away.
    fn look(&self, batch: core::ops::Range<usize>, depth: usize) -> Vec<Part> {
        let parts = batch.len().div_ceil(PART);
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(parts));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= parts {
                    return;
                }
                let first = batch.start + number * PART;
                let mut part = Part::default();
                for parent in first..(first + PART).min(batch.end) {
                    self.follow(parent, depth, &mut part);
                    if part.found.is_some() {
                        break;
                    }
                }
                let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                done.push((number, part));
            }
        };
        if self.space.jobs > 1 && parts > 1 {
            thread::scope(|scope| (0..self.space.jobs).for_each(|_| drop(scope.spawn(work))));
        } else {
            work();
        }
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, part)| part).collect()
    }

    /// Everything that one state leads to.
    fn follow(&self, parent: usize, depth: usize, part: &mut Part) {
        let origin = self.origins[parent];
        let path = if depth == 0 { Vec::new() } else { self.path(origin, depth) };
        let mut start = self.worlds.make(false);
        let mut choices = Choices::recorded(path);
        for _ in 0..depth {
            let moves = moves(self.space, &*start);
            start.go(moves[choices.below(moves.len() as u64) as usize], false);
        }
        let moves = moves(self.space, &*start);
        let mut start = Some(start);
        for (choice, chosen) in moves.iter().enumerate() {
            // The last one needs no copy.
            let mut world = match start.take() {
                Some(start) if choice + 1 == moves.len() => start,
                Some(original) => start.insert(original).fork(),
                None => return,
            };
            let before = world.events();
            let origin = Origin { parent: parent as u32, choice: choice as u16 };
            let violation = attempt(&mut *world, *chosen, true);
            part.visited += 1;
            part.events += world.events() - before;
            if let Some(violation) = violation {
                part.found = Some((origin, violation));
                return;
            }
            if depth + 1 == self.space.depth && !self.space.tells_last {
                continue;
            }
            let state = world.state();
            if !self.states.contains(&state) {
                part.reached.push(Reached { state, origin });
            }
        }
    }
}
