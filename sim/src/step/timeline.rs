//! A run that is walked in both directions: forwards by going on, backwards by going on from a copy that was kept before.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::snapshots::{Keep, Snapshots};
use super::view::{Changed, Row, Table, View};
use super::{Branch, Forked, Sought, Walk};

/// Rows that are remembered.
const ROWS_LIMIT: usize = 4096;

/// Rows that are made beyond those that are asked for: the next ones will be.
const ROWS_AHEAD: u64 = 64;

/// Steps between two looks at whether somebody has lost patience.
pub(super) const PATIENCE_STEPS: u64 = 512;

/// What a machine is told, step by step, and what it is like then. Two places after the same step are the same in every respect, whichever
/// way led to them.
pub trait Course {
    /// The machine after a step, and where in what it is told that is.
    type Place: Clone;

    /// Before the first step.
    fn start(&self) -> Self::Place;

    /// Makes the next step; false if there is none.
    fn go(&mut self, place: &mut Self::Place) -> bool;

    /// The step that was just made. Its number is known to whoever asks.
    fn row(&self, place: &Self::Place) -> Row;

    /// What was told in it, and what came of it.
    fn story(&self, place: &Self::Place) -> Vec<String>;

    /// What does not hold since.
    fn failure(&self, place: &Self::Place) -> Option<String>;

    /// Whether the step concerns somebody: a user, a client or a connection.
    fn concerns(&self, place: &Self::Place, whom: &str) -> bool {
        let row = self.row(place);
        row.who == whom || names(&row.told, whom) || self.story(place).iter().any(|line| names(line, whom))
    }

    /// What the machine is like: the time, everything in tables, and a digest of all of it.
    fn look(&self, place: &Self::Place) -> (Duration, Vec<Table>, u64);

    /// What is said of the run as a whole.
    fn title(&self) -> String;

    /// What is said of its end, if that is not all.
    fn end(&self) -> Option<String> {
        None
    }

    /// Another run that is like this one up to a step.
    ///
    /// # Errors
    /// Why there is none.
    fn fork(&mut self, number: u64, place: &Self::Place, branch: Branch) -> Result<Forked, String>;
}

/// Whether one of a text's words is this.
pub(super) fn names(text: &str, whom: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && !"-_./@".contains(c))
        .any(|word| word == whom || word.trim_matches(|c: char| !c.is_alphanumeric()) == whom)
}

/// A run, and where in it one is.
#[derive(Debug)]
pub struct Timeline<C: Course> {
    course: C,
    snapshots: Snapshots<C::Place>,
    /// None while it is on its way.
    here: Option<C::Place>,
    view: View,
    rows: BTreeMap<u64, Row>,
    /// The last step, once it is known.
    last: Option<u64>,
}

/// What is asked now and then on a long way, with the step that it has come to, whether to go on.
pub type Patience<'a> = &'a mut dyn FnMut(u64) -> bool;

/// How a way has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    /// There are no more steps.
    Over,
    /// Somebody has lost patience.
    Stopped,
}

impl<C: Course> Timeline<C> {
    /// At the beginning.
    #[must_use]
    pub fn new(course: C, keep: Keep) -> Self {
        let start = course.start();
        let mut timeline = Self {
            snapshots: Snapshots::new(keep, start.clone()),
            here: Some(start),
            view: View::default(),
            rows: BTreeMap::new(),
            last: None,
            course,
        };
        timeline.view = timeline.viewed(0, &[]);
        timeline
    }

    /// Goes on from a place to another step, and shows each on the way. Where that has ended.
    fn walk(
        &mut self,
        (mut at, place): (u64, &mut C::Place),
        to: u64,
        patience: Patience<'_>,
        mut see: impl FnMut(&C, u64, &C::Place) -> bool,
    ) -> (u64, Way) {
        while at < to {
            if self.last == Some(at) || !self.course.go(place) {
                self.last = Some(at);
                return (at, Way::Over);
            }
            at += 1;
            self.snapshots.pass(at, to, place);
            if !see(&self.course, at, place) || (at.is_multiple_of(PATIENCE_STEPS) && !patience(at)) {
                return (at, Way::Stopped);
            }
        }
        (at, Way::There)
    }

    /// The last place that is known at or before a step.
    fn nearest(&self, step: u64) -> (u64, C::Place) {
        let here = self.here.as_ref().map(|here| (self.view.number, here)).filter(|(at, _)| *at <= step);
        let kept = self.snapshots.nearest(step);
        let nearest = here.into_iter().chain(kept).max_by_key(|(at, _)| *at);
        nearest.map_or_else(|| (0, self.course.start()), |(at, place)| (at, place.clone()))
    }

