//! Messages in their conversations' logs.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use store_common::{
    Fixture, earlier, group, message, message_id, open_authentication, plain, stored, to_group, to_user,
    user, wait_until,
};
use switchboard::store::{Conversation, Directory, NewGroup, NewUser, StoreOptions};
use switchboard_engine::{Answer, Denial, Request, Ticket, UserProfile};

fn direct(one: &str, other: &str) -> Conversation {
    Conversation::Direct(user(one), user(other))
}

/// The contents of a conversation, whose places have to be 1, 2, 3 and so on.
fn contents(directory: &Directory, conversation: &Conversation) -> Vec<String> {
    let messages = directory.history(conversation, 1..=u64::MAX, 10_000).unwrap();
    let seqs: Vec<u64> = messages.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..).take(messages.len()).collect::<Vec<u64>>());
    let head = directory.conversation(conversation).unwrap().map_or(0, |info| info.head_seq);
    assert_eq!(usize::try_from(head).unwrap(), messages.len());
    messages.into_iter().map(|message| message.content.into()).collect()
}

fn new_group(id: &str, owner: &str) -> NewGroup {
    NewGroup {
        id: group(id),
        name: format!("group {id}"),
        notice: String::new(),
        owner: user(owner),
        invite_only: true,
    }
}

#[test]
fn each_conversation_counts_gapless_from_one_however_they_interleave() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let others = ["bob", "carol", "dave"];
    let requests = (0..90).map(|n| {
        // Both directions of each conversation, in turn.
        let other = others[n % 3];
        let (from, to) = if n % 2 == 0 { ("alice", other) } else { (other, "alice") };
        message(from, n as u64, to_user(to), &n.to_string())
    });
    let answers = fixture.ask_in_one_batch(requests.collect());
    let expected: Vec<Answer> = (0..90).map(|n| stored(n / 3 + 1)).collect();
    assert_eq!(answers, expected);
    assert_eq!(fixture.ask(message("bob", 1_000, to_user("alice"), "one more")), stored(31));
    let directory = fixture.store.directory().unwrap();
    for (n, other) in others.into_iter().enumerate() {
        let mut expected: Vec<String> = (0..30).map(|k| (k * 3 + n).to_string()).collect();
        expected.extend((other == "bob").then(|| "one more".to_owned()));
        assert_eq!(contents(&directory, &direct(other, "alice")), expected);
        assert_eq!(contents(&directory, &direct("alice", other)), expected);
    }
}

#[test]
fn everything_of_a_message_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut request = message("alice", 7, to_user("bob"), "zero \0 byte, and \u{1f600}");
    let Request::StoreMessage(new) = &mut request else { unreachable!() };
    new.content_type = 5;
    // A bare name would be that of a file, which is looked up.
    new.url = "https://example.org/0123.mp4".into();
    new.file_suffix = "mp4".into();
    let new = new.clone();
    assert_eq!(fixture.ask(request), stored(1));
    let directory = fixture.store.directory().unwrap();
    let found = directory.history(&direct("bob", "alice"), 1..=1, 1).unwrap().remove(0);
    assert_eq!((found.seq, found.sender, found.id), (1, new.sender, new.id));
    assert_eq!((found.content_type, found.content, found.sender_name), (5, new.content, new.sender_name));
    assert_eq!((found.url, found.file_suffix), (new.url, new.file_suffix));
    assert!(found.stored_at_ms > 1_600_000_000_000);
}

#[test]
fn a_message_that_is_sent_again_gets_its_first_place_and_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let hello = || message("alice", 1, to_user("bob"), "hello");
    let how_are_you = || message("alice", 2, to_user("bob"), "how are you?");
    // In one batch, in a later one, and after a restart.
    let answers = fixture.ask_in_one_batch(vec![hello(), how_are_you(), hello(), how_are_you()]);
    assert_eq!(answers, [stored(1), stored(2), earlier(1), earlier(2)]);
    assert_eq!(fixture.ask(hello()), earlier(1));
    fixture.store.stop();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    assert_eq!(fixture.ask(how_are_you()), earlier(2));
    assert_eq!(fixture.ask(message("alice", 3, to_user("bob"), "hm")), stored(3));
    let directory = fixture.store.directory().unwrap();
    assert_eq!(contents(&directory, &direct("alice", "bob")), ["hello", "how are you?", "hm"]);
}

