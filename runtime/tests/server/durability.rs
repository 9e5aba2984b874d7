//! What is on the disk after a crash, and what happens when the disk is full.

use std::collections::BTreeSet;

use switchboard::store::{Conversation, Directory, StoredMessage};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    harness::{Client, PATIENCE, TestServer, create_group, group_text, open, text, user},
    process::Process,
    raw::health_becomes,
};

fn history(directory: &Directory, conversation: &Conversation) -> Vec<StoredMessage> {
    directory.history(conversation, 1..=u64::MAX, u32::MAX).unwrap()
}

/// Sends numbered messages until the connection breaks; slowly enough for no limit to be met.
async fn send_until_the_end(mut client: Client, message: impl Fn(String) -> Message) {
    use futures_util::SinkExt as _;
    let begun = tokio::time::Instant::now();
    for n in 0_u64.. {
        let bytes = message(format!("{} {n}", client.user)).encode_to_vec();
        if client.socket.send(tokio_tungstenite::tungstenite::Message::Binary(bytes.into())).await.is_err() {
            return;
        }
        if n % 20 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        assert!(begun.elapsed() < PATIENCE, "the server was to be killed");
    }
}

/// Receives until the connection breaks: the contents, in order.
async fn receive_until_the_end(
    mut client: Client,
    heard: tokio::sync::mpsc::UnboundedSender<()>,
) -> Vec<String> {
    use futures_util::StreamExt as _;
    let mut contents = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(PATIENCE, client.socket.next()).await {
        if frame.is_binary() {
            contents.push(Message::decode(frame.into_data()).unwrap().content);
            let _ = heard.send(());
        }
    }
    contents
}

/// The log is gapless, each sender's messages are in it once and in order, and all that was heard is there.
fn assert_log_holds(stored: &[StoredMessage], heard: &[String]) {
    assert!(stored.iter().map(|message| message.seq).eq(1..=stored.len() as u64), "the log is gapless");
    let ids: BTreeSet<_> = stored.iter().map(|m| (m.sender.as_str(), m.id)).collect();
    assert_eq!(ids.len(), stored.len(), "no message id is there twice");
    let senders: BTreeSet<_> = stored.iter().map(|message| message.sender.as_str()).collect();
    for sender in senders {
        let is_message = |entry: &&StoredMessage| entry.content_type != 23;
        let sent = stored.iter().filter(is_message).filter(|message| message.sender.as_str() == sender);
        let expected = (0..).map(|n| format!("{sender} {n}"));
        for (message, expected) in sent.zip(expected) {
            assert_eq!(*message.content, expected, "nothing of {sender} is missing, out of order, or twice");
        }
    }
    let contents: BTreeSet<_> = stored.iter().map(|message| &*message.content).collect();
    for content in heard {
        assert!(contents.contains(content.as_str()), "{content:?} was delivered and is not in the store");
    }
    assert_eq!(heard.iter().collect::<BTreeSet<_>>().len(), heard.len(), "nothing was heard twice");
}

