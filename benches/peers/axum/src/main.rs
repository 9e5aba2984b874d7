//! A chat hub with axum, the way its chat example is written: two tasks and a channel for each connection, a map of
//! users behind a lock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Query, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc;

/// Messages that may wait for one connection; who is that far behind misses those that come.
const WAITING: usize = 256;

/// Of the classic protocol's message, the only field that a hub needs; the others are passed over.
#[derive(prost::Message)]
struct Addressed {
    /// To whom, or empty for everybody.
    #[prost(string, tag = "4")]
    to: String,
}

#[derive(serde::Deserialize)]
struct Login {
    user: String,
}

/// The connected users.
type Users = Arc<RwLock<HashMap<String, mpsc::Sender<Message>>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address()?).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = Router::new().route("/socket.io", any(upgrade)).with_state(Users::default());
    axum::serve(listener, app).await
}

/// What stands behind `--listen`.
fn address() -> std::io::Result<SocketAddr> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next().map(|address| address.parse())) {
        (Some("--listen"), Some(Ok(address))) => Ok(address),
        _ => Err(std::io::Error::other("usage: --listen ADDRESS:PORT")),
    }
}

async fn upgrade(upgrade: WebSocketUpgrade, login: Query<Login>, users: State<Users>) -> Response {
    upgrade.on_upgrade(|socket| connected(socket, login.0.user, users.0))
}

async fn connected(socket: WebSocket, user: String, users: Users) {
    let (mut sink, mut stream) = socket.split();
    let (sender, mut receiver) = mpsc::channel(WAITING);
    // Who is welcomed hears everything from then on.
    users.write().unwrap().insert(user.clone(), sender.clone());
    let mut writing = tokio::spawn(async move {
        if sink.send(Message::Binary("welcome".into())).await.is_err() {
            return;
        }
        while let Some(message) = receiver.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut reading = {
        let users = Arc::clone(&users);
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                relay(&users, message);
            }
        })
    };
    // If one of them ends, so does the other.
    tokio::select! {
        _ = &mut writing => reading.abort(),
        _ = &mut reading => writing.abort(),
    }
    let mut users = users.write().unwrap();
    // Another connection of this user may have taken its place.
    if users.get(&user).is_some_and(|current| current.same_channel(&sender)) {
        users.remove(&user);
    }
}

fn relay(users: &Users, message: Message) {
    let Message::Binary(payload) = &message else { return };
    let Ok(Addressed { to }) = Addressed::decode(&payload[..]) else { return };
    let users = users.read().unwrap();
    if to.is_empty() {
        for sender in users.values() {
            let _ = sender.try_send(message.clone());
        }
    } else if let Some(sender) = users.get(&to) {
        let _ = sender.try_send(message);
    }
}
