//! From choices to a schedule: a schedule has times and no choices, so what was chosen to arrive first must be
//! brought about by when the steps are. Whether it was, executing it tells.

use super::{
    Counterexample, Space,
    walk::{moves, with_worlds},
};
use crate::{
    canaries::WithBug,
    choice::Choices,
    runner::execute_caught,
    schedule::{Schedule, Settings, Step, What},
    world::{Move, Options},
};

/// Times between two steps, in microseconds: nothing arrives, what clients send arrives, and everything does.
const GAPS_US: [u64; 3] = [10, 1_000, 50_000];

/// A schedule of the same steps that breaks the same check, if the times of one can bring that about.
#[must_use]
pub fn as_schedule(space: &Space, found: &Counterexample) -> Option<Schedule> {
    let steps = steps(space, &found.choices)?;
    let mut schedule = space.schedule().ok()?;
    let defaults = Settings::default();
    schedule.settings = Settings {
        net_delay_us: 100,
        store_delay_us: 5_000,
        bus_delay_us: 2_000,
        messages_per_second: defaults.messages_per_second,
        bytes_per_second: defaults.bytes_per_second,
        ..schedule.settings
    };
    // So many would take too long to try.
    if steps.len() > 8 {
        return None;
    }
    let mut gaps = Choices::exhaustive();
    loop {
        let mut at_us = 0;
        schedule.steps.clear();
        for (id, (waited_us, what)) in steps.iter().enumerate() {
            at_us += waited_us + if id == 0 { 0 } else { GAPS_US[gaps.below(GAPS_US.len() as u64) as usize] };
            schedule.steps.push(Step { at_us, id: id as u32 + 1, what: *what });
        }
        let options = Options { sweep_every: 1, ..Options::default() };
        let outcome = match space.bug {
            None => execute_caught(&schedule, options),
            Some(bug) => WithBug(bug).execute(&schedule, options),
        };
        if outcome.violation.is_some_and(|violation| violation.check == found.violation.check) {
            return Some(schedule);
        }
        if !gaps.advance() {
            return None;
        }
    }
}

/// The steps among the choices, each with the time that passed by choice before it.
fn steps(space: &Space, choices: &[u64]) -> Option<Vec<(u64, What)>> {
    let walked = with_worlds(space, |worlds| {
        let mut world = worlds.make(false);
        let (mut steps, mut last_us) = (Vec::new(), 0);
        for choice in choices {
            let Some(chosen) = moves(space, &*world).get(*choice as usize).copied() else { break };
            if let Some(what) = step(chosen) {
                steps.push((world.now_us() - last_us, what));
                last_us = world.now_us();
            }
            if crate::runner::caught(|| world.go(chosen, true)).is_err() {
                break;
            }
        }
        Ok(steps)
    });
    walked.ok()
}

const fn step(chosen: Move) -> Option<What> {
    Some(match chosen {
        Move::Connect { client, node } => What::Connect { client, node },
        Move::Close { client } => What::Close { client },
        Move::Cut { client, seen } => What::Cut { client, seen, later_us: 0 },
        Move::Send { client, to } => What::Send { client, to, bytes: 0 },
        Move::Signal { client, to } => What::Signal { client, to, kind: Move::CALL },
        Move::Ghost { client } => What::Ghost { client, kind: 0 },
        Move::Member { user, group, member: true } => What::Join { user, group },
        Move::Member { user, group, member: false } => What::Part { user, group },
        Move::Crash { node } => What::Crash { node, down_us: 1_000 },
        Move::Stop { node } => What::Stop { node, down_us: 1_000 },
        Move::Arrive { .. } | Move::Serve { .. } | Move::Time => return None,
    })
}
