//! Who may do what, where users log in: every call, tried as nobody, as somebody else, as who has left the group, and as
//! the user itself.

use serde_json::{Value, json};

use crate::harness::{TestServer, group_text, user};
use crate::http::{Browser, with_passwords};
use switchboard_engine::GroupId;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is carried out.
    Done,
    /// 200, with the reason.
    Refused,
    /// 401.
    Unauthorised,
}
use Verdict::{Done, Refused, Unauthorised};

struct Call {
    method: &'static str,
    path: String,
    body: Value,
    /// As nobody, as another user, as the former member, as the user itself.
    verdicts: [Verdict; 4],
}

fn call(method: &'static str, path: String, body: Value, verdicts: [Verdict; 4]) -> Call {
    Call { method, path, body, verdicts }
}

async fn verdict(browser: &mut Browser, call: &Call) -> Verdict {
    let reply = browser.send(call.method, &call.path, &[], call.body.to_string()).await;
    if call.path.starts_with("/file/") && reply.status == 200 {
        return Done;
    }
    match (reply.status, reply.json()["code"].as_i64()) {
        (401, Some(-1)) => Unauthorised,
        (200, Some(-1)) => Refused,
        (200, Some(0)) => Done,
        other => panic!("{} {}: {other:?}", call.method, call.path),
    }
}

/// Alice, with a group that dave has left, and what was said in it.
async fn group_of(server: &TestServer, alice: &mut Browser, dave: &mut Browser) -> String {
    let path = format!("/group/{}", alice.uuid);
    alice.post(&path, &json!({"name": "chess"})).await.data();
    let group = alice.get(&path).await.data()[0]["uuid"].as_str().unwrap().to_owned();
    dave.post(&format!("/group/join/{}/{group}", dave.uuid.clone()), &json!({})).await.data();
    let mut reader = dave.socket().await;
    let mut writer = alice.socket().await;
    writer.send(&group_text(&group, "before")).await;
    assert_eq!(reader.content().await, "before");
    let id = GroupId::new(&group).unwrap();
    assert!(server.directory().leave(&id, &user(&dave.uuid)).unwrap());
    writer.send(&group_text(&group, "after")).await;
    // Another device of the sender's is not told; what is in the log is asked for until it is there.
    let query = format!("Uuid={group}&MessageType=2");
    while alice.history(&query).await.len() < 2 {
        tokio::task::yield_now().await;
    }
    group
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let mut bob = Browser::registered(&server, "bob").await;
    let mut dave = Browser::registered(&server, "dave").await;
    let carol = Browser::registered(&server, "carol").await;
    let group = group_of(&server, &mut alice, &mut dave).await;
    let picture = alice.upload("a.png", crate::files::PNG, &alice.uuid.clone()).await.data();
    let picture = picture.as_str().unwrap().to_owned();
    let id = alice.uuid.clone();

    let own = [Unauthorised, Unauthorised, Unauthorised, Done];
    let anybodys = [Unauthorised, Done, Done, Done];
    let calls = [
        call("GET", format!("/user?uuid={id}"), Value::Null, own),
        call("GET", "/user?uuid=".to_owned(), Value::Null, [Unauthorised; 4]),
        call("PUT", "/user".to_owned(), json!({"username": "alice", "nickname": "A"}), own),
        call("PUT", "/user".to_owned(), json!({"nickname": "A"}), [Unauthorised; 4]),
        call("GET", format!("/user/{id}"), Value::Null, anybodys),
        call("GET", "/user/name?name=alice".to_owned(), Value::Null, anybodys),
        call("POST", "/friend".to_owned(), json!({"uuid": id, "friendUsername": "carol"}), own),
        call("GET", format!("/group/{id}"), Value::Null, own),
        call("POST", format!("/group/{id}"), json!({"name": "go"}), own),
        call(
            "POST",
            format!("/group/join/{id}/{group}"),
            json!({}),
            [Unauthorised, Unauthorised, Unauthorised, Refused],
        ),
        call("GET", format!("/group/user/{group}"), Value::Null, [Unauthorised, Refused, Refused, Done]),
        call("GET", format!("/message?Uuid={id}&FriendUsername=carol&MessageType=1"), Value::Null, own),
        call(
            "GET",
            format!("/message?Uuid={group}&MessageType=2"),
            Value::Null,
            [Unauthorised, Refused, Done, Done],
        ),
        call("GET", format!("/file/{picture}"), Value::Null, anybodys),
    ];
    let mut nobody = Browser::new(&server);
    for call in &calls {
        for (who, browser) in [&mut nobody, &mut bob, &mut dave, &mut alice].into_iter().enumerate() {
            let verdict = verdict(browser, call).await;
            assert_eq!(verdict, call.verdicts[who], "{} {} as number {who}", call.method, call.path);
        }
    }
    let upload = nobody.upload("a.png", crate::files::PNG, &id).await;
    assert_eq!(upload.status, 401);
    let upload = bob.upload("a.png", crate::files::PNG, &id).await;
    assert_eq!(upload.status, 401);
    assert_eq!(crate::files::stored(&server), [picture], "nothing is left of what was refused");
    drop(carol);
}

