//! What those who run the server may do.

use serde_json::{Value, json};
use switchboard::config::AuthMode;
use switchboard::store::AccountRole;

use crate::client::{Api, PASSWORD, with_passwords};
use crate::harness::{TestServer, user};

async fn administrator(server: &TestServer) -> Api {
    let root = Api::registered(server, "root").await;
    assert!(server.directory().set_role(&user(&root.id), AccountRole::Administrator).unwrap());
    root
}

#[tokio::test]
async fn a_user_is_banned_and_comes_back() {
    let server = with_passwords();
    let root = administrator(&server).await;
    let bob = Api::registered(&server, "bob").await;
    let mut socket = bob.socket().await;
    let path = format!("/api/v1/admin/accounts/{}/ban", bob.id);
    let until = "2999-01-01T00:00:00Z";
    for wrong in [
        json!({"until": "x"}),
        json!({"until": "1969-01-01T00:00:00Z"}),
        json!({"reason": "x".repeat(1_025)}),
    ] {
        assert_eq!(root.json("PUT", &path, &wrong).await.problem(422).0, "invalid");
    }
    assert_eq!(root.json("PUT", &path, &json!({"reason": "spam", "until": until})).await.status, 204);
    assert_eq!(bob.get("/api/v1/accounts/me").await.problem(403).0, "banned");
    let login = json!({"username": "bob", "password": PASSWORD});
    let (kind, detail) = bob.post("/api/v1/sessions", &login).await.problem(403);
    assert_eq!(kind, "banned");
    assert!(detail.ends_with(": spam"), "{detail}");
    socket.closed().await;
    let accounts = root.all("/api/v1/admin/accounts", 1).await;
    let seen = accounts.iter().find(|account| account["username"] == "bob").unwrap();
    assert_eq!(seen["ban"], json!({"reason": "spam", "until": until}));
    assert_eq!((&seen["is_administrator"], &seen["has_password"]), (&json!(false), &json!(true)));
    assert_eq!(accounts.iter().filter(|account| account["is_administrator"] == true).count(), 1);
    assert_eq!(root.delete(&path).await.status, 204);
    assert_eq!(root.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(bob.post("/api/v1/sessions", &login).await.status, 201);
    let own = format!("/api/v1/admin/accounts/{}/ban", root.id);
    assert_eq!(root.json("PUT", &own, &json!({})).await.problem(409).0, "conflict");
    let nobody = "/api/v1/admin/accounts/nobody/ban";
    assert_eq!(root.json("PUT", nobody, &json!({})).await.problem(404).0, "not-found");
}

#[tokio::test]
async fn a_user_is_logged_out_everywhere() {
    let server = with_passwords();
    let root = administrator(&server).await;
    let bob = Api::registered(&server, "bob").await;
    let other = bob.again().await;
    let mut socket = bob.socket().await;
    let path = format!("/api/v1/admin/accounts/{}/sessions", bob.id);
    let reached = root.delete(&path).await.data()["connections"].as_u64().unwrap();
    assert!(reached <= 1, "the session's end may have closed it already");
    socket.closed().await;
    for session in [&bob, &other] {
        assert_eq!(session.get("/api/v1/accounts/me").await.problem(401).0, "unauthenticated");
    }
    assert_eq!(bob.again().await.get("/api/v1/accounts/me").await.status, 200);
    assert_eq!(root.delete("/api/v1/admin/accounts/nobody/sessions").await.problem(404).0, "not-found");
}

#[tokio::test]
async fn the_server_says_something() {
    let server = with_passwords();
    let root = administrator(&server).await;
    let bob = Api::registered(&server, "bob").await;
    let carol = Api::registered(&server, "carol").await;
    let (mut to_bob, mut to_carol) = (bob.socket().await, carol.socket().await);
    let path = "/api/v1/admin/announcements";
    let all = root.post(path, &json!({"text": "maintenance at noon"})).await.data();
    assert_eq!(all, json!({"connections": 2}));
    for socket in [&mut to_bob, &mut to_carol] {
        let said = socket.recv().await;
        assert_eq!((said.from.as_str(), said.content.as_str()), ("System", "maintenance at noon"));
    }
    let one = root.post(path, &json!({"text": "only you", "user_id": bob.id})).await.data();
    assert_eq!(one, json!({"connections": 1}));
    assert_eq!(to_bob.content().await, "only you");
    to_carol.has_nothing_more().await;
    assert_eq!(root.post(path, &json!({"text": ""})).await.problem(422).0, "invalid");
    assert_eq!(root.post(path, &json!({"text": "x".repeat(4_097)})).await.problem(422).0, "invalid");
    assert_eq!(root.post(path, &json!({"text": "x", "user_id": "nobody"})).await.problem(404).0, "not-found");
}

#[tokio::test]
async fn there_are_statistics() {
    let server = with_passwords();
    let root = administrator(&server).await;
    let bob = Api::registered(&server, "bob").await;
    bob.group("chess", "open").await;
    let _socket = bob.socket().await;
    let expected = json!({
        "connections": 1, "users": 2, "groups": 1, "conversations": 1, "entries": 1, "sessions": 2
    });
    assert_eq!(root.get("/api/v1/admin/statistics").await.data(), expected);
    assert_eq!(bob.get("/api/v1/admin/statistics").await.problem(403).0, "forbidden");
}

#[tokio::test]
async fn where_whoever_is_believed_nobody_is_an_administrator() {
    let server = TestServer::start(|config| config.auth = AuthMode::Open);
    let root = administrator(&server).await;
    assert_eq!(root.get("/api/v1/admin/statistics").await.problem(403).0, "forbidden");
    assert_eq!(root.get("/api/v1/accounts/me").await.data()["username"], Value::from("root"));
}
