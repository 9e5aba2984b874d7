//! Faults of the original server that must not come back, as far as they are about routing.

use bytes::Bytes;
use switchboard_engine::{Answer, CloseReason, ConnId, FileSource, Record, Topic};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    harness::{World, group_text, relayed, secs, shout, text},
    store::{group, stored_as, user},
};

#[test]
fn a_stale_connections_close_leaves_the_users_newer_session_alone() {
    let mut world = World::new();
    let bob = world.arrives("bob");
    let old = world.arrives("alice");
    world.leaves(old);
    // The newer session has the old one's slot, and only the generation tells them apart.
    let new = world.connects_as("alice", ConnId::new(old.slot(), old.generation() + 1));
    world.leaves(old);
    world.frames(new);
    world.says(bob, text("alice", "still there?"));
    assert_eq!(world.hears(new), ["still there?"]);
    assert_eq!(world.stats().stale_events, 1);
}

#[test]
fn the_close_of_a_connection_that_was_taken_over_leaves_its_successor_alone() {
    let mut world = World::with(|config| config.devices = switchboard_engine::DevicePolicy::NewestWins);
    let bob = world.arrives("bob");
    let old = world.arrives("alice");
    world.stops_reading(old);
    let new = world.arrives("alice");
    assert_eq!(world.closed(old), Some(CloseReason::TakenOver));
    world.leaves(old);
    world.says(bob, text("alice", "still there?"));
    assert_eq!(world.hears(new), ["still there?"]);
}

#[test]
fn two_unregisterings_with_a_login_between_them_end_one_session() {
    let mut world = World::new();
    let bob = world.arrives("bob");
    let old = world.arrives("alice");
    world.leaves(old);
    let new = world.arrives("alice");
    world.leaves(old);
    world.says(bob, text("alice", "hi"));
    assert_eq!(world.hears(new), ["hi"]);
    assert_eq!(world.stats().disconnects, 1);
}

#[test]
fn a_client_that_does_not_read_freezes_nobody() {
    let mut world = World::with(|config| {
        config.limits.message_bytes = 1024;
        crate::harness::narrows(config, 4096);
    });
    let (alice, bob, mallory) = (world.arrives("alice"), world.arrives("bob"), world.arrives("mallory"));
    world.stops_reading(mallory);
    for round in 0..100 {
        world.says(alice, shout(&format!("round {round}")));
        world.says(alice, text("mallory", "read!"));
        assert_eq!(world.hears(bob), [format!("round {round}")], "at once");
    }
    assert_eq!(world.closed(mallory), Some(CloseReason::SlowReader));
    assert_eq!((world.closed(alice), world.closed(bob)), (None, None));
}

#[test]
fn a_broadcast_evicts_nobody_who_is_merely_busy() {
    let mut world = World::new();
    let alice = world.arrives("alice");
    let busy: Vec<_> = ["bob", "carol", "dave"].map(|name| world.arrives(name)).into();
    busy.iter().for_each(|conn| world.stops_reading(*conn));
    (0..50).for_each(|round| world.says(alice, shout(&round.to_string())));
    for conn in busy {
        world.reads_again(conn);
        assert_eq!(world.closed(conn), None);
        assert_eq!(world.hears(conn).len(), 50, "nothing was skipped either");
    }
}

#[test]
fn garbage_goes_to_nobody() {
    let undecodable: [&[u8]; 3] = [b"\xff\xff\xff", b"\x0a\x7f", b"\x1a\x01\xff"];
    for garbage in undecodable {
        let mut world = World::new();
        let (mallory, bob) = (world.arrives("mallory"), world.arrives("bob"));
        world.sends(mallory, Bytes::from_static(garbage));
        assert_eq!(world.closed(mallory), Some(CloseReason::Undecodable), "{garbage:x?}");
        assert_eq!(world.frames(bob), [], "{garbage:x?}");
    }
}

#[test]
fn garbage_that_happens_to_be_a_message_with_an_empty_to_goes_to_nobody() {
    // Nothing at all; a field that does not exist; and `contentType` 0 with some text.
    let decodable: [&[u8]; 3] = [b"", b"\xf8\x07\x01", b"\x2a\x03abc"];
    for garbage in decodable {
        let mut world = World::new();
        let (mallory, bob) = (world.arrives("mallory"), world.arrives("bob"));
        world.sends(mallory, Bytes::from_static(garbage));
        assert_eq!(world.closed(mallory), None, "{garbage:x?}");
        assert_eq!((world.frames(mallory), world.frames(bob)), (vec![], vec![]), "{garbage:x?}");
        assert_eq!(world.stats().refused_no_call, 1, "{garbage:x?}");
    }
}

#[test]
fn a_file_message_with_short_content_harms_nothing() {
    let mut world = World::new();
    let (mallory, bob) = (world.arrives("mallory"), world.arrives("bob"));
    let contents = ["", "d", "data", "data:", "base64", "datä:x", "ä", "no such thing"];
    for content in contents {
        world.says(mallory, relayed("bob", 2, content));
    }
    assert_eq!(world.closed(mallory), None);
    assert_eq!(world.reads(bob).len(), contents.len());
    let files: Vec<_> = world.store.files.iter().map(|file| file.source.clone()).collect();
    assert_eq!(files, [FileSource::DataUrl("data:".into())], "only that one claims to be a file");
}

