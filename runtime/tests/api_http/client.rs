//! An HTTP client with a session.

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
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::{Client, TestServer, soon};

/// A picture of one red pixel.
pub(crate) const PNG: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90\x77\x53\xde\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

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
        let stream = soon("connecting", TcpStream::connect(self.address)).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = soon("an answer", sender.send_request(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = soon("the answer's body", body.collect()).await.unwrap().to_bytes();
        connection.abort();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
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

    /// A welcomed classic client of its user.
    pub(crate) async fn socket(&self) -> Client {
        let stream = soon("connecting", TcpStream::connect(self.address)).await.unwrap();
        let url = format!("ws://{}/socket.io?user={}", self.address, self.id);
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", self.token.as_deref().unwrap());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        let opened = soon("a handshake", tokio_tungstenite::client_async(request, stream)).await;
        let (mut socket, _) = opened.unwrap();
        let welcome = soon("a welcome", socket.next()).await.unwrap().unwrap().into_data();
        assert_eq!(Message::decode(welcome).unwrap().content, "welcome!");
        Client { user: self.id.clone(), socket }
    }

    /// Uploads a picture, which becomes the avatar; gives its name.
    pub(crate) async fn picture(&self) -> String {
        let body = [
            b"--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n".as_slice(),
            PNG,
            format!(
                "\r\n--X\r\nContent-Disposition: form-data; name=\"uuid\"\r\n\r\n{}\r\n--X--\r\n",
                self.id
            )
            .as_bytes(),
        ]
        .concat();
        let headers = [("content-type", "multipart/form-data; boundary=X")];
        let reply = self.send("POST", "/file", &headers, body).await;
        reply.json()["data"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
    }

    /// Makes a group; gives its id.
    pub(crate) async fn group(&self, name: &str, joining: &str) -> String {
        let data = self.post("/api/v1/groups", &json!({"name": name, "joining": joining})).await.data();
        data["id"].as_str().unwrap().to_owned()
    }
}
