//! A world whose every step somebody looks at: what happened, what the engines were told, and what they did.
//!
//! Up to the schedule's end a watched world is copied between two steps, and goes on from the copy. The healed phase is a program that
//! waits for things, and cannot be begun in its middle: [`Watch::stop_at`] has it run again from its beginning, up to a step, and keeps a
//! copy of the world as it is then, to be looked at.

use core::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};

use switchboard_engine::{Action, ConnId, Event, OwnedAction};

use super::{Happening, World, panic_text, sut::Sut};
use crate::{
    check::Violation,
    recording::{judge::conn_of, name},
};

/// One step of a world, in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Virtual time.
    pub(crate) at_us: u64,
    /// Whom it is about.
    pub(crate) who: String,
    /// What happened.
    pub(crate) text: String,
    /// Whether it is a fault, or the end of one.
    pub(crate) is_fault: bool,
    /// What engines were told in it, each with what it did.
    pub(crate) story: Vec<String>,
    /// What does not hold since.
    pub(crate) failure: Option<String>,
}

/// Who looks at a world.
#[derive(Debug)]
pub(crate) struct Watch<'s, T: Sut> {
    /// The steps so far, unless they were taken.
    pub(crate) steps: Vec<Seen>,
    /// How many there were.
    count: u64,
    /// The step that is going on.
    open: Option<Seen>,
    /// What is told and done outside of steps becomes a step of its own, called so.
    remark: Option<&'static str>,
    story: Vec<String>,
    /// Copies the world after this step, and halts it.
    stop: Option<(u64, Copier<'s, T>)>,
    found: Option<Box<World<'s, T>>>,
}

type Copier<'s, T> = fn(&World<'s, T>) -> World<'s, T>;

impl<T: Sut> Clone for Watch<'_, T> {
    /// Another one that looks from here on.
    fn clone(&self) -> Self {
        Self { count: self.count, ..Self::default() }
    }
}

impl<T: Sut> Default for Watch<'_, T> {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            count: 0,
            open: None,
            remark: None,
            story: Vec::new(),
            stop: None,
            found: None,
        }
    }
}

impl<T: Sut> Watch<'_, T> {
    /// An engine has done something; `is_session` says what a connection speaks.
    pub(super) fn acted(&mut self, action: &Action<'_>, is_session: impl Fn(ConnId) -> bool) {
        let first = match action {
            Action::Send { to, .. } => to.first().copied(),
            Action::Close { .. }
            | Action::Abort { .. }
            | Action::Request { .. }
            | Action::Publish(_)
            | Action::Tell(_)
            | Action::Subscribe(_)
            | Action::Unsubscribe(_)
            | Action::Stopped => None,
        };
        let action = OwnedAction::from(action.clone());
        self.story.push(format!("  -> {}", name::action(&action, first.is_some_and(is_session))));
    }
}

impl<'s, T: Sut> World<'s, T> {
    /// What an engine is told is noted; none: that its deadline has come.
    pub(super) fn watch_told(&mut self, shard: usize, event: Option<&Event>) {
        if self.watch.is_none() {
            return;
        }
        let is_session = event.and_then(conn_of).is_some_and(|id| {
            let conn = Self::conn_at(&self.shards[shard].slots, id);
            conn.is_some_and(|conn| self.conns[conn as usize].is_session)
        });
        let text = match event {
            Some(event) => name::event(event, is_session),
            None => "its deadline has come".to_owned(),
        };
        let lane = self.lane(shard);
        if let Some(watch) = &mut self.watch {
            watch.story.push(format!("{lane}: {text}"));
        }
    }

    /// A step begins.
    pub(super) fn watch_begins(&mut self, what: &Happening) {
        if self.watch.is_none() {
            return;
        }
        let (who, text, is_fault) = self.words(what);
        let open = Seen { at_us: self.now_us, who, text, is_fault, ..Seen::default() };
        if let Some(watch) = &mut self.watch {
            watch.open = Some(open);
        }
    }

