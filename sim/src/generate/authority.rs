//! What those who run the servers do, laid over a schedule that has everything else.

use super::steps::{client, user};
use crate::choice::Choices;
use crate::schedule::{Schedule, Step, To, What};

/// Adds what a profile has of it to a schedule.
pub(super) fn add_authority(choices: &mut Choices, schedule: &mut Schedule, profile: &str) {
    if schedule.steps.is_empty() || matches!(profile, "original" | "calm" | "bench" | "bench-long") {
        return;
    }
    if !choices.chance(200) {
        return;
    }
    let last = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0);
    for nth in 1..=choices.between(1, 6) as u32 {
        let place = choices.below(schedule.steps.len() as u64) as usize;
        let at_us = schedule.steps.get(place).map_or(0, |step| step.at_us) + choices.below(2_000);
        // Who is thrown out for good is not heard any more, so most may come back.
        let why = choices.weighted(&[1, 1, 4]) as u32;
        let what = match choices.weighted(&[3, 2, 5]) {
            0 => What::Revoke { client: client(choices, schedule), why },
            1 => What::Expel { user: user(choices, schedule), why },
            _ => {
                let to = if choices.chance(500) { To::User(user(choices, schedule)) } else { To::Nobody };
                What::Announce { to, bytes: [0, 40, 700][choices.weighted(&[4, 2, 1])] }
            }
        };
        schedule.steps.push(Step { at_us, id: last + nth, what });
    }
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
}
