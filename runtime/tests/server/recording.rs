//! What is recorded of a server is what its engines were told, and an engine that is told so does the same again.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use switchboard::{
    config::{Config, Record, RecordMode, Redact},
    server::Server,
};
use switchboard_engine::{
    self as engine,
    recording::{
        ActionDigest, Decoder, Digests, Header, State, Step,
        file::{Block, Blocks, Codec, Fault, FileError, Kind},
    },
};

use switchboard_proto::classic;

use crate::{
    harness::{Client, TestServer, broadcast, soon, text},
    process::Process,
};

/// The recordings in a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "swr"));
    files.sort();
    files
}

/// Asks until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, asking).await
}

/// What is in a file, unpacked.
fn raw(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let (mut blocks, mut raw) = (Blocks::of(&bytes).unwrap(), Vec::new());
    while let Some(block) = blocks.next_block().unwrap() {
        raw.extend(unpacked(&block));
    }
    raw
}

fn unpacked(block: &Block<'_>) -> Vec<u8> {
    match block.codec {
        Codec::None => block.payload.to_vec(),
        Codec::Zstd => zstd::bulk::decompress(block.payload, block.raw_len as usize).unwrap(),
    }
}

/// What a file had in it.
#[derive(Debug)]
struct Replayed {
    header: Header,
    /// Events and deadlines.
    steps: usize,
    digests: usize,
    has_state: bool,
    has_ended: bool,
}

/// Has an engine do what is in a file once more, and compares all that is said of what came of it.
fn replay(file: &Path) -> Replayed {
    let bytes = fs::read(file).unwrap();
    let mut blocks = Blocks::of(&bytes).unwrap();
    let mut machine = None;
    let mut decoder = None;
    let mut replayed: Option<Replayed> = None;
    let mut digest = ActionDigest::default();
    let mut acted = None;
    loop {
        let block = match blocks.next_block() {
            Ok(Some(block)) => block,
            // It is being written to, or its server was killed.
            Ok(None) | Err(FileError { fault: Fault::Cut, .. }) => break,
            Err(error) => panic!("{error}"),
        };
        let payload = unpacked(&block);
        match block.kind {
            Kind::Header => {
                let header = Header::decode(&payload).unwrap();
                machine = Some(engine::Server::new(header.config.clone(), header.seed, header.started_at));
                decoder = Some(Decoder::new(header.started_at));
                replayed =
                    Some(Replayed { header, steps: 0, digests: 0, has_state: false, has_ended: false });
            }
            Kind::State => {
                machine = Some(engine::Server::restore(State::decode(&payload).unwrap().bytes).unwrap());
                replayed.as_mut().unwrap().has_state = true;
            }
            Kind::Steps => {
                let (engine, decoder) = (machine.as_mut().unwrap(), decoder.as_mut().unwrap());
                let replayed = replayed.as_mut().unwrap();
                decoder.feed(Bytes::from(payload));
                while let Some((at, step)) = decoder.step().unwrap() {
                    match step {
                        Step::Event(event) => engine.handle(at, event),
                        Step::Timeout => engine.handle_timeout(at),
                        Step::Acted(recorded) => {
                            assert_eq!(acted.take(), Some(recorded), "step {} led elsewhere", replayed.steps);
                            continue;
                        }
                        Step::Digests(recorded) => {
                            let actions = std::mem::take(&mut digest).finish();
                            let found = Digests { actions, state: engine.full_digest() };
                            assert_eq!(found, recorded);
                            replayed.digests += 1;
                            continue;
                        }
                    }
                    assert_eq!(acted, None, "step {} led to something that is not recorded", replayed.steps);
                    replayed.steps += 1;
                    while let Some(action) = engine.poll_action() {
                        digest.add(&action);
                    }
                    acted = digest.end_step();
                }
            }
            Kind::End => replayed.as_mut().unwrap().has_ended = true,
        }
    }
    assert_eq!(acted, None, "the last step led to something that is not recorded");
    replayed.unwrap()
}

/// A text that cannot be packed well.
fn random_text(random: &mut u64) -> String {
    let letter = |_| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (*random >> 58) as u8)
    };
    (0..20_000).map(letter).collect()
}

/// As much as one likes.
fn lift_limits(config: &mut Config) {
    config.limits.messages_per_second = u32::MAX;
    config.limits.message_burst = u32::MAX;
    config.limits.byte_burst = 1 << 40;
}

async fn chat(server: &TestServer, rounds: usize) {
    let [mut alice, mut bob, mut carol] = server.clients(["alice", "bob", "carol"]).await;
    for round in 0..rounds {
        alice.send(&text("bob", &format!("round {round}"))).await;
        bob.recv().await;
        carol.send(&broadcast("everybody")).await;
        for client in [&mut alice, &mut bob, &mut carol] {
            client.recv().await;
        }
    }
}

#[tokio::test]
async fn what_is_recorded_of_each_shard_happens_again() {
    for shards in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recordings");
        let mut server = TestServer::start(|config| {
            (config.shards, config.record.folder) = (shards, Some(path.clone()));
        });
        chat(&server, 3).await;
        server.stop();
        server.ended();
        let files = files(&path);
        assert_eq!(files.len(), usize::from(shards));
        for (shard, file) in files.iter().enumerate() {
            let replayed = replay(file);
            assert_eq!((replayed.header.shard, replayed.header.part), (shard as u32, 0));
            assert!(replayed.header.program.starts_with("switchboard "));
            assert!(replayed.steps > 0 && replayed.digests > 0 && replayed.has_ended, "{replayed:?}");
        }
    }
}

