//! Clients that send too much, read too little, or come all at once.

use futures_util::future::join_all;
use switchboard::config::Config;
use switchboard_proto::{Message as _, classic::Message};
use tokio::io::AsyncReadExt as _;

use crate::{
    harness::{Client, TestServer, broadcast, soon, text},
    raw::{BINARY, CONTINUATION, FIN, PING, PONG, Raw, health_becomes, message},
};

const TOO_SLOW: &str = "you read too slowly: too many bytes are waiting; reconnect and read";

#[tokio::test]
async fn too_many_messages_in_a_short_time_close_with_1008() {
    let server = TestServer::start(|config| {
        config.limits.messages_per_second = 1;
        config.limits.message_burst = 5;
    });
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    let flood: Vec<u8> = (0..20).flat_map(|n| message(&text("bob", &n.to_string()))).collect();
    alice.write(&flood).await;
    let reason = "rate limit: too many messages in a short time; send more slowly";
    alice.is_closed_with(1008, reason).await;
    // What was within the limit is delivered all the same.
    for n in 0..5 {
        assert_eq!(bob.content().await, n.to_string());
    }
}

#[tokio::test]
async fn pings_count_as_messages() {
    let server = TestServer::start(|config| {
        config.limits.messages_per_second = 1;
        config.limits.message_burst = 5;
    });
    let mut alice = Raw::welcomed(server.address, "alice").await;
    for _ in 0..6 {
        alice.send(FIN | PING, b"!").await;
    }
    for _ in 0..5 {
        assert_eq!(alice.frame().await, (FIN | PONG, b"!".to_vec()));
    }
    assert_eq!(alice.close_frame().await.0, 1008);
}

