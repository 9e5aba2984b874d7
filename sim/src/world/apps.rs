//! Session clients: the engine's [`Session`], driven as its documentation says, and above it an application that
//! keeps what [`Resume`] says. Its process can die between any two of the session's actions.

use core::time::Duration;

use switchboard_engine::{
    ClientAction, ClientEvent, Content, Frame, GroupId, History, LinkId, LogCursor, LogMarks, Marks,
    PendingSubmit, Recipient, Reconnect, Resume, Retry, Session, SessionAction, SessionConfig,
    SessionNotification, SessionState, UserId,
};

use super::{
    Draw, Happening, World,
    clients::RECONNECT_CAP_S,
    queue::Up,
    signals,
    speech::{Speech, text},
    sut::Sut,
};
use crate::{
    check::{ConnKey, Payload},
    choice::keyed,
    counts::Fault,
    schedule::{ClientKind, ClientNo, NodeNo, To},
    trace::Lane,
    wire::Token,
    wire::session::{Peer, device_id, device_of, message_id, read_client, read_mark, token_of},
};

/// Submits without a fate that a session client keeps at the most.
const PENDING_LIMIT: u32 = 64;

/// A link's number has the process's life above this bit: the links of different lives are different ones.
const LIFE_BIT: u32 = 40;

/// The process of a session client, and what its application keeps when it dies.
#[derive(Clone, Debug)]
pub(super) struct App {
    /// None while the process is down.
    pub(super) session: Option<Session>,
    /// Which of its processes runs.
    life: u64,
    /// After so many more actions it dies.
    fuse: Option<u32>,
    /// For how long.
    down_us: u64,
    /// Whether its user wants to be connected.
    pub(super) is_wanted: bool,
    /// How often it has lost all that it had kept.
    wiped: u64,
    /// What it has kept.
    pub(super) kept: Resume,
}

impl App {
    /// The link of this process that a link of the world is; none if it is another process's.
    fn inner(&self, link: LinkId) -> Option<LinkId> {
        let own = link.0 >> LIFE_BIT == self.life && self.session.is_some();
        own.then_some(LinkId(link.0 & ((1 << LIFE_BIT) - 1)))
    }

    const fn outer(&self, link: LinkId) -> LinkId {
        LinkId(self.life << LIFE_BIT | link.0)
    }

    /// Keeps what a notification says is to be kept.
    fn keep(&mut self, notification: &SessionNotification) {
        let cursors = &mut self.kept.cursors;
        match notification {
            SessionNotification::Message { conversation, epoch, message } => {
                cursors.retain(|cursor| cursor.conversation != *conversation);
                let conversation = conversation.clone();
                cursors.insert(0, LogCursor { conversation, epoch: *epoch, seq: message.seq });
            }
            SessionNotification::Skipped { conversation, epoch, seq } => {
                cursors.retain(|cursor| cursor.conversation != *conversation);
                let conversation = conversation.clone();
                cursors.insert(0, LogCursor { conversation, epoch: *epoch, seq: *seq });
            }
            SessionNotification::Reset { conversation } => {
                cursors.retain(|cursor| cursor.conversation != *conversation);
                self.kept.marks.retain(|marks| marks.conversation != *conversation);
            }
            SessionNotification::Marked { conversation, epoch, own, marks } => {
                self.keep_marks(conversation, *epoch, *own, *marks);
            }
            SessionNotification::Accepted { id, .. } | SessionNotification::Rejected { id, .. } => {
                self.kept.submits.retain(|submit| submit.id != *id);
            }
            SessionNotification::StateChanged(_)
            | SessionNotification::Older { .. }
            | SessionNotification::NoOlder { .. }
            | SessionNotification::Delayed { .. }
            | SessionNotification::CaughtUp
            // Nothing that is to be kept.
            | SessionNotification::Named { .. }
            | SessionNotification::Typing { .. }
            | SessionNotification::Notice { .. }
            | SessionNotification::Presence { .. }
            | SessionNotification::Call { .. } => {}
        }
    }
}

