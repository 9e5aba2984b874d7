//! One step of each kind.

use super::{Sources, sessions::session_step, swarm::Class};
use crate::choice::Choices;
use crate::schedule::{
    Carrier, ClientKind, ClientNo, GroupNo, Misdeed, NodeNo, Schedule, Seen, To, UserNo, Ways, What, Whose,
};

pub(super) fn node(choices: &mut Choices, schedule: &Schedule) -> NodeNo {
    NodeNo(choices.below(schedule.settings.nodes) as u16)
}

pub(super) fn client(choices: &mut Choices, schedule: &Schedule) -> ClientNo {
    ClientNo(choices.below(schedule.clients.len() as u64) as u16)
}

/// One of the clients of a kind; none if there is none.
pub(super) fn client_of(choices: &mut Choices, schedule: &Schedule, kind: ClientKind) -> Option<ClientNo> {
    let clients = schedule.clients.iter().enumerate().filter(|(_, client)| client.kind == kind);
    let clients: Vec<u16> = clients.map(|(number, _)| number as u16).collect();
    let place = choices.below(clients.len() as u64) as usize;
    clients.get(place).copied().map(ClientNo)
}

pub(super) fn user(choices: &mut Choices, schedule: &Schedule) -> UserNo {
    UserNo(choices.below(schedule.settings.users) as u16)
}

pub(super) fn group(choices: &mut Choices, schedule: &Schedule) -> GroupNo {
    GroupNo(choices.below(schedule.all_groups() as u64) as u16)
}

/// Steps that belong together, each with the time since the one before.
pub(super) fn motif(sources: &mut Sources, schedule: &Schedule, class: Class) -> Vec<(u64, What)> {
    let w = &mut sources.workload;
    let s = &mut sources.scheduling;
    let (first, second) = (client(w, schedule), client(w, schedule));
    let user_of = |client: ClientNo| schedule.clients[client.index()].user;
    if class == Class::Ring {
        // A call that is answered about when it stops ringing.
        let ring_us = schedule.settings.ring_timeout_ms * 1_000;
        let dial = What::Signal { client: first, to: To::User(user_of(second)), kind: 10 };
        let answer = What::Signal { client: second, to: To::Nobody, kind: 11 };
        return vec![(0, dial), (ring_us / 2 + s.below(ring_us), answer)];
    }
    // A user comes and goes while their memberships change, and somebody writes to the group.
    let (user, group) = (user_of(first), group(w, schedule));
    let pace_us = [500, 20_000, 600_000][s.weighted(&[1, 2, 1])];
    (0..w.between(3, 7))
        .map(|_| {
            let what = match w.weighted(&[3, 3, 2, 1, 1, 4]) {
                0 => What::Join { user, group },
                1 => What::Part { user, group },
                2 => What::Connect { client: first, node: node(w, schedule) },
                3 => What::Close { client: first },
                4 => What::Avatar { user },
                _ => {
                    let client = if w.chance(300) { first } else { second };
                    What::Send { client, to: To::Group(group), bytes: 0 }
                }
            };
            (s.below(pace_us), what)
        })
        .collect()
}

