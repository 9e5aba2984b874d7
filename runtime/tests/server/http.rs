//! The handshake, and what else comes to the port.

use std::{net::SocketAddr, time::Duration};

use switchboard::config::Config;

use crate::{
    harness::{TestServer, soon},
    raw::{Raw, Response, get, health, health_becomes, upgrade_request},
};

async fn answer(address: SocketAddr, request: &str) -> Response {
    let mut raw = Raw::connect(address).await;
    raw.write(request.as_bytes()).await;
    raw.response().await
}

#[tokio::test]
async fn a_handshake_without_a_possible_user_is_answered_with_400_and_why() {
    let server = TestServer::with_shards(1);
    let long = "x".repeat(129);
    let missing = "the query must name the user who connects: /socket.io?user=ID\n";
    let too_long = "the query's user cannot connect: the id is longer than 128 bytes\n";
    let control = "the query's user cannot connect: the id contains a control character\n";
    let encoding = "the query cannot be read: ";
    for (query, text) in [
        ("", missing),
        ("?", missing),
        ("?user", missing),
        ("?user=", missing),
        ("?uuid=alice", missing),
        (&format!("?user={long}"), too_long),
        ("?user=a%00b", control),
        ("?user=%0D%0Aalice", control),
        ("?user=%C2%85", control),
        ("?user=System", "the query's user cannot connect: the id System is the server's own\n"),
        ("?user=%FF", encoding),
        ("?user=a%C3", encoding),
        ("?user=alice&user=bob", encoding),
    ] {
        let request = upgrade_request("alice").replace("?user=alice", query);
        let response = answer(server.address, &request).await;
        assert_eq!(response.status, 400, "{query}");
        assert!(response.body.starts_with(text), "{query}: {}", response.body);
    }
}

#[tokio::test]
async fn with_many_places_taken_none_is_kept_for_another_request() {
    let server = TestServer::start(|config| config.handshake.concurrent = 4);
    let request = "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";
    let mut first = Raw::connect(server.address).await;
    first.write(request.as_bytes()).await;
    assert_eq!(first.response().await.header("connection"), None);
    let _second = Raw::connect(server.address).await;
    let mut third = Raw::connect(server.address).await;
    third.write(request.as_bytes()).await;
    assert_eq!(third.response().await.header("connection"), Some("close"));
    third.has_ended().await;
}

