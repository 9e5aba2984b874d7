//! Receipts: how far the users of sessions are with their conversations, and who is told of it.

use switchboard_engine::{Answer, ConnId, Event, Marks, Note, StoredMarks, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, Cursor, Mark, NotedMarks, Resync, client_frame::Body, note},
};

use crate::{
    harness::{World, narrows, secs, text},
    session_words::{conversation, hello, mark, resync},
    store::{EPOCH, group, user},
};

const NOTHING: [&str; 0] = [];

/// Bob has said three things to Alice, who has a phone and a laptop; he has a session and a classic connection.
fn three_said(world: &mut World) -> [ConnId; 4] {
    let bob = world.signs_in("bob");
    (1..=3).for_each(|id| world.submits(bob, id, "alice", "hi"));
    let conns = [world.signs_in("alice"), world.signs_in("alice"), bob, world.arrives("bob")];
    conns.iter().for_each(|conn| drop(world.frames(*conn)));
    conns
}

#[test]
fn what_alice_has_read_is_told_to_her_other_devices_and_to_bob_and_not_answered() {
    let mut world = World::new();
    let [phone, laptop, bob, classic] = three_said(&mut world);
    world.frame(phone, mark("bob", 3, 2));
    assert_eq!(world.sees(phone), NOTHING);
    assert_eq!(world.sees(laptop), ["bob: alice has 3, read 2"]);
    assert_eq!(world.sees(bob), ["alice: alice has 3, read 2"]);
    assert_eq!(world.frames(classic), []);
}

#[test]
fn marks_are_told_once_the_store_has_them() {
    let mut world = World::new();
    let [phone, laptop, bob, _] = three_said(&mut world);
    world.store_holds();
    world.frame(phone, mark("bob", 3, 0));
    assert_eq!((world.sees(laptop).len(), world.sees(bob).len()), (0, 0));
    world.store_resumes();
    assert_eq!((world.sees(laptop).len(), world.sees(bob).len()), (1, 1));
}

#[test]
fn marks_only_move_forwards_and_what_moves_nothing_is_told_to_nobody() {
    let mut world = World::new();
    let [phone, laptop, bob, _] = three_said(&mut world);
    world.frame(phone, mark("bob", 2, 2));
    world.frame(laptop, mark("bob", 3, 1));
    assert_eq!(world.sees(bob), ["alice: alice has 2, read 2", "alice: alice has 3, read 2"]);
    for frame in [mark("bob", 1, 1), mark("bob", 3, 2), mark("bob", 3, 2)] {
        world.frame(phone, frame);
    }
    assert_eq!(world.sees(bob), NOTHING);
    assert_eq!(world.stats().marks_unmoved, 3);
    // Nobody has what was never said.
    world.frame(phone, mark("bob", 900, 900));
    assert_eq!(world.sees(bob), ["alice: alice has 3, read 3"]);
}

#[test]
fn of_a_group_only_the_members_own_devices_are_told() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (phone, laptop, bob) = (world.signs_in("alice"), world.signs_in("alice"), world.signs_in("bob"));
    world.submits(bob, 1, "#crew", "all");
    [phone, laptop, bob].iter().for_each(|conn| drop(world.frames(*conn)));
    world.frame(phone, mark("#crew", 1, 1));
    assert_eq!(world.sees(laptop), ["#crew: alice has 1, read 1"]);
    assert_eq!(world.sees(bob), NOTHING);
}

#[test]
fn a_note_to_self_is_marked_for_the_other_devices_once() {
    let mut world = World::with(|config| config.peers = true);
    let (phone, laptop) = (world.signs_in("alice"), world.signs_in("alice"));
    world.submits(phone, 1, "alice", "milk");
    world.frames(laptop);
    world.frame(phone, mark("alice", 1, 1));
    assert_eq!(world.sees(laptop), ["alice: alice has 1, read 1"]);
    assert_eq!(world.told.len(), 1);
}

#[test]
fn of_marks_that_come_while_others_are_stored_the_newest_state_wins() {
    let mut world = World::new();
    let [phone, _, bob, _] = three_said(&mut world);
    world.store_holds();
    let asked = world.store.asked;
    for frame in [mark("bob", 1, 0), mark("bob", 3, 0), mark("bob", 2, 2), mark("bob", 2, 1)] {
        world.frame(phone, frame);
    }
    assert_eq!((world.store.asked - asked, world.server().gauges().marks), (1, 1));
    world.store_resumes();
    assert_eq!(world.sees(bob), ["alice: alice has 1, read 0", "alice: alice has 3, read 2"]);
    assert_eq!((world.store.asked - asked, world.server().gauges().marks), (2, 0));
    assert_eq!((world.stats().marks, world.stats().marks_coalesced), (2, 3));
}

