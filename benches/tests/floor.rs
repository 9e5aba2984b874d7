//! The floor under the loads that servers are measured by beside it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::net::Ipv4Addr;
use std::time::Duration;

use switchboard_benches::broadcast::{self, BroadcastOptions};
use switchboard_benches::direct::{self, DirectOptions};
use switchboard_benches::load::{Pace, Timing};
use switchboard_benches::{Progress, Target};
use switchboard_floor::{Repeater, Route};

const TIMING: Timing = Timing {
    connect_limit: Duration::from_secs(30),
    warmup: Duration::from_millis(20),
    duration: Duration::from_millis(200),
};

/// A repeater on a thread of its own, which lasts as long as the test's process.
fn floor(route: Route) -> Target {
    let repeater = Repeater::bind((Ipv4Addr::LOCALHOST, 0).into(), route).unwrap();
    let address = repeater.address();
    std::thread::spawn(|| repeater.run().unwrap());
    Target::running(address, None).unwrap()
}

#[test]
fn it_delivers_all_that_is_sent_to_everybody() {
    for in_flight in [1, 16] {
        let pace = Pace::InFlight(in_flight);
        let options = BroadcastOptions { clients: 30, pace, timing: TIMING, ..BroadcastOptions::default() };
        let report = broadcast::run(&options, &floor(Route::All), &mut Progress::silent()).unwrap();
        assert_eq!((report.load.undelivered, report.load.unexpected), (0, 0), "{report}");
    }
}

#[test]
fn it_delivers_all_that_is_sent_to_a_neighbour() {
    for in_flight in [1, 16] {
        let pace = Pace::InFlight(in_flight);
        let options = DirectOptions { clients: 30, pace, timing: TIMING, ..DirectOptions::default() };
        let report = direct::run(&options, &floor(Route::Pairs), &mut Progress::silent()).unwrap();
        assert_eq!((report.load.undelivered, report.load.unexpected), (0, 0), "{report}");
    }
}
