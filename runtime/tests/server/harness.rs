//! A server of one's own, and a client that reads what it sends.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use switchboard::{
    config::Config,
    server::{Authority, Server, ServerError, StopHandle},
    store::{Directory, NewGroup, NewUser},
};
use switchboard_engine::{GroupId, UserId};
use switchboard_proto::{Message as _, classic::Message};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::WebSocketConfig},
};

/// How long a test waits for what must come. Only a failing test ever waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// A server on a thread of its own, with a data folder of its own. Declared before its clients, it is stopped
/// after they have gone.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The address for figures, if it is another one.
    pub(crate) metrics: Option<SocketAddr>,
    folder: TempDir,
    pub(crate) authority: Authority,
    stop: StopHandle,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl TestServer {
    /// Starts a server with the defaults, but for what `adjust` changes.
    pub(crate) fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: folder.path().join("data"),
            ..Config::default()
        };
        // Tests ask until something is there.
        config.http.calls_per_second = 0;
        adjust(&mut config);
        let (sender, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::start(&config)?;
                let addresses = (server.local_addr()?, server.metrics_addr()?);
                sender.send((addresses, server.authority(), server.stop_handle())).unwrap();
                server.run().await
            })
        });
        let ((address, metrics), authority, stop) =
            started.recv_timeout(PATIENCE).expect("the server starts");
        Self { address, metrics, folder, authority, stop, thread: Some(thread) }
    }

    /// A server with so many shards, and defaults.
    pub(crate) fn with_shards(shards: u16) -> Self {
        Self::start(|config| config.shards = shards)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::open(&self.data()).unwrap()
    }

    pub(crate) async fn client(&self, user: &str) -> Client {
        Client::connect(self.address, user).await
    }

    pub(crate) async fn clients<const N: usize>(&self, users: [&str; N]) -> [Client; N] {
        let clients = futures_util::future::join_all(users.map(|user| self.client(user))).await;
        clients.try_into().unwrap_or_else(|_| unreachable!("one client for each user"))
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&self) {
        self.stop.stop();
    }

    /// Waits until the server has ended, in order, as it must.
    pub(crate) fn ended(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic").expect("the server ends in order");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
        // A test that fails already says more than a second panic would.
        if std::thread::panicking() {
            let _ = self.thread.take().map(JoinHandle::join);
        } else {
            self.ended();
        }
    }
}

/// Creates the users and a group of them; the first is its owner.
pub(crate) fn create_group(data: &Path, group: &str, members: &[&str]) {
    let mut directory = Directory::open(data).unwrap();
    for member in members {
        if directory.user(&user(member)).unwrap().is_none() {
            directory.create_user(&NewUser::new(user(member), member)).unwrap();
        }
    }
    let id = GroupId::new(group).unwrap();
    let new = NewGroup {
        id: id.clone(),
        name: group.into(),
        notice: String::new(),
        owner: user(members[0]),
        invite_only: true,
    };
    directory.create_group(&new).unwrap();
    for member in &members[1..] {
        assert!(directory.join(&id, &user(member)).unwrap());
    }
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// A text to a user.
pub(crate) fn text(to: &str, content: &str) -> Message {
    Message { to: to.into(), content: content.into(), content_type: 1, message_type: 1, ..Message::default() }
}

/// A text to a group.
pub(crate) fn group_text(to: &str, content: &str) -> Message {
    Message { message_type: 2, ..text(to, content) }
}

/// A text to everybody.
pub(crate) fn broadcast(content: &str) -> Message {
    text("", content)
}

pub(crate) fn heartbeat() -> Message {
    Message { r#type: "heatbeat".into(), ..Message::default() }
}

pub(crate) fn pong() -> Message {
    Message { content: "pong".into(), ..heartbeat() }
}

/// A welcomed client.
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Connects, and reads the welcome.
    pub(crate) async fn connect(address: SocketAddr, user: &str) -> Self {
        let mut client = Self { user: user.into(), socket: open(address, user).await.unwrap() };
        let welcome = client.recv().await;
        let expected = Message {
            from: "System".into(),
            to: user.into(),
            content: "welcome!".into(),
            ..Message::default()
        };
        assert_eq!(welcome, expected);
        client
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        self.send_bytes(message.encode_to_vec()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: impl Into<Bytes>) {
        let sent = self.socket.send(tungstenite::Message::Binary(bytes.into()));
        soon("sending", sent).await.unwrap();
    }

    /// The next frame, whatever it is; none at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Option<tungstenite::Message> {
        let what = format!("a frame for {}", self.user);
        soon(&what, self.socket.next()).await.map(|frame| frame.unwrap())
    }

    /// The payload of the next message. Pings are answered on the way.
    pub(crate) async fn recv_bytes(&mut self) -> Bytes {
        loop {
            match self.frame().await {
                Some(tungstenite::Message::Binary(bytes)) => return bytes,
                Some(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_)) => {}
                other => panic!("{} expected a message and got {other:?}", self.user),
            }
        }
    }

    pub(crate) async fn recv(&mut self) -> Message {
        Message::decode(self.recv_bytes().await).unwrap()
    }

    /// The content of the next message.
    pub(crate) async fn content(&mut self) -> String {
        self.recv().await.content
    }

    /// Everything that this client was to be sent before has been read: a heartbeat's answer is next.
    pub(crate) async fn has_nothing_more(&mut self) {
        self.send(&heartbeat()).await;
        assert_eq!(self.recv().await, pong(), "{}", self.user);
    }

    /// The server closes: the code and text of its close frame. What comes before is passed over; the
    /// connection must end right after.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let close = loop {
            let frame = self.frame().await.expect("a close frame comes before the end");
            if let tungstenite::Message::Close(close) = frame {
                break close.expect("the close frame has a code");
            }
        };
        // Whoever was first to close, tungstenite ends the stream once the TCP connection is closed.
        assert_eq!(self.frame().await, None, "nothing comes after a close frame");
        (close.code.into(), close.reason.to_string())
    }
}

/// A WebSocket connection that has read nothing yet.
pub(crate) async fn open(
    address: SocketAddr,
    user: &str,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    let stream = soon("connecting", TcpStream::connect(address)).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/socket.io?user={user}");
    // Small buffers: a test may have thousands of clients.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
    let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
    soon("the handshake", opened).await.map(|(socket, _)| socket)
}

/// Every one of the clients receives a broadcast as the very next message: nothing else was on its way to it.
pub(crate) async fn all_receive_next(clients: &mut [&mut Client]) {
    let fence = broadcast("and now for something completely different");
    clients[0].send(&fence).await;
    let from = clients[0].user.clone();
    for client in clients {
        assert_eq!(client.recv().await, Message { from: from.clone(), ..fence.clone() }, "{}", client.user);
    }
}
