//! An HTTP client with a session.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};
use switchboard_proto::v1::server_frame::Body;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use crate::ask::{self, try_socket, welcomed};
use crate::device::{Device, SUBPROTOCOL, hello};
use crate::harness::{Client, TestServer};

pub(crate) use crate::ask::{PASSWORD, Reply, passwords, with_passwords};

/// A picture of one red pixel.
pub(crate) const PNG: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90\x77\x53\xde\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

impl Reply {
    /// What a call gives that worked.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, String::from_utf8_lossy(&self.body));
        if self.status == 204 {
            assert!(self.body.is_empty());
            return Value::Null;
        }
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// The items of a page.
    #[track_caller]
    pub(crate) fn items(&self) -> Vec<Value> {
        self.data()["items"].as_array().unwrap().clone()
    }

    /// The kind and the detail of a problem of this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> (String, String) {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let json = self.json();
        assert_eq!(json["status"], status);
        assert_eq!(json["request_id"].as_str(), self.header("x-request-id"), "{json}");
        assert_eq!(json.as_object().unwrap().len(), 5, "{json}");
        let kind = json["type"].as_str().unwrap().strip_prefix("/api/v1/problems#").unwrap().to_owned();
        let detail = json["detail"].as_str().unwrap().to_owned();
        assert!(!detail.is_empty() && detail.len() < 400, "{detail}");
        (kind, detail)
    }
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
    /// The user's id; empty of nobody.
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Api {
    pub(crate) fn nobody(server: &TestServer) -> Self {
        Self { address: server.address, token: None, id: String::new(), name: String::new() }
    }

    /// A user who has just registered.
    pub(crate) async fn registered(server: &TestServer, name: &str) -> Self {
        let mut api = Self::nobody(server);
        let data =
            api.post("/api/v1/accounts", &json!({"username": name, "password": PASSWORD})).await.data();
        api.enter(&data);
        api
    }

    /// Goes on with the session of an answer.
    pub(crate) fn enter(&mut self, logged_in: &Value) {
        self.token = Some(logged_in["token"].as_str().unwrap().to_owned());
        self.id = logged_in["account"]["id"].as_str().unwrap().to_owned();
        self.name = logged_in["account"]["username"].as_str().unwrap().to_owned();
    }

    /// A further session of the same user.
    pub(crate) async fn again(&self) -> Self {
        let mut again = Self { token: None, ..self.clone() };
        let login = json!({"username": self.name, "password": PASSWORD});
        let data = again.post("/api/v1/sessions", &login).await.data();
        again.enter(&data);
        again
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let own = bearer.as_deref().map(|bearer| ("authorization", bearer));
        ask::ask(self.address, (method, path), own.into_iter().chain(headers.iter().copied()), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], Bytes::new()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, fields: &Value) -> Reply {
        self.send(method, path, &[("content-type", "application/json")], fields.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &Value) -> Reply {
        self.json("POST", path, fields).await
    }

    pub(crate) async fn put(&self, path: &str) -> Reply {
        self.send("PUT", path, &[], Bytes::new()).await
    }

    pub(crate) async fn patch(&self, path: &str, fields: &Value) -> Reply {
        self.json("PATCH", path, fields).await
    }

    /// All items of a list, by pages of so many.
    pub(crate) async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let data = self.get(&format!("{path}{separator}limit={limit}{next}")).await.data();
            let page = data["items"].as_array().unwrap();
            assert!(page.len() <= limit, "{data}");
            items.extend(page.iter().cloned());
            match data["next_cursor"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// A WebSocket of its user.
    async fn open(&self, subprotocol: Option<&'static str>) -> WebSocketStream<TcpStream> {
        let bearer = format!("Bearer {}", self.token.as_deref().unwrap());
        let spoken = subprotocol.map(|name| ("sec-websocket-protocol", name));
        let headers = spoken.into_iter().chain([("authorization", bearer.as_str())]);
        try_socket(self.address, &self.id, headers).await.unwrap()
    }

    /// A client of its user that speaks the session protocol, and has read everything that it is told at the beginning.
    pub(crate) async fn device(&self) -> Device {
        let socket = self.open(Some(SUBPROTOCOL)).await;
        let mut device = Device { user: self.id.clone(), socket };
        device.say(hello()).await;
        assert!(matches!(device.hear().await, Body::Welcome(_)), "{} is not welcomed", self.name);
        device.heads().await;
        device
    }

    /// A welcomed classic client of its user.
    pub(crate) async fn socket(&self) -> Client {
        welcomed(&self.id, self.open(None).await).await
    }

    /// Uploads a picture, which becomes the avatar; gives its name.
    pub(crate) async fn picture(&self) -> String {
        let (content_type, body) = ask::upload("a.png", PNG, &self.id);
        let reply = self.send("POST", "/file", &[("content-type", content_type)], body).await;
        reply.json()["data"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
    }

    /// Uploads a file, called so.
    pub(crate) async fn upload(&self, name: &str, bytes: impl Into<Bytes>) -> Reply {
        self.send("POST", &format!("/api/v1/files?name={name}"), &[], bytes).await
    }

    /// Makes a group; gives its id.
    pub(crate) async fn group(&self, name: &str, joining: &str) -> String {
        let data = self.post("/api/v1/groups", &json!({"name": name, "joining": joining})).await.data();
        data["id"].as_str().unwrap().to_owned()
    }
}
