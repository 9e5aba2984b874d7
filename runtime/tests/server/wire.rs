//! Framing as RFC 6455 has it, met with frames written by hand, and how connections end.

use bytes::Bytes;
use futures_util::SinkExt as _;
use switchboard::config::Config;
use switchboard_proto::{Message as _, classic::Message};
use tokio_tungstenite::tungstenite::{
    self,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    harness::{TestServer, broadcast, heartbeat, pong, soon, text},
    raw::{
        BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, frame, header, health_becomes, message,
        upgrade_request,
    },
};

const NOT_A_MESSAGE: &str = "not a protocol.Message: send one protobuf message per binary message";
const TOO_LARGE: &str = "the message is larger than this server reads";
const NOT_RFC_6455: &str = "the bytes do not follow RFC 6455";

fn small_messages(config: &mut Config) {
    config.limits.message_bytes = 1024;
}

#[tokio::test]
async fn frames_sent_together_with_the_handshake_are_not_lost() {
    let server = TestServer::with_shards(1);
    let mut bob = server.client("bob").await;
    let mut alice = Raw::connect(server.address).await;
    let mut bytes = upgrade_request("alice").into_bytes();
    bytes.extend(message(&text("bob", "first")));
    bytes.extend(frame(FIN | PING, b"in between"));
    bytes.extend(message(&text("bob", "second")));
    let third = message(&text("bob", "third"));
    // The last frame comes in two parts, the first of them with the request.
    bytes.extend(&third[..9]);
    alice.write(&bytes).await;
    assert_eq!(alice.response().await.status, 101);
    alice.write(&third[9..]).await;
    for content in ["first", "second", "third"] {
        assert_eq!(bob.recv().await, Message { from: "alice".into(), ..text("bob", content) });
    }
    // A Ping is answered at once; the welcome waits for the directory.
    let mut frames = [alice.frame().await, alice.frame().await];
    frames.sort();
    assert_eq!(frames[1], (FIN | PONG, b"in between".to_vec()));
    assert_eq!(Message::decode(Bytes::from(frames[0].1.clone())).unwrap().content, "welcome!");
}

#[tokio::test]
async fn frames_that_wait_for_others_keep_their_order() {
    let server = TestServer::start(|config| config.write_delay_ms = 5);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    let contents: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
    for content in &contents {
        alice.send(&text("bob", content)).await;
        alice.send(&heartbeat()).await;
    }
    for content in &contents {
        assert_eq!(bob.recv().await, Message { from: "alice".into(), ..text("bob", content) });
        assert_eq!(alice.recv().await, pong());
    }
}

#[tokio::test]
async fn a_message_may_come_in_fragments_of_one_byte_written_byte_by_byte() {
    let server = TestServer::with_shards(1);
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    let payload = text("bob", "in pieces").encode_to_vec();
    let last = payload.len() - 1;
    for (at, byte) in payload.iter().enumerate() {
        let opcode = if at == 0 { BINARY } else { CONTINUATION };
        let fin = if at == last { FIN } else { 0 };
        for byte in frame(fin | opcode, &[*byte]) {
            alice.write(&[byte]).await;
        }
    }
    assert_eq!(bob.content().await, "in pieces");
}

#[tokio::test]
async fn control_frames_between_fragments_are_answered_at_once() {
    let server = TestServer::with_shards(1);
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    let payload = text("bob", "interrupted").encode_to_vec();
    alice.send(BINARY, &payload[..3]).await;
    alice.send(FIN | PING, b"are you there?").await;
    assert_eq!(alice.frame().await, (FIN | PONG, b"are you there?".to_vec()));
    alice.send(FIN | PONG, b"nobody asked").await;
    alice.send(CONTINUATION, &[]).await;
    alice.send(FIN | PING, &[]).await;
    assert_eq!(alice.frame().await, (FIN | PONG, Vec::new()));
    alice.send(FIN | CONTINUATION, &payload[3..]).await;
    assert_eq!(bob.content().await, "interrupted");
}

