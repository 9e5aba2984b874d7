//! What an application is told, and what it can ask for.

use std::time::Duration;

use futures_util::StreamExt as _;
use switchboard::client::{
    Client, ClosedReason, Content, Ended, Event, History, LossCause, Marks, MemoryStore, MessageId,
    OlderError, RejectReason, SqliteStore, StartError, State, StoreError, SubmitError, Unaccepted,
};
use switchboard_engine as engine;
use tokio::net::TcpListener;

use crate::harness::{TestServer, folder, heard, hurried, say, soon, texts, user, with};

#[tokio::test]
async fn what_is_said_is_accepted_and_told_to_both_once() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, mut to_alice) = server.client("alice").start().await.unwrap();
    let (_bob, mut to_bob) = server.client("bob").start().await.unwrap();
    assert_eq!(say(&alice, &with("bob"), "one").await, 1);
    assert_eq!(say(&alice, &with("bob"), "two").await, 2);
    for (events, own) in [(&mut to_alice, true), (&mut to_bob, false)] {
        for (seq, text) in [(1, "one"), (2, "two")] {
            let message = heard(events).await;
            assert_eq!((message.seq, &*message.content.text, message.own), (seq, text, own));
            assert_eq!(message.from, user("alice"));
        }
    }
}

#[tokio::test]
async fn events_are_a_stream_that_ends_with_the_client() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, events) = server.client("alice").start().await.unwrap();
    soon("online", alice.state_when(|state| matches!(state, State::Online))).await.unwrap();
    let other = alice.clone();
    soon("closing", alice.close()).await;
    let events: Vec<_> = soon("the end", events.collect()).await;
    assert!(
        matches!(events.last(), Some(Event::State(State::Closed(ClosedReason::Application)))),
        "{events:?}"
    );
    // The other handles know.
    assert_eq!(other.connect().await, Err(Ended));
    let submitted = other.submit(with("bob"), Content::text("late")).await;
    assert!(matches!(submitted, Err(SubmitError::Ended(Ended))));
    assert!(matches!(other.messages(with("bob"), 0, 1).await, Err(StoreError::Thread)));
    assert!(matches!(other.fetch_older(with("bob"), 0, 1).await, Err(OlderError::Ended(Ended))));
}

#[tokio::test]
async fn the_last_handle_that_goes_ends_the_client() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, events) = server.client("alice").start().await.unwrap();
    drop(alice);
    soon("the end", events.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_restarted_client_goes_on_where_it_stopped() {
    let data = folder();
    let file = data.path().join("alice.db");
    let server = TestServer::start(data.path());
    let (bob, _) = server.client("bob").start().await.unwrap();

    let store = SqliteStore::open(&file).unwrap();
    let (alice, mut events) = server.client("alice").store(store).start().await.unwrap();
    say(&bob, &with("alice"), "one").await;
    assert_eq!(heard(&mut events).await.seq, 1);
    alice.disconnect().await.unwrap();
    soon("closed", alice.state_when(|state| matches!(state, State::Closed(ClosedReason::Application))))
        .await
        .unwrap();
    let submitted = alice.submit(with("bob"), Content::text("three")).await.unwrap();
    alice.close().await;
    assert_eq!(submitted.await, Err(Unaccepted::Ended(Ended)));

    say(&bob, &with("alice"), "two").await;
    let store = SqliteStore::open(&file).unwrap();
    let (alice, mut events) = server.client("alice").store(store).start().await.unwrap();
    let mut told = [heard(&mut events).await, heard(&mut events).await];
    told.sort_by_key(|message| message.seq);
    assert_eq!(texts(&told), ["two", "three"]);
    let kept = alice.messages(with("bob"), 0, 10).await.unwrap();
    assert_eq!(texts(&kept), ["one", "two", "three"]);
    assert_eq!(alice.conversations(10).await.unwrap()[0].conversation, with("bob"));
    soon("the fate", alice.state_when(|_| true)).await.unwrap();
    assert!(alice.pending().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_stored_and_not_taken_when_the_program_died_is_told_again_before_anything_new() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (bob, _) = server.client("bob").start().await.unwrap();
    for text in ["one", "two", "three"] {
        say(&bob, &with("alice"), text).await;
    }
    let store = MemoryStore::default();
    {
        // A program that dies takes its tasks along: nothing of the client is closed.
        let dying = tokio::task::spawn_blocking({
            let (url, store) = (server.url(), store.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let builder = Client::builder(url, user("alice")).configure(hurried).store(store);
                    let (alice, mut events) = builder.start().await.unwrap();
                    assert_eq!(heard(&mut events).await.seq, 1);
                    // Asks for the next one, so that one is taken, and dies with two, while three is on its way.
                    assert_eq!(heard(&mut events).await.seq, 2);
                    // Everything is in the store.
                    soon("online", alice.state_when(|state| matches!(state, State::Online))).await.unwrap();
                });
            }
        });
        dying.await.unwrap();
    }
    say(&bob, &with("alice"), "four").await;
    let builder = server.client("alice").store(store.clone()).connecting(false);
    let (alice, mut events) = builder.start().await.unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&3) {
        told.push(heard(&mut events).await.seq);
    }
    // That one was taken may have been on its way into the store.
    assert!(told == [2, 3] || told == [1, 2, 3], "{told:?}");
    alice.connect().await.unwrap();
    assert_eq!(heard(&mut events).await.seq, 4);
    soon("closing", alice.close()).await;
    // Closed with the last one taken: nothing is told again.
    let builder = server.client("alice").store(store).connecting(false);
    let (alice, mut events) = builder.start().await.unwrap();
    alice.connect().await.unwrap();
    say(&bob, &with("alice"), "five").await;
    assert_eq!(heard(&mut events).await.seq, 5);
}

