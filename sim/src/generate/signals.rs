//! What sessions say that is not stored, laid over a schedule that has everything else: the choices are of a source of
//! their own, so the rest stays as it is.

use super::steps::{client, client_of, group, node, user};
use crate::choice::Choices;
use crate::schedule::{ClientKind, ClientNo, NodeNo, Schedule, Seen, Step, To, UserNo, What};
use crate::world::{MISCALL_KINDS, ODD_KINDS};

/// Adds what a profile has of it to a schedule.
pub(super) fn add_signals(signals: &mut Choices, schedule: &mut Schedule, profile: &str) {
    let has_sessions = schedule.clients.iter().any(|client| client.kind.is_session());
    if !has_sessions || matches!(profile, "classic" | "original") {
        return;
    }
    // What is there already keeps its number, and comes first at the same time.
    let first = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0) + 1;
    let mut laid = Laid { first, steps: Vec::new() };
    if signals.chance(350) {
        add_typing(signals, schedule, &mut laid);
    }
    if signals.chance(400) {
        call_limits(signals, schedule);
        for _ in 0..signals.between(1, 8) {
            add_call(signals, schedule, &mut laid, profile);
        }
        if signals.chance(400) {
            add_last_call(signals, schedule, &mut laid, profile);
        }
    }
    if signals.chance(400) {
        presence_limits(signals, schedule);
        add_presence(signals, schedule, &mut laid);
        if signals.chance(300) && matches!(profile, "default" | "small" | "sessions" | "readers") {
            add_lag(signals, schedule, &mut laid);
        }
    }
    if signals.chance(300) {
        add_odd(signals, schedule, &mut laid);
    }
    schedule.steps.extend(laid.steps);
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
}

/// What is laid over a schedule.
struct Laid {
    first: u32,
    steps: Vec<Step>,
}

impl Laid {
    /// Adds a step. Gives its number.
    fn push(&mut self, at_us: u64, what: What) -> u32 {
        let id = self.first + self.steps.len() as u32;
        self.steps.push(Step { at_us, id, what });
        id
    }
}

/// A time in the course of a schedule.
fn moment(signals: &mut Choices, schedule: &Schedule) -> u64 {
    let place = signals.below(schedule.steps.len() as u64) as usize;
    schedule.steps.get(place).map_or(0, |step| step.at_us) + signals.below(1_000)
}

/// One of the sessions.
fn session(signals: &mut Choices, schedule: &Schedule) -> Option<ClientNo> {
    let kinds = [ClientKind::Session, ClientKind::RawSession];
    let first = signals.below(2) as usize;
    let one = client_of(signals, schedule, kinds[first]);
    one.or_else(|| client_of(signals, schedule, kinds[1 - first]))
}

/// Somebody types here and there, in conversations of their own or not, and stops, or just falls silent.
fn add_typing(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid) {
    for _ in 0..signals.between(1, 12) {
        let Some(client) = session(signals, schedule) else { return };
        let own = schedule.clients[client.index()].user;
        let to = match signals.weighted(&[10, 10, 1]) {
            0 => To::User(user(signals, schedule)),
            1 => To::Group(group(signals, schedule)),
            _ => To::Nobody,
        };
        let claims = if signals.chance(200) { user(signals, schedule) } else { own };
        let at_us = moment(signals, schedule);
        laid.push(at_us, What::Typing { client, to, types: 1, claims });
        if signals.chance(600) {
            let later_us = [5_000, 300_000, 5_000_000][signals.weighted(&[2, 2, 1])];
            let at_us = at_us + signals.below(later_us);
            laid.push(at_us, What::Typing { client, to, types: 0, claims });
        }
    }
}

/// Times short enough to be met, and limits that are.
fn call_limits(signals: &mut Choices, schedule: &mut Schedule) {
    let s = &mut schedule.settings;
    s.call_grace_ms = signals.between(300, 4_000);
    s.peer_timeout_ms = signals.between(300, 2_000);
    if signals.chance(600) {
        s.ring_timeout_ms = signals.between(200, 4_000);
    }
    if signals.chance(50) {
        s.calls = signals.between(1, 2);
    }
}

/// A little later, by very different times.
fn later(signals: &mut Choices, at_us: u64) -> u64 {
    let most_us = [200, 10_000, 200_000, 3_000_000][signals.weighted(&[1, 3, 4, 1])];
    at_us + signals.below(most_us)
}

/// One of a user's sessions.
fn session_of(signals: &mut Choices, schedule: &Schedule, one: ClientNo) -> ClientNo {
    let user = schedule.clients[one.index()].user;
    let own = schedule.clients.iter().enumerate();
    let own = own.filter(|(_, client)| client.user == user && client.kind.is_session());
    let own: Vec<u16> = own.map(|(number, _)| number as u16).collect();
    own.get(signals.below(own.len() as u64) as usize).copied().map_or(one, ClientNo)
}

