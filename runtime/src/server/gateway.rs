//! From a listening socket to a shard: accepting, HTTP, and the WebSocket handshake.
//!
//! HTTP is spoken on the gateway's thread. After a handshake the plain socket is taken back from the HTTP
//! layer, with what was read ahead, and handed to the shard that its user hashes to.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
    upgrade::Upgraded,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use switchboard_engine::{Protocol, UserId};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot, watch},
};

use super::{
    classic::{Admitted, Peer},
    shard::{Mailbox, NewConnection, Place, Question, ShardDoor},
    write_timeout::WriteTimeout,
};

/// How long accepting rests after an error that another try cannot help, such as too many open files.
const ACCEPT_REST: Duration = Duration::from_millis(100);

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

impl Shards {
    pub(super) const fn new(doors: Vec<ShardDoor>) -> Self {
        Self { doors }
    }

    /// Takes a place on the user's shard.
    pub(super) fn seat(&self, user: &Admitted) -> Result<Seat, Full> {
        // The hash need not resist chosen names: it spreads users over shards, and bounds are per shard.
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(user.user().as_str());
        let count = u64::try_from(self.doors.len()).unwrap_or(1).max(1);
        let index = usize::try_from(hash % count).unwrap_or_default();
        let shard = self.doors.get(index).ok_or(Full)?;
        Ok(Seat { place: shard.place().ok_or(Full)?, shard: shard.mailbox() })
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
pub(super) fn listen(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
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

/// Accepts connections until it is told to stop.
pub(super) async fn accept(
    listener: TcpListener,
    routes: Router,
    handshakes: Handshakes,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = async {
            let place = Arc::clone(&handshakes.places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(stream, peer, routes.clone(), handshakes.timeout);
                let mut stop = stop.clone();
                tokio::spawn(async move {
                    let _place = place;
                    tokio::select! {
                        // Whoever is still at its handshake is not told: it tries again elsewhere.
                        _ = stop.wait_for(|stop| *stop) => {}
                        served = connection => if let Err(error) = served {
                            tracing::debug!(%peer, %error, "a connection ended before it was a WebSocket");
                        },
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: std::net::SocketAddr,
    routes: Router,
    timeout: Duration,
) -> Result<(), hyper::Error> {
    // Small frames leave at once; a failure only makes them slower.
    let _ = stream.set_nodelay(true);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        routes.call(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, timeout)), service)
        .with_upgrades()
        .await
}

/// Hands a connection to its shard as soon as the HTTP layer has sent the answer to its handshake.
pub(super) async fn hand_over(
    upgrade: fastwebsockets::upgrade::UpgradeFut,
    user: UserId,
    protocol: Protocol,
    seat: Seat,
) {
    let Seat { place, shard } = seat;
    let taken = match upgrade.await {
        Ok(websocket) => take_back(websocket.into_inner().into_inner()),
        Err(error) => return tracing::debug!(%user, %error, "a handshake was not completed"),
    };
    match taken {
        Ok((stream, read_ahead)) => {
            shard.connect(NewConnection { stream, user, protocol, read_ahead, place });
        }
        Err(error) => tracing::warn!(%user, %error, "cannot take over a connection"),
    }
}

/// The plain socket under an upgraded connection, and what was read beyond the request.
fn take_back(upgraded: Upgraded) -> io::Result<(std::net::TcpStream, Bytes)> {
    let parts = upgraded
        .downcast::<TokioIo<WriteTimeout>>()
        .map_err(|_| io::Error::other("the upgraded connection is not a TCP socket"))?;
    Ok((parts.io.into_inner().into_inner().into_std()?, parts.read_buf))
}
