//! A front-end of others that is served from a folder, beside the calls.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use bytes::Bytes;
use switchboard::{
    config::{AuthMode, Config, FrontEnd},
    server::Server,
};

use crate::{
    harness::TestServer,
    http::{Browser, Reply, passwords},
};

const PAGE: &str = "<!doctype html><title>front-end</title>";
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// What a build leaves, in a folder that has other things beside it.
fn built() -> tempfile::TempDir {
    let around = tempfile::tempdir().unwrap();
    let root = around.path().join("dist");
    fs::create_dir_all(root.join("assets")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.join("user")).unwrap();
    for (name, contents) in [
        ("index.html", PAGE),
        ("favicon.ico", "icon"),
        ("assets/index-BkX3a9Dq.js", "long and repeated"),
        ("assets/index-BkX3a9Dq.js.gz", "gzip"),
        ("assets/index-BkX3a9Dq.js.br", "brotli"),
        ("assets/a b.css", "blank"),
        (".env", "secret"),
        (".git/config", "secret"),
        ("user/name", "not served"),
        ("../secret.txt", "secret"),
    ] {
        fs::write(root.join(name), contents).unwrap();
    }
    std::os::unix::fs::symlink(around.path().join("secret.txt"), root.join("link.txt")).unwrap();
    std::os::unix::fs::symlink(around.path(), root.join("out")).unwrap();
    std::os::unix::fs::symlink(root.join("index.html"), root.join("inside.html")).unwrap();
    std::os::unix::fs::symlink(around.path().join("secret.txt"), root.join("favicon.ico.gz")).unwrap();
    around
}

fn serving(around: &tempfile::TempDir, adjust: impl FnOnce(&mut Config)) -> (TestServer, Browser) {
    let server = TestServer::start(|config| {
        config.front_end = FrontEnd::Folder(around.path().join("dist"));
        adjust(config);
    });
    let browser = Browser::new(&server);
    (server, browser)
}

async fn get(browser: &mut Browser, path: &str, headers: &[(&str, &str)]) -> Reply {
    browser.send("GET", path, headers, Bytes::new()).await
}

#[tokio::test]
async fn a_page_and_its_files_are_served_to_whoever_asks_in_both_modes() {
    let around = built();
    let open: fn(&mut Config) = |_| {};
    for adjust in [open, passwords] {
        let (_server, mut browser) = serving(&around, adjust);
        for path in ["/", "/index.html", "/login", "/panel/alice/chat"] {
            let reply = get(&mut browser, path, &[BROWSER]).await;
            assert_eq!((reply.status, &reply.body[..]), (200, PAGE.as_bytes()), "{path}");
            assert_eq!(reply.header("content-type"), Some("text/html"));
            assert_eq!(reply.header("cache-control"), Some("no-cache"));
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        }
        let reply = get(&mut browser, "/assets/index-BkX3a9Dq.js", &[]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"long and repeated"[..]));
        assert_eq!(reply.header("content-type"), Some("text/javascript"));
        assert_eq!(reply.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(&get(&mut browser, "/assets/a%20b.css", &[]).await.body[..], b"blank");
        let head = browser.send("HEAD", "/", &[], Bytes::new()).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(&get(&mut browser, "/inside.html", &[]).await.body[..], PAGE.as_bytes());
    }
}

#[tokio::test]
async fn compressed_copies_go_to_those_who_take_them() {
    let around = built();
    let (_server, mut browser) = serving(&around, |_| {});
    for (accepted, encoding, body) in [
        ("gzip", Some("gzip"), "gzip"),
        ("gzip, br", Some("br"), "brotli"),
        ("gzip;q=0, br;q=0", None, "long and repeated"),
        ("zstd", None, "long and repeated"),
    ] {
        let path = "/assets/index-BkX3a9Dq.js";
        let reply = get(&mut browser, path, &[("accept-encoding", accepted)]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, body.as_bytes()), "{accepted}");
        assert_eq!(reply.header("content-encoding"), encoding);
        assert_eq!(reply.header("content-type"), Some("text/javascript"));
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
    }
    // A copy that leads out of the folder is none.
    let reply = get(&mut browser, "/favicon.ico", &[("accept-encoding", "gzip")]).await;
    assert_eq!((reply.header("content-encoding"), &reply.body[..]), (None, &b"icon"[..]));
}

#[tokio::test]
async fn who_has_it_already_is_sent_nothing_again() {
    let around = built();
    let (_server, mut browser) = serving(&around, |_| {});
    let modified = get(&mut browser, "/", &[]).await.header("last-modified").unwrap().to_owned();
    let reply = get(&mut browser, "/", &[("if-modified-since", &modified)]).await;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    let range = get(&mut browser, "/favicon.ico", &[("range", "bytes=1-2")]).await;
    assert_eq!((range.status, &range.body[..]), (206, &b"co"[..]));
}

