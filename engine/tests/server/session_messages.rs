//! What sessions say, and what everybody hears of it, in either protocol.

use bytes::Bytes;
use switchboard_engine::{Answer, Event, MessageId, Record, Topic};
use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{Content, Fetch, Submit, client_frame, server_frame::Body},
};

use crate::{
    harness::{World, group_text, relayed, secs, shout, text, upload},
    session_words::{conversation, fetch, resync, submit},
    store::{EPOCH, STORED_AT_MS, group, place, stored, user},
};

const NOTHING: [&str; 0] = [];

#[test]
fn a_submit_is_accepted_once_the_store_has_it() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.store_holds();
    world.submits(alice, 1, "bob", "hi");
    assert_eq!(world.sees(alice), NOTHING);
    world.store_resumes();
    let Some(Body::Accepted(accepted)) = world.told(alice).pop() else { panic!("an accepted") };
    assert_eq!((accepted.epoch, accepted.seq, accepted.stored_at_ms), (EPOCH, 1, STORED_AT_MS));
    assert_eq!((&accepted.message_id[..], accepted.conversation), (&[1; 16][..], Some(conversation("bob"))));
    let kept = &world.store.log[0];
    assert_eq!((kept.sender.as_str(), kept.id, &*kept.content), ("alice", MessageId([1; 16]), "hi"));
    assert_eq!((&*kept.sender_name, &*kept.url, kept.content_type), ("alice", "", 1));
}

#[test]
fn a_message_reaches_all_devices_of_both_sides_but_the_one_it_came_from() {
    let mut world = World::new();
    let (phone, laptop, old) = (world.signs_in("alice"), world.signs_in("alice"), world.arrives("alice"));
    let (bob, bob_old) = (world.signs_in("bob"), world.arrives("bob"));
    world.submits(phone, 1, "bob", "hi");
    assert_eq!(world.sees(phone), ["accepted 1 as bob/1"]);
    assert_eq!(world.sees(laptop), ["bob/1 alice: hi"], "in the conversation as alice sees it");
    assert_eq!(world.sees(bob), ["alice/1 alice: hi"]);
    assert_eq!(world.hears(bob_old), ["hi"]);
    assert_eq!(world.frames(old), [], "classic clients get no copies of what they have not sent");
}

#[test]
fn a_delivery_says_everything_that_the_log_has() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    let content = Content { kind: 3, text: "look".into(), file: "cat.png".into(), ..Content::default() };
    let message_id = Bytes::from(vec![5; 16]);
    let frame = Submit {
        message_id: message_id.clone(),
        conversation: Some(conversation("bob")),
        content: Some(content.clone()),
    };
    world.frame(alice, client_frame::Body::Submit(frame));
    let Some(Body::Delivery(delivery)) = world.told(bob).pop() else { panic!("a delivery") };
    assert_eq!((delivery.epoch, delivery.seq, delivery.stored_at_ms), (EPOCH, 1, STORED_AT_MS));
    assert_eq!(
        (delivery.message_id, &*delivery.from, delivery.content),
        (message_id, "alice", Some(content))
    );
    assert_eq!(&*world.store.log[0].url, "cat.png");
}

#[test]
fn classic_clients_read_what_sessions_say_in_their_own_form() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    world.store.profile("alice").avatar = "alice.png".into();
    let (alice, bob) = (world.signs_in("alice"), world.arrives("bob"));
    world.submits(alice, 1, "bob", "hi");
    let read = Message {
        from: "alice".into(),
        from_username: "alice".into(),
        avatar: "alice.png".into(),
        ..text("bob", "hi")
    };
    assert_eq!(world.reads(bob), [read]);
    world.submits(alice, 2, "#crew", "all");
    let read = Message {
        from: "crew".into(),
        to: "alice".into(),
        from_username: "alice".into(),
        avatar: "alice.png".into(),
        ..group_text("crew", "all")
    };
    assert_eq!(world.reads(bob), [read]);
}

#[test]
fn sessions_read_what_classic_clients_say_with_its_place() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, phone, bob) = (world.arrives("alice"), world.signs_in("alice"), world.signs_in("bob"));
    world.says(alice, text("bob", "hi"));
    world.says(alice, group_text("crew", "all"));
    world.says(alice, upload("bob", "look", "png"));
    let said = world.told(bob);
    let Body::Delivery(first) = &said[0] else { panic!("a delivery") };
    assert_eq!(first.message_id, world.store.log[0].id.0[..]);
    let Body::Delivery(file) = &said[2] else { panic!("a delivery") };
    let content = Content { kind: 3, text: "look".into(), file: "file-1".into(), ..Content::default() };
    assert_eq!((file.seq, file.content.as_ref()), (2, Some(&content)));
    assert_eq!(world.sees(phone), ["bob/1 alice: hi", "#crew/1 alice: all", "bob/2 alice: look"]);
    assert_eq!(world.frames(alice), []);
}

