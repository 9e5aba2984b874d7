//! Losses at the worst moment, laid over a schedule: what is said to a client while its receipt for earlier messages is on
//! its way, and the connection is cut before it arrives.

use crate::choice::Choices;
use crate::schedule::{ClientNo, NodeNo, Schedule, Seen, Step, To, What};
use crate::world::RECEIPT_INTERVAL_MS;

/// Adds them to the schedule of a profile that is about what is sent again.
pub(super) fn add_losses(choices: &mut Choices, schedule: &mut Schedule, profile: &str) {
    if profile != "resend" {
        return;
    }
    let mut laid = Vec::new();
    for _ in 0..choices.between(1, 4) {
        add_loss(choices, schedule, &mut laid);
    }
    // What is there already keeps its number, and comes first at the same time.
    let first = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0) + 1;
    let laid = laid.into_iter().zip(first..).map(|((at_us, what), id)| Step { at_us, id, what });
    schedule.steps.extend(laid);
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
}

fn add_loss(choices: &mut Choices, schedule: &Schedule, laid: &mut Vec<(u64, What)>) {
    let clients = schedule.clients.len() as u64;
    let (sender, client) = (ClientNo(choices.below(clients) as u16), ClientNo(choices.below(clients) as u16));
    let to = To::User(schedule.clients[client.index()].user);
    let place = choices.below(schedule.steps.len() as u64) as usize;
    let begin_us = schedule.steps.get(place).map_or(0, |step| step.at_us);
    let way_us = schedule.settings.net_delay_us + 1_000;
    // A Ping asks so long after the first message, and its Pong is under way when the second one is sent.
    let second_us = begin_us + RECEIPT_INTERVAL_MS * 1_000 + way_us + choices.below(way_us);
    let cut_us = second_us + way_us + choices.below(way_us);
    let back_us = cut_us + choices.below(500_000);
    let seen = [Seen::Both, Seen::Server, Seen::Nobody][choices.weighted(&[2, 1, 1])];
    let node = NodeNo(choices.below(schedule.settings.nodes) as u16);
    laid.push((begin_us, What::Send { client: sender, to, bytes: 0 }));
    laid.push((second_us, What::Send { client: sender, to, bytes: 0 }));
    laid.push((cut_us, What::Cut { client, seen, later_us: 0 }));
    laid.push((back_us, What::Connect { client, node }));
}