#[test]
fn a_place_is_the_same_whenever_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let hello = || message("alice", 1, to_user("bob"), "hello");
    let first = fixture.store(hello());
    assert_eq!(fixture.store(hello()), first);
    let second = fixture.store(message("bob", 1, to_user("alice"), "hello yourself"));
    assert_eq!((second.epoch, second.seq), (first.epoch, 2));
    let elsewhere = fixture.store(message("alice", 2, to_user("carol"), "hello"));
    assert_ne!(elsewhere.epoch, first.epoch);
    // The clock of the next answers is another one.
    wait_until("the clock moves on", || now_ms() > elsewhere.stored_at_ms);
    fixture.store.stop();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    assert_eq!(fixture.store(hello()), first);
    let directory = fixture.store.directory().unwrap();
    let info = directory.conversation(&direct("alice", "bob")).unwrap().unwrap();
    assert_eq!((info.epoch, info.head_seq), (first.epoch, 2));
    let found = directory.history(&direct("alice", "bob"), 1..=1, 1).unwrap().remove(0);
    assert_eq!(found.stored_at_ms, first.stored_at_ms);
}

fn now_ms() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

#[test]
fn a_message_id_that_is_used_again_for_somebody_else_begins_no_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    fixture.store(message("alice", 1, to_user("bob"), "hello"));
    let conflict = Answer::Denied(Denial::OtherConversation);
    assert_eq!(fixture.ask(message("alice", 1, to_user("carol"), "hello")), conflict);
    let directory = fixture.store.directory().unwrap();
    assert_eq!(directory.conversation(&direct("alice", "carol")).unwrap(), None);
}

#[test]
fn senders_choose_their_message_ids_independently() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "hello")), stored(1));
    assert_eq!(fixture.ask(message("bob", 1, to_user("alice"), "hello yourself")), stored(2));
}

#[test]
fn a_user_can_write_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    assert_eq!(fixture.ask(message("alice", 1, to_user("alice"), "remember")), stored(1));
    assert_eq!(fixture.ask(message("alice", 2, to_user("bob"), "hello")), stored(1));
    let directory = fixture.store.directory().unwrap();
    assert_eq!(contents(&directory, &direct("alice", "alice")), ["remember"]);
}

#[test]
fn a_refused_message_does_not_harm_the_rest_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let answers = fixture.ask_in_one_batch(vec![
        message("alice", 1, to_user("bob"), "before"),
        message("alice", 2, to_group("nowhere"), "lost"),
        Request::LoadUser(user("alice")),
        message("alice", 3, to_user("bob"), "after"),
    ]);
    assert_eq!(answers, [stored(1), Answer::Refused, Answer::UserLoaded(UserProfile::default()), stored(2)]);
    assert!(fixture.store.health().is_ok());
}

#[test]
fn a_head_that_lags_behind_its_log_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    fixture.ask(message("alice", 1, to_user("bob"), "one"));
    fixture.ask(message("alice", 2, to_user("bob"), "two"));
    fixture.store.stop();
    damage(folder.path(), "UPDATE conversations SET head_seq = 0");
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    assert_eq!(fixture.ask(message("bob", 1, to_user("alice"), "three")), stored(3));
}

#[test]
fn a_conversation_that_contradicts_a_message_does_not_harm_the_rest_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    fixture.ask(message("alice", 1, to_user("bob"), "one"));
    fixture.store.stop();
    damage(folder.path(), "UPDATE messages SET seq = 9223372036854775807");
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let answers = fixture.ask_in_one_batch(vec![
        message("alice", 2, to_user("bob"), "there is no place after the last"),
        message("alice", 3, to_user("carol"), "but elsewhere there is"),
    ]);
    assert_eq!(answers, [Answer::Failed, stored(1)]);
}

/// Does to the database what this program never would.
fn damage(folder: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join(switchboard::store::DATABASE_FILE)).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0);
}

#[test]
fn open_authentication_brings_users_into_being() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    directory.create_user(&NewUser::new(user("1"), "carol")).unwrap();
    fixture.ask(Request::LoadUser(user("alice")));
    fixture.ask(message("alice", 1, to_user("bob"), "hello"));
    fixture.ask(message("alice", 2, to_user("carol"), "hello"));
    let username = |id| directory.user(&user(id)).unwrap().unwrap().username;
    assert_eq!(username("alice").as_deref(), Some("alice"));
    assert_eq!(username("bob").as_deref(), Some("bob"));
    // Somebody else has that name.
    assert_eq!(username("carol"), None);
}

#[test]
fn without_open_authentication_strangers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &StoreOptions::default());
    let mut directory = fixture.store.directory().unwrap();
    directory.create_user(&NewUser::new(user("alice"), "alice")).unwrap();
    assert_eq!(fixture.ask(Request::LoadUser(user("bob"))), Answer::Refused);
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "hello")), Answer::Refused);
    assert_eq!(fixture.ask(message("bob", 1, to_user("alice"), "hello")), Answer::Refused);
    assert_eq!(directory.user(&user("bob")).unwrap(), None);
    directory.create_user(&NewUser::new(user("bob"), "bob")).unwrap();
    assert_eq!(fixture.ask(message("alice", 1, to_user("bob"), "hello")), stored(1));
}

