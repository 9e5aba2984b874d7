//! Files that come and go.

use bytes::Bytes;
use serde_json::json;

use crate::harness::TestServer;
use crate::http::{Browser, passwords, with_passwords};

/// A picture of one red pixel.
pub(crate) const PNG: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90\x77\x53\xde\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

/// The names of the files that the server keeps.
pub(crate) fn stored(server: &TestServer) -> Vec<String> {
    let folder = std::fs::read_dir(server.data().join("media")).unwrap();
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is left of a refused upload may be cleared away a moment after the answer.
async fn nothing_is_left(server: &TestServer) {
    crate::harness::soon("nothing is left", async {
        while !stored(server).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_uploaded_picture_becomes_the_avatar_and_is_served() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let uuid = alice.uuid.clone();
    let name = alice.upload("../../evil.html", PNG, &uuid).await.data();
    let name = name.as_str().unwrap().to_owned();
    assert!(name.len() == 36 && name.ends_with(".png"), "{name}");
    assert_eq!(stored(&server), [name.as_str()]);
    assert_eq!(alice.get(&format!("/user/{uuid}")).await.data()["avatar"], json!(name));
    let reply = alice.get(&format!("/file/{name}")).await;
    assert_eq!((reply.status, &reply.body[..]), (200, PNG));
    assert_eq!(reply.header("content-type"), Some("image/png"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("content-disposition"), Some("inline"));
    assert!(reply.header("content-security-policy").unwrap().contains("sandbox"));
    let range = alice.send("GET", &format!("/file/{name}"), &[("range", "bytes=1-3")], Bytes::new()).await;
    assert_eq!((range.status, &range.body[..]), (206, &b"PNG"[..]));
    let beyond = alice.send("GET", &format!("/file/{name}"), &[("range", "bytes=999-")], Bytes::new()).await;
    assert_eq!(beyond.status, 416);
    let head = alice.send("HEAD", &format!("/file/{name}"), &[], Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn what_is_no_picture_is_refused_and_leaves_nothing() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.http.upload_bytes = 100_000;
    });
    let mut alice = Browser::registered(&server, "alice").await;
    let uuid = alice.uuid.clone();
    let large = [PNG, &[0; 120_000]].concat();
    for (name, contents, text) in [
        ("a.png", &b""[..], "the file is empty"),
        ("a.png", b"<html><script>alert(1)</script>", "the file is no picture that is known here"),
        ("a.png", b"<?xml version=\"1.0\"?><svg/>", "the file is no picture that is known here"),
        ("a.png", b"BM is what a bitmap begins with", "the picture is no PNG, JPEG, GIF or WebP"),
        ("a.png", &PNG[..30], "the picture is damaged"),
        ("a.png", b"just text", "the file is no picture that is known here"),
        ("a.png", b"\x7fELF and so on", "the file is no picture that is known here"),
        ("a.png", &large, "the file has more than 100000 bytes"),
    ] {
        let refusal = alice.upload(name, contents, &uuid).await.refusal();
        assert!(refusal.starts_with(text), "{text}: {refusal}");
    }
    let form = [("content-type", "multipart/form-data; boundary=X")];
    let file = "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\u{89}PNG\r\n";
    for (body, text) in [
        (String::new(), "the upload cannot be read"),
        ("nonsense".to_owned(), "the upload cannot be read"),
        (file.to_owned(), "the upload cannot be read"),
        (format!("{file}--X--\r\n"), "the upload has no uuid"),
        (format!("{file}{file}--X--\r\n"), "the upload has file or uuid twice"),
        (
            format!("--X\r\nContent-Disposition: form-data; name=\"uuid\"\r\n\r\n{uuid}\r\n--X--\r\n"),
            "the upload has no file",
        ),
    ] {
        let refusal = alice.send("POST", "/file", &form, body.clone()).await.refusal();
        assert!(refusal.starts_with(text), "{body}: {refusal}");
    }
    let refusal = alice.send("POST", "/file", &[("content-type", "text/plain")], "x").await.refusal();
    assert!(refusal.starts_with("the upload: "), "{refusal}");
    nothing_is_left(&server).await;
    assert_eq!(alice.get(&format!("/user/{uuid}")).await.data()["avatar"], "");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let server = with_passwords();
    let alice = Browser::registered(&server, "alice").await;
    let head = format!(
        "POST /file HTTP/1.1\r\nHost: here\r\nCookie: {}\r\nContent-Length: 5000\r\n\
         Content-Type: multipart/form-data; boundary=X\r\n\r\n--X\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
        alice.cookie.as_deref().unwrap()
    );
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &[0; 1000]).await.unwrap();
    crate::harness::soon("the file begins", async {
        while stored(&server).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(stream);
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn only_so_many_upload_at_once() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.http.uploads = 1;
    });
    let mut alice = Browser::registered(&server, "alice").await;
    let head = format!(
        "POST /file HTTP/1.1\r\nHost: here\r\nCookie: {}\r\nContent-Length: 5000\r\n\
         Content-Type: multipart/form-data; boundary=X\r\n\r\n--X\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
        alice.cookie.as_deref().unwrap()
    );
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    crate::harness::soon("the file begins", async {
        while stored(&server).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let uuid = alice.uuid.clone();
    let reply = alice.upload("a.png", PNG, &uuid).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    drop(stream);
    crate::harness::soon("there is a place again", async {
        while alice.upload("a.png", PNG, &uuid).await.status == 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn no_name_leads_anywhere_else() {
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    std::fs::write(server.data().join("media/secret.html"), "<html>").unwrap();
    let unknown = format!("{}.png", "0".repeat(32));
    for name in [
        "../switchboard.db",
        "..%2fswitchboard.db",
        "%2e%2e/switchboard.db",
        "..%5cswitchboard.db",
        "secret.html",
        "%2fetc%2fpasswd",
        ".",
        "..",
        "%00",
        &unknown,
        &format!("{}.html", "0".repeat(32)),
        &format!("{}.svg", "0".repeat(32)),
        &format!("{}.part", "0".repeat(32)),
        &format!("{}.PNG", "0".repeat(32)),
    ] {
        let reply = alice.get(&format!("/file/{name}")).await;
        assert_eq!(reply.status, 404, "{name}");
    }
}

#[tokio::test]
async fn what_a_browser_would_run_is_never_shown() {
    // An upload by frame, which takes any file.
    let server = with_passwords();
    let mut alice = Browser::registered(&server, "alice").await;
    let bob = Browser::registered(&server, "bob").await;
    let (mut from, mut to) = (alice.socket().await, bob.socket().await);
    for (suffix, contents) in
        [("html", &b"<html><script>1</script>"[..]), ("svg", b"<svg onload='1'/>"), ("js", b"1")]
    {
        let mut upload = crate::harness::text(&bob.uuid, "");
        (upload.content_type, upload.file_suffix, upload.file) = (3, suffix.to_owned(), contents.into());
        from.send(&upload).await;
        let url = to.recv().await.url;
        let reply = alice.get(&format!("/file/{url}")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"), "{suffix}");
        assert_eq!(reply.header("content-disposition"), Some("attachment"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn a_users_pictures_have_so_many_bytes_and_what_does_not_fit_leaves_nothing() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.media.user_bytes = 150;
    });
    let mut alice = Browser::registered(&server, "alice").await;
    let uuid = alice.uuid.clone();
    let first = alice.upload("a.png", PNG, &uuid).await.data();
    let second = alice.upload("b.png", PNG, &uuid).await.data();
    let refusal = alice.upload("c.png", PNG, &uuid).await.refusal();
    assert!(refusal.starts_with("your files may have 150 bytes together"), "{refusal}");
    let mut both = [first.as_str().unwrap(), second.as_str().unwrap()];
    both.sort_unstable();
    // The old picture stays for a while, and counts.
    assert_eq!(stored(&server), both);
    assert_eq!(alice.get(&format!("/user/{uuid}")).await.data()["avatar"], second);
    let mut bob = Browser::registered(&server, "bob").await;
    let uuid = bob.uuid.clone();
    bob.upload("a.png", PNG, &uuid).await.data();
}
