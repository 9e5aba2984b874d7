//! All clients of a run, on one thread.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::connection::{Arrived, Connection};
use crate::wire::Protocol;
use crate::{BenchError, Progress, wire};

/// Connections that wait for their handshake or welcome at once: below the backlog of every server.
const HANDSHAKES: usize = 256;

/// Connections of a storm that are begun before the generator looks at what has come of the others.
const AT_ONCE: usize = 512;

/// When nothing has come for so long, nothing more is on its way.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_LIMIT: Duration = Duration::from_secs(5);

/// One buffer for all sockets.
const BUFFER_BYTES: usize = 256 << 10;

/// Files that are open besides the clients' sockets.
const OTHER_FILES: u64 = 64;

/// The timer's token: no client has this number.
const TICK: Token = Token(usize::MAX);

/// The clients, by their numbers.
pub(crate) struct Fleet {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// The number of the first one's user.
    first: usize,
    /// Clients that have no connection at all, and why.
    failed: BTreeMap<String, usize>,
    /// Ends turns, for whoever has to send in time.
    ticks: Option<File>,
    /// Connections that are read again in the next turn, though no event may come.
    unread: Vec<usize>,
}

impl Fleet {
    /// Opens `count` connections to one server and waits until each is welcomed or closed, but no longer than `limit`.
    pub(crate) fn open(
        target: SocketAddr,
        protocol: Protocol,
        count: usize,
        limit: Duration,
        progress: &mut Progress,
    ) -> Result<Self, BenchError> {
        Self::open_from(0, target, protocol, count, limit, progress)
    }

    /// The same, as users whose numbers begin with `first`.
    pub(crate) fn open_from(
        first: usize,
        target: SocketAddr,
        protocol: Protocol,
        count: usize,
        limit: Duration,
        progress: &mut Progress,
    ) -> Result<Self, BenchError> {
        let mut fleet = Self::empty(first)?;
        fleet.open_some(&[target], protocol, count, limit, progress)?;
        if fleet.ready() == 0 {
            let why = why_nobody(fleet.complaints());
            return Err(BenchError::NobodyConnected { target, seconds: limit.as_secs_f64(), why });
        }
        Ok(fleet)
    }

