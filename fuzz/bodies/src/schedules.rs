//! Whole worlds of the simulator.

use switchboard_sim::choice::keyed;
use switchboard_sim::generate::{PROFILES, Sources, from_sources};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::world::{Options, execute};

/// Everything that the simulator checks holds in the world whose choices these bytes are.
pub fn schedules(data: &[u8]) {
    let Some(schedule) = schedule(data) else { return };
    assert_eq!(schedule.check(), Ok(()), "{schedule}");
    let outcome = execute(&schedule, Options::default());
    if let Some(violation) = outcome.violation {
        panic!("{violation}\n{schedule}");
    }
}

/// The schedule, for `switchboard-sim replay` and `shrink`.
pub(crate) fn show(data: &[u8]) -> String {
    schedule(data).map_or_else(|| "; too short\n".to_owned(), |schedule| schedule.to_string())
}

fn schedule(data: &[u8]) -> Option<Schedule> {
    // Those for measuring are large and all alike.
    let profiles: Vec<_> = PROFILES.iter().filter(|(name, _)| !name.starts_with("bench")).collect();
    let (first, rest) = data.split_first()?;
    let (profile, _) = profiles.get(usize::from(*first) % profiles.len())?;
    // What is keyed by the seed is other as soon as any byte is.
    let seed = data.iter().fold(0, |seed, byte| keyed(seed, u64::from(*byte), 0));
    Some(from_sources(Sources::from_bytes(rest), seed, profile))
}