#[test]
fn only_members_write_to_a_group_and_their_stored_messages_stay_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    directory.create_user(&NewUser::new(user("alice"), "alice")).unwrap();
    directory.create_user(&NewUser::new(user("bob"), "bob")).unwrap();
    directory.create_group(&new_group("chess", "alice")).unwrap();
    assert_eq!(fixture.ask(message("bob", 1, to_group("chess"), "let me in")), Answer::Refused);
    assert_eq!(fixture.ask(message("alice", 1, to_group("chess"), "welcome")), stored(2));
    assert!(directory.join(&group("chess"), &user("bob")).unwrap());
    assert_eq!(fixture.ask(message("bob", 1, to_group("chess"), "let me in")), stored(4));
    assert!(directory.leave(&group("chess"), &user("bob")).unwrap());
    assert_eq!(fixture.ask(message("bob", 2, to_group("chess"), "still here?")), Answer::Refused);
    assert_eq!(fixture.ask(message("bob", 1, to_group("chess"), "let me in")), earlier(4));
    let conversation = Conversation::Group(group("chess"));
    assert_eq!(contents(&directory, &conversation), ["", "welcome", "", "let me in", ""], "with the changes");
}

#[test]
fn a_group_and_a_user_of_the_same_id_have_nothing_in_common() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let mut directory = fixture.store.directory().unwrap();
    directory.create_user(&NewUser::new(user("alice"), "alice")).unwrap();
    directory.create_user(&NewUser::new(user("x"), "x")).unwrap();
    directory.create_group(&new_group("x", "alice")).unwrap();
    let answers = fixture.ask_in_one_batch(vec![
        message("alice", 1, to_group("x"), "to the group"),
        message("alice", 2, to_user("x"), "to the user"),
        message("x", 1, to_group("x"), "as no member"),
        message("x", 2, to_user("alice"), "back"),
    ]);
    assert_eq!(answers, [stored(2), stored(1), Answer::Refused, stored(2)]);
    assert_eq!(contents(&directory, &Conversation::Group(group("x"))), ["", "to the group"]);
    assert_eq!(contents(&directory, &direct("alice", "x")), ["to the user", "back"]);
    let info = |conversation| directory.conversation(&conversation).unwrap().unwrap();
    assert_ne!(info(direct("x", "alice")).epoch, info(Conversation::Group(group("x"))).epoch);
}

#[test]
fn history_keeps_to_its_range_and_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let requests = (1..=20).map(|n| message("alice", n, to_user("bob"), "x")).collect();
    fixture.ask_in_one_batch(requests);
    let directory = fixture.store.directory().unwrap();
    let ids = |seqs, limit| {
        let messages = directory.history(&direct("alice", "bob"), seqs, limit).unwrap();
        messages.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(5..=7, 100), [message_id(5), message_id(6), message_id(7)]);
    assert_eq!(ids(19..=u64::MAX, 100), [message_id(19), message_id(20)]);
    assert_eq!(ids(1..=20, 2), [message_id(1), message_id(2)]);
    assert_eq!(ids(21..=30, 2), []);
    assert_eq!(directory.history(&direct("alice", "nobody"), 1..=9, 9).unwrap(), []);
}

#[test]
fn each_shard_gets_its_answers_of_a_batch_at_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    fixture.gate.close();
    fixture.submit(1, Request::LoadUser(user("gatekeeper")));
    fixture.answers();
    let mut expected: [Vec<(Ticket, Answer)>; 2] = Default::default();
    for n in 1..=10 {
        let shard = usize::from(n % 3 == 0);
        let ticket = fixture.submit(shard, message("alice", n, to_user("bob"), "x"));
        expected[shard].push((ticket, stored(n)));
    }
    fixture.gate.open();
    let [of_0, of_1] = expected;
    assert_eq!(fixture.answers(), (0, of_0));
    assert_eq!(fixture.answers(), (1, of_1));
}

#[test]
fn what_was_submitted_before_the_stop_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::open(folder.path(), &open_authentication());
    let handle = fixture.store.handle();
    for n in 1..=1_000 {
        fixture.submit(0, message("alice", n, to_user("bob"), "x"));
    }
    fixture.store.stop();
    handle.submit(1, Ticket(5_000), message("alice", 2_000, to_user("bob"), "too late"));
    let mut answers = Vec::new();
    for (_, event) in fixture.events.try_iter() {
        let switchboard::store::StoreEvent::Answers(some) = event else { unreachable!() };
        answers.extend(some.into_iter().map(|(ticket, answer)| (ticket, plain(answer))));
    }
    let mut expected: Vec<_> = (1..=1_000).map(|n| (Ticket(n), stored(n))).collect();
    expected.push((Ticket(5_000), Answer::Failed));
    assert_eq!(answers, expected);
    assert!(!folder.path().join("switchboard.db-wal").exists(), "the log was carried over");
}
