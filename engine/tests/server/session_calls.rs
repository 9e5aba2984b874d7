//! Calls between sessions.

use std::time::Duration;

use switchboard_engine::{Answer, CloseReason, ConnId, Event, ServerConfig};
use switchboard_proto::v1::{Call, call::Kind, client_frame};

use crate::{
    harness::{World, narrows, secs},
    session_words::{call, hello_of, signal},
};

const NOTHING: [&str; 0] = [];

/// Alice, Bob and Carol are in the crew; Mallory is not.
fn crew() -> World {
    with(|_| {})
}

fn with(configure: impl FnOnce(&mut ServerConfig)) -> World {
    let mut world = World::with(configure);
    world.found("crew", &["alice", "bob", "carol"]);
    world
}

/// A device of this number signs in.
fn device(world: &mut World, name: &str, number: u8) -> ConnId {
    let conn = world.dials(name);
    world.frame(conn, hello_of(number));
    world.told(conn);
    conn
}

/// Alice and Bob talk.
fn talking() -> (World, ConnId, ConnId) {
    let mut world = crew();
    let (alice, bob) = (device(&mut world, "alice", 1), device(&mut world, "bob", 2));
    talk(&mut world, alice, bob);
    (world, alice, bob)
}

fn talk(world: &mut World, alice: ConnId, bob: ConnId) {
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    world.frame(bob, call(Kind::Accept, 1, "alice"));
    assert_eq!(world.sees(alice), ["call 1 with bob: accept"]);
    assert_eq!(world.sees(bob), ["call 1 with alice: ring", "call 1 with alice: accept"]);
}

fn calls(world: &World) -> u64 {
    world.server().gauges().calls
}

#[test]
fn a_call_rings_is_taken_carries_signals_and_ends() {
    let (mut world, alice, bob) = talking();
    world.frame(alice, signal(1, "offer"));
    world.frame(bob, signal(1, "answer"));
    assert_eq!(world.sees(bob), ["call 1 with alice: signal offer"]);
    assert_eq!(world.sees(alice), ["call 1 with bob: signal answer"]);
    world.passes(secs(3_600));
    world.told(alice);
    world.told(bob);
    assert_eq!(calls(&world), 2, "a call that was taken does not time out");
    world.frame(bob, call(Kind::HangUp, 1, "alice"));
    assert_eq!(world.sees(alice), ["call 1 with bob: over: hung up"]);
    assert_eq!(world.sees(bob), ["call 1 with alice: over: hung up"]);
    assert_eq!((calls(&world), world.stats().calls, world.stats().calls_ended), (0, 2, 2));
}

#[test]
fn all_devices_of_the_callee_ring_and_the_first_that_takes_it_has_it() {
    let mut world = crew();
    let (alice, other) = (device(&mut world, "alice", 1), device(&mut world, "alice", 9));
    let (phone, laptop, browser) =
        (device(&mut world, "bob", 2), device(&mut world, "bob", 3), world.arrives("bob"));
    let client_frame::Body::Call(ring) = call(Kind::Ring, 1, "bob") else { panic!("a call") };
    world.frame(alice, client_frame::Body::Call(Call { video: true, ..ring }));
    let late = world.dials("bob");
    world.frame(late, hello_of(4));
    for conn in [phone, laptop] {
        assert_eq!(world.sees(conn), ["call 1 with alice: ring with pictures"]);
    }
    assert_eq!(
        world.sees(late),
        ["welcome bob", "call 1 with alice: ring with pictures", "heads ."],
        "who comes while it rings is rung too"
    );
    world.frame(laptop, call(Kind::Accept, 1, "alice"));
    world.frame(phone, call(Kind::Accept, 1, "alice"));
    assert_eq!(world.sees(laptop), ["call 1 with alice: accept"]);
    assert_eq!(
        world.sees(phone),
        ["call 1 with alice: over: elsewhere", "call 1 with alice: over: no such call"]
    );
    assert_eq!(world.sees(late), ["call 1 with alice: over: elsewhere"]);
    world.frame(phone, signal(1, "I am not in it"));
    world.frame(other, signal(1, "nor I"));
    world.frame(other, call(Kind::HangUp, 1, "bob"));
    assert_eq!(world.sees(alice), ["call 1 with bob: accept"]);
    assert_eq!((world.frames(browser).len(), world.stats().refused_calls), (0, 4));
}

