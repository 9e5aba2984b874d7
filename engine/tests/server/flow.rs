//! Storms, greedy users, and devices that come back: everybody is served within bounds.

use switchboard_engine::{CloseReason, DevicePolicy, Event};
use switchboard_proto::v1::server_frame::Body;

use crate::{
    harness::{World, group_text, heartbeat, secs, shout, text},
    session_words::{hello, hello_of, submit},
};

const NOTHING: [&str; 0] = [];

#[test]
fn the_connections_of_a_user_share_the_users_rate() {
    let mut world = World::with(|config| {
        (config.limits.user_messages_per_second, config.limits.user_message_burst) = (1, 3);
    });
    let (phone, laptop, bob) = (world.arrives("alice"), world.arrives("alice"), world.arrives("bob"));
    world.says(phone, text("bob", "one"));
    world.says(laptop, text("bob", "two"));
    world.says(laptop, heartbeat());
    assert_eq!((world.closed(phone), world.closed(laptop)), (None, None));
    world.passes(secs(1));
    world.says(phone, text("bob", "three"));
    world.says(phone, text("bob", "too much"));
    assert_eq!((world.closed(phone), world.closed(laptop)), (Some(CloseReason::TooManyMessages), None));
    assert_eq!(world.hears(bob), ["one", "two", "three"]);
    (0..3).for_each(|_| world.says(bob, text("alice", "bob has a rate of his own")));
    assert_eq!((world.closed(bob), world.stats().rate_limited), (None, 1));
}

#[test]
fn the_connections_of_a_user_share_the_users_bytes() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 2_000;
        (config.limits.user_bytes_per_second, config.limits.user_byte_burst) = (1_000, 2_000);
    });
    let (phone, laptop) = (world.arrives("alice"), world.arrives("alice"));
    let much = || shout(&"x".repeat(900));
    [phone, laptop].into_iter().for_each(|conn| world.says(conn, much()));
    assert_eq!((world.closed(phone), world.closed(laptop)), (None, None));
    world.says(laptop, much());
    assert_eq!(world.closed(laptop), Some(CloseReason::TooManyBytes));
    world.passes(secs(1));
    world.says(phone, much());
    assert_eq!(world.closed(phone), None);
}

#[test]
fn a_session_is_told_the_rates_of_its_user() {
    let limits_of = |mut world: World| {
        let alice = world.dials("alice");
        world.frame(alice, hello(&[]));
        let Some(Body::Welcome(welcome)) = world.told(alice).into_iter().next() else { panic!("a welcome") };
        let l = welcome.limits.unwrap();
        (l.user_messages_per_second, l.user_message_burst, l.user_bytes_per_second, l.user_byte_burst)
    };
    assert_eq!(limits_of(World::new()), (0, 0, 0, 0), "they are not limited");
    let limited = World::with(|config| {
        config.limits.user_messages_per_second = 5;
        config.limits.user_message_burst = 6;
        config.limits.user_bytes_per_second = 7;
        config.limits.user_byte_burst = 8 << 20;
    });
    assert_eq!(limits_of(limited), (5, 6, 7, 8 << 20));
}

#[test]
fn a_device_that_comes_back_takes_the_place_of_its_old_session() {
    for devices in [DevicePolicy::All, DevicePolicy::NewestWins] {
        let mut world = World::with(|config| config.devices = devices);
        let old = world.dials("alice");
        world.frame(old, hello_of(1));
        world.told(old);
        let new = world.dials("alice");
        world.frame(new, hello_of(1));
        assert_eq!(world.closed(old).map(CloseReason::code), Some(4000));
        assert_eq!(world.sees(old), [format!("goodbye, {} ms", u32::MAX)]);
        assert_eq!(world.closed(new), None);
        assert_eq!(world.sees(new), ["welcome alice", "heads ."]);
    }
}

