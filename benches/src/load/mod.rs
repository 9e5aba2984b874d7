//! Clients that send and hear, at a pace, for a time: what all loads have in common.

mod report;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::connection::Arrived;
use crate::fleet::Fleet;
use crate::flows::Flows;
use crate::{BenchError, Latency, Process, Progress, Protocol, Target, Usage, Used};

pub use report::{Acknowledged, LoadReport};

/// How long messages that are under way at the end are waited for.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// Frames that one write carries at the most; enough to make its cost for each of them small.
pub(crate) const FRAMES_PER_WRITE: usize = 64;

/// How often an open loop looks whether a message is due.
const TICK: Duration = Duration::from_micros(100);

/// Messages that an open loop queues before it looks at the sockets and the clock again.
const DUE_AT_ONCE: u64 = 10_000;

/// Messages that may be under way at once, and their bytes, as far as the generator keeps them: a server that falls behind
/// must not fill the memory that both live in.
const UNDER_WAY_LIMIT: usize = 1_000_000;
const UNDER_WAY_LIMIT_BYTES: usize = 1 << 30;

/// When nothing has come for so long though something is under way, nothing will.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// When each client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Closed loop: so many messages of each sender are under way; the next one is sent when everybody has heard the oldest.
    InFlight(usize),
    /// Open loop: messages per second of all senders together, sent when they are due, whatever has been heard.
    PerSecond(u64),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(count) => write!(f, "closed loop, {count} in flight each"),
            Self::PerSecond(rate) => write!(f, "open loop, {rate}/s"),
        }
    }
}

/// How long the parts of a run take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timing {
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

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(30),
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(5),
        }
    }
}

pub(crate) fn as_seconds<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Option, rule, and whether it holds.
pub(crate) type Rule = (&'static str, &'static str, bool);

/// The first rule that does not hold.
pub(crate) fn check(rules: impl IntoIterator<Item = Rule>) -> Result<(), BenchError> {
    match rules.into_iter().find(|(_, _, holds)| !holds) {
        Some((option, rule, _)) => Err(BenchError::Option { option, rule }),
        None => Ok(()),
    }
}

/// How many messages of this size may be under way at once.
fn under_way_limit(payload_bytes: usize) -> usize {
    UNDER_WAY_LIMIT.min(UNDER_WAY_LIMIT_BYTES / payload_bytes.max(1))
}

/// What every load asks of its options.
pub(crate) fn rules(pace: Pace, timing: &Timing, payload_bytes: usize, senders: usize) -> [Rule; 7] {
    const LIMIT: Duration = Duration::from_secs(3600);
    let (in_flight, senders, rate) = match pace {
        Pace::InFlight(count) => (count, senders, 1),
        Pace::PerSecond(rate) => (1, 1, rate),
    };
    [
        ("--payload-bytes", "at most 1048576", payload_bytes <= 1 << 20),
        ("--in-flight", "between 1 and 10000", (1..=10_000).contains(&in_flight)),
        (
            "--in-flight",
            "lower: at most a million messages, or 1 GiB of them, may be under way",
            in_flight.saturating_mul(senders) <= under_way_limit(payload_bytes),
        ),
        ("--seconds", "above 0 and at most 3600", !timing.duration.is_zero() && timing.duration <= LIMIT),
        ("--warmup-seconds", "at most 3600", timing.warmup <= LIMIT),
        ("--connect-seconds", "at most 3600", timing.connect_limit <= LIMIT),
        ("--rate", "between 1 and 100 million", (1..=100_000_000).contains(&rate)),
    ]
}

/// What a load does.
pub(crate) struct Plan<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) pace: Pace,
    pub(crate) timing: Timing,
    pub(crate) payload_bytes: usize,
    /// By client: whom it hears.
    pub(crate) hears: Vec<Option<usize>>,
    /// Clients that take no part: they read nothing once everybody is connected.
    pub(crate) stalled: Vec<usize>,
    /// Told when the measured time begins, and asked when it may end before its time.
    pub(crate) signals: Option<&'a Signals>,
}

