//! From a failing schedule to a small one that fails in the same way: steps are removed, folded into fewer and
//! moved together, limits are lowered where that makes other steps needless, and the world is made simpler,
//! until nothing more can go.

use std::collections::BTreeSet;

use crate::runner::execute_caught;
use crate::schedule::{ClientKind, ClientNo, GroupNo, NodeNo, Schedule, Settings, To, UserNo, What};
use crate::world::{Options, Target};

/// What a schedule is tried with: whether it still fails as the first one did.
pub trait Trial {
    /// How it fails, in words that are the same for the same fault; none if everything holds.
    fn failing(&mut self, schedule: &Schedule) -> Option<String>;
}

/// Tries schedules with the engine as it is shipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsShipped {
    /// It must not be the healed phase that shows it.
    before_healing: bool,
}

/// How long after its last step a schedule fails by itself, in microseconds. What the healed phase does comes later.
const AFTER_US: u64 = 5_000_000;

impl AsShipped {
    /// Tries what comes of this schedule. If it fails before its healed phase, so must what is left of it: steps
    /// that show how it comes about say more than a failure that everything shows at the end.
    #[must_use]
    pub fn trying(schedule: &Schedule) -> Self {
        let mut trial = Self { before_healing: true };
        trial.before_healing = trial.failing(schedule).is_some();
        trial
    }
}

impl Trial for AsShipped {
    fn failing(&mut self, schedule: &Schedule) -> Option<String> {
        // The whole run, as a replay has it: that the faults end may be what hides a failure.
        let options = Options { sweep_every: 1, ..Options::default() };
        let violation = execute_caught(schedule, options).violation?;
        let last_us = schedule.steps.last().map_or(0, |step| step.at_us);
        let counts = !self.before_healing || violation.at_us <= last_us + AFTER_US;
        counts.then(|| violation.check.to_owned())
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

/// Rounds of all passes at the most: each makes the schedule simpler, and few are needed.
const ROUNDS: u32 = 12;

/// Steps up to which every pair is tried.
const PAIRS_UP_TO: usize = 24;

/// The smallest schedule found that fails in the same way; none if the schedule does not fail.
#[must_use]
pub fn shrink(schedule: &Schedule, trial: &mut impl Trial) -> Option<Schedule> {
    let fault = trial.failing(schedule)?;
    let mut search = Search { best: schedule.clone(), fault, trial };
    for _ in 0..ROUNDS {
        let before = search.best.clone();
        search.remove_steps();
        search.fold();
        search.enlarge();
        search.tighten();
        search.retime();
        search.remove_pairs();
        search.simplify_settings();
        search.simplify_world();
        search.simplify_numbers();
        if search.best == before {
            break;
        }
    }
    Some(search.best)
}

struct Search<'t, T> {
    best: Schedule,
    fault: String,
    trial: &'t mut T,
}

impl<T: Trial> Search<'_, T> {
    fn accepts(&mut self, candidate: &Schedule) -> bool {
        candidate.check().is_ok() && self.trial.failing(candidate).as_ref() == Some(&self.fault)
    }

    /// Takes the candidate if it fails in the same way.
    fn attempt(&mut self, candidate: Schedule) -> bool {
        let better = candidate != self.best && self.accepts(&candidate);
        if better {
            self.best = candidate;
        }
        better
    }

    /// Takes the candidate if it fails in the same way, and makes steps needless.
    fn attempt_for_fewer(&mut self, candidate: Schedule) {
        if candidate == self.best || !self.accepts(&candidate) {
            return;
        }
        let before = core::mem::replace(&mut self.best, candidate);
        self.remove_steps();
        if self.best.steps.len() >= before.steps.len() {
            self.best = before;
        }
    }

