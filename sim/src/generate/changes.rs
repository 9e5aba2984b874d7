//! Steps of what sessions say that is no message: edits, recalls, changes of groups.

use super::{
    Sources,
    steps::{group, node, user},
};
use crate::choice::Choices;
use crate::schedule::{ClientNo, Deed, GroupNo, Schedule, Step, To, UserNo, What};

/// How often each change of a group is tried that there is already.
const DEEDS: &[(Deed, u64)] = &[
    (Deed::Create, 1),
    (Deed::Join, 4),
    (Deed::Leave, 3),
    (Deed::Invite, 6),
    (Deed::Kick, 4),
    (Deed::Member, 2),
    (Deed::Admin, 4),
    (Deed::Owner, 2),
    (Deed::Mute, 5),
    (Deed::Unmute, 2),
    (Deed::Rename, 2),
];

/// Who says something stored by a step.
const fn speaker(what: What) -> Option<ClientNo> {
    if let What::Send { client, .. } | What::Burst { client, .. } | What::Media { client, .. } = what {
        Some(client)
    } else {
        None
    }
}

/// One of the clients that a condition holds for.
fn client_that(
    choices: &mut Choices,
    schedule: &Schedule,
    holds: impl Fn(UserNo) -> bool,
) -> Option<ClientNo> {
    let clients = schedule.clients.iter().enumerate();
    let clients = clients.filter(|(_, client)| client.kind.is_session() && holds(client.user));
    let clients: Vec<u16> = clients.map(|(number, _)| number as u16).collect();
    let place = choices.below(clients.len() as u64) as usize;
    clients.get(place).copied().map(ClientNo)
}

/// One of the last steps that a condition holds for: which, and which of its messages.
fn lately(w: &mut Choices, schedule: &Schedule, holds: impl Fn(&Step) -> bool) -> Option<(u32, u32)> {
    let steps: Vec<&Step> = schedule.steps.iter().filter(|step| holds(step)).collect();
    let back = w.below((steps.len() as u64).min(10)) as usize;
    let step = steps.get(steps.len().checked_sub(back + 1)?)?;
    let count = if let What::Burst { count, .. } = step.what { count.min(3) } else { 1 };
    Some((step.id, w.below(count.into()) as u32))
}

/// Whose message is edited or recalled, by which client: mostly the client's user's own.
fn target(sources: &mut Sources, schedule: &Schedule) -> Option<(ClientNo, u32, u32)> {
    let (w, f) = (&mut sources.workload, &mut sources.faults);
    let client = client_that(w, schedule, |_| true)?;
    let user = schedule.clients[client.index()].user;
    let is_own = |of: ClientNo| schedule.clients[of.index()].user == user;
    let is_said = |step: &Step| speaker(step.what).is_some();
    let is_about =
        |step: &Step| matches!(step.what, What::Edit { .. } | What::Recall { .. } | What::Change { .. });
    let (step, nth) = match f.weighted(&[8, 3, 1]) {
        0 => lately(w, schedule, |step| speaker(step.what).is_some_and(is_own))?,
        1 => lately(w, schedule, is_said)?,
        _ => lately(w, schedule, is_about)?,
    };
    Some((client, step, nth))
}

pub(super) fn edit(sources: &mut Sources, schedule: &Schedule) -> Option<What> {
    let (client, step, nth) = target(sources, schedule)?;
    let bytes = sources.workload.below(40) as u32;
    Some(What::Edit { client, step, nth, bytes })
}

pub(super) fn recall(sources: &mut Sources, schedule: &Schedule) -> Option<What> {
    let (client, step, nth) = target(sources, schedule)?;
    Some(What::Recall { client, step, nth })
}

/// Who owns a group if nothing has gone wrong.
fn owner(schedule: &Schedule, group: GroupNo) -> Option<UserNo> {
    let founder = |step: &Step| {
        let What::Change { client, group: of, deed: Deed::Create | Deed::Open, .. } = step.what else {
            return None;
        };
        (of == group).then(|| schedule.clients[client.index()].user)
    };
    match schedule.groups.get(group.index()) {
        Some(members) => members.first().copied(),
        None => schedule.steps.iter().find_map(founder),
    }
}

pub(super) fn change(sources: &mut Sources, schedule: &Schedule) -> Option<What> {
    let (w, f) = (&mut sources.workload, &mut sources.faults);
    let group = group(w, schedule);
    let about = user(w, schedule);
    let owner = owner(schedule, group);
    let is_there = owner.is_some() || group.index() < schedule.groups.len();
    let by_owner = client_that(w, schedule, |user| Some(user) == owner).filter(|_| !f.chance(400));
    let client = by_owner.or_else(|| client_that(w, schedule, |_| true))?;
    let weights: Vec<u64> = DEEDS.iter().map(|(_, weight)| *weight).collect();
    let deed = match is_there {
        true => DEEDS[w.weighted(&weights)].0,
        false if w.chance(300) => Deed::Create,
        false => Deed::Open,
    };
    Some(What::Change { client, group, deed, user: about, commits: w.below(60) as u32 })
}

/// Who is muted writes soon, often enough to be refused; gives when.
pub(super) fn follow(sources: &mut Sources, schedule: &mut Schedule, at_us: u64) -> u64 {
    let Some(What::Change { group, deed: Deed::Mute, user, .. }) =
        schedule.steps.last().map(|step| step.what)
    else {
        return at_us;
    };
    let theirs = schedule.clients.iter().position(|client| client.user == user);
    let Some(client) = theirs.filter(|_| sources.workload.chance(600)) else { return at_us };
    let at_us = at_us + sources.scheduling.between(1_000, 60_000);
    let client = ClientNo(client as u16);
    super::push(schedule, at_us, What::Send { client, to: To::Group(group), bytes: 0 });
    at_us
}

pub(super) fn mark(sources: &mut Sources, schedule: &Schedule) -> Option<What> {
    let (w, f) = (&mut sources.workload, &mut sources.faults);
    let client = client_that(w, schedule, |_| true)?;
    let of = if w.chance(600) { To::User(user(w, schedule)) } else { To::Group(group(w, schedule)) };
    let delivered = if f.chance(100) { u64::MAX } else { w.below(20) };
    let read = if f.chance(100) { delivered.saturating_add(1) } else { w.below(delivered.min(20) + 1) };
    let wrong = if f.chance(200) { f.between(1, 3) as u32 } else { 0 };
    Some(What::Mark { client, of, delivered, read, wrong })
}

pub(super) fn mislead(sources: &mut Sources, schedule: &Schedule) -> Option<What> {
    let (w, f) = (&mut sources.workload, &mut sources.faults);
    let is_entry =
        |step: &Step| matches!(step.what, What::Edit { .. } | What::Recall { .. } | What::Change { .. });
    let (step, _) = lately(w, schedule, is_entry)?;
    Some(What::Mislead { node: node(f, schedule), user: user(w, schedule), step })
}