/// Somebody rings somebody, and what may come of it: it is taken, by one or by two, declined, or not heard; there is
/// another call in its way; something is said; it is hung up, or one side is cut off, and comes back or does not.
fn add_call(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid, profile: &str) {
    let (Some(first), Some(mut second)) = (session(signals, schedule), session(signals, schedule)) else {
        return;
    };
    let user_of = |client: ClientNo| schedule.clients[client.index()].user;
    for _ in 0..3 {
        if user_of(second) == user_of(first) {
            second = session(signals, schedule).unwrap_or(second);
        }
    }
    let to = if signals.chance(900) { user_of(second) } else { user(signals, schedule) };
    // Late enough that most are welcome, or not.
    let at_us = moment(signals, schedule) + [0, 300_000][signals.weighted(&[1, 2])];
    let call = laid.push(at_us, What::Ring { client: first, to });
    if signals.chance(250) {
        let back_us = at_us + [0, 20, 2_000, 40_000][signals.below(4) as usize];
        laid.push(back_us, What::Ring { client: second, to: user_of(first) });
    }
    if signals.chance(200)
        && let Some(third) = session(signals, schedule)
    {
        let other = if signals.chance(500) { user_of(first) } else { user_of(second) };
        let rings_us = later(signals, at_us);
        laid.push(rings_us, What::Ring { client: third, to: other });
    }
    let taker = session_of(signals, schedule, second);
    if signals.chance(300) {
        // Too early, which only raw sessions are.
        let early_us = later(signals, at_us);
        laid.push(early_us, What::Data { client: taker, call, count: 1, bytes: 0 });
    }
    let mut at_us = later(signals, at_us);
    match signals.weighted(&[12, 3, 3, 3]) {
        0 => {
            laid.push(at_us, What::Accept { client: taker, call });
        }
        1 => {
            laid.push(at_us, What::Accept { client: taker, call });
            let client = session_of(signals, schedule, second);
            let too_us = at_us + [0, 300, 20_000][signals.below(3) as usize];
            laid.push(too_us, What::Accept { client, call });
        }
        2 => {
            laid.push(at_us, What::Decline { client: taker, call });
        }
        _ => {}
    }
    for _ in 0..signals.weighted(&[3, 2, 2, 1, 1]) {
        at_us = later(signals, at_us);
        let client = match signals.weighted(&[5, 5, 1, 1]) {
            0 => first,
            1 => taker,
            2 => session_of(signals, schedule, first),
            _ => session(signals, schedule).unwrap_or(first),
        };
        let bytes = [0, schedule.settings.message_bytes as u32 / 2][signals.weighted(&[4, 1])];
        let what = match signals.weighted(&[8, 1, 1]) {
            0 => What::Data { client, call, count: signals.between(1, 5) as u32, bytes },
            1 => What::Accept { client, call },
            _ => What::Miscall { client, call, kind: signals.below(MISCALL_KINDS.into()) as u32 },
        };
        laid.push(at_us, what);
    }
    at_us = later(signals, at_us);
    let client = if signals.chance(500) { first } else { taker };
    // Where there are several nodes, one that dies leaves the other side alone.
    let crashes = if schedule.settings.nodes > 1 { 8 } else { 1 };
    match signals.weighted(&[4, 4, crashes, 2]) {
        0 => {
            laid.push(at_us, What::HangUp { client, call });
        }
        2 if matches!(profile, "default" | "sessions" | "storm" | "bus" | "store") => {
            let node = node_of(schedule, client, at_us).unwrap_or(NodeNo(0));
            laid.push(at_us, What::Crash { node, down_us: signals.between(1_000, 5_000_000) });
        }
        1 if !matches!(profile, "calm" | "rates") => lose(signals, schedule, laid, client, at_us),
        _ => {}
    }
}

/// Where a client has dialled last before a time.
fn node_of(schedule: &Schedule, client: ClientNo, at_us: u64) -> Option<NodeNo> {
    schedule.steps.iter().rev().filter(|step| step.at_us <= at_us).find_map(|step| {
        let What::Connect { client: other, node } = step.what else { return None };
        (other == client).then_some(node)
    })
}

/// A session is cut off, and comes back to where it was, in time or too late, or elsewhere.
fn lose(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid, client: ClientNo, at_us: u64) {
    let seen = [Seen::Server, Seen::Client, Seen::Both][signals.below(3) as usize];
    laid.push(at_us, What::Cut { client, seen, later_us: signals.below(300_000) });
    if schedule.clients[client.index()].kind != ClientKind::RawSession || signals.chance(300) {
        return;
    }
    let node = node_of(schedule, client, at_us).filter(|_| signals.chance(800)).unwrap_or(NodeNo(0));
    let grace_us = schedule.settings.call_grace_ms * 1000;
    let back_us = at_us + 1 + signals.below(grace_us + grace_us / 2);
    laid.push(back_us, What::Connect { client, node });
    laid.push(back_us, What::Hello { client, cursors: 0 });
}

