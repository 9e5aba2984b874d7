//! The running server: its threads, from start to stop.
//!
//! | thread | does |
//! | --- | --- |
//! | the caller's | accepts, speaks HTTP, watches the others |
//! | `shard-N` | the connections, timers and engine of one shard |
//! | `store` | the database |
//! | `media` | the files |

pub mod bus;
mod doorbell;
mod gateway;
mod handshake;
mod http;
mod shard;
mod write_timeout;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use switchboard_engine as engine;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use self::{
    bus::Bus,
    gateway::{Handshakes, Shards},
    http::Site,
    shard::{Mailbox, Reception, ShardParts, ShardThread},
};
use crate::{
    clock::Clock,
    config::{AuthMode, Config},
    media::{MediaOptions, MediaStore},
    store::{Completions, DataFolder, OpenError, Store, StoreOptions},
};

/// Why a server could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store could not be opened.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: check that no other program uses the port and that this one may")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused something that a server needs.
    #[error("cannot {doing}")]
    System {
        /// What it was needed for.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A shard ended although nobody asked for it: a bug. What was stored is safe.
    #[error("shard {shard} has failed; the log above says why")]
    ShardFailed {
        /// Which.
        shard: usize,
    },
}

/// Asks a server to stop.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<watch::Sender<bool>>);

impl StopHandle {
    /// Stops accepting, tells the clients, finishes what was accepted, and ends [`Server::run`], at the
    /// latest after the configured time-out.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    site: Site,
    shutdown_timeout: Duration,
    store: Store,
    media: MediaStore,
    shards: Vec<ShardThread>,
    ended: mpsc::Receiver<usize>,
    stop: Arc<watch::Sender<bool>>,
}

impl Server {
    /// Opens the store, starts the shards and listens. To be called on a tokio runtime with IO and time;
    /// connections are taken once [`Server::run`] is.
    ///
    /// # Errors
    /// If the store cannot be opened, the address not be listened on, or a thread not be started.
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        let folder = DataFolder::lock(&config.data)?;
        let address = config.listen;
        let listener = gateway::listen(address)
            .and_then(TcpListener::from_std)
            .map_err(|source| ServerError::Listen { address, source })?;
        let count = usize::from(config.shards.max(1));
        let receptions: Vec<Reception> = (0..count)
            .map(|_| Reception::new())
            .collect::<io::Result<_>>()
            .map_err(|source| ServerError::System { doing: "have a shard wait for sockets", source })?;
        let mailboxes: Vec<_> = receptions.iter().map(|reception| Arc::clone(&reception.mailbox)).collect();
        let store = Store::open(&folder, &store_options(config, count), count, sink(&mailboxes))?;
        let media = MediaStore::open(&folder, &media_options(config, count), count, sink(&mailboxes))?;
        let bells = mailboxes.iter().map(|mailbox| Some(Arc::clone(mailbox.bell())));
        let (bus, inboxes) = Bus::with_bells(bells, to_usize(config.bus.queue_records));
        let (bus, clock) = (Arc::new(bus), Clock::start());
        let (ended_sender, ended) = mpsc::channel(count);
        let (mut doors, mut shards) = (Vec::new(), Vec::new());
        for (index, (reception, inbox)) in receptions.into_iter().zip(inboxes).enumerate() {
            let parts = ShardParts {
                index,
                config: config.engine(),
                receive_budget_bytes: usize::try_from(config.limits.receive_budget_bytes)
                    .unwrap_or(usize::MAX),
                write_delay: Duration::from_millis(config.write_delay_ms.into()),
                clock,
                store: store.handle(),
                media: media.handle(),
                bus: Arc::clone(&bus),
            };
            let (door, thread) = shard::start(parts, reception, inbox, ended_sender.clone())
                .map_err(|source| ServerError::System { doing: "start a shard's thread", source })?;
            doors.push(door);
            shards.push(thread);
        }
        let handshakes = Handshakes::new(
            Duration::from_millis(config.handshake.timeout_ms),
            to_usize(config.handshake.concurrent),
        );
        let site = Site {
            handshakes,
            shards: Arc::new(Shards::new(doors)),
            store: store.health(),
            media: media.health(),
        };
        let shutdown_timeout = Duration::from_millis(config.shutdown_timeout_ms);
        let stop = Arc::new(watch::Sender::new(false));
        Ok(Self { listener, site, shutdown_timeout, store, media, shards, ended, stop })
    }

    /// The address that is listened on, with the port that the system chose if that was left to it.
    ///
    /// # Errors
    /// If the system does not know it.
    pub fn local_addr(&self) -> Result<SocketAddr, ServerError> {
        let failed = |source| ServerError::System { doing: "find out the own address", source };
        self.listener.local_addr().map_err(failed)
    }

    /// A way to stop the server from elsewhere.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.stop))
    }

    /// Serves until it is stopped, or a part fails.
    ///
    /// # Errors
    /// If a shard failed. The others are stopped in order all the same.
    pub async fn run(self) -> Result<(), ServerError> {
        let Self { listener, site, shutdown_timeout, store, media, shards, mut ended, stop } = self;
        let mut failed = None;
        tokio::select! {
            () = gateway::accept(listener, site, stop.subscribe()) => {}
            shard = ended.recv() => failed = shard,
        }
        stop.send_replace(true);
        shards.iter().for_each(ShardThread::stop);
        let mut running = shards.len() - usize::from(failed.is_some());
        let all_ended = async {
            while running > 0 && ended.recv().await.is_some() {
                running -= 1;
            }
        };
        let in_time = tokio::time::timeout(shutdown_timeout, all_ended).await.is_ok();
        if in_time {
            for (shard, thread) in shards.into_iter().enumerate() {
                if !thread.ended_well() {
                    failed = Some(shard);
                }
            }
        } else {
            tracing::warn!("not all connections could be closed in time; the rest is cut off");
        }
        // What the shards have asked for is done before the end, also for those that were cut off.
        let stores = tokio::task::spawn_blocking(move || {
            media.stop();
            store.stop();
        });
        if stores.await.is_err() {
            tracing::error!("the stores did not stop in order");
        }
        failed.map_or(Ok(()), |shard| Err(ServerError::ShardFailed { shard }))
    }
}