#[tokio::test]
async fn whatever_was_delivered_before_a_crash_is_in_the_store_once_and_in_order() {
    const ROUNDS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    create_group(&data, "crew", &["carol", "dave", "erin"]);
    let mut of_first_round = (Vec::new(), 0);
    for round in 0..ROUNDS {
        // Another conversation each time, over the same data.
        let (alice, bob) = (&*format!("alice-{round}"), &*format!("bob-{round}"));
        let process = Process::start(&data, &[("SWITCHBOARD_SHARDS", "2")]);
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let to_bob = Client::connect(process.address, bob).await;
        let bob_heard = tokio::spawn(receive_until_the_end(to_bob, sender.clone()));
        let to_erin = Client::connect(process.address, "erin").await;
        let erin_heard = tokio::spawn(receive_until_the_end(to_erin, sender));
        let mut sending = Vec::new();
        let to = bob.to_owned();
        let client = Client::connect(process.address, alice).await;
        sending.push(tokio::spawn(send_until_the_end(client, move |content| text(&to, &content))));
        if round == 0 {
            for name in ["carol", "dave"] {
                let client = Client::connect(process.address, name).await;
                let in_group = |content: String| group_text("crew", &content);
                sending.push(tokio::spawn(send_until_the_end(client, in_group)));
            }
        }
        for _ in 0..300 {
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("messages are delivered");
        }
        process.kill();
        let (bob_heard, erin_heard) = (bob_heard.await.unwrap(), erin_heard.await.unwrap());
        for task in sending {
            task.await.unwrap();
        }
        let directory = Directory::open(&data).unwrap();
        let direct = history(&directory, &Conversation::Direct(user(alice), user(bob)));
        assert!(!bob_heard.is_empty() && direct.len() >= bob_heard.len());
        assert_log_holds(&direct, &bob_heard);
        if round == 0 {
            of_first_round = (direct, bob_heard.len());
        }
        let group =
            history(&directory, &Conversation::Group(switchboard_engine::GroupId::new("crew").unwrap()));
        assert_log_holds(&group, &erin_heard);
    }
    // After all that, bob is sent what he has not heard of the first round, and perhaps more; then the log goes on.
    let process = Process::start(&data, &[]);
    let conversation = Conversation::Direct(user("alice-0"), user("bob-0"));
    let head = Directory::open(&data).unwrap().conversation(&conversation).unwrap().unwrap().head_seq;
    let mut alice = Client::connect(process.address, "alice-0").await;
    let mut bob = Client::connect(process.address, "bob-0").await;
    alice.send(&text("bob-0", "again")).await;
    let mut resent = Vec::new();
    while resent.last().is_none_or(|last| last != "again") {
        resent.push(bob.content().await);
    }
    let (log, heard) = of_first_round;
    let first = log.len() + 1 - resent.len();
    assert!(first <= heard, "{heard} of {} were heard, and {} are sent", log.len(), resent.len());
    let missed = log[first..].iter().map(|message| &*message.content);
    assert!(resent.iter().map(|content| &**content).eq(missed.chain(["again"])), "in order, without gaps");
    let directory = Directory::open(&data).unwrap();
    let last = directory.history(&conversation, head + 1..=u64::MAX, 9).unwrap();
    assert!(last.iter().map(|m| (m.seq, &*m.content)).eq([(head + 1, "again")]));
}

#[tokio::test]
async fn a_full_store_delivers_nothing_says_so_and_recovers() {
    let server = TestServer::start(|config| config.store.max_database_bytes = 1 << 20);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    // Each takes some 40 KiB of the one MiB.
    let large = "x".repeat(40 << 10);
    let mut delivered = 0;
    let full = loop {
        alice.send(&text("bob", &format!("{delivered} {large}"))).await;
        let next = tokio::select! {
            content = bob.content() => Ok(content),
            full = health_becomes(server.address, "the store is full", |status, _| status == 503) => Err(full),
        };
        let content = match next {
            Ok(content) => content,
            Err(full) => break full,
        };
        assert!(content.starts_with(&format!("{delivered} ")));
        delivered += 1;
        assert!(delivered < 100, "one MiB does not hold this");
    };
    assert!(delivered > 5, "{delivered}");
    let (status, body) = full;
    assert_eq!((status, &body["status"], &body["files"]), (503, &"failing".into(), &"ok".into()));
    let why = body["store"].as_str().unwrap();
    assert!(why.starts_with("failing: ") && why.contains("full"), "{why}");
    // What cannot be stored is delivered to nobody; what needs no store still works, for newcomers too.
    alice.send(&text("bob", &large)).await;
    alice.send(&Message { content_type: 0, r#type: "webrtc".into(), ..text("bob", "call") }).await;
    assert_eq!(bob.content().await, "call");
    drop(open(server.address, "carol").await.unwrap());
    let conversation = Conversation::Direct(user("alice"), user("bob"));
    let stored = history(&server.directory(), &conversation);
    assert!(stored.iter().map(|message| message.seq).eq(1..=delivered));
    // The operator makes room.
    let database = rusqlite::Connection::open(server.data().join("switchboard.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database.execute("DELETE FROM messages WHERE seq <= 10", []).unwrap();
    health_becomes(server.address, "the store works again", |status, body| {
        status == 200 && body["store"] == "ok" && body["status"] == "ok"
    })
    .await;
    alice.send(&text("bob", "room again")).await;
    assert_eq!(bob.content().await, "room again");
    let stored = history(&server.directory(), &conversation);
    assert_eq!(stored.last().map(|m| (m.seq, &*m.content)), Some((delivered + 1, "room again")));
}