    /// What the healed phase does by itself is called so.
    pub(super) fn watch_remarks(&mut self, text: &'static str) {
        if let Some(watch) = &mut self.watch {
            watch.remark = Some(text);
        }
    }

    /// What was told and done since the last step becomes one, if anything was.
    pub(super) fn watch_between(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let text = match (watch.remark.take(), watch.story.is_empty()) {
            (None, true) => return,
            (remark, _) => remark.unwrap_or("the healed phase goes on"),
        };
        let who = "world".to_owned();
        watch.open = Some(Seen { at_us: self.now_us, who, text: text.to_owned(), ..Seen::default() });
        self.watch_ends();
    }

    /// A step has ended.
    pub(super) fn watch_ends(&mut self) {
        let failure = self.violation().map(ToString::to_string);
        let Some(watch) = &mut self.watch else { return };
        let Some(open) = watch.open.take() else { return };
        let story = take(&mut watch.story);
        watch.steps.push(Seen { story, failure, ..open });
        watch.count += 1;
        if let Some((_, copy)) = watch.stop.filter(|(stop_at, _)| *stop_at == watch.count) {
            let copied = copy(self);
            self.is_halted = true;
            if let Some(watch) = &mut self.watch {
                watch.found = Some(Box::new(copied));
            }
        }
    }

    /// What does not hold.
    pub(crate) const fn violation(&self) -> Option<&Violation> {
        match &self.check.violation {
            None => self.spec.violation.as_ref(),
            violation @ Some(_) => violation.as_ref(),
        }
    }

    /// Has every step noted from here on.
    pub(crate) fn watched(mut self) -> Self {
        self.watch = Some(Box::default());
        self
    }

    /// The next step of the schedule's time; none when that is over, or something does not hold.
    pub(crate) fn watch_turn(&mut self) -> Option<Seen> {
        let last_us = self.schedule.steps.last().map_or(0, |step| step.at_us);
        if !self.holds() || self.queue.next_us().is_none_or(|at_us| at_us > last_us) {
            return None;
        }
        self.watch_caught(Self::turn);
        self.watch.as_mut()?.steps.pop()
    }

    /// Does what is behind the last step of the schedule. Gives the steps of that.
    pub(crate) fn watch_healing(&mut self) -> Vec<Seen> {
        let last_us = self.schedule.steps.last().map_or(0, |step| step.at_us);
        let held = self.holds();
        self.watch_caught(|world| {
            world.run_until(last_us);
            world.conclude();
        });
        let failure = self.violation().map(ToString::to_string).filter(|_| held);
        let at_us = self.now_us;
        let Some(watch) = &mut self.watch else { return Vec::new() };
        let mut steps = take(&mut watch.steps);
        if failure.is_some() && steps.last().is_none_or(|last| last.failure.is_none()) {
            let (who, text) = ("world".to_owned(), "everything is looked at".to_owned());
            let story = take(&mut watch.story);
            steps.push(Seen { at_us, who, text, failure, story, ..Seen::default() });
        }
        steps
    }

    /// A panic is a violation of the check `crash`, and ends the step.
    fn watch_caught(&mut self, run: impl FnOnce(&mut Self)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(self))) {
            let what = panic_text(&*panic);
            self.check.violation = Some(Violation { check: "crash", what, at_us: self.now_us });
            self.watch_ends();
        }
    }
}

impl<'s, T: Sut> World<'s, T>
where
    T::Machine: Clone,
{
    /// The world as it is so many steps behind the last one of the schedule, to be looked at; as it is at the end, if there are fewer.
    pub(crate) fn healed_until(&self, steps: u64) -> World<'s, T> {
        let mut world = self.clone().watched();
        if steps == 0 {
            return world;
        }
        if let Some(watch) = &mut world.watch {
            watch.stop = Some((steps, Self::clone));
        }
        world.watch_healing();
        let found = world.watch.as_mut().and_then(|watch| watch.found.take());
        found.map_or(world, |found| *found)
    }
}
