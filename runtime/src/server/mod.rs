//! The running server: its threads, from start to stop.
//!
//! | thread | does |
//! | --- | --- |
//! | the caller's | accepts, speaks HTTP, watches the others |
//! | `shard-N` | the connections, timers and engine of one shard |
//! | `store` | the database |
//! | `media` | the files |
//! | `logins` | looks which logins have ended |
//! | `people-N` | users, groups and histories, for HTTP calls |
//! | `passwords-N` | hashes of passwords |
//! | `OpenTelemetry...` | sends traces, if they are asked for |

mod access;
pub(crate) mod api;
mod authority;
pub mod bus;
mod classic;
mod courier;
mod doorbell;
mod download;
mod error;
pub mod form;
mod front_end;
mod gateway;
pub mod handshake;
mod http;
mod login_watch;
mod metrics;
mod operators;
mod options;
pub mod query;
mod request_log;
mod secure;
mod shard;
mod upload;
mod write_timeout;

use std::{
    convert::Infallible,
    future::pending,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub use crate::recorder::RecorderError;
pub use front_end::FrontEndError;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use self::{
    access::Desk,
    bus::Bus,
    courier::Courier,
    front_end::FrontEnd,
    gateway::{Handshakes, Shards},
    http::Site,
    login_watch::LoginWatch,
    metrics::{Metrics, Requests},
    options::to_usize,
    request_log::RequestLog,
    shard::{Mailbox, Reception, ShardParts, ShardThread},
};
pub use self::{
    authority::{Authority, AuthorityError, NOTICE_BYTES, RecordingError},
    error::ServerError,
};
use crate::{
    accounts::Accounts,
    clock::Clock,
    config::{Config, is_loopback},
    histogram::Histogram,
    media::MediaStore,
    recorder::Recorder,
    store::{Completions, DataFolder, Store},
    telemetry::Telemetry,
    tls::{ServerTls, TlsError},
};

/// Connections at once on the address for figures: a few tools ask there.
const OPERATORS: usize = 32;

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

/// Has a server read its certificate again.
#[derive(Clone, Debug)]
pub struct ReloadHandle(Option<ServerTls>);

impl ReloadHandle {
    /// Who connects from now on is shown the certificate that is in the configured files; `false` if the server speaks no TLS.
    ///
    /// # Errors
    /// If it cannot be used: then the one before is shown on.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.0.as_ref().map_or(Ok(false), |tls| tls.reload().map(|()| true))
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    /// The address for figures, if it is another one.
    operators: Option<TcpListener>,
    site: Site,
    handshakes: Handshakes,
    handshake_timeout: Duration,
    life: Life,
}

impl Server {
    /// Opens the store, starts the shards and listens. To be called on a tokio runtime with IO and time;
    /// connections are taken once [`Server::run`] is.
    ///
    /// # Errors
    /// If the store cannot be opened, the address not be listened on, or a thread not be started.
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        let began = Instant::now();
        let telemetry = Telemetry::start(&config.telemetry)?;
        let tls = config.tls().map(ServerTls::start).transpose()?;
        let front_end = FrontEnd::open(&config.front_end)?;
        let folder = DataFolder::lock(&config.data)?;
        let listener = listen(config.listen)?;
        let operators = config.metrics_listen.map(listen).transpose()?;
        let count = usize::from(config.shards.max(1));
        let receptions: Vec<Reception> = (0..count)
            .map(|_| Reception::new())
            .collect::<io::Result<_>>()
            .map_err(|source| ServerError::System { doing: "have a shard wait for sockets", source })?;
        let mailboxes: Vec<_> = receptions.iter().map(|reception| Arc::clone(&reception.mailbox)).collect();
        let store = Store::open(&folder, &options::store_options(config, count), count, sink(&mailboxes))?;
        if let Some(telemetry) = &telemetry {
            store.trace(telemetry.clone());
        }
        let media =
            MediaStore::open(&folder, &options::media_options(config, count)?, count, sink(&mailboxes))?;
        let accounts = Arc::new(Accounts::start(&store, &config.accounts, &config.tokens)?);
        let bells = mailboxes.iter().map(|mailbox| Some(Arc::clone(mailbox.bell())));
        let (bus, inboxes) = Bus::with_bells(bells, to_usize(config.bus.queue_records));
        let (bus, clock) = (Arc::new(bus), Clock::start());
        let recorder =
            options::recorder(&config.record)?.map(|options| Recorder::start(&options, count)).transpose()?;
        let (ended_sender, ended) = mpsc::channel(count);
        let (mut doors, mut shards, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (reception, inbox)) in receptions.into_iter().zip(inboxes).enumerate() {
            let latency = Arc::new(Histogram::of_times());
            latencies.push(Arc::clone(&latency));
            let parts = ShardParts {
                index,
                shards: count,
                recorder: recorder.as_ref().map(Recorder::desk),
                config: config.engine(),
                receive_budget_bytes: usize::try_from(config.limits.receive_budget_bytes)
                    .unwrap_or(usize::MAX),
                write_delay: Duration::from_millis(config.write_delay_ms.into()),
                clock,
                store: store.handle(),
                media: media.handle(),
                bus: Arc::clone(&bus),
                latency,
            };
            let (door, thread) = shard::start(parts, reception, inbox, ended_sender.clone())
                .map_err(|source| ServerError::System { doing: "start a shard's thread", source })?;
            doors.push(door);
            shards.push(thread);
        }
        let handshake_timeout = Duration::from_millis(config.handshake.timeout_ms);
        let handshakes = Handshakes::new(handshake_timeout, to_usize(config.handshake.concurrent));
        let (doors, requests) = (Arc::new(Shards::new(doors)), Arc::<Requests>::default());
        let authority = Authority::new(Arc::clone(&doors), recorder.as_ref().map(Recorder::desk));
        let logins = LoginWatch::start(store.directory()?, authority.clone())?;
        let (stop, drain) = (Arc::new(watch::Sender::new(false)), watch::Sender::new(false));
        let courier = Courier::new(Arc::clone(&doors));
        let desk = Desk::new(config, Arc::clone(&accounts), media.files(), authority, courier);
        let log = Arc::new(RequestLog::new(Arc::clone(&requests), desk.proxies(), telemetry.clone()));
        let site = Site {
            handshakes: handshakes.clone(),
            shards: Arc::clone(&doors),
            store: store.health(),
            media: media.health(),
            front_end,
            tls,
            desk,
            shows_metrics: operators.is_none() && is_loopback(config.listen),
            log,
            stop: stop.subscribe(),
            drain: drain.subscribe(),
            metrics: Arc::new(Metrics {
                shards: doors,
                latencies,
                stores: store.parts().into_iter().chain([media.part()]).collect(),
                bus,
                recorder: recorder.as_ref().map(Recorder::desk),
                handshakes: handshakes.clone(),
                requests,
                telemetry: telemetry.clone(),
                data: config.data.clone(),
                turn: tokio::sync::Mutex::default(),
            }),
        };
        if let Some(telemetry) = &telemetry {
            telemetry.phase("start", began.elapsed(), true);
        }
        Ok(Self {
            listener,
            operators,
            site,
            handshakes,
            handshake_timeout,
            life: Life {
                shutdown_notice: Duration::from_millis(config.shutdown_notice_ms),
                shutdown_timeout: Duration::from_millis(config.shutdown_timeout_ms),
                store,
                media,
                accounts,
                logins,
                shards,
                recorder,
                ended,
                stop,
                drain,
                telemetry,
            },
        })
    }

    /// The address that is listened on, with the port that the system chose if that was left to it.
    ///
    /// # Errors
    /// If the system does not know it.
    pub fn local_addr(&self) -> Result<SocketAddr, ServerError> {
        self.listener.local_addr().map_err(unknown_address)
    }

    /// The address that figures are served on, if it is another one.
    ///
    /// # Errors
    /// If the system does not know it.
    pub fn metrics_addr(&self) -> Result<Option<SocketAddr>, ServerError> {
        self.operators.as_ref().map(|listener| listener.local_addr().map_err(unknown_address)).transpose()
    }

    /// What those who run the server can do to it while it runs.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.site.desk.authority.clone()
    }

    /// A way to stop the server from elsewhere.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.life.stop))
    }

    /// A way to have the certificate read again.
    #[must_use]
    pub fn reload_handle(&self) -> ReloadHandle {
        ReloadHandle(self.site.tls.clone())
    }

    /// Serves until it is stopped, or a part fails.
    ///
    /// # Errors
    /// If a shard failed. The others are stopped in order all the same.
    pub async fn run(self) -> Result<(), ServerError> {
        let Self { listener, operators, site, handshakes, handshake_timeout, life } = self;
        let over = watch::Sender::new(false);
        // It is told until the end that the server stops: who asks over HTTP is answered.
        let own = Handshakes::new(handshake_timeout, OPERATORS);
        let for_operators = async {
            if let Some(listener) = operators {
                gateway::accept(listener, None, operators::routes(site.clone()), own, over.subscribe()).await;
            }
        };
        let routes = http::routes(site.clone());
        let for_all = gateway::accept(listener, Some(site.clone()), routes, handshakes, over.subscribe());
        let serving = async {
            tokio::join!(for_all, for_operators);
            pending::<Infallible>().await
        };
        let result = tokio::select! {
            result = life.live() => result,
            never = serving => match never {},
        };
        over.send_replace(true);
        result
    }
}

