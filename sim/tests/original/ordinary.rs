//! What works in the original works in the model, whatever the schedule.

use bytes::Bytes;
use switchboard_engine::{CloseReason, Event, Frame, Instant, Recipient, Request};
use switchboard_proto::classic::Message;
use switchboard_sim::original::{OriginalHub, Waiting};

use crate::chat::{Chat, bytes, group, group_text, heartbeat, photo, text, user};

const SEEDS: core::ops::Range<u64> = 0..50;

#[test]
fn the_first_frame_is_the_welcome() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let alice = chat.connects("alice");
        chat.settle();
        let welcome = Message {
            from: "System".into(),
            to: "alice".into(),
            content: "welcome!".into(),
            ..Message::default()
        };
        assert_eq!(chat.messages(alice), [welcome]);
    }
}

#[test]
fn many_who_arrive_at_once_are_all_welcomed() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let conns: Vec<_> = (0..20).map(|n| chat.connects(&format!("u{n}"))).collect();
        chat.settle();
        for conn in conns {
            assert_eq!(chat.hears(conn), ["welcome!"]);
        }
    }
}

#[test]
fn a_heartbeat_is_answered_and_not_routed() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        chat.says(alice, &heartbeat());
        let pong = Message { r#type: "heatbeat".into(), content: "pong".into(), ..Message::default() };
        assert_eq!(chat.messages(alice), [pong]);
        assert_eq!(chat.frames(bob), []);
    }
}

#[test]
fn a_ping_is_answered_with_its_payload() {
    let mut chat = Chat::new(1);
    let alice = chat.arrives("alice");
    chat.event(Event::Ping { conn: alice, payload: Bytes::from_static(b"42") });
    chat.settle();
    assert_eq!(chat.frames(alice), [Frame::Pong(Bytes::from_static(b"42"))]);
}

#[test]
fn a_text_is_stored_then_delivered_and_not_echoed() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        let hello = text("alice", "bob", "hello");
        chat.says(alice, &hello);
        assert_eq!(chat.messages(bob), [hello]);
        assert_eq!(chat.frames(alice), []);
        assert_eq!(chat.stored().len(), 1);
        assert_eq!(chat.stored()[0].sender, user("alice"));
        assert_eq!(chat.stored()[0].recipient, Recipient::User(user("bob")));
        let stored = chat.log.iter().position(|line| line.contains("StoreMessage"));
        let sent = chat.log.iter().rposition(|line| line.contains("Send"));
        assert!(stored < sent);
    }
}

#[test]
fn one_senders_texts_arrive_in_order() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        for n in 0..10 {
            chat.sends(alice, &text("alice", "bob", &n.to_string()));
        }
        chat.settle();
        assert_eq!(chat.hears(bob), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    }
}

#[test]
fn a_text_to_somebody_who_is_away_is_stored() {
    let mut chat = Chat::new(1);
    let alice = chat.arrives("alice");
    chat.says(alice, &text("alice", "bob", "later"));
    assert_eq!(&*chat.stored()[0].content, "later");
}

#[test]
fn a_groups_text_reaches_every_other_member_and_reads_like_a_chat_with_the_group() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        chat.group("team", &["alice", "bob", "carol"]);
        let conns = ["alice", "bob", "carol", "dave"].map(|name| chat.arrives(name));
        chat.says(conns[0], &group_text("alice", "team", "hello"));
        let hello = Message { avatar: "alice.png".into(), ..group_text("team", "alice", "hello") };
        let heard = conns.map(|conn| chat.messages(conn));
        assert_eq!(heard, [vec![], vec![hello.clone()], vec![hello], vec![]]);
        assert_eq!(chat.stored()[0].recipient, Recipient::Group(group("team")));
    }
}

