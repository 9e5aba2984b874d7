//! Pairs of clients that send to each other.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::connection::{Arrived, Connection};
use crate::fleet::Fleet;
use crate::report::{latency_row, row, shortfall_rows};
use crate::under_way::UnderWay;
use crate::{BenchError, Latency, Process, Progress, Protocol, Target, Usage, Used, wire};

/// How long messages that are under way at the end are waited for.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Frames that one write carries at the most; enough to make its cost for each of them small.
const FRAMES_PER_WRITE: usize = 64;

/// How often an open loop looks whether a message is due.
const TICK: Duration = Duration::from_micros(100);

/// Messages that an open loop queues before it looks at the sockets and the clock again.
const DUE_AT_ONCE: u64 = 10_000;

/// Messages that an open loop may have to remember at once; each takes 16 bytes.
const OPEN_LOOP_LIMIT: u64 = 100_000_000;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `contentType` 7, a call's signal: relayed, never stored.
    Relay,
    /// `contentType` 1 from one user to another: stored, delivered after the commit.
    Stored,
    /// A `Submit` of the session protocol: stored, acknowledged to its sender and delivered after the commit.
    Session,
}

impl Kind {
    /// What its clients speak.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Relay | Self::Stored => Protocol::Classic,
            Self::Session => Protocol::Session,
        }
    }
}

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectOptions {
    /// What is sent.
    pub kind: Kind,
    /// Clients; even, each sends to its neighbour.
    pub clients: usize,
    /// Messages that each client keeps under way; without meaning when `rate_per_second` is set.
    pub in_flight: usize,
    /// Messages per second of all clients together, sent when they are due, whatever has been delivered.
    pub rate_per_second: Option<u64>,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// Time that clients may take to be connected and welcomed; without those who are not, the run goes on.
    #[serde(rename = "connect_seconds", serialize_with = "as_seconds")]
    pub connect_limit: Duration,
    /// Time that is not measured at first.
    #[serde(rename = "warmup_seconds", serialize_with = "as_seconds")]
    pub warmup: Duration,
    /// Time that is measured.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub duration: Duration,
}

pub(crate) fn as_seconds<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Default for DirectOptions {
    fn default() -> Self {
        Self {
            kind: Kind::Relay,
            clients: 200,
            in_flight: 16,
            rate_per_second: None,
            payload_bytes: 128,
            connect_limit: Duration::from_secs(30),
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(5),
        }
    }
}

