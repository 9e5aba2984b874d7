//! Random histories: whatever happens, in whatever order, the server does exactly what the model says.
//!
//! `PROPTEST_CASES` sets how many histories; failures are kept beside this file and tried first.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{FileFailurePersistence, TestRunner},
};
use proptest_state_machine::{ReferenceStateMachine as _, StateMachineTest, prop_state_machine};
use switchboard_engine::{ConnId, Event, Frame, MessageId, OwnedAction, Record, Request, Ticket};
use switchboard_proto::{
    Message as _,
    v1::{ServerFrame, server_frame::Body},
};

use crate::{
    driver::Driver,
    history::{History, Specification, Stimulus, Timed, known_id},
    model::{Model, Out},
};

/// The server, and which ticket it gave to each of the model's requests.
struct Run {
    driver: Driver,
    tickets: BTreeMap<usize, Ticket>,
    /// What is asked of the store and the model does not expect.
    unmatched: Vec<(Ticket, Request)>,
}

impl Run {
    /// Finds the model's numbers for the server's tickets. Messages have unique texts, so equals are the same.
    fn match_requests(&mut self, acts: &[OwnedAction], model: &Model) {
        for act in acts {
            if let OwnedAction::Request { ticket, request } = act {
                self.unmatched.push((*ticket, without_id(request.clone())));
            }
        }
        for (number, request) in &model.expected.requests {
            let place = self.unmatched.iter().position(|(_, other)| other == request);
            if let (false, Some(place)) = (self.tickets.contains_key(number), place) {
                self.tickets.insert(*number, self.unmatched.remove(place).0);
            }
        }
    }

    /// Nothing but what the model expects has been asked for.
    fn compare(&mut self, acts: Vec<OwnedAction>, model: &Model) {
        let mut outs: BTreeMap<ConnId, Vec<Out>> = BTreeMap::new();
        let (mut published, mut told) = (Vec::new(), Vec::new());
        for act in acts {
            match act {
                OwnedAction::Send { to, frame } => {
                    for conn in to {
                        let is_session = model.sessions.contains(&conn);
                        let frame = if is_session { told_without_ids(&frame) } else { frame.clone() };
                        outs.entry(conn).or_default().push(Out::Frame(frame));
                    }
                }
                OwnedAction::Close { conn, reason } => outs.entry(conn).or_default().push(Out::Close(reason)),
                OwnedAction::Abort { conn } => outs.entry(conn).or_default().push(Out::Abort),
                OwnedAction::Publish(record) => published.push(record_without_id(record)),
                OwnedAction::Tell(note) => told.push(note),
                // These are matched already, or counted by the driver.
                OwnedAction::Request { .. }
                | OwnedAction::Subscribe(_)
                | OwnedAction::Unsubscribe(_)
                | OwnedAction::Stopped => {}
            }
        }
        assert_eq!(outs, model.expected.outs, "what connections are sent and told");
        assert_eq!(published, model.expected.published, "what is published");
        assert_eq!(told, model.expected.told, "what other engines are told");
        assert_eq!(self.unmatched, [], "what is asked of the store beyond the model");
        let known = |(number, _): &&(usize, Request)| !self.tickets.contains_key(number);
        let missing: Vec<_> = model.expected.requests.iter().filter(known).collect();
        assert!(missing.is_empty(), "what is not asked of the store: {missing:?}");
        assert_eq!(self.driver.subscriptions, model.interest(), "what is subscribed to");
        assert_eq!(self.driver.stopped, model.stopped, "whether it has stopped");
        let gauges = self.driver.server.gauges();
        let outboxes = || model.conns.values().map(|conn| &conn.outbox);
        assert_eq!(gauges.connections as usize, model.conns.len(), "connections");
        assert_eq!(gauges.users as usize, model.users(), "users");
        assert_eq!(gauges.pending as usize, model.pending(), "pending messages");
        assert_eq!(gauges.requests as usize, model.open_requests().len(), "open requests");
        assert_eq!(gauges.unflushed as usize, outboxes().map(|o| o.on_the_way()).sum::<usize>(), "unflushed");
        let sessions = || model.conns.values().filter_map(|conn| conn.session.as_ref());
        assert_eq!(gauges.sessions as usize, sessions().count(), "sessions");
        assert_eq!(gauges.lagging as usize, sessions().filter(|session| session.lags).count(), "lagging");
        assert_eq!(
            gauges.fetches as usize,
            sessions().map(|session| session.fetches.len()).sum::<usize>(),
            "fetches"
        );
        let marks = || sessions().map(|session| session.markings.len());
        assert_eq!(gauges.marks as usize, marks().sum::<usize>(), "marks");
        assert_eq!(gauges.held as usize, outboxes().map(|o| o.waiting()).sum::<usize>(), "held");
    }
}

