//! The classic protocol between clients, whatever shards they are on.

use std::time::Duration;

use switchboard::{
    media::MEDIA_FOLDER,
    store::{Conversation, Directory},
};
use switchboard_engine::GroupId;
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    harness::{Client, TestServer, all_receive_next, broadcast, create_group, group_text, text, user},
    process,
};

/// Each of these holds on one shard, and on four, where the users are spread by the hash of their names.
macro_rules! on_one_shard_and_on_four {
    ($($name:ident),+ $(,)?) => {
        mod one_shard {
            $(#[tokio::test] async fn $name() { super::$name(1).await })+
        }
        mod four_shards {
            $(#[tokio::test] async fn $name() { super::$name(4).await })+
        }
    };
}

on_one_shard_and_on_four! {
    a_message_reaches_its_recipient_with_the_true_sender_and_is_not_echoed,
    messages_arrive_in_the_order_of_the_log,
    all_devices_of_the_recipient_receive_and_none_of_the_senders,
    a_message_outlives_the_connection_that_sent_it,
    a_group_message_reads_like_a_chat_with_the_group,
    whoever_joins_a_group_while_connected_receives_from_then_on,
    nobody_sends_to_a_group_from_outside,
    a_broadcast_reaches_everybody_once_and_its_sender_too,
    a_relayed_message_arrives_byte_for_byte,
    an_answer_without_recipient_reaches_the_other_side_of_the_call_alone,
    an_upload_becomes_a_file_and_its_name,
    many_users_chat_in_a_ring_without_loss_or_duplicates,
}

/// Enough users to be spread over four shards, whatever the hash.
const CROWD: [&str; 16] = [
    "user-0", "user-1", "user-2", "user-3", "user-4", "user-5", "user-6", "user-7", "user-8", "user-9",
    "user-10", "user-11", "user-12", "user-13", "user-14", "user-15",
];

fn history(directory: &Directory, one: &str, other: &str) -> Vec<switchboard::store::StoredMessage> {
    directory.history(&Conversation::Direct(user(one), user(other)), 1..=u64::MAX, 10_000).unwrap()
}

async fn a_message_reaches_its_recipient_with_the_true_sender_and_is_not_echoed(shards: u16) {
    let server = TestServer::with_shards(shards);
    let [mut alice, mut bob, mut carol] = server.clients(["alice", "bob", "carol"]).await;
    let hello = Message { from_username: "Alice".into(), avatar: "a.png".into(), ..text("bob", "hello") };
    alice.send(&Message { from: "carol".into(), ..hello.clone() }).await;
    assert_eq!(bob.recv().await, Message { from: "alice".into(), ..hello });
    all_receive_next(&mut [&mut alice, &mut bob, &mut carol]).await;
    let stored = history(&server.directory(), "alice", "bob");
    let [stored] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!((stored.seq, stored.sender.as_str(), &*stored.content), (1, "alice", "hello"));
    assert_eq!((&*stored.sender_name, stored.content_type), ("Alice", 1));
}

async fn messages_arrive_in_the_order_of_the_log(shards: u16) {
    const EACH: usize = 100;
    let server = TestServer::with_shards(shards);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    for n in 0..EACH {
        alice.send(&text("bob", &format!("a{n}"))).await;
        bob.send(&text("alice", &format!("b{n}"))).await;
    }
    for n in 0..EACH {
        assert_eq!(bob.content().await, format!("a{n}"));
        assert_eq!(alice.content().await, format!("b{n}"));
    }
    let stored = history(&server.directory(), "bob", "alice");
    assert!(stored.iter().map(|message| message.seq).eq(1..=2 * EACH as u64));
    for (sender, letter) in [("alice", 'a'), ("bob", 'b')] {
        let sent = stored.iter().filter(|message| message.sender.as_str() == sender);
        assert!(
            sent.map(|message| message.content.to_string()).eq((0..EACH).map(|n| format!("{letter}{n}")))
        );
    }
}

async fn all_devices_of_the_recipient_receive_and_none_of_the_senders(shards: u16) {
    let server = TestServer::with_shards(shards);
    let [mut desk, mut phone, mut alice, mut tablet] = server.clients(["bob", "bob", "alice", "alice"]).await;
    alice.send(&text("bob", "to both")).await;
    assert_eq!(desk.content().await, "to both");
    assert_eq!(phone.content().await, "to both");
    // A note to oneself reaches one's other devices.
    desk.send(&text("bob", "note")).await;
    assert_eq!(phone.content().await, "note");
    all_receive_next(&mut [&mut alice, &mut tablet, &mut desk, &mut phone]).await;
}

async fn a_message_outlives_the_connection_that_sent_it(shards: u16) {
    let server = TestServer::with_shards(shards);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    alice.send(&text("bob", "bye")).await;
    drop(alice);
    assert_eq!(bob.content().await, "bye");
}

async fn a_group_message_reads_like_a_chat_with_the_group(shards: u16) {
    let server = TestServer::with_shards(shards);
    create_group(&server.data(), "friends", &["alice", "bob", "carol"]);
    server.directory().set_avatar(&user("alice"), "alice.png").unwrap();
    let [mut alice, mut bob, mut phone, mut carol, mut dave] =
        server.clients(["alice", "bob", "bob", "carol", "dave"]).await;
    let sent = Message {
        from: "bob".into(),
        avatar: "forged.png".into(),
        from_username: "Alice".into(),
        url: "some.png".into(),
        file_suffix: "png".into(),
        ..group_text("friends", "hello")
    };
    alice.send(&sent).await;
    let expected = Message {
        from: "friends".into(),
        to: "alice".into(),
        avatar: "alice.png".into(),
        file_suffix: String::new(),
        ..sent
    };
    for member in [&mut bob, &mut phone, &mut carol] {
        assert_eq!(member.recv().await, expected, "{}", member.user);
    }
    all_receive_next(&mut [&mut alice, &mut bob, &mut phone, &mut carol, &mut dave]).await;
    let group = Conversation::Group(GroupId::new("friends").unwrap());
    let stored = server.directory().history(&group, 1..=9, 9).unwrap();
    let changes = stored.iter().filter(|entry| entry.content_type == 23).count();
    let last = stored.last().map(|m| (m.seq, m.sender.as_str(), m.content_type));
    assert_eq!((last, changes + 1), (Some((stored.len() as u64, "alice", 1)), stored.len()));
}

async fn whoever_joins_a_group_while_connected_receives_from_then_on(shards: u16) {
    let server = TestServer::with_shards(shards);
    create_group(&server.data(), "friends", &["alice", "bob"]);
    let [mut alice, mut bob, mut dave] = server.clients(["alice", "bob", "dave"]).await;
    let data = server.data();
    process::group(&data, &["join", "friends", "dave"]);
    let (mut sent, first) = (0, tokio::time::Instant::now());
    // The server looks once a second: not every message is dave's from the start.
    let heard = loop {
        sent += 1;
        alice.send(&group_text("friends", &sent.to_string())).await;
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(50), dave.content()).await {
            break heard.parse::<u32>().unwrap();
        }
        assert!(first.elapsed() < crate::harness::PATIENCE, "dave hears nothing of {sent} messages");
    };
    for n in heard + 1..=sent {
        assert_eq!(dave.content().await, n.to_string());
    }
    for n in 1..=sent {
        assert_eq!(bob.content().await, n.to_string());
    }
    // Now dave is a member on every shard: he may write too.
    dave.send(&group_text("friends", "I am in")).await;
    assert_eq!(bob.content().await, "I am in");
    assert_eq!(alice.content().await, "I am in");
    all_receive_next(&mut [&mut alice, &mut bob, &mut dave]).await;
}

async fn nobody_sends_to_a_group_from_outside(shards: u16) {
    let server = TestServer::with_shards(shards);
    create_group(&server.data(), "friends", &["alice", "bob"]);
    let [mut eve, mut alice, mut bob] = server.clients(["eve", "alice", "bob"]).await;
    eve.send(&group_text("friends", "let me in")).await;
    eve.send(&group_text("no such group", "hello?")).await;
    eve.send(&text("alice", "after")).await;
    assert_eq!(alice.content().await, "after");
    all_receive_next(&mut [&mut eve, &mut alice, &mut bob]).await;
    let group = Conversation::Group(GroupId::new("friends").unwrap());
    let stored = server.directory().history(&group, 1..=9, 9).unwrap();
    assert!(stored.iter().all(|entry| entry.content_type == 23), "{stored:?}");
}

async fn a_broadcast_reaches_everybody_once_and_its_sender_too(shards: u16) {
    let server = TestServer::with_shards(shards);
    let mut crowd = server.clients(CROWD).await;
    let sent = broadcast("hear, hear");
    for sender in 0..crowd.len() {
        crowd[sender].send(&sent).await;
        for client in &mut crowd {
            let expected = Message { from: CROWD[sender].into(), ..sent.clone() };
            assert_eq!(client.recv().await, expected, "{}", client.user);
        }
    }
    for client in &mut crowd {
        client.has_nothing_more().await;
    }
}

async fn a_relayed_message_arrives_byte_for_byte(shards: u16) {
    let server = TestServer::with_shards(shards);
    let [mut alice, mut bob, mut carol] = server.clients(["alice", "bob", "carol"]).await;
    for content_type in [0, 6, 7, 8, 9, 10, 15, 20, 77, -1] {
        let sdp = Message {
            from: "alice".into(),
            r#type: "webrtc".into(),
            content_type,
            message_type: 2,
            ..text("bob", "v=0 o=-")
        };
        let mut bytes = sdp.encode_to_vec();
        // A field that this version of the protocol does not have (number 15, of length 3).
        bytes.extend(*b"\x7a\x03new");
        alice.send_bytes(bytes.clone()).await;
        assert_eq!(bob.recv_bytes().await, bytes);
    }
    all_receive_next(&mut [&mut alice, &mut bob, &mut carol]).await;
    assert!(history(&server.directory(), "alice", "bob").is_empty(), "relayed messages are not stored");
}

async fn an_answer_without_recipient_reaches_the_other_side_of_the_call_alone(shards: u16) {
    let server = TestServer::with_shards(shards);
    let [mut alice, mut bob, mut carol] = server.clients(["alice", "bob", "carol"]).await;
    let signal = |from: &str, to: &str| Message {
        from: from.into(),
        r#type: "webrtc".into(),
        content_type: 0,
        ..text(to, "candidate")
    };
    // In no call there is nobody to answer.
    carol.send(&signal("carol", "")).await;
    alice.send(&signal("alice", "bob")).await;
    assert_eq!(bob.recv().await, signal("alice", "bob"));
    bob.send(&signal("bob", "")).await;
    assert_eq!(alice.recv().await, signal("bob", ""));
    alice.send(&signal("alice", "")).await;
    assert_eq!(bob.recv().await, signal("alice", ""));
    all_receive_next(&mut [&mut carol, &mut alice, &mut bob]).await;
}

async fn an_upload_becomes_a_file_and_its_name(shards: u16) {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";
    const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";
    let server = TestServer::with_shards(shards);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    let uploads: [(&'static [u8], &str, i32, &str); 5] = [
        (PNG, "html", 3, ".png"),
        (b"plain text", "txt", 2, ".txt"),
        (b"ID3\x03\0\0\0\0\0\0", "mp3", 4, ".mp3"),
        (MP4, "", 5, ".mp4"),
        (b"<script>alert(1)</script>", "html", 2, ".bin"),
    ];
    for (contents, suffix, content_type, ending) in uploads {
        let sent = Message {
            content_type: 3,
            file: contents.into(),
            file_suffix: suffix.into(),
            ..text("bob", "look")
        };
        alice.send(&sent).await;
        let received = bob.recv().await;
        assert!(received.file.is_empty());
        assert_eq!((received.content_type, received.content.as_str()), (content_type, "look"));
        assert!(received.url.ends_with(ending) && !received.url.contains('/'), "{}", received.url);
        let file = server.data().join(MEDIA_FOLDER).join(&received.url);
        assert_eq!(std::fs::read(file).unwrap(), contents);
    }
    let data_url = Message { content_type: 2, ..text("bob", "data:image/png;base64,iVBORw0KGgo=") };
    alice.send(&data_url).await;
    let received = bob.recv().await;
    assert_eq!((received.content_type, received.content.as_str()), (3, ""));
    let file = server.data().join(MEDIA_FOLDER).join(&received.url);
    assert_eq!(std::fs::read(file).unwrap(), b"\x89PNG\r\n\x1a\n");
    // What once ended a server: a file message whose content is too short to be a data: URL.
    alice.send(&Message { content_type: 2, ..text("bob", "x") }).await;
    assert_eq!(bob.content().await, "x");
    let stored = history(&server.directory(), "alice", "bob");
    assert!(stored.iter().map(|message| message.content_type).eq([3, 2, 4, 5, 2, 3, 2]));
    assert!(stored.iter().map(|message| message.seq).eq(1..=7));
}

async fn many_users_chat_in_a_ring_without_loss_or_duplicates(shards: u16) {
    const EACH: usize = 20;
    let server = TestServer::with_shards(shards);
    create_group(&server.data(), "ring", &CROWD);
    let mut crowd = server.clients(CROWD).await;
    for n in 0..EACH {
        for i in 0..CROWD.len() {
            crowd[i].send(&text(CROWD[(i + 1) % CROWD.len()], &format!("{n}"))).await;
        }
    }
    for i in 0..CROWD.len() {
        for n in 0..EACH {
            let got = crowd[i].recv().await;
            let from = CROWD[(i + CROWD.len() - 1) % CROWD.len()];
            assert_eq!((got.from.as_str(), got.content), (from, n.to_string()));
        }
    }
    for sender in 0..crowd.len() {
        let content = format!("from {sender}");
        crowd[sender].send(&group_text("ring", &content)).await;
        for (i, client) in crowd.iter_mut().enumerate().filter(|(i, _)| *i != sender) {
            let got = client.recv().await;
            assert_eq!((got.to.as_str(), &got.content), (CROWD[sender], &content), "at {i}");
        }
    }
    let mut all: Vec<&mut Client> = crowd.iter_mut().collect();
    all_receive_next(&mut all).await;
}

#[tokio::test]
async fn a_heartbeat_is_answered_at_once_and_goes_nowhere_else() {
    let server = TestServer::with_shards(1);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    alice.send(&Message { to: "bob".into(), ..crate::harness::heartbeat() }).await;
    assert_eq!(alice.recv().await, crate::harness::pong());
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn a_newer_connection_takes_over_where_the_newest_wins() {
    let server = TestServer::start(|config| config.devices = switchboard::config::Devices::NewestWins);
    let mut old = server.client("alice").await;
    let mut new = server.client("alice").await;
    let reason = "a newer connection of the same user took over";
    assert_eq!(old.closed().await, (4000, reason.to_owned()));
    // The old connection's end took nothing from the new one.
    let mut bob = server.client("bob").await;
    bob.send(&text("alice", "still there?")).await;
    assert_eq!(new.content().await, "still there?");
}

#[tokio::test]
async fn the_oldest_of_too_many_devices_is_closed() {
    let server = TestServer::start(|config| config.limits.connections_per_user = 2);
    let mut oldest = server.client("alice").await;
    let mut older = server.client("alice").await;
    let mut newest = server.client("alice").await;
    let reason = "the user has too many connections; the oldest was closed";
    assert_eq!(oldest.closed().await, (4001, reason.to_owned()));
    older.has_nothing_more().await;
    newest.has_nothing_more().await;
}
