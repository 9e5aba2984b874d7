//! Signed tokens: made here or by somebody else, accepted over HTTP and at the handshake, and ended.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use switchboard::{
    config::{Config, Provision},
    store::Ban,
    tokens::{self, Algorithm, Claims, Key, KeySet, Rules},
};

use crate::harness::{Client, PATIENCE, TestServer, user};
use crate::http::{Browser, passwords};

/// A server with a file of keys, and what signs for it.
struct Signing {
    server: TestServer,
    file: PathBuf,
    keys: KeySet,
    _folder: tempfile::TempDir,
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl Signing {
    fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let mut keys = KeySet::default();
        keys.add(Key::generate(Algorithm::EdDsa, now()).unwrap()).unwrap();
        keys.add(Key::generate(Algorithm::EdDsa, now()).unwrap().of("https://id.example")).unwrap();
        tokens::write(&file, &keys).unwrap();
        let path = file.to_str().unwrap().to_owned();
        let server = TestServer::start(|config| {
            passwords(config);
            config.tokens.keys = path;
            adjust(config);
        });
        Self { server, file, keys, _folder: folder }
    }

    /// A token of a user, signed with the key at this place, as this issuer.
    fn token(&self, place: usize, issuer: &str, of: &str, adjust: impl FnOnce(&mut Claims)) -> String {
        let mut claims = Claims {
            user: user(of),
            session: None,
            issued_at: now(),
            expires_at: now() + 60,
            id: String::new(),
        };
        adjust(&mut claims);
        let rules = Rules { issuer: issuer.into(), audience: "switchboard".into() };
        tokens::sign(&claims, &rules, &self.keys.keys()[place]).unwrap()
    }

    fn own(&self, of: &str) -> String {
        self.token(0, "switchboard", of, |_| {})
    }
}

/// What a call of a user is answered with this token.
async fn status(of: &Browser, token: &str) -> u16 {
    let mut program = Browser { cookie: None, ..of.clone() };
    let bearer = format!("Bearer {token}");
    let path = format!("/user?uuid={}", of.uuid);
    program.send("GET", &path, &[("authorization", bearer.as_str())], "").await.status
}