/// Between a load and who waits for it on another thread.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// It is measured now.
    pub(crate) measuring: AtomicBool,
    /// Enough is measured.
    pub(crate) enough: AtomicBool,
}

/// Drives clients that are connected and know what they send; ends by itself: waiting for the last messages takes at most 3 s.
pub(crate) fn run(
    plan: Plan<'_>,
    fleet: &mut Fleet,
    target: &Target,
    progress: &mut Progress,
) -> Result<LoadReport, BenchError> {
    let mut load = Load::new(plan, fleet)?;
    if load.senders.is_empty() {
        let why = "no sender has anybody who hears it".to_owned();
        let seconds = load.plan.timing.connect_limit.as_secs_f64();
        return Err(BenchError::NobodyConnected { target: target.address, seconds, why });
    }
    match load.plan.pace {
        Pace::PerSecond(_) => fleet.tick_every(TICK)?,
        Pace::InFlight(_) => {}
    }
    let generator = Process::this()?;
    let window = load.drive(fleet, target, &generator, progress)?;
    progress.clear();
    Ok(load.report(fleet, target, &window))
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
    plan: Plan<'a>,
    /// Clients that should take part.
    asked: usize,
    /// Numbers of the clients that send.
    senders: Vec<usize>,
    took_part: usize,
    /// Messages that have not come to their recipients.
    deliveries: Flows,
    /// Messages of which their senders have not heard; only a session's are answered.
    answers: Flows,
    rejected: u64,
    /// Messages that an open loop has sent.
    due: u64,
    /// Messages that an open loop should have sent besides, when it last looked.
    behind: u64,
    /// It could not, as too many were under way.
    full: bool,
    /// When something last came.
    heard_at: Instant,
    /// Why the load ended before its time, if it did.
    broken_off: Option<String>,
    measuring: bool,
    unexpected: u64,
}

impl<'a> Load<'a> {
    fn new(plan: Plan<'a>, fleet: &mut Fleet) -> Result<Self, BenchError> {
        let asked = Flows::new(&plan.hears).participants();
        for client in &plan.stalled {
            fleet.stall(*client)?;
        }
        let hears: Vec<Option<usize>> = plan
            .hears
            .iter()
            .enumerate()
            .map(|(client, sender)| sender.filter(|s| fleet.is_ready(client) && fleet.is_ready(*s)))
            .collect();
        let deliveries = Flows::new(&hears);
        let senders: Vec<usize> = deliveries.senders().collect();
        let mut hear_themselves = vec![None; hears.len()];
        for sender in &senders {
            if let Some(hears) = hear_themselves.get_mut(*sender) {
                *hears = Some(*sender);
            }
        }
        Ok(Self {
            asked,
            took_part: deliveries.participants(),
            senders,
            deliveries,
            answers: Flows::new(&hear_themselves),
            rejected: 0,
            due: 0,
            behind: 0,
            full: false,
            heard_at: Instant::now(),
            broken_off: None,
            measuring: false,
            unexpected: 0,
            plan,
        })
    }