    /// Removes steps, half of them at a time at first, one at a time at last.
    fn remove_steps(&mut self) {
        let mut part = self.best.steps.len().max(1);
        while part > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut candidate = self.best.clone();
                candidate.steps.drain(from..(from + part).min(candidate.steps.len()));
                if !self.attempt(candidate) {
                    from += part;
                }
            }
            part /= 2;
        }
    }

    /// Removes two steps that only make sense together, such as a pause and its end.
    fn remove_pairs(&mut self) {
        let mut first = 0;
        while first < self.best.steps.len() && self.best.steps.len() <= PAIRS_UP_TO {
            let removed = (first + 1..self.best.steps.len()).any(|second| {
                let mut candidate = self.best.clone();
                candidate.steps.remove(second);
                candidate.steps.remove(first);
                self.attempt(candidate)
            });
            first += usize::from(!removed);
        }
    }

    /// Makes one step of all that a client sends to the same recipient.
    fn fold(&mut self) {
        let mut place = 0;
        while place < self.best.steps.len() {
            let what = self.best.steps[place].what;
            let same: Vec<usize> = (place..self.best.steps.len())
                .filter(|other| folded(what, self.best.steps[*other].what, 1).is_some())
                .collect();
            if same.len() > 1 {
                // As many in all, or more than enough; at the time of the first, or of the last.
                'tries: for times in [1, 8] {
                    for at in [same[0], same[same.len() - 1]] {
                        let all = same[1..]
                            .iter()
                            .try_fold(what, |sum, other| folded(sum, self.best.steps[*other].what, times));
                        let Some(all) = all else { continue };
                        let mut candidate = self.best.clone();
                        candidate.steps[at].what = all;
                        let mut number = 0;
                        candidate.steps.retain(|_| {
                            number += 1;
                            number - 1 == at || !same.contains(&(number - 1))
                        });
                        if self.attempt(candidate) {
                            break 'tries;
                        }
                    }
                }
            }
            place += 1;
        }
    }

    /// Makes what is sent so large, or so much, that less of it will do.
    fn enlarge(&mut self) {
        let room = u32::try_from(self.best.settings.message_bytes).unwrap_or(u32::MAX);
        for bytes in [room / 2, room.saturating_sub(200)] {
            let mut all = self.best.clone();
            all.steps.iter_mut().for_each(|step| step.what = enlarged(step.what, bytes));
            self.attempt_for_fewer(all);
            let mut place = 0;
            while place < self.best.steps.len() {
                let mut candidate = self.best.clone();
                candidate.steps[place].what = enlarged(candidate.steps[place].what, bytes);
                self.attempt_for_fewer(candidate);
                place += 1;
            }
        }
    }

    /// Lowers limits where fewer steps are needed to meet them.
    fn tighten(&mut self) {
        let s = self.best.settings;
        let lower: [&[(&str, u64)]; 6] = [
            &[("message_bytes", 1024), ("outbox_bytes", 2048), ("socket_bytes", 1)],
            &[("outbox_bytes", s.message_bytes + 1024)],
            &[("socket_bytes", 1)],
            &[("pending_per_connection", 1)],
            &[("streams_per_connection", 1)],
            // Not lower: the healed phase has to be able to speak.
            &[("messages_per_second", 10), ("message_burst", 3)],
        ];
        for settings in lower {
            let mut candidate = self.best.clone();
            for (name, value) in settings {
                candidate.settings.set(name, *value);
            }
            self.attempt_for_fewer(candidate);
        }
    }

    /// Moves steps nearer to each other, all of them or one after the other; or far apart, if fewer will do then.
    fn retime(&mut self) {
        let gaps = |schedule: &Schedule| {
            let times = schedule.steps.iter().map(|step| step.at_us);
            let before = core::iter::once(0).chain(times.clone());
            times.zip(before).map(|(at, before)| at - before).collect::<Vec<u64>>()
        };
        let timed = |schedule: &Schedule, gaps: &[u64]| {
            let mut candidate = schedule.clone();
            let mut at_us = 0;
            for (step, gap) in candidate.steps.iter_mut().zip(gaps) {
                at_us += gap;
                step.at_us = at_us;
            }
            candidate
        };
        let now = gaps(&self.best);
        for longest in [0, 1_000, 100_000, 2_000_000] {
            let shorter: Vec<u64> = now.iter().map(|gap| (*gap).min(longest)).collect();
            if self.attempt(timed(&self.best, &shorter)) {
                break;
            }
        }
        for place in 0..self.best.steps.len() {
            for shorter in [0, 1_000, 100_000] {
                let mut now = gaps(&self.best);
                if now[place] > shorter {
                    now[place] = shorter;
                    if self.attempt(timed(&self.best, &now)) {
                        break;
                    }
                }
            }
        }
        for shortest in [10_000, 1_000_000] {
            let longer: Vec<u64> = gaps(&self.best).iter().map(|gap| (*gap).max(shortest)).collect();
            self.attempt_for_fewer(timed(&self.best, &longer));
        }
    }

    /// Gives settings their defaults, and takes the jitter away.
    fn simplify_settings(&mut self) {
        for (name, default) in Settings::default().list() {
            let mut candidate = self.best.clone();
            candidate.settings.set(name, default);
            self.attempt(candidate);
        }
        for jitter in ["net_jitter_us", "store_jitter_us", "bus_jitter_us"] {
            let mut candidate = self.best.clone();
            candidate.settings.set(jitter, 0);
            self.attempt(candidate);
        }
    }

    /// Makes clients raw ones, takes away who and what is not needed, and empties groups.
    fn simplify_world(&mut self) {
        for client in 0..self.best.clients.len() {
            let mut candidate = self.best.clone();
            candidate.clients[client].kind = ClientKind::Raw;
            self.attempt(candidate);
        }
        for number in (0..self.best.clients.len()).rev() {
            let named = mentioned(&self.best, |word| word.parse().map(|ClientNo(n)| n));
            if !named.contains(&(number as u16)) && self.best.clients.len() > 1 {
                let mut candidate = self.best.clone();
                candidate.clients.remove(number);
                self.attempt_renamed(candidate, 'c', number);
            }
        }
        for number in (0..self.best.groups.len()).rev() {
            let named = mentioned(&self.best, |word| word.parse().map(|GroupNo(n)| n));
            if !named.contains(&(number as u16)) && self.best.groups.len() > 1 {
                let mut candidate = self.best.clone();
                candidate.groups.remove(number);
                self.attempt_renamed(candidate, 'g', number);
            }
        }
        for group in 0..self.best.groups.len() {
            for member in (0..self.best.groups[group].len()).rev() {
                let mut candidate = self.best.clone();
                candidate.groups[group].remove(member);
                self.attempt(candidate);
            }
        }
        for number in (0..self.best.settings.users as usize).rev() {
            self.remove_user(number);
        }
        for number in (0..self.best.settings.nodes as usize).rev() {
            let named = mentioned(&self.best, |word| word.parse().map(|NodeNo(n)| n));
            if !named.contains(&(number as u16)) && self.best.settings.nodes > 1 {
                let mut candidate = self.best.clone();
                candidate.settings.nodes -= 1;
                self.attempt_renamed(candidate, 'n', number);
            }
        }
    }

    fn remove_user(&mut self, number: usize) {
        let user = UserNo(number as u16);
        let named = mentioned(&self.best, |word| word.parse().map(|UserNo(n)| n));
        let has_client = self.best.clients.iter().any(|client| client.user == user);
        if named.contains(&user.0) || has_client || self.best.settings.users == 1 {
            return;
        }
        let mut candidate = self.best.clone();
        let lower = |other: &mut UserNo| other.0 -= u16::from(other.0 > user.0);
        candidate.settings.users -= 1;
        candidate.clients.iter_mut().for_each(|client| lower(&mut client.user));
        for group in &mut candidate.groups {
            group.retain(|member| *member != user);
            group.iter_mut().for_each(lower);
        }
        self.attempt_renamed(candidate, 'u', number);
    }

    /// Tries a candidate from which a client, user, group or node of this number was removed.
    fn attempt_renamed(&mut self, mut candidate: Schedule, letter: char, removed: usize) {
        let rename =
            |word: &str| match word.strip_prefix(letter).and_then(|digits| digits.parse::<usize>().ok()) {
                Some(number) if number > removed => format!("{letter}{}", number - 1),
                Some(_) | None => word.to_owned(),
            };
        for step in &mut candidate.steps {
            let Ok(what) = step.what.renamed(rename) else { return };
            step.what = what;
        }
        self.attempt(candidate);
    }

    /// Makes the numbers of steps smaller.
    fn simplify_numbers(&mut self) {
        for place in 0..self.best.steps.len() {
            let words = self.best.steps[place].what.to_string().split(' ').count() - 1;
            for word in 0..words {
                self.lower_number(place, word);
            }
        }
    }

    /// Lowers one number of a step: to zero, or by halves and then by one, as far as it goes.
    fn lower_number(&mut self, place: usize, word: usize) {
        let step = self.best.steps[place];
        let text = step.what.to_string();
        let Some(value) = text.split(' ').nth(word + 1).and_then(|digits| digits.parse::<u64>().ok()) else {
            return;
        };
        let mut lowered = |to: u64| {
            let mut number = 0;
            let words: Vec<String> = text
                .split(' ')
                .skip(1)
                .map(|old| {
                    number += 1;
                    if number - 1 == word { to.to_string() } else { old.to_owned() }
                })
                .collect();
            let Ok(what) =
                What::parse(step.what.verb(), &words.iter().map(String::as_str).collect::<Vec<_>>())
            else {
                return false;
            };
            let mut candidate = self.best.clone();
            candidate.steps[place].what = what;
            self.attempt(candidate)
        };
        if value == 0 || lowered(0) {
            return;
        }
        // The greatest number known not to do, and the least known to do.
        let (mut low, mut high) = (0, value);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if lowered(middle) { high = middle } else { low = middle }
        }
    }
}