#[test]
fn a_groups_message_reaches_its_members_sessions_the_senders_too() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (phone, laptop, bob) = (world.signs_in("alice"), world.signs_in("alice"), world.signs_in("bob"));
    let carol = world.signs_in("carol");
    world.submits(phone, 1, "#crew", "all");
    assert_eq!(world.sees(phone), ["accepted 1 as #crew/1"]);
    assert_eq!(world.sees(laptop), ["#crew/1 alice: all"]);
    assert_eq!(world.sees(bob), ["#crew/1 alice: all"]);
    assert_eq!(world.sees(carol), NOTHING);
}

#[test]
fn a_note_to_self_reaches_the_other_devices_once() {
    let mut world = World::with(|config| config.peers = true);
    let (phone, laptop, old) = (world.signs_in("alice"), world.signs_in("alice"), world.arrives("alice"));
    world.submits(phone, 1, "alice", "milk");
    assert_eq!(world.sees(phone), ["accepted 1 as alice/1"]);
    assert_eq!(world.sees(laptop), ["alice/1 alice: milk"]);
    assert_eq!(world.hears(old), ["milk"]);
    assert_eq!(world.published.len(), 1);
}

#[test]
fn what_is_never_stored_is_not_for_sessions() {
    let mut world = World::new();
    let (alice, bob) = (world.arrives("alice"), world.signs_in("bob"));
    for content_type in [0, 8, 9, 12] {
        world.says(alice, relayed("bob", content_type, "x"));
    }
    world.says(alice, shout("fire!"));
    world.happens(Event::Published(Record {
        topic: Topic::User(user("bob")),
        stored: None,
        message: Message { from: "carol".into(), ..relayed("bob", 12, "x") }.encode_to_vec().into(),
    }));
    assert_eq!(world.frames(bob), []);
}

#[test]
fn a_wrong_field_is_named_and_changes_nothing() {
    let right = || Submit {
        message_id: vec![1; 16].into(),
        conversation: Some(conversation("bob")),
        content: Some(Content { kind: 1, text: "hi".into(), file: String::new(), ..Content::default() }),
    };
    let content = |kind, text: &str, file: &str| {
        Some(Content { kind, text: text.into(), file: file.into(), ..Content::default() })
    };
    let long = "x".repeat(256);
    let wrong = [
        ("message_id", Submit { message_id: vec![1; 15].into(), ..right() }),
        ("message_id", Submit { message_id: vec![1; 900].into(), ..right() }),
        ("message_id", Submit { message_id: Bytes::new(), ..right() }),
        ("conversation", Submit { conversation: None, ..right() }),
        ("conversation", Submit { conversation: Some(conversation("")), ..right() }),
        ("conversation", Submit { conversation: Some(conversation("System")), ..right() }),
        ("conversation", Submit { conversation: Some(conversation(&long)), ..right() }),
        ("content is missing", Submit { content: None, ..right() }),
        ("content.kind", Submit { content: content(0, "hi", ""), ..right() }),
        ("content.kind", Submit { content: content(6, "hi", "f"), ..right() }),
        ("content.text", Submit { content: content(1, "", ""), ..right() }),
        ("content.file", Submit { content: content(1, "hi", "f"), ..right() }),
        ("content.file", Submit { content: content(3, "hi", ""), ..right() }),
        ("content.file", Submit { content: content(2, "", "../f"), ..right() }),
        ("content.file", Submit { content: content(2, "", ".."), ..right() }),
        ("content.file", Submit { content: content(5, "", &long), ..right() }),
    ];
    let mut world = World::new();
    let alice = world.signs_in("alice");
    for (field, frame) in wrong {
        world.frame(alice, client_frame::Body::Submit(frame.clone()));
        let Some(Body::Rejected(rejected)) = world.told(alice).pop() else { panic!("{field}") };
        assert!(rejected.code == 1 && rejected.text.contains(field), "{field}: {rejected:?}");
        assert_eq!(rejected.message_id, frame.message_id.slice(..frame.message_id.len().min(16)));
    }
    assert_eq!((world.store.log.len(), world.server().gauges().pending), (0, 0));
    assert_eq!(world.stats().refused_invalid, 16);
    world.frame(alice, client_frame::Body::Submit(right()));
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1"]);
}