#[test]
fn from_is_not_believed() {
    let mut world = World::new();
    world.found("crew", &["mallory", "bob"]);
    let (mallory, bob) = (world.arrives("mallory"), world.arrives("bob"));
    let as_alice = |message: Message| Message { from: "alice".into(), ..message };
    world.says(mallory, as_alice(text("bob", "stored")));
    world.says(mallory, as_alice(relayed("bob", 12, "relayed")));
    world.says(mallory, as_alice(shout("to everybody")));
    world.sends(mallory, text("bob", "anonymous").encode_to_vec());
    let senders: Vec<_> = world.reads(bob).into_iter().map(|message| message.from).collect();
    assert_eq!(senders, ["mallory"; 4]);
    world.says(mallory, as_alice(group_text("crew", "in a group")));
    assert_eq!(world.reads(bob)[0].to, "mallory");
    assert!(world.store.log.iter().all(|message| message.sender == user("mallory")));
    assert_eq!(world.stats().corrected_from, 5);
}

#[test]
fn who_is_not_a_member_cannot_send_to_a_group() {
    let mut world = World::new();
    world.found("crew", &["alice", "bob"]);
    let (alice, bob, mallory) = (world.arrives("alice"), world.arrives("bob"), world.arrives("mallory"));
    world.says(mallory, group_text("crew", "let me in"));
    world.says(mallory, Message { from: "alice".into(), ..group_text("crew", "it is me") });
    world.says(mallory, Message { file: Bytes::from_static(b"x"), ..group_text("crew", "a file") });
    world.says(mallory, group_text("no such group", "anybody?"));
    assert_eq!((world.frames(alice), world.frames(bob)), (vec![], vec![]));
    assert_eq!((world.store.log.len(), world.store.files.len()), (0, 0));
    assert_eq!(world.stats().refused_not_member, 4);
}

#[test]
fn what_could_not_be_saved_is_not_delivered() {
    for answer in [Some(Answer::Failed), Some(Answer::Refused), None] {
        let mut world = World::with(|config| config.peers = true);
        world.found("crew", &["alice", "bob"]);
        let (alice, bob) = (world.arrives("alice"), world.arrives("bob"));
        world.store_holds();
        world.says(alice, text("bob", "lost"));
        world.says(alice, group_text("crew", "lost"));
        match answer.clone() {
            Some(answer) => (0..2).for_each(|_| world.store_says(0, answer.clone())),
            None => world.passes(secs(10)),
        }
        assert_eq!((world.reads(bob), world.published.len()), (vec![], 0), "{answer:?}");
        assert_eq!(world.stats().store_failed + world.stats().store_refused, 2, "{answer:?}");
        assert_eq!(world.server().gauges().pending, 0, "{answer:?}");
    }
}

#[test]
fn nothing_is_asked_of_the_store_for_a_relay_and_nothing_per_recipient_of_a_group() {
    let mut world = World::new();
    let names: Vec<_> = (0..40).map(|n| format!("member {n}")).collect();
    world.found("crew", &names.iter().map(String::as_str).collect::<Vec<_>>());
    let members: Vec<_> = names.iter().map(|name| world.arrives(name)).collect();
    let before = world.store.asked;
    world.says(members[0], relayed("member 1", 8, "picture"));
    world.says(members[0], relayed("member 1", 0, "sdp"));
    world.says(members[0], shout("all"));
    assert_eq!(world.store.asked, before);
    world.says(members[0], group_text("crew", "hello"));
    assert_eq!(world.store.asked, before + 1, "the message itself");
    assert!(members[1..].iter().all(|member| world.hears(*member).last().unwrap() == "hello"));
}

#[test]
fn a_message_of_another_node_is_not_stored_again() {
    let mut world = World::with(|config| config.peers = true);
    world.found("crew", &["alice"]);
    let alice = world.arrives("alice");
    let before = world.store.asked;
    let message: Bytes = Message { from: "bob".into(), ..group_text("crew", "hi") }.encode_to_vec().into();
    for topic in [Topic::Group(group("crew")), Topic::User(user("alice"))] {
        let record = Record { topic, stored: Some(stored_as(1)), message: message.clone() };
        world.happens(switchboard_engine::Event::Published(record));
    }
    assert_eq!(world.reads(alice).len(), 2);
    assert_eq!((world.store.asked, world.published.len()), (before, 0));
}

#[test]
fn a_group_and_a_user_with_equal_ids_never_mix() {
    let mut world = World::new();
    world.found("twin", &["alice", "bob"]);
    let (alice, bob, twin) = (world.arrives("alice"), world.arrives("bob"), world.arrives("twin"));
    world.says(alice, group_text("twin", "to the group"));
    assert_eq!((world.hears(bob), world.hears(twin)), (vec!["to the group".into()], vec![]));
    world.says(alice, text("twin", "to the user"));
    assert_eq!((world.hears(bob), world.hears(twin)), (vec![], vec!["to the user".into()]));
    world.says(twin, group_text("twin", "the name makes me no member"));
    assert_eq!((world.reads(alice), world.reads(bob)), (vec![], vec![]));
    assert_eq!(world.store.log.len(), 2);
    assert_ne!(world.store.log[0].recipient, world.store.log[1].recipient);
}