#[test]
fn what_one_device_declines_rings_at_no_other() {
    for kind in [Kind::Decline, Kind::HangUp] {
        let mut world = crew();
        let (alice, phone, laptop) =
            (world.signs_in("alice"), device(&mut world, "bob", 2), device(&mut world, "bob", 3));
        world.frame(alice, call(Kind::Ring, 1, "bob"));
        world.told(laptop);
        world.frame(phone, call(kind, 1, "alice"));
        assert_eq!(world.sees(alice), ["call 1 with bob: over: declined"]);
        assert_eq!(world.sees(phone), ["call 1 with alice: ring", "call 1 with alice: over: declined"]);
        assert_eq!(world.sees(laptop), ["call 1 with alice: over: elsewhere"]);
        assert_eq!(calls(&world), 0);
    }
}

#[test]
fn a_caller_hangs_up_before_anybody_has_taken_it() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    world.frame(alice, call(Kind::HangUp, 1, "bob"));
    assert_eq!(world.sees(alice), ["call 1 with bob: over: hung up"]);
    assert_eq!(world.sees(bob), ["call 1 with alice: ring", "call 1 with alice: over: hung up"]);
    // Also while the store is asked.
    world.store_holds();
    world.frame(alice, call(Kind::Ring, 2, "bob"));
    world.frame(alice, call(Kind::HangUp, 2, "bob"));
    world.store_resumes();
    assert_eq!((world.sees(alice), world.sees(bob)), (vec!["call 2 with bob: over: hung up".into()], vec![]));
    assert_eq!(world.server().gauges().timers, 2, "of the connections");
}

#[test]
fn nobody_takes_it_in_time() {
    let mut world = with(|config| config.ring_timeout = secs(20));
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    world.passes(Duration::from_millis(19_999));
    assert_eq!(world.sees(alice), NOTHING);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.sees(alice), ["call 1 with bob: over: timed out"]);
    assert_eq!(world.sees(bob), ["call 1 with alice: ring", "call 1 with alice: over: timed out"]);
}

#[test]
fn who_is_in_a_call_is_busy_and_stays_in_it() {
    let (mut world, alice, bob) = talking();
    let carol = world.signs_in("carol");
    world.frame(carol, call(Kind::Ring, 2, "bob"));
    assert_eq!(world.sees(carol), ["call 2 with bob: over: busy"]);
    world.frame(alice, call(Kind::Ring, 3, "carol"));
    assert_eq!(world.sees(alice), ["call 3 with carol: over: busy"]);
    world.frame(alice, signal(1, "still here"));
    assert_eq!(world.sees(bob), ["call 1 with alice: signal still here"]);
    assert_eq!(world.sees(carol), NOTHING);
}

#[test]
fn of_two_who_ring_each_other_the_smaller_id_lives() {
    for (of_alice, of_bob) in [(1, 2), (2, 1)] {
        let mut world = crew();
        let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
        world.frame(alice, call(Kind::Ring, of_alice, "bob"));
        world.told(bob);
        world.frame(bob, call(Kind::Ring, of_bob, "alice"));
        if of_alice < of_bob {
            assert_eq!(world.sees(bob), ["call 2 with alice: over: busy"]);
            assert_eq!(world.sees(alice), NOTHING);
            world.frame(bob, call(Kind::Accept, 1, "alice"));
            assert_eq!(world.sees(alice), ["call 1 with bob: accept"]);
        } else {
            assert_eq!(world.sees(bob), ["call 2 with alice: over: busy"]);
            assert_eq!(world.sees(alice), ["call 2 with bob: over: busy", "call 1 with bob: ring"]);
            world.frame(alice, call(Kind::Accept, 1, "bob"));
            assert_eq!(world.sees(bob), ["call 1 with alice: accept"]);
        }
        assert_eq!(calls(&world), 2);
    }
}

#[test]
fn who_has_no_room_to_be_told_that_its_call_gave_way_is_in_no_other() {
    // The other call rings for a while even if there is no room to say that.
    let rung = [Some((true, 2)), Some((false, 2)), Some((false, 0)), None];
    let rings = [Some((true, 2)), Some((false, 0)), None];
    for (rings_itself, expected) in [(false, &rung[..]), (true, &rings[..])] {
        let mut outcomes: Vec<_> = (0..100).map(|answers| gave_way_behind(answers, rings_itself)).collect();
        outcomes.dedup();
        assert_eq!(outcomes, expected, "rung by the same device: {rings_itself}");
    }
}