/// One step that sends what two do, if they are to the same from the same; the second so many times.
fn folded(first: What, second: What, times: u32) -> Option<What> {
    let sum = |count: u32, further: u32| count.saturating_add(further.saturating_mul(times)).min(200);
    if let (
        What::Pictures { client, to, kind, count, gap_us },
        What::Pictures { client: other, to: other_to, kind: other_kind, count: further, .. },
    ) = (first, second)
    {
        let same = (client, to, kind) == (other, other_to, other_kind);
        return same.then_some(What::Pictures { client, to, kind, count: sum(count, further), gap_us });
    }
    let (client, to, bytes, count) = texts(first)?;
    let (other, other_to, more, further) = texts(second)?;
    let burst = What::Burst { client, to, bytes: bytes.max(more), count: sum(count, further) };
    ((client, to) == (other, other_to)).then_some(burst)
}

/// Who sends to whom, how long texts, and how many of them.
const fn texts(what: What) -> Option<(ClientNo, To, u32, u32)> {
    if let What::Send { client, to, bytes } = what {
        return Some((client, to, bytes, 1));
    }
    if let What::Burst { client, to, bytes, count } = what {
        return Some((client, to, bytes, count));
    }
    None
}

/// The same with at least so many bytes, where that can be.
fn enlarged(mut what: What, least: u32) -> What {
    if let What::Send { bytes, .. } | What::Burst { bytes, .. } | What::Media { bytes, .. } = &mut what {
        *bytes = least.max(*bytes);
    }
    if let What::Pictures { count, .. } = &mut what {
        *count = 20.max(*count);
    }
    what
}

