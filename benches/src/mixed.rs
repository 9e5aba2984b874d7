//! A day of chat in a minute: users come and go, talk to each other and in groups, as the hour has it.
//!
//! Two loads run beside each other. The *crowd* makes the day: its users connect and leave as the hours go by, half of them
//! classic clients and half sessions, and send to each other, online or not, to groups, and calls' signals. The *couples*
//! stay all day and send stored messages to each other; theirs is the latency that is told, as each of their messages
//! is known to its recipient.

use std::fmt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use serde::Serialize;

use crate::connection::{Arrived, Connection};
use crate::direct::{self, DirectOptions, Kind};
use crate::fleet::Fleet;
use crate::load::{LoadReport, Pace, Signals, Timing, as_seconds, check};
use crate::plot::{Paint, Panel};
use crate::report::{latency_row, row, shortfall_rows};
use crate::storm::FIRST_STAYING;
use crate::{BenchError, Latency, Process, Progress, Protocol, Report, Spread, Target, group, random, wire};

/// Hours of the day.
const HOURS: u32 = 24;

/// How much is going on in each hour, of 100 in the busiest one: a night, a morning, and an evening.
const CURVE: [u64; HOURS as usize] =
    [30, 18, 10, 6, 5, 6, 12, 25, 40, 50, 55, 60, 68, 62, 58, 60, 65, 72, 80, 90, 98, 100, 80, 50];

/// Members of each group of the crowd.
const GROUP_MEMBERS: usize = 20;

/// Messages that the crowd sends before it looks at the sockets and the clock again.
const SAID_AT_ONCE: u64 = 10_000;

/// Bytes that may wait for one connection of the crowd: who does not get rid of them says nothing more.
const UNSENT_LIMIT_BYTES: usize = 256 << 10;

/// How often the crowd looks what is to be done.
const TICK: Duration = Duration::from_millis(1);

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MixedOptions {
    /// Users of the crowd, half of them classic.
    pub users: usize,
    /// Users that stay all day and send to each other; even.
    pub couples: usize,
    /// Messages per second of the crowd in the busiest hour.
    pub peak_per_second: u64,
    /// Messages per second of the couples.
    pub couples_per_second: u64,
    /// How long the day takes.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub day: Duration,
    /// Time that clients may take to be connected and welcomed at first.
    #[serde(rename = "connect_seconds", serialize_with = "as_seconds")]
    pub connect_limit: Duration,
}

impl Default for MixedOptions {
    fn default() -> Self {
        Self {
            users: 2000,
            couples: 100,
            peak_per_second: 4000,
            couples_per_second: 500,
            day: Duration::from_secs(60),
            connect_limit: Duration::from_secs(60),
        }
    }
}

