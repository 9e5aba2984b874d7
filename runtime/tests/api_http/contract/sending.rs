//! Messages that are sent over HTTP, and what is marked as read.

use serde_json::{Value, json};
use switchboard_proto::v1::{Marks, server_frame};

use crate::client::{Api, PNG, Reply, passwords, with_passwords};
use crate::device::{with_group, with_user};
use crate::harness::{TestServer, text};

fn direct(other: &Api) -> String {
    format!("/api/v1/conversations/direct/{}", other.id)
}

async fn send(from: &Api, conversation: &str, fields: &Value) -> Reply {
    from.post(&format!("{conversation}/messages"), fields).await
}

/// The texts of a history, the oldest first.
async fn texts(of: &Api, conversation: &str) -> Vec<String> {
    let items = of.all(&format!("{conversation}/messages?direction=forwards"), 50).await;
    items.iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_sent_is_stored_and_delivered_to_everybody_and_to_ones_own_clients() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let (mut phone, mut to) = (alice.device().await, bob.socket().await);
    let reply = send(&alice, &direct(&bob), &json!({"text": "hello"})).await;
    let place = reply.data();
    assert_eq!((reply.status, &place["seq"]), (201, &json!(1)));
    let message = to.recv().await;
    assert_eq!((&message.from, &message.to, &*message.content), (&alice.id, &bob.id, "hello"));
    let delivery = phone.delivery().await;
    assert_eq!(delivery.conversation, Some(with_user(&bob.id)));
    let id = data_encoding(&delivery.message_id);
    let entry = bob.get(&format!("{}/messages", direct(&alice))).await.items()[0].clone();
    assert_eq!((&place["message_id"], &entry["message_id"]), (&json!(id), &json!(id)));
    assert_eq!(entry["sender_name"], "alice");
    assert_eq!((&entry["stored_at"], &entry["seq"]), (&place["stored_at"], &place["seq"]));
    assert_eq!(bob.get(&direct(&alice)).await.data()["epoch"], place["epoch"]);
    // What comes over the WebSocket stands beside it.
    to.send(&text(&alice.id, "hello yourself")).await;
    assert_eq!(phone.delivery().await.seq, 2);
    assert_eq!(send(&alice, &direct(&bob), &json!({"text": "again"})).await.data()["seq"], 3);
    assert_eq!(to.content().await, "again");
    assert_eq!(texts(&bob, &direct(&alice)).await, ["hello", "hello yourself", "again"]);
}

fn data_encoding(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once_and_answered_alike() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let path = format!("{}/messages", direct(&bob));
    let named = json!({"id": "0a".repeat(16), "text": "one"});
    let first = alice.post(&path, &named).await.data();
    let keyed = async |text: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "order-7")];
        alice.send("POST", &path, &headers, json!({"text": text}).to_string()).await.data()
    };
    let second = keyed("two").await;
    for _ in 0..3 {
        assert_eq!(alice.post(&path, &named).await.data(), first);
        assert_eq!(keyed("two").await, second);
        assert_eq!(keyed("something else").await, second, "the id decides");
    }
    assert_eq!((&first["seq"], &second["seq"]), (&json!(1), &json!(2)));
    assert_eq!(texts(&bob, &direct(&alice)).await, ["one", "two"]);
    // Ids are their sender's.
    assert_eq!(send(&bob, &direct(&alice), &named).await.data()["seq"], 3);
    let own = format!("/api/v1/conversations/direct/{}", alice.id);
    assert_eq!(send(&alice, &own, &named).await.problem(409).0, "conflict");
}

#[tokio::test]
async fn calls_at_once_are_stored_once_each_and_close_nobodys_connection() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.limits.connections_per_user = 2;
    });
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let mut phone = alice.device().await;
    let mut sent = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (alice, path) = (alice.clone(), direct(&bob));
        sent.spawn(async move { send(&alice, &path, &json!({"text": number.to_string()})).await.data() });
    }
    let mut seqs: Vec<_> = sent.join_all().await.iter().map(|place| place["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    assert!(seqs.iter().copied().eq(1..=20), "{seqs:?}");
    for seq in 1..=20 {
        assert_eq!(phone.delivery().await.seq, seq);
    }
    phone.has_nothing_more().await;
}

#[tokio::test]
async fn groups_have_the_rules_that_sessions_have() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let carol = Api::registered(&server, "carol").await;
    let group = alice.group("chess", "invited").await;
    let seat = format!("/api/v1/groups/{group}/members/{}", bob.id);
    assert_eq!(alice.put(&seat).await.status, 204);
    let path = format!("/api/v1/conversations/group/{group}");
    assert_eq!(send(&bob, &path, &json!({"text": "e4"})).await.data()["seq"], 3);
    let (kind, detail) = send(&carol, &path, &json!({"text": "e5"})).await.problem(404);
    assert_eq!(kind, "not-found");
    assert!(detail.contains("invite"), "{detail}");
    assert_eq!(alice.patch(&seat, &json!({"muted_until": "2999-01-01T00:00:00Z"})).await.status, 204);
    let (kind, detail) = send(&bob, &path, &json!({"text": "e6"})).await.problem(403);
    assert_eq!(kind, "forbidden");
    assert!(detail.contains("2999"), "{detail}");
    let nobody = "/api/v1/conversations/direct/nobody";
    assert_eq!(send(&bob, nobody, &json!({"text": "x"})).await.problem(404).1, "there is no such user");
    assert_eq!(texts(&alice, &path).await, ["", "", "e4", ""]);
}