    fn drive(
        &mut self,
        fleet: &mut Fleet,
        target: &Target,
        generator: &Process,
        progress: &mut Progress,
    ) -> Result<Window, BenchError> {
        let Timing { warmup, duration, .. } = self.plan.timing;
        let start = Instant::now();
        self.heard_at = start;
        if let Pace::InFlight(count) = self.plan.pace {
            for client in self.senders.clone() {
                self.send(fleet, client, count, start);
            }
        }
        self.until(fleet, start + warmup, start, progress)?;
        let from = Moment::now(target, generator)?;
        self.measuring = true;
        if let Some(signals) = self.plan.signals {
            signals.measuring.store(true, Ordering::Release);
        }
        self.until(fleet, from.at + duration, start, progress)?;
        self.measuring = false;
        let to = Moment::now(target, generator)?;
        let deadline = to.at + DRAIN_LIMIT;
        while self.outstanding() > 0 && fleet.ready() > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            for (client, arrived, at) in turn(fleet, left)? {
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
            let enough = || self.plan.signals.is_some_and(|signals| signals.enough.load(Ordering::Acquire));
            if now >= end || self.broken_off.is_some() || enough() {
                return Ok(());
            }
            if let Pace::PerSecond(rate) = self.plan.pace {
                self.send_due(fleet, rate, start, now);
            }
            let arrivals = turn(fleet, (end - now).min(SILENCE_LIMIT))?;
            self.look_for_the_end(fleet, &arrivals, start);
            for (client, arrived, at) in arrivals {
                // Once it is gone, nobody knows whom it heard.
                let sender = self.deliveries.heard_by(client);
                let completed = self.arrived(client, arrived, at);
                match (self.plan.pace, sender) {
                    (Pace::InFlight(_), Some(sender)) if completed > 0 => {
                        self.send(fleet, sender, completed, Instant::now());
                    }
                    (Pace::InFlight(_) | Pace::PerSecond(_), _) => {}
                }
            }
            progress.show(|| {
                let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
                let what = if self.measuring { "measuring" } else { "warming up" };
                format!("{what}: {left:.1} s left, {} delivered", self.deliveries.measured)
            });
        }
    }

    /// A load that nobody is left to make, or that nobody answers, ends before its time.
    fn look_for_the_end(&mut self, fleet: &Fleet, arrivals: &[(usize, Arrived, Instant)], start: Instant) {
        let now = Instant::now();
        if !arrivals.is_empty() || self.outstanding() == 0 {
            self.heard_at = now;
        }
        let lost_some = arrivals.iter().any(|(_, arrived, _)| arrived.closed);
        if lost_some && !self.senders.iter().any(|sender| fleet.is_ready(*sender)) {
            let after = (now - start).as_secs_f64();
            self.broken_off = Some(format!("broken off after {after:.1} s: no sender is connected any more"));
        } else if now.saturating_duration_since(self.heard_at) >= SILENCE_LIMIT {
            let (after, silence) = ((now - start).as_secs_f64(), SILENCE_LIMIT.as_secs());
            let why = format!("nothing has come for {silence} s");
            self.broken_off = Some(format!("broken off after {after:.1} s: {why}"));
        }
    }

    /// Sends what is due since the last time; each message counts from when it was due, not from now.
    fn send_due(&mut self, fleet: &mut Fleet, rate: u64, start: Instant, now: Instant) {
        let elapsed_ns = (now - start).as_nanos();
        let due = u64::try_from(elapsed_ns * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX);
        let senders = u64::try_from(self.senders.len()).unwrap_or(u64::MAX);
        // A rate beyond what this machine can do must not keep the loop from its end.
        let room = under_way_limit(self.plan.payload_bytes).saturating_sub(self.deliveries.kept());
        self.full = room == 0;
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let stop = due.min(self.due.saturating_add(DUE_AT_ONCE.min(room)));
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
        self.deliveries.sent(client, count, at);
        match self.plan.protocol {
            Protocol::Session => self.answers.sent(client, count, at),
            Protocol::Classic => {}
        }
    }

    /// Takes in what a client has got, and gives how many messages are now heard by everybody.
    fn arrived(&mut self, client: usize, arrived: Arrived, at: Instant) -> usize {
        let Arrived { messages, accepted, rejected, closed } = arrived;
        let heard = self.deliveries.arrived(client, messages, at, self.measuring);
        let answered = self.answers.arrived(client, accepted, at, self.measuring);
        // A rejected message is answered, and was not delayed.
        self.answers.arrived(client, rejected, at, false);
        let unexpected = messages - heard.expected + accepted - answered.expected;
        self.unexpected += u64::try_from(unexpected).unwrap_or_default();
        self.rejected += u64::try_from(rejected).unwrap_or_default();
        let without_it = if closed { self.deliveries.gone(client) } else { 0 };
        heard.completed + without_it
    }

