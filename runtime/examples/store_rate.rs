//! How fast the store is: `cargo run --release --example store_rate -- [--measure WHAT] [FOLDER]`.
//!
//! - `store` keeps a fixed number of messages outstanding, from many senders in as many conversations, and
//!   prints the rate of durable ones for several of these numbers.
//! - `messages` reads a log of 100,000 messages from its beginning to its end, page after page.
//! - `heads` loads the heads of a user with 10,000 conversations, page after page.
//! - `paced` stores 10,000 messages a second, each of 200 users writing to its neighbour, into a log that has 200,000 already, and
//!   prints the CPU time of the store's thread for each, once with ids that ascend with time and once with random ones.
//! - `both` stores as `store` does with 256 outstanding while `messages` reads all the time.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use switchboard::store::{DataFolder, Store, StoreEvent, StoreOptions};
use switchboard_engine::{
    Answer, MessageId, Messages, NewMessage, Range, Recipient, Request, Ticket, UserId,
};

const USERS: u64 = 1_000;
const DURATION: Duration = Duration::from_secs(3);

/// Users of a paced load, its messages each second, those that are there before, and its time.
const PACED_USERS: u64 = 200;
const PACED_RATE: u64 = 10_000;
const PACED_FILL: u64 = 200_000;
const PACED_SECONDS: u64 = 6;

/// Messages in the log that is read.
const LOG_MESSAGES: u64 = 100_000;

/// Conversations of the user whose heads are loaded.
const CONVERSATIONS: u64 = 10_000;

/// Messages of a page at the most.
const PAGE_MESSAGES: u32 = 256;

#[derive(Parser)]
struct Args {
    /// Where to keep the databases
    #[arg(default_value = "target/store_rate")]
    folder: PathBuf,
    /// What to measure
    #[arg(long, value_enum, default_value = "store")]
    measure: Measure,
}

#[derive(Clone, Copy, ValueEnum)]
enum Measure {
    Store,
    Messages,
    Heads,
    Both,
    Paced,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Args { folder, measure } = Args::parse();
    match measure {
        Measure::Store => {
            println!("outstanding  messages/s  answers a call  mean latency ms");
            for outstanding in [1, 16, 256, 4_096, 16_384, 65_536] {
                store(&mut Running::open(&folder)?, outstanding, false)?;
            }
        }
        Measure::Messages => messages(&mut Running::open(&folder.join("reads"))?)?,
        Measure::Heads => heads(&mut Running::open(&folder.join("reads"))?)?,
        Measure::Paced => {
            for ids in [Ids::Ascending, Ids::Random] {
                paced(&mut Running::open(&folder.join(format!("{ids:?}")))?, ids)?;
            }
        }
        Measure::Both => {
            println!("outstanding  messages/s  answers a call  mean latency ms");
            let mut running = Running::open(&folder.join("reads"))?;
            fill(&mut running, LOG_MESSAGES, |n| message(n, user("reader"), user("writer")))?;
            for reading in [false, true, false, true] {
                store(&mut running, 256, reading)?;
            }
        }
    }
    Ok(())
}

/// A store with one shard.
struct Running {
    store: Store,
    answered: mpsc::Receiver<Vec<(Ticket, Answer)>>,
}

impl Running {
    fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let (answers, answered) = mpsc::channel();
        let options = StoreOptions { provision: true, ..StoreOptions::default() };
        let sink = move |_: usize, event: StoreEvent| {
            if let StoreEvent::Answers(some) = event {
                drop(answers.send(some));
            }
        };
        let store = Store::open(&DataFolder::lock(folder)?, &options, 1, Box::new(sink))?;
        Ok(Self { store, answered })
    }

    fn ask(&mut self, request: Request) -> Result<Answer, Box<dyn Error>> {
        self.store.handle().submit(0, Ticket(0), request);
        let answer = self.answered.recv()?.pop();
        Ok(answer.ok_or("an event without answers")?.1)
    }
}

/// The ticket of what reads; storing counts from 0.
const READING: Ticket = Ticket(u64::MAX);

