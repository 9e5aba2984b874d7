//! The example, run as its readers would.

use crate::harness::{TestServer, folder, heard, say, soon, with};

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
