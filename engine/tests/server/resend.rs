//! Classic clients that return are sent what has not arrived: at least once, and in the order of the log.

use std::time::Duration;

use switchboard_engine::{
    Answer, CloseReason, ConnId, Event, Frame, Head, Marks, Messages, Protocol, Received, Recipient, Request,
    ServerConfig,
};
use switchboard_proto::classic::Message;

use crate::{
    harness::{World, group_text, heartbeat, narrows, secs, text},
    store::{EPOCH, group, user},
};

const NOTHING: [&str; 0] = [];

/// A world in which what has not arrived is sent again; everybody has been there with a classic client before.
pub(crate) fn world() -> World {
    world_with(|_| {})
}

pub(crate) fn world_with(configure: impl FnOnce(&mut ServerConfig)) -> World {
    let mut world = World::with(|config| {
        config.limits.resend_messages = 1_000;
        configure(config);
    });
    for name in ["alice", "bob", "carol"] {
        let conn = world.connects(name);
        world.leaves(conn);
    }
    world
}

pub(crate) fn to(name: &str) -> Recipient {
    Recipient::User(user(name))
}

/// Alice says so many things to bob: "1", "2" and so on.
pub(crate) fn says(world: &mut World, alice: ConnId, range: std::ops::RangeInclusive<u32>) {
    range.for_each(|number| world.says(alice, text("bob", &number.to_string())));
}

#[test]
fn bob_goes_offline_alice_says_three_and_bob_comes_back_and_hears_three_in_order() {
    let mut world = world();
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=3);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "1", "2", "3"]);
    says(&mut world, alice, 4..=4);
    assert_eq!(world.hears(bob), ["4"]);
}

#[test]
fn what_is_sent_again_reads_as_it_was_said() {
    let mut world = world();
    world.found("crew", &["alice", "bob"]);
    let alice = world.arrives("alice");
    world.says(alice, Message { from_username: "Alice".into(), ..text("bob", "hi") });
    world.says(alice, Message { from_username: "Alice".into(), ..group_text("crew", "all") });
    let bob = world.connects("bob");
    let said = |from: &str, to: &str, content: &str, message_type| Message {
        from_username: "Alice".into(),
        from: from.into(),
        to: to.into(),
        content: content.into(),
        content_type: 1,
        message_type,
        ..Message::default()
    };
    assert_eq!(world.reads(bob)[1..], [said("alice", "bob", "hi", 1), said("crew", "alice", "all", 2)]);
}

#[test]
fn what_has_arrived_is_not_sent_again() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    says(&mut world, alice, 1..=2);
    // A Ping asks, and its Pong says that both have arrived.
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 2);
    says(&mut world, alice, 3..=3);
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "3"], "of this one nobody knows whether it has arrived");
}

#[test]
fn what_a_device_has_lost_is_not_counted_as_arrived_when_another_one_reads_it_later() {
    let mut world = world();
    let alice = world.arrives("alice");
    let (phone, laptop) = (world.arrives("bob"), world.arrives("bob"));
    world.is_unplugged(phone);
    world.is_unplugged(laptop);
    says(&mut world, alice, 1..=1);
    world.leaves(laptop);
    world.passes(secs(1));
    world.store_holds();
    let laptop = world.connects("bob");
    // The phone says goodbye while the laptop has not been sent anything yet.
    world.passes(secs(1));
    world.happens(Event::PeerClosed { conn: phone });
    world.happens(Event::Disconnected { conn: phone });
    world.store_resumes();
    world.passes(secs(10));
    assert_eq!(
        (world.hears(laptop), world.store.received("bob", &to("alice"))),
        (vec!["welcome!".into(), "1".into()], 0)
    );
    let phone = world.connects("bob");
    assert_eq!(world.hears(phone), ["welcome!", "1"]);
}

#[test]
fn of_two_that_came_in_one_moment_neither_has_taken_the_place_of_the_other() {
    let mut world = world();
    let alice = world.arrives("alice");
    let (phone, laptop) = (world.arrives("bob"), world.arrives("bob"));
    world.is_unplugged(phone);
    says(&mut world, alice, 1..=1);
    world.passes(secs(60));
    assert_eq!(world.closed(phone), Some(CloseReason::Idle));
    assert_eq!((world.hears(laptop).len(), world.store.received("bob", &to("alice"))), (1, 0));
    let phone = world.connects("bob");
    assert_eq!(world.hears(phone), ["welcome!", "1"]);
}

#[test]
fn a_connection_that_dies_silently_has_lost_what_it_was_sent_since() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    says(&mut world, alice, 1..=1);
    world.passes(secs(10));
    world.is_unplugged(bob);
    says(&mut world, alice, 2..=3);
    // The browser is back before the server has noticed.
    world.passes(secs(1));
    let again = world.connects("bob");
    assert_eq!(world.hears(again), ["welcome!", "2", "3"]);
    world.passes(secs(60));
    assert_eq!(world.closed(bob), Some(CloseReason::Idle));
    // The new connection has taken the dead one's place: what has arrived there counts.
    says(&mut world, alice, 4..=4);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 4);
    world.leaves(again);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!"]);
}

