//! From choices to a schedule, swarm style: each seed draws the world, which kinds of workload and faults are
//! on at all, and how often each of them happens.

mod authority;
mod changes;
mod late;
mod resend;
mod sessions;
mod signals;
mod steps;
mod swarm;
mod world;

use signals::add_signals;
use steps::{motif, node, step, user};
use swarm::{Class, swarm};
use world::world;

use crate::choice::{Choices, Stream};
use crate::schedule::{ClientKind, ClientNo, Schedule, Settings, Step, To, What};
use crate::world::Target;

/// The profiles: their names and what they are for.
pub const PROFILES: &[(&str, &str)] = &[
    ("default", "everything, swarm style"),
    ("classic", "the same without sessions"),
    ("calm", "workload without faults"),
    ("small", "one node, few users, everything: the shortest failures"),
    ("storm", "connections lost in every way, stale events, nodes that die"),
    ("readers", "clients that stop reading, small outboxes, live pictures"),
    ("store", "a store that is slow, fails, forgets and reorders"),
    ("bus", "many nodes over a bus that loses, repeats and reorders"),
    ("rates", "clients that send faster than they may, on networks that become slow"),
    (
        "sessions",
        "the session protocol alone: devices that die, networks and stores that fail, hostile clients",
    ),
    ("resend", "classic clients that lose connections and return: what they have missed is sent again"),
    (
        "original",
        "what the original server can be given: raw clients, one shard a node, things at the same moment",
    ),
    ("bench", "3 nodes, 50 clients, no faults: for measuring"),
    ("bench-long", "the worlds of bench with ten times as many steps"),
];

/// The choices of one schedule, one source for each purpose.
#[derive(Debug)]
pub struct Sources {
    /// Who says what to whom.
    pub workload: Choices,
    /// The network's delays.
    pub network: Choices,
    /// What breaks.
    pub faults: Choices,
    /// When.
    pub scheduling: Choices,
    /// What sessions say that is not stored, and when.
    pub signals: Choices,
}

impl Sources {
    /// Independent sources that follow from one seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            workload: Choices::from_seed(seed, Stream::Workload),
            network: Choices::from_seed(seed, Stream::Network),
            faults: Choices::from_seed(seed, Stream::Faults),
            scheduling: Choices::from_seed(seed, Stream::Scheduling),
            signals: Choices::from_seed(seed, Stream::Signals),
        }
    }

    /// Sources that share the bytes of a fuzzer, a byte in turn each.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let part = |first: usize| {
            let bytes: Vec<u8> = bytes.iter().skip(first).step_by(5).copied().collect();
            Choices::from_bytes(&bytes)
        };
        Self { workload: part(0), network: part(1), faults: part(2), scheduling: part(3), signals: part(4) }
    }
}

/// The schedule of a seed; none if there is no profile of this name.
#[must_use]
pub fn generate(seed: u64, profile: &str) -> Option<Schedule> {
    PROFILES
        .iter()
        .any(|(name, _)| *name == profile)
        .then(|| from_sources(Sources::from_seed(seed), seed, profile))
}

/// The schedule of a seed for what is to stand in the shards; none if there is no profile of this name.
#[must_use]
pub fn generate_for(target: Target, seed: u64, profile: &str) -> Option<Schedule> {
    let mut schedule = generate(seed, profile)?;
    if target == Target::Original {
        suit_original(&mut schedule);
    }
    Some(schedule)
}

/// Takes away what the original server has not: shards, limits of connections, clients that wait for acknowledgements,
/// and a clock that can be set back.
fn suit_original(schedule: &mut Schedule) {
    let Settings { newest_wins, connections_per_user, .. } = Settings::default();
    let s = &mut schedule.settings;
    (s.shards, s.newest_wins, s.connections_per_user) = (1, newest_wins, connections_per_user);
    schedule.clients.iter_mut().for_each(|client| client.kind = ClientKind::Raw);
    schedule.steps.retain(|step| {
        !matches!(
            step.what,
            What::Clock { .. } | What::Ghost { .. } | What::Restore { .. } | What::Backup { .. }
        )
    });
}

/// The schedule of these choices.
#[must_use]
pub fn from_sources(mut sources: Sources, seed: u64, profile: &str) -> Schedule {
    let mut schedule = world(&mut sources, seed, profile);
    add_steps(&mut sources, &mut schedule, profile);
    schedule
}