#[tokio::test]
async fn a_message_waits_for_a_server_and_survives_its_restart() {
    let data = folder();
    let server = TestServer::start(data.path());
    let address = server.address;
    let (alice, mut events) = server.client("alice").start().await.unwrap();
    say(&alice, &with("bob"), "one").await;
    server.stop().await;
    let submitted = alice.submit(with("bob"), Content::text("two")).await.unwrap();
    assert_eq!(alice.pending().await.unwrap().len(), 1);
    soon("offline", alice.state_when(|state| matches!(state, State::Waiting { .. }))).await.unwrap();
    let _server = TestServer::start_on(address, data.path());
    // What the server's goodbye asks to wait for is not what this test is about.
    alice.connect().await.unwrap();
    assert_eq!(soon("accepted", submitted).await.unwrap().seq, 2);
    assert_eq!([heard(&mut events).await.seq, heard(&mut events).await.seq], [1, 2]);
}

#[tokio::test]
async fn whoever_is_invited_is_told_what_the_group_is_called() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, _) = server.client("alice").start().await.unwrap();
    let (bob, mut to_bob) = server.client("bob").start().await.unwrap();
    soon("online", bob.state_when(|state| matches!(state, State::Online))).await.unwrap();
    let crew = engine::Recipient::Group(engine::GroupId::new("crew").unwrap());
    let changes = [
        engine::GroupChange::Create { name: "A crew".into(), invite_only: true },
        engine::GroupChange::Rename("The crew".into()),
        engine::GroupChange::Invite(user("bob")),
    ];
    for change in changes {
        let submitted = alice.submit(crew.clone(), Content::change(change)).await.unwrap();
        soon("accepted", submitted).await.unwrap();
    }
    let name = loop {
        let event = soon("the name", to_bob.next()).await.unwrap();
        assert!(!matches!(event, Event::Message { .. }), "{event:?} comes before the name");
        if let Event::Named { name, .. } = event {
            break name;
        }
    };
    assert_eq!(&*name, "The crew");
    assert_eq!(heard(&mut to_bob).await.seq, 3);
    assert_eq!(&*bob.conversations(1).await.unwrap()[0].name, "The crew");
}

#[tokio::test]
async fn fates_are_told_as_events_too() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, mut events) = server.client("alice").start().await.unwrap();
    let nobodys = engine::Recipient::Group(engine::GroupId::new("nobody's").unwrap());
    let id = MessageId([7; 16]);
    let submitted = alice.submit_as(id, nobodys, Content::text("hello?")).await.unwrap();
    assert_eq!(submitted.id(), id);
    let Err(Unaccepted::Rejected { reason, .. }) = soon("the fate", submitted).await else {
        panic!("there is no such group")
    };
    assert_eq!(reason, RejectReason::NoSuchConversation);
    loop {
        if let Event::Rejected { id: rejected, reason, .. } = soon("the event", events.next()).await.unwrap()
        {
            assert_eq!((rejected, reason), (id, RejectReason::NoSuchConversation));
            return;
        }
    }
}