#[tokio::test]
async fn who_has_left_reads_what_was_said_until_then() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let mut dave = Browser::registered(&server, "dave").await;
    let group = group_of(&server, &mut alice, &mut dave).await;
    let query = format!("Uuid={group}&MessageType=2");
    let contents =
        |page: Vec<Value>| page.iter().map(|message| message["content"].clone()).collect::<Vec<_>>();
    assert_eq!(contents(dave.history(&query).await), ["before"]);
    assert_eq!(contents(alice.history(&query).await), ["before", "after"]);
    // Whoever comes back reads from there on.
    dave.post(&format!("/group/join/{}/{group}", dave.uuid.clone()), &json!({})).await.data();
    assert_eq!(contents(dave.history(&query).await), [""; 0]);
}

#[tokio::test]
async fn a_socket_needs_the_session_of_its_user_and_a_page_that_may() {
    let server = TestServer::start(|config| {
        crate::http::passwords(config);
        config.allowed_origins = "https://chat.example".to_owned();
    });
    let alice = Browser::registered(&server, "alice").await;
    let bob = Browser::registered(&server, "bob").await;
    let own = format!("http://{}", server.address);
    let nobody = Browser::new(&server);
    assert_eq!(nobody.socket_status(&alice.uuid, &[]).await, 401);
    assert_eq!(bob.socket_status(&alice.uuid, &[]).await, 401);
    assert_eq!(alice.socket_status("alice", &[]).await, 401, "a name is no id");
    for (origin, status) in [
        (own.as_str(), 101),
        ("https://chat.example", 101),
        ("https://evil.example", 401),
        ("null", 401),
        ("http://127.0.0.1", 401),
    ] {
        assert_eq!(alice.socket_status(&alice.uuid, &[("origin", origin)]).await, status, "{origin}");
    }
    let bearer = format!("Bearer {}", alice.token());
    assert_eq!(nobody.socket_status(&alice.uuid, &[("authorization", &bearer)]).await, 101);
    let wrong = format!("Bearer {}", "x".repeat(43));
    assert_eq!(nobody.socket_status(&alice.uuid, &[("authorization", &wrong)]).await, 401);
}

#[tokio::test]
async fn a_foreign_page_changes_nothing_with_the_cookie_of_a_browser() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let path = format!("/group/{}", alice.uuid);
    let foreign = [("origin", "https://evil.example")];
    let body = json!({"name": "chess"}).to_string();
    assert_eq!(alice.send("POST", &path, &foreign, body.clone()).await.status, 401);
    assert_eq!(alice.get(&path).await.data(), json!([]));
    // With a token that a page has of its own it is a program like others.
    let bearer = format!("Bearer {}", alice.token());
    let headers = [("origin", "https://evil.example"), ("authorization", bearer.as_str())];
    alice.send("POST", &path, &headers, body).await.data();
    // Nor does it log its visitor in as somebody else.
    let login = json!({"username": "alice", "password": crate::http::PASSWORD}).to_string();
    let reply = Browser::new(&server).send("POST", "/user/login", &foreign, login).await;
    reply.data();
    assert_eq!(reply.header("set-cookie"), None);
}
