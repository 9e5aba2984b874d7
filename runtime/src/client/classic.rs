//! The classic protocol's client.

use std::time::Duration;

use switchboard_engine::{
    Client, ClientConfig, ConnectionState, Instant, Notification, Outgoing, SendError, SendId,
};

use super::{
    address::ServerUrl,
    driver::{Driver, Told},
    link::{LinkError, Target},
};
use crate::{accounts::Token, tls::ClientTls};

/// What a classic client tells its application.
#[derive(Debug)]
pub enum ClassicEvent {
    /// What the machine says.
    Notification(Notification),
    /// Why a link ended, for people. The machine's view of it follows.
    LinkEnded(LinkError),
}

impl From<Told<Notification>> for ClassicEvent {
    fn from(told: Told<Notification>) -> Self {
        match told {
            Told::Notification(notification) => Self::Notification(notification),
            Told::LinkEnded(error) => Self::LinkEnded(error),
        }
    }
}

/// One user's connection to a server that speaks the classic protocol: the engine's [`Client`] with its sockets
/// and its clock. To be used within a tokio runtime with IO and time.
///
/// Nothing happens but in [`Classic::next`], so an application calls it all the time, beside what else it waits
/// for: it may be cancelled whenever something else is ready. Dropping this cuts the connection off;
/// [`Classic::close`] ends it politely.
#[derive(Debug)]
pub struct Classic {
    driver: Driver<Client>,
}

impl Classic {
    /// A client that is closed until [`Classic::connect`]. The jitter of reconnecting comes from `seed`; give
    /// each client its own.
    #[must_use]
    pub fn new(config: ClientConfig, server: ServerUrl, seed: u64) -> Self {
        Self::with_token(config, server, None, seed)
    }

    /// As [`Classic::new`], at a server where users log in: with their session.
    #[must_use]
    pub fn with_token(config: ClientConfig, server: ServerUrl, token: Option<Token>, seed: u64) -> Self {
        Self::with_tls(config, server, token, None, seed)
    }

    /// As [`Classic::with_token`], at a server that speaks TLS: whom it believes. Without it, `wss://` cannot be connected to.
    #[must_use]
    pub fn with_tls(
        config: ClientConfig,
        server: ServerUrl,
        token: Option<Token>,
        tls: Option<ClientTls>,
        seed: u64,
    ) -> Self {
        let target = Target { server, user: config.user.clone(), subprotocol: None, token, tls };
        Self { driver: Driver::new(target, |now| Client::new(config, seed, now)) }
    }

    /// Wants a connection from now on: see [`Client::connect`].
    pub fn connect(&mut self) {
        self.driver.command(Client::connect);
    }

    /// Wants no connection any more: see [`Client::close`]. [`Classic::next`] tells when it is closed, within
    /// [`ClientConfig::close_timeout`].
    pub fn close(&mut self) {
        self.driver.command(Client::close);
    }

    /// Accepts a message for sending: see [`Client::send`].
    ///
    /// # Errors
    /// Those of [`Client::send`], with the message in them.
    pub fn send(&mut self, outgoing: Outgoing) -> Result<SendId, SendError> {
        self.driver.command(|client, now| client.send(now, outgoing))
    }

    /// What an application shows of the connection.
    #[must_use]
    pub const fn state(&self) -> ConnectionState {
        self.driver.machine().state()
    }

    /// Messages accepted and neither flushed nor dropped.
    #[must_use]
    pub fn pending_messages(&self) -> usize {
        self.driver.machine().pending_messages()
    }

    /// How long it is from now to an instant of this client's states; zero if it has passed.
    #[must_use]
    pub fn until(&self, instant: Instant) -> Duration {
        self.driver.until(instant)
    }

    /// What [`Classic::next`] would tell without waiting.
    pub fn try_next(&mut self) -> Option<ClassicEvent> {
        self.driver.try_next().map(ClassicEvent::from)
    }

    /// Drives the connection until there is something to tell, and tells it. Waits for ever while the client is
    /// closed and everything was told. Cancel-safe.
    pub async fn next(&mut self) -> ClassicEvent {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.driver.step().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt as _, StreamExt as _};
    use switchboard_engine::UserId;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::{
        WebSocketStream, accept_hdr_async,
        tungstenite::{
            Message,
            handshake::server::{Request, Response},
            protocol::{CloseFrame, frame::coding::CloseCode},
        },
    };

