//! What stores keep. Both kinds hold the same.

use std::sync::Arc;

use switchboard::client::{
    Change, Content, GroupId, LogMessage, Marks, MemoryStore, MessageId, PendingSubmit, Place, Recipient,
    RejectReason, SqliteStore, Store, StoreError, Summary,
};
use switchboard_engine::{GroupChange, LogCursor, LogMarks};

use crate::harness::{folder, texts, user, with};

const DEVICE: [u8; 16] = [7; 16];

/// Does the same with both kinds of store. `again` gives the store as a later client finds it.
fn both(check: impl Fn(&mut dyn FnMut() -> Box<dyn Store>)) {
    let memory = MemoryStore::default();
    check(&mut || Box::new(memory.clone()));
    let data = folder();
    let file = data.path().join("client.db");
    check(&mut || Box::new(SqliteStore::open(&file).unwrap()));
}

fn message(seq: u64, text: &str) -> Arc<LogMessage> {
    Arc::new(LogMessage {
        seq,
        id: MessageId([u8::try_from(seq).unwrap(); 16]),
        from: user("bob"),
        content: Content::edit(7, text),
        stored_at_ms: 1_700_000_000_000,
        own: false,
        changed_seq: u64::MAX,
        is_recalled: true,
    })
}

fn told(conversation: &Recipient, epoch: u64, seq: u64) -> Change {
    Change::Message {
        conversation: conversation.clone(),
        epoch,
        message: message(seq, &format!("text {seq}")),
    }
}

fn submit(id: u8) -> PendingSubmit {
    PendingSubmit { id: MessageId([id; 16]), conversation: with("bob"), content: Content::text("hello") }
}

fn known(store: &mut dyn Store, limit: u32) -> Vec<Recipient> {
    store.conversations(limit).unwrap().into_iter().map(|summary| summary.conversation).collect()
}

#[test]
fn a_new_device_keeps_its_id() {
    both(|again| {
        let resume = again().open(&user("alice"), DEVICE).unwrap();
        assert_eq!((resume.device_id, resume.cursors.len(), resume.submits.len()), (DEVICE, 0, 0));
        assert_eq!(again().open(&user("alice"), [8; 16]).unwrap().device_id, DEVICE);
    });
}

#[test]
fn a_store_is_one_users() {
    both(|again| {
        again().open(&user("alice"), DEVICE).unwrap();
        let error = again().open(&user("bob"), DEVICE).unwrap_err();
        assert!(matches!(error, StoreError::OtherUser { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "this store is alice's, and not bob's: each user needs one of their own"
        );
    });
}

#[test]
fn messages_come_with_their_cursors_and_those_that_moved_last_come_first() {
    both(|again| {
        let group = Recipient::Group(GroupId::new("bob").unwrap());
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let epoch = u64::MAX - 5;
        store.apply(&[told(&with("bob"), 9, 1), told(&group, epoch, 1), told(&with("bob"), 9, 2)]).unwrap();
        drop(store);
        let mut store = again();
        let cursors = store.open(&user("alice"), DEVICE).unwrap().cursors;
        let cursor = |conversation, epoch, seq| LogCursor { conversation, epoch, seq };
        assert_eq!(cursors, [cursor(with("bob"), 9, 2), cursor(group.clone(), epoch, 1)]);
        assert_eq!(
            store.messages(&with("bob"), 0, 10).unwrap(),
            [message(1, "text 1"), message(2, "text 2")]
        );
        assert_eq!(store.messages(&with("bob"), 0, 1).unwrap(), [message(2, "text 2")]);
        assert_eq!(store.messages(&with("bob"), 2, 10).unwrap(), [message(1, "text 1")]);
        assert_eq!(store.messages(&with("carol"), 0, 10).unwrap(), []);
        assert_eq!(known(&mut *store, 10), [with("bob"), group]);
        assert_eq!(known(&mut *store, 1), [with("bob")]);
    });
}

#[test]
fn messages_beyond_a_gap_are_not_given() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let skipped = Change::Skipped { conversation: with("bob"), epoch: 9, seq: 4 };
        store.apply(&[told(&with("bob"), 9, 1), skipped, told(&with("bob"), 9, 5)]).unwrap();
        assert_eq!(texts(&store.messages(&with("bob"), 0, 10).unwrap()), ["text 5"]);
        assert!(store.messages(&with("bob"), 5, 10).unwrap().is_empty());
        let older = |epoch, messages| Change::Older { conversation: with("bob"), epoch, messages };
        // Of another log: means nothing here.
        store.apply(&[older(8, vec![message(4, "other")])]).unwrap();
        store.apply(&[older(9, vec![message(3, "three"), message(4, "four")])]).unwrap();
        assert_eq!(texts(&store.messages(&with("bob"), 0, 10).unwrap()), ["three", "four", "text 5"]);
        let cursors = again_cursors(store);
        assert_eq!(cursors[0].seq, 5);
    });

    fn again_cursors(mut store: Box<dyn Store>) -> Vec<LogCursor> {
        store.open(&user("alice"), DEVICE).unwrap().cursors
    }
}

