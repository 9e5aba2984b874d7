//! The media store.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod books;
mod bucket;
mod bucket_server;
#[path = "../store_common/mod.rs"]
mod store_common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

use store_common::{PATIENCE, user, wait_until};
use switchboard::media::{MediaOptions, MediaStore, S3Options, type_of};
use switchboard::store::{DataFolder, StoreEvent};
use switchboard_engine::{Answer, FileKind, FileSource, FileUpload, Request, Ticket};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

struct Fixture {
    media: MediaStore,
    events: Receiver<(usize, StoreEvent)>,
    folder: PathBuf,
}

impl Fixture {
    fn open(folder: &Path) -> Self {
        Self::with(folder, None)
    }

    fn with(folder: &Path, bucket: Option<S3Options>) -> Self {
        Self::with_options(folder, &MediaOptions { bucket, ..MediaOptions::default() })
    }

    fn with_options(folder: &Path, options: &MediaOptions) -> Self {
        Self::locked(&DataFolder::lock(folder).unwrap(), options)
    }

    /// In a folder that is locked, which a store of messages may be in too.
    fn locked(lock: &DataFolder, options: &MediaOptions) -> Self {
        let (sender, events) = mpsc::channel();
        let sink = move |shard: usize, event: StoreEvent| drop(sender.send((shard, event)));
        let media = MediaStore::open(lock, options, 2, Box::new(sink)).unwrap();
        Self { media, events, folder: lock.path().join("media") }
    }

    fn ask(&self, source: FileSource, suffix: &str) -> Answer {
        self.ask_upload(FileUpload { owner: user("alice"), suffix: suffix.into(), source })
    }

    fn ask_upload(&self, upload: FileUpload) -> Answer {
        self.media.handle().submit(1, Ticket(7), Request::StoreFile(upload));
        match self.events.recv_timeout(PATIENCE).unwrap() {
            (1, StoreEvent::Answers(mut answers)) if answers.len() == 1 && answers[0].0 == Ticket(7) => {
                answers.remove(0).1
            }
            other => panic!("{other:?}"),
        }
    }

    fn store(&self, contents: &[u8], suffix: &str) -> (String, FileKind) {
        let answer = self.ask(FileSource::Bytes(contents.to_vec().into()), suffix);
        let Answer::FileStored { name, kind } = answer else { panic!("{answer:?}") };
        (name.into(), kind)
    }

    fn files(&self) -> Vec<String> {
        bucket_server::names(&self.folder)
    }
}

#[test]
fn a_file_is_stored_under_a_name_of_the_servers_and_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(folder.path());
    let (name, kind) = fixture.store(PNG, "jpg");
    assert_eq!(kind, FileKind::Image);
    assert_eq!((name.len(), &name[32..]), (36, ".png"));
    let named = type_of(&name).unwrap();
    assert_eq!((named.content_type, named.kind), ("image/png", FileKind::Image));
    let mut found = fixture.media.files().open_file(&name).unwrap().unwrap();
    assert_eq!(found.size_bytes(), 18);
    let mut contents = Vec::new();
    found.read_to_end(&mut contents).unwrap();
    assert_eq!(contents, PNG);
    assert_ne!(fixture.store(PNG, "jpg").0, name);
}

#[test]
fn no_suffix_leads_out_of_the_folder_or_makes_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(folder.path());
    for suffix in ["html", "../../evil", "/etc/passwd", "png/../../x.html", "a\0b", "svg", "js", "."] {
        let (name, kind) = fixture.store(b"<script>alert(1)</script>", suffix);
        assert!(name.ends_with(".bin") && kind == FileKind::Other, "{suffix}: {name}");
    }
    assert_eq!(fixture.files().len(), 8);
    let mut outside: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    outside.sort();
    outside.retain(|name| !name.to_str().unwrap().starts_with("switchboard.db"));
    assert_eq!(outside, ["lock", "media"]);
}