impl DirectOptions {
    fn validate(&self) -> Result<(), BenchError> {
        let window = self.warmup.saturating_add(self.duration).as_secs();
        let due = self.rate_per_second.unwrap_or(1).saturating_mul(window);
        let rules = [
            ("--clients", "even and at least 2", self.clients >= 2 && self.clients.is_multiple_of(2)),
            ("--in-flight", "between 1 and 10000", (1..=10_000).contains(&self.in_flight)),
            ("--seconds", "above 0 and at most 3600", {
                !self.duration.is_zero() && self.duration <= Duration::from_secs(3600)
            }),
            ("--warmup-seconds", "at most 3600", self.warmup <= Duration::from_secs(3600)),
            ("--connect-seconds", "at most 3600", self.connect_limit <= Duration::from_secs(3600)),
            ("--rate", "at least 1", self.rate_per_second != Some(0)),
            ("--rate", "lower: at most 100 million messages in all", due <= OPEN_LOOP_LIMIT),
            ("--payload-bytes", "at most 1048576", self.payload_bytes <= 1 << 20),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((option, rule, _)) => Err(BenchError::Option { option, rule }),
            None => Ok(()),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirectReport {
    /// What was asked for.
    pub options: DirectOptions,
    /// Clients that took part.
    pub clients_ready: usize,
    /// The time measured.
    pub measured_seconds: f64,
    /// Messages delivered in that time.
    pub delivered: u64,
    /// The same per second.
    pub delivered_per_second: f64,
    /// Messages sent, warm-up included, that had not come when the run ended.
    pub undelivered: u64,
    /// Messages that came and were not sent.
    pub unexpected: u64,
    /// From sending (closed loop), or from when a message was due (open loop: a generator or server that falls
    /// behind does not hide it), until it was read.
    pub latency: Latency,
    /// Of a session's messages: what came back to their senders.
    pub acknowledged: Option<Acknowledged>,
    /// What the server used in the measured time, if its process is known.
    pub server: Option<Used>,
    /// CPU time of the server for each delivered message, in microseconds.
    pub server_cpu_us_per_message: Option<f64>,
    /// What this generator used.
    pub generator: Used,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// What the senders of a session's messages were told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Acknowledged {
    /// `Accepted` in the measured time.
    pub accepted: u64,
    /// `Rejected`, warm-up included.
    pub rejected: u64,
    /// Messages sent, warm-up included, of which nothing was heard until the run ended.
    pub unanswered: u64,
    /// Until the `Accepted` was read, as for the deliveries.
    pub latency: Latency,
}

/// Runs the load, and ends by itself: connecting has its limit, waiting for the last messages takes at most 3 s.
///
/// # Errors
/// Wrong options, or no client could connect. All else that goes wrong is in the report's `shortfalls`.
pub fn run(
    options: &DirectOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<DirectReport, BenchError> {
    options.validate()?;
    let mut fleet = Fleet::open(
        target.address,
        options.kind.protocol(),
        options.clients,
        options.connect_limit,
        progress,
    )?;
    let mut load = Load::new(options, &mut fleet);
    if load.senders.is_empty() {
        let why = "no two neighbours are connected".to_owned();
        return Err(BenchError::NobodyConnected {
            target: target.address,
            seconds: options.connect_limit.as_secs(),
            why,
        });
    }
    if options.rate_per_second.is_some() {
        fleet.tick_every(TICK)?;
    }
    let generator = Process::this()?;
    let window = load.drive(&mut fleet, target, &generator, progress)?;
    progress.clear();
    Ok(load.report(&fleet, &window))
}

/// CPU time and memory at the two ends of the measured time.
struct Window {
    from: Moment,
    to: Moment,
}

#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    server: Option<Usage>,
    generator: Usage,
}

impl Moment {
    fn now(target: &Target, generator: &Process) -> Result<Self, BenchError> {
        // A server that has ended has no usage; that it ended is in the report.
        let server = target.process.as_ref().and_then(|process| process.usage().ok());
        Ok(Self { at: Instant::now(), server, generator: generator.usage()? })
    }
}

/// Messages under way.
struct Load<'a> {
    options: &'a DirectOptions,
    /// Numbers of the clients that send: both of a pair are connected.
    senders: Vec<usize>,
    /// Messages that have not come to their recipients.
    under_way: UnderWay,
    /// Messages of which their senders have not heard; only a session's are answered.
    unanswered: UnderWay,
    rejected: u64,
    /// Messages that an open loop has sent.
    due: u64,
    /// Messages that an open loop should have sent besides, when it last looked.
    behind: u64,
    measuring: bool,
    unexpected: u64,
}

impl<'a> Load<'a> {
    fn new(options: &'a DirectOptions, fleet: &mut Fleet) -> Self {
        let both = |client: &usize| fleet.is_ready(*client) && fleet.is_ready(partner(*client));
        let senders: Vec<usize> = (0..options.clients).filter(both).collect();
        for &client in &senders {
            if let Some(connection) = fleet.connection(client) {
                prepare(connection, options, client);
            }
        }
        Self {
            options,
            senders,
            under_way: UnderWay::new(options.clients),
            unanswered: UnderWay::new(options.clients),
            rejected: 0,
            due: 0,
            behind: 0,
            measuring: false,
            unexpected: 0,
        }
    }

    fn drive(
        &mut self,
        fleet: &mut Fleet,
        target: &Target,
        generator: &Process,
        progress: &mut Progress,
    ) -> Result<Window, BenchError> {
        let start = Instant::now();
        let from = start + self.options.warmup;
        if self.options.rate_per_second.is_none() {
            for client in self.senders.clone() {
                self.send(fleet, client, self.options.in_flight, start);
            }
        }
        self.until(fleet, from, start, progress)?;
        let from = Moment::now(target, generator)?;
        self.measuring = true;
        self.until(fleet, from.at + self.options.duration, start, progress)?;
        self.measuring = false;
        let to = Moment::now(target, generator)?;
        let deadline = to.at + DRAIN_LIMIT;
        while self.outstanding() > 0 && fleet.ready() > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let arrivals = turn(fleet, left)?;
            for (client, arrived, at) in arrivals {
                self.arrived(client, arrived, at);
            }
            progress.show(|| format!("waiting for {} messages", self.outstanding()));
        }
        Ok(Window { from, to })
    }

    /// Keeps the load up until `end`. An open loop's messages are due from `start` on.
    fn until(
        &mut self,
        fleet: &mut Fleet,
        end: Instant,
        start: Instant,
        progress: &mut Progress,
    ) -> Result<(), BenchError> {
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if let Some(rate) = self.options.rate_per_second {
                self.send_due(fleet, rate, start, now);
            }
            let arrivals = turn(fleet, end - now)?;
            for (client, arrived, at) in arrivals {
                let expected = self.arrived(client, arrived, at);
                if self.options.rate_per_second.is_none() {
                    self.send(fleet, partner(client), expected, Instant::now());
                }
            }
            progress.show(|| {
                let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
                let what = if self.measuring { "measuring" } else { "warming up" };
                format!("{what}: {left:.1} s left, {} delivered", self.under_way.measured)
            });
        }
    }

