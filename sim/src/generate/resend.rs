//! Worlds in which classic clients are sent again what they have missed, and losses at the worst moment, laid over a
//! schedule: what is said to a client while its receipt for earlier messages is on its way, and the connection is cut
//! before it arrives.

use super::is_bench;
use crate::choice::Choices;
use crate::schedule::{ClientNo, NodeNo, Schedule, Seen, Step, To, What};
use crate::world::RECEIPT_INTERVAL_MS;

/// Draws whether a world is one where something is sent again, and adds losses to it.
pub(super) fn add_resend(choices: &mut Choices, schedule: &mut Schedule, profile: &str) {
    let (resend_permille, loss_permille) = match profile {
        "resend" => (1000, 1000),
        _ if is_bench(profile) || profile == "original" => return,
        _ => (400, 300),
    };
    if !choices.chance(resend_permille) {
        return;
    }
    let settings = &mut schedule.settings;
    settings.resend_messages = if choices.chance(100) { choices.between(1, 8) } else { 1_000 };
    settings.resend_conversations = if choices.chance(60) { choices.between(1, 3) } else { 1_000 };
    let classic = schedule.clients.iter().enumerate().filter(|(_, client)| !client.kind.is_session());
    let classic: Vec<_> = classic.map(|(number, _)| ClientNo(number as u16)).collect();
    if classic.is_empty() || !choices.chance(loss_permille) {
        return;
    }
    let mut laid = Vec::new();
    for _ in 0..choices.between(1, 4) {
        let client = classic[choices.below(classic.len() as u64) as usize];
        let user = |client: &ClientNo| schedule.clients[client.index()].user;
        let other = classic.iter().find(|other| **other != client && user(other) == user(&client)).copied();
        add_loss(choices, schedule, client, other, &mut laid);
    }
    // What is there already keeps its number, and comes first at the same time.
    let first = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0) + 1;
    let laid = laid.into_iter().zip(first..).map(|((at_us, what), id)| Step { at_us, id, what });
    schedule.steps.extend(laid);
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
}

/// A client loses what was said to it last; another one of its user may hear that, at the same node.
fn add_loss(
    choices: &mut Choices,
    schedule: &Schedule,
    client: ClientNo,
    other: Option<ClientNo>,
    laid: &mut Vec<(u64, What)>,
) {
    let sender = ClientNo(choices.below(schedule.clients.len() as u64) as u16);
    let to = To::User(schedule.clients[client.index()].user);
    let place = choices.below(schedule.steps.len() as u64) as usize;
    let mut begin_us = schedule.steps.get(place).map_or(0, |step| step.at_us);
    let way_us = schedule.settings.net_delay_us + 1_000;
    let node = NodeNo(choices.below(schedule.settings.nodes) as u16);
    if let Some(other) = other.filter(|_| choices.chance(500)) {
        laid.extend([client, other].map(|client| (begin_us, What::Connect { client, node })));
        begin_us += 4 * way_us + 20_000;
    }
    // A Ping asks so long after the first message, and its Pong is under way when the second one is sent.
    let second_us = begin_us + RECEIPT_INTERVAL_MS * 1_000 + way_us + choices.below(way_us);
    let cut_us = second_us + way_us + choices.below(way_us);
    // At once, or when another client has receipted what this one has lost.
    let receipted_us = if choices.chance(600) { RECEIPT_INTERVAL_MS * 1_000 + 4 * way_us } else { 0 };
    let back_us = cut_us + receipted_us + choices.below(500_000);
    let seen = [Seen::Both, Seen::Server, Seen::Nobody][choices.weighted(&[2, 1, 1])];
    laid.push((begin_us, What::Send { client: sender, to, bytes: 0 }));
    laid.push((second_us, What::Send { client: sender, to, bytes: 0 }));
    laid.push((cut_us, What::Cut { client, seen, later_us: 0 }));
    laid.push((back_us, What::Connect { client, node }));
}