#[test]
fn what_has_arrived_at_one_device_and_not_at_another_is_sent_again() {
    let mut world = world();
    let (alice, phone, laptop) = (world.arrives("alice"), world.arrives("bob"), world.arrives("bob"));
    world.passes(secs(25));
    world.is_unplugged(phone);
    says(&mut world, alice, 1..=2);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 0, "the phone lacks it");
    world.leaves(phone);
    assert_eq!(world.store.received("bob", &to("alice")), 0);
    says(&mut world, alice, 3..=3);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 0, "the laptop has it, and the phone comes back");
    let phone = world.connects("bob");
    assert_eq!(world.hears(phone), ["welcome!", "1", "2", "3"]);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 3);
    assert_eq!(world.hears(laptop), ["1", "2", "3"], "once");
}

#[test]
fn what_a_device_was_sent_beyond_what_is_remembered_is_missing_though_another_one_has_it() {
    let mut world = world_with(|config| config.limits.receipts_per_connection = 4);
    let (alice, phone, laptop) = (world.arrives("alice"), world.arrives("bob"), world.arrives("bob"));
    let dave = world.arrives("dave");
    world.passes(secs(25));
    world.is_unplugged(phone);
    says(&mut world, alice, 1..=4);
    world.says(dave, text("bob", "hello"));
    world.passes(secs(10));
    assert_eq!((world.hears(laptop).len(), world.store.received("bob", &to("dave"))), (5, 0));
    world.leaves(phone);
    let phone = world.connects("bob");
    assert_eq!(world.hears(phone), ["welcome!", "1", "2", "3", "4", "hello"]);
}

#[test]
fn what_two_devices_have_lost_is_sent_to_the_second_one_though_the_first_one_came_back_before_it_had_ended() {
    let mut world = world();
    let (alice, phone, laptop) = (world.arrives("alice"), world.arrives("bob"), world.arrives("bob"));
    world.goes_deaf(phone);
    world.goes_deaf(laptop);
    says(&mut world, alice, 1..=1);
    world.says(phone, heartbeat());
    world.leaves(phone);
    let phone = world.connects("bob");
    assert_eq!(world.hears(phone), ["welcome!", "1"]);
    world.passes(secs(1));
    world.says(laptop, heartbeat());
    world.leaves(laptop);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 0);
    let laptop = world.connects("bob");
    assert_eq!(world.hears(laptop), ["welcome!", "1"]);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 1);
}

#[test]
fn nothing_of_before_a_user_first_came_with_a_classic_client_is_sent() {
    let mut world = World::with(|config| config.limits.resend_messages = 1_000);
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=2);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!"]);
    world.leaves(bob);
    says(&mut world, alice, 3..=3);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "3"]);
}

#[test]
fn own_messages_are_not_sent_again_and_hold_nothing_up() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    says(&mut world, alice, 1..=1);
    world.says(bob, text("alice", "mine"));
    says(&mut world, alice, 2..=2);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 3);
    world.leaves(bob);
    says(&mut world, alice, 3..=3);
    let phone = world.arrives("alice");
    world.says(phone, text("bob", "4"));
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "3", "4"]);
    world.leaves(alice);
    world.leaves(phone);
    let alice = world.connects("alice");
    assert_eq!(world.hears(alice), ["welcome!"]);
}

#[test]
fn a_new_message_waits_until_the_older_ones_of_its_conversation_are_sent() {
    let mut world = world();
    let (alice, carol) = (world.arrives("alice"), world.arrives("carol"));
    says(&mut world, alice, 1..=3);
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    assert_eq!(world.hears(bob), ["welcome!"]);
    // What is missed is not known yet: two more are stored.
    says(&mut world, alice, 4..=4);
    world.says(carol, text("bob", "hello"));
    world.store_answers(1);
    world.store_answers(1);
    assert_eq!(world.hears(bob), NOTHING);
    assert_eq!(world.stats().pushes_withheld, 2);
    world.store_resumes();
    let heard = world.hears(bob);
    let of_alice: Vec<_> = heard.iter().filter(|content| *content != "hello").collect();
    assert_eq!(of_alice, ["1", "2", "3", "4"]);
    assert_eq!(heard.len(), 5);
    says(&mut world, alice, 5..=5);
    assert_eq!(world.hears(bob), ["5"]);
}

