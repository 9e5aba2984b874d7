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
pub mod form;
mod front_end;
mod gateway;
pub mod handshake;
mod http;
mod login_watch;
mod metrics;
mod operators;
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
use switchboard_engine as engine;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

pub use self::authority::{Authority, AuthorityError, NOTICE_BYTES, RecordingError};
use self::{
    access::Desk,
    bus::Bus,
    courier::Courier,
    front_end::FrontEnd,
    gateway::{Handshakes, Shards},
    http::Site,
    login_watch::{LoginWatch, LoginWatchError},
    metrics::{Metrics, Requests},
    request_log::RequestLog,
    shard::{Mailbox, Reception, ShardParts, ShardThread},
};
use crate::{
    accounts::{Accounts, StartError},
    clock::Clock,
    config::{AuthMode, Config, Record, RecordMode, Redact, is_loopback},
    histogram::Histogram,
    media::{MediaOpenError, MediaOptions, MediaStore},
    recorder::{Recorder, RecorderOptions},
    store::{Completions, DataFolder, OpenError, Store, StoreOptions},
    telemetry::Telemetry,
    tls::{ServerTls, TlsError},
    tokens::KeyFileError,
};

/// Why a server could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store could not be opened.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// The files' store could not be opened.
    #[error("cannot open the store of the files")]
    Media(#[from] MediaOpenError),
    /// The keys of signed tokens cannot be used.
    #[error("cannot read the keys of tokens")]
    Keys(#[from] KeyFileError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: check that no other program uses the port and that this one may")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot speak TLS (tls_cert, tls_key)")]
    Tls(#[from] TlsError),
    /// There is no front-end where one is said to be.
    #[error("cannot serve a front-end (static)")]
    FrontEnd(#[from] FrontEndError),
    /// Recordings cannot be written where they are to be.
    #[error("cannot record (record.folder)")]
    Record(#[from] RecorderError),
    /// The system refused something that a server needs.
    #[error("cannot {doing}")]
    System {
        /// What it was needed for.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Traces cannot be sent as the standard variables of OpenTelemetry say.
    #[error("cannot send traces as the variables OTEL_EXPORTER_OTLP_... say")]
    Telemetry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A shard ended although nobody asked for it: a bug. What was stored is safe.
    #[error("shard {shard} has failed; the log above says why")]
    ShardFailed {
        /// Which.
        shard: usize,
    },
}

impl From<opentelemetry_otlp::ExporterBuildError> for ServerError {
    fn from(error: opentelemetry_otlp::ExporterBuildError) -> Self {
        Self::Telemetry(error.into())
    }
}

impl From<LoginWatchError> for ServerError {
    fn from(error: LoginWatchError) -> Self {
        let doing = "look which logins have ended";
        match error {
            LoginWatchError::Directory(error) => Self::System { doing, source: io::Error::other(error) },
            LoginWatchError::Thread(source) => Self::System { doing, source },
        }
    }
}

impl From<StartError> for ServerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Open(error) => Self::Store(error),
            StartError::Keys(error) => Self::Keys(error),
            StartError::Thread(source) => {
                Self::System { doing: "start the threads for users and passwords", source }
            }
        }
    }
}

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
        let store = Store::open(&folder, &store_options(config, count), count, sink(&mailboxes))?;
        if let Some(telemetry) = &telemetry {
            store.trace(telemetry.clone());
        }
        let media = MediaStore::open(&folder, &media_options(config, count)?, count, sink(&mailboxes))?;
        let accounts = Arc::new(Accounts::start(&store, &config.accounts, &config.tokens)?);
        let bells = mailboxes.iter().map(|mailbox| Some(Arc::clone(mailbox.bell())));
        let (bus, inboxes) = Bus::with_bells(bells, to_usize(config.bus.queue_records));
        let (bus, clock) = (Arc::new(bus), Clock::start());
        let recorder =
            recorder(&config.record)?.map(|options| Recorder::start(&options, count)).transpose()?;
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

/// What is to be recorded, and where.
fn recorder(record: &Record) -> Result<Option<RecorderOptions>, ServerError> {
    let Record { folder, mode, redact, file_bytes, total_bytes, memory_bytes } = record;
    let Some(folder) = folder.clone() else { return Ok(None) };
    let random = || {
        let wrong = |source: getrandom::Error| ServerError::System {
            doing: "have a key for stand-ins",
            source: io::Error::other(source.to_string()),
        };
        getrandom::u64().map_err(wrong)
    };
    Ok(Some(RecorderOptions {
        folder,
        file_bytes: *file_bytes,
        total_bytes: *total_bytes,
        in_memory: match mode {
            RecordMode::Always => None,
            RecordMode::OnDemand => Some(*memory_bytes),
        },
        redact: match redact {
            Redact::On => Some([random()?, random()?]),
            Redact::Off => None,
        },
    }))
}

/// Queues that hold whatever the engines may have outstanding: messages, files, and a profile per connection.
fn store_options(config: &Config, shards: usize) -> StoreOptions {
    let engine::Limits { pending, pending_bytes, connections, .. } = config.engine().limits;
    let requests = to_usize(pending).saturating_add(to_usize(connections)).saturating_mul(shards);
    StoreOptions {
        provision: match config.auth {
            AuthMode::Open => true,
            // Who is written to must have registered.
            AuthMode::Password => false,
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

fn media_options(config: &Config, shards: usize) -> Result<MediaOptions, MediaOpenError> {
    let engine::Limits { pending, pending_bytes, .. } = config.engine().limits;
    let requests = to_usize(pending).saturating_mul(shards);
    Ok(MediaOptions {
        queue_requests: requests,
        queue_bytes: queue_bytes(requests, pending_bytes, shards),
        bucket: config.media.bucket()?,
        user_bytes: config.media.user_bytes,
        unused: Duration::from_secs(u64::from(config.media.unused_minutes) * 60),
    })
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
