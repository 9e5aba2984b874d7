//! `switchboard chat` at a terminal: a pseudo-terminal, with somebody who types faster than anybody can.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::SocketAddr,
    process::{Child, Command, ExitStatus},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::termios::{LocalFlags, tcgetattr},
};

use super::{DEADLINE, Running, binary, serve};

/// A chat at a terminal; killed when it is dropped.
struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// What was written to the screen and not waited for yet.
    seen: String,
}

impl Terminal {
    fn chat(args: &str, server: SocketAddr) -> Self {
        let mut command = binary();
        command.arg("chat").args(args.split(' ')).args(["--url", &format!("ws://{server}")]);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        // The command holds the other end of the terminal open.
        drop(command);
        let mut output = File::from(master.try_clone().unwrap());
        let (to_test, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of a terminal that nobody has open is an error.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                if to_test.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys: File::from(master), screen, seen: String::new() }
    }

    /// A chat that the server has greeted.
    #[track_caller]
    fn online(args: &str, server: SocketAddr) -> Self {
        let mut chat = Self::chat(args, server);
        chat.wait_for("-- online as ");
        chat
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this stands on the screen, below what was waited for last. Gives what came before it.
    #[track_caller]
    fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(part) {
                let rest = self.seen.split_off(at + part.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(why) => panic!("no {part:?} ({why}) on the screen: {:?}", self.seen),
            }
        }
    }

    /// Waits until the process has left the terminal, and then for its end.
    fn exit(&mut self) -> ExitStatus {
        while let Ok(bytes) = self.screen.recv_timeout(DEADLINE) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.child.wait().unwrap()
    }
}

/// Whether the terminal shows what is typed.
fn shows(terminal: &File) -> bool {
    tcgetattr(terminal).unwrap().local_flags.contains(LocalFlags::ECHO)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_that_are_typed_ahead_are_all_sent_in_order() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut bob = Running::online("--user bob --to alice", address);
    let mut alice = Terminal::online("--user alice --to bob", address);
    alice.types("one\rtwo\rthree\r");
    for said in ["one", "two", "three"] {
        assert_eq!(bob.stdout.wait_for(""), format!("alice: {said}"));
    }
    alice.types("\x04");
    assert_eq!(alice.exit().code(), Some(0));
}

#[test]
fn what_was_said_last_is_not_taken_back_before_it_is_sent_and_nothing_else_is() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, address) = serve(data.path(), "127.0.0.1:0");
    let mut bob = Running::online("--user bob --to alice", address);
    let mut alice = Terminal::online("--user alice --to bob", address);
    alice.types("one\r");
    alice.wait_for("✓ \"one\"");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    alice.wait_for("-- offline: ");
    alice.types("two\r");
    alice.wait_for("waiting for the connection: \"two\"");
    for change in ["/recall\r", "/edit three\r"] {
        alice.types(change);
        alice.wait_for("\"two\" is not sent yet: wait for its ✓");
    }
    let (_server, _) = serve(data.path(), &address.to_string());
    alice.types("/connect\r");
    alice.wait_for("✓ \"two\"");
    // Who hears of it later is told at once that it was taken back.
    bob.stdout.wait_for("alice: two");
    alice.types("/recall\r");
    bob.stderr.wait_for("-- alice took back \"two\"");
}

#[test]
fn an_earlier_message_is_changed_by_its_number() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut bob = Running::online("--user bob --to alice", address);
    let mut alice = Terminal::online("--user alice --to bob", address);
    for text in ["one", "two", "three"] {
        alice.types(&format!("{text}\r"));
        bob.stdout.wait_for(text);
    }
    alice.wait_for("✓ \"three\"");
    bob.say("mine");
    alice.wait_for("bob: mine");
    alice.types("/numbers\r");
    for line in ["#1 you: \"one\"", "#2 you: \"two\"", "#3 you: \"three\"", "#4 bob: \"mine\""] {
        alice.wait_for(line);
    }
    alice.types("/recall #1\r");
    bob.stderr.wait_for("-- alice took back \"one\"");
    alice.types("/edit #2 deux\r");
    assert_eq!(bob.stdout.wait_for("deux"), "alice: deux (edited)");
    alice.types("/edit #4 yours\r");
    alice.wait_for("only who has said a message edits it");
    alice.types("/edit #1 one\r");
    alice.wait_for("the message was taken back");
    alice.types("/recall #99\r");
    alice.wait_for("there is no message at this place");

    // Who comes later sees what they say now, and nothing more.
    let mut later = Running::chat("--user bob --to alice --history 10", address);
    later.end_input();
    let (status, stdout, _) = later.exit();
    let expected = ["alice: (taken back)", "alice: deux (edited)", "alice: three", "you: mine ✓"];
    assert_eq!((status.code(), stdout), (Some(0), expected.map(str::to_owned).to_vec()));
}

