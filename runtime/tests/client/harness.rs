//! A server of one's own, and words for what clients do.

use std::{
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use switchboard::{
    client::{Client, ClientBuilder, Content, Event, Events, LogMessage, Recipient, ServerUrl, UserId},
    config::Config,
    server::{Server, ServerError, StopHandle},
};
use tempfile::TempDir;

/// How long a test waits for what must come. Only a failing test ever waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// A server on a thread of its own. Its data stay where they are when it stops.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    stop: StopHandle,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl TestServer {
    /// A server on a port of the system's choice.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), data)
    }

    pub(crate) fn start_on(listen: SocketAddr, data: &Path) -> Self {
        let mut config = Config { listen, data: data.join("data"), ..Config::default() };
        // The clients of a test that ends do not answer the server that is stopped then.
        config.timeouts.close_timeout_ms = 100;
        let (sender, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::start(&config)?;
                sender.send((server.local_addr()?, server.stop_handle())).unwrap();
                server.run().await
            })
        });
        let (address, stop) = started.recv_timeout(PATIENCE).expect("the server starts");
        Self { address, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> ServerUrl {
        format!("ws://{}", self.address).parse().unwrap()
    }

    pub(crate) fn client(&self, id: &str) -> ClientBuilder {
        Client::builder(self.url(), user(id)).configure(hurried)
    }

    /// Stops the server, which says goodbye to its clients.
    pub(crate) async fn stop(self) {
        tokio::task::spawn_blocking(|| drop(self)).await.unwrap();
    }

    fn end(&mut self) {
        self.stop.stop();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Delays that a test can wait for.
pub(crate) fn hurried(config: &mut switchboard_engine::SessionConfig) {
    config.reconnect.floor = Duration::from_millis(10);
    config.reconnect.base = Duration::from_millis(50);
    config.reconnect.cap = Duration::from_millis(200);
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// The conversation with a user.
pub(crate) fn with(id: &str) -> Recipient {
    Recipient::User(user(id))
}

/// Says something, and waits until the server has it: its place.
pub(crate) async fn say(client: &Client, conversation: &Recipient, text: &str) -> u64 {
    let submitted = client.submit(conversation.clone(), Content::text(text)).await.unwrap();
    soon(text, submitted).await.unwrap().seq
}

/// The next message that is told; what else is told before is passed over.
pub(crate) async fn heard(events: &mut Events) -> Arc<LogMessage> {
    loop {
        let event = soon("a message", events.next()).await.expect("the client goes on");
        if let Event::Message { message, .. } = event {
            return message;
        }
    }
}

/// The texts of messages.
pub(crate) fn texts(messages: &[Arc<LogMessage>]) -> Vec<&str> {
    messages.iter().map(|message| &*message.content.text).collect()
}
