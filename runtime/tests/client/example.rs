//! The example, run as its readers would.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
};

use switchboard::client::Events;

use crate::harness::{TestServer, folder, heard, say, soon, with};

/// Tells the process that is the bot what it is.
const BOT: &str = "ECHO_BOT_OF_A_TEST";
/// Messages that the bot is told while it is killed again and again.
const SAID: usize = 60;
/// How often it is killed.
const KILLS: usize = 6;

#[path = "../../examples/echo.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example has a main function, which is not called here")]
mod echo;

#[tokio::test]
async fn the_bot_answers_what_was_said_before_and_after_it_came() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, mut events) = server.client("alice").start().await.unwrap();
    say(&alice, &with("parrot"), "before").await;
    assert_eq!(&*heard(&mut events).await.content.text, "before");
    let file = data.path().join("parrot.db");
    let bot = async {
        let url = format!("ws://{}", server.address);
        echo::echo(&url, "parrot", file.to_str().unwrap()).await
    };
    let chat = async {
        let answer = heard(&mut events).await;
        assert_eq!((answer.from.as_str(), &*answer.content.text), ("parrot", "before"));
        say(&alice, &with("parrot"), "after").await;
        assert_eq!(&*heard(&mut events).await.content.text, "after");
        let answer = heard(&mut events).await;
        assert_eq!((answer.from.as_str(), &*answer.content.text), ("parrot", "after"));
    };
    tokio::select! {
        ended = bot => panic!("the bot has ended: {ended:?}"),
        () = soon("the chat", chat) => {}
    }
}

/// The bot as a process, which is killed when it is dropped, as `kill -9` does it.
struct Bot(Child);

impl Bot {
    fn start(url: &str, file: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "example::the_bot_of_another_test", "--ignored", "--nocapture"]);
        command.env(BOT, format!("{url} {}", file.display()));
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the bot says next.
async fn answer(events: &mut Events) -> String {
    loop {
        let message = heard(events).await;
        if message.from.as_str() == "parrot" {
            return message.content.text.to_string();
        }
    }
}

#[tokio::test]
#[ignore = "it is the process that the next one kills"]
async fn the_bot_of_another_test() {
    let Ok(args) = std::env::var(BOT) else { return };
    let (url, file) = args.split_once(' ').unwrap();
    echo::echo(url, "parrot", file).await.unwrap();
}

#[tokio::test]
async fn a_bot_that_is_killed_again_and_again_answers_each_message_once() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, mut events) = server.client("alice").start().await.unwrap();
    let (url, file) = (format!("ws://{}", server.address), data.path().join("parrot.db"));
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut answered = 0;
    let mut bot = Bot::start(&url, &file);
    for number in 1..=SAID {
        say(&alice, &with("parrot"), &number.to_string()).await;
        if number % (SAID / KILLS) == 0 {
            // It is killed in the midst of it: how far it is with the last messages is anybody's guess.
            *answers.entry(answer(&mut events).await).or_default() += 1;
            answered += 1;
            drop(bot);
            bot = Bot::start(&url, &file);
        }
    }
    while answered < SAID {
        *answers.entry(answer(&mut events).await).or_default() += 1;
        answered += 1;
    }
    // An answer too many would come before that of what is said last.
    say(&alice, &with("parrot"), "last").await;
    assert_eq!(answer(&mut events).await, "last");
    let once = (1..=SAID).map(|number| (number.to_string(), 1)).collect();
    assert_eq!(answers, once);
}
