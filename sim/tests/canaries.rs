//! Planted bugs are found, by the check that is there for them.

use switchboard_engine::Canary;
use switchboard_sim::canaries::{Bug, StoreCanary, hunt};

#[test]
fn a_planted_bug_is_caught_by_the_check_that_is_there_for_it() {
    let expected = [
        (Bug::Engine(Canary::EchoToSender), "no-leak"),
        (Bug::Engine(Canary::SecondDeviceTwice), "exactly-once"),
        (Bug::Engine(Canary::DeliveredBeforeStored), "accepted-is-durable"),
        (Bug::Engine(Canary::TakeoverForgotten), "takeover"),
        (Bug::Engine(Canary::PublishForgotten), "delivery"),
        (Bug::Engine(Canary::FlushNotCounted), "accounting"),
        (Bug::Store(StoreCanary::SeqSkips), "one-order"),
        (Bug::Store(StoreCanary::StoresTwice), "exactly-once"),
    ];
    for (bug, check) in expected {
        let caught = hunt(bug, 1, 60);
        assert_eq!(caught.checks, [check], "{}", bug.name());
    }
}

#[test]
fn a_planted_bug_shrinks_to_a_few_steps() {
    let caught = hunt(Bug::Store(StoreCanary::SeqSkips), 1, 60);
    assert!(caught.steps().is_some_and(|steps| steps <= 3), "{:?}", caught.small);
}
