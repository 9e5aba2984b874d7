//! A schedule, walked: a step is whatever happens next in the world.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::fork;
use super::timeline::Course;
use super::view::{Row, Table};
use super::{Branch, Forked};
use crate::canaries::{Bug, Planted};
use crate::schedule::Schedule;
use crate::world::sut::Engine;
use crate::world::watch::Seen;
use crate::world::{Options, World};

type Watched<'s> = World<'s, Engine<Planted>>;

/// The course of a schedule.
#[derive(Debug)]
pub struct WorldCourse<'s> {
    schedule: &'s Schedule,
    title: String,
    bug: Option<Bug>,
    /// The world with which the schedule ends, and the steps behind that, once they were made.
    healing: Option<Healing<'s>>,
    /// A world of the healed phase, with how far it is: such worlds are made when somebody looks.
    healed: RefCell<Option<(usize, Rc<Watched<'s>>)>>,
}

type Healing<'s> = (Rc<Watched<'s>>, Rc<Vec<Seen>>);

/// A world between two steps.
#[derive(Clone, Debug)]
pub struct WorldPlace<'s>(Stage<'s>);

#[derive(Clone, Debug)]
enum Stage<'s> {
    /// Steps of the schedule follow.
    Schedule { world: Box<Watched<'s>>, seen: Rc<Seen> },
    /// The schedule has ended with this world, and so many of the steps behind it were made.
    Healing { world: Rc<Watched<'s>>, steps: Rc<Vec<Seen>>, number: usize },
}

impl<'s> WorldCourse<'s> {
    /// Of a schedule, with a full sweep after every event, as `replay` has it.
    #[must_use]
    pub fn new(schedule: &'s Schedule, title: String, bug: Option<Bug>) -> Self {
        Self { schedule, title, bug, healing: None, healed: RefCell::new(None) }
    }

    /// What has happened last.
    fn seen(place: &WorldPlace<'s>) -> Rc<Seen> {
        match &place.0 {
            Stage::Schedule { seen, .. } => Rc::clone(seen),
            Stage::Healing { steps, number, .. } => {
                let step = number.checked_sub(1).and_then(|place| steps.get(place));
                Rc::new(step.cloned().unwrap_or_default())
            }
        }
    }

    /// The world as it is there.
    fn with<R>(&self, place: &WorldPlace<'s>, look: impl FnOnce(&Watched<'s>) -> R) -> R {
        match &place.0 {
            Stage::Schedule { world, .. } => look(world),
            Stage::Healing { world, number, .. } => {
                let mut healed = self.healed.borrow_mut();
                let known = healed.as_ref().filter(|(at, _)| at == number).map(|(_, world)| Rc::clone(world));
                let there = known.unwrap_or_else(|| Rc::new(world.healed_until(*number as u64)));
                *healed = Some((*number, Rc::clone(&there)));
                look(&there)
            }
        }
    }
}

impl<'s> Course for WorldCourse<'s> {
    type Place = WorldPlace<'s>;

    fn start(&self) -> WorldPlace<'s> {
        let (engine, store) = match self.bug {
            None => (None, None),
            Some(Bug::Engine(canary)) => (Some(canary), None),
            Some(Bug::Store(canary)) => (None, Some(canary)),
        };
        let options = Options { sweep_every: 1, ..Options::default() };
        let world = World::planted(self.schedule, options, Engine(Planted(engine)), store).watched();
        WorldPlace(Stage::Schedule { world: Box::new(world), seen: Rc::default() })
    }

    fn go(&mut self, place: &mut WorldPlace<'s>) -> bool {
        match &mut place.0 {
            Stage::Schedule { world, seen } => {
                if let Some(next) = world.watch_turn() {
                    *seen = Rc::new(next);
                    return true;
                }
                if world.violation().is_some() {
                    return false;
                }
                let (world, steps) = self.healing.get_or_insert_with(|| {
                    let mut after = world.clone().watched();
                    (Rc::from(world.clone()), Rc::new(after.watch_healing()))
                });
                if steps.is_empty() {
                    return false;
                }
                place.0 = Stage::Healing { world: Rc::clone(world), steps: Rc::clone(steps), number: 1 };
                true
            }
            Stage::Healing { steps, number, .. } => {
                let is_there = *number < steps.len();
                *number += usize::from(is_there);
                is_there
            }
        }
    }

    fn row(&self, place: &WorldPlace<'s>) -> Row {
        let seen = Self::seen(place);
        Row {
            number: 0,
            at: Duration::from_micros(seen.at_us),
            who: seen.who.clone(),
            told: seen.text.clone(),
            actions: seen.story.iter().filter(|line| line.starts_with("  -> ")).count(),
            is_fault: seen.is_fault,
            failure: seen.failure.clone(),
        }
    }

    fn story(&self, place: &WorldPlace<'s>) -> Vec<String> {
        let seen = Self::seen(place);
        let first = format!("{}: {}", seen.who, seen.text);
        core::iter::once(first).chain(seen.story.iter().cloned()).collect()
    }

    fn failure(&self, place: &WorldPlace<'s>) -> Option<String> {
        match &place.0 {
            Stage::Schedule { seen, .. } => seen.failure.clone(),
            Stage::Healing { .. } => Self::seen(place).failure.clone(),
        }
    }

    fn look(&self, place: &WorldPlace<'s>) -> (Duration, Vec<Table>, u64) {
        self.with(place, |world| (world.at(), world.tables(), world.look_digest()))
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn fork(&mut self, _: u64, place: &WorldPlace<'s>, branch: Branch) -> Result<Forked, String> {
        let has_ended = matches!(place.0, Stage::Healing { .. });
        if has_ended && branch != Branch::Cut {
            return Err("the schedule has ended here: fork at a step before, or write it".to_owned());
        }
        let now_us = self.with(place, |world| world.at().as_micros() as u64);
        let schedule = fork::schedule(self.schedule, now_us, branch)?;
        Ok(Forked::Schedule(Box::new(schedule)))
    }
}
