//! What a client with its store in a file costs: `cargo run --release --example client_rate -- say URL MESSAGES` and
//! `... hear URL MESSAGES FILE`, against a server with its rates lifted.
//!
//! - `say` sends so many messages of 100 bytes to bob, from 50 users.
//! - `hear` is bob with his store in this file, until he has taken so many. If they were said before, he catches up;
//!   if he comes first, he is told them as they are said.

use std::error::Error;
use std::time::Instant;

use switchboard::client::{Client, Content, Event, Recipient, SqliteStore};

const SENDERS: usize = 50;
const TEXT_BYTES: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["say", url, messages] => say(url, messages.parse()?).await,
        ["hear", url, messages, file] => hear(url, messages.parse()?, file).await,
        _ => Err("usage: client_rate say URL MESSAGES | hear URL MESSAGES FILE".into()),
    }
}

async fn say(url: &str, messages: usize) -> Result<(), Box<dyn Error>> {
    let bob = Recipient::User("bob".parse()?);
    let text = "x".repeat(TEXT_BYTES);
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let (client, events) =
            Client::builder(url.parse()?, format!("sender-{number}").parse()?).start().await?;
        drop(events);
        senders.push(client);
    }
    let begun = Instant::now();
    let mut fates = Vec::new();
    for sender in senders.iter().cycle().take(messages) {
        fates.push(sender.submit(bob.clone(), Content::text(&text)).await?);
        // Less than a client holds.
        if fates.len() == 500 * SENDERS {
            for fate in fates.drain(..) {
                fate.await?;
            }
        }
    }
    for fate in fates {
        fate.await?;
    }
    println!("said {:.0} messages a second", messages as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

async fn hear(url: &str, messages: usize, file: &str) -> Result<(), Box<dyn Error>> {
    let store = SqliteStore::open(file)?;
    let (client, mut events) = Client::builder(url.parse()?, "bob".parse()?).store(store).start().await?;
    let (mut heard, mut begun) = (0, None);
    while heard < messages {
        let Some(event) = events.next().await else { return Err("the client has ended".into()) };
        if let Event::Message { .. } = event {
            begun.get_or_insert_with(|| (Instant::now(), cpu_seconds()));
            heard += 1;
        }
    }
    client.close().await;
    let Some((begun, cpu)) = begun else { return Ok(()) };
    println!(
        "took {:.0} messages a second, {:.1} us of CPU time each",
        messages as f64 / begun.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) * 1e6 / messages as f64
    );
    Ok(())
}

/// CPU time of this process, user and system, as Linux has it.
fn cpu_seconds() -> f64 {
    // Fields 14 and 15 of proc(5) stat, in ticks of a hundredth of a second; the name before them has no blank in it.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u32>().ok()).sum::<u32>();
    f64::from(ticks) / 100.0
}