    /// Sends what is due since the last time; each message counts from when it was due, not from now.
    fn send_due(&mut self, fleet: &mut Fleet, rate: u64, start: Instant, now: Instant) {
        let elapsed_ns = (now - start).as_nanos();
        let due = u64::try_from(elapsed_ns * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX);
        let senders = u64::try_from(self.senders.len()).unwrap_or(u64::MAX);
        // A rate beyond what this machine can do must not keep the loop from its end.
        let stop = due.min(self.due.saturating_add(DUE_AT_ONCE));
        let mut touched = Vec::new();
        while self.due < stop {
            let turn = usize::try_from(self.due % senders).unwrap_or_default();
            let nth = u128::from(self.due) * 1_000_000_000 / u128::from(rate);
            let at = start + Duration::from_nanos(u64::try_from(nth).unwrap_or(u64::MAX));
            self.due += 1;
            let Some(&client) = self.senders.get(turn) else { continue };
            self.queue(fleet, client, 1, at);
            // They take turns: after one round, all are in.
            if touched.len() < self.senders.len() {
                touched.push(client);
            }
        }
        self.behind = due - self.due;
        for client in touched {
            if let Some(connection) = fleet.connection(client) {
                connection.flush();
            }
        }
    }

    fn send(&mut self, fleet: &mut Fleet, client: usize, count: usize, at: Instant) {
        self.queue(fleet, client, count, at);
        if let Some(connection) = fleet.connection(client) {
            connection.flush();
        }
    }

    fn queue(&mut self, fleet: &mut Fleet, client: usize, count: usize, at: Instant) {
        let Some(connection) = fleet.connection(client) else { return };
        connection.send(count);
        self.under_way.sent(client, count, at);
        match self.options.kind.protocol() {
            Protocol::Session => self.unanswered.sent(client, count, at),
            Protocol::Classic => {}
        }
    }

    /// Takes in that a client got messages, and gives how many of them its partner had sent.
    fn arrived(&mut self, client: usize, arrived: Arrived, at: Instant) -> usize {
        let Arrived { messages, accepted, rejected } = arrived;
        let delivered = self.under_way.arrived(partner(client), messages, at, self.measuring);
        let answered = self.unanswered.arrived(client, accepted, at, self.measuring);
        // A rejected message is answered, and was not delayed.
        self.unanswered.arrived(client, rejected, at, false);
        let unexpected = messages - delivered + accepted - answered;
        self.unexpected += u64::try_from(unexpected).unwrap_or_default();
        self.rejected += u64::try_from(rejected).unwrap_or_default();
        delivered
    }