/// Alice's call gives way while her device does not read, behind so many other answers. Whether she is here still, and how
/// many calls go on. None, if there was no room for the answers.
fn gave_way_behind(answers: usize, rings_itself: bool) -> Option<(bool, u64)> {
    let mut world = with(|config| {
        config.limits.message_bytes = 1_024;
        narrows(config, 2_048);
    });
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, call(Kind::Ring, 2, "bob"));
    world.told(alice);
    world.stops_reading(alice);
    for _ in 0..answers {
        world.frame(alice, call(Kind::HangUp, 9, "bob"));
        if world.closed(alice).is_some() {
            return None;
        }
    }
    let (who, whom) = if rings_itself { (alice, "bob") } else { (bob, "alice") };
    world.frame(who, call(Kind::Ring, 1, whom));
    Some((world.closed(alice).is_none(), calls(&world)))
}

#[test]
fn who_has_no_session_and_who_is_a_stranger_cannot_be_reached() {
    let mut world = crew();
    let (alice, mallory) = (world.signs_in("alice"), world.signs_in("mallory"));
    let bob = world.arrives("bob");
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    assert_eq!(world.sees(alice), ["call 1 with bob: over: unreachable"], "a browser is no session");
    let phone = world.signs_in("bob");
    for who in ["bob", "nobody"] {
        world.frame(mallory, call(Kind::Ring, 2, who));
        assert_eq!(world.sees(mallory), [format!("call 2 with {who}: over: unreachable")]);
    }
    world.store_holds();
    world.frame(alice, call(Kind::Ring, 3, "bob"));
    world.store_says(0, Answer::Failed);
    assert_eq!(world.sees(alice), ["call 3 with bob: over: unreachable"]);
    assert_eq!((world.sees(phone), world.frames(bob).len()), (vec![], 0));
}

#[test]
fn a_device_that_comes_back_has_its_call_still() {
    let (mut world, alice, bob) = talking();
    world.leaves(alice);
    world.passes(secs(14));
    world.frame(bob, signal(1, "lost"));
    let laptop = device(&mut world, "alice", 9);
    world.frame(laptop, signal(1, "another device"));
    assert_eq!(world.sees(laptop), ["call 1 with : over: no such call"]);
    let alice = world.dials("alice");
    world.frame(alice, hello_of(1));
    assert_eq!(world.sees(alice), ["welcome alice", "call 1 with bob: accept", "heads ."]);
    world.passes(secs(60));
    world.told(alice);
    world.told(bob);
    world.frame(alice, signal(1, "back"));
    assert_eq!(world.sees(bob), ["call 1 with alice: signal back"]);
    // Also if the older connection is only found to be dead by this.
    let again = world.dials("alice");
    world.frame(again, hello_of(1));
    assert_eq!(world.closed(alice), Some(CloseReason::TakenOver));
    assert_eq!(world.sees(again), ["welcome alice", "call 1 with bob: accept", "heads ."]);
}

#[test]
fn a_caller_that_comes_back_while_it_rings_is_told_so() {
    let mut world = crew();
    let (alice, bob) = (device(&mut world, "alice", 1), device(&mut world, "bob", 2));
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    world.leaves(alice);
    world.leaves(bob);
    let (alice, bob) = (world.dials("alice"), world.dials("bob"));
    world.frame(alice, hello_of(1));
    world.frame(bob, hello_of(3));
    assert_eq!(world.sees(alice), ["welcome alice", "call 1 with bob: ring", "heads ."]);
    assert_eq!(world.sees(bob), ["welcome bob", "call 1 with alice: ring", "heads ."]);
    world.frame(bob, call(Kind::Accept, 1, "alice"));
    assert_eq!(world.sees(alice), ["call 1 with bob: accept"]);
}

#[test]
fn a_device_that_does_not_come_back_ends_its_call() {
    let (mut world, alice, bob) = talking();
    world.leaves(alice);
    world.passes(secs(15));
    assert_eq!(world.sees(bob), ["call 1 with alice: over: peer gone"]);
    assert_eq!(calls(&world), 0);
    // One that has no name cannot come back.
    let alice = world.dials("alice");
    let nameless = v1_hello();
    world.frame(alice, nameless);
    world.frame(alice, call(Kind::Ring, 2, "bob"));
    world.leaves(alice);
    assert_eq!(world.sees(bob), ["call 2 with alice: ring", "call 2 with alice: over: peer gone"]);
}

