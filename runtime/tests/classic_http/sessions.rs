//! How sessions begin and end, and how a Rust program uses one.

use serde_json::json;
use switchboard::client::{Client, Content, Recipient, Token};

use crate::harness::{TestServer, soon, user};
use crate::http::{Browser, PASSWORD, passwords, with_passwords};

async fn status(browser: &mut Browser) -> u16 {
    browser.get(&format!("/user?uuid={}", browser.uuid.clone())).await.status
}

async fn logged_in(server: &TestServer, username: &str, uuid: &str) -> Browser {
    let mut browser = Browser::new(server);
    browser.post("/user/login", &json!({"username": username, "password": PASSWORD})).await.data();
    browser.uuid = uuid.to_owned();
    browser
}

#[tokio::test]
async fn logging_out_ends_one_session() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let mut second = logged_in(&server, "alice", &alice.uuid).await;
    let kept = alice.clone();
    alice.post("/user/logout", &json!({})).await.data();
    assert_eq!(alice.cookie, None);
    assert_eq!(status(&mut kept.clone()).await, 401, "a copy of the cookie is worth nothing");
    assert_eq!(status(&mut second).await, 200);
}

#[tokio::test]
async fn another_password_ends_the_other_sessions() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let mut second = logged_in(&server, "alice", &alice.uuid).await;
    let fields = json!({"username": "alice", "password": "another horse"});
    alice.put("/user", &fields).await.data();
    assert_eq!(status(&mut alice).await, 200);
    assert_eq!(status(&mut second).await, 401);
    let mut nobody = Browser::new(&server);
    nobody.post("/user/login", &json!({"username": "alice", "password": PASSWORD})).await.refusal();
    nobody.post("/user/login", &fields).await.data();
    assert_eq!(
        alice.put("/user", &json!({"username": "alice", "password": "x"})).await.refusal(),
        "the password has 1 bytes; it must have 8 at least"
    );
}

#[tokio::test]
async fn the_oldest_sessions_end_when_there_are_too_many() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.accounts.sessions_per_user = 2;
    });
    let mut alice = Browser::registered(&server, "alice").await;
    for _ in 0..3 {
        let mut newest = logged_in(&server, "alice", &alice.uuid).await;
        assert_eq!(status(&mut newest).await, 200);
    }
    assert_eq!(status(&mut alice).await, 401);
    assert_eq!(server.directory().sessions_of(&user(&alice.uuid)).unwrap(), 2);
}

#[tokio::test]
async fn sessions_outlive_the_server_and_no_token_is_in_its_files() {
    let mut server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    server.stop();
    server.ended();
    let database = std::fs::read(server.data().join("switchboard.db")).unwrap();
    let has = |text: &str| database.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("$argon2id$"));
    assert!(!has(alice.token()) && !has(PASSWORD));
    let data = server.data();
    let again = TestServer::start(|config| {
        passwords(config);
        config.data = data;
    });
    let mut alice = Browser { address: again.address, ..alice };
    assert_eq!(status(&mut alice).await, 200);
}

#[tokio::test]
async fn a_program_connects_with_a_token() {
    let server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    let bob = Browser::registered(&server, "bob").await;
    let url = format!("ws://{}", server.address);
    let token: Token = alice.token().parse().unwrap();
    let builder = Client::builder(url.parse().unwrap(), user(&alice.uuid)).token(token);
    assert!(!format!("{builder:?}").contains(alice.token()));
    let (client, _events) = builder.start().await.unwrap();
    let submitted = client.submit(Recipient::User(user(&bob.uuid)), Content::text("hello")).await.unwrap();
    soon("the message is stored", submitted).await.unwrap();
    let mut bob = bob;
    let query = format!("Uuid={}&FriendUsername=alice&MessageType=1", bob.uuid);
    assert_eq!(bob.history(&query).await[0]["content"], "hello");
    // What it edits is read as it has left it, and what it recalls is not read any more.
    for (entry, read) in [(Content::edit(1, "hallo"), &["hallo"][..]), (Content::recall(1), &[])] {
        let submitted = client.submit(Recipient::User(user(&bob.uuid)), entry).await.unwrap();
        soon("the entry is stored", submitted).await.unwrap();
        let page = bob.history(&query).await;
        assert_eq!(page.iter().map(|message| message["content"].as_str().unwrap()).collect::<Vec<_>>(), read);
    }
}
