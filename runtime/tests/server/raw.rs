//! A TCP connection and frames written by hand: for what a well-behaved client cannot send.

use std::net::SocketAddr;

use bytes::Bytes;
use switchboard_proto::{Message as _, classic::Message};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::harness::soon;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame (RFC 6455 section 5.2).
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len());
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A client's frame's header, mask included.
pub(crate) fn header(first: u8, payload_len: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload_len {
        0..=125 => bytes.push(0x80 | payload_len as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((payload_len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload_len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A whole message's frame.
pub(crate) fn message(message: &Message) -> Vec<u8> {
    frame(FIN | BINARY, &message.encode_to_vec())
}

/// The request that asks for a WebSocket.
pub(crate) fn upgrade_request(user: &str) -> String {
    format!(
        "GET /socket.io?user={user} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A TCP connection to the server.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// A connection that takes next to nothing before it reads.
    pub(crate) async fn connect_with_small_window(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let stream = soon("connecting", socket.connect(address)).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Makes the connection a WebSocket; the frames that may follow the answer are yet to be read.
    pub(crate) async fn upgrade(mut self, user: &str) -> Self {
        self.write(upgrade_request(user).as_bytes()).await;
        let response = self.response().await;
        assert_eq!(response.status, 101, "{response:?}");
        // The example of RFC 6455 section 1.3.
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        self
    }

    /// A WebSocket that has been welcomed.
    pub(crate) async fn welcomed(address: SocketAddr, user: &str) -> Self {
        let mut raw = Self::connect(address).await.upgrade(user).await;
        assert_eq!(raw.message().await.content, "welcome!");
        raw
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon("writing", self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload)).await;
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        soon("bytes", self.stream.read_buf(&mut self.received)).await.unwrap() > 0
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.more().await, "the connection ended within {:?}", self.received);
        }
        self.received.drain(..count).collect()
    }

    /// An HTTP answer with its body; none at the end of the connection.
    pub(crate) async fn try_response(&mut self) -> Option<Response> {
        let head_len = loop {
            if let Some(at) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.received.is_empty(), "{:?}", String::from_utf8_lossy(&self.received));
                return None;
            }
        };
        let head = String::from_utf8(self.take(head_len).await).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status, headers, body: String::new() };
        let body_len = response.header("content-length").map_or(0, |len| len.parse().unwrap());
        response.body = String::from_utf8(self.take(body_len).await).unwrap();
        Some(response)
    }

    pub(crate) async fn response(&mut self) -> Response {
        self.try_response().await.expect("an answer comes before the end")
    }

    /// The next frame of the server: its first byte and payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.take(2).await;
        assert_eq!(start[1] & 0x80, 0, "servers do not mask");
        let len = match start[1] {
            126 => u16::from_be_bytes(self.take(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8).await.try_into().unwrap()) as usize,
            len => usize::from(len),
        };
        (start[0], self.take(len).await)
    }

    pub(crate) async fn message(&mut self) -> Message {
        let (first, payload) = self.frame().await;
        assert_eq!(first, FIN | BINARY);
        Message::decode(Bytes::from(payload)).unwrap()
    }

    /// The server's close frame; what comes before is passed over.
    pub(crate) async fn close_frame(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.frame().await;
            if first == FIN | CLOSE {
                let (code, text) = payload.split_first_chunk::<2>().expect("the close frame has a code");
                return (u16::from_be_bytes(*code), String::from_utf8(text.to_vec()).unwrap());
            }
        }
    }

    /// The server closes with this code and text, and ends its side of the connection after it, without
    /// waiting for this client.
    pub(crate) async fn is_closed_with(&mut self, code: u16, text: &str) {
        assert_eq!(self.close_frame().await, (code, text.to_owned()));
        self.has_ended().await;
    }

    /// Nothing more comes.
    pub(crate) async fn has_ended(&mut self) {
        assert!(!self.more().await && self.received.is_empty(), "{:?}", self.received);
    }
}

/// Sends one request and gives its answer.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Response {
    let mut raw = Raw::connect(address).await;
    raw.write(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
    raw.response().await
}

/// What `/healthz` says: the status, and the body.
pub(crate) async fn health(address: SocketAddr) -> (u16, serde_json::Value) {
    let response = get(address, "/healthz").await;
    (response.status, serde_json::from_str(&response.body).unwrap())
}

/// Asks for the health until it is as wanted; gives it.
pub(crate) async fn health_becomes(
    address: SocketAddr,
    what: &str,
    wanted: impl Fn(u16, &serde_json::Value) -> bool,
) -> (u16, serde_json::Value) {
    let asking = async {
        loop {
            let (status, body) = health(address).await;
            if wanted(status, &body) {
                return (status, body);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(what, asking).await
}
