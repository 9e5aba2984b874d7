//! People who talk through a network that breaks, and what must hold of what they have said.
//!
//! Devices of several users talk in one-to-one conversations and in a group; classic clients talk too. Some devices keep what
//! they know in a file, and some of these are cut off in the middle of everything and go on from there.
//!
//! | module | what it is |
//! | --- | --- |
//! | `device` | a device on a thread of its own, and what it has been told |
//! | `classic` | a client of the classic protocol, likewise |
//! | `ledger` | what was submitted, and what became of it |
//! | `proxy` | the network |

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use switchboard::store::{Conversation, Directory, NewGroup, NewUser};
use switchboard_engine::{GroupId, UserId};

pub(crate) use device::{Device, Keeping, Order};
pub(crate) use ledger::{Entry, Ledger};
pub(crate) use proxy::Proxy;

mod classic;
mod device;
mod ledger;
mod proxy;

/// What the module `process` goes by.
pub(crate) mod harness {
    /// How long to wait for what must happen. Only a failing test ever waits so long.
    pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
}

use harness::PATIENCE;

pub(crate) const GROUP: &str = "friends";
pub(crate) const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// All conversations, and what is in the log of each.
pub(crate) type Logs = Vec<(Conversation, Vec<Entry>)>;

/// SplitMix64: each draw depends on the seed and on the draws before it, and on nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A stream of its own for each purpose, by its number.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }
}

/// A number from the environment.
pub(crate) fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value}")),
        Err(_) => default,
    }
}