/// Steps for another schedule's world, from a seed: the first is at its beginning.
pub(crate) fn steps_of(world: &Schedule, seed: u64) -> Vec<Step> {
    let mut schedule = Schedule { seed, steps: Vec::new(), ..world.clone() };
    add_steps(&mut Sources::from_seed(seed), &mut schedule, &world.profile);
    schedule.steps
}

fn add_steps(sources: &mut Sources, schedule: &mut Schedule, profile: &str) {
    let has_sessions = schedule.clients.iter().any(|client| client.kind.is_session());
    let weights = swarm(sources, profile, has_sessions);
    let steps = match profile {
        BENCH => 3_000,
        BENCH_LONG => 30_000,
        "small" | "original" => sources.scheduling.between(10, 60),
        _ => sources.scheduling.between(30, 180),
    };
    let pace_us = [2_000, 20_000, 200_000][sources.scheduling.weighted(&[2, 3, 2])];
    let mut at_us = 0;
    for number in 0..schedule.clients.len() {
        // Most are there from the beginning.
        if is_bench(profile) || sources.workload.chance(700) {
            let node = node(&mut sources.workload, schedule);
            at_us += sources.scheduling.below(500);
            push(schedule, at_us, What::Connect { client: ClientNo(number as u16), node });
            introduce(sources, schedule);
        }
    }
    for _ in 0..steps {
        at_us += match sources.scheduling.below(12) {
            0..3 if profile == "original" => sources.scheduling.below(3),
            0..4 => sources.scheduling.below(100),
            4..11 => sources.scheduling.below(pace_us),
            _ => sources.scheduling.below(pace_us * 20),
        };
        let class =
            weights[sources.workload.weighted(&weights.iter().map(|(_, w)| *w).collect::<Vec<_>>())].0;
        if matches!(class, Class::Churn | Class::Ring) {
            for (later_us, what) in motif(sources, schedule, class) {
                at_us += later_us;
                push(schedule, at_us, what);
            }
        } else if let Some(what) = step(sources, schedule, class) {
            push(schedule, at_us, what);
            introduce(sources, schedule);
            at_us = changes::follow(sources, schedule, at_us);
            // Whoever loses a connection dials again at once.
            if let What::Cut { client, .. } = what
                && profile == "original"
            {
                let node = node(&mut sources.faults, schedule);
                push(schedule, at_us, What::Connect { client, node });
            }
        }
    }
    add_signals(&mut sources.signals, schedule, profile);
    resend::add_resend(&mut sources.signals, schedule, profile);
    authority::add_authority(&mut sources.signals, schedule, profile);
    late::add_late_hello(&mut sources.signals, schedule, profile);
}

const BENCH: &str = "bench";
const BENCH_LONG: &str = "bench-long";

fn is_bench(profile: &str) -> bool {
    matches!(profile, BENCH | BENCH_LONG)
}

fn push(schedule: &mut Schedule, at_us: u64, what: What) {
    let id = schedule.steps.len() as u32 + 1;
    schedule.steps.push(Step { at_us, id, what });
}

/// A raw session that has just dialled says Hello, most of the time.
fn introduce(sources: &mut Sources, schedule: &mut Schedule) {
    let Some(Step { at_us, what: What::Connect { client, .. }, .. }) = schedule.steps.last().copied() else {
        return;
    };
    if schedule.clients[client.index()].kind != ClientKind::RawSession || sources.faults.chance(80) {
        return;
    }
    let cursors = sources.faults.weighted(&[6, 2, 1]);
    let cursors = [0, 7, 300][cursors];
    push(schedule, at_us, What::Hello { client, cursors });
    // What follows before the Welcome, or even before the user is loaded.
    if sources.workload.chance(300) {
        let to = To::User(user(&mut sources.workload, schedule));
        push(schedule, at_us, What::Burst { client, to, bytes: 0, count: 2 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_makes_schedules_that_can_be_executed() {
        for (profile, _) in PROFILES {
            // Those for measuring are large and all alike.
            let seeds = if is_bench(profile) { 1 } else { 200 };
            for seed in 0..seeds {
                let schedule = generate(seed, profile).unwrap();
                assert_eq!(schedule.check(), Ok(()), "{profile} {seed}");
                assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
            }
        }
    }

    #[test]
    fn any_bytes_make_a_schedule() {
        for bytes in [&[][..], &[255; 64], &[7; 1000]] {
            assert_eq!(from_sources(Sources::from_bytes(bytes), 1, "default").check(), Ok(()));
        }
    }
}
