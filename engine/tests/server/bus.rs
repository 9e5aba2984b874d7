//! What engines tell each other.

use bytes::Bytes;
use switchboard_engine::{Event, MessageId, Record, Topic};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    harness::{World, group_text, heartbeat, relayed, shout, text, upload},
    store::{group, stored_as, user},
};

const NOTHING: [&str; 0] = [];

fn with_peers() -> World {
    World::with(|config| config.peers = true)
}

/// A record as another engine publishes it.
fn record(topic: Topic, from: &str, message: Message) -> Event {
    let message = Message { from: from.into(), ..message };
    Event::Published(Record { topic, stored: None, message: message.encode_to_vec().into() })
}

#[test]
fn an_engine_is_interested_in_its_users_and_their_groups_while_they_are_here() {
    let mut world = with_peers();
    world.found("crew", &["alice", "bob"]);
    world.found("club", &["bob"]);
    let phone = world.arrives("alice");
    let laptop = world.arrives("alice");
    assert_eq!(world.subscriptions(), [r#"User("alice")"#, r#"Group("crew")"#]);
    let bob = world.arrives("bob");
    world.leaves(phone);
    let all = [r#"User("alice")"#, r#"User("bob")"#, r#"Group("club")"#, r#"Group("crew")"#];
    assert_eq!(world.subscriptions(), all);
    world.leaves(bob);
    assert_eq!(world.subscriptions(), [r#"User("alice")"#, r#"Group("crew")"#]);
    world.leaves(laptop);
    assert_eq!(world.subscriptions(), NOTHING);
}

#[test]
fn interest_follows_the_directory() {
    let mut world = with_peers();
    world.arrives("alice");
    world.joins("alice", "crew");
    assert_eq!(world.subscriptions(), [r#"User("alice")"#, r#"Group("crew")"#]);
    world.is_removed_from("alice", "crew");
    assert_eq!(world.subscriptions(), [r#"User("alice")"#]);
}

#[test]
fn a_closed_connection_is_of_no_interest_even_before_it_is_gone() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    world.stops_reading(alice);
    world.sends(alice, &b"\xff"[..]);
    assert_eq!(world.subscriptions(), NOTHING);
    world.leaves(alice);
}

#[test]
fn a_stored_message_is_published_with_its_place_in_the_log_once_it_is_stored() {
    let mut world = with_peers();
    world.found("crew", &["alice"]);
    world.store.profile("alice").avatar = "alice.png".into();
    let alice = world.arrives("alice");
    world.store_holds();
    world.says(alice, text("bob", "one"));
    world.says(alice, group_text("crew", "two"));
    assert_eq!(world.published, []);
    world.store_resumes();
    let one = Message { from: "alice".into(), ..text("bob", "one") };
    let two = Message { from: "alice".into(), avatar: "alice.png".into(), ..group_text("crew", "two") };
    let copy = one.clone();
    let expected = [
        (Topic::User(user("bob")), one),
        (Topic::User(user("alice")), copy),
        (Topic::Group(group("crew")), two),
    ]
    .map(|(topic, message)| Record {
        topic,
        stored: Some(stored_as(1)),
        message: message.encode_to_vec().into(),
    });
    let known = |record: Record| Record {
        stored: record.stored.map(|(_, place)| (MessageId([0; 16]), place)),
        ..record
    };
    let published: Vec<_> = world.published.drain(..).map(known).collect();
    assert_eq!(published, expected);
}

#[test]
fn a_relayed_message_and_one_for_everybody_are_published_as_they_are_without_a_place() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    let messages =
        [(Topic::User(user("bob")), relayed("bob", 12, "dial")), (Topic::Everyone, shout("fire!"))];
    for (topic, message) in messages {
        let bytes: Bytes = Message { from: "alice".into(), ..message.clone() }.encode_to_vec().into();
        world.sends(alice, bytes.clone());
        let published = world.published.pop().unwrap();
        assert_eq!(published, Record { topic: topic.clone(), stored: None, message: bytes.clone() });
        world.says(alice, Message { from: "mallory".into(), ..message });
        assert_eq!(world.published.pop().unwrap().message, bytes, "with the true sender");
    }
}

#[test]
fn a_file_is_published_by_name() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    world.says(alice, upload("bob", "look", "png"));
    let message = Message::decode(world.published[0].message.clone()).unwrap();
    assert_eq!((&*message.url, message.file), ("file-1", Bytes::new()));
}

#[test]
fn without_peers_nothing_is_published_or_subscribed_to() {
    let mut world = World::new();
    world.found("crew", &["alice"]);
    let alice = world.arrives("alice");
    for message in [text("bob", "x"), group_text("crew", "x"), relayed("bob", 12, "x"), shout("x")] {
        world.says(alice, message);
    }
    world.says(alice, upload("bob", "x", "png"));
    world.leaves(alice);
    assert_eq!((world.published.len(), world.stats().published), (0, 0));
}

#[test]
fn a_heartbeat_and_what_is_refused_are_not_published() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    world.says(alice, heartbeat());
    world.says(alice, group_text("crew", "not a member"));
    world.says(alice, relayed("", 0, "in no call"));
    world.sends(alice, &b"\xff"[..]);
    assert_eq!(world.published, []);
}

#[test]
fn a_record_for_a_user_reaches_all_its_connections_byte_for_byte() {
    let mut world = with_peers();
    let (phone, laptop) = (world.arrives("alice"), world.arrives("alice"));
    let bob = world.arrives("bob");
    let mut bytes = Message { from: "carol".into(), ..text("alice", "hi") }.encode_to_vec();
    bytes.extend_from_slice(&[0xF8, 0x07, 0x01]);
    let message = Bytes::from(bytes);
    let topic = Topic::User(user("alice"));
    world.happens(Event::Published(Record { topic, stored: Some(stored_as(4)), message: message.clone() }));
    for conn in [phone, laptop] {
        assert_eq!(world.frames(conn), [switchboard_engine::Frame::Message(message.clone())]);
    }
    assert_eq!(world.frames(bob), []);
}

#[test]
fn a_record_for_a_group_reaches_its_members_rewritten_and_not_its_sender() {
    let mut world = with_peers();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob, carol) = (world.arrives("alice"), world.arrives("bob"), world.arrives("carol"));
    let said = Message { avatar: "bob.png".into(), file_suffix: "png".into(), ..group_text("crew", "hi") };
    world.happens(record(Topic::Group(group("crew")), "bob", said.clone()));
    let read = Message { from: "crew".into(), to: "bob".into(), file_suffix: String::new(), ..said };
    assert_eq!(world.reads(alice), [read]);
    assert_eq!((world.reads(bob), world.reads(carol)), (vec![], vec![]));
}

#[test]
fn a_record_for_everyone_reaches_everyone() {
    let mut world = with_peers();
    let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
    world.happens(record(Topic::Everyone, "carol", shout("fire!")));
    assert_eq!((world.hears(alice), world.hears(bob)), (vec!["fire!".into()], vec!["fire!".into()]));
}

#[test]
fn a_record_is_never_passed_on() {
    let mut world = with_peers();
    world.found("crew", &["alice"]);
    world.arrives("alice");
    for topic in [Topic::Everyone, Topic::User(user("alice")), Topic::Group(group("crew"))] {
        world.happens(record(topic, "carol", shout("x")));
    }
    assert_eq!((world.published.len(), world.stats().bus_received), (0, 3));
}

#[test]
fn pictures_from_the_bus_are_thinned_out_like_any_others() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    world.stops_reading(alice);
    for content in ["1", "2", "3"] {
        world.happens(record(Topic::User(user("alice")), "bob", relayed("alice", 9, content)));
    }
    world.reads_again(alice);
    assert_eq!(world.hears(alice), ["1", "3"]);
}

#[test]
fn garbage_from_the_bus_goes_to_nobody() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    let anonymous = shout("no sender").encode_to_vec();
    for message in [Bytes::from_static(b"\xff"), anonymous.into()] {
        world.happens(Event::Published(Record { topic: Topic::Everyone, stored: None, message }));
    }
    assert_eq!((world.frames(alice), world.stats().bus_undecodable), (vec![], 2));
}

#[test]
fn records_nobody_here_is_interested_in_change_nothing() {
    let mut world = with_peers();
    let alice = world.arrives("alice");
    world.happens(record(Topic::User(user("bob")), "carol", text("bob", "x")));
    world.happens(record(Topic::Group(group("crew")), "carol", group_text("crew", "x")));
    assert_eq!(world.frames(alice), []);
}

#[test]
fn what_is_for_who_is_here_is_published_only_if_users_may_be_elsewhere_too() {
    let published = |one_home: bool| {
        let mut world = World::with(|config| (config.peers, config.one_home) = (true, one_home));
        world.found("crew", &["alice", "bob"]);
        let (alice, _) = (world.arrives("alice"), world.arrives("bob"));
        for message in [text("bob", "x"), relayed("bob", 12, "x"), text("alice", "to myself")] {
            world.says(alice, message);
        }
        let for_here = world.published.len();
        for message in [group_text("crew", "x"), text("carol", "x"), relayed("carol", 12, "x"), shout("x")] {
            world.says(alice, message);
        }
        let topics = world.published.iter().skip(for_here).map(|record| format!("{:?}", record.topic));
        (for_here, topics.collect::<Vec<_>>())
    };
    let (group, carol, alice) = (r#"Group("crew")"#, r#"User("carol")"#, r#"User("alice")"#);
    let all = [group, carol, alice, carol, "Everyone"].map(str::to_owned).to_vec();
    assert_eq!(published(false), (4, all));
    let of_others = [group, carol, carol, "Everyone"].map(str::to_owned).to_vec();
    assert_eq!(published(true), (0, of_others));
}
