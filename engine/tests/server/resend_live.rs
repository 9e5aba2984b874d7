//! What comes for a classic client while it is found out what it has missed, and clients that say little of what they have
//! received.

use switchboard_engine::{ConnId, Event};
use switchboard_proto::classic::Message;

use crate::{
    harness::{World, heartbeat, narrows, secs, text},
    resend::{says, to, world, world_with},
};

/// Bob comes, and while the store says what he has missed, others say something with pictures of their own. What the
/// store is about to say is given back.
fn says_while_it_is_asked(world: &mut World, conversations: &[(ConnId, &str)]) -> (ConnId, Event) {
    world.store_holds();
    let bob = world.connects("bob");
    world.store_answers(0);
    let (ticket, request) = world.store.held.remove(0);
    let answer = world.store.answer(&request);
    for (sender, content) in conversations {
        world.says(*sender, Message { avatar: "mine.png".into(), ..text("bob", content) });
        world.store_answers(0);
    }
    assert_eq!(world.hears(bob), ["welcome!"]);
    (bob, Event::Answered { ticket, answer })
}

#[test]
fn what_comes_while_it_is_asked_what_was_missed_is_sent_as_it_came_and_not_read() {
    let mut world = world();
    let (alice, carol) = (world.arrives("alice"), world.arrives("carol"));
    let (bob, answer) = says_while_it_is_asked(&mut world, &[(alice, "1"), (carol, "hello"), (alice, "2")]);
    let asked = world.store.asked;
    world.happens(answer);
    let read = world.reads(bob);
    assert_eq!(read.iter().map(|message| &*message.content).collect::<Vec<_>>(), ["1", "hello", "2"]);
    assert!(read.iter().all(|message| message.avatar == "mine.png"));
    // Nothing but what has arrived is told to the store.
    assert_eq!(world.store.asked - asked, world.store.held.len());
    world.store_resumes();
    assert_eq!((world.store.received("bob", &to("alice")), world.hears(bob)), (2, vec![]));
}

#[test]
fn what_comes_while_older_messages_are_read_is_sent_behind_them_as_it_came() {
    let mut world = world();
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=2);
    let (bob, answer) = says_while_it_is_asked(&mut world, &[(alice, "3")]);
    world.happens(answer);
    world.says(alice, Message { avatar: "mine.png".into(), ..text("bob", "4") });
    world.store_answers(1);
    world.store_resumes();
    let read = world.reads(bob);
    let of = |message: &Message| (message.content.clone(), message.avatar.clone());
    let expected = [("1", ""), ("2", ""), ("3", "mine.png"), ("4", "mine.png")];
    assert_eq!(read.iter().map(of).collect::<Vec<_>>(), expected.map(|(c, a)| (c.into(), a.into())));
}

#[test]
fn what_a_user_says_to_itself_is_sent_to_a_device_that_catches_up_as_far_as_there_is_room() {
    let mut world = world_with(|config| config.limits.resend_held_bytes = 110);
    let laptop = world.arrives("bob");
    world.store_holds();
    let phone = world.connects("bob");
    let (ticket, request) = world.store.held.remove(0);
    let answer = world.store.answer(&request);
    for note in ["1", "2"] {
        world.says(laptop, text("bob", note));
        world.store_answers(0);
    }
    assert_eq!(world.stats().withheld_over_limit, 1);
    world.happens(Event::Answered { ticket, answer });
    world.store_resumes();
    // A log does not say over which connection something came, and nobody is to hear what it has said itself.
    assert_eq!((world.hears(phone), world.hears(laptop)), (vec!["welcome!".into(), "1".into()], vec![]));
}

#[test]
fn what_there_is_no_room_to_hold_is_read_from_the_log() {
    let mut world = world_with(|config| config.limits.resend_held_bytes = 110);
    let (alice, carol) = (world.arrives("alice"), world.arrives("carol"));
    let (bob, answer) =
        says_while_it_is_asked(&mut world, &[(alice, "1"), (alice, "2"), (carol, "hello"), (alice, "3")]);
    assert_eq!(world.stats().withheld_over_limit, 3);
    world.happens(answer);
    world.store_resumes();
    let mut heard = world.hears(bob);
    heard.sort();
    assert_eq!(heard, ["1", "2", "3", "hello"]);
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!"]);
}

