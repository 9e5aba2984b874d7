//! From a listening socket to a shard: accepting, HTTP, and the WebSocket handshake.
//!
//! All of it is done on the gateway's thread. What a connection begins with is read here; a usual handshake is answered at once, and
//! everything else goes to the HTTP layer. After a handshake there, the socket is taken back from it, with
//! what was read ahead, and with the state of TLS if that is spoken. Either way it is handed to the shard that its user hashes to.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use bytes::Bytes;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
    upgrade::{Parts, Upgraded},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, acceptfrom_with, recv, send};
use rustls::ServerConnection;
use switchboard_engine::{Protocol, UserId};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
};
use tokio_rustls::server::TlsStream;

use super::{
    access::{Admitted, Peer},
    handshake::{self, Usual},
    http::Site,
    secure,
    shard::{Login, Mailbox, NewConnection, Order, Place, Question, ShardDoor},
    write_timeout::WriteTimeout,
};

/// How long accepting rests after an error that another try cannot help, such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Connections that are accepted before others of the gateway's tasks have their turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// What is read at once of what a connection begins with; a usual handshake has some hundred bytes.
const USUAL_BYTES: usize = 4096;

/// The ways to all shards.
#[derive(Debug)]
pub(super) struct Shards {
    doors: Vec<ShardDoor>,
}

/// Why a user cannot be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A connection's way to its shard, and its place there.
#[derive(Debug)]
pub(super) struct Seat {
    place: Place,
    shard: Arc<Mailbox>,
}

impl Seat {
    /// Takes it with this connection.
    pub(super) fn take(self, connection: impl FnOnce(Place) -> NewConnection) {
        self.shard.connect(connection(self.place));
    }
}

impl Shards {
    pub(super) const fn new(doors: Vec<ShardDoor>) -> Self {
        Self { doors }
    }

    /// Takes a place on the user's shard.
    pub(super) fn seat(&self, user: &Admitted) -> Result<Seat, Full> {
        let shard = self.doors.get(self.index_of(user.user())).ok_or(Full)?;
        Ok(Seat { place: shard.place().ok_or(Full)?, shard: shard.mailbox() })
    }

    /// Gives an order to the shard of the user whom it is about.
    pub(super) fn order(&self, order: Order) -> Result<(), Full> {
        let shard = order.user().map_or(0, |user| self.index_of(user));
        self.order_of(shard, order)
    }

    /// Gives an order to this shard.
    pub(super) fn order_of(&self, shard: usize, order: Order) -> Result<(), Full> {
        let door = self.doors.get(shard).ok_or(Full)?;
        if door.mailbox().order(order) { Ok(()) } else { Err(Full) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.doors.len()
    }

    /// Where the connections of a user are.
    fn index_of(&self, user: &UserId) -> usize {
        // The hash need not resist chosen names: it spreads users over shards, and bounds are per shard.
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(user.as_str());
        let count = u64::try_from(self.doors.len()).unwrap_or(1).max(1);
        usize::try_from(hash % count).unwrap_or_default()
    }

    /// How many connections each shard has.
    pub(super) fn connections(&self) -> impl Iterator<Item = u64> {
        self.doors.iter().map(|shard| u64::from(shard.connected()))
    }

    /// Whether no shard has a place for another connection.
    pub(super) fn are_full(&self) -> bool {
        self.doors.iter().all(ShardDoor::is_full)
    }

    /// Asks every shard something, and gives the answers in the shards' order: none of one that has not answered after so long.
    pub(super) async fn ask<T>(
        &self,
        question: impl Fn(oneshot::Sender<T>) -> Question,
        patience: Duration,
    ) -> Vec<Option<T>> {
        let mut waiting = Vec::new();
        for shard in &self.doors {
            let (sender, answer) = oneshot::channel();
            shard.mailbox().ask(question(sender));
            waiting.push(answer);
        }
        let until = tokio::time::Instant::now() + patience;
        let mut answers = Vec::new();
        for answer in waiting {
            answers.push(tokio::time::timeout_at(until, answer).await.ok().and_then(Result::ok));
        }
        answers
    }

    /// How many connections there are.
    pub(super) fn connected(&self) -> u64 {
        self.connections().sum()
    }
}

/// Opens the listening socket.
pub(super) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restarted server finds the port free although old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Handshakes that the kernel keeps for us; Linux cuts it to `net.core.somaxconn`, 4096 by default.
const BACKLOG: i32 = 4096;

/// What the accept loop goes by.
#[derive(Clone, Debug)]
pub(super) struct Handshakes {
    /// A request's headers must be there after this time, and an answer must be taken within it.
    timeout: Duration,
    /// Places for connections that are not WebSockets yet; more connections wait in the kernel.
    places: Arc<Semaphore>,
    concurrent: usize,
}

impl Handshakes {
    pub(super) fn new(timeout: Duration, concurrent: usize) -> Self {
        Self { timeout, places: Arc::new(Semaphore::new(concurrent)), concurrent }
    }