#[tokio::test]
async fn what_finds_no_room_is_refused_and_not_kept() {
    let store = MemoryStore::default();
    let nowhere = "ws://127.0.0.1:1".parse().unwrap();
    let builder = Client::builder(nowhere, user("alice")).store(store.clone()).connecting(false);
    let (alice, _) = builder.configure(|config| config.limits.pending_messages = 2).start().await.unwrap();
    let submit = |id| alice.submit_as(MessageId([id; 16]), with("bob"), Content::text("hello"));
    submit(1).await.unwrap();
    let again = submit(1).await;
    assert!(matches!(again, Err(SubmitError::Refused(engine::SubmitError::AlreadyPending))), "{again:?}");
    submit(2).await.unwrap();
    let full = submit(3).await;
    assert!(matches!(full, Err(SubmitError::Refused(engine::SubmitError::QueueFull))), "{full:?}");
    assert_eq!(alice.pending().await.unwrap().len(), 2);
    alice.close().await;
    let (alice, _) = Client::builder("ws://127.0.0.1:1".parse().unwrap(), user("alice"))
        .store(store)
        .connecting(false)
        .start()
        .await
        .unwrap();
    assert_eq!(alice.pending().await.unwrap().len(), 2);
}

#[tokio::test]
async fn as_much_of_the_past_is_told_as_is_wanted_and_the_rest_can_be_fetched() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, _) = server.client("alice").start().await.unwrap();
    for n in 1..=10 {
        say(&alice, &with("bob"), &format!("text {n}")).await;
    }
    let (bob, mut events) = server.client("bob").history(History::Latest(3)).start().await.unwrap();
    assert_eq!(heard(&mut events).await.seq, 8);
    soon("online", bob.state_when(|state| matches!(state, State::Online))).await.unwrap();
    assert_eq!(bob.messages(with("alice"), 0, 10).await.unwrap().len(), 3);
    let older = soon("older", bob.fetch_older(with("alice"), 8, 4)).await.unwrap();
    assert_eq!((texts(&older.messages), older.first_seq), (vec!["text 4", "text 5", "text 6", "text 7"], 1));
    // They are in the store now.
    assert_eq!(bob.messages(with("alice"), 0, 10).await.unwrap().len(), 7);
    assert_eq!(
        bob.fetch_older(with("alice"), 1, 4).await,
        Err(OlderError::Refused(engine::FetchError::NothingOlder))
    );
    let nobody = soon("nothing", bob.fetch_older(with("carol"), 0, 4)).await;
    assert_eq!(nobody, Err(OlderError::NoSuchConversation));
}

#[tokio::test]
async fn what_is_said_while_a_device_is_away_is_not_the_past() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, _) = server.client("alice").start().await.unwrap();
    say(&alice, &with("bob"), "before").await;
    let (bob, mut events) = server.client("bob").history(History::Latest(0)).start().await.unwrap();
    soon("online", bob.state_when(|state| matches!(state, State::Online))).await.unwrap();
    bob.disconnect().await.unwrap();
    soon("away", bob.state_when(|state| matches!(state, State::Closed(_)))).await.unwrap();
    let (carol, _) = server.client("carol").start().await.unwrap();
    say(&carol, &with("bob"), "while he was away").await;
    bob.connect().await.unwrap();
    assert_eq!(&*heard(&mut events).await.content.text, "while he was away");
}

#[tokio::test]
async fn what_arrives_and_is_read_is_told_to_who_said_it_and_to_other_devices() {
    let data = folder();
    let server = TestServer::start(data.path());
    let quick = |config: &mut engine::SessionConfig| config.mark_interval = Duration::from_millis(10);
    let (alice, mut to_alice) = server.client("alice").start().await.unwrap();
    let (bob, mut to_bob) = server.client("bob").configure(quick).start().await.unwrap();
    let (phone, mut to_phone) = server.client("bob").configure(quick).start().await.unwrap();
    soon("online", phone.state_when(|state| matches!(state, State::Online))).await.unwrap();
    say(&alice, &with("bob"), "hello").await;
    assert_eq!(heard(&mut to_bob).await.seq, 1);
    heard(&mut to_phone).await;
    let marked = async |events: &mut switchboard::client::Events, whose, wanted| loop {
        if let Event::Marked { conversation, own, marks, .. } = soon("marks", events.next()).await.unwrap()
            && own == whose
            && marks == wanted
        {
            return conversation;
        }
    };
    let (arrived, read) = (Marks { delivered: 1, read: 0 }, Marks { delivered: 1, read: 1 });
    assert_eq!(marked(&mut to_alice, false, arrived).await, with("bob"));
    assert_eq!(phone.conversations(1).await.unwrap()[0].unread, 1);
    assert!(bob.mark_read(with("alice"), 1).await.unwrap());
    assert!(!bob.mark_read(with("alice"), 1).await.unwrap());
    assert_eq!(marked(&mut to_alice, false, read).await, with("bob"));
    assert_eq!(marked(&mut to_phone, true, read).await, with("alice"));
    let summary = &phone.conversations(1).await.unwrap()[0];
    assert_eq!((summary.unread, summary.own), (0, read));
    assert_eq!(alice.conversations(1).await.unwrap()[0].peer, read);
}

