//! Files in a bucket.

use std::io::Read as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchboard::media::{CHUNK_BYTES, Files, MediaOpenError, MediaOptions, MediaStore, S3Options};
use switchboard::store::DataFolder;
use switchboard_engine::{Answer, FileKind, FileSource};

use crate::bucket_server::{Act, BucketServer, answer, names, odd_server, options};
use crate::store_common::{user, wait_until};
use crate::{Fixture, PNG};

fn open(folder: &std::path::Path, bucket: S3Options) -> Result<MediaStore, MediaOpenError> {
    let lock = DataFolder::lock(folder).unwrap();
    let options = MediaOptions { bucket: Some(bucket), ..MediaOptions::default() };
    MediaStore::open(&lock, &options, 1, Box::new(|_, _| {}))
}

/// All that an error says.
fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

fn contents(files: &Files, name: &str) -> Option<Vec<u8>> {
    let mut file = files.open_file(name).unwrap()?;
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).unwrap();
    assert_eq!(u64::try_from(contents.len()).unwrap(), file.size_bytes());
    Some(contents)
}

#[test]
fn a_file_of_a_frame_goes_to_the_bucket_and_nothing_of_it_stays_here() {
    let server = BucketServer::start();
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::with(folder.path(), Some(server.options()));
    let (name, kind) = fixture.store(PNG, "jpg");
    assert_eq!((&name[32..], kind), (".png", FileKind::Image));
    assert_eq!(server.names("files"), [name.as_str()]);
    assert_eq!(std::fs::read(server.path(&format!("files/{name}"))).unwrap(), PNG);
    assert_eq!(fixture.files(), Vec::<String>::new());
    let files = fixture.media.files();
    assert_eq!(contents(&files, &name).unwrap(), PNG);
    assert_eq!(files.size(&name).unwrap(), Some(18));
    assert_eq!(files.path(&name), None);
    let chunk = files.read(&name, 1, 3).unwrap().unwrap();
    assert_eq!((chunk.bytes.as_slice(), chunk.size_bytes), (&b"PNG"[..], 18));
    let mut listed = Vec::new();
    files.list(|file| listed.push((file.name, file.size_bytes, file.written_at_ms.is_some()))).unwrap();
    assert_eq!(listed, [(name.clone(), 18, true)]);
    files.discard(&name);
    wait_until("it has gone", || files.size(&name).unwrap().is_none());
    assert_eq!(contents(&files, &name), None);
    assert_eq!(fixture.ask(FileSource::Bytes(Vec::new().into()), "png"), Answer::Refused);
}

#[test]
fn a_large_file_goes_and_comes_in_parts() {
    let server = BucketServer::start();
    let folder = tempfile::tempdir().unwrap();
    let media = open(folder.path(), server.options()).unwrap();
    let files = media.files();
    // Neither a whole number of parts nor of chunks.
    let mut body = PNG.to_vec();
    body.extend((0..20_000_000_u32).map(|n| n.to_le_bytes()[1]));
    let mut part = files.begin().unwrap();
    for piece in body.chunks(100_000) {
        part.write(piece).unwrap();
    }
    let name = part.finish(FileKind::Image, &user("alice")).unwrap().name;
    assert!(contents(&files, &name).unwrap() == body, "it is the same");
    let at = body.len() - 5;
    let chunk = files.read(&name, u64::try_from(at).unwrap(), CHUNK_BYTES).unwrap().unwrap();
    assert_eq!(chunk.bytes, body[at..]);
    assert_eq!(names(&folder.path().join("media")), Vec::<String>::new());
}