    fn viewed(&self, number: u64, before: &[Table]) -> View {
        let course = &self.course;
        let Some(here) = &self.here else { return View::default() };
        // What a panic has left is shown as far as it can be.
        let looked = catch_unwind(AssertUnwindSafe(|| course.look(here)));
        let (at, tables, digest) = looked.unwrap_or_default();
        let changed = tables.iter().map(|table| {
            let was = before.iter().find(|was| was.name == table.name);
            was.map_or_else(Changed::default, |was| Changed::between(was, table))
        });
        let (changed, story, failure) = match number {
            0 => (Vec::new(), Vec::new(), None),
            _ => (changed.collect(), course.story(here), course.failure(here)),
        };
        View { number, at, story, failure, changed, tables, digest }
    }

    /// The last step before this one that a condition holds for.
    fn last_before(
        &mut self,
        mut end: u64,
        patience: Patience<'_>,
        holds: &dyn Fn(&C, &C::Place) -> bool,
    ) -> Option<u64> {
        while end > 1 {
            let (from, mut place) = self.snapshots.nearest(end - 2).map(|(at, place)| (at, place.clone()))?;
            let mut found = None;
            let (_, way) = self.walk((from, &mut place), end - 1, patience, |course, at, place| {
                if holds(course, place) {
                    found = Some(at);
                }
                true
            });
            if found.is_some() || way == Way::Stopped {
                return found;
            }
            end = from + 1;
        }
        None
    }
}

impl<C: Course> Walk for Timeline<C> {
    fn title(&self) -> String {
        self.course.title()
    }

    fn view(&self) -> &View {
        &self.view
    }

    fn last(&self) -> Option<u64> {
        self.last
    }

    fn end(&self) -> Option<String> {
        self.course.end()
    }

    fn seek(&mut self, step: u64, patience: Patience<'_>) {
        let mut to = self.last.map_or(step, |last| step.min(last));
        while to != self.view.number {
            let is_next = self.view.number + 1 == to;
            let next = if is_next { self.here.take().map(|here| (self.view.number, here)) } else { None };
            let (from, mut place) = next.unwrap_or_else(|| self.nearest(to.saturating_sub(1)));
            let (reached, way) =
                self.walk((from, &mut place), to.saturating_sub(1), patience, |_, _, _| true);
            if way == Way::Over && reached < to {
                // There are fewer steps.
                to = reached;
                continue;
            }
            let before =
                if is_next { core::mem::take(&mut self.view.tables) } else { self.course.look(&place).1 };
            let (arrived, way) = if to == 0 {
                (0, Way::There)
            } else {
                self.walk((reached, &mut place), reached + 1, &mut |_| true, |_, _, _| true)
            };
            if way == Way::Over {
                if is_next {
                    (self.view.tables, self.here) = (before, Some(place));
                }
                to = arrived;
                continue;
            }
            self.here = Some(place);
            self.view = self.viewed(arrived, &before);
            return;
        }
    }

    fn rows(&mut self, from: u64, count: usize) -> Vec<Row> {
        let end = from + count as u64;
        let end = self.last.map_or(end, |last| end.min(last + 1));
        if let Some(missing) = (from.max(1)..end).find(|number| !self.rows.contains_key(number)) {
            let (at, mut place) = self.nearest(missing - 1);
            let mut found = Vec::new();
            self.walk((at, &mut place), end + ROWS_AHEAD, &mut |_| true, |course, at, place| {
                if at >= missing {
                    found.push(Row { number: at, ..course.row(place) });
                }
                true
            });
            if self.rows.len() + found.len() > ROWS_LIMIT {
                self.rows.retain(|number, _| (from..end).contains(number));
            }
            self.rows.extend(found.into_iter().map(|row| (row.number, row)));
        }
        (from..end).filter_map(|number| self.rows.get(&number).cloned()).collect()
    }

    fn find(&mut self, what: &Sought, forwards: bool, patience: Patience<'_>) -> Option<u64> {
        let holds = |course: &C, place: &C::Place| match what {
            Sought::Failure => course.failure(place).is_some(),
            Sought::Whom(whom) => course.concerns(place, whom),
            Sought::Text(text) => {
                let has = |line: &str| line.to_lowercase().contains(text.as_str());
                let row = course.row(place);
                has(&row.told) || has(&row.who) || course.story(place).iter().any(|line| has(line))
            }
        };
        let at = self.view.number;
        if !forwards {
            return self.last_before(at, patience, &holds);
        }
        let mut place = self.here.clone()?;
        let mut found = None;
        self.walk((at, &mut place), u64::MAX, patience, |course, at, place| {
            if holds(course, place) {
                found = Some(at);
            }
            found.is_none()
        });
        found
    }

    fn fork(&mut self, branch: Branch) -> Result<Forked, String> {
        let here = self.here.as_ref().ok_or("there is nothing here")?;
        self.course.fork(self.view.number, here, branch)
    }
}
