//! `switchboard export` and `switchboard import`: what goes out comes in, or nothing does.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use switchboard::store::{Conversation, Directory, NewAccount, NewGroup, NewSession, NewUser};
use switchboard_engine::GroupId;
use switchboard_proto::classic::Message;

use crate::{
    harness::{Client, text, user},
    process::{Process, command},
};

fn run(args: &[&str], data: &Path) -> (Option<i32>, String) {
    let output = command(&[args, &["--data", data.to_str().unwrap()]].concat(), &[]);
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn export(data: &Path, to: &Path, more: &[&str]) -> Vec<u8> {
    let (code, text) = run(&[&["export", to.to_str().unwrap()], more].concat(), data);
    assert_eq!(code, Some(0), "{text}");
    fs::read(to).unwrap()
}

fn import(data: &Path, from: &Path) -> (Option<i32>, String) {
    run(&["import", from.to_str().unwrap()], data)
}

/// The parts of an export.
fn parts(export: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(export);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), contents)
    };
    archive.entries().unwrap().map(read).collect()
}

/// Made of such parts, as if it had been exported so.
fn made(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(contents.len()).unwrap());
        header.set_mode(0o600);
        builder.append_data(&mut header, name, contents.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A server with something of everything.
async fn filled(folder: &Path) {
    let mut directory = Directory::open(folder).unwrap();
    let mut zoe = NewUser::new(user("zoe"), "zoe");
    zoe.password_hash = Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned());
    let session = NewSession {
        token_hash: [7; 32],
        lifetime_ms: 1_000,
        user_agent: String::new(),
        sessions_per_user: 3,
    };
    directory.register(&NewAccount { user: zoe, session }).unwrap();
    for name in ["alice", "bob"] {
        directory.create_user(&NewUser::new(user(name), name)).unwrap();
    }
    let crew = GroupId::new("crew").unwrap();
    let new = NewGroup {
        id: crew.clone(),
        name: "The crew".into(),
        notice: "be kind".into(),
        owner: user("zoe"),
        invite_only: false,
    };
    directory.create_group(&new).unwrap();
    directory.join(&crew, &user("alice")).unwrap();
    directory.befriend(&user("alice"), "bob", 10).unwrap();
    drop(directory);
    let process = Process::start(folder, &[]);
    let mut alice = Client::connect(process.address, "alice").await;
    let mut bob = Client::connect(process.address, "bob").await;
    let mut zoe = Client::connect(process.address, "zoe").await;
    let file = Message {
        file: b"%PDF-1.7 whatever".to_vec().into(),
        file_suffix: "pdf".into(),
        content_type: 2,
        ..text("bob", "")
    };
    alice.send(&file).await;
    bob.recv().await;
    for n in 0..20 {
        alice.send(&text("bob", &format!("number {n}: \u{1f600} \"quoted\"\n"))).await;
        bob.recv().await;
    }
    zoe.send(&Message { message_type: 2, ..text("crew", "hello, crew") }).await;
    alice.recv().await;
    bob.send(&text("zoe", "not for alice")).await;
    zoe.recv().await;
}

