//! A program that sends files over the JSON API, through the network that breaks, each with a message that names it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::store::{Conversation, Directory};
use switchboard_engine::UserId;
use ureq::{Agent, tls::TlsConfig};

use crate::crowd::{Rng, USERS, until, user};

const NAME: &str = "erin";
const PASSWORD: &str = "correct horse";

/// A file has at most so many bytes.
const FILE_BYTES: u64 = 24 << 10;

/// How long a call may take; what the network has swallowed is asked again.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known of what it does.
#[derive(Debug, Default)]
struct Known {
    id: Option<UserId>,
    /// Files that a message names, by the names that they were given, and their bytes.
    sent: Vec<(String, Vec<u8>)>,
    /// Files that are still to be sent.
    open: u64,
    /// What was answered in place of success, and how often.
    refused: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub(crate) struct Sender {
    known: Arc<Mutex<Known>>,
    orders: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Sender {
    /// Sends through this proxy.
    pub(crate) fn start(proxy: SocketAddr, seed: u64) -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let (orders, receiver) = mpsc::channel::<()>();
        let mut caller = Caller {
            agent: agent(),
            base: format!("http://{proxy}/api/v1"),
            token: None,
            known: Arc::clone(&known),
            rng: Rng::new(seed, 1 << 40),
        };
        let thread = std::thread::spawn(move || {
            for (number, ()) in receiver.iter().enumerate() {
                caller.send(number);
            }
        });
        Self { known, orders, thread }
    }

    pub(crate) fn send(&self, files: u64) {
        self.lock().open += files;
        for _ in 0..files {
            assert!(self.orders.send(()).is_ok(), "who sends files has died");
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        assert!(!self.thread.is_finished(), "who sends files has died");
        self.lock().open == 0
    }

    /// Until all files are sent.
    pub(crate) fn await_done(&self) {
        let what = || format!("all files are sent; what was answered: {:?}", self.refused());
        until(what, || self.sent(), || self.is_done().then_some(()));
    }

    pub(crate) fn sent(&self) -> u64 {
        self.lock().sent.len() as u64
    }

    /// What was answered in place of success, and how often.
    pub(crate) fn refused(&self) -> BTreeMap<String, u64> {
        self.lock().refused.clone()
    }

    /// Each file is named by one message, and the newest ones are there as they were sent.
    pub(crate) fn assert_holds(&self, server: SocketAddr, data: &Path, newest: usize) {
        let known = self.lock();
        let Some(id) = &known.id else { return };
        let directory = Directory::open(data).unwrap();
        let conversation = Conversation::Direct(user(USERS[0]), id.clone());
        let log = directory.history(&conversation, 1..=u64::MAX, u32::MAX).unwrap();
        let named: Vec<_> = log.iter().map(|message| &*message.url).collect();
        let sent: Vec<_> = known.sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, sent, "each file is named by one message");
        let agent = agent();
        for (name, bytes) in known.sent.iter().rev().take(newest) {
            let mut answer = agent.get(format!("http://{server}/file/{name}")).call().unwrap();
            let found = answer.body_mut().read_to_vec().unwrap();
            assert!(
                answer.status() == 200 && found == *bytes,
                "the file {name} has {} bytes: {}, {} bytes",
                bytes.len(),
                answer.status(),
                found.len()
            );
        }
    }

    pub(crate) fn end(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }
}

struct Caller {
    agent: Agent,
    base: String,
    token: Option<String>,
    known: Arc<Mutex<Known>>,
    rng: Rng,
}

/// What a call has come to.
enum Answer {
    Done(Value),
    /// It is to be tried again, as nothing, or nothing final, was said.
    Again,
    /// The session has ended: a clock that is stepped has that, too.
    LogIn,
    /// What the call is about is not there.
    Gone,
}

impl Caller {
    /// Uploads a file and says so, however often that takes.
    fn send(&mut self, number: usize) {
        let len = self.rng.between(1, FILE_BYTES);
        let bytes: Vec<u8> = (0..len).map(|_| self.rng.next() as u8).collect();
        let mut upload = 0;
        loop {
            upload += 1;
            let path = format!("/files?name=file-{number}.bin");
            let file =
                self.insist(|caller| caller.post(&path, "application/octet-stream", None, &bytes)).unwrap();
            let name = file["name"].as_str().unwrap().to_owned();
            let message = json!({ "file": name }).to_string();
            let key = format!("file-{number}-{upload}");
            let path = format!("/conversations/direct/{}/messages", USERS[0]);
            let said =
                self.insist(|caller| caller.post(&path, "application/json", Some(&key), message.as_bytes()));
            // What nothing refers to may have been removed: a clock that is stepped makes a file old.
            if said.is_some() {
                let mut known = self.known.lock().unwrap();
                known.sent.push((name, bytes));
                known.open -= 1;
                return;
            }
        }
    }

    /// Until it is done; none if what it is about is gone.
    fn insist(&mut self, call: impl Fn(&Self) -> Answer) -> Option<Value> {
        loop {
            let answer = if self.token.is_some() { call(self) } else { Answer::LogIn };
            match answer {
                Answer::Done(value) => return Some(value),
                Answer::Gone => return None,
                Answer::LogIn => self.log_in(),
                Answer::Again => {}
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn log_in(&mut self) {
        let account = json!({"username": NAME, "password": PASSWORD}).to_string();
        for path in ["/sessions", "/accounts"] {
            if let Answer::Done(entered) = self.post(path, "application/json", None, account.as_bytes()) {
                self.token = Some(entered["token"].as_str().unwrap().to_owned());
                let id = UserId::new(entered["account"]["id"].as_str().unwrap()).unwrap();
                self.known.lock().unwrap().id = Some(id);
                return;
            }
        }
    }

    fn post(&self, path: &str, content_type: &str, key: Option<&str>, body: &[u8]) -> Answer {
        let mut request =
            self.agent.post(format!("{}{path}", self.base)).header("content-type", content_type);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answered = request.send(body).and_then(|mut answer| {
            let text = answer.body_mut().read_to_string()?;
            Ok((answer.status().as_u16(), text))
        });
        let Ok((status, text)) = answered else { return Answer::Again };
        if (200..300).contains(&status) {
            return Answer::Done(serde_json::from_str(&text).unwrap());
        }
        let problem: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status} {text}"));
        let detail = problem["detail"].as_str().unwrap_or_else(|| panic!("{path}: {status} {text}"));
        *self.known.lock().unwrap().refused.entry(format!("{status} {detail}")).or_default() += 1;
        match status {
            401 => Answer::LogIn,
            409 if detail.starts_with("there is no such file") => Answer::Gone,
            // Too much at once, no room, or a registration of somebody who is there already.
            408 | 409 | 429 | 503 => Answer::Again,
            _ => panic!("{path}: {status} {text}"),
        }
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(CALL_TIMEOUT))
        // When everybody has left, no connection is left.
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .proxy(None)
        .tls_config(TlsConfig::default())
        .build()
        .new_agent()
}