#[tokio::test]
async fn each_file_is_whole_by_itself_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    // A piece has up to 256 KiB.
    let (file_bytes, total_bytes) = (1 << 18, 1 << 20);
    let mut server = TestServer::start(|config| {
        config.record.folder = Some(folder.path().into());
        (config.record.file_bytes, config.record.total_bytes) = (file_bytes, total_bytes);
        lift_limits(config);
    });
    let mut alice = server.client("alice").await;
    let mut random = 1_u64;
    // What cannot be compressed, until the first file has gone.
    until("the first file has gone", async || {
        let letters = random_text(&mut random);
        alice.send(&broadcast(&letters)).await;
        alice.recv().await;
        let files = files(folder.path());
        (!files.first()?.to_string_lossy().ends_with("-000000.swr")).then_some(())
    })
    .await;
    drop(alice);
    server.stop();
    server.ended();
    let files = files(folder.path());
    let mut part = None;
    for (index, file) in files.iter().enumerate() {
        let replayed = replay(file);
        assert!(replayed.has_state, "{replayed:?}");
        assert_eq!(replayed.has_ended, index + 1 == files.len());
        assert!(part.is_none_or(|part| part + 1 == replayed.header.part), "{part:?}, {replayed:?}");
        part = Some(replayed.header.part);
    }
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    for file in files.iter().rev().skip(1) {
        assert!(
            fs::metadata(file).unwrap().len() >= file_bytes,
            "another file begins when one is full, and not before"
        );
    }
    // The newest one may have begun small, and grown by a piece too large.
    assert!(files.len() >= 2 && bytes <= total_bytes + (1 << 20), "{bytes} in {files:?}");
}

#[tokio::test]
async fn what_is_kept_in_memory_is_written_when_somebody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(|config| {
        (config.record.folder, config.record.mode) = (Some(folder.path().into()), RecordMode::OnDemand);
    });
    chat(&server, 2).await;
    assert!(files(folder.path()).is_empty());
    let mut steps = 0;
    // What is written a second time has the first in it.
    for _ in 0..2 {
        chat(&server, 2).await;
        // Half a second after something was recorded, it is with the thread that writes.
        steps = until("what was said last is written", async || {
            let written = server.authority.write_recording("a test").await.unwrap();
            assert_eq!(files(folder.path()), written);
            Some(replay(&written[0]).steps).filter(|written| *written > steps + 20)
        })
        .await;
    }
    server.stop();
    server.ended();
}

#[tokio::test]
async fn what_is_redacted_has_nothing_in_it_that_was_said_and_happens_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(|config| {
        config.record.folder = Some(folder.path().into());
        config.record.redact = Redact::On;
        config.record.file_bytes = 1 << 16;
        lift_limits(config);
    });
    let [mut alice, mut bob] = server.clients(["alice", "bob"]).await;
    let mut random = 2;
    until("another file has begun", async || {
        let content = format!("down the rabbit hole {}", random_text(&mut random));
        let secret = classic::Message { from_username: "Alice Liddell".into(), ..text("bob", &content) };
        alice.send(&secret).await;
        assert_eq!(bob.recv().await.content, secret.content);
        (files(folder.path()).len() > 1).then_some(())
    })
    .await;
    drop((alice, bob));
    server.stop();
    server.ended();
    for (part, file) in files(folder.path()).iter().enumerate() {
        let replayed = replay(file);
        assert!(replayed.header.is_redacted);
        assert_eq!((replayed.header.part as usize, replayed.has_state), (part, part > 0));
        let bytes = raw(file);
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        // When the last file begins, they may have gone.
        assert!((part > 0 || has("alice")) && !has("Liddell") && !has("rabbit"), "{}", file.display());
    }
}

#[tokio::test]
async fn a_signal_has_it_written_and_kill_9_leaves_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let (data, recordings) = (folder.path().join("data"), folder.path().join("recordings"));
    let record = recordings.to_str().unwrap();
    let always = [("SWITCHBOARD_RECORD_FOLDER", record)];
    let server = Process::start(&data, &always);
    let client = Client::connect(server.address, "alice").await;
    until("the welcome is recorded", async || {
        files(&recordings).first().filter(|file| replay(file).steps >= 3).map(drop)
    })
    .await;
    server.kill();
    drop(client);
    assert!(!replay(&files(&recordings)[0]).has_ended);
    fs::remove_dir_all(&recordings).unwrap();

    let on_demand = [always[0], ("SWITCHBOARD_RECORD_MODE", "on-demand")];
    let server = Process::start(&data, &on_demand);
    let _client = Client::connect(server.address, "alice").await;
    server.signal("USR1");
    server.logs("what was recorded in memory is written");
    assert_eq!(files(&recordings).len(), 1);
    server.kill();
}

#[tokio::test]
async fn a_server_that_does_not_record_on_demand_says_so() {
    let server = TestServer::with_shards(1);
    let error = server.authority.write_recording("a test").await.unwrap_err();
    assert!(error.to_string().contains("record.mode"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file").unwrap();
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: folder.path().join("data"),
        record: Record { folder: Some(taken), ..Record::default() },
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { Server::start(&config).map(drop).unwrap_err() });
    let said = switchboard::cli::report(&error);
    assert!(said.contains("record.folder") && said.contains("taken"), "{said}");
}