/// One step of a class; none where the world has nothing that it could be about.
pub(super) fn step(sources: &mut Sources, schedule: &Schedule, class: Class) -> Option<What> {
    let w = &mut sources.workload;
    let f = &mut sources.faults;
    let long = schedule.settings.message_bytes / 2;
    Some(match class {
        Class::Connect => What::Connect { client: client(w, schedule), node: node(w, schedule) },
        Class::Close => What::Close { client: client(w, schedule) },
        Class::Direct => {
            let to = To::User(user(w, schedule));
            let bytes = match w.below(1000) {
                0..3 => schedule.settings.message_bytes,
                3..150 => w.below(long),
                _ => w.below(40),
            } as u32;
            What::Send { client: client(w, schedule), to, bytes }
        }
        Class::Group => {
            let to = To::Group(group(w, schedule));
            let bytes = if w.chance(150) { w.below(long) } else { w.below(40) } as u32;
            What::Send { client: client(w, schedule), to, bytes }
        }
        Class::Broadcast => {
            What::Send { client: client(w, schedule), to: To::Nobody, bytes: w.below(100) as u32 }
        }
        Class::Media => {
            let to = if w.chance(500) { To::User(user(w, schedule)) } else { To::Group(group(w, schedule)) };
            let carrier = if w.chance(800) { Carrier::Bytes } else { Carrier::DataUrl };
            What::Media { client: client(w, schedule), to, bytes: w.between(1, 300) as u32, carrier }
        }
        Class::Signal => {
            // The first users ring each other most, so that calls meet.
            let peer = UserNo(w.below(schedule.settings.users.min(3)) as u16);
            let to = if w.chance(400) { To::Nobody } else { To::User(peer) };
            let kind = [0, 10, 11, 13, 14, 6, 20][w.weighted(&[4, 3, 3, 1, 1, 1, 1])];
            let clients = schedule.clients.len() as u64;
            What::Signal { client: ClientNo(w.below(clients.min(4)) as u16), to, kind }
        }
        Class::Pictures => What::Pictures {
            client: client(w, schedule),
            to: if w.chance(100) { To::Nobody } else { To::User(user(w, schedule)) },
            kind: w.between(8, 9) as i32,
            count: w.between(1, 20) as u32,
            gap_us: [0, 1_000, 60_000][w.weighted(&[1, 1, 1])],
        },
        Class::Burst => {
            let to = if w.chance(700) { To::User(user(w, schedule)) } else { To::Group(group(w, schedule)) };
            let bytes = if w.chance(300) { w.below(long) } else { w.below(40) } as u32;
            let count = [w.between(2, 8), w.between(5, 60)][w.weighted(&[2, 1])] as u32;
            What::Burst { client: client(w, schedule), to, bytes, count }
        }
        // Made of several steps.
        Class::Ring | Class::Churn => return None,
        Class::Heartbeat => What::Heartbeat { client: client(w, schedule) },
        Class::Ping => What::Ping { client: client(w, schedule) },
        Class::Join => What::Join { user: user(w, schedule), group: group(w, schedule) },
        Class::Part => What::Part { user: user(w, schedule), group: group(w, schedule) },
        Class::Avatar => What::Avatar { user: user(w, schedule) },
        Class::Spoof => {
            let to = match w.below(3) {
                0 => To::Group(group(w, schedule)),
                1 => To::Nobody,
                _ => To::User(user(w, schedule)),
            };
            What::Spoof { client: client(w, schedule), claims: user(w, schedule), to }
        }
        // A file's message without a file.
        Class::Short => {
            What::Signal { client: client(w, schedule), to: To::User(user(w, schedule)), kind: 2 }
        }
        Class::Garbage => What::Garbage { client: client(w, schedule), kind: f.below(6) as u32 },
        Class::Nowhere => What::Nowhere { client: client(w, schedule) },
        Class::Misbehave => {
            let how = [Misdeed::Framing, Misdeed::Text, Misdeed::Utf8, Misdeed::Large, Misdeed::Budget];
            What::Misbehave { client: client(w, schedule), how: how[f.below(5) as usize] }
        }
        Class::Net => What::Net {
            whose: if f.chance(300) { Whose::All } else { Whose::One(client(f, schedule)) },
            slow_us: [0, 5_000, 300_000][f.weighted(&[2, 2, 1])],
            jitter_us: [0, 5_000, 300_000, 2_000_000][f.weighted(&[3, 2, 2, 1])],
        },
        Class::Garble => What::Garble { node: node(f, schedule) },
        Class::Cut => {
            let seen = [Seen::Server, Seen::Client, Seen::Both, Seen::Nobody][f.below(4) as usize];
            let later_us = match f.chance(500) {
                // About when whoever dials again at once arrives.
                true if schedule.profile == "original" => schedule.settings.net_delay_us + f.below(16),
                true => f.below(1_000_000),
                false => 0,
            };
            What::Cut { client: client(f, schedule), seen, later_us }
        }
        Class::Pause => What::Pause { client: client(f, schedule) },
        Class::Resume => What::Resume { client: client(f, schedule) },
        Class::Ghost => What::Ghost { client: client(f, schedule), kind: f.below(6) as u32 },
        Class::Store => What::Store {
            slow_us: [0, 10_000, 1_000_000, 5_000_000][f.weighted(&[2, 3, 2, 1])],
            fail_permille: if f.chance(400) { f.below(1000) } else { 0 },
            lose_permille: if f.chance(300) { f.below(1000) } else { 0 },
            reorder_permille: if f.chance(500) { f.below(1001) } else { 0 },
        },
        Class::Bus => What::Bus {
            slow_us: [0, 10_000, 1_000_000][f.weighted(&[2, 2, 1])],
            drop_permille: if f.chance(400) { f.below(1000) } else { 0 },
            repeat_permille: if f.chance(400) { f.below(1000) } else { 0 },
            reorder_permille: if f.chance(400) { f.below(1001) } else { 0 },
        },
        Class::Partition => {
            let (from, into) = (node(f, schedule), node(f, schedule));
            let ways = if f.chance(500) { Ways::Both } else { Ways::One };
            return (from != into).then_some(What::Partition { from, into, ways });
        }
        Class::Rejoin => What::Rejoin {},
        Class::Crash => What::Crash { node: node(f, schedule), down_us: f.between(1_000, 3_000_000) },
        Class::Stop => What::Stop { node: node(f, schedule), down_us: f.between(1_000, 3_000_000) },
        Class::Rolling => What::Rolling { gap_us: f.between(10_000, 2_000_000) },
        Class::Clock => {
            let jump = f.below(20_000_000) as i64;
            What::Clock { node: node(f, schedule), jump_us: if f.chance(500) { -jump } else { jump } }
        }
        Class::Mass => What::Mass { node: node(f, schedule) },
        Class::Session(what) => return session_step(sources, schedule, what),
    })
}