#[test]
fn what_a_device_says_late_over_a_connection_that_it_has_given_up_does_not_take_its_new_one_from_it() {
    let mut world = World::new();
    let (given_up, new) = (world.dials("alice"), world.dials("alice"));
    world.frame(new, hello_of(1));
    world.frame(given_up, hello_of(1));
    assert_eq!(world.closed(new), None);
    assert_eq!(world.sees(new), ["welcome alice", "heads ."]);
    assert_eq!(world.closed(given_up), Some(CloseReason::TakenOver));
    assert_eq!(world.sees(given_up), [format!("goodbye, {} ms", u32::MAX)]);
}

#[test]
fn only_the_same_device_of_the_same_user_is_replaced() {
    let mut world = World::new();
    let (phone, classic) = (world.dials("alice"), world.arrives("alice"));
    world.frame(phone, hello_of(1));
    let (unnamed, bob) = (world.signs_in("alice"), world.dials("bob"));
    world.frame(bob, hello_of(1));
    let silent = world.dials("alice");
    let laptop = world.dials("alice");
    world.frame(laptop, hello_of(2));
    let also_unnamed = world.signs_in("alice");
    for conn in [phone, classic, unnamed, bob, silent, laptop, also_unnamed] {
        assert_eq!(world.closed(conn), None, "{conn}");
    }
}

#[test]
fn what_the_old_session_of_a_device_had_submitted_is_stored_all_the_same() {
    let mut world = World::new();
    let (old, bob) = (world.dials("alice"), world.arrives("bob"));
    world.frame(old, hello_of(1));
    world.store_holds();
    world.frame(old, submit(1, "bob", "hi"));
    let new = world.dials("alice");
    world.frame(new, hello_of(1));
    world.frame(new, submit(1, "bob", "hi"));
    world.store_resumes();
    assert_eq!(world.hears(bob), ["hi"], "once");
    assert!(world.sees(new).contains(&"accepted 1 as bob/1".to_owned()));
}

#[test]
fn of_a_storm_so_many_are_taken_in_as_the_rate_allows() {
    let mut world = World::with(|config| {
        (config.limits.admissions_per_second, config.limits.admission_burst) = (2, 3);
        config.peers = true;
    });
    let conns: Vec<_> = (0..8).map(|number| world.connects(&format!("user-{number}"))).collect();
    let refused = conns.iter().filter(|conn| world.closed(**conn).is_some()).count();
    assert_eq!((refused, world.stats().refused_admission), (5, 5));
    assert_eq!(world.closed(conns[3]).map(CloseReason::code), Some(1013));
    assert_eq!(world.frames(conns[3]), []);
    // Nothing is known of who was not taken in.
    assert_eq!((world.store.asked, world.subscriptions().len()), (3, 3));
    assert_eq!((world.server().gauges().users, world.server().gauges().connections), (3, 3));
    world.passes(secs(1));
    let later: Vec<_> = (0..4).map(|number| world.connects(&format!("user-{number}"))).collect();
    assert_eq!(later.iter().filter(|conn| world.closed(**conn).is_none()).count(), 2);
}

#[test]
fn sessions_that_are_not_taken_in_are_told_a_place_of_their_own_and_come_back_to_it() {
    let mut world = World::with(|config| {
        (config.limits.admissions_per_second, config.limits.admission_burst) = (2, 1);
    });
    let conns: Vec<_> = (0..4).map(|number| world.dials(&format!("user-{number}"))).collect();
    assert_eq!(world.sees(conns[0]), NOTHING);
    for (conn, wait_ms) in conns[1..].iter().zip([500, 1_000, 1_500]) {
        let told = world.told(*conn);
        let [Body::Goodbye(goodbye)] = &told[..] else { panic!("a goodbye: {told:?}") };
        assert_eq!((goodbye.reconnect_after_ms, goodbye.reconnect_spread_ms), (wait_ms, 0));
        assert_eq!(goodbye.text, CloseReason::NotAdmitted.text());
    }
    for number in 1..4 {
        world.passes(secs(1) / 2);
        let conn = world.dials(&format!("user-{number}"));
        assert_eq!(world.closed(conn), None, "{number}");
    }
}

