//! The real server, in the test's process.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use switchboard::config::Config;
use switchboard::server::{Server, StopHandle};
use switchboard_benches::{Process, Target};
use tempfile::TempDir;

/// A server on a thread of its own, stopped when it is dropped.
pub(crate) struct TestServer {
    pub(crate) target: Target,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
    _data: TempDir,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: data.path().to_owned(),
            ..Config::default()
        };
        config.limits.messages_per_second = 1_000_000;
        config.limits.message_burst = 1_000_000;
        // Loads of both protocols take turns as the same users.
        config.limits.resend_messages = 0;
        let (sender, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::start(&config).unwrap();
                sender.send((server.local_addr().unwrap(), server.stop_handle())).unwrap();
                server.run().await.unwrap();
            });
        });
        let (address, stop) = started.recv().unwrap();
        let target = Target::running(address, Some(Process::this().unwrap())).unwrap();
        Self { target, stop, thread: Some(thread), _data: data }
    }

    /// The same server once more, for whoever wants a target of its own.
    #[allow(dead_code, reason = "not every test file needs it")]
    pub(crate) fn another_target(&self) -> Target {
        Target::running(self.target.address, Some(Process::this().unwrap())).unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