#[test]
fn a_signal_is_relayed_byte_for_byte_and_not_stored() {
    let mut chat = Chat::new(1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    let mut odd =
        bytes(&Message { content_type: 0, r#type: "webrtc".into(), ..text("alice", "bob", "sdp") }).to_vec();
    // A field that the protocol does not have.
    odd.extend([0x78, 0x01]);
    chat.sends_bytes(alice, odd.clone().into());
    chat.settle();
    assert_eq!(chat.frames(bob), [Frame::Message(odd.into())]);
    assert_eq!(chat.asked, []);
}

#[test]
fn a_broadcast_in_a_quiet_moment_reaches_everybody() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let conns = ["alice", "bob", "carol"].map(|name| chat.arrives(name));
        chat.says(conns[0], &text("alice", "", "all of you"));
        for conn in conns {
            assert_eq!(chat.hears(conn), ["all of you"]);
        }
    }
}

#[test]
fn a_photo_is_kept_and_delivered_by_its_name() {
    let mut chat = Chat::new(1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.says(alice, &photo("alice", "bob"));
    let delivered = chat.messages(bob).remove(0);
    assert_eq!((&*delivered.url, &*delivered.file, delivered.content_type), ("kept.png", &b""[..], 3));
    assert_eq!(&*chat.stored()[0].url, "kept.png");
    assert!(matches!(&chat.asked[0], Request::StoreFile(upload) if &*upload.suffix == "png"));
}

#[test]
fn a_data_url_is_kept_and_its_text_emptied() {
    let mut chat = Chat::new(1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.says(alice, &Message { content_type: 2, ..text("alice", "bob", "data:image/png;base64,cGl4ZWxz") });
    let delivered = chat.messages(bob).remove(0);
    assert_eq!((&*delivered.url, &*delivered.content, delivered.content_type), ("kept.png", "", 2));
}

#[test]
fn whoever_leaves_leaves_nothing_behind() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        assert_eq!(chat.hub.tasks(), 5);
        chat.event(Event::PeerClosed { conn: alice });
        chat.settle();
        assert!(!chat.is_open(alice));
        assert!(chat.log.iter().any(|line| line.contains(&format!("{:?}", CloseReason::PeerClosed))));
        chat.leaves(bob);
        chat.settle();
        assert_eq!(chat.hub.tasks(), 1);
        assert_eq!(chat.hub.registered(&user("alice")), None);
    }
}

#[test]
fn a_client_that_reads_again_in_time_gets_everything() {
    let mut chat = Chat::new(1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.stops_reading(bob);
    let long = "x".repeat(5_000);
    chat.sends(alice, &text("alice", "bob", &long));
    chat.sends(alice, &text("alice", "bob", "second"));
    chat.settle();
    assert_eq!(chat.log.iter().filter(|line| line.contains("Send")).count(), 3);
    chat.reads_again(bob);
    chat.settle();
    assert_eq!(chat.hears(bob), [long.as_str(), "second"]);
}

#[test]
fn late_events_of_a_connection_that_is_gone_change_nothing() {
    for seed in SEEDS {
        let mut chat = Chat::new(seed);
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        chat.leaves(alice);
        for event in [
            Event::Received { conn: alice, message: bytes(&text("alice", "bob", "late")) },
            Event::PeerClosed { conn: alice },
            Event::Disconnected { conn: alice },
        ] {
            chat.event(event.clone());
            chat.settle();
            chat.event(event);
            chat.settle();
        }
        assert_eq!(chat.frames(bob), []);
        assert_eq!((chat.hub.tasks(), chat.hub.died()), (3, None));
    }
}

#[test]
fn where_the_driver_has_the_kernels_buffer_each_write_waits_for_its_own_frame() {
    for seed in SEEDS {
        let mut chat = Chat::of(OriginalHub::new(seed, Instant::ZERO).socket_bytes(0));
        let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
        chat.stops_reading(bob);
        for content in ["one", "two", "three"] {
            chat.says(alice, &text("alice", "bob", content));
        }
        // One is with the kernel, two with the write loop, three with the hub.
        assert_eq!(chat.hears(bob), ["one"]);
        assert_eq!(chat.hub.hub_waits_for(), Some(Waiting::HandOver(bob)));
        chat.reads_again(bob);
        chat.settle();
        assert_eq!(chat.hears(bob), ["two", "three"]);
        assert!(!chat.hub.is_frozen());
    }
}

#[test]
fn a_signal_to_the_process_ends_all_connections_and_the_process() {
    let mut chat = Chat::new(1);
    let (alice, bob) = (chat.arrives("alice"), chat.arrives("bob"));
    chat.event(Event::Shutdown);
    assert!(chat.stopped && !chat.is_open(alice) && !chat.is_open(bob));
    assert_eq!(chat.hub.died(), None);
    let late = chat.connects("carol");
    assert!(!chat.is_open(late));
}

#[test]
fn equal_seeds_give_equal_runs_and_other_seeds_others() {
    let run = |seed| {
        let mut chat = Chat::new(seed);
        let conns = ["alice", "bob", "carol"].map(|name| chat.connects(name));
        for conn in conns {
            chat.sends(conn, &text("x", "", "all"));
            chat.sends(conn, &heartbeat());
        }
        chat.settle();
        chat.log
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
