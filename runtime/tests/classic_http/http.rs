//! An HTTP client that keeps its cookie, as a browser does.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::header;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite};

use crate::ask::{self, welcomed};
use crate::harness::{Client, TestServer};

pub(crate) use crate::ask::{PASSWORD, Reply, passwords, with_passwords};

impl Reply {
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
        let cookie = self.cookie.clone();
        let own = cookie.as_deref().map(|cookie| ("cookie", cookie));
        let headers = own.into_iter().chain(headers.iter().copied());
        let reply = ask::ask(self.address, (method, path), headers, body).await;
        if let Some(cookie) = reply.headers.get(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        reply
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
        let (content_type, body) = ask::upload(name, contents, uuid);
        self.send("POST", "/file", &[("content-type", content_type)], body).await
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
        let own = self.cookie.as_deref().map(|cookie| ("cookie", cookie));
        ask::try_socket(self.address, user, own.into_iter().chain(headers.iter().copied())).await
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
        welcomed(&self.uuid, self.try_socket(&self.uuid, &[]).await.unwrap()).await
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
