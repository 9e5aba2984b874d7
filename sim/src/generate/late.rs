//! A Hello that comes late, laid over a schedule that has everything else: a client's process dies while its Hello is still under way
//! on a slow network, and the next process says its own on a fast one, which comes first. The connection of the one that has died is
//! open for the server all that time.

use super::steps::{client_of, node};
use crate::choice::Choices;
use crate::schedule::{ClientKind, Schedule, Step, What, Whose};

/// How long the first process is down, in microseconds.
const FIRST_DOWN_US: u64 = 1_000;

/// Draws whether there is such a Hello, and adds it.
pub(super) fn add_late_hello(choices: &mut Choices, schedule: &mut Schedule, profile: &str) {
    if !matches!(profile, "default" | "small" | "storm" | "sessions") || schedule.steps.is_empty() {
        return;
    }
    // Where the newest connection of a user takes the place of the others, nothing is heard over those any more.
    let s = &schedule.settings;
    if s.newest_wins == 1 || s.connections_per_user < 4 {
        return;
    }
    // Zeros mean none: what a fuzzer's bytes meant without it they go on meaning.
    if choices.chance(850) {
        return;
    }
    let Some(client) = client_of(choices, schedule, ClientKind::Session) else { return };
    let place = choices.below(schedule.steps.len() as u64) as usize;
    let begin_us = schedule.steps.get(place).map_or(0, |step| step.at_us) + choices.below(1_000);
    let down_us = choices.between(1_000, 50_000);
    let node = node(choices, schedule);
    // The longest that a frame is on its way, and how much longer than all that the next process needs until it is heard: the pause
    // before it dials, its handshake there and back, and its Hello.
    let way_us = schedule.settings.net_delay_us + schedule.settings.net_jitter_us;
    let slow_us = down_us + 6 * way_us + 1_000;
    // The first process has said Hello by then. That it has ended arrives after that.
    let dies_us = begin_us + FIRST_DOWN_US + 2 * slow_us + 3 * way_us;
    let network = |slow_us: u64| What::Net { whose: Whose::One(client), slow_us, jitter_us: 0 };
    let steps = [
        (begin_us, network(slow_us)),
        (begin_us, What::Connect { client, node }),
        (begin_us, What::Die { client, actions: 0, down_us: FIRST_DOWN_US }),
        (dies_us, What::Die { client, actions: 0, down_us }),
        (dies_us, network(0)),
    ];
    // What is there already keeps its number, and comes first at the same time.
    let first = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0) + 1;
    schedule.steps.extend(steps.into_iter().zip(first..).map(|((at_us, what), id)| Step { at_us, id, what }));
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
}
