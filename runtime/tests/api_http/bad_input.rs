//! What is wrong is told, with its status, and leaves no trace.

use serde_json::{Value, json};
use switchboard::config::AuthMode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Api, PASSWORD, passwords, with_passwords};
use crate::harness::{TestServer, soon};

#[tokio::test]
async fn unknown_calls_and_methods_are_problems() {
    let server = with_passwords();
    let nobody = Api::nobody(&server);
    for path in ["/api", "/api/", "/api/v1", "/api/v1/nothing", "/api/v2/accounts", "/api/v1/accounts/me/x"] {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(nobody.send(method, path, &[], "").await.problem(404).0, "not-found", "{path}");
        }
    }
    let reply = nobody.send("DELETE", "/api/v1/accounts/me", &[], "").await;
    assert_eq!(reply.problem(405).0, "method-not-allowed");
    assert_eq!(reply.header("allow"), Some("GET,HEAD,PATCH"));
    let reply = nobody.send("PUT", "/api/v1/sessions", &[], "").await;
    assert_eq!(reply.problem(405).0, "method-not-allowed");
    let mut allowed: Vec<_> = reply.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_body_that_is_none_is_a_problem() {
    let server = with_passwords();
    let nobody = Api::nobody(&server);
    let good = json!({"username": "bob", "password": PASSWORD}).to_string();
    let path = "/api/v1/accounts";
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let reply = nobody.send("POST", path, &[("content-type", kind)], good.clone()).await;
        assert_eq!(reply.problem(415).0, "unsupported-type", "{kind}");
    }
    assert_eq!(nobody.send("POST", path, &[], good.clone()).await.problem(415).0, "unsupported-type");
    let send = async |body: &str| {
        let body = body.to_owned();
        nobody.send("POST", path, &[("content-type", "application/json; charset=utf-8")], body).await
    };
    for body in ["", "{", "{\"username\":", "nonsense", "\u{0}"] {
        assert_eq!(send(body).await.problem(400).0, "malformed", "{body}");
    }
    for body in ["[]", "5", "null", "{}", r#"{"username": 5, "password": "correct horse"}"#] {
        assert_eq!(send(body).await.problem(422).0, "invalid", "{body}");
    }
    let list = r#"["bob", "correct horse", "", ""]"#;
    assert_eq!(send(list).await.problem(422).0, "invalid");
    let twice = r#"{"username": "bob", "username": "bob", "password": "correct horse"}"#;
    assert_eq!(send(twice).await.problem(422).0, "invalid");
    let (_, detail) = send(&json!({"username": "bob", "pasword": "x"}).to_string()).await.problem(422);
    assert!(detail.contains("unknown field `pasword`"), "{detail}");
    let reply = send(&json!({"username": "x".repeat(70_000), "password": PASSWORD}).to_string()).await;
    assert_eq!(
        reply.problem(413),
        ("too-large".to_owned(), "the request has more than 65536 bytes".to_owned())
    );
    let reply =
        nobody.send("POST", path, &[("content-type", "application/json")], vec![0xff, 0xfe, 0x00]).await;
    assert_eq!(reply.problem(400).0, "malformed");
    assert_eq!(server.directory().user_named("bob").unwrap(), None);
}

#[tokio::test]
async fn a_value_that_is_none_is_a_problem() {
    let server = with_passwords();
    let nobody = Api::nobody(&server);
    let good = json!({"username": "bob", "password": PASSWORD});
    for (field, value, text) in [
        ("username", json!(""), "the user name is missing"),
        ("username", json!("x".repeat(1_000)), "the user name has 1000 bytes; at most 64 are taken"),
        ("username", json!("a\u{0}b"), "the user name has a control character in it"),
        ("username", json!("\u{202e}a"), "the user name has a control character in it"),
        ("username", json!("System"), "nobody may be called System"),
        ("password", json!("short"), "the password has 5 bytes; it must have 8 at least"),
        ("password", json!("x".repeat(257)), "the password has 257 bytes; at most 256 are taken"),
        ("nickname", json!("x".repeat(65)), "the nickname has 65 bytes; at most 64 are taken"),
        ("email", json!("x".repeat(255)), "the e-mail address has 255 bytes; at most 254 are taken"),
    ] {
        let mut fields = good.clone();
        fields[field] = value;
        let problem = nobody.post("/api/v1/accounts", &fields).await.problem(422);
        assert_eq!(problem, ("invalid".to_owned(), text.to_owned()));
    }
    assert_eq!(server.directory().user_named("bob").unwrap(), None);
}