#[test]
fn a_reset_forgets_a_conversation_and_nothing_else() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let reset = Change::Reset { conversation: with("bob") };
        let changes =
            [told(&with("bob"), 9, 1), told(&with("carol"), 9, 1), Change::Submit(submit(1)), reset];
        store.apply(&changes).unwrap();
        assert!(store.messages(&with("bob"), 0, 10).unwrap().is_empty());
        assert_eq!(known(&mut *store, 10), [with("carol")]);
        assert_eq!(store.open(&user("alice"), DEVICE).unwrap().submits, [submit(1)]);
    });
}

#[test]
fn a_submit_is_kept_in_its_order_until_it_has_its_fate() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        store.apply(&[5, 3, 4, 2].map(|id| Change::Submit(submit(id)))).unwrap();
        let place = Place { epoch: 1, seq: 1, stored_at_ms: 0 };
        let [two, three] = [2, 3].map(|id| MessageId([id; 16]));
        store.apply(&[Change::Accepted { id: three, place }]).unwrap();
        store.apply(&[Change::Rejected { id: two, reason: RejectReason::Invalid }]).unwrap();
        drop(store);
        let mut store = again();
        assert_eq!(store.open(&user("alice"), DEVICE).unwrap().submits, [submit(5), submit(4)]);
        store.apply(&[Change::Withdraw { id: MessageId([5; 16]) }]).unwrap();
        assert_eq!(store.open(&user("alice"), DEVICE).unwrap().submits, [submit(4)]);
    });
}

/// The entry at a place.
fn entry(seq: u64, content: Content) -> Arc<LogMessage> {
    let message = (*message(seq, "")).clone();
    Arc::new(LogMessage { content, changed_seq: 0, is_recalled: false, ..message })
}

fn said(seq: u64, text: &str) -> Arc<LogMessage> {
    entry(seq, Content::text(text))
}

fn next(message: Arc<LogMessage>) -> Change {
    Change::Message { conversation: with("bob"), epoch: 9, message }
}

#[test]
fn edits_and_recalls_change_the_messages_that_they_are_about() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        store.apply(&[said(1, "one"), said(2, "two"), said(3, "three")].map(next)).unwrap();
        let edits = [
            entry(4, Content::edit(1, "uno")),
            entry(5, Content::edit(1, "un")),
            entry(6, Content::recall(2)),
        ];
        store.apply(&edits.map(next)).unwrap();
        let all = store.messages(&with("bob"), 0, 10).unwrap();
        assert_eq!(texts(&all), ["un", "", "three", "uno", "un", ""]);
        let changes: Vec<_> = all.iter().map(|message| (message.changed_seq, message.is_recalled)).collect();
        assert_eq!(changes, [(5, false), (6, true), (0, false), (0, false), (0, false), (0, false)]);
    });
}

#[test]
fn older_messages_have_the_changes_that_are_known_and_lose_none() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let skipped = Change::Skipped { conversation: with("bob"), epoch: 9, seq: 3 };
        store.apply(&[skipped, next(entry(4, Content::edit(2, "zwei"))), next(said(5, "five"))]).unwrap();
        let older = |messages| Change::Older { conversation: with("bob"), epoch: 9, messages };
        // Read before the edit.
        store.apply(&[older(vec![said(1, "one"), said(2, "two"), said(3, "three")])]).unwrap();
        assert_eq!(texts(&store.messages(&with("bob"), 4, 10).unwrap()), ["one", "zwei", "three"]);
        // Read after an edit that is still to be told, and once more before it.
        let ahead = LogMessage { changed_seq: 6, ..(*said(3, "drei")).clone() };
        store.apply(&[older(vec![Arc::new(ahead)])]).unwrap();
        store.apply(&[older(vec![said(3, "three")])]).unwrap();
        store.apply(&[next(entry(6, Content::edit(3, "drei")))]).unwrap();
        assert_eq!(texts(&store.messages(&with("bob"), 4, 10).unwrap()), ["one", "zwei", "drei"]);
    });
}

