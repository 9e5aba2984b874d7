//! From a failing schedule to a small one that fails in the same way: steps are removed in ever smaller parts,
//! then the world is made simpler, until nothing more can go.

use crate::runner::execute_caught;
use crate::schedule::{ClientKind, Schedule, Settings};
use crate::world::{Options, Target};

/// What a schedule is tried with: whether it still fails as the first one did.
pub trait Trial {
    /// How it fails, in words that are the same for the same fault; none if everything holds.
    fn failing(&mut self, schedule: &Schedule) -> Option<String>;
}

/// Tries schedules with the engine as it is shipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsShipped;

impl Trial for AsShipped {
    fn failing(&mut self, schedule: &Schedule) -> Option<String> {
        let options = Options { sweep_every: 1, ..Options::default() };
        execute_caught(schedule, options).violation.map(|violation| violation.check.to_owned())
    }
}

/// Tries schedules with the model of the original server. It has many faults, so the same one has to stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsOriginal;

impl Trial for AsOriginal {
    fn failing(&mut self, schedule: &Schedule) -> Option<String> {
        let options = Options { target: Target::Original, ..Options::default() };
        execute_caught(schedule, options).violation.map(|violation| violation.fault())
    }
}

/// The smallest schedule found that fails in the same way; none if the schedule does not fail.
#[must_use]
pub fn shrink(schedule: &Schedule, trial: &mut impl Trial) -> Option<Schedule> {
    let fault = trial.failing(schedule)?;
    let mut best = schedule.clone();
    loop {
        let before = best.clone();
        let mut accepts = |candidate: &Schedule| {
            candidate.check().is_ok() && trial.failing(candidate).as_ref() == Some(&fault)
        };
        remove_steps(&mut best, &mut accepts);
        simplify_world(&mut best, &mut accepts);
        move_nearer(&mut best, &mut accepts);
        if best == before {
            return Some(best);
        }
    }
}

/// Removes steps, half of them at a time at first, one at a time at last.
fn remove_steps(best: &mut Schedule, accepts: &mut impl FnMut(&Schedule) -> bool) {
    let mut part = best.steps.len().max(1);
    while part > 0 {
        let mut from = 0;
        while from < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(from..(from + part).min(best.steps.len()));
            if accepts(&candidate) {
                *best = candidate;
            } else {
                from += part;
            }
        }
        part /= 2;
    }
}

/// Gives settings their defaults, makes clients raw ones, and empties groups, as far as it still fails.
fn simplify_world(best: &mut Schedule, accepts: &mut impl FnMut(&Schedule) -> bool) {
    let mut attempt = |change: &dyn Fn(&mut Schedule)| {
        let mut candidate = best.clone();
        change(&mut candidate);
        if candidate != *best && accepts(&candidate) {
            *best = candidate;
        }
    };
    for (name, default) in Settings::default().list() {
        attempt(&|candidate| {
            candidate.settings.set(name, default);
        });
    }
    for jitter in ["net_jitter_us", "store_jitter_us", "bus_jitter_us"] {
        attempt(&|candidate| {
            candidate.settings.set(jitter, 0);
        });
    }
    let clients = best.clients.len();
    for client in 0..clients {
        let mut candidate = best.clone();
        candidate.clients[client].kind = ClientKind::Raw;
        if candidate != *best && accepts(&candidate) {
            *best = candidate;
        }
    }
    // Those at the end that no step names go; the numbers of the others stay.
    while best.clients.len() > 1 {
        let mut candidate = best.clone();
        candidate.clients.pop();
        if !accepts(&candidate) {
            break;
        }
        *best = candidate;
    }
    while best.groups.len() > 1 {
        let mut candidate = best.clone();
        candidate.groups.pop();
        if !accepts(&candidate) {
            break;
        }
        *best = candidate;
    }
    for group in 0..best.groups.len() {
        for member in (0..best.groups[group].len()).rev() {
            let mut candidate = best.clone();
            candidate.groups[group].remove(member);
            if accepts(&candidate) {
                *best = candidate;
            }
        }
    }
}

/// Moves the first step to the beginning of time, and the others with it.
fn move_nearer(best: &mut Schedule, accepts: &mut impl FnMut(&Schedule) -> bool) {
    let first_us = best.steps.first().map_or(0, |step| step.at_us);
    let mut candidate = best.clone();
    candidate.steps.iter_mut().for_each(|step| step.at_us -= first_us);
    if first_us > 0 && accepts(&candidate) {
        *best = candidate;
    }
}
