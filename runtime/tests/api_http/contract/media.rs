//! Files.

use serde_json::{Value, json};

use crate::client::{Api, PNG, passwords, with_passwords};
use crate::harness::{TestServer, text};

/// The files that a server keeps.
fn files_of(server: &TestServer) -> Vec<String> {
    let folder = server.data().join("media");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_taken_for_what_its_first_bytes_say() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    for (name, bytes, extension, content_type) in [
        ("a.png", PNG, "png", "image/png"),
        ("a.html", PNG, "png", "image/png"),
        ("", PNG, "png", "image/png"),
        ("notes.txt", b"plain words", "txt", "text/plain; charset=utf-8"),
        ("a.tar.TXT", b"plain words", "txt", "text/plain; charset=utf-8"),
        ("page.html", b"plain words", "bin", "application/octet-stream"),
    ] {
        let reply = alice.upload(name, bytes).await;
        let file = reply.data();
        assert_eq!(reply.status, 201);
        let stored = file["name"].as_str().unwrap();
        assert!(stored.ends_with(&format!(".{extension}")), "{name}: {stored}");
        let url = format!("/api/v1/media/{stored}");
        let thumbnail = (extension == "png").then(|| format!("{url}?size=256"));
        let expected = json!({
            "name": stored, "url": url, "content_type": content_type, "thumbnail_url": thumbnail,
            "size_bytes": bytes.len()
        });
        assert_eq!((&file, reply.header("location")), (&expected, Some(url.as_str())));
        let served = alice.get(&url).await;
        assert_eq!((served.status, &served.body[..]), (200, bytes));
        assert_eq!(served.header("content-type"), Some(content_type));
    }
    assert_eq!(alice.get("/api/v1/accounts/me").await.data()["avatar"], Value::Null, "it is no avatar");
}

#[tokio::test]
async fn a_picture_is_named_with_a_smaller_one_wherever_it_is_described() {
    let server = with_passwords();
    let (alice, bob) = (Api::registered(&server, "alice").await, Api::registered(&server, "bob").await);
    let avatar = alice.picture().await;
    let file = |name: &str| {
        let url = format!("/api/v1/media/{name}");
        json!({"name": name, "url": url, "content_type": "image/png", "thumbnail_url": format!("{url}?size=256")})
    };
    let group = alice.group("chess", "open").await;
    let seen = alice.get("/api/v1/accounts/me").await.data();
    assert_eq!(seen["avatar"], file(&avatar));
    assert_eq!(bob.get(&format!("/api/v1/users/{}", alice.id)).await.data()["avatar"], file(&avatar));
    let members = alice.get(&format!("/api/v1/groups/{group}/members")).await.items();
    assert_eq!(members[0]["avatar"], file(&avatar));
    let (mut from, mut to) = (alice.socket().await, bob.socket().await);
    let mut sent = text(&bob.id, "");
    (sent.content_type, sent.file, sent.file_suffix) = (3, PNG.into(), "png".into());
    from.send(&sent).await;
    let name = to.recv().await.url;
    let path = format!("/api/v1/conversations/direct/{}", alice.id);
    assert_eq!(bob.get(&path).await.data()["last_message"]["file"], file(&name));
    assert_eq!(bob.get(&format!("{path}/messages")).await.items()[0]["file"], file(&name));
    let thumbnail = file(&name)["thumbnail_url"].as_str().unwrap().to_owned();
    let smaller = bob.get(&thumbnail).await;
    assert_eq!((smaller.status, smaller.header("content-type")), (200, Some("image/jpeg")));
    let words = bob.upload("a.txt", "no picture").await.data()["url"].as_str().unwrap().to_owned();
    assert_eq!(bob.get(&format!("{words}?size=256")).await.problem(404).0, "not-found");
    for query in ["size=64", "size=0256", "size=x", "size=256&size=512", "width=256"] {
        assert_eq!(bob.get(&format!("/api/v1/media/{name}?{query}")).await.problem(400).0, "malformed");
    }
}

#[tokio::test]
async fn what_is_not_taken_leaves_nothing() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.http.upload_bytes = 1_000;
        config.media.user_bytes = 1_500;
    });
    let alice = Api::registered(&server, "alice").await;
    assert_eq!(alice.upload("a", "").await.problem(422), ("invalid".into(), "the file is empty".into()));
    let large = alice.upload("a", vec![b'x'; 1_001]).await.problem(413);
    assert_eq!(large, ("too-large".into(), "the file has more than 1000 bytes".into()));
    let chunked = [("transfer-encoding", "chunked")];
    let large = alice.send("POST", "/api/v1/files", &chunked, vec![b'x'; 1_001]).await;
    assert_eq!(large.problem(413).0, "too-large");
    assert_eq!(alice.upload(&"x".repeat(256), "x").await.problem(400).0, "malformed");
    assert_eq!(alice.send("POST", "/api/v1/files?nmae=x", &[], "x").await.problem(400).0, "malformed");
    assert_eq!(files_of(&server), Vec::<String>::new());
    let first = alice.upload("a.txt", vec![b'x'; 1_000]).await.data();
    let (kind, detail) = alice.upload("a", vec![b'x'; 501]).await.problem(403);
    assert_eq!(kind, "forbidden");
    assert!(detail.contains("1500"), "{detail}");
    assert_eq!(files_of(&server), [first["name"].as_str().unwrap()]);
    assert_eq!(alice.upload("a", vec![b'x'; 500]).await.status, 201);
}

#[tokio::test]
async fn a_file_is_given_whole_and_in_ranges() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let name = alice.picture().await;
    assert_eq!(alice.get("/api/v1/accounts/me").await.data()["avatar"]["name"], name.as_str());
    let path = format!("/api/v1/media/{name}");
    let reply = alice.get(&path).await;
    assert_eq!((reply.status, &reply.body[..]), (200, PNG));
    for (header, value) in [
        ("content-type", "image/png"),
        ("content-disposition", "inline"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(reply.header(header), Some(value));
    }
    let part = alice.send("GET", &path, &[("range", "bytes=1-3")], "").await;
    assert_eq!((part.status, &part.body[..]), (206, &PNG[1..=3]));
    let part = alice.send("GET", &path, &[("range", "bytes=1000-")], "").await;
    assert_eq!(part.problem(416).0, "range");
    assert_eq!(part.header("content-range"), Some(format!("bytes */{}", PNG.len()).as_str()));
    for wrong in
        ["x", "..%2Fswitchboard.db", "%2e%2e", "0123456789abcdef0123456789abcdef.png", "%00", "a.html"]
    {
        assert_eq!(alice.get(&format!("/api/v1/media/{wrong}")).await.problem(404).0, "not-found", "{wrong}");
    }
    assert_eq!(Api::nobody(&server).get(&path).await.problem(401).0, "unauthenticated");
}
