//! The session protocol over sockets, beside the classic one.

use futures_util::SinkExt as _;
use switchboard_proto::{
    Message as _,
    v1::{
        Accepted, ClientFrame, Content, Conversation, Fetch, GroupChange, Head, Page, RejectCode, Rejected,
        Resync, ServerFrame, Submit, Unfetched, client_frame as said, group_change::Kind, server_frame::Body,
    },
};
use tokio_tungstenite::tungstenite;

use crate::{
    device::{Device, SUBPROTOCOL, all_of, hello, submit, with_group, with_user},
    harness::{Client, TestServer, create_group, group_text, soon, text},
    process::Process,
    raw::{BINARY, FIN, Raw, TEXT, upgrade_request},
};

/// The places and texts of a page.
fn texts(page: &Page) -> Vec<(u64, &str)> {
    page.messages.iter().map(|m| (m.seq, m.content.as_ref().map_or("", |content| &content.text))).collect()
}

#[tokio::test]
async fn the_handshake_agrees_on_the_session_protocol_with_whoever_offers_it_and_on_none_with_others() {
    let server = TestServer::with_shards(1);
    let request = |lines: &str| upgrade_request("alice").replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    let offers = [
        ("Sec-WebSocket-Protocol: switchboard.v1\r\n", true),
        ("Sec-WebSocket-Protocol: chat, switchboard.v1 ,x\r\n", true),
        ("Sec-WebSocket-Protocol: chat\r\nsec-websocket-protocol: switchboard.v1\r\n", true),
        ("", false),
        ("Sec-WebSocket-Protocol: chat\r\n", false),
        ("Sec-WebSocket-Protocol: switchboard.v2, Switchboard.V1\r\n", false),
    ];
    for (lines, is_session) in offers {
        let mut raw = Raw::connect(server.address).await;
        raw.write(request(lines).as_bytes()).await;
        let response = raw.response().await;
        assert_eq!(response.status, 101, "{lines}");
        assert_eq!(response.header("sec-websocket-protocol"), is_session.then_some(SUBPROTOCOL), "{lines}");
        if is_session {
            raw.send(FIN | BINARY, &ClientFrame { body: Some(hello()) }.encode_to_vec()).await;
            let (_, payload) = raw.frame().await;
            let welcome = ServerFrame::decode(&payload[..]).unwrap().body;
            assert!(matches!(welcome, Some(Body::Welcome(_))), "{welcome:?}");
        } else {
            assert_eq!(raw.message().await.content, "welcome!");
        }
    }
}

#[tokio::test]
async fn a_session_is_welcomed_with_the_limits_of_the_configuration() {
    let server = TestServer::start(|config| {
        config.timeouts.heartbeat_interval_ms = 1_234;
        config.timeouts.resync_interval_ms = 5_678;
        config.limits.page_messages = 17;
        config.limits.cursors_per_hello = 300;
        config.limits.fetches_per_connection = 3;
    });
    let (_device, welcome, heads) = Device::sign_in(server.address, "alice").await;
    assert_eq!((&*welcome.user, welcome.session_id.len(), heads.len()), ("alice", 16, 0));
    assert_eq!((welcome.heartbeat_interval_ms, welcome.resync_interval_ms), (1_234, 5_678));
    let limits = welcome.limits.unwrap();
    assert_eq!((limits.page_messages, limits.cursors, limits.fetches), (17, 300, 3));
    assert_eq!(limits.message_bytes, 8 << 20);
}