    fn outstanding(&self) -> u64 {
        self.under_way.len() + self.unanswered.len()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
    fn report(&self, fleet: &Fleet, window: &Window) -> DirectReport {
        let Window { from, to } = window;
        let measured_seconds = (to.at - from.at).as_secs_f64();
        let delivered = self.under_way.measured;
        let delivered_per_second = delivered as f64 / measured_seconds;
        let server = from.server.zip(to.server).map(|(before, after)| Used::between(before, after));
        let per_message = |used: Used| used.cpu_seconds * 1e6 / delivered as f64;
        let acknowledged = || Acknowledged {
            accepted: self.unanswered.measured,
            rejected: self.rejected,
            unanswered: self.unanswered.len(),
            latency: Latency::of(&self.unanswered.latency),
        };
        DirectReport {
            options: self.options.clone(),
            clients_ready: self.senders.len(),
            measured_seconds,
            delivered,
            delivered_per_second,
            undelivered: self.under_way.len(),
            unexpected: self.unexpected,
            latency: Latency::of(&self.under_way.latency),
            acknowledged: (self.options.kind.protocol() == Protocol::Session).then(acknowledged),
            server,
            server_cpu_us_per_message: server.filter(|_| delivered > 0).map(per_message),
            generator: Used::between(from.generator, to.generator),
            shortfalls: self.shortfalls(fleet, delivered_per_second),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate is far below 2^52")]
    fn shortfalls(&self, fleet: &Fleet, delivered_per_second: f64) -> Vec<String> {
        let mut out = Vec::new();
        let (asked, took_part) = (self.options.clients, self.senders.len());
        if took_part < asked {
            out.push(format!("{took_part} of {asked} clients took part"));
        }
        out.extend(fleet.complaints().into_iter().map(|(why, count)| format!("{count} clients: {why}")));
        if self.under_way.measured == 0 {
            out.push("no message was delivered in the measured time".to_owned());
        }
        if self.behind > 0 {
            out.push(format!("the generator is too slow: {} messages were due and not sent", self.behind));
        }
        let seconds = DRAIN_LIMIT.as_secs();
        if self.under_way.len() > 0 {
            out.push(format!("{} messages had not come {seconds} s after the end", self.under_way.len()));
        }
        if self.unanswered.len() > 0 {
            out.push(format!("{} messages had no answer {seconds} s after the end", self.unanswered.len()));
        }
        if self.rejected > 0 {
            out.push(format!("{} messages were rejected", self.rejected));
        }
        if self.unexpected > 0 {
            out.push(format!("{} messages came that were not sent", self.unexpected));
        }
        // Within a hundredth, because the ends of the measured time cut through what is under way.
        if let Some(rate) =
            self.options.rate_per_second.filter(|rate| delivered_per_second < *rate as f64 * 0.99)
        {
            out.push(format!("{delivered_per_second:.0} messages per second of {rate} asked for"));
        }
        out
    }
}

/// Sets what a client sends.
fn prepare(connection: &mut Connection, options: &DirectOptions, client: usize) {
    let (from, to) = (wire::user(client), wire::user(partner(client)));
    match options.kind.protocol() {
        Protocol::Classic => {
            let frame = wire::frame(2, &wire::message(options.kind, &from, &to, options.payload_bytes));
            connection.prepare(&frame, options.in_flight.min(FRAMES_PER_WRITE));
        }
        Protocol::Session => {
            connection.prepare_submits(&to, options.payload_bytes);
        }
    }
}

/// The neighbour that a client sends to, and gets from.
const fn partner(client: usize) -> usize {
    client ^ 1
}

/// Which clients got what, and when.
fn turn(fleet: &mut Fleet, timeout: Duration) -> Result<Vec<(usize, Arrived, Instant)>, BenchError> {
    let mut arrivals = Vec::new();
    fleet.turn(Some(timeout), |client, arrived, at| arrivals.push((client, arrived, at)))?;
    Ok(arrivals)
}

impl fmt::Display for DirectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DirectOptions { kind, payload_bytes, in_flight, .. } = &self.options;
        let kind = format!("{kind:?}").to_lowercase();
        let pace = match self.options.rate_per_second {
            Some(rate) => format!("open loop, {rate}/s"),
            None => format!("closed loop, {in_flight} in flight each"),
        };
        writeln!(f, "direct, {kind}: {} clients, {payload_bytes} bytes, {pace}", self.clients_ready)?;
        row(f, "delivered", format_args!("{} in {:.2} s", self.delivered, self.measured_seconds))?;
        row(f, "per second", format_args!("{:.0}", self.delivered_per_second))?;
        latency_row(f, "latency, us", &self.latency)?;
        if let Some(acknowledged) = &self.acknowledged {
            row(f, "accepted", format_args!("{}", acknowledged.accepted))?;
            latency_row(f, "until accepted, us", &acknowledged.latency)?;
        }
        match (&self.server, self.server_cpu_us_per_message) {
            (Some(used), per_message) => {
                let per_message = per_message.map_or("-".to_owned(), |us| format!("{us:.2}"));
                row(f, "server CPU, us/message", format_args!("{per_message} ({:.2} s)", used.cpu_seconds))?;
                let (before, after) = (used.rss_kib_before, used.rss_kib_after);
                row(f, "server memory, KiB", format_args!("{before} before, {after} after"))?;
            }
            (None, _) => {
                row(f, "server", format_args!("not measured: its process is not known or has ended"))?;
            }
        }
        row(f, "generator CPU, s", format_args!("{:.2}", self.generator.cpu_seconds))?;
        shortfall_rows(f, &self.shortfalls)
    }
}