#[test]
fn a_message_of_another_conversation_does_not_wait_once_it_is_known_what_was_missed() {
    let mut world = world();
    let (alice, carol) = (world.arrives("alice"), world.arrives("carol"));
    says(&mut world, alice, 1..=3);
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    world.store_answers(0);
    world.says(carol, text("bob", "hello"));
    world.store_answers(1);
    assert_eq!(world.hears(bob), ["welcome!", "hello"]);
    world.store_resumes();
    assert_eq!(world.hears(bob), ["1", "2", "3"]);
}

#[test]
fn what_was_read_from_the_log_before_it_is_delivered_is_sent_once() {
    let mut world = world();
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=1);
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    says(&mut world, alice, 2..=2);
    // It is stored, and what was missed is read, before the engine is told that it is stored.
    let stored = world.store.held.remove(1);
    let answer = world.store.answer(&stored.1);
    world.store_answers(0);
    world.store_answers(0);
    assert_eq!(world.hears(bob), ["welcome!", "1", "2"]);
    world.happens(Event::Answered { ticket: stored.0, answer });
    assert_eq!(world.hears(bob), NOTHING);
    world.store_resumes();
    says(&mut world, alice, 3..=3);
    assert_eq!(world.hears(bob), ["3"]);
    // Nothing is remembered of it in the end.
    world.passes(secs(120));
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!"]);
}

#[test]
fn a_log_is_sent_in_parts_each_when_the_one_before_is_written() {
    let mut world = world_with(|config| {
        config.limits.message_bytes = 1_024;
        narrows(config, 2_048);
    });
    let alice = world.arrives("alice");
    (1..=9).for_each(|number| world.says(alice, text("bob", &format!("{number}{}", "x".repeat(500)))));
    let bob = world.next_conn();
    world.store_holds();
    world.opens("bob", bob, Protocol::Classic);
    world.goes_deaf(bob);
    world.store_resumes();
    let heard = |world: &mut World| -> Vec<String> {
        world.hears(bob).iter().map(|content| content[..1].to_owned()).collect()
    };
    assert_eq!(heard(&mut world), ["w", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    world.leaves(bob);
    let slow = world.next_conn();
    world.store_holds();
    world.opens("bob", slow, Protocol::Classic);
    world.stops_reading(slow);
    world.store_resumes();
    assert_eq!(world.hears(slow).len(), 2, "the welcome and one more, as long as they are not written");
    for _ in 0..9 {
        world.flushes(slow, 9);
        assert!(world.closed(slow).is_none());
    }
    assert_eq!(world.hears(slow).len(), 8);
}

#[test]
fn of_a_log_that_is_far_behind_only_the_newest_part_is_sent() {
    let mut world = world_with(|config| config.limits.resend_messages = 3);
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=10);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "8", "9", "10"]);
    assert_eq!(world.stats().resend_given_up, 7);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 10);
}

#[test]
fn what_the_store_fails_to_say_is_asked_again() {
    let mut world = world();
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=2);
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    world.store_says(0, Answer::Failed);
    world.passes(secs(1));
    world.store_answers(0);
    world.store_says(0, Answer::Failed);
    world.passes(secs(1));
    assert_eq!((world.hears(bob), world.stats().resend_failed), (vec!["welcome!".to_owned()], 2));
    world.store_answers(0);
    assert_eq!(world.hears(bob), ["1", "2"]);
    // What has arrived and could not be stored is told with what arrives next.
    world.store_says(0, Answer::Failed);
    assert_eq!(world.store.received("bob", &to("alice")), 0);
    world.store_resumes();
    says(&mut world, alice, 3..=3);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 3);
}

#[test]
fn a_connection_that_ends_meanwhile_waits_for_nothing() {
    for held in 1..=3 {
        let mut world = world();
        let alice = world.arrives("alice");
        says(&mut world, alice, 1..=2);
        world.store_holds();
        let bob = world.connects("bob");
        (1..held).for_each(|_| world.store_answers(0));
        world.leaves(bob);
        assert_eq!((world.server().gauges().requests, world.server().gauges().users), (0, 1), "{held}");
        world.store_resumes();
        let bob = world.connects("bob");
        assert_eq!(world.hears(bob), ["welcome!", "1", "2"]);
    }
}

#[test]
fn a_group_that_the_user_has_left_meanwhile_is_passed_over() {
    let mut world = world();
    world.found("crew", &["alice", "bob"]);
    let alice = world.arrives("alice");
    world.says(alice, group_text("crew", "secret"));
    says(&mut world, alice, 1..=1);
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    world.store_answers(0);
    world.is_removed_from("bob", "crew");
    world.store_resumes();
    assert_eq!(world.hears(bob), ["welcome!", "1"]);
}