async fn sessions_and_classic_clients_share_conversations(shards: u16) {
    let server = TestServer::with_shards(shards);
    let (mut phone, ..) = Device::sign_in(server.address, "alice").await;
    let (mut laptop, ..) = Device::sign_in(server.address, "alice").await;
    let mut bob = server.client("bob").await;
    let accepted = phone.submit(1, &with_user("bob"), "hello").await;
    assert_eq!(accepted.seq, 1);
    assert!(accepted.epoch != 0 && accepted.stored_at_ms > 1_700_000_000_000);
    let message = bob.recv().await;
    assert_eq!((&*message.from, &*message.to, &*message.content), ("alice", "bob", "hello"));
    assert_eq!((message.content_type, message.message_type), (1, 1));
    // Her other device has the same, in the same place.
    let copy = laptop.delivery().await;
    assert_eq!((copy.epoch, copy.seq, copy.stored_at_ms), (accepted.epoch, 1, accepted.stored_at_ms));
    assert_eq!((copy.from.as_str(), copy.conversation), ("alice", Some(with_user("bob"))));
    bob.send(&text("alice", "hello yourself")).await;
    for device in [&mut phone, &mut laptop] {
        let answer = device.delivery().await;
        assert_eq!((answer.epoch, answer.seq, &*answer.from), (accepted.epoch, 2, "bob"));
        assert_eq!(answer.conversation, Some(with_user("bob")));
        assert_eq!(answer.content.unwrap().text, "hello yourself");
        device.has_nothing_more().await;
    }
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn sessions_and_classic_clients_share_conversations_on_one_shard() {
    sessions_and_classic_clients_share_conversations(1).await;
}

#[tokio::test]
async fn sessions_and_classic_clients_share_conversations_on_four_shards() {
    sessions_and_classic_clients_share_conversations(4).await;
}

#[tokio::test]
async fn a_message_submitted_again_over_another_connection_keeps_its_place() {
    let server = TestServer::with_shards(2);
    let (mut first, ..) = Device::sign_in(server.address, "alice").await;
    let accepted = first.submit(1, &with_user("bob"), "once").await;
    first.submit(2, &with_user("bob"), "and on").await;
    drop(first);
    let (mut second, _, heads) = Device::sign_in(server.address, "alice").await;
    let expected = Head {
        conversation: Some(with_user("bob")),
        epoch: accepted.epoch,
        seq: 2,
        first_seq: 1,
        ..Head::default()
    };
    assert_eq!(heads, [expected]);
    assert_eq!(second.submit(1, &with_user("bob"), "once").await, accepted);
    let page = second.fetch(all_of(&with_user("bob"))).await;
    assert_eq!(texts(&page), [(1, "once"), (2, "and on")]);
}

#[tokio::test]
async fn a_log_is_fetched_in_pages_forwards_and_backwards() {
    let server = TestServer::start(|config| config.limits.page_messages = 4);
    let (mut alice, ..) = Device::sign_in(server.address, "alice").await;
    let bob = with_user("bob");
    for n in 1..=10 {
        alice.submit(n, &bob, &n.to_string()).await;
    }
    let (mut device, _, heads) = Device::sign_in(server.address, "bob").await;
    assert_eq!((heads[0].conversation.clone(), heads[0].seq), (Some(with_user("alice")), 10));
    let fetch =
        |from_seq, backwards, limit| Fetch { from_seq, backwards, limit, ..all_of(&with_user("alice")) };
    for (fetch, places) in [
        (fetch(1, false, 0), 1..=4),
        (fetch(5, false, 100), 5..=8),
        (fetch(9, false, 0), 9..=10),
        (fetch(3, false, 2), 3..=4),
        (fetch(0, true, 0), 7..=10),
        (fetch(6, true, 3), 4..=6),
        (fetch(2, true, 0), 1..=2),
    ] {
        let page = device.fetch(fetch.clone()).await;
        assert_eq!((page.epoch, page.head_seq, page.first_seq), (heads[0].epoch, 10, 1));
        let expected: Vec<_> = places.clone().map(|n| (n, n.to_string())).collect();
        let found: Vec<_> = texts(&page).into_iter().map(|(seq, text)| (seq, text.to_owned())).collect();
        assert_eq!(found, expected, "{fetch:?}");
        assert!(page.messages.iter().all(|message| message.from == "alice"));
    }
    let page = device.fetch(fetch(11, false, 0)).await;
    assert_eq!((page.head_seq, texts(&page)), (10, vec![]));
}

#[tokio::test]
async fn members_of_a_group_are_sent_and_find_what_was_said_and_strangers_are_told_nothing() {
    let server = TestServer::with_shards(2);
    create_group(&server.data(), "crew", &["alice", "bob", "carol"]);
    let (mut alice, ..) = Device::sign_in(server.address, "alice").await;
    let (mut bob, ..) = Device::sign_in(server.address, "bob").await;
    let (mut zoe, ..) = Device::sign_in(server.address, "zoe").await;
    let mut carol = server.client("carol").await;
    let crew = with_group("crew");
    let accepted = alice.submit(1, &crew, "ahoy").await;
    let delivery = bob.delivery().await;
    assert_eq!((delivery.conversation, delivery.seq), (Some(crew.clone()), accepted.seq));
    let message = carol.recv().await;
    assert_eq!((&*message.from, &*message.to, &*message.content), ("crew", "alice", "ahoy"));
    carol.send(&group_text("crew", "aye")).await;
    for device in [&mut alice, &mut bob] {
        let delivery = device.delivery().await;
        assert_eq!((delivery.seq, &*delivery.from), (accepted.seq + 1, "carol"));
    }
    zoe.say(submit(1, &crew, "hello?")).await;
    let Body::Rejected(Rejected { code, .. }) = zoe.hear().await else { panic!("zoe is no member") };
    assert_eq!(code, i32::from(RejectCode::NoSuchConversation));
    zoe.say(said::Body::Fetch(all_of(&crew))).await;
    let Body::Unfetched(Unfetched { code, .. }) = zoe.hear().await else { panic!("zoe is no member") };
    assert_eq!(code, i32::from(RejectCode::NoSuchConversation));
    zoe.has_nothing_more().await;
}

/// A change of a group.
fn change(id: u8, to: &Conversation, change: GroupChange) -> said::Body {
    said::Body::Submit(Submit {
        message_id: vec![id; 16].into(),
        conversation: Some(to.clone()),
        content: Some(Content { kind: 23, change: Some(change), ..Content::default() }),
    })
}

fn about(kind: Kind, user: &str) -> GroupChange {
    GroupChange { kind: kind.into(), user: user.into(), ..GroupChange::default() }
}

#[tokio::test]
async fn a_group_is_made_and_changed_by_its_members_and_who_is_removed_reads_up_to_that() {
    let server = TestServer::with_shards(2);
    let (mut alice, ..) = Device::sign_in(server.address, "alice").await;
    let (mut bob, ..) = Device::sign_in(server.address, "bob").await;
    let (mut carol, mut old) =
        (Device::sign_in(server.address, "carol").await.0, server.client("carol").await);
    let club = with_group("club");
    let create = GroupChange { name: "The club".into(), ..about(Kind::Create, "") };
    let made = [create.clone(), about(Kind::Invite, "bob"), about(Kind::Invite, "carol")];
    for (id, made) in (1..).zip(made) {
        alice.say(change(id, &club, made)).await;
        let Body::Accepted(accepted) = alice.hear().await else { panic!("change {id} is not accepted") };
        assert_eq!(accepted.seq, u64::from(id));
    }
    for (device, seqs) in [(&mut bob, 2..=3), (&mut carol, 3..=3)] {
        for seq in seqs {
            let delivery = device.delivery_after(seq - 1).await;
            assert_eq!((delivery.conversation.as_ref(), delivery.seq), (Some(&club), seq));
        }
    }
    bob.submit(1, &club, "hello").await;
    assert_eq!(alice.delivery().await.seq, 4);
    assert_eq!(carol.delivery_after(3).await.seq, 4);
    assert_eq!(old.recv().await.content, "hello", "and nothing of the changes");
    bob.say(change(2, &club, about(Kind::Kick, "carol"))).await;
    let Body::Rejected(rejected) = bob.hear().await else { panic!("bob is no admin") };
    assert_eq!(rejected.code, i32::from(RejectCode::Forbidden));
    alice.say(change(4, &club, about(Kind::Kick, "bob"))).await;
    let Body::Accepted(accepted) = alice.hear().await else { panic!("the kick is not accepted") };
    assert_eq!(accepted.seq, 5);
    let told = bob.delivery_after(3).await;
    assert_eq!(told.content.unwrap().change.unwrap(), about(Kind::Kick, "bob"));
    alice.submit(5, &club, "among ourselves").await;
    assert_eq!(carol.delivery().await.seq, 5);
    assert_eq!(carol.delivery().await.seq, 6);
    let page = bob.page_of(&club).await;
    assert_eq!((page.head_seq, page.first_seq, page.messages.len()), (5, 2, 4));
    bob.say(submit(3, &club, "hello?")).await;
    let Body::Rejected(rejected) = bob.hear().await else { panic!("bob is no member") };
    assert_eq!(rejected.code, i32::from(RejectCode::NoSuchConversation));
    // The same again is accepted again, and another one of that id reveals nothing.
    alice.say(change(1, &club, create.clone())).await;
    assert!(matches!(alice.hear().await, Body::Accepted(Accepted { seq: 1, .. })));
    bob.say(change(4, &club, create)).await;
    let Body::Rejected(rejected) = bob.hear().await else { panic!("the id is taken") };
    assert_eq!(rejected.code, i32::from(RejectCode::NoSuchConversation));
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_crash_in_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let bob = with_user("bob");
    let process = Process::start(&data, &[]);
    let (mut alice, ..) = Device::sign_in(process.address, "alice").await;
    let mut epochs = Vec::new();
    for n in 1..=20 {
        epochs.push(alice.submit(n, &bob, &n.to_string()).await.epoch);
    }
    process.kill();
    let process = Process::start(&data, &[("SWITCHBOARD_SHARDS", "2")]);
    let (mut alice, _, heads) = Device::sign_in(process.address, "alice").await;
    epochs.push(heads[0].epoch);
    assert_eq!(heads[0].seq, 20);
    let page = alice.fetch(all_of(&bob)).await;
    assert!(page.messages.iter().map(|message| message.seq).eq(1..=20));
    epochs.push(page.epoch);
    let next = alice.submit(21, &bob, "on").await;
    epochs.push(next.epoch);
    assert_eq!(next.seq, 21);
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
}

#[tokio::test]
async fn wrong_frames_close_with_the_codes_of_the_protocol() {
    let server = TestServer::start(|config| config.limits.message_bytes = 4 << 10);
    let frame = |body| ClientFrame { body: Some(body) }.encode_to_vec();
    let fetch = || said::Body::Fetch(all_of(&with_user("bob")));
    let wrong: [(&str, u8, Vec<u8>, u16); 6] = [
        ("no frame", BINARY, b"\xff\xff".to_vec(), 1007),
        ("no body", BINARY, Vec::new(), 1007),
        ("a text message", TEXT, b"hello".to_vec(), 1003),
        ("a frame before the Hello", BINARY, frame(fetch()), 4003),
        ("a Resync before the Hello", BINARY, frame(said::Body::Resync(Resync::default())), 4003),
        ("too large a frame", BINARY, vec![0; 5 << 10], 1009),
    ];
    for (what, kind, payload, code) in wrong {
        let mut alice = Device::dial(server.address, "alice").await;
        let message = if kind == TEXT {
            tungstenite::Message::text(String::from_utf8(payload).unwrap())
        } else {
            tungstenite::Message::binary(payload)
        };
        soon("sending", alice.socket.send(message)).await.unwrap();
        // Who is closed for its size is told when to come back; who broke the protocol is not.
        if code == 1009 {
            assert!(matches!(alice.hear().await, Body::Goodbye(_)), "{what}");
        }
        assert_eq!(alice.closed().await, code, "{what}");
    }
    let (mut alice, ..) = Device::sign_in(server.address, "alice").await;
    alice.say(hello()).await;
    assert_eq!(alice.closed().await, 4003, "a second Hello");
    let (mut alice, ..) = Device::sign_in(server.address, "alice").await;
    alice.say(submit(1, &with_user("bob"), "")).await;
    let Body::Rejected(rejected) = alice.hear().await else { panic!("an empty text is refused") };
    assert_eq!(rejected.code, i32::from(RejectCode::Invalid));
    alice.has_nothing_more().await;
}

#[tokio::test]
async fn who_does_not_say_hello_in_time_is_closed() {
    let server = TestServer::start(|config| config.timeouts.hello_timeout_ms = 100);
    let mut silent = Device::dial(server.address, "alice").await;
    assert_eq!(silent.closed().await, 4003);
}

#[tokio::test]
async fn sessions_are_told_when_to_come_back_and_those_taken_over_not_to() {
    use switchboard::config::Devices;
    let mut server = TestServer::start(|config| {
        config.devices = Devices::NewestWins;
        config.timeouts.reconnect_after_ms = 1_500;
        config.timeouts.reconnect_spread_ms = 0;
    });
    let (mut old, ..) = Device::sign_in(server.address, "alice").await;
    let (mut new, ..) = Device::sign_in(server.address, "alice").await;
    let mut bob = Client::connect(server.address, "bob").await;
    let Body::Goodbye(goodbye) = old.hear().await else { panic!("the older device is told goodbye") };
    assert_eq!(goodbye.reconnect_after_ms, u32::MAX);
    assert_eq!(old.closed().await, 4000);
    server.stop();
    let Body::Goodbye(goodbye) = new.hear().await else { panic!("the session is told goodbye") };
    assert_eq!((goodbye.reconnect_after_ms, goodbye.reconnect_spread_ms), (1_500, 0));
    assert_eq!(new.closed().await, 1001);
    assert_eq!(bob.closed().await.0, 1001);
    server.ended();
}