/// The numbers that steps mention, as this reads them.
fn mentioned(schedule: &Schedule, read: impl Fn(&str) -> Result<u16, ()>) -> BTreeSet<u16> {
    let texts: Vec<String> = schedule.steps.iter().map(|step| step.what.to_string()).collect();
    texts.iter().flat_map(|text| text.split(' ').skip(1)).filter_map(|word| read(word).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails where three texts or more go from the second client to its own user.
    struct Notes;

    impl Trial for Notes {
        fn failing(&mut self, schedule: &Schedule) -> Option<String> {
            let notes =
                schedule.steps.iter().filter_map(|step| texts(step.what)).filter(|(client, to, ..)| {
                    let client = schedule.clients.get(client.index());
                    client.is_some_and(|client| *to == To::User(client.user))
                });
            (notes.map(|(_, _, _, count)| count).sum::<u32>() >= 3).then(|| "notes".to_owned())
        }
    }

    #[test]
    fn what_is_sent_is_folded_and_what_no_step_needs_goes() {
        let schedule: Schedule = "switchboard-schedule 1\nset nodes 3\nset users 4\n\
             client c0 u0 raw\nclient c1 u3 engine\nclient c2 u1 raw\ngroup g0 u1\ngroup g1 u3\n\
             10 1 connect c1 n1\n20 2 send c1 u3 50\n30 3 pause c0\n40 4 send c1 u3 9\n50 5 send c1 u3 0\n"
            .parse()
            .unwrap();
        let small = shrink(&schedule, &mut Notes).unwrap();
        let text = "switchboard-schedule 1\nprofile none\nseed 0\nset users 1\nset net_jitter_us 0\n\
             set store_jitter_us 0\nset bus_jitter_us 0\nclient c0 u0 raw\ngroup g0\n\
             0 2 burst c0 u0 0 3\n";
        assert_eq!(small.to_string(), text);
    }

    #[test]
    fn what_does_not_fail_is_not_shrunk() {
        let schedule: Schedule = "switchboard-schedule 1\nclient c0 u0 raw\ngroup g0\n".parse().unwrap();
        assert_eq!(shrink(&schedule, &mut Notes), None);
    }
}