    async fn start() -> (Classic, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/x", listener.local_addr().unwrap()).parse().unwrap();
        let config = ClientConfig::new(UserId::new("a b").unwrap());
        let mut client = Classic::new(config, ServerUrl::new(&url).unwrap(), 1);
        client.connect();
        (client, listener)
    }

    async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
        let (stream, _) = listener.accept().await.unwrap();
        #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
        let check = |request: &Request, response: Response| {
            assert_eq!(request.uri(), "/x/socket.io?user=a%20b");
            Ok(response)
        };
        accept_hdr_async(stream, check).await.unwrap()
    }

    /// Drives the client until it tells this.
    async fn until(client: &mut Classic, wanted: impl Fn(&ClassicEvent) -> bool) {
        loop {
            if wanted(&client.next().await) {
                return;
            }
        }
    }

    fn state(event: &ClassicEvent) -> Option<ConnectionState> {
        match event {
            ClassicEvent::Notification(Notification::StateChanged(state)) => Some(*state),
            ClassicEvent::Notification(_) | ClassicEvent::LinkEnded(_) => None,
        }
    }

    fn is_online(event: &ClassicEvent) -> bool {
        state(event) == Some(ConnectionState::Online)
    }

    #[tokio::test]
    async fn pings_are_answered_in_order_and_closing_is_a_close_frame_each_way() {
        let (mut client, listener) = start().await;
        let server = async {
            let mut socket = accept(&listener).await;
            socket.send(Message::Ping("1".into())).await.unwrap();
            socket.send(Message::Ping("2".into())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("1".into()));
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("2".into()));
            socket
        };
        let (mut socket, ()) = tokio::select! {
            socket = server => (socket, ()),
            () = until(&mut client, |_| false) => unreachable!(),
        };
        client.close();
        let closed = until(&mut client, |event| matches!(state(event), Some(ConnectionState::Closed(_))));
        let server = async {
            let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else {
                panic!("no close")
            };
            assert_eq!(frame.code, CloseCode::Normal);
            // Sends the answer that reading has queued.
            assert!(socket.next().await.is_none());
        };
        tokio::join!(closed, server);
    }

    #[tokio::test]
    async fn a_large_message_is_flushed_only_when_the_server_reads_it() {
        let (mut client, listener) = start().await;
        let (mut socket, ()) = tokio::join!(accept(&listener), until(&mut client, is_online));
        let text = "x".repeat(7 << 20);
        let body = switchboard_engine::Body::Text(text.as_str().into());
        let to = switchboard_engine::Target::User(UserId::new("bob").unwrap());
        client.send(Outgoing::Message { to, body }).unwrap();
        let flushed = until(&mut client, |event| {
            matches!(event, ClassicEvent::Notification(Notification::Flushed { .. }))
        });
        let (message, ()) = tokio::join!(socket.next(), flushed);
        assert!(message.unwrap().unwrap().into_data().len() > text.len());
        assert_eq!(client.pending_messages(), 0);
    }

    #[tokio::test]
    async fn a_lost_link_is_dialled_again_and_its_end_is_told_first() {
        let (mut client, listener) = start().await;
        let (socket, ()) = tokio::join!(accept(&listener), until(&mut client, is_online));
        drop(socket);
        assert!(matches!(client.next().await, ClassicEvent::LinkEnded(LinkError::Read(_))));
        assert!(matches!(state(&client.next().await), Some(ConnectionState::Waiting { failures: 1, .. })));
        tokio::join!(accept(&listener), until(&mut client, is_online));
    }

    #[tokio::test]
    async fn a_close_frame_gives_the_machine_its_code_and_people_its_text() {
        let (mut client, listener) = start().await;
        let (mut socket, ()) = tokio::join!(accept(&listener), until(&mut client, is_online));
        let frame = CloseFrame { code: CloseCode::Library(4000), reason: "another one".into() };
        socket.close(Some(frame)).await.unwrap();
        let ClassicEvent::LinkEnded(LinkError::Closed { code, text }) = client.next().await else {
            panic!("no close frame")
        };
        assert_eq!((code, text.as_str()), (Some(4000), "another one"));
        let taken_over = ConnectionState::Closed(switchboard_engine::ClosedReason::TakenOver);
        assert_eq!(state(&client.next().await), Some(taken_over));
        // The close frame is answered.
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    }
}