#[test]
fn marks_are_kept_with_their_log_and_unread_messages_counted() {
    both(|again| {
        let marked = |epoch, own, delivered, read| Change::Marked {
            conversation: with("bob"),
            epoch,
            own,
            marks: Marks { delivered, read },
        };
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let own = LogMessage { own: true, ..(*said(2, "mine")).clone() };
        let entries =
            [said(1, "one"), Arc::new(own), said(3, "three"), said(4, "four"), entry(5, Content::recall(4))];
        store.apply(&entries.map(next)).unwrap();
        assert_eq!(store.conversations(1).unwrap()[0].unread, 2);
        store.apply(&[marked(9, true, 5, 2), marked(9, false, 3, 1), marked(8, true, 99, 99)]).unwrap();
        drop(store);
        let mut store = again();
        let (own, peer) = (Marks { delivered: 5, read: 2 }, Marks { delivered: 3, read: 1 });
        let marks = store.open(&user("alice"), DEVICE).unwrap().marks;
        assert_eq!(marks, [LogMarks { conversation: with("bob"), epoch: 9, own, peer }]);
        let summary = Summary {
            conversation: with("bob"),
            name: "".into(),
            epoch: 9,
            last_seq: 5,
            own,
            peer,
            unread: 1,
        };
        assert_eq!(store.conversations(1).unwrap(), [summary]);
    });
}

#[test]
fn marks_that_come_before_the_first_entry_of_their_log_count_with_it() {
    both(|again| {
        let marked = |epoch, own, read| Change::Marked {
            conversation: with("bob"),
            epoch,
            own,
            marks: Marks { delivered: read, read },
        };
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        // Of a log that has gone meanwhile, too.
        store
            .apply(&[marked(8, true, 7), marked(8, false, 7), marked(9, true, 2), marked(9, false, 1)])
            .unwrap();
        let older = Change::Older { conversation: with("bob"), epoch: 9, messages: vec![said(1, "one")] };
        store.apply(&[older]).unwrap();
        assert_eq!(store.conversations(9).unwrap(), [], "as good as unknown");
        drop(store);
        let mut store = again();
        let resume = store.open(&user("alice"), DEVICE).unwrap();
        assert_eq!((resume.cursors, resume.marks), (vec![], vec![]));
        store.apply(&[said(1, "one"), said(2, "two"), said(3, "three")].map(next)).unwrap();
        let Summary { own, peer, unread, .. } = store.conversations(1).unwrap().remove(0);
        assert_eq!((own.read, peer.read, unread), (2, 1, 1));
        // Another log has other marks.
        store.apply(&[told(&with("bob"), 10, 1)]).unwrap();
        let Summary { own, peer, .. } = store.conversations(1).unwrap().remove(0);
        assert_eq!((own.read, peer.read), (0, 0));
    });
}

#[test]
fn a_group_is_called_what_was_told_last() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let group = Recipient::Group(GroupId::new("crew").unwrap());
        let name = |store: &mut dyn Store| store.conversations(1).unwrap()[0].name.to_string();
        // Before anything of its log.
        store.apply(&[Change::Named { conversation: group.clone(), name: "The crew".into() }]).unwrap();
        store.apply(&[told(&group, 9, 4)]).unwrap();
        assert_eq!(name(&mut *store), "The crew");
        let renamed = |seq, name: &str| entry(seq, Content::change(GroupChange::Rename(name.into())));
        let rename = |seq, name| Change::Message {
            conversation: group.clone(),
            epoch: 9,
            message: renamed(seq, name),
        };
        store.apply(&[rename(5, "Ours")]).unwrap();
        let older = vec![renamed(3, "Theirs")];
        store.apply(&[Change::Older { conversation: group.clone(), epoch: 9, messages: older }]).unwrap();
        store.apply(&[Change::Reset { conversation: group.clone() }, told(&group, 10, 1)]).unwrap();
        drop(store);
        assert_eq!(name(&mut *again()), "Ours");
    });
}

#[test]
fn how_far_the_application_is_outlives_the_conversation() {
    both(|again| {
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        assert_eq!(store.taken().unwrap(), []);
        let taken = |epoch, seq| Change::Taken { conversation: with("bob"), epoch, seq };
        store.apply(&[told(&with("bob"), 9, 1), told(&with("bob"), 9, 2), taken(9, 1)]).unwrap();
        store.apply(&[told(&with("bob"), 9, 4), taken(9, 2)]).unwrap();
        assert_eq!(texts(&store.messages_after(&with("bob"), 1, 10).unwrap()), ["text 2", "text 4"]);
        assert_eq!(texts(&store.messages_after(&with("bob"), 0, 1).unwrap()), ["text 1"]);
        assert!(store.messages_after(&with("carol"), 0, 1).unwrap().is_empty());
        drop(store);
        let mut store = again();
        store.open(&user("alice"), DEVICE).unwrap();
        let cursor = |epoch, seq| LogCursor { conversation: with("bob"), epoch, seq };
        assert_eq!(store.taken().unwrap(), [cursor(9, 2)]);
        store.apply(&[Change::Reset { conversation: with("bob") }]).unwrap();
        assert_eq!(store.taken().unwrap(), [cursor(9, 2)]);
        store.apply(&[taken(0, 0)]).unwrap();
        assert_eq!(store.taken().unwrap(), [cursor(0, 0)]);
    });
}

