//! A bot that answers each message with the same text: `cargo run --example echo -- ws://127.0.0.1:8888 parrot`.

use std::error::Error;

use switchboard::client::{Client, Content, Event, MessageId, SqliteStore, State, SubmitError};
use switchboard_engine::SubmitError::AlreadyPending;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(user)) = (args.next(), args.next()) else {
        return Err("usage: echo URL USER [STORE]".into());
    };
    let file = args.next().unwrap_or_else(|| format!("{user}.db"));
    echo(&url, &user, &file).await
}

/// Answers until the client ends. With its store in a file, a bot that is killed and started again answers what was
/// said in between. What it had not done with when it was killed, it is told again.
pub(crate) async fn echo(url: &str, user: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let store = SqliteStore::open(file)?;
    let (client, mut events) = Client::builder(url.parse()?, user.parse()?).store(store).start().await?;
    while let Some(event) = events.next().await {
        if let Event::Message { conversation, message, .. } = event {
            println!("{}: {}", message.from, message.content.text);
            if !message.own {
                // Under the same id whenever it is the same answer, so that the server stores it once.
                let id = MessageId(message.id.0.map(|byte| !byte));
                let answer = Content::text(&message.content.text);
                // Resolves when the answer is kept; the client sees to it that it is sent.
                match client.submit_as(id, conversation, answer).await {
                    Ok(_) | Err(SubmitError::Refused(AlreadyPending)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        } else if let Event::State(state) = event {
            eprintln!("{state:?}");
        }
    }
    if let State::Failed(error) = client.state() { Err(error.into()) } else { Ok(()) }
}
