//! The measurements of the session protocol, small, against the real server in this process.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

mod server;

use std::time::Duration;

use switchboard_benches::direct::{self, DirectOptions, Kind};
use switchboard_benches::durable::{self, DurableOptions};
use switchboard_benches::idle::{self, IdleOptions, IdlePair};
use switchboard_benches::load::{Pace, Timing};
use switchboard_benches::resume::{self, ResumeOptions};
use switchboard_benches::{Progress, Protocol};

use self::server::TestServer;

fn timing(duration_ms: u64) -> Timing {
    let (warmup, duration) = (Duration::from_millis(20), Duration::from_millis(duration_ms));
    Timing { warmup, duration, ..Timing::default() }
}

#[test]
fn every_message_of_a_session_is_accepted_and_delivered() {
    let server = TestServer::start();
    let options = DirectOptions {
        kind: Kind::Session,
        clients: 4,
        pace: Pace::InFlight(4),
        timing: timing(200),
        ..DirectOptions::default()
    };
    let report = direct::run(&options, &server.target, &mut Progress::silent()).unwrap();
    assert_eq!(report.load.shortfalls, [""; 0]);
    let acknowledged = report.load.acknowledged.unwrap();
    assert!(report.load.delivered > 0 && acknowledged.accepted > 0);
    assert_eq!((report.load.undelivered, report.load.unexpected), (0, 0));
    assert_eq!((acknowledged.unanswered, acknowledged.rejected), (0, 0));
}

#[test]
fn durable_messages_are_measured_beside_relayed_ones() {
    let server = TestServer::start();
    let options = DurableOptions {
        runs: 2,
        pace: Pace::PerSecond(200),
        clients: 4,
        timing: timing(150),
        ..DurableOptions::default()
    };
    let report = durable::run(&options, &server.target, &mut Progress::silent()).unwrap();
    // A machine that is busy elsewhere may fall behind the rate; nothing may be lost all the same.
    for run in report.relayed.iter().chain(&report.durable) {
        assert!(run.load.delivered > 0);
        assert_eq!((run.load.undelivered, run.load.unexpected), (0, 0));
    }
    assert!(report.relayed.iter().all(|run| run.load.acknowledged.is_none()));
    assert!(report.durable.iter().all(|run| run.load.acknowledged.unwrap().accepted > 0));
    assert!(report.ratio.unwrap() > 0.0);
    assert!(report.to_string().contains("ratio of the medians"));
}

#[test]
fn who_comes_back_gets_all_that_was_missed() {
    let server = TestServer::start();
    let options = ResumeOptions { messages: 500, conversations: 7, text_bytes: 40, runs: 2 };
    let report = resume::run(&options, &server.target, &mut Progress::silent()).unwrap();
    assert_eq!(report.shortfalls, [""; 0]);
    let found: Vec<_> = report.parts.iter().map(|part| (part.messages, part.heads)).collect();
    assert_eq!(found, [(500, 1), (500, 7), (0, 500)]);
    assert!(report.parts.iter().all(|part| part.server_cpu_ms.unwrap().median > 0.0));
}

#[test]
fn idle_sessions_are_weighed_beside_classic_connections() {
    let reports = [Protocol::Classic, Protocol::Session].map(|protocol| {
        let server = TestServer::start();
        let settle = vec![Duration::from_millis(50)];
        let options = IdleOptions { protocol, connections: 20, settle, ..IdleOptions::default() };
        idle::run(&options, std::slice::from_ref(&server.target), &mut Progress::silent()).unwrap()
    });
    let [classic, session] = reports;
    assert_eq!((classic.open, session.open), (20, 20));
    assert_eq!((classic.shortfalls.len(), session.shortfalls.len()), (0, 0));
    assert!(IdlePair::of(classic, session).difference_kib.is_some());
}