#[tokio::test]
async fn too_many_bytes_in_a_short_time_close_with_1008() {
    let server = TestServer::start(|config| {
        config.limits.message_bytes = 1024;
        config.limits.bytes_per_second = 1;
        config.limits.byte_burst = 1024;
    });
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    let large = message(&text("bob", &"x".repeat(600)));
    alice.write(&large).await;
    alice.write(&large).await;
    let reason = "rate limit: too many bytes in a short time; send more slowly";
    alice.is_closed_with(1008, reason).await;
    assert_eq!(bob.content().await.len(), 600);
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn too_many_messages_on_their_way_to_the_store_close_with_1013() {
    let server = TestServer::start(|config| config.limits.pending_per_connection = 3);
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    // One write, and so one read: the store cannot have answered in between.
    let burst: Vec<u8> = (0..4).flat_map(|n| message(&text("bob", &n.to_string()))).collect();
    alice.write(&burst).await;
    let reason = "too many of your messages are waiting to be stored; try again later";
    alice.is_closed_with(1013, reason).await;
    for n in 0..3 {
        assert_eq!(bob.content().await, n.to_string());
    }
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn unfinished_messages_share_a_budget_and_whoever_exceeds_it_is_closed() {
    // Two messages of 50 KiB fit, even in buffers of 64 KiB; three never do.
    let server = TestServer::start(|config| {
        config.limits.message_bytes = 64 << 10;
        config.limits.receive_budget_bytes = 140 << 10;
    });
    let mut bob = server.client("bob").await;
    let payload = text("bob", &"x".repeat(60 << 10)).encode_to_vec();
    let (beginning, end) = payload.split_at(50 << 10);
    let mut within = Vec::new();
    for user in ["first", "second"] {
        let mut raw = Raw::welcomed(server.address, user).await;
        raw.send(BINARY, beginning).await;
        raw.send(FIN | PING, b"arrived?").await;
        assert_eq!(raw.frame().await.0, FIN | PONG);
        within.push(raw);
    }
    let mut third = Raw::welcomed(server.address, "third").await;
    third.send(BINARY, beginning).await;
    third.is_closed_with(1013, "the server has no room for this at the moment; try again later").await;
    for raw in &mut within {
        raw.send(FIN | CONTINUATION, end).await;
        assert_eq!(bob.content().await.len(), 60 << 10);
    }
    // Their part of the budget is free again.
    let mut fourth = Raw::welcomed(server.address, "fourth").await;
    fourth.send(BINARY, beginning).await;
    fourth.send(FIN | CONTINUATION, end).await;
    assert_eq!(bob.content().await.len(), 60 << 10);
}

/// Outboxes of 256 KiB, beyond what the kernel takes.
fn small_outboxes(config: &mut Config) {
    config.limits.message_bytes = 128 << 10;
    config.limits.outbox_bytes = 256 << 10;
    config.limits.lag_bytes = 64 << 10;
    config.limits.page_bytes = 64 << 10;
}

/// Floods everybody until far more was sent than the kernel holds for one who does not read.
async fn flood(clients: &mut [Client]) {
    let large = broadcast(&"x".repeat(100 << 10));
    for n in 0..120 {
        let sender = n % clients.len();
        clients[sender].send(&large).await;
        let expected = Message { from: clients[sender].user.clone(), ..large.clone() };
        for client in &mut *clients {
            assert!(client.recv().await == expected, "{} did not receive broadcast {n}", client.user);
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_is_told_when_it_reads() {
    let server = TestServer::start(|config| {
        small_outboxes(config);
        config.timeouts.close_timeout_ms = 60_000;
    });
    let stalled = Raw::connect_with_small_window(server.address).await;
    let mut stalled = stalled.upgrade("stalled").await;
    let mut others = server.clients(["alice", "bob", "carol"]).await;
    flood(&mut others).await;
    assert_eq!(stalled.close_frame().await, (1013, TOO_SLOW.to_owned()));
    for client in &mut others {
        client.has_nothing_more().await;
    }
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_while_all_others_receive() {
    let server = TestServer::start(|config| {
        small_outboxes(config);
        config.timeouts.close_timeout_ms = 100;
    });
    let stalled = Raw::connect_with_small_window(server.address).await;
    let mut stalled = stalled.upgrade("stalled").await;
    let mut others = server.clients(["alice", "bob", "carol"]).await;
    flood(&mut others).await;
    health_becomes(server.address, "it is cut off", |_, body| body["connections"] == 3).await;
    let mut rest = Vec::new();
    // What the kernel had is all there is, and then the end or a reset.
    let _ = soon("the end", stalled.stream.read_to_end(&mut rest)).await;
    for client in &mut others {
        client.has_nothing_more().await;
    }
}

#[tokio::test]
async fn whoever_does_not_read_its_pongs_is_closed_too() {
    let server = TestServer::start(|config| {
        small_outboxes(config);
        config.limits.messages_per_second = 10_000_000;
        config.limits.message_burst = 10_000_000;
        config.timeouts.close_timeout_ms = 100;
    });
    let stalled = Raw::connect_with_small_window(server.address).await;
    let mut stalled = stalled.upgrade("stalled").await;
    let pings = crate::raw::frame(FIN | PING, &[0; 125]).repeat(500);
    let flooding = async {
        use tokio::io::AsyncWriteExt as _;
        while stalled.stream.write_all(&pings).await.is_ok() {}
    };
    soon("the end of the flood", flooding).await;
    health_becomes(server.address, "it is cut off", |_, body| body["connections"] == 0).await;
}

#[tokio::test]
async fn more_handshakes_than_are_served_at_once_all_get_their_turn() {
    let server = TestServer::start(|config| {
        config.handshake.concurrent = 4;
        config.handshake.timeout_ms = 300;
    });
    // They take all the places and say nothing.
    let silent = join_all((0..4).map(|_| Raw::connect(server.address))).await;
    let names: Vec<_> = (0..64).map(|n| format!("user-{n}")).collect();
    let mut clients = join_all(names.iter().map(|name| server.client(name))).await;
    for client in &mut clients {
        client.has_nothing_more().await;
    }
    drop(silent);
}

#[tokio::test]
async fn whoever_reads_no_answers_does_not_keep_others_from_connecting() {
    let server = TestServer::start(|config| {
        config.handshake.concurrent = 1;
        config.handshake.timeout_ms = 300;
    });
    let mut greedy = Raw::connect_with_small_window(server.address).await;
    let requests = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    let asking = async {
        use tokio::io::AsyncWriteExt as _;
        while greedy.stream.write_all(requests.as_bytes()).await.is_ok() {}
    };
    soon("the server to hang up", asking).await;
    server.client("alice").await.has_nothing_more().await;
}

#[tokio::test]
async fn two_thousand_connect_at_once_and_all_hear_a_broadcast() {
    const STORM: usize = 2_000;
    // Two files for each connection: its ends are both in this process.
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(files >= 2 * STORM as u64 + 500, "this test needs more than {files} open files");
    let server = TestServer::with_shards(2);
    let names: Vec<_> = (0..STORM).map(|n| format!("user-{n}")).collect();
    let mut clients = join_all(names.iter().map(|name| server.client(name))).await;
    assert_eq!(clients.len(), STORM);
    health_becomes(server.address, "all are counted", |_, body| body["connections"] == STORM).await;
    clients[0].send(&broadcast("is everybody in?")).await;
    for client in &mut clients {
        assert_eq!(client.content().await, "is everybody in?", "{}", client.user);
    }
    drop(clients);
    health_becomes(server.address, "all have gone", |_, body| body["connections"] == 0).await;
}
