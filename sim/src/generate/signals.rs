//! What sessions say that is not stored, laid over a schedule that has everything else: the choices are of a source of
//! their own, so the rest stays as it is.

use super::steps::{client_of, group, user};
use crate::choice::Choices;
use crate::schedule::{ClientKind, ClientNo, Schedule, Step, To, What};

/// Adds what a profile has of it to a schedule.
pub(super) fn add_signals(signals: &mut Choices, schedule: &mut Schedule, profile: &str) {
    let has_sessions = schedule.clients.iter().any(|client| client.kind.is_session());
    if !has_sessions || matches!(profile, "classic" | "original") {
        return;
    }
    let mut laid = Vec::new();
    if signals.chance(350) {
        add_typing(signals, schedule, &mut laid);
    }
    // What is there already keeps its number, and comes first at the same time.
    let first = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0) + 1;
    let laid = laid.into_iter().zip(first..).map(|((at_us, what), id)| Step { at_us, id, what });
    schedule.steps.extend(laid);
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
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
fn add_typing(signals: &mut Choices, schedule: &Schedule, laid: &mut Vec<(u64, What)>) {
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
        laid.push((at_us, What::Typing { client, to, types: 1, claims }));
        if signals.chance(600) {
            let later_us = [5_000, 300_000, 5_000_000][signals.weighted(&[2, 2, 1])];
            let at_us = at_us + signals.below(later_us);
            laid.push((at_us, What::Typing { client, to, types: 0, claims }));
        }
    }
}
