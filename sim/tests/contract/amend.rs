//! Edits and recalls: who may have them, and what is read afterwards.

use switchboard_engine::{
    Answer, Denial, FileSource, GroupChange, NewMessage, Recipient, Request, Role, Subject,
};

use super::bench::Bench;
use super::groups::denied;
use super::reads::whole;
use super::sides::Strangers;
use super::store::{Open, PNG, kept};
use super::{change_of, message, message_id, to_group, to_user, user};

const MUTED: Denial = Denial::Muted { until_ms: i64::MAX };

fn entry(sender: &str, id: u8, to: Recipient, subject: Subject, text: &str) -> Request {
    let content_type = match subject {
        Subject::Edit { .. } => 21,
        Subject::Recall { .. } => 22,
        Subject::Message | Subject::Change(_) => unreachable!("neither edit nor recall"),
    };
    Request::StoreMessage(Box::new(NewMessage {
        sender: user(sender),
        id: message_id(id),
        recipient: to,
        content_type,
        content: text.into(),
        sender_name: "".into(),
        url: "".into(),
        file_suffix: "".into(),
        subject,
    }))
}

pub(super) fn edit(sender: &str, id: u8, to: Recipient, target_seq: u64, text: &str) -> Request {
    entry(sender, id, to, Subject::Edit { target_seq }, text)
}

pub(super) fn recall(sender: &str, id: u8, to: Recipient, target_seq: u64) -> Request {
    entry(sender, id, to, Subject::Recall { target_seq }, "")
}

fn done(store: &mut Bench, request: Request) -> u64 {
    let what = format!("{request:?}");
    let answer = store.ask(request);
    let Answer::MessageStored(place) = answer else { panic!("{what}: {answer:?}") };
    place.seq
}

/// What a reader reads: `3 kind 1 "text" changed 4 recalled`.
fn read(store: &mut Bench, reader: &str, of: Recipient) -> Vec<String> {
    let part = store.read(whole(reader, of)).expect("a reader");
    let line = |entry: switchboard_engine::StoredMessage| {
        let about = match entry.subject {
            Subject::Edit { target_seq } => format!(" edits {target_seq}"),
            Subject::Recall { target_seq } => format!(" recalls {target_seq}"),
            Subject::Message | Subject::Change(_) => String::new(),
        };
        let changed = if entry.changed_seq > 0 { format!(" ({})", entry.changed_seq) } else { String::new() };
        let recalled = if entry.is_recalled { " recalled" } else { "" };
        format!("{}{about}: {}{}{changed}{recalled}", entry.seq, entry.content, entry.url)
    };
    part.messages.into_iter().map(line).collect()
}

pub(super) fn a_message_says_what_its_last_edit_says(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_user("bob"), "helo");
    store.say("bob", 1, to_user("alice"), "what?");
    assert_eq!(done(&mut store, edit("alice", 2, to_user("bob"), 1, "hello")), 3);
    assert_eq!(done(&mut store, edit("alice", 3, to_user("bob"), 1, "hello!")), 4);
    let expected = ["1: hello! (4)", "2: what?", "3 edits 1: hello", "4 edits 1: hello!"];
    for (reader, other) in [("alice", "bob"), ("bob", "alice")] {
        assert_eq!(read(&mut store, reader, to_user(other)), expected);
    }
    store.crash();
    assert_eq!(read(&mut store, "bob", to_user("alice")), expected);
    assert_eq!(store.heads("bob")[0].seq, 4);
}

pub(super) fn of_what_was_recalled_nothing_is_left_to_read(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_user("bob"), "secret");
    done(&mut store, edit("alice", 2, to_user("bob"), 1, "no secret"));
    assert_eq!(done(&mut store, recall("alice", 3, to_user("bob"), 1)), 3);
    let expected = ["1:  (3) recalled", "2 edits 1: ", "3 recalls 1: "];
    assert_eq!(read(&mut store, "bob", to_user("alice")), expected);
    store.crash();
    assert_eq!(read(&mut store, "alice", to_user("bob")), expected);
    assert_eq!(store.ask(edit("alice", 4, to_user("bob"), 1, "again")), denied(Denial::Recalled));
    assert_eq!(store.ask(recall("alice", 5, to_user("bob"), 1)), denied(Denial::Recalled));
    assert_eq!(read(&mut store, "alice", to_user("bob")), expected);
}

pub(super) fn only_messages_that_are_there_are_changed_and_by_who_has_sent_them(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_user("bob"), "hello");
    store.say("carol", 1, to_user("bob"), "psst");
    done(&mut store, edit("alice", 2, to_user("bob"), 1, "hello!"));
    for target_seq in [0, 2, 3, u64::MAX] {
        // Not there yet, or no message itself.
        assert_eq!(
            store.ask(edit("alice", 3, to_user("bob"), target_seq, "x")),
            denied(Denial::NoMessage),
            "{target_seq}"
        );
        assert_eq!(
            store.ask(recall("alice", 4, to_user("bob"), target_seq)),
            denied(Denial::NoMessage),
            "{target_seq}"
        );
    }
    assert_eq!(store.ask(edit("bob", 3, to_user("alice"), 1, "x")), denied(Denial::EditOfOther));
    assert_eq!(store.ask(recall("bob", 4, to_user("alice"), 1)), denied(Denial::RecallOfOther));
    // In a conversation in which nothing was said, nothing begins.
    assert_eq!(store.ask(edit("alice", 5, to_user("carol"), 1, "x")), denied(Denial::NoMessage));
    assert_eq!(store.ask(edit("alice", 6, to_user("stranger"), 1, "x")), Answer::Refused);
    assert!(store.heads("alice").iter().all(|head| head.conversation != to_user("carol")));
    assert_eq!(read(&mut store, "bob", to_user("alice")), ["1: hello! (2)", "2 edits 1: hello!"]);
    assert_eq!(store.say("bob", 9, to_user("alice"), "a denial takes no place"), 3);
}

