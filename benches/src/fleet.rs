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
}

impl Fleet {
    /// Opens `count` connections and waits until each is welcomed or closed, but no longer than `limit`.
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
        let files = raise_open_files()?;
        if u64::try_from(count).unwrap_or(u64::MAX).saturating_add(OTHER_FILES) > files {
            return Err(BenchError::OpenFiles { wanted: count, limit: files });
        }
        let deadline = Instant::now() + limit;
        let mut fleet = Self::empty(first)?;
        let mut tried = 0;
        let mut settled = 0;
        while Instant::now() < deadline && (tried < count || settled < fleet.connections.len()) {
            if tried < count && fleet.connections.len() - settled < HANDSHAKES {
                fleet.add(target, protocol)?;
                tried += 1;
                continue;
            }
            fleet.turn(Some(Duration::from_millis(50)), |_, _, _| {})?;
            settled = fleet.settled();
            progress.show(|| format!("{settled} of {count} connected"));
        }
        if fleet.ready() == 0 {
            let why = fleet.complaints().into_iter().map(|(why, count)| format!("{why} ({count} times)"));
            let why = why.collect::<Vec<_>>().join("; ");
            let why = if why.is_empty() { "no answer".to_owned() } else { why };
            return Err(BenchError::NobodyConnected { target, seconds: limit.as_secs(), why });
        }
        Ok(fleet)
    }

    /// Cuts all connections, without a word: the clients are as they were before the first one.
    pub(crate) fn cut(&mut self) {
        self.connections.clear();
        self.failed.clear();
    }

    /// Opens as many connections without waiting for any, and waits until each is welcomed or closed, or for the deadline.
    pub(crate) fn open_all(
        &mut self,
        target: SocketAddr,
        protocol: Protocol,
        count: usize,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Result<(), BenchError> {
        let mut tried = 0;
        while Instant::now() < deadline && (tried < count || self.settled() < self.connections.len()) {
            let more = AT_ONCE.min(count.saturating_sub(tried));
            for _ in 0..more {
                self.add(target, protocol)?;
            }
            tried += more;
            let timeout = Duration::from_millis(if tried < count { 0 } else { 10 });
            self.turn(Some(timeout), |_, _, _| {})?;
            progress.show(|| format!("{} of {count} connected again", self.ready()));
        }
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
        })
    }

    fn add(&mut self, target: SocketAddr, protocol: Protocol) -> Result<(), BenchError> {
        self.join(target, self.first + self.connections.len(), protocol).map(|_| ())
    }

    /// A user connects, and waits for nothing. Gives the number of its connection, if it has one.
    pub(crate) fn join(
        &mut self,
        target: SocketAddr,
        user: usize,
        protocol: Protocol,
    ) -> Result<Option<usize>, BenchError> {
        let number = self.connections.len();
        match Connection::open(target, number, &wire::user(user), protocol) {
            Ok(mut connection) => {
                self.poll
                    .registry()
                    .register(&mut connection.stream, Token(number), Interest::READABLE | Interest::WRITABLE)
                    .map_err(BenchError::io("adding a socket to the poll"))?;
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
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let doing = "taking a socket from the poll";
        self.poll.registry().deregister(&mut connection.stream).map_err(BenchError::io(doing))
    }

    /// Takes what has arrived so far without looking at it.
    pub(crate) fn forget_arrivals(&mut self) -> Result<(), BenchError> {
        let mut quiet = false;
        while !quiet {
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
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(BenchError::io("waiting for sockets"))?,
        }
        for event in &self.events {
            if event.token() == TICK {
                // The kernel goes on with a timer when its ticks are read; how many there were is of no use.
                let _ = self.ticks.as_mut().map(|ticks| ticks.read(&mut [0; 8]));
                continue;
            }
            let index = event.token().0;
            let Some(connection) = self.connections.get_mut(index) else { continue };
            let mut arrived =
                if event.is_readable() { connection.read(&mut self.buffer) } else { Arrived::default() };
            let at = Instant::now();
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
