//! The machine and its link.

use std::{collections::VecDeque, future, time::Duration};

use switchboard_engine::{
    Client, ClientAction, ClientConfig, ClientEvent, ConnectionState, Instant, LinkId, Notification,
    Outgoing, SendError, SendId, UserId,
};

use super::{
    address::ServerUrl,
    link::{Link, LinkError, Progress},
};

/// The largest message taken from a server: its default limit for uploads, and room for what it adds.
const MESSAGE_LIMIT_BYTES: usize = 9 << 20;

/// What a session tells its application.
#[derive(Debug)]
pub enum Event {
    /// What the machine says.
    Notification(Notification),
    /// Why a link ended, for people. The machine's view of it follows.
    LinkEnded(LinkError),
}

/// One user's session with a server: a [`Client`] with its sockets and its clock. To be used within a tokio
/// runtime with IO and time.
///
/// Nothing happens but in [`Session::next`], so an application calls it all the time, beside what else it waits
/// for: it may be cancelled whenever something else is ready. Dropping the session cuts the connection off;
/// [`Session::close`] ends it politely.
#[derive(Debug)]
pub struct Session {
    client: Client,
    server: ServerUrl,
    user: UserId,
    origin: tokio::time::Instant,
    link: Option<Link>,
    /// Taken from the machine and not yet given to the application; empty before every wait.
    events: VecDeque<Event>,
}

impl Session {
    /// A session that is closed until [`Session::connect`]. The jitter of reconnecting comes from `seed`; give
    /// each session its own.
    #[must_use]
    pub fn new(config: ClientConfig, server: ServerUrl, seed: u64) -> Self {
        let user = config.user.clone();
        let client = Client::new(config, seed, Instant::ZERO);
        let origin = tokio::time::Instant::now();
        Self { client, server, user, origin, link: None, events: VecDeque::new() }
    }

    /// Wants a connection from now on: see [`Client::connect`].
    pub fn connect(&mut self) {
        self.client.connect(self.now());
    }

    /// Wants no connection any more: see [`Client::close`]. [`Session::next`] tells when it is closed, within
    /// [`ClientConfig::close_timeout`].
    pub fn close(&mut self) {
        self.client.close(self.now());
    }

    /// Accepts a message for sending: see [`Client::send`].
    ///
    /// # Errors
    /// Those of [`Client::send`], with the message in them.
    pub fn send(&mut self, outgoing: Outgoing) -> Result<SendId, SendError> {
        self.client.send(self.now(), outgoing)
    }

    /// What an application shows of the connection.
    #[must_use]
    pub const fn state(&self) -> ConnectionState {
        self.client.state()
    }

    /// Messages accepted and neither flushed nor dropped.
    #[must_use]
    pub fn pending_messages(&self) -> usize {
        self.client.pending_messages()
    }

    /// How long it is from now to an instant of this session's states; zero if it has passed.
    #[must_use]
    pub fn until(&self, instant: Instant) -> Duration {
        instant.saturating_since(self.now())
    }

