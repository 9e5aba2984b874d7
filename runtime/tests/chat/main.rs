//! `switchboard chat` and `switchboard serve`: the real binary, talking to itself through pipes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic like tests")]
#![allow(clippy::indexing_slicing, reason = "a panic is a failed test")]

mod terminal;

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// Far more than anything here takes: reached only if something is broken.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `switchboard`; killed when it is dropped.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

/// The lines of a stream, as they come.
struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (to_test, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if to_test.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new() }
    }

    /// The next line with this in it; those before it are passed over.
    #[track_caller]
    fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => self.seen.push(line),
                Err(why) => panic!("no line with {part:?} ({why}) after {:#?}", self.seen),
            }
        }
    }

    /// All lines to the end of the stream.
    #[track_caller]
    fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the stream has not ended after {rest:#?}"),
            }
        }
    }
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut command = binary();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr }
    }

    fn chat(args: &str, server: SocketAddr) -> Self {
        let url = format!("ws://{server}");
        let mut all = vec!["chat"];
        all.extend(args.split(' '));
        all.extend(["--url", &url]);
        Self::start(&all)
    }

    /// A chat that the server has greeted.
    #[track_caller]
    fn online(args: &str, server: SocketAddr) -> Self {
        let mut chat = Self::chat(args, server);
        chat.stderr.wait_for("-- online as ");
        chat
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn end_input(&mut self) {
        self.stdin = None;
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until the process has closed its streams, and then for its end.
    #[track_caller]
    fn exit(&mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        let (stdout, stderr) = (self.stdout.rest(), self.stderr.rest());
        (self.child.wait().unwrap(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary without the settings of whoever runs the tests.
fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(name);
        }
    }
    command
}

/// A server on this address, and the address that it listens on.
fn serve(data: &Path, listen: &str) -> (Running, SocketAddr) {
    listening(Running::start(&["serve", "--listen", listen, "--data", data.to_str().unwrap()]))
}

/// A server once it listens, and the address.
fn listening(mut server: Running) -> (Running, SocketAddr) {
    let line = server.stderr.wait_for("listening");
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    (server, address.parse().unwrap())
}

/// A server that answers each connection with this, and closes it. It says so each time.
fn answering(response: &'static str) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (to_test, answered) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), response);
            if to_test.send(()).is_err() {
                return;
            }
        }
    });
    (address, answered)
}

fn answer(mut stream: TcpStream, response: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    stream.write_all(response.as_bytes()).unwrap();
}

#[test]
fn two_users_talk_and_leave_at_the_end_of_their_input() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Running::online("--user alice --to bob", address);
    let mut bob = Running::online("--user bob --to alice", address);
    alice.say("hello, bob");
    assert_eq!(bob.stdout.wait_for("hello"), "alice: hello, bob");
    bob.say("hello, alice \u{1b}[31m");
    assert_eq!(alice.stdout.wait_for("hello"), "bob: hello, alice ␛[31m");
    for user in [&mut alice, &mut bob] {
        user.end_input();
        let (status, stdout, _) = user.exit();
        assert_eq!((status.code(), stdout), (Some(0), Vec::new()));
    }
}

#[test]
fn what_is_piped_in_is_sent_in_order_before_the_chat_ends() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut bob = Running::online("--user bob --to carol", address);
    let mut alice = Running::chat("--user alice --to bob", address);
    for number in 0..100 {
        alice.say(&format!("line {number}"));
    }
    alice.end_input();
    let (status, _, stderr) = alice.exit();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    for number in 0..100 {
        // Bob's conversation is with somebody else.
        assert_eq!(bob.stdout.wait_for("line"), format!("[to you] alice: line {number}"));
    }
}

#[test]
fn members_of_a_group_read_what_one_of_them_says() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    drop(switchboard::store::Directory::open(data.path()).unwrap());
    let (status, created, _) =
        Running::start(&["group", "create", "friends", "--owner", "alice", "--data", folder]).exit();
    assert!(status.success());
    let group = created.first().unwrap().trim();
    let (status, ..) = Running::start(&["group", "join", group, "bob", "--data", folder]).exit();
    assert!(status.success());
    let (_, members, _) = Running::start(&["group", "members", group, "--data", folder]).exit();
    assert_eq!(members, ["alice  owner", "bob  member"]);

    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut bob = Running::online(&format!("--user bob --group {group}"), address);
    let mut carol = Running::online("--user carol --to bob", address);
    let mut alice = Running::online(&format!("--user alice --group {group}"), address);
    alice.say("hello, friends");
    assert_eq!(bob.stdout.wait_for("hello"), "alice: hello, friends");
    bob.say("hello, alice");
    assert_eq!(alice.stdout.wait_for("hello"), "bob: hello, alice");
    // Carol is no member: the first thing that she reads is what Bob says to her.
    let mut bob_to_carol = Running::online("--user bob --to carol", address);
    bob_to_carol.say("just you");
    assert_eq!(carol.stdout.wait_for(""), "bob: just you");
}