impl App {
    fn keep_marks(&mut self, conversation: &Recipient, epoch: u64, own: bool, marks: Marks) {
        let kept = &mut self.kept.marks;
        let known = kept.iter().position(|kept| kept.conversation == *conversation && kept.epoch == epoch);
        let place = known.unwrap_or_else(|| {
            kept.retain(|kept| kept.conversation != *conversation);
            let (own, peer) = (Marks::default(), Marks::default());
            kept.push(LogMarks { conversation: conversation.clone(), epoch, own, peer });
            kept.len() - 1
        });
        if let Some(kept) = kept.get_mut(place) {
            *(if own { &mut kept.own } else { &mut kept.peer }) = marks;
        }
    }
}

impl<T: Sut> World<'_, T> {
    /// The user has seen a conversation up to a place, as far as the application has it.
    pub(super) fn mark_read(&mut self, client: ClientNo, of: To, seq: u64) {
        let Some(conversation) = self.recipient(of) else { return };
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            session.mark_read(now, &conversation, seq);
            self.pump_app(client);
        }
    }

    /// Gives a device its application, if it is to have one.
    pub(super) fn make_app(&mut self, client: ClientNo) {
        if self.devices[client.index()].spec.kind != ClientKind::Session {
            return;
        }
        let device_id = device_id(client.0, 0);
        let kept = Resume { device_id, ..Resume::default() };
        let app = App { session: None, life: 0, fuse: None, down_us: 0, is_wanted: false, wiped: 0, kept };
        self.devices[client.index()].app = Some(Box::new(app));
        self.start_app(client);
    }

    fn start_app(&mut self, client: ClientNo) {
        let config = self.session_config(client);
        let now = self.client_now();
        let seed = self.schedule.seed;
        let Some(app) = &mut self.devices[client.index()].app else { return };
        let seed = keyed(seed, app.life << 16 | u64::from(client.0), Draw::Client as u64);
        app.session = Some(Session::new(config, seed, now, app.kept.clone()));
    }

    fn session_config(&self, client: ClientNo) -> SessionConfig {
        let s = &self.schedule.settings;
        let user = self.devices[client.index()].spec.user;
        let mut config = SessionConfig::new(self.users[user.index()].clone());
        config.history = match u32::try_from(s.history) {
            Ok(0) => History::All,
            Ok(latest) => History::Latest(latest),
            Err(_) => History::Latest(u32::MAX),
        };
        config.connect_timeout = Duration::from_secs(3);
        config.close_timeout = Duration::from_secs(2);
        config.heartbeat_interval = Duration::from_secs(4);
        config.idle_timeout = Duration::from_secs(9);
        // Longer than the server waits: for the user to be loaded, then for its store.
        config.answer_timeout = Duration::from_millis(2 * s.request_timeout_ms + 2_000);
        config.absence_limit = Duration::from_secs(3);
        config.reconnect = Reconnect {
            cap: Duration::from_secs(RECONNECT_CAP_S),
            stable_after: Duration::from_secs(2),
            ..Reconnect::default()
        };
        config.retry = Retry { cap: Duration::from_secs(2), ..Retry::default() };
        config.limits.message_bytes = s.message_bytes;
        config.limits.pending_messages = PENDING_LIMIT;
        signals::configure(&mut config);
        config
    }

    /// The user wants a connection, or wants it elsewhere.
    pub(super) fn connect_app(&mut self, client: ClientNo, node: NodeNo) {
        let now = self.client_now();
        let device = &mut self.devices[client.index()];
        device.node = node;
        let Some(app) = &mut device.app else { return };
        app.is_wanted = true;
        if let Some(session) = &mut app.session {
            session.connect(now);
            self.pump_app(client);
        }
    }

    /// The user wants no connection any more.
    pub(super) fn close_app(&mut self, client: ClientNo) {
        let now = self.client_now();
        let Some(app) = &mut self.devices[client.index()].app else { return };
        app.is_wanted = false;
        if let Some(session) = &mut app.session {
            session.close(now);
            self.pump_app(client);
        }
    }

    /// Whether a handshake is one that the process still wants.
    pub(super) fn is_link_of_app(&self, client: ClientNo, link: LinkId) -> bool {
        self.devices[client.index()].app.as_ref().is_some_and(|app| app.inner(link).is_some())
    }

    /// The session learns that a connection is open. False if it is none of its, or not any more.
    pub(super) fn app_opened(&mut self, client: ClientNo, link: LinkId) -> bool {
        self.app_event(client, link, |link| ClientEvent::Opened { link })
    }

    /// The session is told what has happened to one of its links. False if that is none of its, or not any more.
    pub(super) fn app_event(
        &mut self,
        client: ClientNo,
        link: LinkId,
        event: impl FnOnce(LinkId) -> ClientEvent,
    ) -> bool {
        let now = self.client_now();
        let Some(app) = &mut self.devices[client.index()].app else { return false };
        let Some(link) = app.inner(link) else { return false };
        let Some(session) = &mut app.session else { return false };
        let stale = session.stats().stale_events;
        session.handle(now, event(link));
        session.stats().stale_events == stale
    }

    /// A session's deadline has come.
    pub(super) fn app_timeout(&mut self, client: ClientNo) {
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            session.handle_timeout(now);
            self.pump_app(client);
        }
    }

    /// The application hands a message over, having kept it.
    pub(super) fn submit(&mut self, client: ClientNo, speech: Speech) {
        let Some(conversation) = self.recipient(speech.to).filter(|_| self.is_running(client)) else {
            return;
        };
        self.word(client, speech);
        self.hand_over(client, speech.token, conversation, content(speech));
    }

    /// Whether a client has an application whose process runs.
    pub(super) fn is_running(&self, client: ClientNo) -> bool {
        self.devices[client.index()].app.as_ref().is_some_and(|app| app.session.is_some())
    }

    /// Whether a client's session is welcome, as far as it knows.
    pub(super) fn is_connected(&self, client: ClientNo) -> bool {
        let app = self.devices[client.index()].app.as_ref();
        let state = app.and_then(|app| app.session.as_ref()).map(Session::state);
        matches!(state, Some(SessionState::Online | SessionState::Resyncing))
    }

    /// The application hands over what is registered.
    pub(super) fn hand_over(
        &mut self,
        client: ClientNo,
        token: Token,
        conversation: Recipient,
        content: Content,
    ) {
        let now = self.client_now();
        let id = message_id(token);
        let Some(app) = &mut self.devices[client.index()].app else { return };
        let Some(session) = &mut app.session else { return };
        // A submit is kept before it is handed over: a process that dies between the two hands it over again.
        app.kept.submits.push(PendingSubmit {
            id,
            conversation: conversation.clone(),
            content: content.clone(),
        });
        self.spec.submits(client.0, id);
        if session.submit(now, id, conversation, content).is_err() {
            app.kept.submits.retain(|submit| submit.id != id);
            self.spec.takes_back(client.0, id);
        }
        self.pump_app(client);
    }

    /// The application asks for older messages.
    pub(super) fn older(&mut self, client: ClientNo, of: To, before_seq: u64, limit: u32) {
        let Some(conversation) = self.recipient(of) else { return };
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        let Some(session) = app.and_then(|app| app.session.as_mut()) else { return };
        if let Ok(request) = session.fetch_older(now, conversation.clone(), before_seq, limit) {
            self.spec.asks_older(client.0, request, Peer::of(&conversation), before_seq, limit);
        }
        self.pump_app(client);
    }

    pub(super) fn recipient(&self, to: To) -> Option<Recipient> {
        match to {
            To::User(user) => UserId::new(&user.to_string()).ok().map(Recipient::User),
            To::Group(group) => GroupId::new(&group.to_string()).ok().map(Recipient::Group),
            To::Nobody => None,
        }
    }

    /// Carries out what a session asks for, until its process dies or nothing is left.
    pub(super) fn pump_app(&mut self, client: ClientNo) {
        self.events += 1;
        loop {
            let Some(app) = &mut self.devices[client.index()].app else { return };
            if app.fuse == Some(0) {
                return self.app_dies(client);
            }
            let Some(action) = app.session.as_mut().and_then(Session::poll_action) else { break };
            app.fuse = app.fuse.map(|left| left - 1);
            self.session_action(client, action);
        }
        let device = &mut self.devices[client.index()];
        let Some(session) = device.app.as_ref().and_then(|app| app.session.as_ref()) else { return };
        let stats = *session.stats();
        let ended = stats.accepted + stats.rejected + stats.rejected_locally;
        if stats.submitted != ended + session.pending_submits() as u64 {
            self.check.fail("accounting", |_| format!("c{}'s submits do not balance: {stats:?}", client.0));
        }
        let Some(next) = session.poll_timeout() else { return };
        let at_us = next.as_nanos().div_ceil(1000).max(self.now_us);
        if device.armed_us.is_none_or(|armed_us| at_us < armed_us) {
            device.armed_us = Some(at_us);
            self.queue.push(at_us, Happening::ClientTimeout { client });
        }
    }

    fn session_action(&mut self, client: ClientNo, action: SessionAction) {
        match action {
            ClientAction::Connect { link } => {
                let device = &self.devices[client.index()];
                let (node, app) = (device.node, device.app.as_ref());
                let Some(link) = app.map(|app| app.outer(link)) else { return };
                self.dial(client, node, link);
            }
            ClientAction::Send { link, frame } => {
                let Some(conn) = self.app_conn(client, link) else { return };
                let payload_bytes = frame.payload().len() as u64;
                let up = match frame {
                    Frame::Message(bytes) => Up::Message { payload: self.asked(client, &bytes), bytes },
                    Frame::Ping(_) => Up::Ping,
                    Frame::Pong(payload) => Up::Pong(payload),
                };
                self.send_up(conn, up);
                // What is sent into a dead connection stays in the operating system's buffer.
                let (link, severed) = (self.conns[conn as usize].link, self.conns[conn as usize].severed);
                if !severed {
                    let event = |link| ClientEvent::Flushed { link, frames: 1, payload_bytes };
                    self.app_event(client, link, event);
                }
            }
            ClientAction::Close { link, code: _ } => {
                if let Some(conn) = self.app_conn(client, link) {
                    self.send_up(conn, Up::Close);
                }
            }
            ClientAction::Abort { link } => {
                if let Some(conn) = self.app_conn(client, link) {
                    self.devices[client.index()].conn = None;
                    self.give_up(conn);
                }
            }
            ClientAction::Notify(notification) => {
                self.trace_notification(client, &notification);
                self.spec.told(client.0, &notification);
                if let Some(app) = &mut self.devices[client.index()].app {
                    app.keep(&notification);
                }
            }
        }
    }

    /// The connection that a link of the current process is.
    fn app_conn(&self, client: ClientNo, link: LinkId) -> Option<ConnKey> {
        let device = &self.devices[client.index()];
        let link = device.app.as_ref()?.outer(link);
        device.conn.filter(|conn| self.conns[*conn as usize].link == link)
    }

    /// What a session sends, as the checks know it.
    fn asked(&mut self, client: ClientNo, bytes: &bytes::Bytes) -> Payload {
        use switchboard_proto::v1::client_frame::Body;
        let known = match read_client(bytes) {
            Some(Body::Hello(hello)) => Some(Payload::Hello { device: device_of(&hello.device_id) }),
            Some(Body::Resync(_)) => Some(Payload::Resync),
            Some(Body::Heartbeat(_)) => Some(Payload::Heartbeat),
            Some(Body::Fetch(fetch)) => {
                Peer::read(fetch.conversation.as_ref()).map(|of| Payload::Fetch { of })
            }
            Some(Body::Submit(submit)) => {
                let key = token_of(&submit.message_id).and_then(|token| self.check.message(token));
                // Whoever has the same user can submit the same again.
                key.inspect(|key| self.check.said[*key as usize].submit = bytes.clone()).map(Payload::Said)
            }
            Some(Body::Mark(mark)) => read_mark(&mark).map(Payload::Mark),
            Some(Body::Typing(_) | Body::Watch(_) | Body::Call(_)) => Some(Payload::Sign),
            None => None,
        };
        known.unwrap_or_else(|| {
            self.check.fail("no-spoof", |_| format!("c{} sends what it was not told to", client.0));
            Payload::Garbage
        })
    }

    fn trace_notification(&mut self, client: ClientNo, notification: &SessionNotification) {
        if !matches!(notification, SessionNotification::StateChanged(_)) {
            self.trace.note(self.now_us, Lane::Client(client.0), || notification_name(notification));
        }
    }

    /// The process dies after so many more actions.
    pub(super) fn die(&mut self, client: ClientNo, actions: u32, down_us: u64) {
        let Some(app) = self.devices[client.index()].app.as_mut().filter(|app| app.session.is_some()) else {
            return;
        };
        (app.fuse, app.down_us) = (Some(actions), down_us);
        if actions == 0 {
            self.app_dies(client);
        }
    }

    /// All that the application has kept is lost, and it begins anew at once.
    pub(super) fn wipe(&mut self, client: ClientNo) {
        let Some(app) = &mut self.devices[client.index()].app else { return };
        app.wiped += 1;
        app.down_us = 0;
        let device_id = device_id(client.0, app.wiped);
        app.kept = Resume { device_id, ..Resume::default() };
        self.spec.wiped(client.0);
        self.tally.add(Fault::AppWiped);
        self.app_dies(client);
    }

    fn app_dies(&mut self, client: ClientNo) {
        let Some(app) = &mut self.devices[client.index()].app else { return };
        if app.session.take().is_none() {
            // It is down already, and will come back by itself.
            return;
        }
        app.life += 1;
        app.fuse = None;
        let (life, down_us) = (app.life, app.down_us);
        self.tally.add(Fault::AppDied);
        self.spec.died(client.0);
        self.trace.note(self.now_us, Lane::Client(client.0), || "its process dies".to_owned());
        let device = &mut self.devices[client.index()];
        device.armed_us = None;
        if let Some(conn) = device.conn.take() {
            self.give_up(conn);
        }
        self.queue.push(self.now_us + down_us, Happening::Revive { client, life });
    }

    /// The process dies no more, and starts if it is down.
    pub(super) fn spare(&mut self, client: ClientNo) {
        let Some(app) = &mut self.devices[client.index()].app else { return };
        app.fuse = None;
        let life = app.life;
        self.revive(client, life);
    }

    /// The process starts again.
    pub(super) fn revive(&mut self, client: ClientNo, life: u64) {
        let Some(app) = &mut self.devices[client.index()].app else { return };
        if app.session.is_some() || app.life != life {
            return;
        }
        let is_wanted = app.is_wanted;
        self.trace.note(self.now_us, Lane::Client(client.0), || "its process starts".to_owned());
        self.start_app(client);
        if is_wanted {
            let node = self.devices[client.index()].node;
            self.connect_app(client, node);
        }
    }
}