#[test]
fn what_the_store_does_not_take_is_rejected_with_the_reason() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.store_holds();
    (1..=3).for_each(|id| world.submits(alice, id, "bob", "hi"));
    world.store_says(0, Answer::Refused);
    world.store_says(0, Answer::Failed);
    assert_eq!(world.sees(alice), ["rejected 1: no_such_conversation", "rejected 2: unavailable"]);
    world.passes(secs(10));
    assert_eq!(world.sees(alice), ["rejected 3: unavailable"]);
    assert_eq!(world.sees(bob), NOTHING);
}

#[test]
fn the_store_says_who_may_write_to_a_group_not_what_is_known_here() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "#crew", "i joined a moment ago");
    assert_eq!(world.sees(alice), ["accepted 1 as #crew/1"]);
}

#[test]
fn too_many_pending_are_rejected_and_close_nothing() {
    let mut world = World::with(|config| config.limits.pending_per_connection = 2);
    let alice = world.signs_in("alice");
    world.store_holds();
    (1..=3).for_each(|id| world.submits(alice, id, "bob", "hi"));
    assert_eq!((world.sees(alice), world.closed(alice)), (vec!["rejected 3: busy".to_owned()], None));
    world.store_resumes();
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1", "accepted 2 as bob/2"]);
    world.submits(alice, 3, "bob", "hi");
    assert_eq!(world.sees(alice), ["accepted 3 as bob/3"]);
}

#[test]
fn answers_and_deliveries_keep_the_order_of_submitting() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.store_holds();
    ["one", "two", "three"]
        .iter()
        .zip(1..)
        .for_each(|(content, id)| world.submits(alice, id, "bob", content));
    world.store_says(2, stored(3));
    world.store_says(1, Answer::Failed);
    assert_eq!(world.sees(alice), NOTHING);
    world.store_says(0, stored(1));
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1", "rejected 2: unavailable", "accepted 3 as bob/3"]);
    assert_eq!(world.sees(bob), ["alice/1 alice: one", "alice/3 alice: three"]);
}

#[test]
fn the_same_message_submitted_twice_is_answered_twice_and_delivered_once() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.store_holds();
    world.submits(alice, 1, "bob", "hi");
    world.submits(alice, 1, "bob", "hi");
    world.store_resumes();
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1", "accepted 1 as bob/1"]);
    assert_eq!((world.sees(bob), world.store.log.len()), (vec!["alice/1 alice: hi".to_owned()], 1));
}

#[test]
fn if_the_first_of_the_same_message_fails_the_second_is_delivered() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.store_holds();
    world.submits(alice, 1, "bob", "hi");
    world.submits(alice, 1, "bob", "hi");
    world.store_says(0, Answer::Failed);
    world.store_resumes();
    assert_eq!(world.sees(alice), ["rejected 1: unavailable", "accepted 1 as bob/1"]);
    assert_eq!(world.sees(bob), ["alice/1 alice: hi"]);
}

#[test]
fn a_submit_is_delivered_although_its_session_has_gone_and_accepted_when_it_comes_again() {
    let mut world = World::new();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.store_holds();
    world.submits(alice, 1, "bob", "hi");
    world.leaves(alice);
    world.store_resumes();
    assert_eq!(world.sees(bob), ["alice/1 alice: hi"]);
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "bob", "hi");
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1"]);
    assert_eq!(world.store.log.len(), 1);
}

#[test]
fn a_shutdown_waits_for_what_was_submitted() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.store_holds();
    world.submits(alice, 1, "bob", "hi");
    world.happens(Event::Shutdown);
    world.submits(alice, 2, "bob", "too late");
    assert_eq!(world.closed(alice), None);
    world.store_resumes();
    assert_eq!(world.sees(alice), ["accepted 1 as bob/1", "goodbye, 1000 ms"]);
    assert!(world.stopped());
}

