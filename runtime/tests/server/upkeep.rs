//! `switchboard backup` and `switchboard doctor`, beside a server that runs and without one.

use std::{fs, path::Path, process::Output};

use switchboard::store::{Conversation, DATABASE_FILE, Directory};
use switchboard_proto::classic::Message;

use crate::{
    harness::{Client, heartbeat, pong, soon, text, user},
    process::{Process, command},
};

fn backup(data: &Path, target: &Path) -> Output {
    command(&["backup", target.to_str().unwrap(), "--data", data.to_str().unwrap()], &[])
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn stored(data: &Path) -> Vec<String> {
    let conversation = Conversation::Direct(user("alice"), user("bob"));
    let history = Directory::open(data).unwrap().history(&conversation, 1..=u64::MAX, 1_000).unwrap();
    history.iter().map(|message| message.content.to_string()).collect()
}

#[tokio::test]
async fn a_backup_made_while_messages_come_in_has_a_beginning_of_them_and_the_files() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = backups.path().join("monday");
    let process = Process::start(folder.path(), &[]);
    let mut alice = Client::connect(process.address, "alice").await;
    let mut bob = Client::connect(process.address, "bob").await;
    let file = Message {
        file: b"%PDF-1.7 whatever".to_vec().into(),
        file_suffix: "pdf".into(),
        content_type: 2,
        ..text("bob", "")
    };
    alice.send(&file).await;
    bob.recv().await;
    for n in 0..50 {
        alice.send(&text("bob", &n.to_string())).await;
        assert_eq!(bob.content().await, n.to_string());
    }
    for n in 50..200 {
        alice.send(&text("bob", &n.to_string())).await;
    }
    let (code, text) = said(&backup(folder.path(), &target));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the database and 1 uploaded files"), "{text}");
    assert!(text.contains("switchboard store new-epochs"), "{text}");
    // The server goes on.
    alice.send(&heartbeat()).await;
    assert_eq!(alice.recv().await, pong());
    drop(process);
    let (whole, copy) = (stored(folder.path()), stored(&target));
    assert!(copy.len() > 50 && whole.starts_with(&copy), "{} of {}", copy.len(), whole.len());
    let media: Vec<_> = fs::read_dir(target.join("media")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(media.len(), 1);
    assert_eq!(fs::read(media[0].path()).unwrap(), b"%PDF-1.7 whatever");
    assert_eq!(fs::read_dir(backups.path()).unwrap().count(), 1, "nothing else is left");
}

#[tokio::test]
async fn a_backup_is_restored_as_it_says() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = backups.path().join("monday");
    let process = Process::start(folder.path(), &[]);
    let mut alice = Client::connect(process.address, "alice").await;
    let mut bob = Client::connect(process.address, "bob").await;
    alice.send(&text("bob", "kept")).await;
    assert_eq!(bob.content().await, "kept");
    assert_eq!(said(&backup(folder.path(), &target)).0, Some(0));
    drop(process);
    let (code, text) = said(&command(&["store", "new-epochs", "--data", target.to_str().unwrap()], &[]));
    assert_eq!((code, &*text), (Some(0), "new epochs: 1; clients will fetch these conversations again\n"));
    let process = Process::start(&target, &[]);
    Client::connect(process.address, "alice").await;
    drop(process);
    assert_eq!(stored(&target), ["kept"]);
}

#[test]
fn a_backup_overwrites_nothing() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Directory::open(folder.path()).unwrap();
    let target = backups.path().join("monday");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("precious"), "x").unwrap();
    let (code, text) = said(&backup(folder.path(), &target));
    assert_eq!(code, Some(1));
    assert!(text.contains("exists, and nothing is overwritten"), "{text}");
    let (code, text) = said(&backup(folder.path(), folder.path()));
    assert_eq!(code, Some(1), "{text}");
    let names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["precious"]);
}

#[test]
fn without_a_database_nothing_is_backed_up() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (code, text) = said(&backup(folder.path(), &backups.path().join("monday")));
    assert_eq!(code, Some(1));
    assert!(text.contains("there is no database in the data folder"), "{text}");
    assert_eq!(fs::read_dir(backups.path()).unwrap().count(), 0);
}

#[test]
fn of_a_damaged_database_there_is_no_backup() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join(DATABASE_FILE), vec![7; 8_192]).unwrap();
    let (code, text) = said(&backup(folder.path(), &backups.path().join("monday")));
    assert_eq!(code, Some(1));
    assert!(text.contains("is not a database"), "{text}");
    assert_eq!(fs::read_dir(backups.path()).unwrap().count(), 0);
}

fn doctor(data: &Path, listen: &str) -> (Option<i32>, String) {
    let args = ["doctor", "--data", data.to_str().unwrap(), "--listen", listen];
    said(&command(&args, &[("SWITCHBOARD_SHARDS", "2")]))
}