#[test]
fn groups_are_listed_while_one_is_a_member_and_refusals_in_them_say_why() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Terminal::online("--user alice --to bob", address);
    alice.types("/groups\r");
    alice.wait_for("you are in no group, as far as this chat has heard");
    alice.types("/group create lunch\r");
    alice.wait_for("✓ created the group \"lunch\"");
    alice.types("/groups\r");
    alice.wait_for("lunch: /group ");
    let group = alice.wait_for(", where you are");
    let group = group.trim_end_matches(", where you are");
    let mut bob = Terminal::online(&format!("--user bob --group {group}"), address);
    bob.types("hello?\r");
    bob.wait_for("the server does not take it: there is no such group, or you are no member of it");
    alice.types("/group invite bob\r");
    bob.wait_for("alice invited bob, you: /group ");
    bob.types("/group rename dinner\r");
    bob.wait_for("only admins and owners of the group may do this");
    alice.types("/group mute bob 60\r");
    bob.wait_for("alice muted bob until ");
    bob.types("hello!\r");
    bob.wait_for("the server does not take it: you are muted in this group until 20");
    let (_, members, _) = Running::start(&["group", "members", group, "--data", folder]).exit();
    assert_eq!(members[0], "alice  owner");
    assert!(members[1].starts_with("bob  member  muted until 20"), "{members:?}");
    alice.types("/group leave\r");
    alice.wait_for("you are the group's only owner: make another member");
    bob.types("/group leave\r");
    bob.wait_for("✓ left");
    bob.types("/groups\r");
    bob.wait_for("you are in no group, as far as this chat has heard");
}

#[test]
fn whoever_was_told_of_a_refusal_leaves_in_peace() {
    let data = tempfile::tempdir().unwrap();
    let (_server, address) = serve(data.path(), "127.0.0.1:0");
    let mut alice = Terminal::online("--user alice --group strangers", address);
    alice.types("hello?\r");
    alice.wait_for("not sent: \"hello?\": the server does not take it: ");
    alice.types("\x04");
    assert_eq!(alice.exit().code(), Some(0), "{}", alice.seen);
    assert!(!alice.seen.contains("missing"), "{}", alice.seen);
}

#[test]
fn who_breaks_off_at_a_hidden_password_has_a_terminal_that_shows_what_is_typed() {
    let data = tempfile::tempdir().unwrap();
    let (_server, _) = serve(data.path(), "127.0.0.1:0");
    let add = |name: &str| {
        let mut command = binary();
        command.args(["user", "add", name, "--data", data.path().to_str().unwrap()]);
        Terminal::run(command)
    };
    for signal in ["INT", "TERM", "QUIT", "HUP"] {
        let mut asked = add("alice");
        asked.wait_for("password: ");
        assert!(!shows(&asked.keys));
        asked.types("half a pass");
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(asked.child.id().to_string()).status();
        assert!(sent.unwrap().success());
        assert_eq!(asked.exit().code(), Some(130), "{signal}");
        assert!(shows(&asked.keys), "{signal}");
        assert!(asked.seen.contains("broken off: nothing was changed"), "{}", asked.seen);
        assert!(!asked.seen.contains("half"), "{}", asked.seen);
    }
    let mut asked = add("alice");
    asked.wait_for("password: ");
    asked.types("correct horse\r");
    asked.wait_for("the same again: ");
    asked.types("correct horse\r");
    assert_eq!(asked.exit().code(), Some(0), "{}", asked.seen);
    assert!(shows(&asked.keys) && !asked.seen.contains("horse"), "{}", asked.seen);
}
