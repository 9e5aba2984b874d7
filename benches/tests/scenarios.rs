//! The loads beyond pairs, small, against the real server in this process.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

mod server;

use std::time::Duration;

use switchboard_benches::broadcast::{self, BroadcastOptions};
use switchboard_benches::group::{self, GroupOptions};
use switchboard_benches::load::{Pace, Timing};
use switchboard_benches::mixed::{self, MixedOptions};
use switchboard_benches::stall::{self, StallOptions};
use switchboard_benches::storm::{self, StormOptions};
use switchboard_benches::{Progress, Protocol};

use self::server::TestServer;

fn timing() -> Timing {
    let (warmup, duration) = (Duration::from_millis(20), Duration::from_millis(300));
    Timing { warmup, duration, ..Timing::default() }
}

#[test]
fn a_broadcast_is_heard_by_everybody_the_sender_included() {
    let server = TestServer::start();
    for pace in [Pace::InFlight(1), Pace::InFlight(16)] {
        let options = BroadcastOptions { clients: 20, pace, timing: timing(), ..BroadcastOptions::default() };
        let report = broadcast::run(&options, &server.target, &mut Progress::silent()).unwrap();
        assert_eq!(report.load.shortfalls, [""; 0]);
        assert_eq!((report.load.clients_ready, report.load.undelivered), (20, 0));
        assert!(report.load.delivered > 0);
        assert!(report.to_string().starts_with("broadcast: one sends to 20 clients, 128 bytes, closed loop"));
    }
}

#[test]
fn members_of_groups_hear_whoever_speaks() {
    let server = TestServer::start();
    for protocol in [Protocol::Classic, Protocol::Session] {
        let pace = Pace::InFlight(2);
        let options = GroupOptions {
            protocol,
            groups: 3,
            members: 5,
            pace,
            timing: timing(),
            ..GroupOptions::default()
        };
        let report = group::run(&options, &server.target, &mut Progress::silent()).unwrap();
        assert_eq!(report.load.shortfalls, [""; 0], "{protocol:?}");
        assert_eq!((report.load.clients_ready, report.load.undelivered, report.load.unexpected), (15, 0, 0));
        assert!(report.load.delivered > 0);
        assert_eq!(report.load.acknowledged.is_some(), protocol == Protocol::Session);
    }
}

#[test]
fn all_come_back_after_a_storm_and_those_who_stay_lose_nothing() {
    let server = TestServer::start();
    let options = StormOptions { clients: 60, staying: 4, rate_per_second: 100, ..StormOptions::default() };
    let report = storm::run(&options, std::slice::from_ref(&server.target), &mut Progress::silent()).unwrap();
    assert_eq!(report.shortfalls, [""; 0]);
    assert_eq!(report.welcomed, 60);
    assert!(report.storm_seconds > 0.0 && report.calm_latency.p50_us > 0.0);
}

#[test]
fn those_who_read_are_measured_with_and_without_those_who_do_not() {
    let servers: Vec<_> = (0..2).map(|_| TestServer::start()).collect();
    let mut targets = servers.iter().map(TestServer::another_target);
    let options =
        StallOptions { runs: 1, clients: 10, stalled: 2, timing: timing(), ..StallOptions::default() };
    let report = stall::run(&options, || Ok(targets.next().unwrap()), &mut Progress::silent()).unwrap();
    assert_eq!(report.shortfalls, [""; 0]);
    assert!(report.ratio.unwrap().median > 0.0);
    let heard: Vec<_> = report.without.iter().chain(&report.with).map(|run| run.load.clients_ready).collect();
    assert_eq!(heard, [10, 10]);
}

#[test]
fn a_day_has_24_hours_and_loses_no_message_of_the_couples() {
    let server = TestServer::start();
    let options = MixedOptions {
        users: 40,
        couples: 4,
        peak_per_second: 400,
        couples_per_second: 50,
        day: Duration::from_secs(2),
        ..MixedOptions::default()
    };
    let report = mixed::run(&options, &server.target, &mut Progress::silent()).unwrap();
    // A machine that is busy elsewhere may fall behind the rate; nothing may be lost all the same.
    assert_eq!((report.couples.undelivered, report.couples.unexpected), (0, 0));
    assert_eq!(report.hours.len(), 24);
    assert!(
        report.hours.iter().any(|hour| hour.online > 0 && hour.sent > 0 && hour.received > 0),
        "{report}"
    );
}
