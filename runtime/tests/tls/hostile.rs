//! Peers that do not do what they should.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{heartbeat, soon, text},
    secure::Secure,
};

/// All that the server still sends; the connection may break.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = soon("the server ends the connection", stream.read_to_end(&mut bytes)).await;
    bytes
}

async fn still_works(secure: &Secure) {
    let mut client = secure.client("somebody").await;
    client.send(&heartbeat()).await;
    assert_eq!(client.recv().await.content, "pong");
}

#[tokio::test]
async fn whoever_speaks_plain_http_is_told() {
    let secure = Secure::start(|_| {});
    let mut stream = secure.tcp().await;
    stream.write_all(b"GET /socket.io?user=alice HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("this port speaks TLS: ask it by https:// or wss://\r\n"), "{answer}");
    still_works(&secure).await;
}

#[tokio::test]
async fn what_is_no_handshake_ends_the_connection() {
    let secure = Secure::start(|_| {});
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 1);
    for garbage in
        [&b"\x00\x01\x02"[..], b"\x16\x03\x01\x00\x05hello", b"\x16\xff\xff\xff\xff", &[0x80; 500], &record]
    {
        let mut stream = secure.tcp().await;
        // It may be closed while this is written.
        let _ = stream.write_all(garbage).await;
        let answer = rest(&mut stream).await;
        // An alert, if anything.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    drop(secure.tcp().await);
    still_works(&secure).await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_in_time_ends_the_connection() {
    let secure = Secure::start(|config| config.handshake.timeout_ms = 300);
    // Nothing, the begin of a record, and a whole handshake without a request.
    let mut silent = secure.tcp().await;
    let mut slow = secure.tcp().await;
    slow.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap();
    let mut idle = secure.stream().await;
    assert!(rest(&mut silent).await.is_empty());
    rest(&mut slow).await;
    let mut bytes = Vec::new();
    let _ = soon("the server ends the connection", idle.read_to_end(&mut bytes)).await;
}

#[tokio::test]
async fn either_kind_of_end_ends_the_connection() {
    let secure = Secure::start(|_| {});
    // With a close_notify, and reading on.
    let mut alice = secure.client("alice").await;
    alice.socket.get_mut().shutdown().await.unwrap();
    let mut bytes = Vec::new();
    let _ = soon("the end", alice.socket.get_mut().read_to_end(&mut bytes)).await;
    // Without one.
    let bob = secure.client("bob").await;
    let (mut tcp, _) = bob.socket.into_inner().into_inner();
    tcp.shutdown().await.unwrap();
    rest(&mut tcp).await;
    nobody_is_left(&secure).await;
}

async fn nobody_is_left(secure: &Secure) {
    soon("all have gone", async {
        loop {
            let mut stream = secure.stream().await;
            stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            if answer.contains("\"connections\":0") {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_breaks_a_record_loses_its_connection_and_nobody_else_does() {
    let secure = Secure::start(|_| {});
    let mut bob = secure.client("bob").await;
    for garbage in [&[23, 3, 3, 0, 32][..], &[1; 40], b"GET / HTTP/1.1\r\n\r\n"] {
        let alice = secure.client("alice").await;
        let (mut tcp, _) = alice.socket.into_inner().into_inner();
        let mut broken = garbage.to_vec();
        broken.resize(64, 7);
        tcp.write_all(&broken).await.unwrap();
        rest(&mut tcp).await;
    }
    bob.send(&heartbeat()).await;
    assert_eq!(bob.recv().await.content, "pong");
}

#[tokio::test]
async fn who_is_gone_in_the_middle_of_a_large_message_is_forgotten() {
    let secure = Secure::start(|_| {});
    let (mut alice, bob) = (secure.client("alice").await, secure.client("bob").await);
    let large = "x".repeat(4_000_000);
    for _ in 0..2 {
        alice.send(&text("bob", &large)).await;
    }
    // Bob has read nothing of it, and is killed: his socket is reset.
    let (tcp, _) = bob.socket.into_inner().into_inner();
    socket2::SockRef::from(&tcp).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(tcp);
    // Alice is in the middle of saying something.
    let (mut tcp, mut tls) = alice.socket.into_inner().into_inner();
    std::io::Write::write_all(&mut tls.writer(), &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5])
        .unwrap();
    let mut records = Vec::new();
    tls.write_tls(&mut records).unwrap();
    tcp.write_all(&records[..records.len() - 3]).await.unwrap();
    drop(tcp);
    nobody_is_left(&secure).await;
    still_works(&secure).await;
}