/// Waits until this gives something, for as long as it goes on: a slow disk takes its time, and what has stopped is named.
pub(crate) fn until<T>(
    what: impl Fn() -> String,
    goes_on: impl Fn() -> u64,
    mut check: impl FnMut() -> Option<T>,
) -> T {
    let (mut state, mut deadline) = (goes_on(), Instant::now() + PATIENCE);
    loop {
        if let Some(value) = check() {
            return value;
        }
        let now = goes_on();
        if now != state {
            (state, deadline) = (now, Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < deadline, "nothing more for {PATIENCE:?}: {}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn create_group(data: &Path) {
    let mut directory = Directory::open(data).unwrap();
    for id in USERS {
        directory.create_user(&NewUser::new(user(id), id)).unwrap();
    }
    let id = GroupId::new(GROUP).unwrap();
    let owner = user(USERS[0]);
    let group =
        NewGroup { id: id.clone(), name: GROUP.into(), notice: String::new(), owner, invite_only: true };
    directory.create_group(&group).unwrap();
    for member in &USERS[1..] {
        assert!(directory.join(&id, &user(member)).unwrap());
    }
}

fn conversations() -> Vec<Conversation> {
    let mut conversations = vec![Conversation::Group(GroupId::new(GROUP).unwrap())];
    for (place, one) in USERS.iter().enumerate() {
        for other in &USERS[place + 1..] {
            conversations.push(Conversation::Direct(user(one), user(other)));
        }
    }
    conversations
}

/// When what was said last in the group was stored, in milliseconds since 1970, by the server's clock.
pub(crate) fn newest_stored_at(data: &Path) -> i64 {
    let directory = Directory::open(data).unwrap();
    let group = Conversation::Group(GroupId::new(GROUP).unwrap());
    let last = directory.conversation(&group).unwrap().map_or(0, |info| info.head_seq);
    let newest = directory.history(&group, last..=u64::MAX, 1).unwrap();
    newest.last().map_or(0, |message| message.stored_at_ms)
}

/// What is in the store, of every conversation.
fn logs(data: &Path) -> Logs {
    let directory = Directory::open(data).unwrap();
    let entries = |conversation: &Conversation| {
        let messages = directory.history(conversation, 1..=u64::MAX, u32::MAX).unwrap();
        let entry = |m: switchboard::store::StoredMessage| Entry {
            seq: m.seq,
            from: m.sender.as_str().to_owned(),
            id: m.id.0,
            text: m.content.into(),
        };
        messages.into_iter().map(entry).collect()
    };
    conversations().into_iter().map(|conversation| (conversation.clone(), entries(&conversation))).collect()
}

/// All who talk, and the network that they talk through.
pub(crate) struct Crowd {
    /// The server's folder.
    data: PathBuf,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) devices: Vec<Device>,
    talkers: Vec<classic::Talker>,
    pub(crate) proxy: Proxy,
}

impl Crowd {
    /// They talk to this server; what devices know is kept in `files`.
    pub(crate) fn start(data: &Path, files: &Path, server: SocketAddr, seed: u64) -> Self {
        let proxy = Proxy::start(server, seed);
        let ledger = Arc::new(Ledger::default());
        let file = |name: &str| Keeping::File(files.join(format!("{name}.db")));
        let devices = [
            ("alice", file("alice-1")),
            ("alice", Keeping::memory()),
            ("bob", file("bob-1")),
            ("carol", file("carol-1")),
            ("carol", file("carol-2")),
        ];
        let number = |place: usize| place as u64 + 1;
        let devices = devices.into_iter().enumerate().map(|(place, (user, keeping))| {
            Device::start(user, number(place), seed, keeping, proxy.address(), Arc::clone(&ledger))
        });
        let devices: Vec<_> = devices.collect();
        let talkers = vec![classic::Talker::start("dave", proxy.address())];
        Self { data: data.to_owned(), ledger, devices, talkers, proxy }
    }

    /// Each says so many messages more.
    pub(crate) fn say(&self, messages: u32) {
        for device in &self.devices {
            device.order(Order::Say(messages));
        }
        for talker in &self.talkers {
            talker.say(messages);
        }
    }

    /// Until so many messages were acknowledged.
    pub(crate) fn await_accepted(&self, goal: u64) {
        let ledger = &self.ledger;
        let what = || format!("{goal} acknowledgements; there are {}; {}", ledger.accepted(), self.says());
        until(what, || ledger.accepted(), || (ledger.accepted() >= goal).then_some(()));
    }

    /// What keeps those who are not done.
    fn says(&self) -> String {
        let devices = self.devices.iter().filter(|device| !device.is_done());
        devices.map(|device| format!("{}: {}", device.name(), device.says())).collect::<Vec<_>>().join("; ")
    }

    /// Messages that devices know of, all together.
    pub(crate) fn known(&self) -> u64 {
        self.devices.iter().map(Device::known).sum()
    }

    /// The network is well, and everything has reached everybody: gives the logs.
    pub(crate) fn healed(&self) -> Logs {
        self.proxy.heal();
        until(
            || format!("all said: {}", self.says()),
            || self.ledger.accepted() + self.known(),
            || {
                let done = self.devices.iter().all(Device::is_done);
                (done && self.talkers.iter().all(classic::Talker::is_done)).then_some(())
            },
        );
        until(
            || format!("all told: {}", self.devices.iter().map(Device::says).collect::<Vec<_>>().join("; ")),
            || self.known(),
            || {
                // What classic clients said last may be on its way into the log while this is read.
                let (before, after) = (logs(&self.data), logs(&self.data));
                let told =
                    |device: &Device| after.iter().all(|(conversation, log)| device.has(conversation, log));
                (before == after && self.devices.iter().all(told)).then_some(after)
            },
        )
    }

    /// Nothing is lost, there twice, or in another order, in the logs and at any device.
    pub(crate) fn assert_holds(&self, logs: &Logs) {
        for device in &self.devices {
            for (conversation, log) in logs {
                device.assert_has(conversation, log);
            }
        }
        self.ledger.assert_holds(logs);
    }

    /// All go, and may come back.
    pub(crate) fn leave(&mut self) {
        for device in &self.devices {
            device.order(Order::Leave);
        }
        for talker in self.talkers.drain(..) {
            talker.end();
        }
        let here = || {
            let here = self.devices.iter().filter(|device| !device.is_away() || !device.is_done());
            here.map(|device| format!("{} ({})", device.name(), device.says())).collect::<Vec<_>>().join(", ")
        };
        until(
            || format!("all have left; these have not: {}", here()),
            || 0,
            || here().is_empty().then_some(()),
        );
    }

    pub(crate) fn come_back(&mut self) {
        for device in &self.devices {
            device.order(Order::ComeBack);
        }
        self.talkers.push(classic::Talker::start("dave", self.proxy.address()));
    }

    pub(crate) fn end(self) {
        for device in self.devices {
            device.end();
        }
        for talker in self.talkers {
            talker.end();
        }
    }
}