#[tokio::test]
async fn what_was_exported_and_imported_is_exported_the_same_and_may_be_imported_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    filled(&path("one")).await;
    let one = export(&path("one"), &path("one.tar"), &["--with-passwords"]);
    let (code, text) = import(&path("two"), &path("one.tar"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 new files; 0 lines were here already"), "{text}");
    let two = export(&path("two"), &path("two.tar"), &["--with-passwords"]);
    assert!(one == two, "they are the same, byte for byte");
    let (code, text) = import(&path("two"), &path("one.tar"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(": 0 new lines and 0 new files"), "{text}");
    assert!(export(&path("two"), &path("three.tar"), &["--with-passwords"]) == one);
    // A server goes on from there.
    let process = Process::start(&path("two"), &[]);
    let mut alice = Client::connect(process.address, "alice").await;
    let mut bob = Client::connect(process.address, "bob").await;
    alice.send(&crate::harness::text("bob", "and on")).await;
    while bob.content().await != "and on" {}
    drop(process);
    let of = Conversation::Direct(user("alice"), user("bob"));
    assert_eq!(Directory::open(&path("two")).unwrap().conversation(&of).unwrap().unwrap().head_seq, 22);
}

#[tokio::test]
async fn passwords_go_only_where_they_are_asked_for_and_a_users_data_is_the_users() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    filled(&path("one")).await;
    let says = |export: &[u8], text: &str| {
        parts(export).iter().any(|(_, part)| String::from_utf8_lossy(part).contains(text))
    };
    assert!(says(&export(&path("one"), &path("a.tar"), &["--with-passwords"]), "argon2id"));
    assert!(!says(&export(&path("one"), &path("b.tar"), &[]), "argon2id"));
    let alices = export(&path("one"), &path("c.tar"), &["--user", "alice", "--with-passwords"]);
    for text in ["number 19", "hello, crew", "The crew", "%PDF"] {
        assert!(says(&alices, text), "{text}");
    }
    for text in ["argon2id", "not for alice"] {
        assert!(!says(&alices, text), "{text}");
    }
    let (code, text) = import(&path("two"), &path("c.tar"));
    assert_eq!(code, Some(1));
    assert!(text.contains("the data of the user alice alone"), "{text}");
    let (code, text) = run(&["export", path("d.tar").to_str().unwrap(), "--user", "nobody"], &path("one"));
    assert_eq!(code, Some(1));
    assert!(text.contains("there is no user nobody") && !path("d.tar").exists(), "{text}");
    let (code, text) = run(&["export", path("a.tar").to_str().unwrap()], &path("one"));
    assert!(code == Some(1) && text.contains("exists, and nothing is overwritten"), "{text}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().ends_with(".lines")), "{left:?}");
}

#[tokio::test]
async fn of_what_is_damaged_foreign_or_newer_nothing_is_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    filled(&path("one")).await;
    let whole = export(&path("one"), &path("whole.tar"), &[]);
    let parts = parts(&whole);
    let change = |index: usize, from: &str, to: &str| {
        let mut parts = parts.clone();
        let text = String::from_utf8(parts[index].1.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        parts[index].1 = text.replacen(from, to, 1).into_bytes();
        made(&parts)
    };
    let without = |index: usize| {
        let mut parts = parts.clone();
        parts.remove(index);
        made(&parts)
    };
    let with = |name: &str| {
        let mut parts = parts.clone();
        parts.insert(2, (name.to_owned(), b"x".to_vec()));
        made(&parts)
    };
    let empty = {
        let data = path("empty");
        drop(Directory::open(&data).unwrap());
        export(&data, &path("empty.tar"), &[])
    };
    for (bytes, said) in [
        (whole[..whole.len() / 2].to_vec(), "no whole export"),
        (whole[..700].to_vec(), "no whole export"),
        (b"just text".to_vec(), "no whole export"),
        (Vec::new(), "its end is missing"),
        (without(0), "not with switchboard-export.json"),
        (without(parts.len() - 1), "its end is missing"),
        (without(2), "it says that it has"),
        (change(0, "\"format\":1", "\"format\":2"), "has format 2, and this build reads formats up to 1"),
        (change(1, "\"kind\":\"user\"", "\"kind\":\"alien\""), "line 1 of data.jsonl"),
        (change(1, "\"kind\":\"member\"", "\"kind\":\"member\",\"group\":\"x\""), "of data.jsonl"),
        (change(1, "\"sender\":\"alice\"", "\"sender\":\"mallory\""), "there is no user mallory"),
        (change(1, "\"seq\":1,", "\"seq\":0,"), "the database does not take it"),
        (with("evil.png"), "does not belong there"),
        (with("media/evil.html"), "does not belong there"),
    ] {
        fs::write(path("bad.tar"), &bytes).unwrap();
        let data = path("new");
        let (code, text) = import(&data, &path("bad.tar"));
        assert_eq!(code, Some(1), "{said}: {text}");
        assert!(text.contains(said), "{said}: {text}");
        assert_eq!(export(&data, &path("new.tar"), &[]), empty, "{said}: nothing is there");
        let files = fs::read_dir(data.join("media")).map_or(0, std::iter::Iterator::count);
        assert_eq!(files, 0, "{said}");
        fs::remove_file(path("new.tar")).unwrap();
        fs::remove_dir_all(&data).unwrap();
    }
    // Another log of a conversation, and a server that runs.
    filled(&path("other")).await;
    let (code, text) = import(&path("other"), &path("whole.tar"));
    assert!(code == Some(1) && text.contains("another log here"), "{text}");
    let process = Process::start(&path("other"), &[]);
    let (code, text) = import(&path("other"), &path("whole.tar"));
    assert!(code == Some(1) && text.contains("in use by another server"), "{text}");
    drop(process);
}
