//! A classic client that returns is sent what it has missed.

use switchboard::store::Conversation;

use crate::harness::{Client, TestServer, soon, text, user};

/// Alice says so many things to bob: "1", "2" and so on.
async fn says(alice: &mut Client, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        alice.send(&text("bob", &number.to_string())).await;
    }
}

/// The store has so many messages of alice and bob.
async fn stored(server: &TestServer, count: u64) {
    let conversation = Conversation::Direct(user("alice"), user("bob"));
    let directory = server.directory();
    soon("all is stored", async {
        while directory.conversation(&conversation).unwrap().is_none_or(|log| log.head_seq < count) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Answers the next Ping, and waits until the server has the answer.
async fn says_what_has_arrived(client: &mut Client) {
    loop {
        let frame = client.frame().await.expect("the server asks what has arrived");
        assert!(!frame.is_binary(), "{}: {frame:?}", client.user);
        if frame.is_ping() {
            break;
        }
    }
    client.has_nothing_more().await;
}

#[tokio::test]
async fn who_is_cut_with_messages_in_flight_returns_and_hears_them_in_order_before_newer_ones() {
    for shards in [1, 2] {
        let server = TestServer::with_shards(shards);
        let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
        says(&mut alice, 1..=3).await;
        for expected in ["1", "2", "3"] {
            assert_eq!(bob.content().await, expected);
        }
        // These are on their way, and bob reads none of them: the connection is reset.
        says(&mut alice, 4..=50).await;
        stored(&server, 50).await;
        drop(bob);
        says(&mut alice, 51..=60).await;
        stored(&server, 60).await;
        let mut bob = server.client("bob").await;
        says(&mut alice, 61..=99).await;
        let first: u64 = bob.content().await.parse().unwrap();
        assert!(first <= 4, "{first}: the fourth was never read");
        for number in first + 1..=99 {
            assert_eq!(bob.content().await, number.to_string());
        }
        says_what_has_arrived(&mut bob).await;
        drop(bob);
        let mut bob = server.client("bob").await;
        says(&mut alice, 100..=100).await;
        let next: u64 = bob.content().await.parse().unwrap();
        assert!((61..=100).contains(&next), "{next}: what he has said to have received does not come again");
        for number in next + 1..=100 {
            assert_eq!(bob.content().await, number.to_string());
        }
    }
}

#[tokio::test]
async fn what_is_said_to_somebody_who_is_away_is_heard_in_order_on_the_return() {
    let server = TestServer::start(|_| {});
    drop(server.client("bob").await);
    let mut alice = server.client("alice").await;
    says(&mut alice, 1..=500).await;
    stored(&server, 500).await;
    let mut bob = server.client("bob").await;
    for number in 1..=500 {
        assert_eq!(bob.content().await, number.to_string());
    }
    says_what_has_arrived(&mut bob).await;
    drop(bob);
    let mut bob = server.client("bob").await;
    says(&mut alice, 501..=501).await;
    assert_eq!(bob.content().await, "501", "and nothing of before");
}

#[tokio::test]
async fn where_it_is_turned_off_nothing_is_sent_again() {
    let server = TestServer::start(|config| config.limits.resend_messages = 0);
    drop(server.client("bob").await);
    let mut alice = server.client("alice").await;
    says(&mut alice, 1..=3).await;
    stored(&server, 3).await;
    let mut bob = server.client("bob").await;
    bob.has_nothing_more().await;
}
