//! What each call takes and gives, as the front-end relies on it.

use serde_json::json;
use switchboard_engine::GroupId;

use crate::{
    harness::{TestServer, create_group},
    http::{Browser, PASSWORD, keys, passwords, with_passwords},
};

#[tokio::test]
async fn registering_gives_the_user_and_logs_it_in() {
    let server = with_passwords();
    let mut alice = Browser::new(&server);
    let fields = json!({
        "username": " alice ", "password": PASSWORD, "nickname": "Al", "email": "al@example.org", "avatar": "a.png",
        "something": "else"
    });
    let reply = alice.post("/user/register", &fields).await;
    let data = reply.data();
    assert_eq!(keys(&data), ["avatar", "createAt", "email", "nickname", "username", "uuid"]);
    assert_eq!(data["username"], "alice");
    assert_eq!((&data["nickname"], &data["email"]), (&json!("Al"), &json!("al@example.org")));
    assert_eq!(data["uuid"].as_str().unwrap().len(), 32);
    let created = data["createAt"].as_str().unwrap();
    assert!(created.contains('T') && created.ends_with('Z'), "{created}");
    let cookie = reply.header("set-cookie").unwrap();
    for part in ["switchboard_session=", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"));
    assert!(!String::from_utf8_lossy(&reply.body).contains(alice.token()), "a page's scripts do not see it");
}

#[tokio::test]
async fn logging_in_gives_the_user() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.trusted_proxies = "127.0.0.0/8".to_owned();
    });
    let alice = Browser::registered(&server, "alice").await;
    let mut again = Browser::new(&server);
    let fields = json!({"username": "alice", "password": PASSWORD});
    let headers = [("content-type", "application/json"), ("x-forwarded-proto", "https")];
    let reply = again.send("POST", "/user/login", &headers, fields.to_string()).await;
    let data = reply.data();
    assert_eq!(keys(&data), ["avatar", "createAt", "email", "nickname", "username", "uuid"]);
    assert_eq!((&data["uuid"], &data["username"]), (&json!(alice.uuid), &json!("alice")));
    assert!(reply.header("set-cookie").unwrap().ends_with("; Secure"));
    assert_ne!(again.cookie, alice.cookie);
}

#[tokio::test]
async fn a_user_changes_what_is_said_of_it() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let fields = json!({"username": "alice", "nickname": "Al", "email": "x@y", "password": ""});
    assert_eq!(alice.put("/user", &fields).await.data(), json!(null));
    let data = alice.get(&format!("/user/{}", alice.uuid.clone())).await.data();
    let expected = json!({"uuid": alice.uuid, "username": "alice", "nickname": "Al", "avatar": ""});
    assert_eq!(data, expected);
    // What is not named stays; an empty password is none.
    assert_eq!(alice.put("/user", &json!({"username": "alice"})).await.data(), json!(null));
    let data =
        Browser::new(&server).post("/user/login", &json!({"username": "alice", "password": PASSWORD})).await;
    assert_eq!((&data.data()["nickname"], &data.data()["email"]), (&json!("Al"), &json!("x@y")));
}

#[tokio::test]
async fn friends_are_listed() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let bob = Browser::registered(&server, "bob").await;
    let path = format!("/user?uuid={}", alice.uuid);
    assert_eq!(alice.get(&path).await.data(), json!([]));
    let fields = json!({"uuid": alice.uuid, "friendUsername": "bob"});
    assert_eq!(alice.post("/friend", &fields).await.data(), json!(null));
    let expected = json!([{"uuid": bob.uuid, "username": "bob", "avatar": ""}]);
    assert_eq!(alice.get(&path).await.data(), expected);
    assert_eq!(alice.get(&path.replace("uuid", "UUID")).await.data(), expected);
    let mut bob = bob;
    assert_eq!(
        bob.get(&format!("/user?uuid={}", bob.uuid.clone())).await.data(),
        json!([]),
        "one side's alone"
    );
    assert_eq!(alice.post("/friend", &fields).await.refusal(), "\"bob\" is among your friends already");
}