#[tokio::test]
async fn fragments_are_too_large_once_their_sum_is() {
    let server = TestServer::start(small_messages);
    let mut alice = Raw::welcomed(server.address, "alice").await;
    alice.send(BINARY, &[b' '; 1000]).await;
    // Only the header: its payload is not waited for.
    alice.write(&header(CONTINUATION, 25)).await;
    alice.is_closed_with(1009, TOO_LARGE).await;
}

#[tokio::test]
async fn a_message_is_too_large_as_soon_as_its_header_says_so() {
    let server = TestServer::start(small_messages);
    for len in [1025, 70_000, 1 << 40] {
        let mut alice = Raw::welcomed(server.address, "alice").await;
        alice.write(&header(FIN | BINARY, len)).await;
        alice.is_closed_with(1009, TOO_LARGE).await;
    }
}

#[tokio::test]
async fn a_message_as_large_as_the_limit_passes() {
    let server = TestServer::start(small_messages);
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    let mut sent = Message { from: "alice".into(), ..text("bob", "") };
    sent.content = "x".repeat(1024 - sent.encoded_len() - 3);
    assert_eq!(sent.encoded_len(), 1024);
    alice.send(&sent).await;
    assert_eq!(bob.recv().await, sent);
}

#[tokio::test]
async fn bytes_that_are_no_message_close_their_sender_and_reach_nobody() {
    let server = TestServer::with_shards(1);
    let mut bob = server.client("bob").await;
    // A field that ends too soon, a string that is not UTF-8, and noise.
    for garbage in [&b"\x2a\xff"[..], b"\x2a\x01\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut alice = Raw::welcomed(server.address, "alice").await;
        alice.send(FIN | BINARY, garbage).await;
        alice.is_closed_with(1007, NOT_A_MESSAGE).await;
    }
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn text_messages_are_refused_and_broken_ones_called_so() {
    let server = TestServer::with_shards(1);
    let mut alice = Raw::welcomed(server.address, "alice").await;
    alice.send(FIN | TEXT, "hällo".as_bytes()).await;
    alice.is_closed_with(1003, "send binary messages: this is a text message").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    alice.send(FIN | TEXT, b"\xc3\x28").await;
    assert_eq!(alice.close_frame().await.0, 1007);
    // Nothing could make it text any more, so the rest is not waited for.
    let mut alice = Raw::welcomed(server.address, "alice").await;
    alice.send(TEXT, b"\xc3\x28").await;
    assert_eq!(alice.close_frame().await.0, 1007);
}

#[tokio::test]
async fn who_is_refused_a_text_message_and_closes_too_is_gone_at_once() {
    let server = TestServer::start(|config| config.timeouts.close_timeout_ms = 86_400_000);
    let mut alice = Raw::welcomed(server.address, "alice").await;
    alice.send(FIN | TEXT, b"").await;
    assert_eq!(alice.close_frame().await.0, 1003);
    alice.send(FIN | CLOSE, &1003_u16.to_be_bytes()).await;
    health_becomes(server.address, "no connection is left", |_, body| body["connections"] == 0).await;
}

#[tokio::test]
async fn frames_against_the_rules_close_with_1002() {
    let unmasked = [FIN | BINARY, 0].to_vec();
    let long_ping = frame(FIN | PING, &[0; 126]);
    let split_ping = frame(PING, b"");
    let lone_continuation = frame(FIN | CONTINUATION, b"");
    let mut two_beginnings = frame(BINARY, b"");
    two_beginnings.extend(frame(BINARY, b""));
    let reserved_bit = frame(FIN | 0x40 | BINARY, b"");
    let unknown_opcode = frame(FIN | 3, b"");
    let one_byte_close = frame(FIN | CLOSE, &[3]);
    let forbidden_close = frame(FIN | CLOSE, &1005_u16.to_be_bytes());
    let server = TestServer::with_shards(1);
    for wrong in [
        unmasked,
        long_ping,
        split_ping,
        lone_continuation,
        two_beginnings,
        reserved_bit,
        unknown_opcode,
        one_byte_close,
        forbidden_close,
    ] {
        let mut alice = Raw::welcomed(server.address, "alice").await;
        alice.write(&wrong).await;
        assert_eq!(alice.close_frame().await, (1002, NOT_RFC_6455.to_owned()), "{wrong:?}");
        alice.has_ended().await;
    }
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_the_server_closes_the_connection() {
    let server = TestServer::with_shards(1);
    for code in [1000, 1001, 3000, 4999] {
        let mut alice = Raw::welcomed(server.address, "alice").await;
        let mut payload = u16::to_be_bytes(code).to_vec();
        payload.extend(b"so long");
        alice.send(FIN | CLOSE, &payload).await;
        assert_eq!(alice.frame().await, (FIN | CLOSE, code.to_be_bytes().to_vec()));
        alice.has_ended().await;
    }
    // A close without a code is a normal one.
    let mut alice = Raw::welcomed(server.address, "alice").await;
    alice.send(FIN | CLOSE, &[]).await;
    assert_eq!(alice.frame().await, (FIN | CLOSE, 1000_u16.to_be_bytes().to_vec()));
    alice.has_ended().await;
    health_becomes(server.address, "no connection is left", |_, body| body["connections"] == 0).await;
}

#[tokio::test]
async fn the_close_handshake_completes_with_a_client_that_has_its_own_ideas_of_it() {
    let server = TestServer::with_shards(1);
    let mut alice = server.client("alice").await;
    let close = CloseFrame { code: CloseCode::Away, reason: "closing the lid".into() };
    let sent = alice.socket.send(tungstenite::Message::Close(Some(close)));
    soon("sending", sent).await.unwrap();
    assert_eq!(alice.closed().await, (1001, String::new()));
}

#[tokio::test]
async fn what_was_sent_before_a_close_is_delivered() {
    let server = TestServer::with_shards(1);
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    let mut bytes = message(&text("bob", "last words"));
    bytes.extend(frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    bytes.extend(message(&text("bob", "from beyond")));
    alice.write(&bytes).await;
    assert_eq!(alice.close_frame().await.0, 1000);
    assert_eq!(bob.content().await, "last words");
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn a_client_that_ignores_a_close_is_cut_off_and_heard_no_more() {
    let server = TestServer::start(|config| config.timeouts.close_timeout_ms = 100);
    let mut bob = server.client("bob").await;
    let mut alice = Raw::welcomed(server.address, "alice").await;
    let mut bytes = frame(FIN | TEXT, b"");
    bytes.extend(message(&broadcast("can you hear me?")));
    alice.write(&bytes).await;
    assert_eq!(alice.close_frame().await.0, 1003);
    // The connection stays half open: alice closes nothing.
    health_becomes(server.address, "alice is cut off", |_, body| body["connections"] == 1).await;
    bob.has_nothing_more().await;
}

#[tokio::test]
async fn a_client_without_a_sign_of_life_is_pinged_and_then_closed() {
    let server = TestServer::start(|config| {
        config.timeouts.ping_interval_ms = 100;
        config.timeouts.idle_timeout_ms = 350;
        config.timeouts.close_timeout_ms = 100;
    });
    let mut alice = Raw::welcomed(server.address, "alice").await;
    // The Ping carries how many frames were sent before it: the welcome.
    assert_eq!(alice.frame().await, (FIN | PING, 1_u64.to_be_bytes().to_vec()));
    alice.is_closed_with(4002, "no sign of life: not even an answer to a ping").await;
    health_becomes(server.address, "alice is cut off", |_, body| body["connections"] == 0).await;
}

#[tokio::test]
async fn a_silent_client_that_answers_pings_stays() {
    let server = TestServer::start(|config| {
        config.timeouts.ping_interval_ms = 50;
        config.timeouts.idle_timeout_ms = 3_000;
    });
    let mut alice = server.client("alice").await;
    let begun = tokio::time::Instant::now();
    // Longer than the idle time-out.
    while begun.elapsed().as_millis() < 3_500 {
        match alice.frame().await {
            Some(tungstenite::Message::Ping(position)) => assert_eq!(position.len(), 8),
            other => panic!("{other:?}"),
        }
    }
    alice.send(&heartbeat()).await;
    assert_eq!(alice.recv().await, pong());
}