#[test]
fn what_is_submitted_is_published_for_both_sides_in_the_classic_form() {
    let mut world = World::with(|config| config.peers = true);
    world.found("crew", &["alice"]);
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "bob", "hi");
    world.submits(alice, 2, "#crew", "all");
    let topics: Vec<_> = world.published.iter().map(|record| record.topic.clone()).collect();
    assert_eq!(topics, [Topic::User(user("bob")), Topic::User(user("alice")), Topic::Group(group("crew"))]);
    let stored: Vec<_> = world.published.iter().filter_map(|record| record.stored).collect();
    let (first, second) = ((MessageId([1; 16]), place(1)), (MessageId([2; 16]), place(1)));
    assert_eq!(stored, [first, first, second]);
    let message = Message::decode(world.published[2].message.clone()).unwrap();
    assert_eq!((&*message.from, &*message.to, message.message_type), ("alice", "crew", 2));
}

#[test]
fn records_reach_sessions_and_what_other_engines_publish_reads_the_same() {
    let mut there = World::with(|config| config.peers = true);
    there.found("crew", &["alice"]);
    let mut here = World::with(|config| config.peers = true);
    here.found("crew", &["alice", "bob"]);
    let (alice, old, bob) = (here.signs_in("alice"), here.arrives("alice"), here.signs_in("bob"));
    let (session, classic) = (there.signs_in("alice"), there.arrives("alice"));
    there.submits(session, 1, "bob", "hi");
    there.says(classic, text("bob", "ho"));
    there.submits(session, 2, "#crew", "all");
    there.submits(session, 3, "alice", "milk");
    for record in there.published {
        here.happens(Event::Published(record));
    }
    assert_eq!(here.sees(bob), ["alice/1 alice: hi", "alice/2 alice: ho", "#crew/1 alice: all"]);
    let own = ["bob/1 alice: hi", "bob/2 alice: ho", "#crew/1 alice: all", "alice/1 alice: milk"];
    assert_eq!(here.sees(alice), own);
    assert_eq!(here.hears(old), ["milk"], "copies of what another device has sent are for sessions");
}

#[test]
fn a_part_of_a_log_comes_as_a_page() {
    let mut world = World::with(|config| config.limits.page_messages = 3);
    let alice = world.signs_in("alice");
    ["a", "b", "c", "d", "e"]
        .iter()
        .zip(1..)
        .for_each(|(content, id)| world.submits(alice, id, "bob", content));
    world.told(alice);
    let bob = world.signs_in("bob");
    world.frame(bob, fetch(1, "alice", 1));
    world.frame(bob, fetch(2, "alice", 4));
    let back = |fetch_id, from_seq, limit| {
        client_frame::Body::Fetch(Fetch {
            fetch_id,
            conversation: Some(conversation("alice")),
            from_seq,
            backwards: true,
            limit,
        })
    };
    world.frame(bob, back(3, 0, 2));
    world.frame(bob, back(4, 3, 99));
    world.frame(bob, fetch(5, "carol", 1));
    let pages = [
        "page 1 alice of 5: 1 a, 2 b, 3 c",
        "page 2 alice of 5: 4 d, 5 e",
        "page 3 alice of 5: 4 d, 5 e",
        "page 4 alice of 5: 1 a, 2 b, 3 c",
        "page 5 carol of 0: ",
    ];
    assert_eq!(world.sees(bob), pages);
    assert_eq!(world.stats().fetches, 5);
}

#[test]
fn a_page_names_log_and_messages_in_full() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.submits(alice, 1, "bob", "hi");
    world.told(alice);
    world.frame(alice, fetch(9, "bob", 1));
    let Some(Body::Page(page)) = world.told(alice).pop() else { panic!("a page") };
    assert_eq!((page.epoch, page.head_seq, page.first_seq), (EPOCH, 1, 1));
    let message = &page.messages[0];
    assert_eq!(
        (&*message.from, message.stored_at_ms, &message.message_id[..]),
        ("alice", STORED_AT_MS, &[1; 16][..])
    );
    assert_eq!((message.conversation.as_ref(), message.epoch), (None, 0), "they are the page's");
}

#[test]
fn a_fetch_that_cannot_be_answered_is_refused_with_the_reason() {
    let mut world = World::with(|config| config.limits.fetches_per_connection = 2);
    let alice = world.signs_in("alice");
    world.frame(alice, fetch(1, "", 1));
    world.frame(alice, fetch(2, "bob", 0));
    world.frame(alice, fetch(3, "#crew", 1));
    world.store_holds();
    (4..=6).for_each(|id| world.frame(alice, fetch(id, "bob", 1)));
    world.store_says(0, Answer::Failed);
    world.passes(secs(10));
    let refused = [
        "unfetched 1: invalid",
        "unfetched 2: invalid",
        "unfetched 3: no_such_conversation",
        "unfetched 6: busy",
        "unfetched 4: unavailable",
        "unfetched 5: unavailable",
    ];
    assert_eq!(world.sees(alice), refused);
    assert_eq!(world.server().gauges().fetches, 0);
}