/// One hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hour {
    /// Which.
    pub hour: u32,
    /// Users of the crowd that were online at its end.
    pub online: usize,
    /// Logins of the crowd.
    pub logins: u64,
    /// Messages that the crowd sent.
    pub sent: u64,
    /// Messages that came to the crowd.
    pub received: u64,
    /// CPU time of the server, in seconds.
    pub server_cpu_seconds: Option<f64>,
    /// Resident memory of the server at its end, in KiB.
    pub server_rss_kib: Option<u64>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixedReport {
    /// What was asked for.
    pub options: MixedOptions,
    /// The hours, in their order.
    pub hours: Vec<Hour>,
    /// Of the couples' messages, from when they were due.
    pub latency: Latency,
    /// The couples' load.
    pub couples: LoadReport,
    /// What was asked for and not reached, in words; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// Lets a day go by, and ends by itself.
///
/// # Errors
/// Wrong options, no client could connect, or the groups could not be made. All else that goes wrong is in the report's
/// `shortfalls`.
pub fn run(
    options: &MixedOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<MixedReport, BenchError> {
    let MixedOptions { users, couples, peak_per_second, couples_per_second, day, connect_limit } = *options;
    let limit = Duration::from_secs(3600);
    check([
        ("--users", "between 20 and 15000", (GROUP_MEMBERS..=15_000).contains(&users)),
        ("--couples", "even and at least 2", couples >= 2 && couples.is_multiple_of(2)),
        ("--peak", "between 1 and 1000000", (1..=1_000_000).contains(&peak_per_second)),
        ("--couples-rate", "between 1 and 1000000", (1..=1_000_000).contains(&couples_per_second)),
        ("--seconds", "between 1 and 3600", day >= Duration::from_secs(1) && day <= limit),
        ("--connect-seconds", "at most 3600", connect_limit <= limit),
    ])?;
    let mut crowd = Crowd::gather(options, target, progress)?;
    let talk = DirectOptions {
        kind: Kind::Session,
        clients: couples,
        pace: Pace::PerSecond(couples_per_second),
        timing: Timing {
            connect_limit,
            warmup: Duration::from_millis(500),
            duration: day.saturating_mul(2).saturating_add(connect_limit).min(limit),
        },
        ..DirectOptions::default()
    };
    let signals = Signals::default();
    let (hours, talked) = thread::scope(|scope| {
        let talking = scope.spawn(|| {
            direct::run_among(&talk, FIRST_STAYING, Some(&signals), target, &mut Progress::silent())
        });
        while !signals.measuring.load(Ordering::Acquire) && !talking.is_finished() {
            thread::sleep(TICK);
        }
        // When the couples are gone, so is what is measured.
        let hours = crowd.live(options, target, &|| talking.is_finished(), progress);
        signals.enough.store(true, Ordering::Release);
        (hours, talking.join())
    });
    progress.clear();
    #[allow(clippy::expect_used, reason = "a panic of the load is a panic of the run")]
    let couples = talked.expect("the couples' load does not panic")?.load;
    let complaints = crowd.fleet.complaints().into_iter();
    let mut shortfalls: Vec<_> =
        complaints.map(|(why, count)| format!("{count} of the crowd: {why}")).collect();
    if crowd.unsaid * 100 > crowd.sent {
        let Crowd { unsaid, sent, .. } = crowd;
        shortfalls.push(format!(
            "{unsaid} messages were due besides {sent}, and not sent: the server takes too long"
        ));
    }
    shortfalls.extend(couples.shortfalls.iter().map(|line| format!("of the couples: {line}")));
    Ok(MixedReport { options: options.clone(), hours: hours?, latency: couples.latency, couples, shortfalls })
}

/// The users that come and go.
struct Crowd {
    fleet: Fleet,
    /// By user: the number of its connection, while it is online.
    online: Vec<Option<usize>>,
    /// Those who are.
    here: Vec<usize>,
    groups: Vec<String>,
    /// Decides who does what.
    dice: Xoshiro256PlusPlus,
    logins: u64,
    sent: u64,
    received: u64,
    /// Messages that were due and not sent, as who was to send them was not welcomed yet.
    unsaid: u64,
}

impl Crowd {
    /// Has all users come once, so that the server knows them, and makes the groups.
    fn gather(options: &MixedOptions, target: &Target, progress: &mut Progress) -> Result<Self, BenchError> {
        let users = options.users;
        let fleet = Fleet::open(target.address, Protocol::Classic, users, options.connect_limit, progress)?;
        drop(fleet);
        let run = random::id();
        let mut groups = Vec::new();
        for number in 0..users / GROUP_MEMBERS {
            progress.show(|| format!("making groups: {number} of {}", users / GROUP_MEMBERS));
            let id = format!("mixed-group-{run:016x}-{number}");
            let first = number * GROUP_MEMBERS;
            group::create(target, &id, first..first + GROUP_MEMBERS)?;
            groups.push(id);
        }
        Ok(Self {
            fleet: Fleet::empty(0)?,
            online: vec![None; users],
            here: Vec::new(),
            groups,
            dice: Xoshiro256PlusPlus::seed_from_u64(0),
            logins: 0,
            sent: 0,
            received: 0,
            unsaid: 0,
        })
    }

    fn live(
        &mut self,
        options: &MixedOptions,
        target: &Target,
        is_over: &dyn Fn() -> bool,
        progress: &mut Progress,
    ) -> Result<Vec<Hour>, BenchError> {
        self.fleet.tick_every(TICK)?;
        // The day begins with those who are still awake.
        let awake = self.online.len() * usize::try_from(CURVE[0]).unwrap_or_default() / 100;
        let deadline = Instant::now() + options.connect_limit;
        while self.here.iter().filter(|user| self.is_welcome(**user)).count() < awake
            && Instant::now() < deadline
            && !is_over()
        {
            self.come_and_go(target, awake)?;
            self.fleet.turn(Some(TICK), |_, _, _| {})?;
        }
        self.logins = 0;
        let usage = || target.process.as_ref().and_then(|process: &Process| process.usage().ok());
        let (start, hour_time) = (Instant::now(), options.day / HOURS);
        let mut hours = Vec::new();
        let mut before = usage();
        for (hour, busy) in (0..HOURS).zip(CURVE) {
            let (logins, sent, received) = (self.logins, self.sent, self.received);
            let (from, to) = (start + hour_time * hour, start + hour_time * (hour + 1));
            if is_over() {
                break;
            }
            let turn = || {
                progress.show(|| format!("{hour:02}:00"));
                is_over()
            };
            self.hour(options, target, busy, from, to, turn)?;
            let after = usage();
            hours.push(Hour {
                hour,
                online: self.here.len(),
                logins: self.logins - logins,
                sent: self.sent - sent,
                received: self.received - received,
                server_cpu_seconds: before
                    .zip(after)
                    .map(|(before, after)| after.cpu_seconds - before.cpu_seconds),
                server_rss_kib: after.map(|after| after.rss_kib),
            });
            before = after;
        }
        Ok(hours)
    }

    /// One hour, as busy as this of 100; `turn` says whether it is over before its time.
    fn hour(
        &mut self,
        options: &MixedOptions,
        target: &Target,
        busy: u64,
        from: Instant,
        to: Instant,
        mut turn: impl FnMut() -> bool,
    ) -> Result<(), BenchError> {
        let wanted = self.online.len() * usize::try_from(busy).unwrap_or_default() / 100;
        let mut due_before = 0;
        let due_at = |elapsed_ns: u128| {
            let rate = u128::from(options.peak_per_second * busy) / 100;
            u64::try_from(elapsed_ns * rate / 1_000_000_000).unwrap_or(u64::MAX)
        };
        loop {
            let now = Instant::now();
            if now >= to {
                let elapsed_ns = (to - from).as_nanos();
                self.unsaid += due_at(elapsed_ns).saturating_sub(due_before);
                return Ok(());
            }
            self.come_and_go(target, wanted)?;
            let elapsed_ns = now.saturating_duration_since(from).as_nanos();
            let due = due_at(elapsed_ns).min(due_before + SAID_AT_ONCE);
            for _ in due_before..due {
                self.say_something();
            }
            due_before = due;
            let mut received = 0;
            self.fleet.turn(Some(to - now), |_, Arrived { messages, .. }, _| received += messages)?;
            self.received += u64::try_from(received).unwrap_or_default();
            if turn() {
                return Ok(());
            }
        }
    }

    /// A few users come, or leave, until as many are online as are wanted.
    fn come_and_go(&mut self, target: &Target, wanted: usize) -> Result<(), BenchError> {
        const AT_ONCE: usize = 4;
        for _ in 0..AT_ONCE.min(self.here.len().abs_diff(wanted)) {
            if self.here.len() > wanted {
                let place = self.below(self.here.len());
                let user = self.here.swap_remove(place);
                if let Some(connection) = self.online.get_mut(user).and_then(Option::take) {
                    self.fleet.leave(connection)?;
                }
                continue;
            }
            let user = self.below(self.online.len());
            let Some(place @ None) = self.online.get_mut(user) else { continue };
            let protocol = if user.is_multiple_of(2) { Protocol::Classic } else { Protocol::Session };
            *place = self.fleet.join(target.address, user, protocol)?;
            if place.is_some() {
                self.here.push(user);
                self.logins += 1;
            }
        }
        Ok(())
    }

    fn is_welcome(&self, user: usize) -> bool {
        self.online.get(user).copied().flatten().is_some_and(|connection| self.fleet.is_ready(connection))
    }

    /// A number below this.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.dice.next_u64() % end.max(1) as u64).unwrap_or_default()
    }

    /// Somebody who is online sends something to somebody, or to its group.
    fn say_something(&mut self) {
        let place = self.below(self.here.len());
        let somebody =
            self.here.get(place).and_then(|user| Some((*user, self.online.get(*user).copied().flatten()?)));
        let other = self.below(self.online.len());
        let (choice, length) = (self.dice.next_u64() % 100, self.dice.next_u64() % 8 + 1);
        let Some((user, connection)) = somebody.filter(|(_, connection)| self.fleet.is_ready(*connection))
        else {
            // Who has just come says nothing yet.
            return self.unsaid += 1;
        };
        let is_full = |connection: &mut Connection| connection.queued_bytes() > UNSENT_LIMIT_BYTES;
        if self.fleet.connection(connection).is_some_and(is_full) {
            return self.unsaid += 1;
        }
        // Most messages are short, a few are long.
        let payload_bytes = usize::try_from(40 * length * length).unwrap_or_default();
        let group = self.groups.get(user / GROUP_MEMBERS).filter(|_| choice < 25);
        let (from, to) = (wire::user(user), wire::user(other));
        let payload = match (group, user % 2) {
            (Some(group), 0) => wire::group(&from, group, payload_bytes),
            (Some(group), _) => submit(&wire::group_conversation(group), payload_bytes),
            (None, 0) if choice >= 90 => wire::message(Kind::Relay, &from, &to, payload_bytes),
            (None, 0) => wire::message(Kind::Stored, &from, &to, payload_bytes),
            (None, _) => submit(&wire::user_conversation(&to), payload_bytes),
        };
        if let Some(connection) = self.fleet.connection(connection) {
            connection.queue(&wire::frame(2, &payload));
            connection.flush();
            self.sent += 1;
        }
    }
}

fn submit(to: &switchboard_proto::v1::Conversation, payload_bytes: usize) -> Vec<u8> {
    wire::submit(random::id128().to_be_bytes(), to, payload_bytes)
}

impl Report for MixedReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        #[allow(clippy::cast_precision_loss, reason = "messages and MiB of a run are far below 2^52")]
        let number = |count: u64| Some(Spread::single(count as f64));
        let of = |title: &str, value: &dyn Fn(&Hour) -> Option<Spread>| {
            let bars =
                self.hours.iter().map(|hour| (format!("{:02}:00", hour.hour), Paint::Own, value(hour)));
            Panel::of_values(title, bars)
        };
        let mut panels = vec![
            of("messages that came to the crowd", &|hour| number(hour.received)),
            of("server CPU, ms", &|hour| hour.server_cpu_seconds.map(|s| Spread::single(s * 1e3))),
        ];
        panels.extend(self.couples.panels());
        panels
    }
}

impl fmt::Display for MixedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MixedOptions { users, couples, day, .. } = &self.options;
        writeln!(f, "mixed: a day of {users} users in {} s, and {couples} that stay", day.as_secs())?;
        writeln!(f, "  hour  online  logins     sent  received   server CPU  memory, MiB")?;
        for hour in &self.hours {
            let Hour { hour, online, logins, sent, received, server_cpu_seconds, server_rss_kib } = hour;
            let cpu = server_cpu_seconds.map_or("-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1e3));
            let rss = server_rss_kib.map_or("-".to_owned(), |kib| (kib / 1024).to_string());
            writeln!(f, "  {hour:>4} {online:>7} {logins:>7} {sent:>8} {received:>9} {cpu:>12} {rss:>12}")?;
        }
        row(f, "couples' messages", format_args!("{}", self.couples.delivered))?;
        latency_row(f, "latency, us", &self.latency)?;
        if let Some(acknowledged) = &self.couples.acknowledged {
            latency_row(f, "until accepted, us", &acknowledged.latency)?;
        }
        shortfall_rows(f, &self.shortfalls)
    }
}
