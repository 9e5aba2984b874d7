//! A server that is killed at any moment keeps its promises: what it acknowledged is stored, once, at the
//! place that it named.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use store_common::{
    Fixture, group, message, message_id, open_authentication, place, to_group, to_user, user,
};
use switchboard::store::{Conversation, Directory, NewGroup, NewUser};
use switchboard_engine::{Place, Recipient, Request, Subject, Ticket};

/// Rounds of starting a server and killing it.
const ROUNDS: u64 = 24;

/// Messages that the child has on their way at a time.
const WINDOW: usize = 48;

/// Acknowledged messages that a round sends again, beside all that were not acknowledged.
const RESENT: usize = 10;

/// Tells the test that it is the child, and on which folder.
const CHILD: &str = "SWITCHBOARD_CRASH_FOLDER";
/// The numbers of the messages to send again.
const RESEND: &str = "SWITCHBOARD_CRASH_RESEND";
/// The number of the first new message.
const FIRST: &str = "SWITCHBOARD_CRASH_FIRST";

const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// A message's number names everything about it.
fn sender(number: u64) -> &'static str {
    USERS[usize::try_from(number % 3).unwrap()]
}

fn recipient(number: u64) -> Recipient {
    match number / 3 % 3 {
        0 => to_group("chess"),
        n => to_user(USERS[usize::try_from((number + n) % 3).unwrap()]),
    }
}

fn conversation(number: u64) -> Conversation {
    match recipient(number) {
        Recipient::User(other) => Conversation::Direct(user(sender(number)), other),
        Recipient::Group(group) => Conversation::Group(group),
    }
}

fn request(number: u64) -> Request {
    message(sender(number), number, recipient(number), &format!("number {number}"))
}

/// The child: sends for ever, tells of each message before it is sent and after it was acknowledged.
fn send_until_killed(folder: &Path) {
    let mut fixture = Fixture::open(folder, &open_authentication());
    let resend = std::env::var(RESEND).unwrap();
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let mut numbers = resend.split_terminator(',').map(|n| n.parse().unwrap()).chain(first..);
    let mut on_their_way: BTreeMap<Ticket, u64> = BTreeMap::new();
    let tell = |line: String| std::io::stderr().write_all(line.as_bytes()).unwrap();
    loop {
        while on_their_way.len() < WINDOW {
            let number = numbers.next().unwrap();
            tell(format!("sent {number} 0\n"));
            on_their_way.insert(fixture.submit(0, request(number)), number);
        }
        for (ticket, answer) in fixture.full_answers().1 {
            let Place { epoch, seq, stored_at_ms } = place(&answer);
            let number = on_their_way.remove(&ticket).unwrap();
            tell(format!("acknowledged {number} {epoch} {seq} {stored_at_ms}\n"));
        }
    }
}

/// What the parent knows.
#[derive(Default)]
struct Ledger {
    sent: BTreeSet<u64>,
    acknowledged: BTreeMap<u64, Place>,
}

impl Ledger {
    /// One child's life; it is killed as soon as it has acknowledged so many messages.
    fn round(&mut self, folder: &Path, acknowledgements: u64) {
        let unacknowledged = self.sent.iter().filter(|number| !self.acknowledged.contains_key(number));
        let resend: Vec<String> = unacknowledged
            .chain(self.acknowledged.keys().rev().take(RESENT))
            .map(ToString::to_string)
            .collect();
        let first = self.sent.last().map_or(0, |last| last + 1);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_acknowledged_survives_kills_at_any_moment", "--nocapture"])
            .env(CHILD, folder)
            .env(RESEND, resend.join(","))
            .env(FIRST, first.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seen = 0;
        // What the child told before it was killed is read to the end.
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["sent", number, _] => {
                    self.sent.insert(number.parse().unwrap());
                }
                ["acknowledged", number, epoch, seq, stored_at_ms] => {
                    let number = number.parse().unwrap();
                    let place = Place {
                        epoch: epoch.parse().unwrap(),
                        seq: seq.parse().unwrap(),
                        stored_at_ms: stored_at_ms.parse().unwrap(),
                    };
                    let before = self.acknowledged.insert(number, place);
                    assert!(
                        before.is_none_or(|before| before == place),
                        "{number}: {before:?}, then {place:?}"
                    );
                    seen += 1;
                    if seen == acknowledgements {
                        child.kill().unwrap();
                    }
                }
                _ => panic!("the child says: {line}"),
            }
        }
        let status = child.wait().unwrap();
        assert!(seen >= acknowledgements, "the child ended by itself: {status}");
    }
}

/// splitmix64
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn what_was_acknowledged_survives_kills_at_any_moment() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return send_until_killed(folder.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    for name in USERS {
        directory.create_user(&NewUser::new(user(name), name)).unwrap();
    }
    let chess = NewGroup {
        id: group("chess"),
        name: "chess".into(),
        notice: String::new(),
        owner: user("alice"),
        invite_only: true,
    };
    directory.create_group(&chess).unwrap();
    for name in ["bob", "carol"] {
        directory.join(&group("chess"), &user(name)).unwrap();
    }
    drop(directory);

    let mut ledger = Ledger::default();
    let mut seed = 20_261_122;
    for _ in 0..ROUNDS {
        let acknowledgements = 1 + next(&mut seed) % 300;
        ledger.round(folder.path(), acknowledgements);
    }

    let directory = Directory::open(folder.path()).unwrap();
    let mut stored: BTreeMap<u64, Place> = BTreeMap::new();
    let mut conversations: Vec<Conversation> = vec![Conversation::Group(group("chess"))];
    for (n, one) in USERS.iter().enumerate() {
        conversations.extend(USERS[n..].iter().map(|other| Conversation::Direct(user(one), user(other))));
    }
    let same = |one: &Conversation, other: &Conversation| match (one, other) {
        (Conversation::Direct(a, b), Conversation::Direct(c, d)) => (a, b) == (c, d) || (a, b) == (d, c),
        _ => one == other,
    };
    for of in conversations {
        let messages = directory.history(&of, 1..=u64::MAX, u32::MAX).unwrap();
        let epoch = directory.conversation(&of).unwrap().map_or(0, |info| info.epoch);
        for (seq, found) in (1..).zip(messages).filter(|(_, found)| found.subject == Subject::Message) {
            let number: u64 = found.content.strip_prefix("number ").unwrap().parse().unwrap();
            assert_eq!((found.seq, found.id), (seq, message_id(number)));
            assert_eq!(found.sender, user(sender(number)));
            assert!(same(&of, &conversation(number)), "{number} in {of:?}");
            let place = Place { epoch, seq, stored_at_ms: found.stored_at_ms };
            assert_eq!(stored.insert(number, place), None, "{number} is there twice");
        }
    }
    assert!(ledger.acknowledged.len() > 1_000, "{} is too few to mean much", ledger.acknowledged.len());
    // Their epochs, too: a kill is no loss.
    for (number, place) in &ledger.acknowledged {
        assert_eq!(stored.get(number), Some(place), "{number} was acknowledged there");
    }
    assert!(stored.keys().all(|number| ledger.sent.contains(number)), "something came from nowhere");
}