    /// How many connections are no WebSockets yet.
    pub(super) fn taken(&self) -> u64 {
        self.concurrent.saturating_sub(self.places.available_permits()) as u64
    }

    /// Whether so many places are taken that none is kept for a peer that may ask again.
    pub(super) fn are_scarce(&self) -> bool {
        self.places.available_permits() < self.concurrent.div_ceil(2)
    }
}

/// Accepts connections until it is told to stop. With a site, WebSockets are among them.
pub(super) async fn accept(
    listener: TcpListener,
    site: Option<Site>,
    routes: Router,
    handshakes: Handshakes,
    mut stop: watch::Receiver<bool>,
) {
    let gateway = Gateway { site, routes, timeout: handshakes.timeout, stop: stop.clone() };
    let places = &handshakes.places;
    loop {
        let accepted = async {
            let place = Arc::clone(places).acquire_owned().await;
            let (stream, peer) = listener.accept().await?;
            io::Result::Ok((place, stream.into_std()?, peer))
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((place, stream, peer)) => gateway.take(place.ok(), stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        }
        // Whoever else has come is taken from the kernel without the runtime, which would begin to wait for each of them.
        for _ in 0..ACCEPTED_AT_ONCE {
            let Ok(place) = Arc::clone(places).try_acquire_owned() else { break };
            // An error is met again above.
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let Ok((stream, Some(peer))) = acceptfrom_with(&listener, flags) else { break };
            let Ok(peer) = SocketAddr::try_from(peer) else { break };
            gateway.take(Some(place), stream.into(), peer);
        }
        tokio::task::yield_now().await;
    }
}

/// What becomes of connections until they are WebSockets.
struct Gateway {
    site: Option<Site>,
    routes: Router,
    timeout: Duration,
    stop: watch::Receiver<bool>,
}

impl Gateway {
    /// Takes a connection, which has a place among the handshakes.
    fn take(&self, place: Option<OwnedSemaphorePermit>, stream: std::net::TcpStream, peer: SocketAddr) {
        let ended = move |error: io::Error| {
            tracing::debug!(%peer, %error, "a connection ended before it was a WebSocket");
        };
        // Small frames leave at once; a failure only makes them slower.
        let _ = stream.set_nodelay(true);
        // In a storm most have asked before they are accepted: they need no task.
        let asked = match hear(&stream, self.site.as_ref()) {
            Ok(Heard::Usual(entrance)) => return entrance.open(stream).unwrap_or_else(ended),
            Ok(Heard::Else(ahead)) => Some(ahead),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => return ended(error),
        };
        let connection = serve(stream, peer, asked, self.site.clone(), self.routes.clone(), self.timeout);
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                // Whoever is still at its handshake is not told: it tries again elsewhere.
                _ = stop.wait_for(|stop| *stop) => {}
                served = connection => served.unwrap_or_else(ended),
            }
        });
    }
}

/// Answers a connection that has begun with this, or with nothing yet.
async fn serve(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    asked: Option<Bytes>,
    site: Option<Site>,
    routes: Router,
    timeout: Duration,
) -> io::Result<()> {
    let begin = Instant::now();
    let stream = TcpStream::from_std(stream)?;
    let ahead = match asked {
        Some(ahead) => ahead,
        None => {
            let first = stream.async_io(Interest::READABLE, || hear(&stream, site.as_ref()));
            match tokio::time::timeout(timeout, first).await?? {
                Heard::Usual(entrance) => return entrance.open(stream.into_std()?),
                Heard::Else(ahead) => ahead,
            }
        }
    };
    let left = timeout.saturating_sub(begin.elapsed());
    let is_hello = secure::is_hello(&ahead);
    let stream = WriteTimeout::new(stream, ahead, timeout);
    match site.and_then(|site| site.tls) {
        Some(_) if !is_hello => secure::refuse(stream, left).await,
        Some(tls) => {
            let stream = tokio::time::timeout(left, tls.acceptor().accept(stream)).await??;
            let left = timeout.saturating_sub(begin.elapsed());
            speak(stream, Peer { address: peer, is_tls: true }, routes, left).await
        }
        None => speak(stream, Peer { address: peer, is_tls: false }, routes, left).await,
    }
}

