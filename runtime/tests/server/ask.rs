//! One HTTP request and its answer, for clients of every kind: each adds what its calls have in common.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use switchboard::config::{AuthMode, Config};
use switchboard_proto::{Message as _, classic::Message};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, client::IntoClientRequest as _},
};

use crate::harness::{Client, TestServer, soon};

pub(crate) const PASSWORD: &str = "correct horse";

/// A server where users log in.
pub(crate) fn with_passwords() -> TestServer {
    TestServer::start(passwords)
}

pub(crate) fn passwords(config: &mut Config) {
    config.auth = AuthMode::Password;
    // All tests of one server come from one address.
    config.accounts.address_burst = 10_000;
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: impl IntoIterator<Item = (&str, &str)>,
    body: impl Into<Bytes>,
) -> Reply {
    let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, address.to_string());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = soon("an answer", sender.send_request(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = soon("the answer's body", body.collect()).await.unwrap().to_bytes();
    connection.abort();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// Opens a WebSocket as a user, with these headers.
pub(crate) async fn try_socket(
    address: SocketAddr,
    user: &str,
    headers: impl IntoIterator<Item = (&'static str, &str)>,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
    let mut request = format!("ws://{address}/socket.io?user={user}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let opened = soon("a handshake", tokio_tungstenite::client_async(request, stream)).await;
    opened.map(|(socket, _)| socket)
}

/// A classic client on this WebSocket, once it is welcomed.
pub(crate) async fn welcomed(user: &str, mut socket: WebSocketStream<TcpStream>) -> Client {
    let welcome = soon("a welcome", socket.next()).await.unwrap().unwrap().into_data();
    assert_eq!(Message::decode(welcome).unwrap().content, "welcome!");
    Client { user: user.to_owned(), socket }
}

/// The type of an upload as the front-end sends it, and its body: the file first, then whose it is.
pub(crate) fn upload(name: &str, contents: &[u8], uuid: &str) -> (&'static str, Vec<u8>) {
    let body = [
        format!(
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: image/png\r\n\r\n"
        )
        .as_bytes(),
        contents,
        format!("\r\n--X\r\nContent-Disposition: form-data; name=\"uuid\"\r\n\r\n{uuid}\r\n--X--\r\n")
            .as_bytes(),
    ]
    .concat();
    ("multipart/form-data; boundary=X", body)
}