fn store(running: &mut Running, outstanding: u64, reading: bool) -> Result<(), Box<dyn Error>> {
    let handle = running.store.handle();
    let users: Vec<UserId> = (0..USERS).map(|n| user(&format!("user-{n}"))).collect();
    let mut random = seed() ^ outstanding;
    let started = Instant::now();
    let (mut sent, mut stored, mut calls, mut read, mut pages_out) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    if reading {
        handle.submit(0, READING, page_from(1));
        pages_out = 1;
    }
    loop {
        let running_on = started.elapsed() < DURATION;
        while running_on && sent < stored + outstanding {
            handle.submit(0, Ticket(sent), random_message(&users, &mut random));
            sent += 1;
        }
        if sent == stored && pages_out == 0 {
            break;
        }
        calls += 1;
        for (ticket, answer) in running.answered.recv()? {
            if let (READING, Answer::MessagesLoaded(page)) = (ticket, &answer) {
                read += count(page);
                calls -= 1;
                pages_out = u64::from(running_on);
                if running_on {
                    handle.submit(0, READING, page_from(next_place(page).unwrap_or(1)));
                }
            } else if matches!(answer, Answer::MessageStored(_)) {
                stored += 1;
            } else {
                return Err(format!("{answer:?} instead of a place").into());
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = float(stored) / seconds;
    let latency_ms = float(outstanding) / rate * 1e3;
    print!("{outstanding:11}  {rate:10.0}  {:14.0}  {latency_ms:15.2}", float(stored) / float(calls));
    println!(
        "{}",
        if reading { format!("  and read {:.0}/s", float(read) / seconds) } else { String::new() }
    );
    Ok(())
}

/// How message ids are chosen.
#[derive(Clone, Copy, Debug)]
enum Ids {
    /// As UUIDs of version 7 are.
    Ascending,
    Random,
}

fn paced(running: &mut Running, ids: Ids) -> Result<(), Box<dyn Error>> {
    let handle = running.store.handle();
    let users: Vec<UserId> = (0..PACED_USERS).map(|n| user(&format!("{n:016}"))).collect();
    let mut random = seed();
    let mut request = |n: u64| {
        // The remainder is an index of the slice.
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
        let pick = |n: u64| users[(n % PACED_USERS) as usize].clone();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let [high, low] = std::array::from_fn(|_| next(&mut random));
        let high = match ids {
            Ids::Ascending => u64::try_from(since.as_millis()).unwrap_or_default() << 16 | high & 0xffff,
            Ids::Random => high,
        };
        new_message([high.swap_bytes(), low], pick(n), pick(n ^ 1))
    };
    fill(running, PACED_FILL, &mut request)?;
    println!("ids {ids:?}: seconds  messages  store's thread, CPU us/message");
    for second in 0..PACED_SECONDS {
        let before = store_thread_ns()?;
        let started = Instant::now();
        let (mut sent, mut stored) = (0, 0);
        while stored < PACED_RATE {
            let due = u64::try_from(started.elapsed().as_micros())? * PACED_RATE / 1_000_000;
            while sent < due.min(PACED_RATE) {
                handle.submit(0, Ticket(sent), request(sent));
                sent += 1;
            }
            if let Ok(answers) = running.answered.recv_timeout(Duration::from_micros(500)) {
                stored += u64::try_from(answers.len())?;
            }
        }
        let spent_us = float(store_thread_ns()? - before) / 1e3;
        println!("{second:20}  {stored:8}  {:10.2}", spent_us / float(stored));
    }
    Ok(())
}

/// Time that the thread which writes has spent on a CPU: Linux has it in nanoseconds.
fn store_thread_ns() -> Result<u64, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "store" {
            let text = std::fs::read_to_string(task.join("schedstat"))?;
            return Ok(text.split(' ').next().unwrap_or_default().parse()?);
        }
    }
    Err("no thread of the store".into())
}

fn messages(running: &mut Running) -> Result<(), Box<dyn Error>> {
    fill(running, LOG_MESSAGES, |n| message(n, user("reader"), user("writer")))?;
    println!("round  messages read/s  pages/s");
    for round in 0..5 {
        let started = Instant::now();
        let (mut from, mut read, mut pages) = (Some(1), 0, 0_u64);
        while let Some(place) = from {
            let Answer::MessagesLoaded(page) = running.ask(page_from(place))? else {
                return Err("no messages".into());
            };
            read += count(&page);
            pages += 1;
            from = next_place(&page);
        }
        let seconds = started.elapsed().as_secs_f64();
        println!("{round:5}  {:15.0}  {:7.0}", float(read) / seconds, float(pages) / seconds);
    }
    Ok(())
}

fn heads(running: &mut Running) -> Result<(), Box<dyn Error>> {
    fill(running, CONVERSATIONS, |n| message(n, user("popular"), user(&format!("friend-{n}"))))?;
    println!("round  conversations  ms");
    for round in 0..5 {
        let started = Instant::now();
        let (mut after, mut seen) = (Some(0), 0);
        while let Some(place) = after {
            let request = Request::LoadHeads { user: user("popular"), after: place };
            let Answer::HeadsLoaded { heads, next } = running.ask(request)? else {
                return Err("no heads".into());
            };
            seen += heads.len();
            after = next;
        }
        println!("{round:5}  {seen:13}  {:.2}", started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Stores so many messages, unless an earlier run has.
fn fill(
    running: &mut Running,
    count: u64,
    mut message: impl FnMut(u64) -> Request,
) -> Result<(), Box<dyn Error>> {
    let handle = running.store.handle();
    for n in 0..count {
        handle.submit(0, Ticket(n), message(n));
    }
    let mut stored = 0;
    while stored < count {
        for (_, answer) in running.answered.recv()? {
            if !matches!(answer, Answer::MessageStored(_)) {
                return Err(format!("{answer:?} instead of a place").into());
            }
            stored += 1;
        }
    }
    Ok(())
}

fn page_from(from_seq: u64) -> Request {
    Request::LoadMessages(Box::new(Range {
        reader: user("reader"),
        conversation: Recipient::User(user("writer")),
        from_seq,
        backwards: false,
        limit: PAGE_MESSAGES,
        limit_bytes: 256 << 10,
    }))
}

/// Where the page after this one begins; none if this was the last.
fn next_place(page: &Messages) -> Option<u64> {
    page.messages.last().map(|last| last.seq + 1).filter(|next| *next <= page.head_seq)
}

fn count(page: &Messages) -> u64 {
    u64::try_from(page.messages.len()).unwrap_or(u64::MAX)
}

/// For printing, a rounded count is as good.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

// The ids of this file are ids.
#[allow(clippy::expect_used)]
fn user(id: &str) -> UserId {
    UserId::new(id).expect("an id of letters and digits")
}

fn seed() -> u64 {
    u64::from(std::process::id()) << 32
}

fn random_message(users: &[UserId], random: &mut u64) -> Request {
    // The remainder is an index of the slice.
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    let pick = |n: u64| users[n as usize % users.len()].clone();
    let [from, to, high, low] = std::array::from_fn(|_| next(random));
    // Each writes to ten others.
    new_message([high, low], pick(from), pick(from + 1 + to % 10))
}

/// The same message for the same number, in each run.
fn message(number: u64, sender: UserId, recipient: UserId) -> Request {
    new_message([0, number], sender, recipient)
}

fn new_message([high, low]: [u64; 2], sender: UserId, recipient: UserId) -> Request {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_le_bytes());
    id[8..].copy_from_slice(&low.to_le_bytes());
    Request::StoreMessage(Box::new(NewMessage {
        sender,
        id: MessageId(id),
        recipient: Recipient::User(recipient),
        content_type: 1,
        content: "x".repeat(128).into(),
        sender_name: "somebody".into(),
        url: "".into(),
        file_suffix: "".into(),
        subject: switchboard_engine::Subject::Message,
    }))
}

/// splitmix64
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
