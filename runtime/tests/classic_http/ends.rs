//! WebSockets end with what they were opened with; and who is banned stays outside.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use switchboard::store::{AccountRole, Ban, Conversation, NewSession};
use switchboard_proto::{Message as _, classic::Message};
use tokio_tungstenite::tungstenite;

use crate::harness::{Client, TestServer, soon, user};
use crate::http::{Browser, PASSWORD, passwords, with_passwords};

const ENDED: (u16, &str) = (4004, "the session has ended: log in again");
const BANNED: (u16, &str) = (4005, "this user is banned: ask those who run the server");

#[track_caller]
fn assert_closed(closed: &(u16, String), expected: (u16, &str)) {
    assert_eq!((closed.0, closed.1.as_str()), expected);
}

async fn another(server: &TestServer, username: &str, uuid: &str) -> Browser {
    let mut browser = Browser::new(server);
    browser.post("/user/login", &json!({"username": username, "password": PASSWORD})).await.data();
    browser.uuid = uuid.to_owned();
    browser
}

#[tokio::test]
async fn logging_out_closes_the_sockets_of_that_session_alone() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.shards = 2;
    });
    let mut alice = Browser::registered(&server, "alice").await;
    let phone = another(&server, "alice", &alice.uuid).await;
    let mut sockets = [alice.socket().await, alice.socket().await];
    let mut other = phone.socket().await;
    alice.post("/user/logout", &json!({})).await.data();
    for socket in &mut sockets {
        assert_closed(&socket.closed().await, ENDED);
    }
    other.has_nothing_more().await;
}

#[tokio::test]
async fn another_password_closes_the_sockets_of_the_other_sessions() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let phone = another(&server, "alice", &alice.uuid).await;
    let (mut own, mut other) = (alice.socket().await, phone.socket().await);
    alice.put("/user", &json!({"username": "alice", "password": "another horse"})).await.data();
    assert_closed(&other.closed().await, ENDED);
    own.has_nothing_more().await;
}

#[tokio::test]
async fn a_session_that_makes_room_for_a_newer_one_takes_its_sockets_along() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.accounts.sessions_per_user = 1;
    });
    let alice = Browser::registered(&server, "alice").await;
    let mut oldest = alice.socket().await;
    let newest = another(&server, "alice", &alice.uuid).await;
    assert_closed(&oldest.closed().await, ENDED);
    newest.socket().await.has_nothing_more().await;
}

#[tokio::test]
async fn what_another_process_ends_is_noticed() {
    let server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    let mut socket = alice.socket().await;
    let mut directory = server.directory();
    let session = directory.signed_in(&user(&alice.uuid), None, 10).unwrap().remove(0);
    assert!(directory.end_session_of(&user(&alice.uuid), session.id).unwrap());
    assert_closed(&socket.closed().await, ENDED);
    assert_eq!(alice.socket_status(&alice.uuid, &[]).await, 401);
}

#[tokio::test]
async fn a_session_that_expires_takes_its_socket_along() {
    let server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    let token = "A".repeat(43);
    let session = NewSession {
        token_hash: Sha256::digest(token.as_bytes()).into(),
        lifetime_ms: 1_500,
        user_agent: String::new(),
        sessions_per_user: 10,
    };
    server.directory().begin_session(&user(&alice.uuid), &session).unwrap();
    let program = Browser { cookie: None, ..alice.clone() };
    let bearer = format!("Bearer {token}");
    let opened = program.try_socket(&alice.uuid, &[("authorization", &bearer)]).await;
    let mut client = Client { user: alice.uuid.clone(), socket: opened.unwrap() };
    assert_closed(&client.closed().await, ENDED);
    assert_eq!(program.socket_status(&alice.uuid, &[("authorization", &bearer)]).await, 401);
    alice.socket().await.has_nothing_more().await;
}

