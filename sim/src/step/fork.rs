//! Other runs that are like one up to a step.

use super::Branch;
use crate::generate::steps_of;
use crate::schedule::{Schedule, Step, What};
use crate::text::TIME_LIMIT_US;

/// A schedule that is like another one up to a time, that included. What follows is of another time, at least a microsecond later: nothing
/// is put between two things that happen at one time.
///
/// # Errors
/// If the schedule would be longer than schedules may be.
pub fn schedule(of: &Schedule, now_us: u64, branch: Branch) -> Result<Schedule, String> {
    let is_before = |step: &&Step| step.at_us <= now_us;
    let mut fork = Schedule { steps: of.steps.iter().filter(is_before).copied().collect(), ..of.clone() };
    let last = of.steps.iter().map(|step| step.id).max().unwrap_or(0);
    let reseed = |seed| Step { at_us: now_us + 1, id: last + 1, what: What::Reseed { seed } };
    match branch {
        Branch::Cut => {}
        Branch::Luck(seed) => {
            fork.steps.push(reseed(seed));
            fork.steps.extend(of.steps.iter().filter(|step| !is_before(step)));
        }
        Branch::Steps(seed) => {
            fork.steps.push(reseed(seed));
            for Step { at_us, id, what } in steps_of(of, seed) {
                let what = moved(&what, last + 1)?;
                fork.steps.push(Step { at_us: now_us + 1 + at_us, id: last + 1 + id, what });
            }
        }
    }
    if fork.steps.last().is_some_and(|step| step.at_us > TIME_LIMIT_US) {
        return Err(format!("its last step would be later than {TIME_LIMIT_US} us, which is the most"));
    }
    Ok(fork)
}

/// A step whose number, and those that it names, are higher by so much.
fn moved(what: &What, by: u32) -> Result<What, String> {
    let fields = What::VERBS.get(what.number()).map_or(&[][..], |(_, fields)| fields);
    let text = what.to_string();
    let words = text.split(' ').skip(1).zip(fields).map(|(word, field)| match word.parse::<u32>() {
        Ok(step) if ["step", "call"].contains(field) => (step + by).to_string(),
        Ok(_) | Err(_) => word.to_owned(),
    });
    let words: Vec<_> = words.collect();
    What::parse(what.verb(), &words.iter().map(String::as_str).collect::<Vec<_>>())
}