    fn outstanding(&self) -> u64 {
        self.deliveries.outstanding() + self.answers.outstanding()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
    fn report(&self, fleet: &Fleet, target: &Target, window: &Window) -> LoadReport {
        let Window { from, to } = window;
        let measured_seconds = (to.at - from.at).as_secs_f64();
        let delivered = self.deliveries.measured;
        let delivered_per_second = delivered as f64 / measured_seconds;
        let server = from.server.zip(to.server).map(|(before, after)| Used::between(before, after));
        let per_message = |used: Used| used.cpu_seconds * 1e6 / delivered as f64;
        let late = self.late(measured_seconds);
        let acknowledged = || Acknowledged {
            accepted: self.answers.measured,
            rejected: self.rejected,
            unanswered: self.answers.outstanding(),
            latency: Latency::of(&self.answers.latency),
        };
        LoadReport {
            clients_ready: self.took_part,
            measured_seconds,
            delivered,
            delivered_per_second,
            undelivered: self.deliveries.outstanding(),
            unexpected: self.unexpected,
            latency: Latency::of(&self.deliveries.latency),
            acknowledged: (self.plan.protocol == Protocol::Session).then(acknowledged),
            server,
            server_cpu_us_per_message: server.filter(|_| delivered > 0).map(per_message),
            generator: Used::between(from.generator, to.generator),
            shortfalls: [self.losses(fleet, target), late.clone()].concat(),
            late,
        }
    }

    fn losses(&self, fleet: &Fleet, target: &Target) -> Vec<String> {
        let mut out: Vec<String> = target.trouble().into_iter().chain(self.broken_off.clone()).collect();
        let (asked, took_part) = (self.asked, self.took_part);
        if took_part < asked {
            out.push(format!("{took_part} of {asked} clients took part"));
        }
        out.extend(fleet.complaints().into_iter().map(|(why, count)| format!("{count} clients: {why}")));
        if self.deliveries.measured == 0 {
            out.push("no message was delivered in the measured time".to_owned());
        }
        let seconds = DRAIN_LIMIT.as_secs();
        let (undelivered, unanswered) = (self.deliveries.outstanding(), self.answers.outstanding());
        if undelivered > 0 {
            out.push(format!("{undelivered} messages had not come {seconds} s after the end"));
        }
        if unanswered > 0 {
            out.push(format!("{unanswered} messages had no answer {seconds} s after the end"));
        }
        if self.rejected > 0 {
            out.push(format!("{} messages were rejected", self.rejected));
        }
        if self.unexpected > 0 {
            out.push(format!("{} messages came that were not sent", self.unexpected));
        }
        out
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate is far below 2^52")]
    fn late(&self, measured_seconds: f64) -> Vec<String> {
        let mut out = Vec::new();
        if self.behind > 0 {
            let slow = if self.full { "the server" } else { "the generator" };
            let (behind, under_way) = (self.behind, self.deliveries.kept());
            out.push(format!(
                "{slow} is too slow: {behind} messages were due and not sent, and {under_way} under way"
            ));
        }
        if let Pace::PerSecond(rate) = self.plan.pace {
            // Each message is heard by as many as hear its sender, and the senders take turns.
            let hearers = self.plan.hears.iter().flatten().count() as f64 / self.senders.len().max(1) as f64;
            let (got, wanted) = (self.deliveries.measured as f64 / measured_seconds, rate as f64 * hearers);
            // Within a hundredth, because the ends of the measured time cut through what is under way.
            if got < wanted * 0.99 {
                out.push(format!("{got:.0} messages per second of {wanted:.0} asked for"));
            }
        }
        out
    }
}

/// Which clients got what, and when.
fn turn(fleet: &mut Fleet, timeout: Duration) -> Result<Vec<(usize, Arrived, Instant)>, BenchError> {
    let mut arrivals = Vec::new();
    fleet.turn(Some(timeout), |client, arrived, at| arrivals.push((client, arrived, at)))?;
    Ok(arrivals)
}
