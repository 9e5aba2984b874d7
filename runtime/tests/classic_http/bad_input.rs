//! What is wrong is told, and leaves no trace.

use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::http::{Browser, PASSWORD, passwords, with_passwords};

#[tokio::test]
async fn a_registration_says_what_is_wrong_with_it() {
    let server = with_passwords();
    let _alice = Browser::registered(&server, "alice").await;
    let mut nobody = Browser::new(&server);
    let good = json!({"username": "bob", "password": PASSWORD});
    let with = |field: &str, value: Value| {
        let mut fields = good.clone();
        fields[field] = value;
        fields
    };
    for (fields, text) in [
        (json!({}), "the user name is missing"),
        (with("username", json!(null)), "the user name is missing"),
        (with("username", json!(" \t")), "the user name is missing"),
        (with("username", json!("x".repeat(60_000))), "the user name has 60000 bytes; at most 64 are taken"),
        (with("username", json!("a\u{0}b")), "the user name has a control character in it"),
        (with("username", json!("\u{202e}a")), "the user name has a control character in it"),
        (with("username", json!("System")), "nobody may be called System"),
        (with("username", json!("alice")), "the user name \"alice\" is taken"),
        (with("password", json!("")), "the password is missing"),
        (with("password", json!("short")), "the password has 5 bytes; it must have 8 at least"),
        (with("password", json!("x".repeat(257))), "the password has 257 bytes; at most 256 are taken"),
        (with("nickname", json!("x".repeat(65))), "the nickname has 65 bytes; at most 64 are taken"),
        (with("email", json!("x".repeat(255))), "the e-mail address has 255 bytes; at most 254 are taken"),
        (with("avatar", json!("a\nb")), "the avatar has a control character in it"),
        (with("username", json!(5)), "the request's JSON cannot be read: invalid type"),
        (json!([1]), "the request's JSON cannot be read: invalid"),
        (json!("x".repeat(70_000)), "the request has more than 65536 bytes"),
    ] {
        let reply = nobody.post("/user/register", &fields).await;
        let refusal = reply.refusal();
        assert!(refusal.starts_with(text), "{text}: {refusal}");
        assert!(refusal.len() < 300, "{refusal}");
        assert_eq!(reply.header("set-cookie"), None);
    }
    for body in ["", "{", "{\"username\":", "nonsense", "{\"username\":\"a\",\"username\":\"b\"}", "\u{0}"] {
        let refusal = nobody.send("POST", "/user/register", &[], body).await.refusal();
        assert!(refusal.starts_with("the request's JSON cannot be read"), "{body}: {refusal}");
    }
    // Nothing has come into being.
    let directory = server.directory();
    assert_eq!(directory.user_named("bob").unwrap(), None);
    assert_eq!(directory.user_named("System").unwrap(), None);
}

#[tokio::test]
async fn a_wrong_login_does_not_say_what_is_wrong() {
    let server = with_passwords();
    let _alice = Browser::registered(&server, "alice").await;
    let mut nobody = Browser::new(&server);
    for (username, password) in [
        ("alice", "wrong horse"),
        ("alice", ""),
        ("nobody", ""),
        ("nobody", PASSWORD),
        ("", ""),
        ("alice", &"x".repeat(10_000)),
        (&"x".repeat(10_000), ""),
    ] {
        let reply = nobody.post("/user/login", &json!({"username": username, "password": password})).await;
        assert_eq!(reply.refusal(), "the user name or the password is wrong", "{username:.20}");
        assert_eq!(reply.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn whoever_guesses_waits() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.accounts.login_burst = 3;
        config.accounts.login_interval_ms = 3_600_000;
    });
    let _alice = Browser::registered(&server, "alice").await;
    let _bob = Browser::registered(&server, "bob").await;
    let mut nobody = Browser::new(&server);
    let right = json!({"username": "alice", "password": PASSWORD});
    let wrong = json!({"username": "alice", "password": "wrong horse"});
    for _ in 0..2 {
        nobody.post("/user/login", &wrong).await.refusal();
    }
    nobody.post("/user/login", &right).await.data();
    for _ in 0..3 {
        nobody.post("/user/login", &wrong).await.refusal();
    }
    let reply = nobody.post("/user/login", &right).await;
    assert!(reply.refusal().starts_with("too many tries; try again in "), "{}", reply.refusal());
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 3_000);
    nobody.post("/user/login", &json!({"username": "bob", "password": PASSWORD})).await.data();
}

#[tokio::test]
async fn too_many_from_one_address_wait() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.accounts.address_burst = 2;
        config.accounts.address_interval_ms = 3_600_000;
        config.trusted_proxies = "127.0.0.1".to_owned();
    });
    let mut nobody = Browser::new(&server);
    let login = json!({"username": "nobody", "password": "x"}).to_string();
    for (address, text) in [
        ("10.0.0.1", "the user name"),
        ("1.2.3.4, 10.0.0.1", "the user name"),
        ("5.6.7.8, 10.0.0.1", "too many tries"),
        ("10.0.0.2", "the user name"),
    ] {
        let reply = nobody.send("POST", "/user/login", &[("x-forwarded-for", address)], login.clone()).await;
        assert!(reply.refusal().starts_with(text), "{address}: {}", reply.refusal());
    }
}