fn v1_hello() -> client_frame::Body {
    client_frame::Body::Hello(switchboard_proto::v1::Hello::default())
}

#[test]
fn what_makes_no_sense_is_said_so_to_who_said_it_and_changes_nothing() {
    let (mut world, alice, bob) = talking();
    let carol = world.signs_in("carol");
    for kind in [Kind::Unspecified, Kind::Accept, Kind::Decline, Kind::HangUp, Kind::Signal] {
        world.frame(carol, call(kind, 1, "bob"));
        world.frame(carol, call(kind, 7, "bob"));
        let said = world.sees(carol);
        assert!(said.iter().all(|said| said.ends_with("over: no such call")) && said.len() == 2, "{said:?}");
    }
    world.frame(alice, call(Kind::Accept, 1, "bob"));
    world.frame(alice, call(Kind::Decline, 1, "bob"));
    world.frame(alice, call(Kind::HangUp, 1, "carol"));
    assert_eq!(world.told(alice).len(), 3);
    for (id, user) in [(8, "alice"), (8, ""), (8, "System")] {
        world.frame(alice, call(Kind::Ring, id, user));
        assert!(world.sees(alice)[0].ends_with("over: no such call"));
    }
    let odd = Call { call_id: vec![1; 99].into(), user: "x".repeat(999), ..Call::default() };
    world.frame(carol, client_frame::Body::Call(odd));
    let frames = world.frames(carol);
    assert!(frames.len() == 1 && frames[0].payload().len() < 64);
    // What is said twice is done once.
    world.frame(bob, call(Kind::Accept, 1, "alice"));
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    assert_eq!((world.sees(bob), world.sees(alice), world.stats().calls_repeated), (vec![], vec![], 2));
    world.frame(alice, signal(1, &"x".repeat(64 << 10)));
    assert_eq!(world.told(bob).len(), 1);
    world.frame(alice, signal(1, &"x".repeat((64 << 10) + 1)));
    assert_eq!(world.closed(alice), Some(CloseReason::MessageTooLarge));
}

#[test]
fn nothing_is_signalled_before_the_call_is_taken() {
    let mut world = crew();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    world.told(bob);
    world.frame(alice, signal(1, "early"));
    world.frame(bob, signal(1, "early"));
    assert_eq!(world.sees(bob), ["call 1 with : over: no such call"]);
    assert_eq!(world.sees(alice), ["call 1 with : over: no such call"]);
    world.frame(bob, call(Kind::Accept, 1, "alice"));
    assert_eq!(world.sees(bob), ["call 1 with alice: accept"]);
}

#[test]
fn who_does_not_read_is_not_disconnected_by_signals() {
    let mut world = with(|config| config.limits.lag_bytes = 1_024);
    let (alice, bob) = (device(&mut world, "alice", 1), device(&mut world, "bob", 2));
    talk(&mut world, alice, bob);
    world.stops_reading(bob);
    for _ in 0..3 {
        world.frame(alice, signal(1, &"x".repeat(600)));
    }
    assert_eq!(world.sees(alice)[0], "call 1 with bob: over: peer gone");
    world.reads_again(bob);
    assert_eq!(world.sees(bob).last().unwrap(), "call 1 with alice: over: peer gone");
    assert_eq!((world.closed(bob), world.stats().signals_dropped), (None, 1));
}

#[test]
fn there_is_room_for_so_many_calls() {
    let mut world = with(|config| config.limits.calls = 1);
    let (alice, _, carol) = (world.signs_in("alice"), world.signs_in("bob"), world.signs_in("carol"));
    world.frame(alice, call(Kind::Ring, 1, "bob"));
    assert_eq!(world.sees(alice), ["call 1 with bob: over: unreachable"], "his side has no room");
    world.store_holds();
    world.frame(alice, call(Kind::Ring, 2, "bob"));
    world.frame(carol, call(Kind::Ring, 3, "bob"));
    assert_eq!(world.sees(carol), ["call 3 with bob: over: unreachable"]);
    assert_eq!(world.stats().calls_refused, 2);
}

#[test]
fn a_shutdown_waits_for_no_device_to_come_back() {
    let (mut world, alice, bob) = talking();
    let carol = world.signs_in("carol");
    world.leaves(alice);
    world.happens(Event::Shutdown);
    assert_eq!(world.sees(bob), ["call 1 with alice: over: peer gone", "goodbye, 1000 ms"]);
    assert_eq!((world.sees(carol).len(), calls(&world), world.stopped()), (1, 0, true));
}
