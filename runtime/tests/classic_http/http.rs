//! An HTTP client that keeps its cookie, as a browser does.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
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

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a call gives that worked.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["code"], &json["msg"]), (200, &json!(0), &json!("SUCCESS")), "{json}");
        assert_eq!(self.header("access-control-allow-origin"), Some("*"));
        assert_eq!(self.header("access-control-allow-credentials"), None);
        assert_eq!(json.as_object().unwrap().len(), 3);
        json["data"].clone()
    }

    /// What a call says that did not work.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        let json = self.json();
        assert_eq!(json["code"], -1, "{json}");
        assert_eq!(json["data"], Value::Null);
        assert_eq!(self.header("access-control-allow-origin"), Some("*"));
        assert_eq!(self.header("access-control-allow-credentials"), None);
        json["msg"].as_str().unwrap().to_owned()
    }
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: Option<String>,
    /// The user's id; empty while nobody is logged in.
    pub(crate) uuid: String,
}

impl Browser {
    pub(crate) fn new(server: &TestServer) -> Self {
        Self { address: server.address, cookie: None, uuid: String::new() }
    }

    /// One whose user has just registered.
    pub(crate) async fn registered(server: &TestServer, username: &str) -> Self {
        let mut browser = Self::new(server);
        let fields =
            json!({"username": username, "password": PASSWORD, "nickname": "", "email": "", "avatar": ""});
        let data = browser.post("/user/register", &fields).await.data();
        browser.uuid = data["uuid"].as_str().unwrap().to_owned();
        browser
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let stream = soon("connecting", TcpStream::connect(self.address)).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = soon("an answer", sender.send_request(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = soon("the answer's body", body.collect()).await.unwrap().to_bytes();
        connection.abort();
        if let Some(cookie) = parts.headers.get(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], fields.to_string()).await
    }

    pub(crate) async fn put(&mut self, path: &str, fields: &Value) -> Reply {
        self.send("PUT", path, &[("content-type", "application/json")], fields.to_string()).await
    }

    /// Uploads a file as the front-end does: the file first, then whose it is.
    pub(crate) async fn upload(&mut self, name: &str, contents: &[u8], uuid: &str) -> Reply {
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
        self.send("POST", "/file", &[("content-type", "multipart/form-data; boundary=X")], body).await
    }

    /// The token of its session.
    pub(crate) fn token(&self) -> &str {
        self.cookie.as_deref().unwrap().split_once('=').unwrap().1
    }

    /// Opens a WebSocket as a user, with the cookie and these headers.
    pub(crate) async fn try_socket(
        &self,
        user: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
        let stream = soon("connecting", TcpStream::connect(self.address)).await.unwrap();
        let url = format!("ws://{}/socket.io?user={user}", self.address);
        let mut request = url.into_client_request().unwrap();
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let opened = soon("a handshake", tokio_tungstenite::client_async(request, stream)).await;
        opened.map(|(socket, _)| socket)
    }

    /// The status that a WebSocket is refused with; 101 if it is not.
    pub(crate) async fn socket_status(&self, user: &str, headers: &[(&'static str, &str)]) -> u16 {
        match self.try_socket(user, headers).await {
            Ok(_) => 101,
            Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    }

    /// A welcomed client of its user.
    pub(crate) async fn socket(&self) -> Client {
        let mut socket = self.try_socket(&self.uuid, &[]).await.unwrap();
        let welcome = soon("a welcome", socket.next()).await.unwrap().unwrap().into_data();
        assert_eq!(Message::decode(welcome).unwrap().content, "welcome!");
        Client { user: self.uuid.clone(), socket }
    }

    pub(crate) async fn history(&mut self, query: &str) -> Vec<Value> {
        self.get(&format!("/message?{query}")).await.data().as_array().unwrap().clone()
    }
}

/// The names of a JSON object's fields.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