#[tokio::test]
async fn the_other_calls_say_what_is_wrong() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let uuid = alice.uuid.clone();
    let friend = |name: &str| json!({"uuid": uuid, "friendUsername": name});
    for (path, fields, text) in [
        ("/friend", friend("nobody"), "there is no user called \"nobody\""),
        ("/friend", friend("alice"), "nobody needs oneself as a friend"),
        ("/friend", friend(" "), "the friendUsername is missing"),
        ("/friend", json!({"uuid": uuid, "friendUsername": 7}), "the request's JSON cannot be read"),
        (&format!("/group/{uuid}"), json!({}), "the group's name is missing"),
        (&format!("/group/{uuid}"), json!({"name": "x".repeat(257)}), "the group's name has 257 bytes"),
        (
            &format!("/group/{uuid}"),
            json!({"name": "x", "notice": "x".repeat(1025)}),
            "the group's notice has",
        ),
        (
            &format!("/group/{uuid}"),
            json!({"name": "a\u{7}"}),
            "the group's name has a control character in it",
        ),
        (
            &format!("/group/join/{uuid}/{}", "x".repeat(129)),
            json!({}),
            "the group's id: the id is longer than",
        ),
    ] {
        let refusal = alice.post(path, &fields).await.refusal();
        assert!(refusal.starts_with(text), "{path}: {refusal}");
    }
    for (path, text) in [
        ("/user/nobody", "there is no such user"),
        ("/user/%FF", "the path cannot be read"),
        (&format!("/user/{}", "x".repeat(129)), "the user's id: the id is longer"),
        ("/group/user/none", "there is no such group, or it is not open to you"),
        ("/message", "the MessageType must be 1, for a user, or 2, for a group"),
        (&format!("/message?Uuid={uuid}&MessageType=3"), "the MessageType must be"),
        (&format!("/message?Uuid={uuid}&MessageType=1"), "there is no user called \"\""),
        (&format!("/message?Uuid={uuid}&MessageType=1&FriendUsername=x"), "there is no user called \"x\""),
        (&format!("/message?Uuid={uuid}&uuid=x&MessageType=1"), "the query has Uuid more than once"),
        (&format!("/message?Uuid={uuid}&MessageType=1&Before=x"), "Before must be a whole number"),
        (
            &format!("/message?Uuid={uuid}&MessageType=1&FriendUsername=%FF"),
            "the query cannot be read: it is not UTF-8",
        ),
        ("/message?Uuid=none&MessageType=2", "there is no such group, or it is not open to you"),
    ] {
        let refusal = alice.get(path).await.refusal();
        assert!(refusal.starts_with(text), "{path}: {refusal}");
    }
    assert_eq!(alice.get(&format!("/group/{uuid}")).await.data(), json!([]));
    assert_eq!(alice.get(&format!("/user?uuid={uuid}")).await.data(), json!([]));
}

#[tokio::test]
async fn lists_have_their_limits() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.accounts.friends = 1;
        config.limits.groups_per_user = 1;
        config.http.members = 1;
    });
    let mut alice = Browser::registered(&server, "alice").await;
    let mut bob = Browser::registered(&server, "bob").await;
    let carol = Browser::registered(&server, "carol").await;
    let path = format!("/group/{}", alice.uuid);
    alice.post(&path, &json!({"name": "one"})).await.data();
    let limit = "there are 1 groups already, which is the limit";
    assert_eq!(alice.post(&path, &json!({"name": "two"})).await.refusal(), limit);
    let bobs = format!("/group/{}", bob.uuid);
    bob.post(&bobs, &json!({"name": "three"})).await.data();
    let group = bob.get(&bobs).await.data()[0]["uuid"].as_str().unwrap().to_owned();
    let join = format!("/group/join/{}/{group}", alice.uuid);
    assert_eq!(alice.post(&join, &json!({})).await.refusal(), limit);
    let mut carol = carol;
    carol.post(&format!("/group/join/{}/{group}", carol.uuid.clone()), &json!({})).await.data();
    assert_eq!(carol.get(&format!("/group/user/{group}")).await.data().as_array().unwrap().len(), 1);
    alice.post("/friend", &json!({"uuid": alice.uuid, "friendUsername": "bob"})).await.data();
    let refusal =
        alice.post("/friend", &json!({"uuid": alice.uuid, "friendUsername": "carol"})).await.refusal();
    assert_eq!(refusal, "there are 1 friends already, which is the limit");
    assert_eq!(
        alice.get(&format!("/user?uuid={}", alice.uuid.clone())).await.data().as_array().unwrap().len(),
        1
    );
}