#[test]
fn too_many_marks_are_dropped_and_close_nothing() {
    let mut world = World::with(|config| config.limits.marks_per_connection = 2);
    let [phone, _, bob, _] = three_said(&mut world);
    world.store_holds();
    for frame in [mark("bob", 1, 0), mark("carol", 1, 0), mark("dave", 1, 0), mark("bob", 2, 0)] {
        world.frame(phone, frame);
    }
    assert_eq!((world.stats().marks_dropped, world.closed(phone)), (1, None));
    world.store_resumes();
    world.frames(bob);
    world.frame(phone, mark("bob", 3, 3));
    assert_eq!(world.sees(bob), ["alice: alice has 3, read 3"]);
}

#[test]
fn marks_that_cannot_be_are_counted_and_change_nothing() {
    let mut world = World::new();
    let [phone, laptop, bob, _] = three_said(&mut world);
    let Body::Mark(right) = mark("bob", 2, 1) else { unreachable!() };
    let marks = |delivered_seq, read_seq| Some(v1::Marks { delivered_seq, read_seq });
    let wrong = [
        Mark { conversation: None, ..right.clone() },
        Mark { conversation: Some(conversation("")), ..right.clone() },
        Mark { conversation: Some(conversation("System")), ..right.clone() },
        Mark { epoch: 0, ..right.clone() },
        Mark { marks: None, ..right.clone() },
        Mark { marks: marks(0, 0), ..right.clone() },
        Mark { marks: marks(1, 2), ..right.clone() },
    ];
    let (count, asked) = (wrong.len() as u64, world.store.asked);
    wrong.into_iter().for_each(|mark| world.frame(phone, Body::Mark(mark)));
    assert_eq!((world.stats().refused_marks, world.store.asked), (count, asked));
    // These only the store can know.
    world.frame(phone, Body::Mark(Mark { epoch: EPOCH + 1, ..right }));
    world.frame(phone, mark("#crew", 1, 1));
    world.frame(phone, mark("nobody", 1, 1));
    assert_eq!((world.stats().marks_refused, world.closed(phone)), (3, None));
    [phone, laptop, bob].iter().for_each(|conn| assert_eq!(world.sees(*conn), NOTHING));
    assert!(world.store.marks.values().all(|marks| *marks == Marks::default()));
}

#[test]
fn marks_that_the_store_fails_to_keep_are_told_to_nobody_and_healed_by_the_heads() {
    let mut world = World::new();
    let [phone, _, bob, _] = three_said(&mut world);
    world.store_holds();
    world.frame(phone, mark("bob", 3, 3));
    world.store_says(0, Answer::Failed);
    world.frame(phone, mark("bob", 3, 3));
    world.passes(secs(10));
    assert_eq!((world.sees(bob), world.stats().marks_failed), (vec![], 2));
    world.store.held.clear();
    world.store_resumes();
    world.frames(phone);
    let cursor = |own| {
        let conversation = Some(conversation("bob"));
        Body::Resync(Resync { cursors: vec![Cursor { conversation, epoch: EPOCH, seq: 3, own, peer: None }] })
    };
    let marked = Some(v1::Marks { delivered_seq: 3, read_seq: 3 });
    world.frame(phone, cursor(marked));
    assert_eq!(world.sees(phone), ["heads bob/3."], "the client sees that its marks are missing");
    world.frame(phone, mark("bob", 3, 3));
    world.frame(phone, cursor(marked));
    assert_eq!(world.sees(phone), ["heads ."]);
}

#[test]
fn heads_tell_the_marks_of_both_sides() {
    let mut world = World::new();
    let [phone, laptop, bob, _] = three_said(&mut world);
    world.frame(phone, mark("bob", 3, 1));
    world.frame(bob, mark("alice", 2, 2));
    world.frames(laptop);
    world.frame(laptop, resync(&[("bob", 3)]));
    assert_eq!(world.sees(laptop), ["heads bob/3 (own has 3, read 1) (peer has 2, read 2)."]);
    let tablet = world.dials("alice");
    world.frame(tablet, hello(&[("bob", 3)]));
    assert_eq!(world.sees(tablet)[1..], ["heads bob/3 (own has 3, read 1) (peer has 2, read 2)."]);
}

#[test]
fn a_session_that_lags_learns_the_marks_by_the_heads() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        narrows(config, 2048);
    });
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.submits(bob, 1, "alice", "hi");
    world.stops_reading(bob);
    (2..=3).for_each(|id| world.submits(alice, id, "bob", &"x".repeat(700)));
    world.frame(alice, mark("bob", 1, 1));
    world.frames(bob);
    world.reads_again(bob);
    assert_eq!(world.sees(bob), ["heads alice/3 (peer has 1, read 1)."]);
}

