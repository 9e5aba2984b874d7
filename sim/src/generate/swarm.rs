//! Which kinds of steps there are, and which of them a seed has how often.

use super::{BENCH, BENCH_LONG, Sources, is_bench};

/// What kinds of steps there are, and how often each is taken in a run where it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Connect,
    Close,
    Direct,
    Group,
    Broadcast,
    Media,
    Signal,
    Pictures,
    Burst,
    Ring,
    Churn,
    Heartbeat,
    Ping,
    Join,
    Part,
    Avatar,
    Spoof,
    Short,
    Garbage,
    Nowhere,
    Misbehave,
    Cut,
    Net,
    Pause,
    Resume,
    Ghost,
    Store,
    Bus,
    Garble,
    Partition,
    Rejoin,
    Crash,
    Stop,
    Rolling,
    Clock,
    Mass,
    Restore,
    Session(Session),
}

/// What only sessions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    Fetch,
    Older,
    Resync,
    Edit,
    Recall,
    Change,
    Mark,
    OutOfTurn,
    Again,
    Alter,
    Invalid,
    Mislead,
    Die,
    Wipe,
}

/// Workload first: class, usual weight.
const WORKLOAD: &[(Class, u64)] = &[
    (Class::Connect, 14),
    (Class::Close, 3),
    (Class::Direct, 30),
    (Class::Group, 20),
    (Class::Broadcast, 4),
    (Class::Media, 6),
    (Class::Signal, 14),
    (Class::Pictures, 4),
    (Class::Burst, 2),
    (Class::Ring, 2),
    (Class::Churn, 3),
    (Class::Heartbeat, 2),
    (Class::Ping, 2),
    (Class::Join, 4),
    (Class::Part, 4),
    (Class::Avatar, 2),
];

/// Faults: class, usual weight.
const FAULTS: &[(Class, u64)] = &[
    (Class::Spoof, 5),
    (Class::Garbage, 2),
    (Class::Nowhere, 1),
    (Class::Misbehave, 1),
    (Class::Cut, 8),
    (Class::Net, 3),
    (Class::Pause, 6),
    (Class::Resume, 5),
    (Class::Ghost, 5),
    (Class::Store, 4),
    (Class::Bus, 4),
    (Class::Garble, 1),
    (Class::Partition, 3),
    (Class::Rejoin, 2),
    (Class::Crash, 2),
    (Class::Stop, 2),
    (Class::Rolling, 1),
    (Class::Clock, 2),
    (Class::Mass, 1),
    (Class::Restore, 2),
];

/// The same of what only sessions do.
const SESSION_WORKLOAD: &[(Session, u64)] = &[
    (Session::Fetch, 6),
    (Session::Older, 4),
    (Session::Resync, 3),
    (Session::Edit, 6),
    (Session::Recall, 3),
    (Session::Change, 10),
    (Session::Mark, 8),
];
const SESSION_FAULTS: &[(Session, u64)] = &[
    (Session::OutOfTurn, 2),
    (Session::Again, 5),
    (Session::Alter, 3),
    (Session::Invalid, 3),
    (Session::Mislead, 2),
    (Session::Die, 6),
    (Session::Wipe, 1),
];

/// Which faults a profile has at all.
fn possible(profile: &str, class: Class) -> bool {
    match profile {
        "calm" | BENCH | BENCH_LONG => false,
        "storm" => matches!(
            class,
            Class::Cut
                | Class::Ghost
                | Class::Crash
                | Class::Stop
                | Class::Rolling
                | Class::Mass
                | Class::Clock
                | Class::Net
        ),
        "readers" => matches!(class, Class::Pause | Class::Resume | Class::Cut | Class::Net),
        "resend" => matches!(
            class,
            Class::Cut
                | Class::Ghost
                | Class::Crash
                | Class::Stop
                | Class::Net
                | Class::Pause
                | Class::Resume
                | Class::Store
                | Class::Bus
                | Class::Mass
                | Class::Session(_)
        ),
        "rates" => matches!(class, Class::Misbehave | Class::Nowhere | Class::Net | Class::Cut),
        "store" => matches!(
            class,
            Class::Store
                | Class::Cut
                | Class::Crash
                | Class::Restore
                | Class::Session(Session::Die | Session::Again | Session::Alter)
        ),
        "bus" => matches!(
            class,
            Class::Bus
                | Class::Garble
                | Class::Partition
                | Class::Rejoin
                | Class::Cut
                | Class::Crash
                | Class::Session(Session::Mislead)
        ),
        _ => true,
    }
}

/// Draws which kinds are on, and their weights.
pub(super) fn swarm(sources: &mut Sources, profile: &str, has_sessions: bool) -> Vec<(Class, u64)> {
    let mut weights = Vec::new();
    for (class, usual) in WORKLOAD {
        let on = sources.workload.chance(if *class == Class::Connect { 1000 } else { 750 });
        let weight = sources.workload.between(1, 2 * usual);
        let in_bench = !matches!(class, Class::Burst | Class::Ring | Class::Churn);
        let on = if is_bench(profile) { in_bench } else { on };
        weights.extend(on.then_some((*class, weight)));
    }
    for (class, usual) in FAULTS {
        // After a restore nothing is as it was, so most worlds have none.
        let permille = if *class == Class::Restore && profile != "sessions" { 150 } else { 450 };
        let on = sources.faults.chance(permille);
        let weight = sources.faults.between(1, 2 * usual);
        weights.extend((on && possible(profile, *class)).then_some((*class, weight)));
    }
    if has_sessions {
        for (what, usual) in SESSION_WORKLOAD {
            let weight = sources.workload.between(1, 2 * usual);
            weights.extend(sources.workload.chance(600).then_some((Class::Session(*what), weight)));
        }
        for (what, usual) in SESSION_FAULTS {
            let class = Class::Session(*what);
            let weight = sources.faults.between(1, 2 * usual);
            let on = sources.faults.chance(500) && possible(profile, class);
            weights.extend(on.then_some((class, weight)));
        }
    }
    if profile == "original" {
        weights.extend(sources.faults.chance(300).then_some((Class::Short, 3)));
    }
    weights
}