    /// Opens connections to these servers in turn, a few at a time, and waits until each is welcomed or closed, but no
    /// longer than `limit`; whoever is neither then is given up.
    pub(crate) fn open_some(
        &mut self,
        targets: &[SocketAddr],
        protocol: Protocol,
        count: usize,
        limit: Duration,
        progress: &mut Progress,
    ) -> Result<(), BenchError> {
        let (most, limit_of_files) = (most_connections()?, raise_open_files()?);
        if count > most {
            return Err(BenchError::OpenFiles { wanted: count, limit: limit_of_files });
        }
        let deadline = Instant::now() + limit;
        let (mut tried, mut settled) = (0, 0);
        while Instant::now() < deadline && (tried < count || settled < self.connections.len()) {
            if tried < count && self.connections.len() - settled < HANDSHAKES {
                self.add(targets, protocol, tried)?;
                tried += 1;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.turn(Some(left.min(Duration::from_millis(50))), |_, _, _| {})?;
            settled = self.settled();
            progress.show(|| format!("{settled} of {count} connected"));
        }
        self.give_up(count - tried);
        Ok(())
    }

    /// Nobody is waited for any longer, and those that were not even tried are given up too.
    fn give_up(&mut self, untried: usize) {
        self.connections.iter_mut().for_each(Connection::give_up);
        if untried > 0 {
            *self.failed.entry("not connected in time".to_owned()).or_default() += untried;
        }
    }

    /// Cuts all connections, without a word: the clients are as they were before the first one.
    pub(crate) fn cut(&mut self) {
        self.connections.clear();
        self.failed.clear();
    }

    /// Opens as many connections without waiting for any, and waits until each is welcomed or closed, or for the deadline;
    /// whoever is neither then is given up.
    pub(crate) fn open_all(
        &mut self,
        targets: &[SocketAddr],
        protocol: Protocol,
        count: usize,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<(), BenchError> {
        let mut tried = 0;
        while Instant::now() < deadline && (tried < count || self.settled() < self.connections.len()) {
            let more = AT_ONCE.min(count.saturating_sub(tried));
            for nth in tried..tried + more {
                self.add(targets, protocol, nth)?;
            }
            tried += more;
            let timeout = Duration::from_millis(if tried < count { 0 } else { 10 });
            self.turn(Some(timeout), |_, _, _| {})?;
            progress.show(|| format!("{} of {count} connected again", self.ready()));
        }
        self.give_up(count - tried);
        Ok(())
    }

    /// Clients that are welcomed, or closed.
    fn settled(&self) -> usize {
        self.connections.iter().filter(|c| c.is_ready() || c.closed().is_some()).count()
    }

    /// Nobody yet; the first one's user will have this number.
    pub(crate) fn empty(first: usize) -> Result<Self, BenchError> {
        Ok(Self {
            first,
            poll: Poll::new().map_err(BenchError::io("opening a poll"))?,
            events: Events::with_capacity(1024),
            buffer: vec![0; BUFFER_BYTES],
            connections: Vec::new(),
            failed: BTreeMap::new(),
            ticks: None,
            unread: Vec::new(),
        })
    }

    /// The `nth` of those who come now.
    fn add(&mut self, targets: &[SocketAddr], protocol: Protocol, nth: usize) -> Result<(), BenchError> {
        let Some(target) = targets.get((self.first + nth) % targets.len().max(1)) else { return Ok(()) };
        self.join(*target, self.first + self.connections.len(), protocol).map(|_| ())
    }

    /// A user connects, and waits for nothing. Gives the number of its connection, if it has one.
    pub(crate) fn join(
        &mut self,
        target: SocketAddr,
        user: usize,
        protocol: Protocol,
    ) -> Result<Option<usize>, BenchError> {
        let number = self.connections.len();
        match Connection::open(target, self.first + number, &wire::user(user), protocol) {
            Ok(mut connection) => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                if let Some(stream) = connection.stream() {
                    self.poll
                        .registry()
                        .register(stream, Token(number), interest)
                        .map_err(BenchError::io("adding a socket to the poll"))?;
                }
                self.connections.push(connection);
                Ok(Some(number))
            }
            Err(error) => {
                *self.failed.entry(format!("connecting: {error}")).or_default() += 1;
                Ok(None)
            }
        }
    }

    /// A client says goodbye and is not looked at any more.
    pub(crate) fn leave(&mut self, index: usize) -> Result<(), BenchError> {
        self.stall(index)?;
        if let Some(connection) = self.connections.get_mut(index) {
            connection.leave();
        }
        Ok(())
    }

    /// From now on, ends a turn at least that often. A turn's own timeout counts in milliseconds, which is too
    /// coarse to send thousands of messages a second evenly.
    pub(crate) fn tick_every(&mut self, interval: Duration) -> Result<(), BenchError> {
        let every = Timespec::try_from(interval).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let ticks = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .and_then(|ticks| {
                let spec = Itimerspec { it_interval: every, it_value: every };
                timerfd_settime(&ticks, TimerfdTimerFlags::empty(), &spec).map(|_| ticks)
            })
            .map_err(|errno| BenchError::io("making a timer")(errno.into()))?;
        self.poll
            .registry()
            .register(&mut SourceFd(&ticks.as_raw_fd()), TICK, Interest::READABLE)
            .map_err(BenchError::io("adding a timer to the poll"))?;
        self.ticks = Some(File::from(ticks));
        Ok(())
    }

    /// The client with this number, if it was connected.
    pub(crate) fn connection(&mut self, index: usize) -> Option<&mut Connection> {
        self.connections.get_mut(index)
    }

    /// From now on a client reads nothing, and what becomes of its connection is not looked at.
    pub(crate) fn stall(&mut self, index: usize) -> Result<(), BenchError> {
        let connection = self.connections.get_mut(index);
        let Some(stream) = connection.and_then(Connection::stream) else { return Ok(()) };
        let doing = "taking a socket from the poll";
        self.poll.registry().deregister(stream).map_err(BenchError::io(doing))
    }

    /// Takes what has arrived so far without looking at it. Of a server that never pauses it takes what comes in
    /// [`QUIET_LIMIT`].
    pub(crate) fn forget_arrivals(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut quiet = false;
        while !quiet && Instant::now() < deadline {
            quiet = true;
            self.turn(Some(QUIET), |_, _, _| quiet = false)?;
        }
        Ok(())
    }

    /// Clients that are welcomed and still connected.
    pub(crate) fn ready(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_ready()).count()
    }

