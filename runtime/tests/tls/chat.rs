//! What works over TLS as it does without.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use switchboard::config::AuthMode;
use switchboard_proto::{
    Message as _,
    v1::{ClientFrame, Hello, ServerFrame, client_frame, server_frame},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite;

use crate::{
    harness::{broadcast, heartbeat, soon, text},
    secure::{Secure, connect, open},
};

#[tokio::test]
async fn two_talk_with_either_version_of_tls() {
    let secure = Secure::start(|config| config.shards = 2);
    for version in rustls::ALL_VERSIONS {
        let connector = secure.files.trusted(&[version]);
        let stream = connect(&connector, secure.tcp().await).await;
        let (_, tls) = stream.get_ref();
        assert_eq!(tls.protocol_version(), Some(version.version));
        assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        let socket = open(stream, "wss://localhost/socket.io?user=alice", None).await;
        let mut alice = crate::secure::Client { user: "alice".to_owned(), socket };
        assert_eq!(alice.recv().await.content, "welcome!");
        let mut bob = secure.client("bob").await;
        alice.send(&text("bob", "hello")).await;
        let got = bob.recv().await;
        assert_eq!((got.from.as_str(), got.content.as_str()), ("alice", "hello"));
        bob.send(&text("alice", "hello yourself")).await;
        assert_eq!(alice.recv().await.content, "hello yourself");
    }
}

#[tokio::test]
async fn a_session_is_welcomed() {
    let secure = Secure::start(|_| {});
    let stream = secure.stream().await;
    let mut socket = open(stream, "wss://localhost/socket.io?user=alice", Some("switchboard.v1")).await;
    let body = client_frame::Body::Hello(Hello { device_id: vec![7; 16].into(), cursors: Vec::new() });
    let hello = ClientFrame { body: Some(body) };
    socket.send(tungstenite::Message::Binary(hello.encode_to_vec().into())).await.unwrap();
    let answer = soon("a welcome", socket.next()).await.unwrap().unwrap().into_data();
    let frame = ServerFrame::decode(answer).unwrap();
    assert!(matches!(frame.body, Some(server_frame::Body::Welcome(_))), "{frame:?}");
}

#[tokio::test]
async fn large_messages_cross_many_records_in_both_directions_and_in_order() {
    let secure = Secure::start(|_| {});
    let (mut alice, mut bob) = (secure.client("alice").await, secure.client("bob").await);
    let large: Vec<String> = (0..6_u8)
        .map(|number| char::from(b'a' + number).to_string().repeat(1_000_000 + usize::from(number) * 16_411))
        .collect();
    // Bob does not read until all is said: what the kernel does not take waits at the server.
    for content in &large {
        alice.send(&text("bob", content)).await;
        alice.send(&text("bob", "small")).await;
    }
    alice.send(&heartbeat()).await;
    assert_eq!(alice.recv().await.content, "pong");
    for content in &large {
        assert!(bob.recv().await.content == *content);
        assert_eq!(bob.recv().await.content, "small");
    }
    bob.send(&text("alice", &large[5])).await;
    assert!(alice.recv().await.content == large[5]);
}

#[tokio::test]
async fn what_comes_together_with_the_handshake_is_read() {
    let secure = Secure::start(|_| {});
    let mut stream = secure.stream().await;
    // A masked heartbeat with a mask of zeros.
    let payload = heartbeat().encode_to_vec();
    let frame = [&[0x82, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], &payload[..]].concat();
    let request = "GET /socket.io?user=alice HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // One record has the request and a frame, others have a frame each, and all leave at once.
    stream.write_all(&[request.as_bytes(), &frame].concat()).await.unwrap();
    for _ in 0..50 {
        stream.write_all(&frame).await.unwrap();
    }
    stream.flush().await.unwrap();
    let mut read = Vec::new();
    let pongs = |read: &[u8]| read.windows(4).filter(|part| part == b"pong").count();
    while pongs(&read) < 51 {
        let mut buffer = [0; 4096];
        let some = soon("the answers", stream.read(&mut buffer)).await.unwrap();
        assert!(some > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..some]);
    }
}

#[tokio::test]
async fn many_are_connected_at_once() {
    let secure = Secure::start(|config| config.shards = 2);
    let names: Vec<_> = (0..200).map(|number| format!("user{number}")).collect();
    let clients = names.iter().map(|name| secure.client(name));
    let mut clients = futures_util::future::join_all(clients).await;
    clients[0].send(&broadcast("to all")).await;
    for client in &mut clients {
        assert_eq!(client.recv().await.content, "to all");
    }
}

#[tokio::test]
async fn a_closed_connection_ends_with_a_close_frame_and_a_close_notify() {
    let secure = Secure::start(|_| {});
    let mut alice = secure.client("alice").await;
    let bob = secure.client("bob").await;
    alice.socket.close(None).await.unwrap();
    while let Some(frame) = soon("the end", alice.socket.next()).await {
        assert!(frame.unwrap().is_close());
    }
    // Without a close_notify this would be an error.
    let stream = alice.socket.get_mut();
    assert_eq!(soon("the end", stream.read(&mut [0; 10])).await.unwrap(), 0);
    secure.server.stop();
    let mut bob = bob.socket;
    let close = soon("a close frame", bob.next()).await.unwrap().unwrap();
    let tungstenite::Message::Close(Some(close)) = close else { panic!("{close:?}") };
    assert_eq!(u16::from(close.code), 1001);
    while let Some(frame) = soon("the end", bob.next()).await {
        frame.unwrap();
    }
    assert_eq!(soon("the end", bob.get_mut().read(&mut [0; 10])).await.unwrap(), 0);
}

async fn call(secure: &Secure, path: &str, fields: &Value) -> (StatusCode, hyper::HeaderMap, Value) {
    let io = TokioIo::new(secure.stream().await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, "localhost")
        .body(Full::new(Bytes::from(fields.to_string())));
    let response = soon("an answer", sender.send_request(request.unwrap())).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = soon("its body", body.collect()).await.unwrap().to_bytes();
    connection.abort();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn cookies_are_for_tls_alone() {
    let secure = Secure::start(|config| config.auth = AuthMode::Password);
    let fields = json!({"username": "alice", "password": "correct horse"});
    let (status, headers, answer) = call(&secure, "/user/register", &fields).await;
    assert_eq!((status, &answer["code"]), (StatusCode::OK, &json!(0)), "{answer}");
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
}