#[test]
fn what_is_said_while_the_server_is_down_arrives_when_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Running::online("--user alice --to bob", address);
    let mut bob = Running::online("--user bob --to alice", address);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    alice.stderr.wait_for("-- offline: ");
    alice.say("are you there?");
    alice.say("I will wait");
    alice.stderr.wait_for("-- waiting for the connection: \"I will wait\"");
    let (_server, _) = serve(data.path(), &address.to_string());
    assert_eq!(bob.stdout.wait_for("there"), "alice: are you there?");
    assert_eq!(bob.stdout.wait_for("wait"), "alice: I will wait");
    alice.stderr.wait_for("-- ✓ \"I will wait\"");
    alice.end_input();
    assert_eq!(alice.exit().0.code(), Some(0));
}

#[test]
fn what_was_said_to_somebody_who_was_away_is_there_when_they_come() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Running::chat("--user alice --to bob", address);
    for line in ["one", "two", "three"] {
        alice.say(line);
    }
    alice.end_input();
    assert_eq!(alice.exit().0.code(), Some(0));
    let mut bob = Running::chat("--user bob --to alice --history 2", address);
    assert_eq!(bob.stdout.wait_for(""), "alice: two");
    assert_eq!(bob.stdout.wait_for(""), "alice: three");
}

#[test]
fn a_look_at_the_past_prints_it_and_ends() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let look = |args: &str| {
        let url = format!("ws://{address}");
        let mut command = binary();
        command.arg("chat").args(args.split(' ')).args(["--url", &url]).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let nothing = (Some(0), String::new());
    assert_eq!(look("--user bob --to alice --history 2"), nothing, "nobody has said anything");
    let mut alice = Running::chat("--user alice --to bob", address);
    (1..=30).for_each(|number| alice.say(&format!("line {number}")));
    alice.end_input();
    assert_eq!(alice.exit().0.code(), Some(0));
    let last = (29..=30).map(|number| format!("alice: line {number}\n")).collect();
    assert_eq!(look("--user bob --to alice --history 2"), (Some(0), last));
    let all = (1..=30).map(|number| format!("alice: line {number}\n")).collect();
    assert_eq!(look("--user bob --to alice --history 1000"), (Some(0), all));
    assert_eq!(look("--user bob --to alice"), nothing, "nobody wants to see the past");
    assert_eq!(look("--user bob --to carol --history 5"), nothing, "it is another conversation's");
}

#[test]
fn a_store_remembers_what_was_read_and_keeps_what_was_not_sent() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, address) = serve(data.path(), "127.0.0.1:0");
    let file = data.path().join("bob.db");
    let args = format!("--user bob --to alice --store {}", file.display());
    let mut bob = Running::online(&args, address);
    let mut alice = Running::online("--user alice --to bob", address);
    alice.say("one");
    assert_eq!(bob.stdout.wait_for(""), "alice: one");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    bob.stderr.wait_for("-- offline: ");
    bob.say("two");
    bob.stderr.wait_for("-- waiting for the connection: \"two\"");
    bob.signal("TERM");
    let (status, _, stderr) = bob.exit();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.starts_with("-- not sent yet: \"two\"; kept")), "{stderr:#?}");

    let (_server, _) = serve(data.path(), &address.to_string());
    alice.say("three");
    alice.end_input();
    assert_eq!(alice.exit().0.code(), Some(0));
    let mut bob = Running::chat(&args, address);
    bob.stderr.wait_for("-- ✓ \"two\"");
    // What he has seen is not shown again.
    assert_eq!(bob.stdout.wait_for(""), "alice: three");
    bob.end_input();
    assert_eq!(bob.exit().0.code(), Some(0));

    // It is his, and one chat's at a time.
    let args = format!("--user carol --to alice --store {}", file.display());
    let (status, _, stderr) = Running::chat(&args, address).exit();
    assert_eq!(
        (status.code(), stderr),
        (
            Some(1),
            vec!["error: this store is bob's, and not carol's: each user needs one of their own".to_owned()]
        )
    );
}

/// A server whose store has no room for what is large.
fn serve_without_room(data: &Path) -> (Running, SocketAddr) {
    let file = data.join("full.toml");
    std::fs::write(&file, "[store]\nmax_database_bytes = 1\n").unwrap();
    let data = data.to_str().unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data", data, "--config", file.to_str().unwrap()];
    listening(Running::start(&args))
}