/// Who is here is told, after times short enough to be met.
fn presence_limits(signals: &mut Choices, schedule: &mut Schedule) {
    let s = &mut schedule.settings;
    s.presence = 1;
    s.presence_grace_ms = if signals.chance(100) { 0 } else { signals.between(100, 4_000) };
    s.presence_refresh_ms = signals.between(500, 4_000);
    s.peer_timeout_ms = signals.between(300, 2_000);
    if signals.chance(300) {
        s.watches = signals.between(1, 3);
    }
}

/// Sessions watch others: a few, all, more than there are or may be, or nobody any more. Some whom they watch leave, for a
/// while or for good.
fn add_presence(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid) {
    let users = schedule.settings.users;
    for _ in 0..signals.between(1, 8) {
        let Some(client) = session(signals, schedule) else { return };
        let first = user(signals, schedule);
        let count = [users, 1, 2, 0, 40][signals.weighted(&[6, 3, 3, 1, 1])];
        let first = if count == users { UserNo(0) } else { first };
        let at_us = moment(signals, schedule);
        laid.push(at_us, What::Watch { client, first, count: count as u32 });
    }
    for _ in 0..signals.below(6) {
        let client = client(signals, schedule);
        let at_us = moment(signals, schedule);
        laid.push(at_us, What::Close { client });
        if signals.chance(500) {
            let most_us = 3_000 * schedule.settings.presence_grace_ms / 2 + 10_000;
            let back_us = at_us + signals.below(most_us);
            let node = node(signals, schedule);
            laid.push(back_us, What::Connect { client, node });
            laid.push(back_us, What::Hello { client, cursors: 0 });
        }
    }
}

/// A session that watches everybody does not read for a while in which much is said to it, and somebody comes or goes.
fn add_lag(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid) {
    let Some(watcher) = session(signals, schedule) else { return };
    let (sender, other) = (client(signals, schedule), client(signals, schedule));
    let user_of = |client: ClientNo| schedule.clients[client.index()].user;
    if user_of(other) == user_of(watcher) || watcher == sender {
        return;
    }
    let at_us = moment(signals, schedule);
    let count = schedule.settings.users.min(40) as u32;
    laid.push(at_us, What::Watch { client: watcher, first: UserNo(0), count });
    let at_us = later(signals, at_us);
    laid.push(at_us, What::Pause { client: watcher });
    let (to, bytes) = (To::User(user_of(watcher)), schedule.settings.message_bytes as u32 / 2);
    laid.push(at_us + 1_000, What::Burst { client: sender, to, bytes, count: 12 });
    let at_us = at_us + 50_000;
    if signals.chance(500) {
        laid.push(at_us, What::Close { client: other });
    } else {
        laid.push(at_us, What::Connect { client: other, node: node(signals, schedule) });
        laid.push(at_us, What::Hello { client: other, cursors: 0 });
    }
    let most_us = 2_000 * schedule.settings.presence_grace_ms + 1_000_000;
    laid.push(at_us + signals.below(most_us), What::Resume { client: watcher });
}

/// At the end, when nothing else disturbs: a call that is taken, and one side's node dies, or its device is cut off.
fn add_last_call(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid, profile: &str) {
    let (Some(first), Some(second)) = (session(signals, schedule), session(signals, schedule)) else {
        return;
    };
    let last_us = schedule.steps.iter().chain(&laid.steps).map(|step| step.at_us).max().unwrap_or(0);
    let to = schedule.clients[second.index()].user;
    let at_us = last_us + 300_000;
    let call = laid.push(at_us, What::Ring { client: first, to });
    laid.push(at_us + 200_000, What::Accept { client: second, call });
    let client = if signals.chance(500) { first } else { second };
    let at_us = at_us + 400_000;
    let dies = schedule.settings.nodes > 1 && signals.chance(600);
    if dies && matches!(profile, "default" | "sessions" | "storm" | "bus" | "store") {
        let node = node_of(schedule, client, at_us).unwrap_or(NodeNo(0));
        laid.push(at_us, What::Crash { node, down_us: signals.between(1_000, 5_000_000) });
    } else if !matches!(profile, "calm" | "rates") {
        lose(signals, schedule, laid, client, at_us);
    }
}

/// Raw sessions say what cannot be, of calls that never were and of everything else, in turn or not.
fn add_odd(signals: &mut Choices, schedule: &Schedule, laid: &mut Laid) {
    for _ in 0..signals.between(1, 6) {
        let Some(client) = client_of(signals, schedule, ClientKind::RawSession) else { return };
        let at_us = moment(signals, schedule);
        let what = match signals.weighted(&[2, 1]) {
            0 => What::Odd { client, kind: signals.below(ODD_KINDS.into()) as u32 },
            _ => What::Miscall { client, call: 0, kind: signals.below(MISCALL_KINDS.into()) as u32 },
        };
        laid.push(at_us, what);
    }
}