/// The status and the words that a WebSocket is refused with.
async fn refused(browser: &Browser) -> (u16, String) {
    match browser.try_socket(&browser.uuid, &[]).await {
        Ok(_) => panic!("it is let in"),
        Err(tungstenite::Error::Http(response)) => {
            let text = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            (response.status().as_u16(), text.trim().to_owned())
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn who_is_banned_is_thrown_out_at_once_and_stays_outside() {
    let server = with_passwords();
    let mut mallory = Browser::registered(&server, "mallory").await;
    let mut bob = Browser::registered(&server, "bob").await;
    let phone = another(&server, "mallory", &mallory.uuid).await;
    let mut sockets = [mallory.socket().await, phone.socket().await];
    let mut witness = bob.socket().await;
    let ban = Ban { reason: "spam".to_owned(), until_ms: None };
    server.directory().ban(&user(&mallory.uuid), &ban).unwrap();
    for socket in &mut sockets {
        assert_closed(&socket.closed().await, BANNED);
    }
    witness.has_nothing_more().await;
    assert_eq!(refused(&mallory).await, (403, "this user is banned: spam".to_owned()));
    for path in [format!("/user?uuid={}", mallory.uuid), format!("/user/{}", bob.uuid)] {
        let reply = mallory.get(&path).await;
        assert_eq!((reply.status, reply.refusal().as_str()), (403, "this user is banned: spam"));
    }
    let fields = json!({"username": "mallory", "password": PASSWORD});
    let mut nobody = Browser::new(&server);
    assert_eq!(nobody.post("/user/login", &fields).await.refusal(), "this user is banned: spam");
    // Whoever does not know the password is not told.
    let wrong = nobody.post("/user/login", &json!({"username": "mallory", "password": "wrong horse"})).await;
    assert_eq!(wrong.refusal(), "the user name or the password is wrong");
    assert_eq!(bob.get(&format!("/user/{}", mallory.uuid)).await.status, 200);
    assert_eq!(server.directory().sessions_of(&user(&mallory.uuid)).unwrap(), 0);
}

#[tokio::test]
async fn after_a_ban_one_logs_in_again_and_nothing_of_before_is_good_for_anything() {
    let server = with_passwords();
    let mut mallory = Browser::registered(&server, "mallory").await;
    let ban = Ban { reason: String::new(), until_ms: None };
    server.directory().ban(&user(&mallory.uuid), &ban).unwrap();
    assert!(server.directory().unban(&user(&mallory.uuid)).unwrap());
    assert_eq!(mallory.get(&format!("/user?uuid={}", mallory.uuid.clone())).await.status, 401);
    assert_eq!(refused(&mallory).await.0, 401);
    another(&server, "mallory", &mallory.uuid).await.socket().await.has_nothing_more().await;
}

#[tokio::test]
async fn a_ban_ends_by_itself_and_does_not_bring_the_old_sessions_back() {
    let server = with_passwords();
    let mut mallory = Browser::registered(&server, "mallory").await;
    let until_ms = now_ms() + 1_000;
    let ban = Ban { reason: "cool down".to_owned(), until_ms: Some(until_ms) };
    server.directory().ban(&user(&mallory.uuid), &ban).unwrap();
    let path = format!("/user?uuid={}", mallory.uuid.clone());
    // What is asked before the end is forbidden, and afterwards the session is none any more.
    let over = async {
        loop {
            let reply = mallory.get(&path).await;
            match reply.status {
                403 => assert!(reply.refusal().ends_with("UTC: cool down")),
                status => return (status, now_ms() >= until_ms),
            }
        }
    };
    assert_eq!(soon("the end of the ban", over).await, (401, true));
    another(&server, "mallory", &mallory.uuid).await.socket().await.has_nothing_more().await;
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn nobody_slips_in_while_its_session_ends() {
    let server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    // Handshakes and the end of their session at the same time, again and again: each socket that was opened is closed.
    for _ in 0..20 {
        let mut phone = another(&server, "alice", &alice.uuid).await;
        let (one, two, three) = (phone.clone(), phone.clone(), phone.clone());
        let fields: Value = json!({});
        let (_, first, second, third) = tokio::join!(
            phone.post("/user/logout", &fields),
            one.try_socket(&alice.uuid, &[]),
            two.try_socket(&alice.uuid, &[]),
            three.try_socket(&alice.uuid, &[]),
        );
        for mut socket in [first, second, third].into_iter().flatten() {
            // It may be cut off before it was welcomed, or closed with the reason.
            let ended = async {
                while let Some(Ok(frame)) = socket.next().await {
                    if let tungstenite::Message::Close(Some(close)) = &frame {
                        assert_eq!(u16::from(close.code), 4004);
                    } else if let tungstenite::Message::Binary(bytes) = frame {
                        assert_eq!(Message::decode(bytes).unwrap().content, "welcome!");
                    }
                }
            };
            soon("the end of a socket", ended).await;
        }
    }
}

#[tokio::test]
async fn roles_are_kept_and_told() {
    let server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    let id = user(&alice.uuid);
    let mut directory = server.directory();
    assert_eq!(directory.standing(&id).unwrap().unwrap().role, AccountRole::User);
    assert!(directory.set_role(&id, AccountRole::Administrator).unwrap());
    assert!(!directory.set_role(&id, AccountRole::Administrator).unwrap());
    assert_eq!(directory.account(&id).unwrap().unwrap().standing.role, AccountRole::Administrator);
    assert_eq!(directory.standing(&user("nobody")).unwrap(), None);
    assert!(directory.set_role(&user("nobody"), AccountRole::User).is_err());
}

#[tokio::test]
async fn who_is_removed_is_thrown_out_and_its_name_is_free_for_somebody_else() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let bob = Browser::registered(&server, "bob").await;
    let (mut socket, mut witness) = (alice.socket().await, bob.socket().await);
    socket.send(&crate::harness::text(&bob.uuid, "hello")).await;
    assert_eq!(witness.content().await, "hello");
    server.directory().remove_user(&user(&alice.uuid)).unwrap().unwrap();
    assert_closed(&socket.closed().await, BANNED);
    assert_eq!(alice.get(&format!("/user?uuid={}", alice.uuid)).await.status, 401);
    let fields = json!({"username": "alice", "password": PASSWORD});
    let mut nobody = Browser::new(&server);
    let refusal = nobody.post("/user/login", &fields).await.refusal();
    assert_eq!(refusal, "the user name or the password is wrong");
    let another = Browser::registered(&server, "alice").await;
    assert_ne!(another.uuid, alice.uuid);
    another.socket().await.has_nothing_more().await;
    let said = Conversation::Direct(user(&alice.uuid), user(&bob.uuid));
    let history = server.directory().history(&said, 1..=u64::MAX, 10).unwrap();
    assert_eq!(history.len(), 1, "it is a part of what bob has been told");
}
