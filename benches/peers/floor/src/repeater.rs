//! The loop.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use slab::Slab;

use crate::client::{Client, Gone, Phase, data};
use crate::frame::{self, Unfit};
use crate::handshake::{self, Request};

/// The listener's number: no client has it.
const LISTENER: usize = usize::MAX;

/// Connections that may wait to be accepted: what Linux allows unless told otherwise.
const BACKLOG: i32 = 4096;

/// Clients that one turn serves at the most.
const EVENTS: usize = 1024;

/// What one read takes at the most.
const INPUT_BYTES: usize = 64 << 10;

/// Numbers of neighbours are below this: they are looked up in a table.
const NUMBERS: u32 = 1 << 20;

/// What each client is told first, as one binary message.
const WELCOME: &[u8] = b"\x82\x07welcome";

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Route {
    /// Everybody, its sender included.
    All,
    /// The sender's neighbour: the number at the end of the user's name, with its lowest bit turned.
    Pairs,
}

/// A repeater with its clients.
pub struct Repeater {
    poll: OwnedFd,
    listener: OwnedFd,
    address: SocketAddr,
    route: Route,
    clients: Slab<Client>,
    /// Clients' keys by the numbers of their users, for [`Route::Pairs`].
    by_number: Vec<Option<usize>>,
    input: Vec<u8>,
    /// The messages of a turn, or of one sender, in frames.
    messages: Vec<u8>,
    /// What a client's own frames are answered with.
    answers: Vec<u8>,
}

impl fmt::Debug for Repeater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repeater {{ address: {}, clients: {} }}", self.address, self.clients.len())
    }
}

impl Repeater {
    /// Listens on this address; port 0 is a free one.
    ///
    /// # Errors
    /// What the system says, and to what.
    pub fn bind(address: SocketAddr, route: Route) -> io::Result<Self> {
        let listener = listen(address)
            .map_err(|errno| io::Error::new(errno.kind(), format!("listening on {address}: {errno}")))?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, data(LISTENER), EventFlags::IN)?;
        Ok(Self {
            address: net::getsockname(&listener)?.try_into()?,
            poll,
            listener,
            route,
            clients: Slab::new(),
            by_number: Vec::new(),
            input: vec![0; INPUT_BYTES],
            messages: Vec::new(),
            answers: Vec::new(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Repeats messages for ever.
    ///
    /// # Errors
    /// What the system says, if it gives no more events or connections. A client's failure ends only its connection.
    pub fn run(mut self) -> io::Result<Infallible> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.turn(&mut events)?;
        }
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        match epoll::wait(&self.poll, spare_capacity(events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut knocked = false;
        for event in events {
            let key = usize::try_from(event.data.u64()).unwrap_or(LISTENER);
            if key == LISTENER {
                knocked = true;
            } else if self.serve(key, event.flags).is_err() {
                self.remove(key);
            }
        }
        self.tell_all();
        // Last, so that no key is given away that an event of this turn still means.
        if knocked { self.accept() } else { Ok(()) }
    }

    fn serve(&mut self, key: usize, flags: EventFlags) -> Result<(), Gone> {
        if flags.contains(EventFlags::OUT)
            && let Some(client) = self.clients.get_mut(key)
        {
            client.flush(&self.poll, key)?;
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(key)?;
        }
        Ok(())
    }

    fn read(&mut self, key: usize) -> Result<(), Gone> {
        // Removed in this turn, it may still have an event.
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        let read = client.read(&mut self.input)?;
        let mut unread = client.take_unread();
        let mut input = self.input.get(..read).unwrap_or_default();
        if !unread.is_empty() {
            unread.extend_from_slice(input);
            input = &unread;
        }
        if client.phase == Phase::Handshake {
            match handshake::read(input) {
                Request::Unfinished => {
                    client.keep_unread(input);
                    return Ok(());
                }
                Request::Upgrade { head_bytes, user, response } => {
                    let number = number(user);
                    client.phase = Phase::Open { number };
                    input = input.get(head_bytes..).unwrap_or_default();
                    client.write(&[response.as_bytes(), WELCOME].concat(), &self.poll, key)?;
                    if self.route == Route::Pairs {
                        let place = usize::try_from(number).unwrap_or_default();
                        if self.by_number.len() <= place {
                            self.by_number.resize(place + 1, None);
                        }
                        if let Some(entry) = self.by_number.get_mut(place) {
                            *entry = Some(key);
                        }
                    }
                }
                Request::Refused => {
                    client.write(handshake::REFUSAL, &self.poll, key)?;
                    return Err(Gone);
                }
            }
        }
        let passed = frame::repeat(input, &mut self.messages, &mut self.answers);
        if let Ok(passed) = passed {
            client.keep_unread(input.get(passed.bytes..).unwrap_or_default());
        }
        let answered =
            if self.answers.is_empty() { Ok(()) } else { client.write(&self.answers, &self.poll, key) };
        self.answers.clear();
        // What came before a failure is told all the same.
        if let (Route::Pairs, Phase::Open { number }) = (self.route, client.phase) {
            self.tell(number ^ 1);
        }
        answered?;
        if passed.map_err(|Unfit| Gone)?.closed { Err(Gone) } else { Ok(()) }
    }

    /// Writes the messages of one client to the one with this number.
    fn tell(&mut self, number: u32) {
        if self.messages.is_empty() {
            return;
        }
        let place = usize::try_from(number).unwrap_or_default();
        if let Some(key) = self.by_number.get(place).copied().flatten()
            && let Some(client) = self.clients.get_mut(key)
            && client.write(&self.messages, &self.poll, key).is_err()
        {
            self.remove(key);
        }
        self.messages.clear();
    }

    /// Writes the messages of this turn to everybody.
    fn tell_all(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        for (key, client) in &mut self.clients {
            if client.phase != Phase::Handshake && client.write(&self.messages, &self.poll, key).is_err() {
                gone.push(key);
            }
        }
        gone.into_iter().for_each(|key| self.remove(key));
        self.messages.clear();
    }

    fn remove(&mut self, key: usize) {
        // Closing the socket takes it out of the poll.
        let Some(client) = self.clients.try_remove(key) else { return };
        if let Phase::Open { number } = client.phase
            && let Some(entry) = self.by_number.get_mut(usize::try_from(number).unwrap_or_default())
        {
            // Another connection of this user may have taken its place.
            *entry = entry.filter(|of_user| *of_user != key);
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
            {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(errno) => {
                    let what = format!("accepting a connection beside {}: {errno}", self.clients.len());
                    return Err(io::Error::new(errno.kind(), what));
                }
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            let entry = self.clients.vacant_entry();
            let key = entry.key();
            let client = entry.insert(Client::new(socket));
            epoll::add(&self.poll, &*client, data(key), EventFlags::IN)?;
        }
    }
}

fn listen(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    net::bind(&listener, &address)?;
    net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The number at the end of a user's name.
fn number(user: &str) -> u32 {
    let name = user.trim_end_matches(|end: char| end.is_ascii_digit());
    user.get(name.len()..).and_then(|digits| digits.parse().ok()).unwrap_or(0) % NUMBERS
}