#[test]
fn a_file_of_version_1_is_brought_to_the_newest() {
    let data = folder();
    let file = data.path().join("client.db");
    let mut store = SqliteStore::open(&file).unwrap();
    store.open(&user("alice"), DEVICE).unwrap();
    store.apply(&[told(&with("bob"), 9, 1)]).unwrap();
    drop(store);
    let older = rusqlite::Connection::open(&file).unwrap();
    older.execute_batch("DROP TABLE group_names; DROP TABLE taken; PRAGMA user_version = 1;").unwrap();
    drop(older);
    let mut store = SqliteStore::open(&file).unwrap();
    assert_eq!(store.open(&user("alice"), DEVICE).unwrap().cursors[0].seq, 1);
    // What it had told then is not told again.
    assert_eq!(store.taken().unwrap(), [LogCursor { conversation: with("bob"), epoch: 9, seq: 1 }]);
    let group = Recipient::Group(GroupId::new("crew").unwrap());
    store
        .apply(&[told(&group, 9, 1), Change::Named { conversation: group, name: "The crew".into() }])
        .unwrap();
    assert_eq!(&*store.conversations(1).unwrap()[0].name, "The crew");
}

#[test]
fn memory_keeps_the_newest_messages() {
    let mut store = MemoryStore::keeping(3);
    store.open(&user("alice"), DEVICE).unwrap();
    for seq in 1..=5 {
        store.apply(&[told(&with("bob"), 9, seq)]).unwrap();
    }
    assert_eq!(texts(&store.messages(&with("bob"), 0, 10).unwrap()), ["text 3", "text 4", "text 5"]);
    let older = Change::Older { conversation: with("bob"), epoch: 9, messages: vec![message(2, "two")] };
    store.apply(&[older]).unwrap();
    assert_eq!(store.messages(&with("bob"), 0, 10).unwrap().len(), 3);
}

#[test]
fn memory_belongs_to_the_client_that_opened_it_last() {
    let mut old = MemoryStore::default();
    old.open(&user("alice"), DEVICE).unwrap();
    old.apply(&[told(&with("bob"), 9, 1)]).unwrap();
    let mut new = old.clone();
    assert_eq!(new.open(&user("alice"), DEVICE).unwrap().cursors[0].seq, 1);
    // A batch that was still on its way.
    assert!(old.apply(&[told(&with("bob"), 9, 2)]).is_err());
    new.apply(&[told(&with("bob"), 9, 2)]).unwrap();
}

#[test]
fn a_change_that_fails_leaves_nothing_of_its_batch() {
    let data = folder();
    let mut store = SqliteStore::open(data.path().join("client.db")).unwrap();
    store.open(&user("alice"), DEVICE).unwrap();
    // One id cannot be pending twice.
    let changes = [told(&with("bob"), 9, 1), Change::Submit(submit(1)), Change::Submit(submit(1))];
    assert!(matches!(store.apply(&changes), Err(StoreError::Failed { .. })));
    let resume = store.open(&user("alice"), DEVICE).unwrap();
    assert!(resume.cursors.is_empty() && resume.submits.is_empty());
}

#[test]
fn a_file_is_one_clients_at_a_time() {
    let data = folder();
    let file = data.path().join("client.db");
    let first = SqliteStore::open(&file).unwrap();
    let error = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("in use by another client"), "{error}");
    drop(first);
    SqliteStore::open(&file).unwrap();
}

#[test]
fn other_files_are_refused_and_left_as_they_are() {
    let data = folder();
    let file = data.path().join("other");
    let open = || SqliteStore::open(&file).unwrap_err();

    std::fs::write(&file, "Dear diary, ".repeat(1000)).unwrap();
    assert!(matches!(open(), StoreError::NotADatabase { .. }));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "Dear diary, ".repeat(1000));

    std::fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE other (x)").unwrap();
    drop(other);
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(open(), StoreError::Foreign { .. }));
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let missing = SqliteStore::open(data.path().join("no").join("such")).unwrap_err();
    assert!(matches!(missing, StoreError::Failed { doing: "open", .. }), "{missing:?}");
}

#[test]
fn newer_files_are_refused() {
    let data = folder();
    let file = data.path().join("client.db");
    drop(SqliteStore::open(&file).unwrap());
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("use a newer program"), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let data = folder();
    let file = data.path().join("client.db");
    let mut store = SqliteStore::open(&file).unwrap();
    store.open(&user("alice"), DEVICE).unwrap();
    for seq in 1..=200 {
        store.apply(&[told(&with("bob"), 9, seq)]).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&file).unwrap();
    // All pages but the first, which has the schema.
    bytes[4096..].fill(0x55);
    std::fs::write(&file, bytes).unwrap();
    let error = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("is damaged: move it away"), "{error}");
}