#[test]
fn members_of_a_group_are_each_sent_what_they_lack() {
    let mut world = world();
    world.found("crew", &["alice", "bob", "carol"]);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.says(alice, group_text("crew", "one"));
    world.passes(secs(10));
    world.says(bob, group_text("crew", "two"));
    world.leaves(bob);
    let (bob, carol) = (world.connects("bob"), world.connects("carol"));
    assert_eq!(world.hears(bob), ["welcome!"]);
    assert_eq!(world.hears(carol), ["welcome!", "one", "two"]);
    world.passes(secs(10));
    for name in ["bob", "carol"] {
        let expected = if name == "bob" { 1 } else { 2 };
        assert!(world.store.received(name, &Recipient::Group(group("crew"))) >= expected, "{name}");
    }
}

#[test]
fn a_client_that_answers_no_ping_is_sent_everything_again_and_costs_no_more_than_the_limit() {
    let mut world = world_with(|config| config.limits.receipts_per_connection = 4);
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.goes_deaf(bob);
    says(&mut world, alice, 1..=6);
    assert_eq!(world.hears(bob).len(), 6);
    assert_eq!(world.stats().receipts_over_limit, 2);
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "1", "2", "3", "4", "5", "6"]);
    world.passes(secs(10));
    assert_eq!(world.store.received("bob", &to("alice")), 6);
}

#[test]
fn a_pong_that_nobody_asked_for_is_no_receipt() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.goes_deaf(bob);
    says(&mut world, alice, 1..=2);
    for payload in [&[][..], b"hello", &[0xff; 8], &3_u64.to_be_bytes(), &[0; 125]] {
        world.happens(Event::Pong { conn: bob, payload: payload.to_vec().into() });
    }
    world.passes(secs(10));
    assert_eq!((world.closed(bob), world.store.told_received), (None, 0));
    // The Ping has asked by now; an older position than the one asked for is right too.
    world.happens(Event::Pong { conn: bob, payload: 2_u64.to_be_bytes().to_vec().into() });
    assert_eq!(world.store.received("bob", &to("alice")), 1);
    world.happens(Event::Pong { conn: bob, payload: 2_u64.to_be_bytes().to_vec().into() });
    assert_eq!(world.store.told_received, 1);
}

#[test]
fn an_idle_connection_and_one_that_is_only_relayed_to_remember_nothing() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    let before = world.store.asked;
    world.says(alice, crate::harness::relayed("bob", 12, "ring"));
    world.says(alice, crate::harness::shout("all"));
    assert_eq!(world.hears(bob), ["ring", "all"]);
    world.passes(Duration::from_secs(24));
    assert_eq!(world.frames(bob), [], "no Ping before its time");
    assert_eq!(world.store.asked, before);
}

#[test]
fn a_ping_asks_soon_after_a_stored_message_and_once_for_many() {
    let mut world = world_with(|config| config.receipt_interval = secs(4));
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    says(&mut world, alice, 1..=1);
    world.passes(secs(3));
    says(&mut world, alice, 2..=5);
    world.frames(bob);
    world.passes(secs(1));
    let position = 6_u64.to_be_bytes().to_vec();
    assert_eq!(world.frames(bob), [Frame::Ping(position.into())]);
    assert_eq!(world.store.told_received, 1);
    world.passes(secs(20));
    assert_eq!(world.frames(bob), []);
}

#[test]
fn logs_beyond_the_limit_are_sent_to_the_next_connection() {
    let mut world = world_with(|config| config.limits.resend_conversations = 1);
    let (alice, carol) = (world.arrives("alice"), world.arrives("carol"));
    says(&mut world, alice, 1..=1);
    world.says(carol, text("bob", "hello"));
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "1"]);
    assert_eq!(world.stats().resend_over_limit, 1);
    world.passes(secs(30));
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "hello"]);
}

#[test]
fn what_the_store_gives_in_several_answers_is_asked_for_until_it_ends() {
    let mut world = world();
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    let head = |name: &str| Head {
        conversation: to(name),
        epoch: EPOCH,
        seq: 1,
        first_seq: 1,
        own: Marks::default(),
        peer: Marks::default(),
    };
    let received = |name: &str| Received {
        user: user("bob"),
        conversation: to(name),
        epoch: EPOCH,
        seq: 0,
        beyond: Vec::new(),
    };
    let part =
        |name: &str, next| Answer::UnreceivedLoaded { unreceived: vec![(head(name), received(name))], next };
    world.store_says(0, part("alice", Some(7)));
    assert!(matches!(world.store.held[0].1, Request::LoadUnreceived { after: 7, .. }));
    world.store_says(0, part("carol", None));
    // Each log in its turn. One that has begun anew has nothing in common with what was missed.
    let log = |epoch| {
        Answer::MessagesLoaded(Messages {
            epoch,
            head_seq: 1,
            first_seq: 1,
            messages: vec![],
            group_name: "".into(),
        })
    };
    world.store_says(0, log(EPOCH));
    world.store_says(0, log(EPOCH + 1));
    assert_eq!((world.store.held.len(), world.hears(bob)), (0, vec!["welcome!".to_owned()]));
}