#[tokio::test]
async fn a_query_or_path_that_is_none_is_a_problem() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "cursor=x",
        "cursor=",
        "cursor=!!",
        "cursor=bnVsbA",
        "cursor=e30",
        "unknown=1",
        "%FF=1",
    ] {
        for list in ["/api/v1/sessions", "/api/v1/friends"] {
            let reply = alice.get(&format!("{list}?{query}")).await;
            // A null is no place, but where a list begins.
            if query == "cursor=bnVsbA" && reply.status == 200 {
                continue;
            }
            assert_eq!(reply.problem(400).0, "malformed", "{list}?{query}");
        }
    }
    let long = format!("/api/v1/sessions?cursor={}", "x".repeat(5_000));
    assert_eq!(alice.get(&long).await.problem(400).0, "malformed");
    for path in
        ["/api/v1/users", "/api/v1/users?username=", "/api/v1/open_groups", "/api/v1/open_groups?name="]
    {
        assert_eq!(alice.get(path).await.problem(400).0, "malformed", "{path}");
    }
    assert_eq!(alice.get("/api/v1/users?username=%FF").await.problem(400).0, "malformed");
    assert_eq!(alice.get("/api/v1/users/%FF").await.problem(400).0, "malformed");
    for id in ["x".repeat(129), "System".to_owned(), "%0a".to_owned()] {
        assert_eq!(alice.get(&format!("/api/v1/users/{id}")).await.problem(404).0, "not-found", "{id}");
    }
    for id in ["x", "", "0123456789abcdef0123456789ABCDEF", "0123456789abcdef0123456789abcdef00", "%00"] {
        assert_eq!(alice.delete(&format!("/api/v1/sessions/{id}")).await.problem(404).0, "not-found", "{id}");
    }
}

#[tokio::test]
async fn whoever_guesses_waits() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.accounts.login_burst = 2;
        config.accounts.login_interval_ms = 3_600_000;
    });
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let login = |password: &str| json!({"username": "alice", "password": password});
    for _ in 0..2 {
        let problem = bob.post("/api/v1/sessions", &login("wrong horse")).await.problem(401);
        assert_eq!(problem.1, "the user name or the password is wrong");
    }
    let reply = bob.post("/api/v1/sessions", &login(PASSWORD)).await;
    assert_eq!(reply.problem(429).0, "too-many");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 3_000);
    // Who has a session does not guess the password with it either.
    let change = json!({"old_password": PASSWORD, "new_password": "battery staple"});
    assert_eq!(alice.json("PUT", "/api/v1/accounts/me/password", &change).await.problem(429).0, "too-many");
    assert_eq!(bob.json("PUT", "/api/v1/accounts/me/password", &change).await.status, 204);
}

#[tokio::test]
async fn too_many_calls_wait() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.http.calls_per_second = 1;
        config.http.call_burst = 20;
    });
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let nobody = Api::nobody(&server);
    for (who, path, status) in [
        (&alice, "/api/v1/accounts/me", 200),
        (&nobody, "/api/v1/accounts/me", 401),
        (&bob, "/user/nobody", 200),
    ] {
        let mut last = who.get(path).await;
        let mut count = 1;
        while last.status == status {
            count += 1;
            assert!(count < 2_000, "{path} is never too many");
            last = who.get(path).await;
        }
        assert!(count > 15, "{count}");
        let wait: u64 = last.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait), "{wait}");
        if path.starts_with("/api") {
            assert_eq!(last.problem(429).0, "too-many");
        } else {
            assert_eq!((last.status, &last.json()["code"]), (429, &json!(-1)));
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_timeout() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.http.body_timeout_ms = 50;
    });
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let count = soon("an answer", stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_busy_server_says_so() {
    let server = TestServer::start(|config| {
        passwords(config);
        // Each hash takes tens of milliseconds, and one may wait.
        config.accounts.hashes = 1;
        config.accounts.hashes_waiting = 1;
    });
    let login = json!({"username": "nobody", "password": PASSWORD});
    let nobody = Api::nobody(&server);
    let calls = (0..20).map(|index| {
        let mut login = login.clone();
        login["username"] = json!(format!("nobody{index}"));
        let nobody = nobody.clone();
        async move { nobody.post("/api/v1/sessions", &login).await }
    });
    let replies = futures_util::future::join_all(calls).await;
    let busy: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert!(!busy.is_empty(), "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    for reply in busy {
        assert_eq!(reply.problem(503).0, "busy");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_session_is_needed_with_open_authentication_as_well() {
    let server = TestServer::start(|config| config.auth = AuthMode::Open);
    let nobody = Api::nobody(&server);
    assert_eq!(nobody.get("/api/v1/accounts/me").await.problem(401).0, "unauthenticated");
    let alice = Api::registered(&server, "alice").await;
    assert_eq!(alice.get("/api/v1/accounts/me").await.data()["username"], Value::from("alice"));
}