#[test]
fn marks_of_a_session_that_has_gone_are_told_to_nobody_and_kept() {
    let mut world = World::new();
    let [phone, laptop, bob, _] = three_said(&mut world);
    world.store_holds();
    world.frame(phone, mark("bob", 3, 3));
    world.leaves(phone);
    assert_eq!(world.server().gauges().requests, 0);
    world.store_resumes();
    assert_eq!((world.sees(laptop).len(), world.sees(bob).len()), (0, 0));
    world.frame(laptop, resync(&[("bob", 3)]));
    assert_eq!(world.sees(laptop), ["heads bob/3 (own has 3, read 3)."]);
}

#[test]
fn a_mark_before_the_hello_is_out_of_turn_and_a_classic_client_has_none() {
    let mut world = World::new();
    let [.., classic] = three_said(&mut world);
    let alice = world.dials("alice");
    world.frame(alice, mark("bob", 1, 1));
    assert_eq!(world.closed(alice), Some(switchboard_engine::CloseReason::OutOfTurn));
    world.says(classic, text("alice", "still here"));
    assert_eq!(world.closed(classic), None);
}

#[test]
fn other_engines_are_told_for_both_users_and_tell_it_to_theirs() {
    let mut there = World::with(|config| config.peers = true);
    there.found("crew", &["alice"]);
    let [phone, ..] = three_said(&mut there);
    there.submits(phone, 9, "#crew", "all");
    there.told.clear();
    there.frame(phone, mark("bob", 3, 2));
    there.frame(phone, mark("#crew", 1, 1));
    let topics: Vec<_> = there.told.iter().map(|note| note.topic.clone()).collect();
    let alice = Topic::User(user("alice"));
    assert_eq!(topics, [alice.clone(), Topic::User(user("bob")), alice]);
    let mut here = World::with(|config| config.peers = true);
    here.found("crew", &["alice", "bob"]);
    let (alice, bob) = (here.signs_in("alice"), here.signs_in("bob"));
    there.told.into_iter().for_each(|note| here.happens(Event::Told(note)));
    assert_eq!(here.sees(alice), ["bob: alice has 3, read 2", "#crew: alice has 1, read 1"]);
    assert_eq!(here.sees(bob), ["alice: alice has 3, read 2"]);
    assert_eq!(here.stats().notes_undecodable, 0);
}

#[test]
fn notes_about_marks_that_cannot_be_are_counted_and_told_to_nobody() {
    let mut world = World::with(|config| config.peers = true);
    world.found("crew", &["alice", "bob"]);
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    let right = NotedMarks {
        conversation: Some(conversation("bob")),
        epoch: EPOCH,
        user: "alice".into(),
        marks: Some(v1::Marks { delivered_seq: 1, read_seq: 1 }),
    };
    let noted = |topic: Topic, noted: NotedMarks| {
        let note = v1::Note { body: Some(note::Body::Marks(noted)) }.encode_to_vec().into();
        Event::Told(Note { topic, note })
    };
    let of_crew = NotedMarks { conversation: Some(conversation("#crew")), ..right.clone() };
    let to = |name: &str| Topic::User(user(name));
    let wrong = [
        noted(to("carol"), right.clone()),
        noted(to("bob"), of_crew.clone()),
        noted(Topic::Group(group("crew")), of_crew),
        noted(Topic::Everyone, right.clone()),
        noted(to("alice"), NotedMarks { user: "System".into(), ..right.clone() }),
        noted(to("alice"), NotedMarks { conversation: None, ..right.clone() }),
    ];
    let count = wrong.len() as u64;
    wrong.into_iter().for_each(|event| world.happens(event));
    assert_eq!((world.sees(alice).len(), world.sees(bob).len()), (0, 0));
    assert_eq!(world.stats().notes_undecodable, count);
    world.happens(noted(to("bob"), right));
    assert_eq!(world.sees(bob), ["alice: alice has 1, read 1"]);
}

#[test]
fn an_answer_of_another_kind_is_the_drivers_fault() {
    let mut world = World::new();
    let [phone, _, bob, _] = three_said(&mut world);
    world.store_holds();
    world.frame(phone, mark("bob", 1, 1));
    world.store_says(0, Answer::ReceivedStored);
    assert_eq!((world.stats().driver_faults, world.sees(bob)), (1, vec![]));
    world.frame(phone, mark("bob", 1, 1));
    let further = StoredMarks { marks: Marks { delivered: 3, read: 2 }, has_moved: true };
    world.store_says(0, Answer::MarksStored(further));
    assert_eq!(world.sees(bob), ["alice: alice has 3, read 2"], "what the store has, not what was asked");
}