/// What a session is told, without the ids that come from the seed.
fn told_without_ids(frame: &Frame) -> Frame {
    let Frame::Message(bytes) = frame else { return frame.clone() };
    let mut frame = ServerFrame::decode(bytes.clone()).unwrap();
    match &mut frame.body {
        Some(Body::Welcome(welcome)) => welcome.session_id = vec![0; 16].into(),
        Some(Body::Delivery(delivery)) => {
            let id = MessageId((*delivery.message_id).try_into().unwrap());
            delivery.message_id = known_id(id).0.to_vec().into();
        }
        _ => {}
    }
    Frame::Message(frame.encode_to_vec().into())
}

fn record_without_id(record: Record) -> Record {
    Record { stored: record.stored.map(|(id, place)| (known_id(id), place)), ..record }
}

/// Message ids come from the seed, and the model knows none.
fn without_id(request: Request) -> Request {
    match request {
        Request::StoreMessage(mut message) => {
            message.id = known_id(message.id);
            Request::StoreMessage(message)
        }
        other @ (Request::LoadUser(_)
        | Request::StoreFile(_)
        | Request::LoadHeads { .. }
        | Request::LoadMessages(_)
        | Request::StoreMarks(_)
        | Request::StoreSeen(_)
        | Request::LoadSeen { .. }
        | Request::StoreReceived(_)
        | Request::LoadUnreceived { .. }) => other,
    }
}

impl StateMachineTest for Run {
    type SystemUnderTest = Self;
    type Reference = Specification;

    fn init_test(history: &History) -> Self {
        Self {
            driver: Driver::new(&history.model.config, history.seed),
            tickets: BTreeMap::new(),
            unmatched: Vec::new(),
        }
    }

    fn apply(mut run: Self, history: &History, timed: Timed) -> Self {
        let until = run.driver.after(timed.after);
        let mut acts = Vec::new();
        while let Some(more) = run.driver.next_timeout(until) {
            run.match_requests(&more, &history.model);
            acts.extend(more);
        }
        let event = match history.stimulus.clone() {
            Stimulus::Event(event) => Some(event),
            Stimulus::Answer(number, answer) => {
                Some(Event::Answered { ticket: run.tickets[&number], answer })
            }
            Stimulus::Nothing => None,
        };
        if let Some(event) = event {
            let more = run.driver.handle(&event);
            run.match_requests(&more, &history.model);
            acts.extend(more);
        }
        run.compare(acts, &history.model);
        run
    }
}

/// As many histories as take some seconds, unless `PROPTEST_CASES` says otherwise.
fn proptest_config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if chosen { default.cases } else { 512 },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/server/properties.proptest-regressions",
        ))),
        ..default
    }
}

prop_state_machine! {
    #![proptest_config(proptest_config())]

    #[test]
    fn whatever_happens_the_server_does_exactly_what_the_model_says(sequential 1..150 => Run);
}

#[test]
fn the_histories_reach_everything_that_the_server_counts() {
    let mut runner = TestRunner::deterministic();
    let strategy = Specification::sequential_strategy(120..150);
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..150 {
        let (mut history, steps, _) = strategy.new_tree(&mut runner).unwrap().current();
        let mut run = Run::init_test(&history);
        for step in steps {
            history = Specification::apply(history, &step);
            run = Run::apply(run, &history, step);
        }
        run.driver.server.stats().iter().for_each(|(name, count)| *sums.entry(name).or_default() += count);
    }
    let never: Vec<_> = sums.into_iter().filter(|(_, sum)| *sum == 0).map(|(name, _)| name).collect();
    let unknown_to_the_model = [
        "calls",
        "calls_ended",
        "calls_refused",
        "calls_repeated",
        "marks_coalesced",
        "marks_dropped",
        "pushes_withheld",
        "rate_limited",
        "receipts_assumed",
        "receipts_over_limit",
        "received_told",
        "refused_admission",
        "refused_calls",
        "resend_failed",
        "resend_given_up",
        "resend_over_limit",
        "resent",
        "seen_failed",
        "seen_skipped",
        "signals",
        "signals_dropped",
        "watches_passed_over",
        "withheld_over_limit",
    ];
    assert_eq!(never, unknown_to_the_model, "these have scenarios");
}