#[test]
fn only_names_that_the_store_makes_are_looked_up() {
    let parent = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(parent.path());
    let (name, _) = fixture.store(PNG, "");
    let stem = &name[..32];
    fs::write(fixture.folder.join("secret.png"), "secret").unwrap();
    fs::write(fixture.folder.join(format!("{stem}.html")), "page").unwrap();
    fs::write(fixture.folder.join(format!("{stem}.part")), "half").unwrap();
    let media = fixture.media.files();
    assert!(media.open_file(&name).unwrap().is_some());
    let wrong = [
        "",
        ".",
        "..",
        "../lock",
        "secret.png",
        "/etc/passwd",
        stem,
        "lock",
        &format!("{stem}.html"),
        &format!("{stem}.part"),
        &format!("{stem}.PNG"),
        &format!("{stem}.jpg"),
        &format!("{}.png", stem.to_uppercase() + "A"),
        &format!("../media/{name}"),
        &format!("./{name}"),
        &format!("{name}/"),
        &format!("{name}\0"),
        &format!("{name}.png"),
        &format!(" {name}"),
        &format!("{}.png", "0".repeat(32)),
        &format!("{}.png", "g".repeat(32)),
    ];
    for name in wrong {
        assert!(media.open_file(name).unwrap().is_none(), "{name:?}");
    }
}

#[test]
fn data_urls_are_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(folder.path());
    let ask = |url: &str, suffix: &str| fixture.ask(FileSource::DataUrl(url.into()), suffix);
    for (url, contents, extension) in [
        ("data:audio/mp3;base64,SUQzAw==", b"ID3\x03".as_slice(), "mp3"),
        ("data:text/html,%41%2C+b", b"A,+b", "txt"),
        ("data:;base64,YQ", b"a", "txt"),
    ] {
        let Answer::FileStored { name, .. } = ask(url, "txt") else { panic!("{url}") };
        assert_eq!(fs::read(fixture.folder.join(&*name)).unwrap(), contents);
        assert!(name.ends_with(extension), "{url}: {name}");
    }
    let stored = fixture.files().len();
    for url in
        ["", "data:", "data:,", "data:;base64,", "data:;base64,!!!!", "data:;base64,A", "hello", "http://x/"]
    {
        assert_eq!(ask(url, "txt"), Answer::Refused, "{url:?}");
    }
    assert_eq!(fixture.ask(FileSource::Bytes(Vec::new().into()), "png"), Answer::Refused);
    assert_eq!(fixture.files().len(), stored);
    assert!(fixture.media.health().is_ok());
}

#[test]
fn what_a_crash_left_half_written_is_removed_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(folder.path());
    let (name, _) = fixture.store(PNG, "");
    fixture.media.stop();
    let media = folder.path().join("media");
    fs::write(media.join("0123456789abcdef0123456789abcdef.part"), "half of a pict").unwrap();
    let fixture = Fixture::open(folder.path());
    assert_eq!(fixture.files(), [name]);
}

#[test]
fn a_disk_that_fails_fails_the_upload_and_health_recovers_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(folder.path());
    let away = folder.path().join("away");
    fs::rename(&fixture.folder, &away).unwrap();
    assert_eq!(fixture.ask(FileSource::Bytes(PNG.into()), "png"), Answer::Failed);
    let health = fixture.media.health();
    assert!(health.failure().unwrap().text.contains("storing a file"));
    fs::rename(&away, &fixture.folder).unwrap();
    wait_until("healthy again", || health.is_ok());
    assert_eq!(fixture.files(), Vec::<String>::new());
    fixture.store(PNG, "png");
}

#[test]
fn what_was_submitted_before_the_stop_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::open(folder.path());
    let handle = fixture.media.handle();
    let upload = |n: u64| {
        let source = FileSource::Bytes(n.to_string().into_bytes().into());
        Request::StoreFile(FileUpload { owner: user("alice"), suffix: "txt".into(), source })
    };
    for n in 0..20 {
        handle.submit(0, Ticket(n), upload(n));
    }
    fixture.media.stop();
    handle.submit(0, Ticket(20), upload(20));
    let mut stored = 0;
    for (n, (_, event)) in fixture.events.try_iter().enumerate() {
        let StoreEvent::Answers(answers) = event else { unreachable!() };
        match &answers[..] {
            [(ticket, Answer::FileStored { name, .. })] => {
                assert_eq!(*ticket, Ticket(n as u64));
                assert_eq!(
                    fs::read_to_string(folder.path().join("media").join(&**name)).unwrap(),
                    n.to_string()
                );
                stored += 1;
            }
            other => assert_eq!(*other, [(Ticket(20), Answer::Failed)]),
        }
    }
    assert_eq!(stored, 20);
}
