//! What the front-end does, from registering to reading on another day.

use serde_json::{Value, json};
use switchboard::config::AuthMode;

use crate::files::PNG;
use crate::harness::{TestServer, group_text, text};
use crate::http::{Browser, keys, passwords};

async fn journey(server: &TestServer) {
    let mut alice = Browser::registered(server, "alice").await;
    let mut bob = Browser::registered(server, "bob").await;
    for (one, other) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let fields = json!({"uuid": one.uuid, "friendUsername": other});
        one.post("/friend", &fields).await.data();
    }
    let picture = alice.upload("me.png", PNG, &alice.uuid.clone()).await.data();

    let (mut from, mut to) = (alice.socket().await, bob.socket().await);
    from.send(&text(&bob.uuid, "hello")).await;
    let got = to.recv().await;
    assert_eq!((got.content.as_str(), &got.from), ("hello", &alice.uuid));
    let mut upload = text(&bob.uuid, "");
    (upload.content_type, upload.file_suffix, upload.file) = (3, "png".to_owned(), PNG.into());
    from.send(&upload).await;
    let image = to.recv().await;
    assert_eq!(image.content_type, 3);
    to.send(&text(&alice.uuid, "hello yourself")).await;
    assert_eq!(from.content().await, "hello yourself");

    // Bob joins a group while he is connected, and receives what is said in it.
    let path = format!("/group/{}", alice.uuid);
    alice.post(&path, &json!({"name": "chess", "notice": ""})).await.data();
    let group = alice.get(&path).await.data()[0]["uuid"].as_str().unwrap().to_owned();
    bob.post(&format!("/group/join/{}/{group}", bob.uuid.clone()), &json!({})).await.data();
    let said = loop {
        // The shards are told of the change by the store, which is not waited for: until then it is not for him.
        from.send(&group_text(&group, "e4")).await;
        if let Ok(said) = tokio::time::timeout(std::time::Duration::from_millis(200), to.recv()).await {
            break said;
        }
    };
    assert_eq!((said.from.as_str(), said.to.as_str(), said.content.as_str()), (&*group, &*alice.uuid, "e4"));
    assert_eq!(json!(said.avatar), picture);

    // Both come back later, and read what there was.
    drop((from, to));
    let _again = bob.socket().await;
    let direct = bob.history(&format!("Uuid={}&FriendUsername=alice&MessageType=1", bob.uuid.clone())).await;
    let contents: Vec<_> = direct.iter().map(|message| message["content"].clone()).collect();
    assert_eq!(contents, ["hello", "", "hello yourself"]);
    let fields = [
        "avatar",
        "content",
        "contentType",
        "createAt",
        "fromUserId",
        "fromUsername",
        "id",
        "toUserId",
        "toUsername",
        "url",
    ];
    assert_eq!(keys(&direct[0]), fields);
    let expected = json!({
        "id": 1, "fromUserId": alice.uuid, "toUserId": bob.uuid, "content": "hello", "contentType": 1,
        "createAt": direct[0]["createAt"], "fromUsername": "alice", "toUsername": "bob", "avatar": picture, "url": ""
    });
    assert_eq!(direct[0], expected);
    assert!(direct[0]["createAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&direct[1]["contentType"], &direct[1]["url"]), (&json!(3), &json!(image.url)));
    assert_eq!((&direct[2]["fromUsername"], &direct[2]["toUsername"]), (&json!("bob"), &json!("alice")));
    let file = bob.get(&format!("/file/{}", image.url)).await;
    assert_eq!(file.body, PNG);

    let page = bob.history(&format!("uuid={group}&messagetype=2")).await;
    assert!(page.iter().all(|message| message["content"] == "e4" && message["toUsername"] == "chess"));
    assert!(!page.is_empty());
    let query = format!("UUID={}&FRIENDUSERNAME=alice&MESSAGETYPE=1&limit=1", bob.uuid);
    assert_eq!(bob.history(&query).await[0]["content"], "hello yourself", "the newest");
    let before: Vec<Value> = bob.history(&format!("{query}&before=3")).await;
    assert_eq!((before.len(), &before[0]["id"]), (1, &json!(2)));
    assert_eq!(bob.history(&format!("{query}&before=1")).await, Vec::<Value>::new());
}

#[tokio::test]
async fn two_users_register_talk_and_read_it_later() {
    journey(&TestServer::start(passwords)).await;
}

#[tokio::test]
async fn the_same_with_open_authentication_and_several_shards() {
    let server = TestServer::start(|config| {
        config.auth = AuthMode::Open;
        config.shards = 3;
    });
    journey(&server).await;
}

#[tokio::test]
async fn a_page_has_its_limits() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.http.page_messages = 3;
        config.http.page_bytes = 100;
    });
    let alice = Browser::registered(&server, "alice").await;
    let mut bob = Browser::registered(&server, "bob").await;
    let (mut from, mut to) = (alice.socket().await, bob.socket().await);
    let large = "x".repeat(200);
    for content in ["1", "2", "3", "4", &large] {
        from.send(&text(&bob.uuid, content)).await;
        to.recv().await;
    }
    let query = format!("Uuid={}&FriendUsername=alice&MessageType=1", bob.uuid);
    let ids =
        |page: Vec<Value>| page.iter().map(|message| message["id"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(bob.history(&query).await), [5]);
    assert_eq!(ids(bob.history(&format!("{query}&Before=5")).await), [2, 3, 4]);
    assert_eq!(ids(bob.history(&format!("{query}&Before=5&Limit=1000")).await), [2, 3, 4]);
    assert_eq!(ids(bob.history(&format!("{query}&Before=2")).await), [1]);
}
