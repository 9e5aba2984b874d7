//! Planted bugs are found, by the check that is there for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use switchboard_engine::Canary;
use switchboard_sim::canaries::{Bug, caught_by, hunt};
use switchboard_sim::store::StoreCanary;

#[test]
fn a_planted_bug_is_caught_by_the_check_that_is_there_for_it() {
    let expected: [(_, &[&str]); 9] = [
        (Bug::Engine(Canary::EchoToSender), &["no-leak"]),
        (Bug::Engine(Canary::SecondDeviceTwice), &["exactly-once"]),
        // Its request outlives what it was for, which shows in the engine's own state.
        (Bug::Engine(Canary::DeliveredBeforeStored), &["accepted-is-durable", "bounded"]),
        (Bug::Engine(Canary::TakeoverForgotten), &["takeover"]),
        (Bug::Engine(Canary::PublishForgotten), &["delivery"]),
        (Bug::Engine(Canary::OneHomeAssumed), &["delivery"]),
        (Bug::Engine(Canary::FlushNotCounted), &["accounting"]),
        (Bug::Store(StoreCanary::SeqSkips), &["one-order"]),
        (Bug::Store(StoreCanary::StoresTwice), &["exactly-once"]),
    ];
    for (bug, check) in expected {
        let caught = caught_by(bug, 60);
        assert!(caught.is_some_and(|found| check.contains(&found)), "{bug:?}: {caught:?}");
    }
}

#[test]
fn every_planted_bug_of_the_store_is_caught_by_a_check() {
    in_parallel(StoreCanary::ALL, |bug| {
        let expected: &[&str] = match bug {
            StoreCanary::SeqSkips
            | StoreCanary::SeqRepeats
            | StoreCanary::RefusedTakesSeq
            | StoreCanary::SplitsDirections => &["one-order"],
            StoreCanary::StoresTwice => &["exactly-once"],
            // What is done twice may also be refused the second time.
            StoreCanary::ForgetsIds => &["exactly-once", "protocol", "rights", "isolation"],
            StoreCanary::AnswersEarly | StoreCanary::AnswersSwapped => &["accepted-is-durable"],
            // What was promised a place is not there, and what comes next leaves a gap.
            StoreCanary::AnswersUncommitted => &["accepted-is-durable", "one-order"],
            StoreCanary::MembershipUnchecked => &["no-leak"],
            StoreCanary::RolesUnchecked
            | StoreCanary::KickKeepsMember
            | StoreCanary::MutedMayWrite
            | StoreCanary::EditsOfOthers
            // What is done wrongly shows, or what is refused wrongly afterwards.
            | StoreCanary::RecalledIsEdited => &["rights", "isolation", "one-order", "no-leak"],
            StoreCanary::FormerReadsOn => &["no-leak", "one-order"],
            StoreCanary::MarksBackwards
            | StoreCanary::MarksBeyondHead
            | StoreCanary::MarksOfEveryLog
            | StoreCanary::MarksOutliveMembers => &["marks", "convergence"],
            StoreCanary::EditNotShown | StoreCanary::RecallKeepsText => &["one-order"],
            // Who is taken for a member and is none is told too much, or the other way round too little.
            StoreCanary::ChangeUnannounced | StoreCanary::RevisionRepeats | StoreCanary::StaleSnapshot => {
                &["no-leak", "delivery", "convergence"]
            }
            StoreCanary::ReceivedOverGaps => &["delivery", "isolation"],
        };
        let caught = caught_by(Bug::Store(*bug), 1_000);
        assert!(caught.is_some_and(|check| expected.contains(&check)), "{bug:?}: {caught:?}");
    });
}

/// Does it with each, on two threads: whoever is done takes the next.
fn in_parallel<T: Sync>(items: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            each(item);
        }
    };
    // A panic of either is one of the scope.
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

#[test]
fn a_planted_bug_shrinks_to_a_few_steps() {
    let caught = hunt(Bug::Store(StoreCanary::SeqSkips), 1, 60);
    assert!(caught.steps().is_some_and(|steps| steps <= 3), "{:?}", caught.small);
}