/// Speaks HTTP. The first request's headers must be there after this time.
async fn speak<S>(stream: S, peer: Peer, routes: Router, timeout: Duration) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .map_err(io::Error::other)
}

/// What a connection has begun with.
enum Heard {
    /// A usual handshake, for which there is room.
    Usual(Entrance),
    /// Something else, which the HTTP layer is to read.
    Else(Bytes),
}

/// The way in of a usual handshake.
struct Entrance {
    usual: Usual,
    answer: String,
    read_ahead: Bytes,
    seat: Seat,
}

/// Reads what has come, once. `WouldBlock` if nothing has.
fn hear(stream: impl AsFd, site: Option<&Site>) -> io::Result<Heard> {
    let mut buffer = [0; USUAL_BYTES];
    let (read, _) = recv(stream, &mut buffer, RecvFlags::empty())?;
    let bytes = buffer.get(..read).unwrap_or_default();
    // With TLS, what is read says nothing yet.
    if let Some(site) = site.filter(|site| site.tls.is_none() && !site.is_draining())
        && let Some(usual) = handshake::read(bytes)
        // Who has to log in is let in by the HTTP layer.
        && let Some(admitted) = site.desk.believe(&usual.user)
        && let Ok(seat) = site.shards.seat(&admitted)
    {
        let answer = usual.answer(&site.log.answered_usual());
        let read_ahead = Bytes::copy_from_slice(bytes.get(usual.head_bytes..).unwrap_or_default());
        return Ok(Heard::Usual(Entrance { usual, answer, read_ahead, seat }));
    }
    Ok(Heard::Else(Bytes::copy_from_slice(bytes)))
}

impl Entrance {
    /// Answers, and hands the connection to its shard.
    fn open(self, stream: std::net::TcpStream) -> io::Result<()> {
        let Self { usual: Usual { user, protocol, .. }, answer, read_ahead, seat: Seat { place, shard } } =
            self;
        // There is room for it: nothing was sent before.
        if send(&stream, answer.as_bytes(), SendFlags::NOSIGNAL)? < answer.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        // Who has to log in does not come this way.
        shard.connect(NewConnection { stream, tls: None, user, protocol, read_ahead, login: None, place });
        Ok(())
    }
}

/// Hands a connection to its shard as soon as the HTTP layer has sent the answer to its handshake.
pub(super) async fn hand_over(
    upgrade: fastwebsockets::upgrade::UpgradeFut,
    user: UserId,
    protocol: Protocol,
    login: Option<Login>,
    seat: Seat,
) {
    let Seat { place, shard } = seat;
    let taken = match upgrade.await {
        Ok(websocket) => take_back(websocket.into_inner().into_inner()),
        Err(error) => return tracing::debug!(%user, %error, "a handshake was not completed"),
    };
    match taken {
        Ok(Taken { stream, tls, read_ahead }) => {
            shard.connect(NewConnection { stream, tls, user, protocol, read_ahead, login, place });
        }
        Err(error) => tracing::warn!(%user, %error, "cannot take over a connection"),
    }
}

/// What is under an upgraded connection, and what was read beyond the request.
struct Taken {
    stream: std::net::TcpStream,
    tls: Option<ServerConnection>,
    read_ahead: Bytes,
}

fn take_back(upgraded: Upgraded) -> io::Result<Taken> {
    let upgraded = match upgraded.downcast::<TokioIo<WriteTimeout>>() {
        Ok(Parts { io, read_buf: read_ahead, .. }) => {
            let (stream, _) = io.into_inner().into_inner();
            return Ok(Taken { stream: stream.into_std()?, tls: None, read_ahead });
        }
        Err(upgraded) => upgraded,
    };
    let Parts { io, read_buf: read_ahead, .. } = upgraded
        .downcast::<TokioIo<TlsStream<WriteTimeout>>>()
        .map_err(|_| io::Error::other("the upgraded connection is not a TCP socket"))?;
    let (stream, mut tls) = io.into_inner().into_inner();
    let (stream, ahead) = stream.into_inner();
    secure::feed(&mut tls, &ahead)?;
    Ok(Taken { stream: stream.into_std()?, tls: Some(tls), read_ahead })
}
