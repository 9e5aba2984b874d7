//! A server that is killed with SIGKILL again and again, while real clients talk over a network that breaks.
//!
//! `switchboard serve` runs as a process of its own. Devices of several users talk in one-to-one conversations and in a
//! group, through a proxy that severs connections, leaves them half open, or lets only one direction through. Some
//! devices are cut off in the middle of everything and go on from their SQLite files; classic clients talk too. At the
//! end everything heals, and then it must hold that
//! - nothing acknowledged is lost: it is in the log, at the place that was acknowledged;
//! - nothing is there twice, in the log or at any device;
//! - `one-order`: what each device has been told is the log, in the order of `seq`, without gaps;
//! - each message submitted has one fate.
//!
//! `KILL9_KILLS=100` kills so often, `KILL9_SEED=7` makes other decisions: who says what to whom, when the server and which
//! devices are killed (counted in acknowledged messages), which connections break, and after how many bytes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `device` | a device on a thread of its own, and what it has been told |
//! | `ledger` | what was submitted, and what became of it |
//! | `proxy` | the network |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use switchboard::store::{Conversation, Directory, NewGroup, NewUser};
use switchboard_engine::{GroupId, UserId};

use device::{Device, Keeping, Order};
use ledger::{Entry, Ledger};
use process::Process;
use proxy::Proxy;

mod classic;
mod device;
mod ledger;
#[path = "../server/process.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod process;
mod proxy;

/// What the module `process` goes by.
mod harness {
    /// How long to wait for what must happen. Only a failing test ever waits so long.
    pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
}

use harness::PATIENCE;

const GROUP: &str = "friends";
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// Messages that each device says between two kills.
const SAID_PER_ROUND: u32 = 60;
/// Kills in CI.
const KILLS: u64 = 3;

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

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value}")),
        Err(_) => default,
    }
}

/// Waits until this gives something, for as long as it goes on: a slow disk takes its time, and what has stopped is named.
fn until<T>(what: impl Fn() -> String, goes_on: impl Fn() -> u64, mut check: impl FnMut() -> Option<T>) -> T {
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

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn create_group(data: &Path) {
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

fn serve(data: &Path, listen: &str) -> Process {
    Process::start_on(data, listen, &[("SWITCHBOARD_LIMITS_CONNECTIONS_PER_USER", "1000")])
}

/// What is in the store, of every conversation.
fn logs(data: &Path) -> Vec<(Conversation, Vec<Entry>)> {
    let directory = Directory::open(data).unwrap();
    let mut conversations = vec![Conversation::Group(GroupId::new(GROUP).unwrap())];
    for (place, one) in USERS.iter().enumerate() {
        for other in &USERS[place + 1..] {
            conversations.push(Conversation::Direct(user(one), user(other)));
        }
    }
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
    conversations.into_iter().map(|conversation| (conversation.clone(), entries(&conversation))).collect()
}

struct World {
    data: std::path::PathBuf,
    ledger: Arc<Ledger>,
    devices: Vec<Device>,
    talkers: Vec<classic::Talker>,
    proxy: Proxy,
    rng: Rng,
}

impl World {
    /// The server is killed under load, after a number of acknowledgements that was drawn before, and started again. In
    /// between, and after it, devices are cut off.
    fn kill(&mut self, server: Process, address: SocketAddr) -> Process {
        let said = u64::from(SAID_PER_ROUND) * self.devices.len() as u64;
        let goal = self.ledger.accepted() + self.rng.between(1, said * 2 / 3);
        let cut_off = self.rng.below(self.devices.len() as u64 + 1) as usize;
        let at = goal.saturating_sub(self.rng.below(said / 3));
        for device in &self.devices {
            device.order(Order::Say(SAID_PER_ROUND));
        }
        for talker in &self.talkers {
            talker.say(SAID_PER_ROUND);
        }
        let Self { ledger, devices, .. } = &*self;
        let what = |goal: u64| move || format!("{goal} acknowledgements; there are {}", ledger.accepted());
        until(what(at), || ledger.accepted(), || (ledger.accepted() >= at).then_some(()));
        if let Some(device) = devices.get(cut_off) {
            device.order(Order::Crash);
        }
        until(what(goal), || ledger.accepted(), || (ledger.accepted() >= goal).then_some(()));
        server.kill();
        serve(&self.data, &address.to_string())
    }

    /// Everything has reached everybody: gives the logs.
    fn healed(&self) -> Vec<(Conversation, Vec<Entry>)> {
        self.proxy.heal();
        let waiting = || {
            let devices = self.devices.iter().filter(|device| !device.is_done());
            devices
                .map(|device| format!("{}: {}", device.name(), device.says()))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let known = || self.devices.iter().map(Device::known).sum::<u64>();
        until(
            || format!("all said: {}", waiting()),
            || self.ledger.accepted() + known(),
            || {
                let done = self.devices.iter().all(Device::is_done);
                (done && self.talkers.iter().all(classic::Talker::is_done)).then_some(())
            },
        );
        until(
            || format!("all told: {}", waiting()),
            known,
            || {
                // What classic clients said last may be on its way into the log while this is read.
                let (before, after) = (logs(&self.data), logs(&self.data));
                let told =
                    |device: &Device| after.iter().all(|(conversation, log)| device.has(conversation, log));
                (before == after && self.devices.iter().all(told)).then_some(after)
            },
        )
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_however_often_the_server_is_killed() {
    let (seed, kills) = (variable("KILL9_SEED", 1), variable("KILL9_KILLS", KILLS));
    println!("KILL9_SEED={seed} KILL9_KILLS={kills}");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    create_group(&data);

    let mut server = serve(&data, "127.0.0.1:0");
    let address = server.address;
    let proxy = Proxy::start(address, seed);
    let ledger = Arc::new(Ledger::default());
    let file = |name: &str| Keeping::File(folder.path().join(format!("{name}.db")));
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
    let rng = Rng::new(seed, 0);
    let mut world = World { data, ledger, devices, talkers, proxy, rng };

    for kill in 1..=kills {
        let begun = Instant::now();
        server = world.kill(server, address);
        println!("kill {kill}: {} accepted, {:?}", world.ledger.accepted(), begun.elapsed());
    }
    let logs = world.healed();
    println!("broken on the way: {}", world.proxy.broken());
    for device in &world.devices {
        for (conversation, log) in &logs {
            device.assert_has(conversation, log);
        }
    }
    world.ledger.assert_holds(&logs);
    for device in world.devices {
        device.end();
    }
    drop(server);
}