#[tokio::test]
async fn users_and_groups_are_found_by_name_and_nothing_is_never_null() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let nobody = json!({"uuid": "", "username": "", "nickname": "", "avatar": ""});
    let nothing = json!({"uuid": "", "groupId": "", "name": "", "notice": "", "createAt": ""});
    for query in ["?name=nobody", "?name=", "", "?name=%25"] {
        let data = alice.get(&format!("/user/name{query}")).await.data();
        assert_eq!(data, json!({"user": nobody, "group": nothing}));
    }
    alice
        .post(&format!("/group/{}", alice.uuid.clone()), &json!({"name": "chess", "notice": "e4"}))
        .await
        .data();
    let found = alice.get("/user/name?name=chess").await.data();
    assert_eq!(found["user"], nobody);
    assert_eq!((&found["group"]["name"], &found["group"]["notice"]), (&json!("chess"), &json!("e4")));
    assert_eq!(keys(&found["group"]), keys(&nothing));
    let found = alice.get("/user/name?Name=alice").await.data();
    assert_eq!(found["user"]["uuid"], json!(alice.uuid));
    assert_eq!(found["group"], nothing);
}

#[tokio::test]
async fn groups_are_made_joined_and_listed() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let mut bob = Browser::registered(&server, "bob").await;
    let path = format!("/group/{}", alice.uuid);
    assert_eq!(alice.get(&path).await.data(), json!([]));
    assert_eq!(alice.post(&path, &json!({"name": "chess", "notice": "e4"})).await.data(), json!(null));
    let groups = alice.get(&path).await.data();
    assert_eq!(keys(&groups[0]), ["createAt", "groupId", "name", "notice", "uuid"]);
    assert!(groups[0]["groupId"].is_u64());
    assert_eq!((&groups[0]["name"], &groups[0]["notice"]), (&json!("chess"), &json!("e4")));
    let group = groups[0]["uuid"].as_str().unwrap().to_owned();
    let join = format!("/group/join/{}/{group}", bob.uuid);
    assert_eq!(bob.post(&join, &json!({})).await.data(), json!(null));
    let refusal = bob.post(&join, &json!({})).await.refusal();
    assert!(refusal.contains("member"), "{refusal}");
    let expected = json!([
        {"uuid": alice.uuid, "username": "alice", "avatar": ""},
        {"uuid": bob.uuid, "username": "bob", "avatar": ""}
    ]);
    assert_eq!(bob.get(&format!("/group/user/{group}")).await.data(), expected);
    // Both are entries of the group's log.
    let conversation = switchboard::store::Conversation::Group(GroupId::new(&group).unwrap());
    assert_eq!(server.directory().conversation(&conversation).unwrap().unwrap().head_seq, 2);
}

#[tokio::test]
async fn what_is_joined_by_invitation_is_not_joined_otherwise_nor_found() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    create_group(&server.data(), "closed", &["olga"]);
    let refusal =
        alice.post(&format!("/group/join/{}/closed", alice.uuid.clone()), &json!({})).await.refusal();
    assert_eq!(refusal, "there is no such group, or it is not open to you");
    let unknown = alice.post(&format!("/group/join/{}/none", alice.uuid.clone()), &json!({})).await.refusal();
    assert_eq!(unknown, refusal);
    assert_eq!(alice.get("/user/name?name=closed").await.data()["group"]["uuid"], "");
}

#[tokio::test]
async fn every_call_answers_options() {
    let server = with_passwords();
    let mut nobody = Browser::new(&server);
    for path in [
        "/user/register",
        "/user/login",
        "/user",
        "/user/x",
        "/user/name",
        "/friend",
        "/group/x",
        "/group/join/x/y",
        "/group/user/x",
        "/message",
        "/file",
        "/file/x",
    ] {
        let headers = [("origin", "http://front.end"), ("access-control-request-method", "POST")];
        let reply = nobody.send("OPTIONS", path, &headers, "").await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), None, "{path}");
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST, PUT, OPTIONS"));
    }
}

#[tokio::test]
async fn with_open_authentication_nobody_needs_a_session() {
    let server = TestServer::start(|_| {});
    let alice = Browser::registered(&server, "alice").await;
    let bob = Browser::registered(&server, "bob").await;
    let mut nobody = Browser::new(&server);
    nobody.post("/friend", &json!({"uuid": alice.uuid, "friendUsername": "bob"})).await.data();
    let friends = nobody.get(&format!("/user?uuid={}", alice.uuid)).await.data();
    assert_eq!(friends[0]["uuid"], json!(bob.uuid));
    nobody.put("/user", &json!({"username": "bob", "nickname": "B"})).await.data();
    assert_eq!(nobody.get(&format!("/user/{}", bob.uuid)).await.data()["nickname"], "B");
    assert_eq!(nobody.socket_status(&alice.uuid, &[("origin", "http://front.end")]).await, 101);
    assert_eq!(nobody.get("/user?uuid=nobody").await.refusal(), "there is no user nobody");
}