pub(super) fn an_edit_is_made_once_however_often_it_is_sent(open: &Open) {
    let mut store = open(Strangers::Refused);
    store.say("alice", 1, to_user("bob"), "one");
    let first = edit("alice", 2, to_user("bob"), 1, "two");
    done(&mut store, first.clone());
    done(&mut store, edit("alice", 3, to_user("bob"), 1, "three"));
    assert!(matches!(store.ask(first.clone()), Answer::StoredEarlier(place) if place.seq == 2));
    assert_eq!(read(&mut store, "bob", to_user("alice"))[0], "1: three (3)");
    done(&mut store, recall("alice", 4, to_user("bob"), 1));
    assert!(matches!(store.ask(first), Answer::StoredEarlier(place) if place.seq == 2));
    assert_eq!(read(&mut store, "bob", to_user("alice"))[0], "1:  (4) recalled");
}

pub(super) fn admins_recall_what_members_have_said_and_edit_nothing_of_it(open: &Open) {
    let mut store = open(Strangers::Refused);
    let chess = || to_group("chess");
    assert!(store.set_member("chess", "bob", true) && store.set_member("chess", "carol", true));
    let (first, second) = (store.say("bob", 1, chess(), "rude"), store.say("carol", 1, chess(), "fine"));
    assert_eq!(store.ask(recall("carol", 2, chess(), first)), denied(Denial::RecallOfOther));
    assert_eq!(store.ask(edit("alice", 1, chess(), first, "polite")), denied(Denial::EditOfOther));
    let recalled = done(&mut store, recall("alice", 2, chess(), first));
    let admin = GroupChange::SetRole(user("bob"), Role::Admin);
    assert!(matches!(store.ask(change_of("alice", 3, "chess", admin)), Answer::MessageStored(_)));
    done(&mut store, recall("bob", 3, chess(), second));
    let lines = read(&mut store, "carol", chess());
    assert!(lines.contains(&format!("{first}:  ({recalled}) recalled")), "{lines:?}");
    // Who is no member is told no more than any stranger.
    assert_eq!(store.ask(edit("witness", 1, chess(), first, "x")), Answer::Refused);
    assert_eq!(store.ask(recall("witness", 2, to_group("nowhere"), first)), Answer::Refused);
}

pub(super) fn who_may_not_read_or_write_changes_nothing(open: &Open) {
    let mut store = open(Strangers::Refused);
    let chess = || to_group("chess");
    assert!(store.set_member("chess", "bob", true));
    let early = store.say("bob", 1, chess(), "early");
    assert!(store.set_member("chess", "bob", false));
    assert_eq!(store.ask(edit("bob", 2, chess(), early, "x")), Answer::Refused);
    assert!(store.set_member("chess", "bob", true));
    // What was said before the new joining is not there for him.
    assert_eq!(store.ask(edit("bob", 3, chess(), early, "x")), denied(Denial::NoMessage));
    let late = store.say("bob", 4, chess(), "late");
    let mute = GroupChange::Mute(user("bob"), i64::MAX);
    assert!(matches!(store.ask(change_of("alice", 1, "chess", mute)), Answer::MessageStored(_)));
    assert_eq!(store.ask(edit("bob", 5, chess(), late, "x")), denied(MUTED));
    assert_eq!(store.ask(recall("bob", 6, chess(), late)), denied(MUTED));
    assert_eq!(store.ask(message("bob", 7, chess(), "x")), denied(MUTED));
}

pub(super) fn who_has_left_reads_no_later_edits_and_nothing_that_was_recalled(open: &Open) {
    let mut store = open(Strangers::Refused);
    let chess = || to_group("chess");
    assert!(store.set_member("chess", "bob", true));
    let said = [1, 2, 3].map(|n| store.say("alice", n, chess(), &format!("first {n}")));
    let before = done(&mut store, edit("alice", 4, chess(), said[1], "second 2"));
    assert!(store.set_member("chess", "bob", false));
    for (id, seq) in [(5, said[0]), (6, said[1])] {
        done(&mut store, edit("alice", id, chess(), seq, "not for bob"));
        done(&mut store, edit("alice", id + 10, chess(), seq, "nor this"));
    }
    done(&mut store, recall("alice", 7, chess(), said[2]));
    let lines = read(&mut store, "bob", chess());
    let left = store.heads("bob").iter().find(|head| head.conversation == chess()).unwrap().seq;
    let expected = [
        format!("{}: first 1", said[0]),
        format!("{}: second 2 ({before})", said[1]),
        format!("{}:  ({left}) recalled", said[2]),
    ];
    assert!(expected.iter().all(|line| lines.contains(line)), "{lines:?}, not {expected:?}");
}

pub(super) fn a_file_may_have_another_text_and_goes_with_a_recall(open: &Open) {
    let mut store = open(Strangers::Refused);
    let Request::StoreMessage(text) = message("alice", 1, to_user("bob"), "look") else { unreachable!() };
    let (name, _) = kept(&mut store, FileSource::Bytes(PNG.into()), "png");
    let picture = Box::new(NewMessage { content_type: 3, url: name.clone(), ..*text });
    assert_eq!(done(&mut store, Request::StoreMessage(picture)), 1);
    done(&mut store, edit("alice", 2, to_user("bob"), 1, "see "));
    assert_eq!(read(&mut store, "bob", to_user("alice"))[0], format!("1: see {name} (2)"));
    done(&mut store, recall("alice", 3, to_user("bob"), 1));
    assert_eq!(read(&mut store, "bob", to_user("alice"))[0], "1:  (3) recalled");
}