/// What a session's message says.
pub(super) fn content(speech: Speech) -> Content {
    let kind = speech.content_type.unsigned_abs();
    let file = speech.carrier.map(|_| format!("f-{}", speech.token)).unwrap_or_default();
    let text = if speech.carrier.is_some() { speech.token.to_string() } else { text(speech) };
    Content { kind, text: text.into(), file: file.into(), ..Content::default() }
}

fn notification_name(notification: &SessionNotification) -> String {
    match notification {
        SessionNotification::StateChanged(state) => format!("is {state:?}"),
        SessionNotification::Message { conversation, message, .. } => {
            format!("is told {}/{} of {}", Peer::of(conversation), message.seq, message.from)
        }
        SessionNotification::Skipped { conversation, seq, .. } => {
            format!("skips to {}/{seq}", Peer::of(conversation))
        }
        SessionNotification::Reset { conversation } => format!("forgets {}", Peer::of(conversation)),
        SessionNotification::Delayed { id, text, .. } => {
            let token = token_of(&id.0).map(|token| token.to_string());
            format!("{} is delayed: {text}", token.unwrap_or_default())
        }
        SessionNotification::Accepted { id, place } => {
            let token = token_of(&id.0).map(|token| token.to_string());
            format!("{} is accepted as {}", token.unwrap_or_default(), place.seq)
        }
        SessionNotification::Rejected { id, code, .. } => {
            let token = token_of(&id.0).map(|token| token.to_string());
            format!("{} is rejected: {code:?}", token.unwrap_or_default())
        }
        SessionNotification::Older { conversation, messages, .. } => {
            format!("is given {} older ones of {}", messages.len(), Peer::of(conversation))
        }
        SessionNotification::NoOlder { reason, .. } => format!("is given no older ones: {reason:?}"),
        SessionNotification::CaughtUp => "has caught up".to_owned(),
        other @ (SessionNotification::Marked { .. }
        | SessionNotification::Named { .. }
        | SessionNotification::Typing { .. }
        | SessionNotification::Notice { .. }
        | SessionNotification::Presence { .. }
        | SessionNotification::Call { .. }) => format!("{other:?}"),
    }
}