#[test]
fn a_wrong_name_or_key_ends_the_start_and_says_which() {
    let server = BucketServer::start();
    let right = server.options();
    let with = |change: fn(&mut S3Options)| {
        let mut options = right.clone();
        change(&mut options);
        options
    };
    for (options, text) in [
        (with(|o| "elsewhere".clone_into(&mut o.bucket)), "there is no such bucket"),
        (with(|o| "somebody".clone_into(&mut o.credentials.key_id)), "the key id"),
        (with(|o| "wrong".clone_into(&mut o.credentials.secret)), "the secret"),
        (with(|o| o.bucket.clear()), "names no bucket"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = open(folder.path(), options).unwrap_err();
        let said = report(&error);
        assert!(said.contains(text), "{text}: {said}");
        assert!(!said.contains("Signature=") && !said.contains("wJalr"), "{said}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_lets_the_rest_start_and_is_found_when_it_comes_back() {
    let server = BucketServer::start();
    let up = Arc::new(AtomicU32::new(0));
    // It hangs up on everybody, until it passes everything on.
    let (is_up, behind) = (Arc::clone(&up), server.address);
    let address = proxy(behind, move || is_up.load(Ordering::SeqCst) > 0);
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::with(folder.path(), Some(S3Options { attempts: 1, ..options(address) }));
    let health = fixture.media.health();
    assert!(health.failure().unwrap().text.contains("the connection to it fails"), "{health:?}");
    assert_eq!(fixture.ask(FileSource::Bytes(PNG.into()), "png"), Answer::Failed);
    assert_eq!(fixture.files(), Vec::<String>::new());
    up.store(1, Ordering::SeqCst);
    wait_until("it works again", || health.is_ok());
    fixture.store(PNG, "png");
}

/// Passes connections on, or ends them.
fn proxy(behind: std::net::SocketAddr, is_up: impl Fn() -> bool + Send + 'static) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(front) = stream else { return };
            if !is_up() {
                continue;
            }
            let back = std::net::TcpStream::connect(behind).unwrap();
            for (mut from, mut to) in [(front.try_clone().unwrap(), back.try_clone().unwrap()), (back, front)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    address
}

/// A name as the server gives them.
const NAME: &str = "0123456789abcdef0123456789abcdef.png";

/// What a server says that has nothing.
const EMPTY_LIST: &[u8] =
    b"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></ListBucketResult>";

/// The files of a bucket of a server that does with each request but those of the probe what the test says.
fn odd_files(
    folder: &std::path::Path,
    timeout_ms: u64,
    act: impl FnMut(&str) -> Act + Send + 'static,
) -> (MediaStore, Files) {
    let (act, listed) = (Mutex::new(act), Arc::new(AtomicU32::new(0)));
    let lists = Arc::clone(&listed);
    let address = odd_server(move |line| {
        if line.ends_with("/probe") {
            return Act::Say(answer("200 OK", "", b""));
        }
        // The start looks, and then the books are compared with what is there.
        if line.ends_with("/chat/") && lists.load(Ordering::SeqCst) < 2 {
            lists.fetch_add(1, Ordering::SeqCst);
            return Act::Say(answer("200 OK", "", EMPTY_LIST));
        }
        act.lock().unwrap()(line)
    });
    let timeout = Duration::from_millis(timeout_ms);
    let media = open(folder, S3Options { timeout, ..options(address) }).unwrap();
    let files = media.files();
    wait_until("the books are compared", || listed.load(Ordering::SeqCst) == 2);
    (media, files)
}

#[test]
fn a_server_that_hangs_is_waited_for_so_long_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let (_media, files) = odd_files(folder.path(), 200, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Hang
    });
    let error = report(&files.size(NAME).unwrap_err());
    assert!(error.contains("does not answer in time"), "{error}");
    let error = report(&files.read(NAME, 0, 10).unwrap_err());
    assert!(error.contains("does not answer in time"), "{error}");
    let mut part = files.begin().unwrap();
    part.write(PNG).unwrap();
    let error = report(&part.finish(FileKind::Image, &user("alice")).unwrap_err());
    assert!(error.contains("does not answer in time"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 9, "each three times");
    assert_eq!(names(&folder.path().join("media")), Vec::<String>::new());
}

#[test]
fn what_breaks_off_is_asked_for_again_and_what_is_of_the_wrong_length_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let mut asked = 0;
    let (_media, files) = odd_files(folder.path(), 30_000, move |_| {
        asked += 1;
        let partial = |body: &[u8], range: &str| {
            answer("206 Partial Content", &format!("Content-Range: {range}\r\n"), body)
        };
        match asked {
            // It dies before it has said anything, and in the middle.
            1 => Act::HangUp,
            2 => {
                let mut whole = partial(b"0123456789", "bytes 0-9/10");
                whole.truncate(whole.len() - 4);
                Act::Say(whole)
            }
            3 => Act::Say(partial(b"0123456789", "bytes 0-9/10")),
            // Less than it says that there is.
            4..=6 => Act::Say(partial(b"01234", "bytes 0-9/10")),
            // Another part; more than was asked for; the whole file.
            7 => Act::Say(partial(b"0123456789", "bytes 5-14/20")),
            8..=10 => Act::Say(partial(b"0123456789abc", "bytes 0-9/10")),
            11 => Act::Say(answer("200 OK", "", b"0123456789")),
            12 => Act::Say(answer("206 Partial Content", "Content-Range: nonsense\r\n", b"0123456789")),
            // Busy, and then well.
            13 => Act::Say(answer("503 Slow Down", "", b"<Error><Code>SlowDown</Code></Error>")),
            14 => Act::Say(answer("200 OK", "", b"")),
            // No list, a list without an end.
            15 => Act::Say(answer("403 Forbidden", "", b"<Error><Code>AccessDenied</Code></Error>")),
            16..=18 => Act::Say(answer("200 OK", "", b"<html>")),
            _ => Act::HangUp,
        }
    });
    let read = || files.read(NAME, 0, 10).map(|chunk| chunk.unwrap().bytes).map_err(|error| report(&error));
    assert_eq!(read().unwrap(), b"0123456789");
    for text in ["it sent 5 bytes of 10", "another range", "", "a whole file", "another range"] {
        let error = read().unwrap_err();
        assert!(error.contains(text), "{text}: {error}");
    }
    assert_eq!(files.size(NAME).unwrap(), Some(0));
    let error = report(&files.list(|_| {}).unwrap_err());
    assert!(
        error.contains("cannot list the bucket chat: it answers 403 AccessDenied: this key may not"),
        "{error}"
    );
    let error = report(&files.list(|_| {}).unwrap_err());
    assert!(error.contains("cannot be understood"), "{error}");
}

#[test]
fn parts_of_a_file_that_cannot_be_ended_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let (_media, files) = odd_files(folder.path(), 30_000, move |line| {
        let method = line.split(' ').next().unwrap().to_owned();
        let mut said = heard.lock().unwrap();
        said.push(method.clone());
        let begun = b"<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Bucket>chat</Bucket><Key>x</Key><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
        match method.as_str() {
            "POST" if said.len() == 1 => Act::Say(answer("200 OK", "", begun)),
            "PUT" if said.len() == 2 => Act::Say(answer("200 OK", "ETag: \"a\"\r\n", b"")),
            "PUT" => Act::Say(answer("403 Forbidden", "", b"<Error><Code>AccessDenied</Code></Error>")),
            _ => Act::Say(answer("204 No Content", "", b"")),
        }
    });
    let mut part = files.begin().unwrap();
    part.write(PNG).unwrap();
    part.write(&vec![0; 9 << 20]).unwrap();
    let error = report(&part.finish(FileKind::Image, &user("alice")).unwrap_err());
    assert!(error.contains("cannot write a part of files/"), "{error}");
    assert_eq!(*said.lock().unwrap(), ["POST", "PUT", "PUT", "DELETE"]);
    assert_eq!(names(&folder.path().join("media")), Vec::<String>::new());
}