#[tokio::test]
async fn edits_recalls_and_files_are_sent_as_well() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let path = direct(&bob);
    for text in ["helo", "oops"] {
        assert_eq!(send(&alice, &path, &json!({"text": text})).await.status, 201);
    }
    let edit = json!({"kind": "edit", "target_seq": 1, "text": "hello"});
    assert_eq!(send(&alice, &path, &edit).await.data()["seq"], 3);
    assert_eq!(send(&alice, &path, &json!({"kind": "recall", "target_seq": 2})).await.data()["seq"], 4);
    let items = bob.all(&format!("{}/messages?direction=forwards", direct(&alice)), 50).await;
    assert_eq!((&items[0]["text"], &items[1]["is_recalled"]), (&json!("hello"), &json!(true)));
    assert_eq!((&items[2]["kind"], &items[3]["target_seq"]), (&json!("edit"), &json!(2)));
    let (kind, detail) = send(&bob, &direct(&alice), &edit).await.problem(403);
    assert_eq!((&*kind, &*detail), ("forbidden", "only who has said a message edits it"));
    let beyond = json!({"kind": "recall", "target_seq": u64::MAX});
    assert_eq!(send(&alice, &path, &beyond).await.problem(409).0, "conflict");
    let mut to = bob.socket().await;
    for (name, bytes, kind) in [("a.png", PNG, "image"), ("a.txt", b"words", "file")] {
        let file = alice.upload(name, bytes).await.data();
        let sent = send(&alice, &path, &json!({"file": file["name"]})).await.data();
        let path = format!("{}/messages?limit=1", direct(&alice));
        let entry = bob.get(&path).await.items()[0].clone();
        assert_eq!((&entry["kind"], &entry["seq"]), (&json!(kind), &sent["seq"]));
        assert_eq!(entry["file"]["url"], file["url"]);
        while to.recv().await.url != file["name"].as_str().unwrap() {}
    }
}

#[tokio::test]
async fn what_cannot_be_a_message_is_refused_and_leaves_nothing() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let path = direct(&bob);
    for (fields, detail) in [
        (json!({}), "text is empty"),
        (json!({"text": ""}), "text is empty"),
        (json!({"text": "x", "kind": "image"}), "file is not the name of a stored file"),
        (json!({"text": "x", "file": "../x"}), "file is not the name of a stored file"),
        (json!({"text": "x", "kind": "text", "file": "x.png"}), "file is for media: a text has none"),
        (json!({"text": "x", "target_seq": 1}), "target_seq is for edits and recalls"),
        (json!({"text": "x", "kind": "edit"}), "target_seq is 0: the first place is 1"),
        (json!({"text": "x", "id": "0a"}), "id must be 32 hexadecimal digits, in lower case"),
    ] {
        let problem = send(&alice, &path, &fields).await.problem(422);
        assert_eq!(problem, ("invalid".to_owned(), detail.to_owned()), "{fields}");
    }
    for fields in
        [json!({"text": "x", "kind": "change"}), json!({"txt": "x"}), json!({"text": 1}), json!(["x"])]
    {
        assert_eq!(send(&alice, &path, &fields).await.problem(422).0, "invalid", "{fields}");
    }
    let keyed = async |key: &str, fields: Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        alice.send("POST", &format!("{path}/messages"), &headers, fields.to_string()).await
    };
    assert_eq!(keyed("", json!({"text": "x"})).await.problem(400).0, "malformed");
    assert_eq!(keyed(&"x".repeat(256), json!({"text": "x"})).await.problem(400).0, "malformed");
    assert_eq!(keyed("x", json!({"text": "x", "id": "0a".repeat(16)})).await.problem(400).0, "malformed");
    assert_eq!(alice.get(&path).await.problem(404).0, "not-found", "nothing was said");
}

#[tokio::test]
async fn who_sends_too_much_is_told_when_to_try_again() {
    let server = TestServer::start(|config| {
        passwords(config);
        (config.limits.user_messages_per_second, config.limits.user_message_burst) = (1, 4);
    });
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    // While it is connected, all that a user sends counts together.
    let mut phone = alice.device().await;
    let mut sent = 0;
    let refused = loop {
        let reply = send(&alice, &direct(&bob), &json!({"text": "hello"})).await;
        if reply.status != 201 {
            break reply;
        }
        sent += 1;
    };
    assert_eq!(refused.problem(429).0, "too-many");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(sent < 4, "{sent}");
    assert_eq!(texts(&bob, &direct(&alice)).await.len(), sent);
    for seq in 1..=sent {
        assert_eq!(phone.delivery().await.seq, u64::try_from(seq).unwrap());
    }
}