#[test]
fn the_first_of_a_log_that_is_answered_after_the_rest_was_read_is_sent() {
    let mut world = world_with(|config| config.limits.resend_held_bytes = 0);
    let (laptop, phone) = (world.arrives("alice"), world.arrives("alice"));
    for is_caught_up in [false, true] {
        world.store_holds();
        let bob = world.connects("bob");
        world.store_answers(0);
        let (ticket, request) = world.store.held.remove(0);
        let nothing_missed = Event::Answered { ticket, answer: world.store.answer(&request) };
        world.says(laptop, text("bob", "first"));
        world.says(phone, text("bob", "second"));
        let (ticket, request) = world.store.held.remove(0);
        let first_stored = Event::Answered { ticket, answer: world.store.answer(&request) };
        world.store_answers(0);
        world.happens(nothing_missed);
        if is_caught_up {
            world.store_resumes();
            world.happens(first_stored);
        } else {
            world.happens(first_stored);
            world.store_resumes();
        }
        let mut heard = world.hears(bob);
        heard.sort();
        assert_eq!(heard, ["first", "second", "welcome!"]);
        world.leaves(bob);
    }
}

#[test]
fn what_was_held_and_finds_no_room_is_sent_when_the_rest_is_written() {
    let mut world = world_with(|config| {
        config.limits.message_bytes = 1_024;
        narrows(config, 2_048);
    });
    let alice = world.arrives("alice");
    let long = |number: u32| format!("{number}{}", "x".repeat(500));
    let texts: Vec<_> = (1..=6).map(long).collect();
    let said: Vec<_> = texts.iter().map(|text| (alice, &**text)).collect();
    let (bob, answer) = says_while_it_is_asked(&mut world, &said);
    world.stops_reading(bob);
    world.happens(answer);
    world.store_resumes();
    let mut heard = world.hears(bob);
    assert!(heard.len() < 6, "as much as may wait");
    for _ in 0..6 {
        world.flushes(bob, 9);
        heard.extend(world.hears(bob));
    }
    assert_eq!((heard, world.closed(bob)), (texts, None));
}

#[test]
fn what_was_sent_again_is_asked_after_at_once() {
    let mut world = world();
    let alice = world.arrives("alice");
    says(&mut world, alice, 1..=2);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "1", "2"]);
    assert_eq!(world.store.received("bob", &to("alice")), 2);
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!"]);
}

#[test]
fn a_client_that_lives_and_answers_no_ping_is_not_sent_everything_again_for_ever() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.goes_deaf(bob);
    says(&mut world, alice, 1..=3);
    // A Ping after 10 s, and 60 s in which it says that it lives, without answering.
    for second in (0..80).step_by(5) {
        assert_eq!(world.store.received("bob", &to("alice")), 0, "{second}");
        world.passes(secs(5));
        world.says(bob, heartbeat());
        if world.stats().receipts_assumed > 0 {
            break;
        }
    }
    assert_eq!((world.stats().receipts_assumed, world.store.received("bob", &to("alice"))), (3, 3));
    // What it is sent from now on counts once it is written.
    says(&mut world, alice, 4..=4);
    world.leaves(bob);
    assert_eq!(world.store.received("bob", &to("alice")), 4);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!"]);
}

#[test]
fn a_client_that_has_answered_once_has_lost_what_it_does_not_answer_for() {
    let mut world = world();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.passes(secs(30));
    world.goes_deaf(bob);
    says(&mut world, alice, 1..=1);
    for _ in 0..16 {
        world.passes(secs(5));
        world.says(bob, heartbeat());
    }
    world.leaves(bob);
    let bob = world.connects("bob");
    assert_eq!(world.hears(bob), ["welcome!", "1"]);
}