#[test]
fn no_place_is_promised_that_is_further_away_than_anybody_waits() {
    let mut world = World::with(|config| {
        (config.limits.admissions_per_second, config.limits.admission_burst) = (1, 1);
    });
    let conns: Vec<_> = (0..400).map(|number| world.dials(&format!("user-{number}"))).collect();
    assert_eq!(world.sees(conns[300]), ["goodbye, 300000 ms"]);
    assert_eq!(world.sees(conns[399]), ["goodbye, 300000 ms"]);
    world.passes(secs(600));
    let (first, second) = (world.dials("user-1"), world.dials("user-2"));
    assert_eq!(world.closed(first), None);
    assert_eq!(world.sees(second), ["goodbye, 1000 ms"], "promises that have passed do not count");
}

#[test]
fn who_is_not_taken_in_takes_nobodys_place_and_a_late_event_of_it_changes_nothing() {
    let mut world = World::with(|config| {
        (config.limits.admissions_per_second, config.limits.admission_burst) = (1, 1);
        config.devices = DevicePolicy::NewestWins;
    });
    let alice = world.arrives("alice");
    let again = world.next_conn();
    world.opens("alice", again, switchboard_engine::Protocol::Classic);
    assert_eq!((world.closed(alice), world.closed(again)), (None, Some(CloseReason::NotAdmitted)));
    let stale = world.stats().stale_events;
    world.happens(Event::Received { conn: again, message: bytes::Bytes::new() });
    assert_eq!(world.stats().stale_events, stale + 1);
    world.says(alice, shout("still here"));
    assert_eq!(world.hears(alice), ["still here"]);
}

#[test]
fn a_shutdown_closes_connections_a_part_at_a_time() {
    let mut world = World::with(|config| config.drain_time = secs(20));
    let conns: Vec<_> = (0..40).map(|number| world.arrives(&format!("user-{number}"))).collect();
    world.happens(Event::Shutdown);
    for step in 1..=20 {
        let closed = conns.iter().filter(|conn| world.closed(**conn).is_some()).count();
        assert_eq!((closed, world.stopped()), (2 * step, step == 20));
        world.passes(secs(1));
    }
}

#[test]
fn few_connections_are_closed_in_as_few_steps() {
    let mut world = World::with(|config| config.drain_time = secs(20));
    let conns: Vec<_> = (0..3).map(|number| world.arrives(&format!("user-{number}"))).collect();
    world.happens(Event::Shutdown);
    assert!(world.closed(conns[0]).is_some() && world.closed(conns[1]).is_none());
    // Who leaves meanwhile is not waited for.
    world.leaves(conns[1]);
    world.passes(secs(1));
    assert!(world.stopped());
}

#[test]
fn who_is_not_closed_yet_still_hears_what_was_accepted() {
    let mut world = World::with(|config| {
        (config.drain_time, config.close_timeout) = (secs(20), secs(5));
    });
    world.found("crew", &["alice", "bob", "carol"]);
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    world.store_holds();
    world.says(alice, group_text("crew", "late"));
    world.happens(Event::Shutdown);
    world.passes(secs(5));
    assert!(world.closed(alice).is_some());
    world.store_resumes();
    assert_eq!((world.hears(bob), world.hears(carol)), (vec!["late".to_owned()], vec!["late".to_owned()]));
    world.passes(secs(20));
    assert!(world.stopped());
}

#[test]
fn of_one_submit_in_two_requests_the_one_that_is_stored_is_delivered() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.arrives("bob"));
    world.store_holds();
    (0..2).for_each(|_| world.frame(alice, submit(1, "bob", "hi")));
    // The store comes to the second one first.
    [1, 0].into_iter().for_each(|nth| world.store_answers(nth));
    assert_eq!(world.hears(bob), ["hi"]);
    assert_eq!(world.sees(alice).len(), 2);
}
