//! The specification is not empty: it finds planted bugs without the engine's shadow, from what people can see.

use switchboard_engine::Canary;
use switchboard_sim::canaries::{Bug, StoreCanary, hunt_by_specification};

#[test]
fn planted_bugs_are_found_by_the_specification_alone() {
    let expected: [(_, &[&str]); 19] = [
        (Bug::Engine(Canary::TakeoverClosesNewest), &["takeover"]),
        (Bug::Engine(Canary::TakeoverForgotten), &["takeover"]),
        // A session's Hello comes last then, so that the session is closed for what came before it.
        (Bug::Engine(Canary::EarlyReversed), &["one-order", "protocol"]),
        (Bug::Engine(Canary::PongIsNoLife), &["isolation"]),
        (Bug::Engine(Canary::MembershipKept), &["no-leak"]),
        (Bug::Engine(Canary::SecondDeviceTwice), &["exactly-once"]),
        (Bug::Engine(Canary::EchoToSender), &["no-leak"]),
        (Bug::Engine(Canary::SenderLeftOut), &["delivery"]),
        (Bug::Engine(Canary::FailedSaveDelivered), &["accepted-is-durable"]),
        (Bug::Engine(Canary::DeliveredBeforeStored), &["accepted-is-durable"]),
        (Bug::Engine(Canary::GroupFormSkipped), &["no-spoof"]),
        (Bug::Engine(Canary::GroupFormKeepsFile), &["no-spoof"]),
        (Bug::Engine(Canary::SignalToEverybody), &["no-leak"]),
        (Bug::Engine(Canary::FileOvertaken), &["one-order"]),
        (Bug::Engine(Canary::PublishForgotten), &["delivery"]),
        (Bug::Engine(Canary::OneHomeAssumed), &["delivery", "convergence"]),
        (Bug::Engine(Canary::AbortForgotten), &["convergence"]),
        (Bug::Store(StoreCanary::SeqSkips), &["one-order"]),
        (Bug::Store(StoreCanary::StoresTwice), &["exactly-once"]),
    ];
    for (bug, check) in expected {
        let caught = hunt_by_specification(bug, 60).map(|(_, found)| found);
        assert!(caught.is_some_and(|found| check.contains(&found)), "{}: {caught:?}", bug.name());
    }
}