/// What a server is beside what it serves on its addresses.
#[derive(Debug)]
struct Life {
    shutdown_notice: Duration,
    shutdown_timeout: Duration,
    store: Store,
    media: MediaStore,
    accounts: Arc<Accounts>,
    logins: LoginWatch,
    shards: Vec<ShardThread>,
    recorder: Option<Recorder>,
    ended: mpsc::Receiver<usize>,
    stop: Arc<watch::Sender<bool>>,
    drain: watch::Sender<bool>,
    telemetry: Option<Telemetry>,
}

impl Life {
    /// Waits until the server is to stop or a part fails, and stops all parts in order.
    async fn live(self) -> Result<(), ServerError> {
        let Self {
            shutdown_notice,
            shutdown_timeout,
            store,
            media,
            accounts,
            mut logins,
            shards,
            recorder,
            mut ended,
            stop,
            drain,
            telemetry,
        } = self;
        let mut asked = stop.subscribe();
        let noticed = async {
            // The sender is here, so the wait ends with the signal.
            let _ = asked.wait_for(|stop| *stop).await;
            tokio::time::sleep(shutdown_notice).await;
        };
        let mut failed = None;
        tokio::select! {
            () = noticed => {}
            shard = ended.recv() => failed = shard,
        }
        let began = Instant::now();
        stop.send_replace(true);
        drain.send_replace(true);
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
        let is_well = in_time && failed.is_none();
        // What the shards have asked for is done before the end, also for those that were cut off.
        let stores = tokio::task::spawn_blocking(move || {
            // The directory first: the write-ahead log cannot be taken away while others have the database open.
            logins.stop();
            accounts.stop();
            media.stop();
            store.stop();
            if let Some(recorder) = recorder {
                recorder.stop();
            }
            // Last, so that what the others have done at the end is told, too.
            if let Some(telemetry) = telemetry {
                telemetry.phase("stop", began.elapsed(), is_well);
                telemetry.stop();
            }
        });
        if stores.await.is_err() {
            tracing::error!("the stores did not stop in order");
        }
        failed.map_or(Ok(()), |shard| Err(ServerError::ShardFailed { shard }))
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    gateway::listen(address)
        .and_then(TcpListener::from_std)
        .map_err(|source| ServerError::Listen { address, source })
}

/// Whether there is a front-end where one is said to be.
pub(crate) fn check_front_end(config: &Config) -> Result<(), FrontEndError> {
    FrontEnd::open(&config.front_end).map(drop)
}

/// Whether an address can be listened on.
pub(crate) fn can_listen(address: SocketAddr) -> io::Result<()> {
    gateway::listen(address).map(drop)
}

fn unknown_address(source: io::Error) -> ServerError {
    ServerError::System { doing: "find out the own address", source }
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