#[test]
fn the_doctor_finds_nothing_wrong_beside_a_server_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    let (code, text) = doctor(folder.path(), &process.address.to_string());
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "a server runs on",
        "shards = 2 (environment variable SWITCHBOARD_SHARDS)",
        "(flag --listen)",
        "the newest that this build knows",
        "database: whole",
        "is taken, by the server that runs",
        "open files: ",
        "MiB free of",
        "clock: plausible",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_server_is_asked_whether_it_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    let listen = process.address.to_string();
    let (code, text) = said(&command(&["health", "--listen", &listen], &[]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\"status\":\"ok\""), "{text}");
    process.kill();
    let (code, text) = said(&command(&["health", "--listen", &listen], &[]));
    assert_eq!(code, Some(1));
    assert!(text.starts_with(&format!("error: nobody answers on {listen}")), "{text}");
}

#[test]
fn the_doctor_makes_no_folder_and_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("none");
    let (code, text) = doctor(&data, "127.0.0.1:0");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("is not there; the server makes it"), "{text}");
    assert!(!data.exists());
}

#[test]
fn the_doctor_says_what_is_wrong_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(folder.path().join(DATABASE_FILE), vec![7; 8_192]).unwrap();
    let (code, text) = doctor(folder.path(), &address);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("WRONG  address: cannot listen on {address}")), "{text}");
    assert!(text.contains("WRONG  database: "), "{text}");
    assert!(text.contains("is not a database"), "{text}");
    assert!(text.ends_with("error: 2 of these are wrong\n"), "{text}");
    let (code, text) = said(&command(&["doctor"], &[("SWITCHBOARD_SHARDS", "many")]));
    assert_eq!(code, Some(1));
    assert!(text.contains("WRONG  configuration: shards = \"many\""), "{text}");
}

#[test]
fn the_doctor_finds_a_page_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    Directory::open(folder.path()).unwrap();
    let file = folder.path().join(DATABASE_FILE);
    let mut bytes = fs::read(&file).unwrap();
    // The second page has the root of the first table.
    bytes[4_096..8_192].fill(7);
    fs::write(&file, bytes).unwrap();
    let (code, text) = doctor(folder.path(), "127.0.0.1:0");
    assert_eq!(code, Some(1));
    assert!(text.contains("damaged"), "{text}");
}

#[tokio::test]
async fn a_damaged_index_for_searching_is_found_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let rebuild = ["store", "rebuild-search", "--data", folder.path().to_str().unwrap()];
    let process = Process::start(folder.path(), &[]);
    let mut alice = Client::connect(process.address, "alice").await;
    let mut bob = Client::connect(process.address, "bob").await;
    for word in ["apple", "pear"] {
        alice.send(&text("bob", word)).await;
        assert_eq!(bob.content().await, word);
    }
    let (code, said_then) = said(&command(&rebuild, &[]));
    assert_eq!(code, Some(1));
    assert!(said_then.contains("is in use by another server"), "{said_then}");
    drop((alice, bob, process));
    // Messages come into it a little after they are stored.
    assert_eq!(said(&command(&rebuild, &[])).0, Some(0));
    let database = || rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    database().execute("UPDATE words_data SET block = x'00ff' WHERE id > 10", []).unwrap();
    let (code, found) = doctor(folder.path(), "127.0.0.1:0");
    assert_eq!(code, Some(1), "{found}");
    assert!(found.contains("switchboard store rebuild-search"), "{found}");
    let (code, rebuilt) = said(&command(&rebuild, &[]));
    assert_eq!((code, &*rebuilt), (Some(0), "the index for searching is new; messages in it: 2\n"));
    assert_eq!(doctor(folder.path(), "127.0.0.1:0").0, Some(0));
    let process = Process::start(folder.path(), &[]);
    let mut alice = Client::connect(process.address, "alice").await;
    alice.send(&text("bob", "apple")).await;
    soon("the message is stored", async {
        while stored(folder.path()).len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    drop((alice, process));
    assert!(said(&command(&rebuild, &[])).1.ends_with("messages in it: 3\n"));
    let count = "SELECT count(*) FROM words WHERE words MATCH 'apple'";
    assert_eq!(database().query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    assert_eq!(stored(folder.path()), ["apple", "pear", "apple"]);
}

#[test]
fn without_a_database_no_index_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let rebuild = ["store", "rebuild-search", "--data", nowhere.to_str().unwrap()];
    let (code, text) = said(&command(&rebuild, &[]));
    assert_eq!(code, Some(1));
    assert!(text.contains("there is no database in the data folder") && !nowhere.exists(), "{text}");
}
