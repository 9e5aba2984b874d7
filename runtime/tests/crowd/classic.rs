//! A classic client that talks. It learns the fate of nothing, and some of what it says may be lost or be there twice: what
//! counts is that all others see the same.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use switchboard::client::{Classic, ClassicEvent};
use switchboard_engine::{Body, ClientConfig, GroupId, Notification, Outgoing, Target};
use tokio::{sync::oneshot, time::MissedTickBehavior};

use super::{GROUP, user};

/// Messages that the client is given before the first of them is sent; it takes 1,024.
const QUEUE: u32 = 500;

#[derive(Debug)]
pub(crate) struct Talker {
    name: &'static str,
    thread: JoinHandle<()>,
    to_say: Arc<AtomicU32>,
    unsent: Arc<AtomicU64>,
    /// Dropped when it is to go.
    stay: oneshot::Sender<()>,
}

impl Talker {
    pub(crate) fn start(name: &'static str, server: SocketAddr) -> Self {
        let (to_say, unsent) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
        let (stay, go) = oneshot::channel();
        let thread = std::thread::spawn({
            let (to_say, unsent) = (Arc::clone(&to_say), Arc::clone(&unsent));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::select! {
                        () = talk(name, server, &to_say, &unsent) => {}
                        _ = go => {}
                    }
                });
            }
        });
        Self { name, thread, to_say, unsent, stay }
    }

    pub(crate) fn say(&self, messages: u32) {
        self.to_say.fetch_add(messages, Ordering::SeqCst);
        self.unsent.fetch_add(messages.into(), Ordering::SeqCst);
    }

    pub(crate) fn is_done(&self) -> bool {
        assert!(!self.thread.is_finished(), "{} has died", self.name);
        self.unsent.load(Ordering::SeqCst) == 0
    }

    /// It goes without a word, as a browser does that is closed.
    pub(crate) fn end(self) {
        drop(self.stay);
        self.thread.join().unwrap();
    }
}

async fn talk(name: &str, server: SocketAddr, to_say: &AtomicU32, unsent: &AtomicU64) {
    let mut config = ClientConfig::new(user(name));
    config.reconnect.floor = Duration::from_millis(10);
    config.reconnect.base = Duration::from_millis(50);
    config.reconnect.cap = Duration::from_millis(200);
    config.heartbeat_interval = Duration::from_millis(300);
    config.idle_timeout = Duration::from_millis(1_000);
    let mut client = Classic::new(config, format!("ws://{server}").parse().unwrap(), 1);
    client.connect();
    let (mut number, mut queued) = (0, 0);
    let mut turn = tokio::time::interval(Duration::from_millis(10));
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = client.next() => match event {
                ClassicEvent::Notification(Notification::Flushed { .. } | Notification::Dropped { .. }) => {
                    unsent.fetch_sub(1, Ordering::SeqCst);
                    queued -= 1;
                }
                ClassicEvent::Notification(_) | ClassicEvent::LinkEnded(_) => {}
            },
            _ = turn.tick(), if queued < QUEUE && to_say.load(Ordering::SeqCst) > 0 => {
                to_say.fetch_sub(1, Ordering::SeqCst);
                number += 1;
                queued += 1;
                let to = match number % 2 {
                    0 => Target::User(user("alice")),
                    _ => Target::Group(GroupId::new(GROUP).unwrap()),
                };
                let text = format!("{name}, classic, {number}");
                client.send(Outgoing::Message { to, body: Body::Text(text.as_str().into()) }).unwrap();
            }
        }
    }
}
