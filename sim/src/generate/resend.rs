//! Worlds in which classic clients are sent again what they have missed, and losses at the worst moment, laid over a
//! schedule: what is said to a client while its receipt for earlier messages is on its way, and the connection is cut
//! before it arrives.

use super::is_bench;
use crate::choice::Choices;
use crate::schedule::{ClientNo, GroupNo, NodeNo, Schedule, Seen, Step, To, What};
use crate::world::RECEIPT_INTERVAL_MS;

/// Draws whether a world is one where something is sent again, and adds losses to it.
pub(super) fn add_resend(choices: &mut Choices, schedule: &mut Schedule, profile: &str) {
    let (resend_permille, loss_permille, quiet_permille) = match profile {
        "resend" => (1000, 1000, 300),
        _ if is_bench(profile) || profile == "original" => return,
        _ => (400, 300, 20),
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
    let is_quiet = choices.chance(quiet_permille);
    if is_quiet {
        // Nothing else happens: what takes several answers in one order is disturbed by nothing.
        schedule.steps.retain(|step| matches!(step.what, What::Connect { .. }));
    }
    let mut laid = Vec::new();
    for _ in 0..choices.between(1, 4) {
        let client = classic[choices.below(classic.len() as u64) as usize];
        let user = |client: &ClientNo| schedule.clients[client.index()].user;
        let other = classic.iter().find(|other| **other != client && user(other) == user(&client)).copied();
        let mut scene = Scene::begin(choices, schedule, client);
        let weights = if is_quiet { [1, 1, 4] } else { [6, 1, 1] };
        match (choices.weighted(&weights), other) {
            (1, Some(other)) => scene.one_leaves_while_the_other_asks(choices, client, other),
            (2, _) => scene.answered_last(choices, schedule, client),
            (_, other) => scene.lost(choices, client, other),
        }
        let Scene { laid: steps, needs, .. } = scene;
        laid.extend(steps);
        let settings = &mut schedule.settings;
        settings.nodes = settings.nodes.max(needs.nodes);
        settings.answer_jitter_us = settings.answer_jitter_us.max(needs.answer_jitter_us);
    }
    // What is there already keeps its number, and comes first at the same time.
    let first = schedule.steps.iter().map(|step| step.id).max().unwrap_or(0) + 1;
    let laid = laid.into_iter().zip(first..).map(|((at_us, what), id)| Step { at_us, id, what });
    schedule.steps.extend(laid);
    schedule.steps.sort_by_key(|step| (step.at_us, step.id));
}

/// How much later than its neighbour's an answer of the store may come, in microseconds: long enough for whole conversations
/// in between.
const LATE_ANSWER_US: u64 = 400_000;

/// Steps around a classic client that comes and goes.
struct Scene {
    /// When, and what.
    laid: Vec<(u64, What)>,
    begin_us: u64,
    /// How long a frame is on its way.
    way_us: u64,
    node: NodeNo,
    sender: ClientNo,
    /// The client's own user.
    to: To,
    needs: Needs,
}

/// What a scene needs at least of its world.
#[derive(Default)]
struct Needs {
    nodes: u64,
    answer_jitter_us: u64,
}

impl Scene {
    fn begin(choices: &mut Choices, schedule: &Schedule, client: ClientNo) -> Self {
        let sender = ClientNo(choices.below(schedule.clients.len() as u64) as u16);
        let place = choices.below(schedule.steps.len() as u64) as usize;
        Self {
            laid: Vec::new(),
            begin_us: schedule.steps.get(place).map_or(0, |step| step.at_us),
            way_us: schedule.settings.net_delay_us + 1_000,
            node: NodeNo(choices.below(schedule.settings.nodes) as u16),
            sender,
            to: To::User(schedule.clients[client.index()].user),
            needs: Needs::default(),
        }
    }

    fn does(&mut self, at_us: u64, what: What) {
        self.laid.push((at_us, what));
    }

    fn says(&mut self, at_us: u64) {
        self.does(at_us, What::Send { client: self.sender, to: self.to, bytes: 0 });
    }

    fn connects(&mut self, at_us: u64, client: ClientNo) {
        self.does(at_us, What::Connect { client, node: self.node });
    }

    /// Both are there from the beginning.
    fn both_connect(&mut self, client: ClientNo, other: ClientNo) {
        self.connects(self.begin_us, client);
        self.connects(self.begin_us, other);
        self.begin_us += 4 * self.way_us + 20_000;
    }

    /// A client loses what was said to it last; another one of its user may hear that, at the same node.
    fn lost(&mut self, choices: &mut Choices, client: ClientNo, other: Option<ClientNo>) {
        if let Some(other) = other.filter(|_| choices.chance(500)) {
            self.both_connect(client, other);
        }
        // A Ping asks so long after the first message, and its Pong is under way when the second one is sent.
        let second_us =
            self.begin_us + RECEIPT_INTERVAL_MS * 1_000 + self.way_us + choices.below(self.way_us);
        let cut_us = second_us + self.way_us + choices.below(self.way_us);
        // At once, or when another client has receipted what this one has lost.
        let receipted_us =
            if choices.chance(600) { RECEIPT_INTERVAL_MS * 1_000 + 4 * self.way_us } else { 0 };
        let back_us = cut_us + receipted_us + choices.below(500_000);
        let seen = [Seen::Both, Seen::Server, Seen::Nobody][choices.weighted(&[2, 1, 1])];
        self.says(self.begin_us);
        self.says(second_us);
        self.does(cut_us, What::Cut { client, seen, later_us: 0 });
        self.connects(back_us, client);
    }

    /// Both clients of a user lose what is said; one is back and is asked about when the other one leaves for a while.
    fn one_leaves_while_the_other_asks(&mut self, choices: &mut Choices, client: ClientNo, other: ClientNo) {
        self.needs.answer_jitter_us = LATE_ANSWER_US;
        self.both_connect(client, other);
        self.begin_us += 2 * LATE_ANSWER_US;
        self.does(self.begin_us, What::Pause { client: other });
        self.says(self.begin_us);
        let cut_us = self.begin_us + LATE_ANSWER_US + choices.below(20_000);
        self.does(cut_us, What::Cut { client, seen: Seen::Both, later_us: 0 });
        self.connects(cut_us, client);
        let close_us = cut_us + 2 * self.way_us + choices.below(LATE_ANSWER_US);
        self.does(close_us, What::Close { client: other });
        self.connects(close_us + 2 * LATE_ANSWER_US + choices.below(LATE_ANSWER_US), other);
    }

    /// Two members of a group say something at different nodes while a third one is asked about, and the store's answers
    /// come in any order. There is no room to hold what they say.
    fn answered_last(&mut self, choices: &mut Choices, schedule: &Schedule, client: ClientNo) {
        let user = |client: ClientNo| schedule.clients[client.index()].user;
        let Some(group) = schedule.groups.iter().position(|members| members.contains(&user(client))) else {
            return;
        };
        let mut others: Vec<ClientNo> = (0..schedule.clients.len() as u16)
            .map(ClientNo)
            .filter(|other| *other != client && schedule.groups[group].contains(&user(*other)))
            .collect();
        if others.len() < 2 {
            return;
        }
        let places = [self.node, NodeNo(1 - self.node.0.min(1))];
        let senders = places.map(|node| {
            let place = choices.below(others.len() as u64) as usize;
            (others.swap_remove(place), node)
        });
        self.needs = Needs { nodes: 2, answer_jitter_us: LATE_ANSWER_US };
        // Who is connected stays where it is.
        for client in [client, senders[0].0, senders[1].0] {
            self.does(self.begin_us, What::Close { client });
        }
        let (here_us, back_us) = (self.begin_us + 20_000, self.begin_us + 2 * LATE_ANSWER_US);
        self.connects(back_us, client);
        let say_us = back_us + choices.below(2 * LATE_ANSWER_US);
        let bytes = (schedule.settings.outbox_bytes / 8) as u32;
        for (client, node) in senders {
            self.does(here_us, What::Connect { client, node });
            self.does(say_us, What::Send { client, to: To::Group(GroupNo(group as u16)), bytes });
        }
    }
}
