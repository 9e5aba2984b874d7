//! Pairs of clients that send to each other.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::fleet::Fleet;
use crate::report::{row, shortfall_rows};
use crate::{BenchError, Latency, Process, Progress, Target, Usage, Used, wire};

/// How long messages that are under way at the end are waited for.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Frames that one write carries at the most; enough to make its cost for each of them small.
const FRAMES_PER_WRITE: usize = 64;

/// How often an open loop looks whether a message is due.
const TICK: Duration = Duration::from_micros(100);

/// Messages that an open loop queues before it looks at the sockets and the clock again.
const DUE_AT_ONCE: u64 = 10_000;

/// Beyond an hour, a latency counts as an hour.
const LATENCY_LIMIT_NS: u64 = 3_600_000_000_000;

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
    /// What the server used in the measured time, if its process is known.
    pub server: Option<Used>,
    /// CPU time of the server for each delivered message, in microseconds.
    pub server_cpu_us_per_message: Option<f64>,
    /// What this generator used.
    pub generator: Used,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
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
    let mut fleet = Fleet::open(target.address, options.clients, options.connect_limit, progress)?;
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
    /// For each client by its number, when its messages were sent or due that have not come; a pair's messages
    /// come in the order they were sent in.
    under_way: Vec<VecDeque<Instant>>,
    /// Messages that an open loop has sent.
    due: u64,
    /// Messages that an open loop should have sent besides, when it last looked.
    behind: u64,
    measuring: bool,
    latency: Histogram<u64>,
    delivered: u64,
    unexpected: u64,
}

impl<'a> Load<'a> {
    fn new(options: &'a DirectOptions, fleet: &mut Fleet) -> Self {
        let both = |client: &usize| fleet.is_ready(*client) && fleet.is_ready(partner(*client));
        let senders: Vec<usize> = (0..options.clients).filter(both).collect();
        for &client in &senders {
            let (from, to) = (wire::user(client), wire::user(partner(client)));
            let frame = wire::frame(2, &wire::message(options.kind, &from, &to, options.payload_bytes));
            if let Some(connection) = fleet.connection(client) {
                connection.prepare(&frame, options.in_flight.min(FRAMES_PER_WRITE));
            }
        }
        #[allow(clippy::expect_used, reason = "the bounds are constants that a histogram can have")]
        let latency = Histogram::new_with_bounds(1, LATENCY_LIMIT_NS, 3).expect("valid bounds");
        Self {
            options,
            senders,
            under_way: vec![VecDeque::new(); options.clients],
            due: 0,
            behind: 0,
            measuring: false,
            latency,
            delivered: 0,
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
        while self.undelivered() > 0 && fleet.ready() > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let arrivals = turn(fleet, left)?;
            for (client, count, at) in arrivals {
                self.arrived(client, count, at);
            }
            progress.show(|| format!("waiting for {} messages", self.undelivered()));
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
            for (client, count, at) in arrivals {
                let expected = self.arrived(client, count, at);
                if self.options.rate_per_second.is_none() {
                    self.send(fleet, partner(client), expected, Instant::now());
                }
            }
            progress.show(|| {
                let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
                let what = if self.measuring { "measuring" } else { "warming up" };
                format!("{what}: {left:.1} s left, {} delivered", self.delivered)
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
        if let (Some(connection), Some(under_way)) =
            (fleet.connection(client), self.under_way.get_mut(client))
        {
            connection.send(count);
            under_way.extend(std::iter::repeat_n(at, count));
        }
    }

    /// Takes in that a client got messages, and gives how many of them its partner had sent.
    fn arrived(&mut self, client: usize, count: usize, at: Instant) -> usize {
        let Some(under_way) = self.under_way.get_mut(partner(client)) else { return 0 };
        let expected = count.min(under_way.len());
        for sent in under_way.drain(..expected) {
            if self.measuring {
                self.delivered += 1;
                let ns = u64::try_from(at.saturating_duration_since(sent).as_nanos()).unwrap_or(u64::MAX);
                self.latency.saturating_record(ns);
            }
        }
        self.unexpected += u64::try_from(count - expected).unwrap_or_default();
        expected
    }

    fn undelivered(&self) -> u64 {
        self.under_way.iter().map(|under_way| u64::try_from(under_way.len()).unwrap_or_default()).sum()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
    fn report(&self, fleet: &Fleet, window: &Window) -> DirectReport {
        let Window { from, to } = window;
        let measured_seconds = (to.at - from.at).as_secs_f64();
        let delivered_per_second = self.delivered as f64 / measured_seconds;
        let server = from.server.zip(to.server).map(|(before, after)| Used::between(before, after));
        let per_message = |used: Used| used.cpu_seconds * 1e6 / self.delivered as f64;
        DirectReport {
            options: self.options.clone(),
            clients_ready: self.senders.len(),
            measured_seconds,
            delivered: self.delivered,
            delivered_per_second,
            undelivered: self.undelivered(),
            unexpected: self.unexpected,
            latency: Latency::of(&self.latency),
            server,
            server_cpu_us_per_message: server.filter(|_| self.delivered > 0).map(per_message),
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
        if self.delivered == 0 {
            out.push("no message was delivered in the measured time".to_owned());
        }
        if self.behind > 0 {
            out.push(format!("the generator is too slow: {} messages were due and not sent", self.behind));
        }
        if self.undelivered() > 0 {
            let seconds = DRAIN_LIMIT.as_secs();
            out.push(format!("{} messages had not come {seconds} s after the end", self.undelivered()));
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

/// The neighbour that a client sends to, and gets from.
const fn partner(client: usize) -> usize {
    client ^ 1
}

/// Which clients got how many messages, and when.
fn turn(fleet: &mut Fleet, timeout: Duration) -> Result<Vec<(usize, usize, Instant)>, BenchError> {
    let mut arrivals = Vec::new();
    fleet.turn(Some(timeout), |client, count, at| arrivals.push((client, count, at)))?;
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
        let l = &self.latency;
        let tail = format_args!(
            "p50 {:.0}  p90 {:.0}  p99 {:.0}  p99.9 {:.0}  max {:.0}",
            l.p50_us, l.p90_us, l.p99_us, l.p999_us, l.max_us
        );
        row(f, "latency, us", tail)?;
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