/// The usual handshake in one piece is answered without the HTTP layer, and one in two pieces by it.
#[tokio::test]
async fn a_handshake_that_comes_in_pieces_is_answered_like_one_that_comes_whole() {
    let server = TestServer::with_shards(1);
    let classic = upgrade_request("alice");
    let offer = "Upgrade: WebSocket\r\nSec-WebSocket-Protocol: chat, switchboard.v1\r\n";
    for request in [classic.clone(), classic.replace("Upgrade: WebSocket\r\n", offer)] {
        let mut answers = Vec::new();
        for first in [0, 1, request.len() / 2, request.len() - 1] {
            let (first, rest) = request.split_at(first);
            let mut raw = Raw::connect(server.address).await;
            raw.write(first.as_bytes()).await;
            // Nothing may be read of the rest before the first piece was.
            let taken = first.is_empty() || health(server.address).await.0 == 200;
            assert!(taken);
            raw.write(rest.as_bytes()).await;
            let mut response = raw.response().await;
            response.headers.retain(|(name, _)| name != "date" && name != "x-request-id");
            response.headers.sort();
            answers.push((response.status, response.headers));
        }
        assert_eq!(answers[0].0, 101);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
}

#[tokio::test]
async fn every_id_that_is_possible_connects() {
    let server = TestServer::with_shards(2);
    let long = "x".repeat(128);
    for (query, user) in [
        (&*long, &*long),
        ("J%C3%BCrgen+M%C3%BCller", "Jürgen Müller"),
        ("a%26b%3Dc%2F%3F%25", "a&b=c/?%"),
        ("%F0%9F%98%80", "😀"),
        ("alice&other=1", "alice"),
    ] {
        let mut raw = Raw::connect(server.address).await.upgrade(query).await;
        assert_eq!(raw.message().await.to, user);
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_with_400_and_why() {
    let server = TestServer::with_shards(1);
    let request = upgrade_request("alice");
    for (wrong, text) in [
        (request.replace("Upgrade: WebSocket\r\n", ""), "asks for no upgrade"),
        (request.replace("Upgrade: WebSocket", "Upgrade: h2c"), "asks for no upgrade"),
        (request.replace("keep-alive, Upgrade", "keep-alive"), "asks for no upgrade"),
        (request.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "16 bytes in base64"),
        (request.replace("dGhlIHNhbXBsZSBub25jZQ==", "x"), "16 bytes in base64"),
        (request.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!=="), "16 bytes in base64"),
        (request.replace("HTTP/1.1", "HTTP/1.0"), "must be HTTP/1.1"),
        (request.replace("Host:", "Host-Is-Missing:"), "no Host header"),
    ] {
        let response = answer(server.address, &wrong).await;
        assert_eq!(response.status, 400, "{wrong}");
        assert!(response.body.contains(text), "{}", response.body);
    }
    assert_eq!(health(server.address).await.1["connections"], 0);
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_the_right_one() {
    // RFC 6455 section 4.2.2: 426 or the like, and the versions that the server speaks.
    let server = TestServer::with_shards(1);
    let request = upgrade_request("alice");
    for wrong in
        [request.replace("Version: 13", "Version: 8"), request.replace("Sec-WebSocket-Version: 13\r\n", "")]
    {
        let response = answer(server.address, &wrong).await;
        assert_eq!(response.status, 426, "{response:?}");
        assert_eq!(response.header("sec-websocket-version"), Some("13"));
    }
}

#[tokio::test]
async fn only_get_makes_a_websocket() {
    let server = TestServer::with_shards(1);
    for method in ["HEAD", "POST", "OPTIONS"] {
        let mut raw = Raw::connect(server.address).await;
        raw.write(upgrade_request("alice").replace("GET", method).as_bytes()).await;
        assert_eq!(raw.response().await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_answered_with_404_and_the_way() {
    let server = TestServer::with_shards(1);
    for path in ["/nothing", "/socket.io/", "/socket", "/../etc/passwd", "/%2e%2e/"] {
        let response = get(server.address, path).await;
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.body, "there is nothing here: see /healthz, or /socket.io?user=ID\n");
    }
}

#[tokio::test]
async fn a_healthy_server_says_so_and_counts_its_connections() {
    let server = TestServer::with_shards(2);
    let clients = server.clients(["alice", "bob", "carol"]).await;
    let expected = |connections: usize| {
        (200, serde_json::json!({"status": "ok", "store": "ok", "files": "ok", "connections": connections}))
    };
    assert_eq!(health(server.address).await, expected(clients.len()));
    drop(clients);
    health_becomes(server.address, "all have gone", |_, body| body["connections"] == 0).await;
}

#[tokio::test]
async fn a_full_server_answers_503_until_somebody_leaves() {
    let server = TestServer::start(|config| config.limits.connections = 2);
    let alice = server.client("alice").await;
    let _bob = server.client("bob").await;
    for _ in 0..3 {
        let response = answer(server.address, &upgrade_request("carol")).await;
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("10"));
        assert_eq!(response.body, "the server has no room for another connection; try again later\n");
    }
    drop(alice);
    health_becomes(server.address, "alice has gone", |_, body| body["connections"] == 1).await;
    let mut carol = server.client("carol").await;
    carol.has_nothing_more().await;
    assert_eq!(answer(server.address, &upgrade_request("dave")).await.status, 503);
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let server = TestServer::with_shards(1);
    let mut raw = Raw::connect(server.address).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    raw.write(request.as_bytes()).await;
    assert_eq!(raw.response().await.status, 200);
    // Two at once, and then the same connection becomes a WebSocket.
    raw.write(format!("{request}{request}").as_bytes()).await;
    assert_eq!(raw.response().await.status, 200);
    assert_eq!(raw.response().await.status, 200);
    let mut alice = raw.upgrade("alice").await;
    assert_eq!(alice.message().await.content, "welcome!");
}

fn short_handshakes(config: &mut Config) {
    config.handshake.timeout_ms = 200;
}

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let server = TestServer::start(short_handshakes);
    let request = upgrade_request("alice");
    for part in ["", "G", "GET /socket.io?user=alice HTTP/1.1\r\n", &request[..request.len() - 2]] {
        let mut raw = Raw::connect(server.address).await;
        raw.write(part.as_bytes()).await;
        let answer = raw.try_response().await;
        assert!(answer.is_none_or(|answer| answer.status == 408), "{part:?}");
        assert!(raw.try_response().await.is_none());
    }
}

#[tokio::test]
async fn headers_that_trickle_in_are_cut_off_all_the_same() {
    let server = TestServer::start(short_handshakes);
    let mut raw = Raw::connect(server.address).await;
    let trickling = async {
        loop {
            let cut = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, b"GET /healthz ").await.is_err();
            if cut {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of a request without end", trickling).await;
}

#[tokio::test]
async fn a_connection_that_asks_nothing_more_is_closed() {
    let server = TestServer::start(short_handshakes);
    let mut raw = Raw::connect(server.address).await;
    raw.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 200);
    assert!(raw.try_response().await.is_none_or(|answer| answer.status == 408));
}

#[tokio::test]
async fn garbage_instead_of_http_is_refused_and_harms_nobody() {
    let server = TestServer::with_shards(1);
    let mut alice = server.client("alice").await;
    let huge = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    for garbage in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"hello\r\n\r\n",
        huge.as_bytes(),
    ] {
        let mut raw = Raw::connect(server.address).await;
        // The server may hang up before it has read all.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, garbage).await;
        let mut answer = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut raw.stream, &mut answer);
        let _ = soon("the end", read).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    alice.has_nothing_more().await;
}