#[tokio::test]
async fn who_types_is_told_until_something_is_said() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, _) = server.client("alice").start().await.unwrap();
    let (bob, mut to_bob) = server.client("bob").start().await.unwrap();
    for client in [&alice, &bob] {
        soon("online", client.state_when(|state| matches!(state, State::Online))).await.unwrap();
    }
    say(&alice, &with("bob"), "hello").await;
    heard(&mut to_bob).await;
    assert!(alice.typing(with("bob"), true).await.unwrap());
    for wanted in [true, false] {
        loop {
            if let Event::Typing { conversation, user: who, types } =
                soon("typing", to_bob.next()).await.unwrap()
            {
                assert_eq!((conversation, who, types), (with("alice"), user("alice"), wanted));
                break;
            }
        }
        alice.typing(with("bob"), false).await.unwrap();
    }
}

#[tokio::test]
async fn who_reads_no_events_makes_the_connection_wait_and_misses_nothing() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, _) = server.client("alice").start().await.unwrap();
    let (bob, mut events) = server.client("bob").event_limits(4, 1 << 20).start().await.unwrap();
    for n in 1..=50 {
        say(&alice, &with("bob"), &format!("text {n}")).await;
    }
    // Bob, whose queue is full, can still do what needs no answer of the server's.
    assert!(bob.pending().await.unwrap().is_empty());
    let (mut next, mut stalls) = (1, 0);
    while next <= 50 {
        match soon("an event", events.next()).await.unwrap() {
            Event::Message { message, .. } => {
                assert_eq!(message.seq, next);
                next += 1;
            }
            Event::Stalled => stalls += 1,
            _ => {}
        }
    }
    assert!(stalls > 0);
}

#[tokio::test]
async fn nobody_has_to_read_events() {
    let data = folder();
    let server = TestServer::start(data.path());
    let (alice, events) = server.client("alice").event_limits(1, 1).start().await.unwrap();
    drop(events);
    for n in 1..=20 {
        assert_eq!(say(&alice, &with("bob"), "hello").await, n);
    }
    soon("online", alice.state_when(|state| matches!(state, State::Online))).await.unwrap();
    assert_eq!(alice.messages(with("bob"), 0, 100).await.unwrap().len(), 20);
}

#[tokio::test]
async fn why_there_is_no_connection_is_told() {
    // Nobody listens there: the listener is gone.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("ws://{address}").parse().unwrap();
    let (alice, _) = Client::builder(url, user("alice")).configure(hurried).start().await.unwrap();
    let waiting = alice.state_when(|state| matches!(state, State::Waiting { .. }));
    let State::Waiting { cause, error, failures, until } = soon("waiting", waiting).await.unwrap() else {
        unreachable!()
    };
    assert_eq!((cause, failures), (LossCause::ConnectFailed, 1));
    assert!(until <= std::time::Instant::now() + Duration::from_secs(1));
    let error = error.unwrap();
    assert!(!error.is_permanent());
    assert_eq!(error.to_string(), format!("cannot connect to {address}"));
}

#[tokio::test]
async fn a_server_that_speaks_only_the_classic_protocol_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (alice, _) = Client::builder(url, user("alice")).start().await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let _socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let waiting = alice.state_when(|state| matches!(state, State::Waiting { .. }));
    let State::Waiting { error: Some(error), .. } = soon("waiting", waiting).await.unwrap() else {
        panic!("the reason is known")
    };
    assert!(error.is_permanent());
    assert!(error.to_string().contains("does not speak switchboard.v1"), "{error}");
}

#[tokio::test]
async fn a_store_of_somebody_else_is_an_error_at_the_start() {
    let store = MemoryStore::default();
    let url: switchboard::client::ServerUrl = "ws://127.0.0.1:1".parse().unwrap();
    let builder = |name| Client::builder(url.clone(), user(name)).store(store.clone()).connecting(false);
    builder("alice").start().await.unwrap().0.close().await;
    let error = builder("bob").start().await.unwrap_err();
    assert!(matches!(error, StartError::Store(StoreError::OtherUser { .. })), "{error}");
}
