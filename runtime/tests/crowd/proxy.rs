//! A TCP proxy that breaks connections: which ones, how, and after how many bytes follows from the seed and the number of
//! the connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::Rng;

/// What happens to a connection once it has carried so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Both ends are closed, in the middle of a frame as like as not.
    Cut,
    /// Nothing gets through any more, and neither end is told.
    Silence,
    /// What the server says does not get through any more; what the client says does.
    Deafness,
    /// Everything gets through, late.
    Delay,
}

#[derive(Debug)]
struct Plan {
    fault: Option<Fault>,
    after_bytes: u64,
    delay: Duration,
}

impl Plan {
    fn new(seed: u64, connection: u64) -> Self {
        let mut rng = Rng::new(seed, (1 << 32) + connection);
        let fault = match rng.below(10) {
            0..=3 => Some(Fault::Cut),
            4..=5 => Some(Fault::Silence),
            6 => Some(Fault::Deafness),
            7 => Some(Fault::Delay),
            _ => None,
        };
        let after_bytes = rng.between(300, 6_000);
        Self { fault, after_bytes, delay: Duration::from_millis(rng.between(20, 200)) }
    }
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    seed: u64,
    connections: AtomicU64,
    broken: AtomicU64,
    /// Half-open connections that the server does not know of yet.
    half_open: AtomicU64,
    healed: watch::Sender<bool>,
}

/// The proxy, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            server,
            seed,
            connections: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            half_open: AtomicU64::new(0),
            healed: watch::Sender::new(false),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let carried = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let Ok((client, _)) = listener.accept().await else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    tokio::spawn(carry(client, Arc::clone(&carried)));
                }
            });
        });
        Self { address, shared }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing breaks, and clients learn what has broken. Where nothing gets through, the server is told nothing: it
    /// has to find out.
    pub(crate) fn heal(&self) {
        self.shared.healed.send_replace(true);
    }

    /// From now on connections break again.
    pub(crate) fn fall_ill(&self) {
        self.shared.healed.send_replace(false);
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Those whose client has gone, and whose server has not found out.
    pub(crate) fn half_open(&self) -> u64 {
        self.shared.half_open.load(Ordering::Relaxed)
    }

    /// Connections that were broken so far.
    pub(crate) fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

/// A connection on its way, as both directions see it.
struct Flow {
    plan: Plan,
    carried: AtomicU64,
    is_broken: AtomicBool,
    shared: Arc<Shared>,
}

impl Flow {
    /// Counts bytes, and gives how many of them still get through.
    fn pass(&self, bytes: usize) -> usize {
        if self.plan.fault.is_none() || *self.shared.healed.borrow() {
            return if self.is_broken() && self.plan.fault != Some(Fault::Delay) { 0 } else { bytes };
        }
        let before = self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        let left = self.plan.after_bytes.saturating_sub(before).min(bytes as u64);
        if left < bytes as u64 && !self.is_broken.swap(true, Ordering::Relaxed) {
            self.shared.broken.fetch_add(1, Ordering::Relaxed);
        }
        if self.plan.fault == Some(Fault::Delay) { bytes } else { left as usize }
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// What gets through, gets through so late.
    fn delay(&self) -> Option<Duration> {
        let is_late = self.plan.fault == Some(Fault::Delay) && self.is_broken();
        (is_late && !*self.shared.healed.borrow()).then_some(self.plan.delay)
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    // While the server is down, its clients are refused in their own way: closed.
    let Ok(server) = TcpStream::connect(shared.server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
    let plan = Plan::new(shared.seed, connection);
    let mut healed = shared.healed.subscribe();
    let flow = Flow { plan, carried: AtomicU64::new(0), is_broken: AtomicBool::new(false), shared };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = pump(&mut from_client, &mut to_server, &flow, false);
    let down = pump(&mut from_server, &mut to_client, &flow, true);
    let mended = async {
        loop {
            let _ = healed.wait_for(|healed| *healed).await;
            if flow.is_broken() && flow.plan.fault != Some(Fault::Delay) {
                return;
            }
            let _ = healed.wait_for(|healed| !*healed).await;
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = mended => {}
    }
    if flow.plan.fault == Some(Fault::Silence) && flow.is_broken() {
        drop((from_client, to_client));
        flow.shared.half_open.fetch_add(1, Ordering::Relaxed);
        let _ = tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await;
        flow.shared.half_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Carries one direction until it ends, which ends the connection.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    flow: &Flow,
    down: bool,
) {
    let mut buffer = [0; 2048];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(read) if read > 0 => read,
            _ => match flow.plan.fault {
                // The other end is not told: it has to find out.
                Some(Fault::Silence | Fault::Deafness) if flow.is_broken() && down => {
                    return std::future::pending().await;
                }
                _ => return,
            },
        };
        let passed = match (flow.pass(read), flow.plan.fault) {
            (_, Some(Fault::Deafness)) if !down => read,
            (passed, _) => passed,
        };
        if let Some(delay) = flow.delay() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..passed]).await.is_err() {
            return;
        }
        if passed < read && flow.plan.fault == Some(Fault::Cut) {
            return;
        }
    }
}