    /// Whether this client is welcomed and still connected.
    pub(crate) fn is_ready(&self, index: usize) -> bool {
        self.connections.get(index).is_some_and(Connection::is_ready)
    }

    /// Why clients are not connected, and how many for each reason, the most frequent first.
    pub(crate) fn complaints(&self) -> Vec<(String, usize)> {
        let mut reasons = self.failed.clone();
        for why in self.connections.iter().filter_map(Connection::closed) {
            *reasons.entry(why.to_owned()).or_default() += 1;
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }

    /// Waits for sockets, at most `timeout`, reads and writes what they allow, and reports for each client what
    /// came, and when.
    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut report: impl FnMut(usize, Arrived, Instant),
    ) -> Result<(), BenchError> {
        let unread = std::mem::take(&mut self.unread);
        let timeout = if unread.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            other => other.map_err(BenchError::io("waiting for sockets"))?,
        }
        let mut touched: Vec<(usize, bool)> = unread.into_iter().map(|index| (index, true)).collect();
        for event in &self.events {
            if event.token() == TICK {
                // The kernel goes on with a timer when its ticks are read; how many there were is of no use.
                let _ = self.ticks.as_mut().map(|ticks| ticks.read(&mut [0; 8]));
                continue;
            }
            touched.push((event.token().0, event.is_readable()));
        }
        for (index, readable) in touched {
            let Some(connection) = self.connections.get_mut(index) else { continue };
            let mut arrived = if readable { connection.read(&mut self.buffer) } else { Arrived::default() };
            let at = Instant::now();
            if connection.has_unread() {
                self.unread.push(index);
            }
            if connection.has_unsent() {
                connection.flush();
            }
            arrived.closed = connection.take_closed();
            if !arrived.is_none() {
                report(index, arrived, at);
            }
        }
        Ok(())
    }
}

/// "Why, so many times", of all reasons.
pub(crate) fn why_nobody(complaints: Vec<(String, usize)>) -> String {
    let why = complaints.into_iter().map(|(why, count)| format!("{why} ({count} times)"));
    let why = why.collect::<Vec<_>>().join("; ");
    if why.is_empty() { "no answer".to_owned() } else { why }
}

/// How many connections this process may have at once.
pub(crate) fn most_connections() -> Result<usize, BenchError> {
    let files = raise_open_files()?;
    Ok(usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX))
}

/// Raises this process's soft limit of open files to the hard one, for itself and for what it starts, and gives
/// the limit.
pub(crate) fn raise_open_files() -> Result<u64, BenchError> {
    rlimit::increase_nofile_limit(u64::MAX).map_err(BenchError::Rlimit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_end_one_turn_after_the_other() {
        let mut fleet = Fleet::empty(0).unwrap();
        fleet.tick_every(Duration::from_millis(1)).unwrap();
        let start = Instant::now();
        let timeout = Duration::from_secs(60);
        for _ in 0..5 {
            fleet.turn(Some(timeout), |_, _, _| {}).unwrap();
        }
        // Five milliseconds, or one timeout at least: no load of the machine blurs that.
        assert!(start.elapsed() < timeout);
    }
}