async fn socket(of: &Browser, token: &str) -> Result<Client, u16> {
    let program = Browser { cookie: None, ..of.clone() };
    let bearer = format!("Bearer {token}");
    match program.try_socket(&of.uuid, &[("authorization", &bearer)]).await {
        Ok(socket) => Ok(Client { user: of.uuid.clone(), socket }),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_token_is_its_users_over_http_and_at_the_handshake_and_nobody_elses() {
    let signing = Signing::start(|_| {});
    let alice = Browser::registered(&signing.server, "alice").await;
    let bob = Browser::registered(&signing.server, "bob").await;
    let token = signing.own(&alice.uuid);
    assert_eq!((status(&alice, &token).await, status(&bob, &token).await), (200, 401));
    let mut client = socket(&alice, &token).await.unwrap();
    assert_eq!(client.content().await, "welcome!");
    client.has_nothing_more().await;
    assert_eq!(socket(&bob, &token).await.err(), Some(401));
    // Browsers have cookies, which take no signed tokens.
    let cookie = Browser { cookie: Some(format!("switchboard_session={token}")), ..alice.clone() };
    assert_eq!(cookie.clone().get(&format!("/user?uuid={}", alice.uuid)).await.status, 401);
}

#[tokio::test]
async fn what_is_not_right_is_refused_and_leaves_nothing_behind() {
    let signing = Signing::start(|_| {});
    let alice = Browser::registered(&signing.server, "alice").await;
    let good = signing.own(&alice.uuid);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let expired = signing.token(0, "switchboard", &alice.uuid, |claims| claims.expires_at = now() - 60);
    let early = signing.token(0, "switchboard", &alice.uuid, |claims| claims.issued_at = now() + 60);
    let session =
        signing.token(0, "switchboard", &alice.uuid, |claims| claims.session = Some("ab".repeat(16)));
    let foreign = signing.token(1, "switchboard", &alice.uuid, |_| {});
    let nobody = signing.own("nobody-at-all");
    for wrong in [
        &expired,
        &early,
        &session,
        &foreign,
        &nobody,
        signed,
        &format!("{signed}."),
        &format!("{good}x"),
        "a.b.c",
    ] {
        assert_eq!(status(&alice, wrong).await, 401, "{wrong}");
        assert_eq!(socket(&alice, wrong).await.err(), Some(401), "{wrong}");
    }
    assert_eq!(signing.server.directory().user(&user("nobody-at-all")).unwrap(), None);
}

#[tokio::test]
async fn another_issuers_token_makes_its_user_where_that_is_wanted() {
    let signing = Signing::start(|config| config.tokens.provision = Provision::On);
    let carol = Browser { uuid: "carol".into(), ..Browser::new(&signing.server) };
    let token = signing.token(1, "https://id.example", "carol", |_| {});
    assert_eq!(status(&carol, &token).await, 200);
    let made = signing.server.directory().account(&user("carol")).unwrap().unwrap();
    assert_eq!((made.user.username.as_deref(), made.has_password), (Some("carol"), false));
    assert_eq!(socket(&carol, &token).await.unwrap().content().await, "welcome!");
}

#[tokio::test]
async fn a_session_makes_tokens_that_end_with_it() {
    let signing = Signing::start(|_| {});
    let mut alice = Browser::registered(&signing.server, "alice").await;
    let made = alice.post("/api/v1/tokens", &json!({"lifetime_s": 600})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let mut client = socket(&alice, &token).await.unwrap();
    assert_eq!(status(&alice, &token).await, 200);
    let kept = alice.clone();
    alice.post("/user/logout", &json!({})).await.data();
    assert_eq!(client.closed().await.0, 4004);
    assert_eq!(status(&kept, &token).await, 401);
    let nobody = alice.post("/api/v1/tokens", &json!({})).await;
    assert_eq!(nobody.status, 401);
    // A token that came from no session makes none.
    let mut program = Browser { cookie: None, ..kept.clone() };
    let bearer = format!("Bearer {}", signing.own(&kept.uuid));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    assert_eq!(program.send("POST", "/api/v1/tokens", &headers, "{}").await.status, 403);
}

#[tokio::test]
async fn a_server_without_keys_makes_no_tokens() {
    let server = crate::http::with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    assert_eq!(alice.post("/api/v1/tokens", &json!({})).await.status, 409);
}

#[tokio::test]
async fn bans_and_new_passwords_end_tokens_and_their_connections() {
    let signing = Signing::start(|_| {});
    let mut alice = Browser::registered(&signing.server, "alice").await;
    let token = signing.token(0, "switchboard", &alice.uuid, |claims| claims.issued_at -= 1);
    let mut client = socket(&alice, &token).await.unwrap();
    alice.put("/user", &json!({"username": "alice", "password": "another horse"})).await.data();
    assert_eq!(client.closed().await.0, 4004);
    assert_eq!(status(&alice, &token).await, 401);
    let id = user(&alice.uuid);
    signing.server.directory().ban(&id, &Ban { reason: String::new(), until_ms: None }).unwrap();
    let newer = signing.token(0, "switchboard", &alice.uuid, |claims| claims.issued_at += 5);
    assert_eq!((status(&alice, &newer).await, socket(&alice, &newer).await.err()), (403, Some(403)));
}

#[tokio::test]
async fn a_token_that_expires_takes_its_connection_along() {
    let signing = Signing::start(|_| {});
    let alice = Browser::registered(&signing.server, "alice").await;
    let token = signing.token(0, "switchboard", &alice.uuid, |claims| claims.expires_at = now() + 2);
    let mut client = socket(&alice, &token).await.unwrap();
    assert_eq!(client.closed().await.0, 4004);
}

#[tokio::test]
async fn keys_are_exchanged_while_the_server_runs() {
    let mut signing = Signing::start(|_| {});
    let alice = Browser::registered(&signing.server, "alice").await;
    let old = signing.own(&alice.uuid);
    assert_eq!(status(&alice, &old).await, 200);
    signing.keys = KeySet::default();
    signing.keys.add(Key::generate(Algorithm::Hs256, now()).unwrap()).unwrap();
    tokens::write(&signing.file, &signing.keys).unwrap();
    let new = signing.own(&alice.uuid);
    let until = std::time::Instant::now() + PATIENCE;
    while status(&alice, &new).await != 200 {
        assert!(std::time::Instant::now() < until, "the new key is not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status(&alice, &old).await, 401, "what a retired key has signed is worth nothing");
}
