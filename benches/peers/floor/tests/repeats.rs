//! The repeater among clients that are not of our making.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use switchboard_floor::{Repeater, Route};
use tungstenite::{Message, WebSocket};

type Client = WebSocket<TcpStream>;

/// A repeater on a thread of its own, which lasts as long as the test's process.
fn repeater(route: Route) -> SocketAddr {
    let repeater = Repeater::bind((Ipv4Addr::LOCALHOST, 0).into(), route).unwrap();
    let address = repeater.address();
    std::thread::spawn(|| repeater.run().unwrap());
    address
}

/// A client, welcomed.
fn connect(address: SocketAddr, user: &str) -> Client {
    let stream = TcpStream::connect(address).unwrap();
    let url = format!("ws://{address}/socket.io?user={user}");
    let (mut client, _) = tungstenite::client(url, stream).unwrap();
    assert_eq!(client.read().unwrap(), Message::binary(&b"welcome"[..]));
    client
}

#[test]
fn everybody_gets_what_somebody_sends() {
    let address = repeater(Route::All);
    let mut clients: Vec<Client> =
        ["alice", "bob", "carol"].iter().map(|user| connect(address, user)).collect();
    for payload in [&b"one"[..], &[7; 300], &[8; 100_000]] {
        let message = Message::binary(payload.to_vec());
        clients[0].send(message.clone()).unwrap();
        for client in &mut clients {
            assert_eq!(client.read().unwrap(), message);
        }
    }
}

#[test]
fn only_the_neighbour_gets_what_somebody_sends_to_a_neighbour() {
    let address = repeater(Route::Pairs);
    let mut clients: Vec<Client> =
        (0..4_u8).map(|number| connect(address, &format!("bench-{number:06}"))).collect();
    for (number, client) in (0..).zip(&mut clients) {
        client.send(Message::binary(vec![number; 128])).unwrap();
    }
    for (number, client) in (0..).zip(&mut clients) {
        // The answer to a Ping comes behind all that had come before it.
        client.send(Message::Ping("was that all?".into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::binary(vec![number ^ 1; 128]));
        assert_eq!(client.read().unwrap(), Message::Pong("was that all?".into()));
    }
}

#[test]
fn who_reads_late_gets_all_and_who_closes_is_answered() {
    let address = repeater(Route::All);
    let (mut sender, mut reader) = (connect(address, "alice"), connect(address, "bob"));
    // More than the kernel keeps for one who does not read.
    let messages: Vec<Message> = (0..80).map(|number| Message::binary(vec![number; 100_000])).collect();
    for message in &messages {
        sender.send(message.clone()).unwrap();
        assert_eq!(&sender.read().unwrap(), message);
    }
    for message in &messages {
        assert_eq!(&reader.read().unwrap(), message);
    }
    reader.close(None).unwrap();
    assert!(matches!(reader.read(), Ok(Message::Close(None))));
    // Its place is free for another one.
    let mut late = connect(address, "carol");
    sender.send(Message::binary(&b"still here"[..])).unwrap();
    assert_eq!(late.read().unwrap(), Message::binary(&b"still here"[..]));
}