#[test]
fn what_a_full_server_cannot_store_is_told_once_and_sent_when_it_can() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, address) = serve_without_room(data.path());
    let mut alice = Running::online("--user alice --to bob", address);
    alice.say(&"x".repeat(100_000));
    alice.say("behind it");
    let line = alice.stderr.wait_for("-- not stored yet: ");
    assert!(line.ends_with("xxx…\": the server's disk is full; trying again"), "{line}");
    alice.end_input();
    // The client tries again a moment later.
    server.stderr.wait_for("the store fails");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    alice.stderr.wait_for("-- offline: ");
    let (_server, _) = serve(data.path(), &address.to_string());
    alice.stderr.wait_for("-- ✓ \"xxx");
    let (status, _, stderr) = alice.exit();
    assert_eq!(status.code(), Some(0), "{stderr:#?}");
    let seen = alice.stderr.seen.iter().chain(&stderr).filter(|line| line.contains("not stored yet")).count();
    assert_eq!(seen, 0, "it is told once");
}

#[test]
fn what_a_full_server_has_not_stored_in_the_end_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve_without_room(data.path());
    let mut alice = Running::online("--user alice --to bob", address);
    alice.say(&"x".repeat(100_000));
    alice.stderr.wait_for("-- not stored yet: ");
    alice.signal("TERM");
    let (status, _, stderr) = alice.exit();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.starts_with("-- not sent: \"xxx")), "{stderr:#?}");
}

#[test]
fn what_the_server_does_not_take_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Running::chat("--user alice --group strangers", address);
    alice.say("hello?");
    alice.end_input();
    let (status, _, stderr) = alice.exit();
    let errors = stderr.join("\n");
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("-- not sent: \"hello?\": the server does not take it: "), "{errors}");
    assert!(
        errors.contains("error: not everything was sent; messages that are missing, or may be: 1"),
        "{errors}"
    );
}

#[test]
fn a_signal_ends_the_chat() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Running::online("--user alice --to bob", address);
    alice.signal("INT");
    let (status, _, stderr) = alice.exit();
    assert_eq!((status.code(), stderr), (Some(0), vec!["-- closed".to_owned()]));
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error_in_a_pipe() {
    // Port 1 is nobody's on a loopback address.
    let mut alice = Running::chat("--user alice --to bob", "127.0.0.1:1".parse().unwrap());
    alice.say("hello");
    alice.end_input();
    let (status, _, stderr) = alice.exit();
    let errors = stderr.join("\n");
    assert_eq!(status.code(), Some(1), "{errors}");
    for part in [
        "error: the server could not be reached within 10 s\n",
        "  caused by: cannot connect to 127.0.0.1:1\n",
        "  caused by: Connection refused",
        "-- not sent: \"hello\"",
    ] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
}

#[test]
fn a_refusal_for_good_is_told_with_its_text_and_ends_the_chat() {
    let text = "HTTP/1.1 400 Bad Request\r\nContent-Length: 18\r\n\r\nnobody \u{1b}[1mof that\n";
    let (status, _, stderr) = Running::chat("--user alice --to bob", answering(text).0).exit();
    assert_eq!(status.code(), Some(1));
    let errors = stderr.join("\n");
    assert!(!errors.contains("next try"), "{errors}");
    assert!(
        errors.contains("caused by: the server refused the connection: 400: nobody  [1mof that"),
        "{errors}"
    );
}

#[test]
fn a_refusal_for_now_is_told_with_its_text_and_tried_again() {
    let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\nno room\n";
    let (address, answered) = answering(text);
    let mut alice = Running::chat("--user alice --to bob", address);
    let line = alice.stderr.wait_for("-- offline: ");
    let told = "-- offline: the server refused the connection: 503: no room; next try in ";
    assert!(line.starts_with(told), "{line}");
    for _ in 0..2 {
        answered.recv_timeout(DEADLINE).unwrap();
    }
}

#[test]
fn a_url_that_is_no_servers_is_wrong_usage() {
    for url in ["https://localhost", "localhost:8888", "ws://", "ws://localhost:8888/socket.io?user=eve"] {
        let mut chat = Running::start(&["chat", "--user", "alice", "--to", "bob", "--url", url]);
        let (status, _, stderr) = chat.exit();
        assert_eq!(status.code(), Some(2), "{url}: {stderr:?}");
        assert!(stderr.join("\n").contains("--url"), "{url}: {stderr:?}");
    }
}