#[tokio::test]
async fn what_is_hidden_leads_out_or_is_not_there_is_not_found() {
    let around = built();
    let (_server, mut browser) = serving(&around, |_| {});
    for path in [
        "/.env",
        "/.git/config",
        "/link.txt",
        "/out/secret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/%00",
        "/%ff",
        "/missing.js",
        "/assets/missing.js",
        "/favicon.ico/x.js",
    ] {
        let reply = get(&mut browser, path, &[BROWSER]).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.body.windows(6).any(|part| part == b"secret"), "{path}");
    }
    // Who is no browser that goes to a page is told, and nothing but reading is done.
    for (method, path, accept) in [("GET", "/login", "*/*"), ("GET", "/login", "application/json")] {
        assert_eq!(browser.send(method, path, &[("accept", accept)], Bytes::new()).await.status, 404);
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(browser.send(method, "/login", &[BROWSER], Bytes::new()).await.status, 404, "{method}");
    }
}

#[tokio::test]
async fn the_calls_go_first() {
    let around = built();
    let (_server, mut browser) = serving(&around, passwords);
    assert_eq!(get(&mut browser, "/user/name?name=x", &[BROWSER]).await.status, 401);
    assert_eq!(get(&mut browser, "/message", &[BROWSER]).await.status, 401);
    assert_eq!(get(&mut browser, "/file/x.png", &[BROWSER]).await.status, 401);
    assert_eq!(get(&mut browser, "/socket.io?user=x", &[BROWSER]).await.status, 400);
    assert!(get(&mut browser, "/healthz", &[BROWSER]).await.json()["status"].is_string());
    for path in ["/user/a/b/c", "/group/", "/api/nothing", "/api", "/message/x"] {
        let reply = get(&mut browser, path, &[BROWSER]).await;
        assert_ne!((reply.status, &reply.body[..]), (200, PAGE.as_bytes()), "{path}");
    }
    // A front-end of one's own origin is logged in, socket and all.
    let mut alice = Browser::registered(&_server, "alice").await;
    assert_eq!(&get(&mut alice, "/", &[BROWSER]).await.body[..], PAGE.as_bytes());
    alice.socket().await;
}

#[tokio::test]
async fn without_one_there_is_nothing() {
    let server = TestServer::start(|config| config.front_end = FrontEnd::Off);
    let reply = get(&mut Browser::new(&server), "/", &[BROWSER]).await;
    assert_eq!(reply.status, 404);
    assert!(reply.body.starts_with(b"there is nothing here"));
}

#[tokio::test]
async fn a_page_of_our_own_is_there_to_try_a_server_with() {
    let open: fn(&mut Config) = |_| {};
    for adjust in [open, passwords] {
        let server = TestServer::start(adjust);
        let mut browser = Browser::new(&server);
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/wire.js", "text/javascript; charset=utf-8"),
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.svg", "image/svg+xml"),
        ] {
            let reply = get(&mut browser, path, &[BROWSER]).await;
            assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.header("cache-control"), Some("no-cache"));
            let policy = reply.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        }
        for path in ["/login", "/page", "/page.js/", "/favicon.ico"] {
            assert_eq!(get(&mut browser, path, &[BROWSER]).await.status, 404, "{path}");
        }
    }
}

fn refusal(front_end: &Path) -> String {
    let data = tempfile::tempdir().unwrap();
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data: data.path().join("data"),
        auth: AuthMode::Open,
        front_end: FrontEnd::Folder(front_end.to_owned()),
        ..Config::default()
    };
    let error = Server::start(&config).unwrap_err();
    assert!(!config.data.exists());
    std::error::Error::source(&error).unwrap().to_string()
}

#[tokio::test]
async fn a_folder_that_is_none_or_has_no_page_is_an_error_at_the_start() {
    let around = built();
    let missing = refusal(&around.path().join("missing"));
    assert!(missing.starts_with("cannot find the folder"), "{missing}");
    let file = refusal(&around.path().join("secret.txt"));
    assert!(file.starts_with("cannot find the folder"), "{file}");
    let empty = refusal(&around.path().join("dist/assets"));
    assert!(empty.starts_with("there is no readable index.html in"), "{empty}");
    // An index.html that leads out is none.
    let index = around.path().join("dist/assets/index.html");
    std::os::unix::fs::symlink(around.path().join("secret.txt"), index).unwrap();
    let out = refusal(&around.path().join("dist/assets"));
    assert!(out.starts_with("there is no readable index.html in"), "{out}");
}