#[tokio::test]
async fn a_server_without_room_says_when_to_try_again() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.shards = 1;
        config.limits.connections = 1;
    });
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let _socket = bob.socket().await;
    let reply = send(&alice, &direct(&bob), &json!({"text": "hello"})).await;
    assert_eq!(reply.problem(503).0, "busy");
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn where_a_user_has_one_connection_no_call_takes_its_place() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.devices = switchboard::config::Devices::NewestWins;
    });
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let mut phone = alice.device().await;
    assert_eq!(send(&alice, &direct(&bob), &json!({"text": "x"})).await.problem(409).0, "conflict");
    let read = alice.json("PUT", &format!("{}/read", direct(&bob)), &json!({"seq": 1})).await;
    assert_eq!(read.problem(409).0, "conflict");
    phone.has_nothing_more().await;
}

#[tokio::test]
async fn what_was_read_is_marked_and_told() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    for text in ["1", "2", "3"] {
        assert_eq!(send(&alice, &direct(&bob), &json!({"text": text})).await.status, 201);
    }
    let (mut phone, mut peer) = (bob.device().await, alice.device().await);
    let path = format!("{}/read", direct(&alice));
    assert_eq!(bob.get(&direct(&alice)).await.data()["unread"], 3);
    let read = bob.json("PUT", &path, &json!({"seq": 2})).await.data();
    assert_eq!(read, json!({"delivered_seq": 2, "read_seq": 2}));
    let seen = bob.get(&direct(&alice)).await.data();
    assert_eq!((&seen["own"], &seen["unread"]), (&read, &json!(1)));
    assert_eq!(alice.get(&direct(&bob)).await.data()["peer"], read);
    for (device, other) in [(&mut phone, &alice), (&mut peer, &bob)] {
        let server_frame::Body::Marked(marked) = device.hear().await else { panic!("a mark is next") };
        assert_eq!((marked.conversation, &marked.user), (Some(with_user(&other.id)), &bob.id));
        assert_eq!(marked.marks, Some(Marks { delivered_seq: 2, read_seq: 2 }));
    }
    // What was passed changes nothing, and what is not there cannot be read.
    assert_eq!(bob.json("PUT", &path, &json!({"seq": 1})).await.data(), read);
    for seq in [0, 4, u64::MAX] {
        let (kind, detail) = bob.json("PUT", &path, &json!({"seq": seq})).await.problem(422);
        assert_eq!((&*kind, &*detail), ("invalid", "seq must be a place of the log: 1 to 3"));
    }
    let nowhere = format!("{}/read", direct(&bob));
    assert_eq!(bob.json("PUT", &nowhere, &json!({"seq": 1})).await.problem(404).0, "not-found");
    let group = alice.group("chess", "open").await;
    let path = format!("/api/v1/conversations/group/{group}");
    let read = alice.json("PUT", &format!("{path}/read"), &json!({"seq": 1})).await.data();
    assert_eq!(read, json!({"delivered_seq": 1, "read_seq": 1}));
    let marked = loop {
        if let server_frame::Body::Marked(marked) = peer.hear().await {
            break marked;
        }
    };
    assert_eq!(marked.conversation, Some(with_group(&group)));
    assert_eq!(
        bob.json("PUT", &format!("{path}/read"), &json!({"seq": 1})).await.problem(404).0,
        "not-found"
    );
    phone.has_nothing_more().await;
}

#[tokio::test]
async fn while_the_store_does_not_answer_nothing_is_known_and_the_same_is_sent_again() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.timeouts.request_timeout_ms = 200;
    });
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let path = format!("{}/messages", direct(&bob));
    let keyed = async || {
        let headers = [("content-type", "application/json"), ("idempotency-key", "order-7")];
        alice.send("POST", &path, &headers, json!({"text": "hello"}).to_string()).await
    };
    let database = rusqlite::Connection::open(server.data().join("switchboard.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let reply = keyed().await;
    assert_eq!(reply.problem(503), ("busy".into(), "the server cannot store anything now".into()));
    assert_eq!(reply.header("retry-after"), Some("1"));
    database.execute_batch("ROLLBACK").unwrap();
    let mut tries = 0..200;
    let place = loop {
        assert!(tries.next().is_some(), "the store works again");
        let reply = keyed().await;
        if reply.status == 201 {
            break reply.data();
        }
        reply.problem(503);
    };
    assert_eq!(place["seq"], 1);
    assert_eq!(texts(&bob, &direct(&alice)).await, ["hello"]);
}