#[test]
fn pages_are_answered_in_whatever_order_the_store_answers_and_go_nowhere_when_the_session_has_gone() {
    let mut world = World::new();
    let alice = world.signs_in("alice");
    world.store_holds();
    world.frame(alice, fetch(1, "bob", 1));
    world.frame(alice, fetch(2, "carol", 1));
    world.store_answers(1);
    assert_eq!(world.sees(alice), ["page 2 carol of 0: "]);
    world.leaves(alice);
    assert_eq!(world.server().gauges().requests, 0);
    world.store_answers(0);
    assert_eq!(world.stats().stale_events, 1);
}

fn narrow() -> World {
    World::with(|config| {
        config.limits.message_bytes = 1024;
        config.limits.outbox_bytes = 3000;
        config.limits.lag_bytes = 500;
        (config.limits.page_messages, config.limits.page_bytes) = (3, 1024);
    })
}

#[test]
fn who_reads_slowly_is_not_pushed_to_but_answered_and_told_the_heads_at_last() {
    let mut world = narrow();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.stops_reading(alice);
    (1..=9).for_each(|id| world.submits(bob, id, "alice", &"x".repeat(200)));
    assert_eq!(world.sees(alice).len(), 1, "a second one would be too much");
    assert_eq!((world.stats().pushes_dropped_lagging, world.server().gauges().lagging), (8, 1));
    world.submits(alice, 1, "carol", "answered all the same");
    assert_eq!(world.sees(alice), ["accepted 1 as carol/1"]);
    world.flushes(alice, 1);
    world.submits(bob, 10, "alice", "still too early");
    assert_eq!(world.sees(alice), NOTHING, "it lags until everything is written");
    world.reads_again(alice);
    assert_eq!(world.sees(alice), ["heads bob/10 carol/1."]);
    world.submits(bob, 11, "alice", "live");
    assert_eq!((world.sees(alice), world.closed(alice)), (vec!["bob/11 bob: live".to_owned()], None));
}

#[test]
fn heads_after_lag_are_all_heads_even_if_a_resync_was_on_its_way() {
    let mut world = narrow();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.submits(bob, 1, "alice", "hi");
    world.told(alice);
    world.stops_reading(alice);
    (2..=3).for_each(|id| world.submits(bob, id, "alice", &"x".repeat(300)));
    world.store_holds();
    world.frame(alice, resync(&[("bob", 3)]));
    world.reads_again(alice);
    world.told(alice);
    world.store_resumes();
    assert_eq!(world.sees(alice), ["heads bob/3."]);
}

#[test]
fn who_asks_and_does_not_read_is_closed_at_last() {
    let mut world = narrow();
    let alice = world.signs_in("alice");
    world.stops_reading(alice);
    for id in 0..200 {
        if world.closed(alice).is_none() {
            world.frame(alice, submit(id, "", "invalid"));
        }
    }
    assert_eq!(world.closed(alice), Some(switchboard_engine::CloseReason::SlowReader));
}

#[test]
fn a_page_without_room_is_refused_and_closes_nothing() {
    let mut world = narrow();
    let alice = world.signs_in("alice");
    (1..=3).for_each(|id| world.submits(alice, id, "bob", &"x".repeat(600)));
    world.told(alice);
    world.stops_reading(alice);
    (1..=3).for_each(|id| world.frame(alice, fetch(id, "bob", 1)));
    assert_eq!(world.sees(alice)[1..], ["unfetched 2: busy", "unfetched 3: busy"]);
    assert_eq!((world.closed(alice), world.stats().fetches_failed), (None, 2));
    world.reads_again(alice);
    world.frame(alice, fetch(4, "bob", 1));
    assert!(world.sees(alice)[0].starts_with("page 4 bob of 3"));
}

#[test]
fn one_message_that_is_larger_than_the_lag_limit_is_pushed_to_who_reads() {
    let mut world = narrow();
    let (alice, bob) = (world.signs_in("alice"), world.signs_in("bob"));
    world.submits(bob, 1, "alice", &"x".repeat(900));
    assert_eq!(world.sees(alice).len(), 1);
}
