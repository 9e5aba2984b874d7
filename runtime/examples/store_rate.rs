//! How many messages a second the store takes: `cargo run --release --example store_rate -- [FOLDER]`.
//!
//! Keeps a fixed number of messages outstanding, from many senders in as many conversations, and prints the
//! rate of durable ones for several of these numbers.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use switchboard::store::{DataFolder, Store, StoreEvent, StoreOptions};
use switchboard_engine::{Answer, MessageId, NewMessage, Recipient, Request, Ticket, UserId};

const USERS: u64 = 1_000;
const DURATION: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/store_rate"), PathBuf::from);
    println!("outstanding  messages/s  answers a call  mean latency ms");
    for outstanding in [1, 16, 256, 4_096, 16_384, 65_536] {
        measure(&folder, outstanding)?;
    }
    Ok(())
}

fn measure(folder: &Path, outstanding: u64) -> Result<(), Box<dyn Error>> {
    let (events, answered) = mpsc::channel();
    let options = StoreOptions { provision: true, ..StoreOptions::default() };
    let sink = move |_: usize, event: StoreEvent| drop(events.send(event));
    let store = Store::open(&DataFolder::lock(folder)?, &options, 1, Box::new(sink))?;
    let handle = store.handle();
    let users: Vec<UserId> =
        (0..USERS).map(|n| UserId::new(&format!("user-{n}"))).collect::<Result<_, _>>()?;
    let mut random = u64::from(std::process::id()) << 32 | outstanding;
    let started = Instant::now();
    let (mut sent, mut stored, mut calls) = (0_u64, 0_u64, 0_u64);
    loop {
        let running = started.elapsed() < DURATION;
        while running && sent < stored + outstanding {
            handle.submit(0, Ticket(sent), message(&users, &mut random));
            sent += 1;
        }
        if sent == stored {
            break;
        }
        if let StoreEvent::Answers(answers) = answered.recv()? {
            calls += 1;
            for (_, answer) in answers {
                assert!(matches!(answer, Answer::MessageStored(_)), "{answer:?}");
                stored += 1;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    // For printing, a rounded count is as good.
    #[allow(clippy::cast_precision_loss)]
    let (stored, calls) = (stored as f64, calls as f64);
    #[allow(clippy::cast_precision_loss)]
    let latency_ms = outstanding as f64 / (stored / seconds) * 1e3;
    println!("{outstanding:11}  {:10.0}  {:14.0}  {latency_ms:15.2}", stored / seconds, stored / calls);
    store.stop();
    Ok(())
}

fn message(users: &[UserId], random: &mut u64) -> Request {
    // The remainder is an index of the slice.
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    let pick = |n: u64| users[n as usize % users.len()].clone();
    let [from, to, high, low] = std::array::from_fn(|_| next(random));
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_le_bytes());
    id[8..].copy_from_slice(&low.to_le_bytes());
    Request::StoreMessage(Box::new(NewMessage {
        sender: pick(from),
        id: MessageId(id),
        // Each writes to ten others.
        recipient: Recipient::User(pick(from + 1 + to % 10)),
        content_type: 1,
        content: "x".repeat(128).into(),
        sender_name: "somebody".into(),
        url: "".into(),
        file_suffix: "".into(),
    }))
}

/// splitmix64
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
