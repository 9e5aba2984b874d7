//! Accounts, sessions, users and friends.

use serde_json::{Value, json};

use crate::client::{Api, PASSWORD, with_passwords};

#[tokio::test]
async fn registering_gives_an_account_and_a_session() {
    let server = with_passwords();
    let mut alice = Api::nobody(&server);
    let fields =
        json!({"username": " alice ", "password": PASSWORD, "nickname": "Al", "email": "al@example.org"});
    let reply = alice.post("/api/v1/accounts", &fields).await;
    assert_eq!(reply.status, 201);
    let data = reply.data();
    alice.enter(&data);
    assert_eq!(reply.header("location"), Some(format!("/api/v1/users/{}", alice.id).as_str()));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("switchboard_session=") && cookie.contains("; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let account = json!({
        "id": alice.id, "username": "alice", "nickname": "Al", "avatar": null, "email": "al@example.org",
        "created_at": data["account"]["created_at"]
    });
    assert_eq!(data["account"], account);
    assert!(data["account"]["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(alice.get("/api/v1/accounts/me").await.data(), account);
    let (kind, detail) = alice.post("/api/v1/accounts", &fields).await.problem(409);
    assert_eq!((kind.as_str(), detail.as_str()), ("conflict", "the user name \"alice\" is taken"));
}

#[tokio::test]
async fn a_browser_logs_in_with_its_cookie() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let nobody = Api::nobody(&server);
    let login = json!({"username": "alice", "password": PASSWORD});
    let reply = nobody.post("/api/v1/sessions", &login).await;
    assert_eq!(reply.status, 201);
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let me = nobody.send("GET", "/api/v1/accounts/me", &[("cookie", &cookie)], "").await.data();
    assert_eq!(me["id"], json!(alice.id));
    // A page of another site has no use of it for what changes something, and is not given one.
    let foreign = ("origin", "http://evil.example");
    let headers = [("cookie", cookie.as_str()), foreign, ("content-type", "application/json")];
    let reply = nobody.send("PATCH", "/api/v1/accounts/me", &headers, r#"{"nickname":"x"}"#).await;
    assert_eq!(reply.problem(403).0, "foreign-page");
    let headers = [foreign, ("content-type", "application/json")];
    let reply = nobody.send("POST", "/api/v1/sessions", &headers, login.to_string()).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (201, None));
    // Logging out takes the cookie away.
    let out = nobody.send("DELETE", "/api/v1/sessions/current", &[("cookie", &cookie)], "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    let reply = nobody.send("GET", "/api/v1/accounts/me", &[("cookie", &cookie)], "").await;
    assert_eq!(reply.problem(401).0, "unauthenticated");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn a_user_changes_what_is_said_of_it() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let changed = alice.patch("/api/v1/accounts/me", &json!({"nickname": "Al", "email": "x@y"})).await.data();
    assert_eq!((&changed["nickname"], &changed["email"]), (&json!("Al"), &json!("x@y")));
    let changed = alice.patch("/api/v1/accounts/me", &json!({"email": null, "nickname": ""})).await.data();
    assert_eq!((&changed["nickname"], &changed["email"]), (&json!(""), &json!("x@y")));
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it_and_ends_the_other_sessions() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let other = alice.again().await;
    let path = "/api/v1/accounts/me/password";
    let change = |old: &str| json!({"old_password": old, "new_password": "battery staple"});
    let (kind, detail) = alice.json("PUT", path, &change("wrong")).await.problem(403);
    assert_eq!((kind.as_str(), detail.as_str()), ("forbidden", "the old password is wrong"));
    assert_eq!(other.get("/api/v1/accounts/me").await.status, 200);
    let short = json!({"old_password": PASSWORD, "new_password": "short"});
    assert_eq!(alice.json("PUT", path, &short).await.problem(422).0, "invalid");
    assert_eq!(alice.json("PUT", path, &change(PASSWORD)).await.status, 204);
    assert_eq!(alice.get("/api/v1/accounts/me").await.status, 200);
    assert_eq!(other.get("/api/v1/accounts/me").await.status, 401);
    let login = |password: &str| json!({"username": "alice", "password": password});
    assert_eq!(other.post("/api/v1/sessions", &login(PASSWORD)).await.problem(401).0, "unauthenticated");
    assert_eq!(other.post("/api/v1/sessions", &login("battery staple")).await.status, 201);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let login = json!({"username": "alice", "password": PASSWORD}).to_string();
    let headers = [("content-type", "application/json"), ("user-agent", "Lynx")];
    let mut lynx = Api::nobody(&server);
    let data = lynx.send("POST", "/api/v1/sessions", &headers, login).await.data();
    lynx.enter(&data);
    let third = alice.again().await;
    let sessions = alice.all("/api/v1/sessions", 2).await;
    assert_eq!(sessions.len(), 3);
    let agents: Vec<_> = sessions.iter().map(|session| session["user_agent"].as_str().unwrap()).collect();
    assert_eq!(agents.iter().filter(|agent| **agent == "Lynx").count(), 1);
    let current: Vec<_> = sessions.iter().filter(|session| session["is_current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(data["session_id"].as_str().unwrap().len(), 32);
    let theirs = sessions.iter().find(|session| session["user_agent"] == "Lynx").unwrap();
    assert_eq!(theirs["id"], data["session_id"]);
    for time in ["created_at", "used_at", "expires_at"] {
        assert!(theirs[time].as_str().unwrap().ends_with('Z'));
    }
    let path = format!("/api/v1/sessions/{}", data["session_id"].as_str().unwrap());
    // Nobody else ends it.
    let bob = Api::registered(&server, "bob").await;
    assert_eq!(bob.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(lynx.get("/api/v1/accounts/me").await.status, 200);
    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(lynx.get("/api/v1/accounts/me").await.status, 401);
    assert_eq!(alice.delete(&path).await.status, 404);
    assert_eq!(alice.delete("/api/v1/sessions").await.status, 204);
    assert_eq!(third.get("/api/v1/accounts/me").await.status, 401);
    assert_eq!(alice.all("/api/v1/sessions", 2).await.len(), 1);
    assert_eq!(bob.all("/api/v1/sessions", 2).await.len(), 1);
}

#[tokio::test]
async fn users_are_found_and_befriended() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let mut others = Vec::new();
    for name in ["bob", "carol", "dave"] {
        others.push(Api::registered(&server, name).await);
    }
    let bob = json!({"id": others[0].id, "username": "bob", "nickname": "", "avatar": null});
    assert_eq!(
        alice.get("/api/v1/users?username=bob").await.data(),
        json!({"items": [bob], "next_cursor": null})
    );
    assert_eq!(alice.get("/api/v1/users?username=Bob").await.items(), Vec::<Value>::new());
    assert_eq!(alice.get(&format!("/api/v1/users/{}", others[0].id)).await.data(), bob);
    assert_eq!(alice.get("/api/v1/users/nobody").await.problem(404).0, "not-found");
    for other in &others {
        let path = format!("/api/v1/friends/{}", other.id);
        assert_eq!(alice.put(&path).await.status, 204);
        assert_eq!(alice.put(&path).await.status, 204, "again changes nothing");
    }
    let mut names: Vec<_> =
        alice.all("/api/v1/friends", 2).await.iter().map(|f| f["username"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["bob", "carol", "dave"]);
    assert_eq!(others[0].all("/api/v1/friends", 2).await, Vec::<Value>::new(), "one side's alone");
    let path = format!("/api/v1/friends/{}", others[1].id);
    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(alice.delete(&path).await.problem(404).0, "not-found");
    assert_eq!(alice.all("/api/v1/friends", 1).await.len(), 2);
    assert_eq!(alice.put(&format!("/api/v1/friends/{}", alice.id)).await.problem(409).0, "conflict");
    assert_eq!(alice.put("/api/v1/friends/nobody").await.problem(404).0, "not-found");
}