    /// What [`Session::next`] would tell without waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        self.carry_out();
        self.events.pop_front()
    }

    /// Drives the connection until there is something to tell, and tells it. Waits for ever while the session is
    /// closed and everything was told. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            let timeout = self.client.poll_timeout().map(|at| self.system(at));
            let link = &mut self.link;
            let progress = async {
                match link {
                    Some(link) => (link.id(), link.next().await),
                    None => future::pending().await,
                }
            };
            let expired = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                (link, progress) = progress => self.progressed(link, progress),
                () = expired => self.client.handle_timeout(self.now()),
            }
        }
    }

    /// Does what the machine asks for.
    fn carry_out(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                ClientAction::Connect { link } => {
                    let (server, user) = (self.server.clone(), self.user.clone());
                    self.link = Some(Link::dial(link, server, user, MESSAGE_LIMIT_BYTES));
                }
                ClientAction::Send { link, frame } => {
                    if let Some(writer) = self.link_of(link).and_then(Link::writer) {
                        writer.push(&frame);
                    }
                }
                ClientAction::Close { link, code } => {
                    if let Some(writer) = self.link_of(link).and_then(Link::writer) {
                        writer.push_close(code);
                    }
                }
                ClientAction::Abort { link } => {
                    self.link.take_if(|current| current.id() == link);
                }
                ClientAction::Notify(notification) => {
                    self.events.push_back(Event::Notification(notification));
                }
            }
        }
    }

    fn link_of(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id() == id)
    }

    fn progressed(&mut self, link: LinkId, progress: Progress) {
        let event = match progress {
            Progress::Opened => ClientEvent::Opened { link },
            Progress::Received(message) => ClientEvent::Received { link, message },
            Progress::Pinged(payload) => ClientEvent::Pinged { link, payload },
            Progress::Flushed(flushed) => {
                ClientEvent::Flushed { link, frames: flushed.frames, payload_bytes: flushed.payload_bytes }
            }
            Progress::Ended(error) => {
                self.link = None;
                let event = match &error {
                    LinkError::Connect(_) => ClientEvent::ConnectFailed { link },
                    LinkError::Closed { code, .. } => ClientEvent::Disconnected { link, close: *code },
                    LinkError::Read(_) | LinkError::Task => ClientEvent::Disconnected { link, close: None },
                };
                self.events.push_back(Event::LinkEnded(error));
                event
            }
        };
        self.client.handle(self.now(), event);
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn system(&self, at: Instant) -> tokio::time::Instant {
        self.origin + Duration::from_nanos(at.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::{
        WebSocketStream, accept_hdr_async,
        tungstenite::{
            Message,
            handshake::server::{Request, Response},
            protocol::{CloseFrame, frame::coding::CloseCode},
        },
    };

    async fn start() -> (Session, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/x", listener.local_addr().unwrap()).parse().unwrap();
        let config = ClientConfig::new(UserId::new("a b").unwrap());
        let mut session = Session::new(config, ServerUrl::new(&url).unwrap(), 1);
        session.connect();
        (session, listener)
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

    /// Drives the session until it tells this.
    async fn until(session: &mut Session, wanted: impl Fn(&Event) -> bool) {
        loop {
            if wanted(&session.next().await) {
                return;
            }
        }
    }

    fn state(event: &Event) -> Option<ConnectionState> {
        match event {
            Event::Notification(Notification::StateChanged(state)) => Some(*state),
            Event::Notification(_) | Event::LinkEnded(_) => None,
        }
    }

    fn is_online(event: &Event) -> bool {
        state(event) == Some(ConnectionState::Online)
    }

    #[tokio::test]
    async fn pings_are_answered_in_order_and_closing_is_a_close_frame_each_way() {
        let (mut session, listener) = start().await;
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
            () = until(&mut session, |_| false) => unreachable!(),
        };
        session.close();
        let closed = until(&mut session, |event| matches!(state(event), Some(ConnectionState::Closed(_))));
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
        let (mut session, listener) = start().await;
        let (mut socket, ()) = tokio::join!(accept(&listener), until(&mut session, is_online));
        let text = "x".repeat(7 << 20);
        let body = switchboard_engine::Body::Text(text.as_str().into());
        let to = switchboard_engine::Target::User(UserId::new("bob").unwrap());
        session.send(Outgoing::Message { to, body }).unwrap();
        let flushed =
            until(&mut session, |event| matches!(event, Event::Notification(Notification::Flushed { .. })));
        let (message, ()) = tokio::join!(socket.next(), flushed);
        assert!(message.unwrap().unwrap().into_data().len() > text.len());
        assert_eq!(session.pending_messages(), 0);
    }

    #[tokio::test]
    async fn a_lost_link_is_dialled_again_and_its_end_is_told_first() {
        let (mut session, listener) = start().await;
        let (socket, ()) = tokio::join!(accept(&listener), until(&mut session, is_online));
        drop(socket);
        assert!(matches!(session.next().await, Event::LinkEnded(LinkError::Read(_))));
        assert!(matches!(state(&session.next().await), Some(ConnectionState::Waiting { failures: 1, .. })));
        tokio::join!(accept(&listener), until(&mut session, is_online));
    }

    #[tokio::test]
    async fn a_close_frame_gives_the_machine_its_code_and_people_its_text() {
        let (mut session, listener) = start().await;
        let (mut socket, ()) = tokio::join!(accept(&listener), until(&mut session, is_online));
        let frame = CloseFrame { code: CloseCode::Library(4000), reason: "another one".into() };
        socket.close(Some(frame)).await.unwrap();
        let Event::LinkEnded(LinkError::Closed { code, text }) = session.next().await else {
            panic!("no close frame")
        };
        assert_eq!((code, text.as_str()), (Some(4000), "another one"));
        let taken_over = ConnectionState::Closed(switchboard_engine::ClosedReason::TakenOver);
        assert_eq!(state(&session.next().await), Some(taken_over));
        // The close frame is answered.
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    }
}
