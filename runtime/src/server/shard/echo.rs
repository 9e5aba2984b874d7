//! The echo of the test build: `ws://ADDRESS/socket.io?user=echo` sends back what it is sent, so that a test-suite for WebSockets can ask
//! the real server all that it asks of one.
//!
//! It is in no program but that of this crate's own tests. Handshake, reading, framing, control frames, closing, limits and writing
//! are those of every connection; only that a message is the engine's is left out, and that it must be binary.

use switchboard_engine::{ConnId, Frame, PeerFault, Protocol, UserId};
use switchboard_websocket::{self as websocket, Incoming};

use super::{
    socket::{Ending, Socket},
    state::State,
};

/// Whose connections are echoed.
const USER: &str = "echo";

impl Socket {
    /// Makes this user's connection an echo. It is a session for the engine, which sends one nothing until it has said `Hello`.
    pub(super) fn begin_echo(&mut self, user: &UserId, protocol: Protocol) -> Protocol {
        self.echoes = user.as_str() == USER;
        if self.echoes { Protocol::Session } else { protocol }
    }
}

impl State {
    /// Sends a message back that an echo was sent. Gives what is not for it.
    pub(super) fn echo(
        &mut self,
        conn: ConnId,
        incoming: Result<Option<Incoming>, PeerFault>,
    ) -> Option<Result<Option<Incoming>, PeerFault>> {
        let is_open = |socket: &&mut Socket| socket.echoes && socket.ending == Ending::Open;
        let Some(socket) = self.sockets.get_mut(conn).filter(is_open) else { return Some(incoming) };
        let frame = match incoming {
            Ok(Some(Incoming::Message(message))) => {
                self.frames.add_echo(|out| websocket::encode(&Frame::Message(message), out))
            }
            Ok(Some(Incoming::Text(text))) => self.frames.add_echo(|out| websocket::encode_text(&text, out)),
            other => return Some(other),
        };
        socket.push(frame, &mut self.frames, &mut None);
        if self.frames.is_full() {
            self.flush();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
        sync::mpsc,
        thread::JoinHandle,
        time::Duration,
    };

    use tempfile::TempDir;

    use crate::{
        config::Config,
        server::{Server, ServerError, StopHandle},
    };

    /// How long a test waits for what must come. Only a failing test ever waits so long.
    const PATIENCE: Duration = Duration::from_secs(30);

    const FIN: u8 = 0x80;
    const CONTINUATION: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;

    /// A server that ends with it.
    struct Running {
        address: SocketAddr,
        stop: StopHandle,
        thread: Option<JoinHandle<Result<(), ServerError>>>,
        _folder: TempDir,
    }

    fn start() -> Running {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: folder.path().join("data"),
            shards: 1,
            ..Config::default()
        };
        // Room for the largest messages of the Autobahn test-suite, 16 MiB each, and for many connections of one user.
        config.limits.message_bytes = 32 << 20;
        config.limits.connections_per_user = 1_000;
        // Nobody says `Hello`.
        config.timeouts.hello_timeout_ms = 86_400_000;
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
        Running { address, stop, thread: Some(thread), _folder: folder }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.stop.stop();
            let ended = self.thread.take().map(JoinHandle::join);
            assert!(std::thread::panicking() || matches!(ended, Some(Ok(Ok(())))), "{ended:?}");
        }
    }

    /// A client whose frames are written by hand.
    struct Peer(TcpStream);

    impl Peer {
        fn of(server: &Running, user: &str) -> Self {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let request = format!(
                "GET /socket.io?user={user} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
            Self(stream)
        }

        /// Sends a frame of less than 126 bytes, all of it or its first bytes.
        fn send_part(&mut self, first: u8, payload: &[u8], len: usize) {
            let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 1, 2, 3, 4];
            bytes.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
            self.0.write_all(bytes.get(..len).unwrap_or(&bytes)).unwrap();
        }

        fn send(&mut self, first: u8, payload: &[u8]) {
            self.send_part(first, payload, usize::MAX);
        }

        /// The next frame, of less than 126 bytes.
        fn frame(&mut self) -> (u8, Vec<u8>) {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let mut payload = vec![0; head[1].into()];
            self.0.read_exact(&mut payload).unwrap();
            (head[0], payload)
        }

        fn has_ended(&mut self) {
            assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn messages_come_back_as_what_they_were_sent_as() {
        let server = start();
        let mut peer = Peer::of(&server, "echo");
        peer.send(FIN | TEXT, "hällo".as_bytes());
        assert_eq!(peer.frame(), (FIN | TEXT, "hällo".as_bytes().to_vec()));
        peer.send(FIN | BINARY, b"\xff");
        assert_eq!(peer.frame(), (FIN | BINARY, b"\xff".to_vec()));
        peer.send(TEXT, b"\xe2\x98");
        peer.send(FIN | PING, b"between");
        peer.send(FIN | CONTINUATION, b"\xba");
        assert_eq!(peer.frame(), (FIN | PONG, b"between".to_vec()));
        assert_eq!(peer.frame(), (FIN | TEXT, "☺".as_bytes().to_vec()));
        peer.send(FIN | CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(peer.frame(), (FIN | CLOSE, 1000_u16.to_be_bytes().to_vec()));
        peer.has_ended();
    }

    #[test]
    fn text_that_cannot_become_utf_8_any_more_closes_at_once() {
        let server = start();
        let broken = b"\xce\xba\xf4\x90\x80\x80 and more";
        // Behind a whole fragment, and with a frame of which the rest never comes.
        let mut peer = Peer::of(&server, "echo");
        peer.send(TEXT, broken);
        assert_eq!(peer.frame().1.get(..2), Some(&1007_u16.to_be_bytes()[..]));
        let mut peer = Peer::of(&server, "echo");
        peer.send_part(FIN | TEXT, broken, 6 + 4);
        assert_eq!(peer.frame().1.get(..2), Some(&1007_u16.to_be_bytes()[..]));
    }

    #[test]
    fn nobody_else_is_echoed() {
        let server = start();
        let mut peer = Peer::of(&server, "alice");
        peer.frame();
        peer.send(FIN | TEXT, b"hello");
        assert_eq!(peer.frame().1.get(..2), Some(&1003_u16.to_be_bytes()[..]));
    }

    /// Says where it is, and serves until its standard input ends.
    #[test]
    #[ignore = "serves until it is told to end: .ci/autobahn runs it"]
    #[allow(clippy::print_stdout, reason = "whoever has started it reads that")]
    fn serves() {
        let server = start();
        println!("\nlistening on {}", server.address);
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    }
}