/// The way from a store to the shards. What is on it is bounded by what the engines have outstanding.
fn sink(mailboxes: &[Arc<Mailbox>]) -> Box<dyn Completions> {
    let mailboxes = mailboxes.to_vec();
    Box::new(move |shard: usize, event| {
        // A shard that has ended waits for nothing.
        if let Some(mailbox) = mailboxes.get(shard) {
            mailbox.store_event(event);
        }
    })
}

/// Queues that hold whatever the engines may have outstanding: messages, files, and a profile per connection.
fn store_options(config: &Config, shards: usize) -> StoreOptions {
    let engine::Limits { pending, pending_bytes, connections, .. } = config.engine().limits;
    let requests = to_usize(pending).saturating_add(to_usize(connections)).saturating_mul(shards);
    StoreOptions {
        provision: match config.auth {
            AuthMode::Open => true,
        },
        max_database_bytes: Some(config.store.max_database_bytes).filter(|bytes| *bytes > 0),
        queue_requests: requests,
        queue_bytes: queue_bytes(requests, pending_bytes, shards),
        batch_requests: to_usize(config.store.batch_messages),
        commit_interval: Duration::from_micros(config.store.commit_interval_us.into()),
        batch_bytes: usize::try_from(config.store.batch_bytes).unwrap_or(usize::MAX),
        ..StoreOptions::default()
    }
}

fn media_options(config: &Config, shards: usize) -> MediaOptions {
    let engine::Limits { pending, pending_bytes, .. } = config.engine().limits;
    let requests = to_usize(pending).saturating_mul(shards);
    MediaOptions { queue_requests: requests, queue_bytes: queue_bytes(requests, pending_bytes, shards) }
}

/// Bytes for so many requests, each with some bookkeeping beside what the engines count.
fn queue_bytes(requests: usize, pending_bytes: u64, shards: usize) -> usize {
    const BOOKKEEPING_BYTES: usize = 256;
    let contents = usize::try_from(pending_bytes).unwrap_or(usize::MAX).saturating_mul(shards);
    contents.saturating_add(requests.saturating_mul(BOOKKEEPING_BYTES))
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
