//! What a session does, in the words of a chat.
// A panic is how a test fails, in its helpers too; numbers here are small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm
)]

use std::time::Duration;

use bytes::Bytes;
use switchboard_engine::{
    ClientAction, ClientEvent, ClosedReason, Content, FetchError, Frame, GroupChange, GroupId, History,
    Instant, LinkId, LogCursor, LogMarks, LossCause, Marks, MessageId, NoOlderReason, PendingSubmit,
    Recipient, RejectReason, Resume, Role, Session, SessionAction, SessionConfig,
    SessionNotification as Note, SessionState, SubmitError, UserId,
};
use switchboard_proto::{
    Message as _,
    v1::{self, RejectCode, client_frame::Body as Said, conversation::Peer, server_frame::Body as Says},
};

const EPOCH: u64 = 77;

/// Alice's session, its driver, and everything that the session asked for.
struct Alice {
    session: Session,
    now: Instant,
    link: LinkId,
    /// What was said over the current link.
    said: Vec<Said>,
    notes: Vec<Note>,
    /// What was marked, over all links.
    marked: Vec<v1::Mark>,
    /// Whether it matters what the server was told has arrived.
    hears_marks: bool,
    orders: Vec<SessionAction>,
}

fn config() -> SessionConfig {
    SessionConfig::new(UserId::new("alice").unwrap())
}

fn user(name: &str) -> Recipient {
    Recipient::User(UserId::new(name).unwrap())
}

fn wired(conversation: &Recipient) -> Option<v1::Conversation> {
    let peer = match conversation {
        Recipient::User(user) => Peer::User(user.as_str().into()),
        Recipient::Group(group) => Peer::Group(group.as_str().into()),
    };
    Some(v1::Conversation { peer: Some(peer) })
}

/// The message with this place in every log.
fn id(seq: u64) -> [u8; 16] {
    u128::from(seq).to_be_bytes()
}

fn message(with: &str, seq: u64) -> v1::Delivery {
    v1::Delivery {
        conversation: wired(&user(with)),
        epoch: EPOCH,
        seq,
        message_id: Bytes::copy_from_slice(&id(seq)),
        from: with.into(),
        content: Some(v1::Content {
            kind: 1,
            text: seq.to_string(),
            file: String::new(),
            ..v1::Content::default()
        }),
        stored_at_ms: 1_000,
    }
}

fn head(with: &str, seq: u64) -> v1::Head {
    v1::Head { conversation: wired(&user(with)), epoch: EPOCH, seq, first_seq: 1, ..v1::Head::default() }
}

fn heads(heads: &[v1::Head]) -> Says {
    Says::Heads(v1::Heads { heads: heads.to_vec(), last: true })
}

fn welcome(limits: v1::Limits) -> v1::Welcome {
    v1::Welcome {
        user: "alice".into(),
        heartbeat_interval_ms: 15_000,
        resync_interval_ms: 40_000,
        limits: Some(limits),
        ..v1::Welcome::default()
    }
}

fn accepted(submit: &v1::Submit, seq: u64) -> Says {
    let (message_id, conversation) = (submit.message_id.clone(), submit.conversation.clone());
    Says::Accepted(v1::Accepted { message_id, conversation, epoch: EPOCH, seq, stored_at_ms: 1_000 })
}

fn rejected(submit: &v1::Submit, code: RejectCode) -> Says {
    let message_id = submit.message_id.clone();
    Says::Rejected(v1::Rejected { message_id, code: code.into(), text: "no".into() })
}

fn unfetched(fetch: &v1::Fetch, code: RejectCode) -> Says {
    let (fetch_id, code) = (fetch.fetch_id, code.into());
    Says::Unfetched(v1::Unfetched { fetch_id, code, text: "no".into() })
}

/// The answer to a fetch, with these places.
fn page(fetch: &v1::Fetch, places: std::ops::RangeInclusive<u64>, head_seq: u64) -> v1::Page {
    let Some(Peer::User(with)) = fetch.conversation.clone().unwrap().peer else { panic!("one-to-one") };
    v1::Page {
        fetch_id: fetch.fetch_id,
        conversation: fetch.conversation.clone(),
        epoch: EPOCH,
        messages: places.map(|seq| message(&with, seq)).collect(),
        head_seq,
        first_seq: 1,
        group_name: String::new(),
    }
}

impl Alice {
    fn new(config: SessionConfig, resume: Resume) -> Self {
        config.validate().unwrap();
        let session = Session::new(config, 7, Instant::ZERO, resume);
        let mut alice = Self {
            session,
            now: Instant::ZERO,
            link: LinkId(u64::MAX),
            said: Vec::new(),
            notes: Vec::new(),
            marked: Vec::new(),
            hears_marks: false,
            orders: Vec::new(),
        };
        alice.session.connect(Instant::ZERO);
        alice.drain();
        alice
    }

    /// Connected and welcomed, with nothing to fetch and nothing told so far.
    fn online_as(config: SessionConfig, resume: Resume, limits: v1::Limits) -> Self {
        let mut alice = Self::new(config, resume);
        alice.comes_back(limits);
        alice
    }

    fn online() -> Self {
        Self::online_as(config(), Resume::default(), v1::Limits::default())
    }

    /// The dialled link opens, and the server welcomes her.
    fn comes_back(&mut self, limits: v1::Limits) {
        self.open();
        self.hears(Says::Welcome(welcome(limits)));
        self.hears(heads(&[]));
        self.said.retain(|said| !matches!(said, Said::Hello(_)));
        self.notes.clear();
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                ClientAction::Connect { link } => {
                    self.link = link;
                    self.said.clear();
                }
                ClientAction::Send { link, frame } => {
                    assert_eq!(link, self.link);
                    let payload_bytes = frame.payload().len() as u64;
                    if let Frame::Message(payload) = frame {
                        match v1::ClientFrame::decode(payload).unwrap().body.unwrap() {
                            Said::Mark(mark) => self.marked.push(mark),
                            said => self.said.push(said),
                        }
                    }
                    self.session.handle(self.now, ClientEvent::Flushed { link, frames: 1, payload_bytes });
                }
                ClientAction::Notify(note) => self.notes.push(note),
                order @ (ClientAction::Close { .. } | ClientAction::Abort { .. }) => self.orders.push(order),
            }
        }
    }

    fn open(&mut self) {
        self.session.handle(self.now, ClientEvent::Opened { link: self.link });
        self.drain();
    }

    fn hears(&mut self, body: Says) {
        self.hears_bytes(v1::ServerFrame { body: Some(body) }.encode_to_vec().into());
    }

    fn hears_bytes(&mut self, message: Bytes) {
        self.session.handle(self.now, ClientEvent::Received { link: self.link, message });
        self.drain();
    }

    fn delivered(&mut self, with: &str, seq: u64) {
        self.hears(Says::Delivery(message(with, seq)));
    }

    fn submits(&mut self, number: u64, to: &str) -> Result<(), SubmitError> {
        let content = Content::text(&number.to_string());
        let submitted = self.session.submit(self.now, MessageId(id(number)), user(to), content);
        self.drain();
        submitted
    }

    fn loses_link(&mut self, close: Option<u16>) {
        self.session.handle(self.now, ClientEvent::Disconnected { link: self.link, close });
        self.drain();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            assert!(due > self.now);
            self.now = due;
            self.session.handle_timeout(due);
            self.drain();
        }
        self.now = end;
    }

    /// Loses the link and waits until the next one is dialled.
    fn redials(&mut self) -> Duration {
        let SessionState::Waiting { until, .. } = self.session.state() else {
            panic!("not waiting but {:?}", self.session.state());
        };
        let delay = until.saturating_since(self.now);
        self.wait(delay);
        delay
    }

    /// The submits of the current link, taken.
    fn submitted(&mut self) -> Vec<v1::Submit> {
        let (submits, rest) =
            std::mem::take(&mut self.said).into_iter().partition(|said| matches!(said, Said::Submit(_)));
        self.said = rest;
        let submits: Vec<Said> = submits;
        submits.into_iter().map(|said| if let Said::Submit(s) = said { s } else { unreachable!() }).collect()
    }

    /// The fetches of the current link, taken.
    fn fetched(&mut self) -> Vec<v1::Fetch> {
        let mut fetches = Vec::new();
        self.said.retain(|said| {
            if let Said::Fetch(fetch) = said {
                fetches.push(fetch.clone());
            }
            !matches!(said, Said::Fetch(_))
        });
        fetches
    }

    /// Everything that the application was told but states, in short; taken.
    fn told(&mut self) -> Vec<String> {
        let told = self.notes.drain(..).filter_map(|note| match note {
            Note::StateChanged(_) => None,
            Note::Message { message, .. } => {
                Some(format!("{}{}", message.seq, if message.own { " own" } else { "" }))
            }
            Note::Skipped { seq, .. } => Some(format!("skipped {seq}")),
            Note::Reset { .. } => Some("reset".into()),
            Note::Named { name, .. } => Some(format!("named {name}")),
            Note::Accepted { id, place } => Some(format!("accepted {} at {}", id.0[15], place.seq)),
            Note::Delayed { id, text, .. } => Some(format!("delayed {}: {text}", id.0[15])),
            Note::Rejected { id, code, .. } => Some(format!("rejected {} {code:?}", id.0[15])),
            Note::Older { messages, .. } => {
                Some(format!("older {:?}", messages.iter().map(|m| m.seq).collect::<Vec<_>>()))
            }
            Note::NoOlder { reason, .. } => Some(format!("no older {reason:?}")),
            Note::CaughtUp => Some("caught up".into()),
            Note::Notice { text } => Some(format!("the server says {text}")),
            note @ (Note::Presence { .. } | Note::Call { .. }) => Some(format!("{note:?}")),
            Note::Marked { own, marks: Marks { delivered, read }, .. } => {
                // Only what the server was told has arrived would be in every test.
                let whose = if own { "own" } else { "peer" };
                (self.hears_marks || !own || read > 0).then(|| format!("{whose} {delivered}/{read}"))
            }
            Note::Typing { user, types, .. } => {
                Some(format!("{user} {}", if types { "types" } else { "stops" }))
            }
        });
        told.collect()
    }

    /// Places marked since the last look, delivered and read.
    fn marks(&mut self) -> Vec<(u64, u64)> {
        let marks = self.marked.drain(..).map(|mark| mark.marks.unwrap());
        marks.map(|marks| (marks.delivered_seq, marks.read_seq)).collect()
    }

    /// The link is being closed with this code, for this reason.
    fn has_given_up(&mut self, code: u16, cause: LossCause) {
        assert_eq!(self.orders.pop(), Some(ClientAction::Close { link: self.link, code }));
        self.loses_link(Some(code));
        assert!(matches!(self.session.state(), SessionState::Waiting { cause: why, .. } if why == cause));
    }
}

fn numbers(submits: &[v1::Submit]) -> Vec<u8> {
    submits.iter().map(|submit| submit.message_id[15]).collect()
}

fn cursor(with: &str, seq: u64) -> LogCursor {
    LogCursor { conversation: user(with), epoch: EPOCH, seq }
}

#[test]
fn a_device_says_hello_with_its_cursors_and_is_told_when_it_has_caught_up() {
    let resume = Resume {
        device_id: [9; 16],
        cursors: vec![cursor("bob", 2), cursor("carol", 5)],
        ..Resume::default()
    };
    let mut alice = Alice::new(config(), resume);
    alice.open();
    let [Said::Hello(hello)] = &alice.said[..] else { panic!("{:?}", alice.said) };
    assert_eq!(hello.device_id[..], [9; 16]);
    let cursors: Vec<_> = hello.cursors.iter().map(|c| (c.conversation.clone(), c.epoch, c.seq)).collect();
    assert_eq!(cursors, [(wired(&user("bob")), EPOCH, 2), (wired(&user("carol")), EPOCH, 5)]);
    alice.hears(Says::Welcome(welcome(v1::Limits::default())));
    assert_eq!(alice.session.state(), SessionState::Resyncing);
    alice.hears(heads(&[head("bob", 4)]));
    let fetches = alice.fetched();
    assert_eq!(fetches[0].from_seq, 3);
    assert_eq!(alice.told(), Vec::<String>::new());
    alice.hears(Says::Page(page(&fetches[0], 3..=4, 4)));
    assert_eq!(alice.told(), ["3", "4", "caught up"]);
    assert_eq!(alice.session.state(), SessionState::Online);
}

#[test]
fn the_next_message_is_told_an_older_one_dropped_and_a_gap_fetched() {
    let mut alice = Alice::online();
    (1..=2).for_each(|seq| alice.delivered("bob", seq));
    alice.delivered("bob", 1);
    assert_eq!(alice.told(), ["1", "2"]);
    alice.delivered("bob", 5);
    alice.delivered("bob", 6);
    let fetches = alice.fetched();
    assert_eq!(fetches.iter().map(|fetch| fetch.from_seq).collect::<Vec<_>>(), [3], "one at a time");
    // The page has less than all: what came early fills the rest.
    alice.hears(Says::Page(page(&fetches[0], 3..=4, 6)));
    assert_eq!(alice.told(), ["3", "4", "5", "6"]);
    assert!(alice.fetched().is_empty());
    assert_eq!((alice.session.stats().duplicates, alice.session.stats().early), (1, 2));
}

#[test]
fn early_messages_beyond_the_room_are_fetched_when_their_turn_comes() {
    let mut config = config();
    config.limits.early_messages = 1;
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    alice.delivered("bob", 3);
    alice.delivered("bob", 4);
    let fetch = alice.fetched().remove(0);
    alice.hears(Says::Page(page(&fetch, 1..=2, 2)));
    let fetch = alice.fetched().remove(0);
    assert_eq!((alice.told(), fetch.from_seq), (vec!["1".into(), "2".into(), "3".into()], 4));
    alice.hears(Says::Page(page(&fetch, 4..=4, 4)));
    assert_eq!((alice.told(), alice.session.stats().early_dropped), (vec!["4".to_string()], 1));
}

#[test]
fn conversations_take_turns_and_no_more_fetches_wait_than_the_server_allows() {
    let limits = v1::Limits { fetches: 2, ..v1::Limits::default() };
    let mut alice = Alice::online_as(config(), Resume::default(), limits);
    alice.hears(heads(&[head("bob", 4), head("carol", 2), head("dave", 1)]));
    let mut fetches = alice.fetched();
    assert_eq!(fetches.len(), 2);
    alice.hears(Says::Page(page(&fetches.remove(0), 1..=2, 4)));
    // Bob's second page waits for Dave's first one.
    let dave = alice.fetched();
    assert_eq!((dave.len(), &dave[0].conversation), (1, &wired(&user("dave"))));
    alice.hears(Says::Page(page(&fetches[0], 1..=2, 2)));
    assert_eq!((alice.fetched()[0].from_seq, alice.told().len()), (3, 4));
}

#[test]
fn an_own_message_is_told_in_the_order_of_the_log() {
    let mut alice = Alice::online();
    alice.delivered("bob", 1);
    alice.submits(21, "bob").unwrap();
    let submit = alice.submitted().remove(0);
    alice.hears(accepted(&submit, 2));
    assert_eq!(alice.told(), ["1", "accepted 21 at 2", "2 own"]);
    // The same with a gap before it, which the page fills as far as her own message.
    alice.submits(22, "bob").unwrap();
    let submit = alice.submitted().remove(0);
    alice.hears(accepted(&submit, 4));
    assert_eq!(alice.told(), ["accepted 22 at 4"]);
    let fetch = alice.fetched().remove(0);
    alice.hears(Says::Page(page(&fetch, 3..=4, 4)));
    assert_eq!(alice.told(), ["3", "4"], "as the log has it");
}

#[test]
fn what_is_no_message_goes_to_the_server_and_is_told_as_what_it_is() {
    let bob = || UserId::new("bob").unwrap();
    let crew = Recipient::Group(GroupId::new("crew").unwrap());
    let entries = [
        Content::edit(1, "hi!"),
        Content::recall(1),
        Content::change(GroupChange::Create { name: "The crew".into(), invite_only: true }),
        Content::change(GroupChange::Invite(bob())),
        Content::change(GroupChange::SetRole(bob(), Role::Admin)),
        Content::change(GroupChange::Mute(bob(), 5)),
    ];
    for entry in entries {
        let mut alice = Alice::online();
        let submitted = alice.session.submit(alice.now, MessageId(id(1)), crew.clone(), entry.clone());
        assert_eq!(submitted, Ok(()));
        alice.drain();
        let submit = alice.submitted().remove(0);
        alice.hears(Says::Accepted(v1::Accepted {
            message_id: submit.message_id,
            conversation: submit.conversation,
            epoch: EPOCH,
            seq: 1,
            stored_at_ms: 1_000,
        }));
        // Somebody else submits the same.
        alice.hears(Says::Delivery(v1::Delivery {
            conversation: wired(&crew),
            content: submit.content,
            ..message("bob", 2)
        }));
        let told = alice.notes.drain(..).filter_map(|note| match note {
            Note::Message { message, .. } => Some(message.content),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [entry.clone(), entry]);
    }
}

#[test]
fn what_this_version_does_not_know_has_its_place_all_the_same_and_what_may_not_be_done_is_final() {
    let mut alice = Alice::online();
    let kind = |kind| v1::GroupChange { kind, ..v1::GroupChange::default() };
    let unknown = [
        v1::Content { kind: 24, ..v1::Content::default() },
        v1::Content { kind: 23, change: Some(kind(99)), ..v1::Content::default() },
        v1::Content { kind: 1, text: "x".into(), changed_seq: 7, recalled: true, ..v1::Content::default() },
    ];
    for (seq, content) in (1..).zip(unknown) {
        alice.hears(Says::Delivery(v1::Delivery { content: Some(content), ..message("bob", seq) }));
    }
    assert!(alice.notes.iter().any(|note| {
        matches!(note, Note::Message { message, .. } if (message.changed_seq, message.is_recalled) == (7, true))
    }));
    assert_eq!(alice.told(), ["1", "2", "3"]);
    for (number, code) in [(8, RejectCode::Forbidden), (9, RejectCode::Conflict)] {
        alice.submits(number, "bob").unwrap();
        let submit = alice.submitted().remove(0);
        alice.hears(rejected(&submit, code));
    }
    assert_eq!(alice.told(), ["rejected 8 Forbidden", "rejected 9 Conflict"]);
}

#[test]
fn submits_go_in_order_and_no_more_wait_than_the_server_allows() {
    let limits = v1::Limits { pending: 2, ..v1::Limits::default() };
    let mut alice = Alice::online_as(config(), Resume::default(), limits);
    for (number, to) in [(1, "bob"), (2, "bob"), (3, "carol"), (4, "dave")] {
        alice.submits(number, to).unwrap();
    }
    let submits = alice.submitted();
    assert_eq!(numbers(&submits), [1, 3], "within a conversation one waits for the other");
    alice.hears(accepted(&submits[0], 1));
    let second = alice.submitted();
    assert_eq!(numbers(&second), [2]);
    alice.hears(accepted(&submits[1], 1));
    assert_eq!(numbers(&alice.submitted()), [4]);
    let mut config = config();
    config.limits.in_flight_per_conversation = 8;
    let mut alice = Alice::online_as(config, Resume::default(), limits);
    (1..=3).for_each(|number| alice.submits(number, "bob").unwrap());
    assert_eq!(numbers(&alice.submitted()), [1, 2], "unless configured otherwise");
}

#[test]
fn what_the_server_cannot_take_now_goes_again_and_what_is_behind_it_waits() {
    let mut alice = Alice::online();
    for (number, to) in [(1, "bob"), (2, "bob"), (3, "carol")] {
        alice.submits(number, to).unwrap();
    }
    let submits = alice.submitted();
    alice.hears(rejected(&submits[0], RejectCode::Busy));
    alice.hears(accepted(&submits[1], 1));
    assert_eq!(alice.told(), ["delayed 1: no", "accepted 3 at 1", "1 own"]);
    assert_eq!(alice.submitted().len(), 0, "no other conversation waits");
    alice.wait(Duration::from_millis(500));
    let again = alice.submitted();
    assert_eq!(numbers(&again), [1]);
    // A late answer to the first attempt counts as well.
    alice.hears(rejected(&again[0], RejectCode::Unavailable));
    alice.hears(accepted(&submits[0], 1));
    assert_eq!(
        (numbers(&alice.submitted()), alice.told()),
        (vec![2], vec!["accepted 1 at 1".into(), "1 own".into()])
    );
}

#[test]
fn that_a_message_is_delayed_is_told_when_it_begins_and_not_at_each_try() {
    let mut config = config();
    (config.retry.base, config.retry.cap) = (Duration::from_secs(1), Duration::from_secs(1));
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    alice.submits(1, "bob").unwrap();
    alice.submits(2, "bob").unwrap();
    let mut refused = alice.submitted();
    alice.hears(rejected(&refused[0], RejectCode::Unavailable));
    let delayed = alice.notes.pop().unwrap();
    let Note::Delayed { id: delayed, text, until } = delayed else { panic!("{delayed:?}") };
    assert_eq!((delayed, &*text), (MessageId(id(1)), "no"));
    assert_eq!(Some(until), alice.session.poll_timeout(), "the time of the next try");
    alice.told();
    for _ in 0..5 {
        alice.wait(Duration::from_secs(1));
        refused = alice.submitted();
        assert_eq!(numbers(&refused), [1]);
        alice.hears(rejected(&refused[0], RejectCode::Busy));
        assert_eq!(alice.told(), [""; 0]);
    }
    // A lost connection is told for itself; the message is delayed still.
    alice.loses_link(None);
    alice.redials();
    alice.open();
    alice.hears(Says::Welcome(welcome(v1::Limits::default())));
    alice.wait(Duration::from_secs(1));
    refused = alice.submitted();
    alice.hears(rejected(&refused[0], RejectCode::Unavailable));
    assert!(!alice.told().iter().any(|told| told.contains("delayed")));
    alice.wait(Duration::from_secs(1));
    refused = alice.submitted();
    alice.hears(accepted(&refused[0], 1));
    assert_eq!(alice.told(), ["accepted 1 at 1", "1 own"], "the fate ends it");
    // The next one is another message.
    refused = alice.submitted();
    alice.hears(rejected(&refused[0], RejectCode::Unavailable));
    assert_eq!(alice.told(), ["delayed 2: no"]);
}

#[test]
fn each_fate_is_told_once_and_late_answers_change_nothing() {
    let mut alice = Alice::online();
    alice.submits(1, "bob").unwrap();
    alice.submits(2, "carol").unwrap();
    let submits = alice.submitted();
    alice.hears(accepted(&submits[0], 1));
    alice.hears(rejected(&submits[1], RejectCode::NoSuchConversation));
    assert_eq!(alice.told(), ["accepted 1 at 1", "1 own", "rejected 2 NoSuchConversation"]);
    let digest = alice.session.state_digest();
    for submit in &submits {
        alice.hears(accepted(submit, 1));
        alice.hears(rejected(submit, RejectCode::Invalid));
        alice.hears(rejected(submit, RejectCode::Busy));
    }
    assert_eq!((alice.told().len(), alice.session.stats().unasked), (0, 6));
    assert_eq!(alice.session.state_digest(), digest);
    // Nor do answers to what was not sent over this link yet.
    alice.loses_link(None);
    alice.submits(3, "bob").unwrap();
    alice.submits(4, "bob").unwrap();
    alice.redials();
    alice.open();
    let submit = v1::Submit { message_id: Bytes::copy_from_slice(&id(3)), ..submits[0].clone() };
    alice.hears(Says::Welcome(welcome(v1::Limits { pending: 1, ..v1::Limits::default() })));
    assert_eq!(alice.submitted().len(), 1);
    let behind = v1::Submit { message_id: Bytes::copy_from_slice(&id(4)), ..submit.clone() };
    alice.hears(accepted(&behind, 3));
    assert_eq!(alice.session.pending_submits(), 2);
    alice.hears(accepted(&submit, 2));
    assert_eq!(alice.session.pending_submits(), 1);
}

#[test]
fn what_has_no_answer_goes_again_over_the_next_link_and_over_the_next_session() {
    let mut alice = Alice::online();
    (1..=2).for_each(|number| alice.submits(number, "bob").unwrap());
    assert_eq!(numbers(&alice.submitted()), [1]);
    alice.loses_link(None);
    alice.redials();
    alice.comes_back(v1::Limits::default());
    assert_eq!(numbers(&alice.submitted()), [1]);
    alice.session.close(alice.now);
    alice.drain();
    assert_eq!(alice.session.pending_submits(), 2, "closing gives nothing up");
    let resume = alice.session.resume();
    let mut again = resume.clone();
    again.submits.push(PendingSubmit { ..resume.submits[0].clone() });
    let mut alice = Alice::online_as(config(), again, v1::Limits::default());
    assert_eq!((alice.session.stats().submitted, alice.session.stats().refused), (2, 1));
    let first = alice.submitted();
    alice.hears(accepted(&first[0], 1));
    assert_eq!((numbers(&first), numbers(&alice.submitted())), (vec![1], vec![2]));
}

#[test]
fn a_full_queue_a_used_id_and_a_large_message_are_refused() {
    let mut config = config();
    config.limits.pending_messages = 2;
    let limits = v1::Limits { message_bytes: 2_000, ..v1::Limits::default() };
    let mut alice = Alice::online_as(config, Resume::default(), limits);
    alice.submits(1, "bob").unwrap();
    assert_eq!(alice.submits(1, "bob"), Err(SubmitError::AlreadyPending));
    let large = |alice: &mut Alice, number| {
        let content = Content::text(&"x".repeat(2_000));
        alice.session.submit(alice.now, MessageId(id(number)), user("carol"), content)
    };
    assert!(matches!(large(&mut alice, 2), Err(SubmitError::TooLarge { limit_bytes: 2_000, .. })));
    alice.submits(3, "bob").unwrap();
    assert_eq!(alice.submits(4, "bob"), Err(SubmitError::QueueFull));
    assert_eq!(alice.session.stats().refused, 3);
    // What was taken before the limit was known is rejected when it is.
    let mut alice = Alice::new(self::config(), Resume::default());
    large(&mut alice, 2).unwrap();
    alice.open();
    alice.hears(Says::Welcome(welcome(limits)));
    assert_eq!(
        (alice.told(), alice.submitted().len()),
        (vec![format!("rejected 2 {:?}", RejectReason::TooLarge)], 0)
    );
}

#[test]
fn a_log_begins_where_it_may_be_read() {
    let mut alice = Alice::online();
    alice.hears(heads(&[v1::Head { first_seq: 4, ..head("bob", 5) }]));
    let fetch = alice.fetched().remove(0);
    assert_eq!((alice.told(), fetch.from_seq), (vec!["skipped 3".to_string()], 4));
    alice.hears(Says::Page(v1::Page { first_seq: 4, ..page(&fetch, 4..=5, 5) }));
    assert_eq!(alice.told(), ["4", "5"]);
    // She has left and come back: what was said meanwhile is no gap.
    alice.hears(heads(&[v1::Head { first_seq: 8, ..head("bob", 8) }]));
    let fetch = alice.fetched().remove(0);
    alice.hears(Says::Page(v1::Page { first_seq: 8, ..page(&fetch, 8..=8, 8) }));
    assert_eq!(alice.told(), ["skipped 7", "8"]);
}

#[test]
fn a_group_is_named_before_its_messages_and_again_when_it_is_called_otherwise() {
    let mut alice = Alice::online();
    let crew = wired(&Recipient::Group(GroupId::new("crew").unwrap()));
    let page = |alice: &mut Alice, seq: u64, name: &str| {
        alice.hears(heads(&[v1::Head { conversation: crew.clone(), first_seq: 4, ..head("crew", seq) }]));
        let fetch = alice.fetched().remove(0);
        let messages = vec![v1::Delivery { conversation: None, ..message("bob", seq) }];
        let (fetch_id, conversation, group_name) = (fetch.fetch_id, fetch.conversation, name.to_owned());
        let epoch = EPOCH;
        let head_seq = seq;
        let first_seq = 4;
        let page = v1::Page { fetch_id, conversation, epoch, messages, head_seq, first_seq, group_name };
        alice.hears(Says::Page(page));
        alice.told()
    };
    assert_eq!(page(&mut alice, 4, "The crew"), ["skipped 3", "named The crew", "4"]);
    assert_eq!(page(&mut alice, 5, "The crew"), ["5"]);
    // What cannot be a name, and none, which is what who has left is told.
    for (seq, name) in [(6, "\u{7}"), (7, ""), (8, &*"x".repeat(257))] {
        assert_eq!(page(&mut alice, seq, name), [seq.to_string()]);
    }
    assert_eq!(page(&mut alice, 9, "Ours"), ["named Ours", "9"]);
}

#[test]
fn a_place_that_is_told_unasked_is_fetched_if_it_is_missing_and_says_nothing_else() {
    let mut alice = Alice::online();
    (1..=2).for_each(|seq| alice.delivered("bob", seq));
    alice.wait(Duration::from_secs(2));
    alice.told();
    let said = alice.said.len();
    let place = |with: &str, epoch, seq| {
        let place = v1::Head { first_seq: 0, epoch, ..head(with, seq) };
        Says::Heads(v1::Heads { heads: vec![place], last: false })
    };
    // What it has, and what may be of a log that is no more.
    alice.hears(place("bob", EPOCH, 2));
    alice.wait(Duration::from_secs(2));
    assert_eq!((alice.told(), alice.said.len()), (vec![], said), "nothing is marked again either");
    alice.hears(place("bob", EPOCH, 4));
    let fetch = alice.fetched().remove(0);
    assert_eq!(fetch.from_seq, 3);
    alice.hears(Says::Page(page(&fetch, 3..=4, 4)));
    assert_eq!(alice.told(), ["3", "4"]);
    alice.hears(place("carol", EPOCH, 1));
    let fetch = alice.fetched().remove(0);
    alice.hears(Says::Page(page(&fetch, 1..=1, 1)));
    assert_eq!(alice.told(), ["1"]);
    // Of another epoch, it is asked about and not believed.
    alice.hears(place("bob", 79, 1));
    let fetch = alice.fetched().remove(0);
    assert_eq!((alice.told().len(), fetch.from_seq), (0, 5));
}

#[test]
fn only_the_latest_are_told_and_older_ones_on_demand() {
    let config = SessionConfig { history: History::Latest(2), ..config() };
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    alice.hears(heads(&[head("bob", 9)]));
    let fetch = alice.fetched().remove(0);
    alice.hears(Says::Page(page(&fetch, 8..=9, 9)));
    assert_eq!(alice.told(), ["skipped 7", "8", "9"]);
    assert_eq!(alice.session.fetch_older(alice.now, user("bob"), 1, 5), Err(FetchError::NothingOlder));
    alice.session.fetch_older(alice.now, user("bob"), 8, 3).unwrap();
    alice.drain();
    let fetch = alice.fetched().remove(0);
    assert_eq!((fetch.from_seq, fetch.backwards, fetch.limit), (7, true, 3));
    alice.hears(unfetched(&fetch, RejectCode::Busy));
    alice.wait(Duration::from_millis(500));
    let fetch = alice.fetched().remove(0);
    alice.loses_link(None);
    alice.redials();
    alice.comes_back(v1::Limits::default());
    let again = alice.fetched().remove(0);
    assert_eq!(again.from_seq, fetch.from_seq);
    alice.hears(Says::Page(page(&again, 5..=7, 9)));
    assert_eq!(alice.told(), ["older [5, 6, 7]"]);
    alice.session.fetch_older(alice.now, user("eve"), 0, 3).unwrap();
    alice.drain();
    let fetch = alice.fetched().remove(0);
    alice.hears(unfetched(&fetch, RejectCode::NoSuchConversation));
    assert_eq!(alice.told(), [format!("no older {:?}", NoOlderReason::NoSuchConversation)]);
    assert_eq!(alice.session.resume().cursors, [cursor("bob", 9)], "older ones move no cursor");
}

#[test]
fn a_device_that_has_caught_up_can_be_told_all_of_what_is_new() {
    let config = SessionConfig { history: History::Latest(0), ..config() };
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    alice.hears(heads(&[head("bob", 9)]));
    assert_eq!(alice.told(), ["skipped 9"]);
    alice.session.set_history(History::All);
    alice.hears(heads(&[head("carol", 2)]));
    let fetch = alice.fetched().remove(0);
    alice.hears(Says::Page(page(&fetch, 1..=2, 2)));
    assert_eq!(alice.told(), ["1", "2"]);
}

#[test]
fn a_new_epoch_resets_once_and_echoes_of_the_old_one_do_not_bring_it_back() {
    let mut alice = Alice::online();
    (1..=3).for_each(|seq| alice.delivered("bob", seq));
    alice.submits(21, "bob").unwrap();
    alice.told();
    alice.hears(heads(&[v1::Head { epoch: 78, ..head("bob", 2) }]));
    assert_eq!((alice.told(), alice.session.pending_submits()), (vec!["reset".to_string()], 1));
    let fetch = alice.fetched().remove(0);
    alice.delivered("bob", 4);
    let new = |seq| v1::Delivery { epoch: 78, ..message("bob", seq) };
    alice.hears(Says::Page(v1::Page { epoch: 78, messages: vec![new(1), new(2)], ..page(&fetch, 1..=2, 2) }));
    alice.delivered("bob", 3);
    alice.hears(Says::Delivery(new(3)));
    assert_eq!(alice.told(), ["1", "2", "3"]);
    // A push is not believed, but asked about.
    alice.hears(Says::Delivery(v1::Delivery { epoch: 79, ..message("bob", 1) }));
    let fetch = alice.fetched().remove(0);
    assert_eq!((alice.told().len(), fetch.from_seq), (0, 4));
    alice.hears(Says::Page(v1::Page { epoch: 79, messages: vec![], ..page(&fetch, 1..=1, 1) }));
    assert_eq!(alice.told(), ["reset"]);
    let fetch = alice.fetched().remove(0);
    let first = v1::Delivery { epoch: 79, ..message("bob", 1) };
    alice.hears(Says::Page(v1::Page { epoch: 79, messages: vec![first], ..page(&fetch, 1..=1, 1) }));
    assert_eq!(alice.told(), ["1"]);
    assert_eq!((alice.session.stats().foreign, alice.session.stats().resets), (3, 2));
}

#[test]
fn a_page_asked_for_before_the_log_was_replaced_is_no_use() {
    let mut alice = Alice::online();
    alice.delivered("bob", 1);
    alice.delivered("bob", 3);
    let old = alice.fetched().remove(0);
    alice.hears(heads(&[v1::Head { epoch: 78, ..head("bob", 1) }]));
    assert_eq!((alice.told(), alice.fetched().len()), (vec!["1".to_string(), "reset".into()], 0));
    alice.hears(Says::Page(page(&old, 2..=3, 3)));
    let fetch = alice.fetched().remove(0);
    assert_eq!((fetch.from_seq, alice.told().len(), alice.session.stats().protocol_errors), (1, 0, 0));
}

#[test]
fn heads_are_asked_for_again_with_the_cursors_that_moved_last() {
    let limits = v1::Limits { cursors: 2, ..v1::Limits::default() };
    let mut alice = Alice::online_as(config(), Resume::default(), limits);
    ["bob", "carol", "dave"].into_iter().for_each(|with| alice.delivered(with, 1));
    alice.delivered("bob", 2);
    // Answers to her heartbeats keep the link alive.
    alice.wait(Duration::from_millis(29_999));
    alice.hears(Says::Heartbeat(v1::Heartbeat { nonce: 1 }));
    assert!(!alice.said.iter().any(|said| matches!(said, Said::Resync(_))));
    alice.wait(Duration::from_millis(10_001));
    let resyncs: Vec<_> = alice
        .said
        .iter()
        .filter_map(|said| match said {
            Said::Resync(resync) => {
                Some(resync.cursors.iter().map(|c| (c.conversation.clone(), c.seq)).collect::<Vec<_>>())
            }
            _ => None,
        })
        .collect();
    assert_eq!(resyncs, [vec![(wired(&user("bob")), 2), (wired(&user("dave")), 1)]]);
}

#[test]
fn silence_is_broken_by_heartbeats_and_a_silent_server_is_taken_for_dead() {
    let mut alice = Alice::online();
    alice.wait(Duration::from_secs(15));
    assert_eq!(alice.said, [Said::Heartbeat(v1::Heartbeat { nonce: 1 })], "at the server's interval");
    for nonce in [1, 1, 2, 99] {
        alice.hears(Says::Heartbeat(v1::Heartbeat { nonce }));
    }
    assert_eq!((alice.session.stats().heartbeats_received, alice.session.stats().unasked), (1, 3));
    alice.wait(Duration::from_millis(44_999));
    assert_eq!(alice.session.state(), SessionState::Online);
    alice.wait(Duration::from_millis(1));
    let SessionState::Waiting { cause, .. } = alice.session.state() else { panic!("not lost") };
    assert_eq!(cause, LossCause::Idle);
}

#[test]
fn a_server_that_does_not_answer_is_left() {
    let mut alice = Alice::new(config(), Resume::default());
    alice.open();
    alice.wait(Duration::from_secs(10));
    alice.has_given_up(1000, LossCause::Unwelcomed);
    for fetches in [false, true] {
        let mut alice = Alice::online();
        match fetches {
            true => alice.hears(heads(&[head("bob", 1)])),
            false => alice.submits(1, "bob").unwrap(),
        }
        alice.wait(Duration::from_secs(29));
        assert!(alice.orders.is_empty());
        alice.wait(Duration::from_secs(1));
        alice.has_given_up(1000, LossCause::Unanswered);
        alice.redials();
        alice.comes_back(v1::Limits::default());
        assert_eq!(alice.fetched().len() + alice.submitted().len(), 1, "asked again");
    }
}

#[test]
fn a_goodbye_says_when_to_come_back() {
    for spread_ms in [0, 4_000] {
        let mut alice = Alice::online();
        alice.submits(1, "bob").unwrap();
        let goodbye =
            v1::Goodbye { text: String::new(), reconnect_after_ms: 7_000, reconnect_spread_ms: spread_ms };
        alice.hears(Says::Goodbye(goodbye));
        alice.submitted();
        alice.submits(2, "carol").unwrap();
        alice.delivered("bob", 1);
        assert_eq!((alice.said.len(), alice.told().len()), (0, 0), "nothing goes after a Goodbye");
        alice.loses_link(Some(1001));
        let delay = alice.redials();
        let spread = Duration::from_millis(spread_ms.into());
        assert!(delay >= Duration::from_secs(7) && delay <= Duration::from_secs(7) + spread, "{delay:?}");
        // It holds for that time only.
        alice.open();
        alice.loses_link(None);
        assert!(alice.redials() < Duration::from_secs(4));
    }
    let mut alice = Alice::online();
    let long = v1::Goodbye { reconnect_after_ms: u32::MAX - 1, ..v1::Goodbye::default() };
    alice.hears(Says::Goodbye(long));
    alice.wait(Duration::from_secs(5));
    alice.has_given_up(1000, LossCause::Goodbye);
    assert_eq!(alice.redials(), Duration::from_secs(300), "not for ever");
}

#[test]
fn after_a_goodbye_for_good_only_the_application_comes_back() {
    let for_good = || Says::Goodbye(v1::Goodbye { reconnect_after_ms: u32::MAX, ..v1::Goodbye::default() });
    let codes =
        [(Some(4000), ClosedReason::TakenOver), (Some(4001), ClosedReason::TooManyDevices)].into_iter();
    // The close frame may be lost, or be another than those that usually follow.
    let lost = [None, Some(1000), Some(1001), Some(1013)].map(|code| (code, ClosedReason::Dismissed));
    for (code, reason) in codes.chain(lost) {
        let mut alice = Alice::online();
        alice.submits(1, "bob").unwrap();
        alice.hears(for_good());
        alice.loses_link(code);
        assert_eq!(alice.session.state(), SessionState::Closed(reason), "{code:?}");
        assert_eq!(alice.session.poll_timeout(), None);
        assert_eq!(alice.session.pending_submits(), 1);
        // What was said holds for that connection only.
        alice.session.connect(alice.now);
        alice.drain();
        alice.comes_back(v1::Limits::default());
        assert_eq!(alice.submitted().len(), 1, "asked again");
        alice.loses_link(code.filter(|code| *code < 4000));
        assert!(alice.redials() > Duration::ZERO);
    }
    // A server that says so and does not close is left.
    let mut alice = Alice::online();
    alice.hears(for_good());
    alice.wait(Duration::from_secs(5));
    alice.loses_link(Some(1000));
    assert_eq!(alice.session.state(), SessionState::Closed(ClosedReason::Dismissed));
}

#[test]
fn close_codes_say_whether_to_come_back() {
    for (code, reason) in [
        (4000, ClosedReason::TakenOver),
        (4001, ClosedReason::TooManyDevices),
        (4004, ClosedReason::SignedOut),
        (4005, ClosedReason::Banned),
    ] {
        let mut alice = Alice::online();
        alice.loses_link(Some(code));
        assert_eq!(alice.session.state(), SessionState::Closed(reason));
        assert_eq!(alice.session.poll_timeout(), None);
    }
    for code in [1007, 4003] {
        let mut alice = Alice::online();
        alice.loses_link(Some(code));
        assert_eq!(alice.redials(), Duration::from_secs(60));
    }
}

#[test]
fn what_the_server_says_is_told_as_it_comes() {
    let notice = || Says::Notice(v1::Notice { text: "we close at ten".into() });
    let mut alice = Alice::online();
    alice.told();
    alice.hears(notice());
    alice.hears(notice());
    assert_eq!(alice.told(), ["the server says we close at ten", "the server says we close at ten"]);
}

#[test]
fn what_the_server_cannot_fetch_now_is_fetched_later() {
    let mut alice = Alice::online();
    alice.hears(heads(&[head("bob", 2), head("carol", 1)]));
    let fetches = alice.fetched();
    alice.hears(unfetched(&fetches[0], RejectCode::Unavailable));
    alice.hears(unfetched(&fetches[1], RejectCode::NoSuchConversation));
    alice.wait(Duration::from_secs(1));
    let again = alice.fetched();
    assert_eq!((again.len(), &again[0].conversation), (1, &wired(&user("bob"))), "the other one is given up");
    alice.hears(Says::Page(page(&again[0], 1..=2, 2)));
    assert_eq!(alice.told(), ["1", "2"]);
}

#[test]
fn pages_that_cannot_be_right_end_the_connection_and_tell_nothing() {
    type Spoil = fn(&mut v1::Page);
    let spoils: [Spoil; 9] = [
        |page| drop(page.messages.remove(1)),
        |page| drop(page.messages.remove(0)),
        |page| page.messages.clear(),
        |page| page.messages.swap(0, 1),
        |page| page.messages[1].message_id = Bytes::from_static(b"short"),
        |page| page.messages[0].seq = 0,
        |page| page.head_seq = 2,
        |page| page.conversation = wired(&user("carol")),
        |page| page.messages[2].from = String::new(),
    ];
    for spoil in spoils {
        let mut alice = Alice::online();
        alice.hears(heads(&[head("bob", 3)]));
        let fetch = alice.fetched().remove(0);
        let mut answer = page(&fetch, 1..=3, 3);
        spoil(&mut answer);
        alice.hears(Says::Page(answer));
        assert_eq!((alice.told().len(), alice.session.stats().protocol_errors), (0, 1));
        alice.has_given_up(4003, LossCause::Misbehaved);
        alice.redials();
        alice.comes_back(v1::Limits::default());
        let fetch = alice.fetched().remove(0);
        alice.hears(Says::Page(page(&fetch, 1..=3, 3)));
        assert_eq!(alice.told(), ["1", "2", "3", "caught up"]);
    }
}

#[test]
fn frames_that_cannot_be_right_end_the_connection() {
    let mut alice = Alice::online();
    alice.hears_bytes(Bytes::from_static(b"\xff\xff"));
    alice.has_given_up(1007, LossCause::Undecodable);
    let mut alice = Alice::online();
    alice.hears_bytes(Bytes::new());
    alice.has_given_up(1007, LossCause::Undecodable);
    let mut alice = Alice::online();
    alice.hears(Says::Welcome(welcome(v1::Limits::default())));
    alice.has_given_up(4003, LossCause::Misbehaved);
    // An answer that names another conversation, or no place.
    type Spoil = fn(&mut v1::Accepted);
    let spoils: [Spoil; 3] = [|a| a.conversation = wired(&user("eve")), |a| a.seq = 0, |a| a.epoch = 0];
    for spoil in spoils {
        let mut alice = Alice::online();
        alice.submits(1, "bob").unwrap();
        let Says::Accepted(mut answer) = accepted(&alice.submitted()[0], 1) else { unreachable!() };
        spoil(&mut answer);
        alice.hears(Says::Accepted(answer));
        assert_eq!((alice.told().len(), alice.session.pending_submits()), (0, 1));
        alice.has_given_up(4003, LossCause::Misbehaved);
    }
    for first in [Says::Delivery(message("bob", 1)), {
        Says::Welcome(v1::Welcome { user: "mallory".into(), ..welcome(v1::Limits::default()) })
    }] {
        let mut alice = Alice::new(config(), Resume::default());
        alice.open();
        alice.hears(first);
        alice.has_given_up(4003, LossCause::Misbehaved);
    }
}

#[test]
fn hints_that_cannot_be_right_are_ignored_and_asked_about() {
    let mut alice = Alice::online();
    alice.delivered("bob", 1);
    alice.told();
    let digest_of_logs = alice.session.resume();
    alice.hears(Says::Delivery(v1::Delivery { seq: 0, ..message("bob", 2) }));
    alice.hears(Says::Delivery(v1::Delivery { message_id: Bytes::new(), ..message("bob", 2) }));
    alice.hears(Says::Delivery(v1::Delivery { conversation: None, ..message("bob", 2) }));
    alice.hears(heads(&[v1::Head { conversation: None, ..head("bob", 2) }]));
    alice.hears(Says::Page(page(
        &v1::Fetch { fetch_id: 99, conversation: wired(&user("bob")), ..v1::Fetch::default() },
        2..=3,
        3,
    )));
    assert_eq!((alice.session.stats().protocol_errors, alice.session.stats().unasked), (4, 1));
    assert_eq!((alice.told().len(), alice.session.resume()), (0, digest_of_logs));
    alice.wait(Duration::from_secs(1));
    assert!(matches!(&alice.said[..], [Said::Resync(_)]), "{:?}", alice.said);
}

#[test]
fn a_head_that_goes_backwards_is_not_believed_and_a_claim_is_refuted_by_a_page() {
    let mut alice = Alice::online();
    (1..=3).for_each(|seq| alice.delivered("bob", seq));
    alice.told();
    alice.hears(heads(&[head("bob", 1)]));
    assert_eq!((alice.fetched().len(), alice.session.stats().stale_heads), (0, 1));
    alice.delivered("bob", u64::MAX);
    let fetch = alice.fetched().remove(0);
    assert_eq!(fetch.from_seq, 4);
    alice.hears(Says::Page(v1::Page { messages: vec![], ..page(&fetch, 4..=4, 3) }));
    assert!(alice.fetched().is_empty(), "asked once");
    alice.delivered("bob", 4);
    assert_eq!(alice.told(), ["4"]);
}

#[test]
fn conversations_beyond_the_limit_are_not_followed() {
    let mut config = config();
    config.limits.conversations = 1;
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    alice.delivered("bob", 1);
    alice.delivered("carol", 1);
    alice.submits(21, "carol").unwrap();
    let submit = alice.submitted().remove(0);
    alice.hears(accepted(&submit, 2));
    assert_eq!(alice.told(), ["1", "accepted 21 at 2"]);
    assert_eq!(alice.session.stats().unfollowed, 2);
}

#[test]
fn requests_go_no_faster_than_the_server_allows() {
    let limits = v1::Limits { messages_per_second: 4, message_burst: 8, ..v1::Limits::default() };
    let mut alice = Alice::online_as(config(), Resume::default(), limits);
    let group = |number: u64| Recipient::Group(GroupId::new(&format!("g{number}")).unwrap());
    for number in 1..=10 {
        alice.session.submit(alice.now, MessageId(id(number)), group(number), Content::text("x")).unwrap();
    }
    alice.drain();
    assert_eq!(alice.submitted().len(), 4, "half of the burst");
    alice.wait(Duration::from_secs(2));
    assert_eq!(alice.submitted().len(), 4, "half of the rate");
    alice.wait(Duration::from_secs(2));
    assert_eq!(alice.submitted().len(), 2);
}

#[test]
fn pings_are_answered_within_bounds_and_the_window_holds_frames_back() {
    let mut config = config();
    config.limits.window_bytes = 1;
    let mut session = Session::new(config, 7, Instant::ZERO, Resume::default());
    session.connect(Instant::ZERO);
    let Some(ClientAction::Connect { link }) = session.poll_action() else { panic!("dials") };
    session.handle(Instant::ZERO, ClientEvent::Opened { link });
    let sent = |session: &mut Session| {
        let mut frames = Vec::new();
        while let Some(action) = session.poll_action() {
            if let ClientAction::Send { frame, .. } = action {
                frames.push(frame);
            }
        }
        frames
    };
    let hello = sent(&mut session).remove(0);
    for payload in 0..12_u8 {
        session.handle(Instant::ZERO, ClientEvent::Pinged { link, payload: vec![payload].into() });
    }
    assert!(sent(&mut session).is_empty(), "one frame at a time");
    let payload_bytes = hello.payload().len() as u64;
    session.handle(Instant::ZERO, ClientEvent::Flushed { link, frames: 1, payload_bytes });
    assert_eq!(sent(&mut session), [Frame::Pong(vec![4].into())], "the oldest four are left out");
    assert_eq!(session.stats().pongs_skipped, 4);
}

fn marks(delivered_seq: u64, read_seq: u64) -> Option<v1::Marks> {
    Some(v1::Marks { delivered_seq, read_seq })
}

fn marked(with: &str, epoch: u64, whose: &str, marks: Option<v1::Marks>) -> Says {
    Says::Marked(v1::Marked { conversation: wired(&user(with)), epoch, user: whose.into(), marks })
}

#[test]
fn what_arrives_is_marked_by_itself_at_most_once_a_second_for_each_conversation() {
    let mut alice = Alice::online();
    (1..=3).for_each(|seq| alice.delivered("bob", seq));
    alice.delivered("carol", 1);
    assert_eq!(alice.marks(), [(1, 0), (1, 0)], "bob's first, and carol's");
    alice.wait(Duration::from_millis(999));
    assert_eq!(alice.marks(), []);
    alice.wait(Duration::from_millis(1));
    assert_eq!(alice.marks(), [(3, 0)], "the newest state");
    alice.wait(Duration::from_secs(5));
    assert_eq!(alice.marks(), []);
    // Nobody else has to know that her own message has arrived.
    alice.submits(9, "bob").unwrap();
    let submit = alice.submitted().remove(0);
    alice.hears(accepted(&submit, 4));
    assert_eq!(alice.marks(), []);
}

#[test]
fn what_is_seen_is_marked_as_far_as_it_is_here_and_never_back() {
    let mut alice = Alice::online();
    alice.hears_marks = true;
    (1..=3).for_each(|seq| alice.delivered("bob", seq));
    alice.wait(Duration::from_secs(1));
    alice.marks();
    alice.told();
    let reads = |alice: &mut Alice, seq| {
        let moved = alice.session.mark_read(alice.now, &user("bob"), seq);
        alice.drain();
        (moved, alice.told())
    };
    assert_eq!(reads(&mut alice, 2), (true, vec!["own 3/2".to_owned()]));
    assert_eq!(reads(&mut alice, 1), (false, vec![]));
    assert_eq!(reads(&mut alice, 2), (false, vec![]));
    assert_eq!(reads(&mut alice, 99), (true, vec!["own 3/3".to_owned()]));
    assert!(!alice.session.mark_read(alice.now, &user("nobody"), 1));
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.marks(), [(3, 3)], "after the pause, the newest state");
    assert_eq!(alice.session.marks(&user("bob")), Some((Marks { delivered: 3, read: 3 }, Marks::default())));
}

#[test]
fn marks_of_the_other_side_and_of_other_devices_are_told_once_each() {
    let mut alice = Alice::online();
    alice.hears_marks = true;
    alice.delivered("bob", 1);
    alice.told();
    alice.hears(marked("bob", EPOCH, "bob", marks(1, 0)));
    alice.hears(marked("bob", EPOCH, "bob", marks(1, 0)));
    alice.hears(marked("bob", EPOCH, "alice", marks(1, 1)));
    assert_eq!(alice.told(), ["peer 1/0", "own 1/1"]);
    alice.wait(Duration::from_secs(5));
    assert_eq!(alice.marks(), [(1, 0)], "what another device has marked is not marked again");
    alice.hears(marked("bob", EPOCH + 1, "bob", marks(1, 1)));
    alice.hears(marked("carol", EPOCH, "carol", marks(1, 1)));
    assert_eq!((alice.told(), alice.session.stats().marks_foreign), (vec![], 2));
    // Nobody is told the marks of somebody else.
    alice.hears(marked("bob", EPOCH, "carol", marks(1, 1)));
    assert_eq!((alice.told(), alice.session.stats().protocol_errors), (vec![], 1));
}

#[test]
fn what_the_heads_say_is_missing_is_marked_again_and_what_they_have_is_told() {
    let mut alice = Alice::online();
    alice.hears_marks = true;
    alice.delivered("bob", 1);
    alice.session.mark_read(alice.now, &user("bob"), 1);
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.marks(), [(1, 0), (1, 1)]);
    alice.loses_link(None);
    alice.redials();
    alice.open();
    let [Said::Hello(hello)] = &alice.said[..] else { panic!("{:?}", alice.said) };
    assert_eq!((hello.cursors[0].own, hello.cursors[0].peer), (marks(1, 1), None));
    alice.hears(Says::Welcome(welcome(v1::Limits::default())));
    alice.told();
    alice.hears(heads(&[v1::Head { own: marks(1, 0), peer: marks(1, 1), ..head("bob", 1) }]));
    alice.wait(Duration::from_secs(1));
    assert_eq!(
        (alice.marks(), alice.told()),
        (vec![(1, 1)], vec!["peer 1/1".to_owned(), "caught up".into()])
    );
}

#[test]
fn what_is_beyond_the_end_of_a_log_is_not_marked_again_until_the_log_has_grown() {
    let mut alice = Alice::online();
    (1..=3).for_each(|seq| alice.delivered("bob", seq));
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.marks(), [(1, 0), (3, 0)]);
    // As after leaving a group, when what was said afterwards was pushed all the same.
    for _ in 0..3 {
        alice.hears(heads(&[v1::Head { own: marks(2, 0), ..head("bob", 2) }]));
        alice.wait(Duration::from_secs(1));
    }
    assert_eq!(alice.marks(), []);
    alice.hears(heads(&[v1::Head { own: marks(1, 0), ..head("bob", 2) }]));
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.marks(), [(3, 0)], "something is missing that can be there");
    alice.hears(heads(&[v1::Head { own: marks(2, 0), ..head("bob", 3) }]));
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.marks(), [(3, 0)], "the log has grown");
}

#[test]
fn marks_are_kept_over_a_restart_and_what_was_received_counts_as_delivered() {
    let kept = LogMarks {
        conversation: user("bob"),
        epoch: EPOCH,
        own: Marks { delivered: 2, read: 1 },
        peer: Marks { delivered: 3, read: 3 },
    };
    let old = LogMarks { conversation: user("carol"), epoch: EPOCH + 1, ..kept };
    let cursors = vec![cursor("bob", 3), cursor("carol", 5)];
    let resume = Resume { marks: vec![kept.clone(), old], cursors, ..Resume::default() };
    let mut alice = Alice::new(config(), resume);
    assert_eq!(alice.session.resume().marks, [kept]);
    alice.open();
    let [Said::Hello(hello)] = &alice.said[..] else { panic!("{:?}", alice.said) };
    let named: Vec<_> = hello.cursors.iter().map(|cursor| (cursor.own, cursor.peer)).collect();
    assert_eq!(named, [(marks(3, 1), marks(3, 3)), (marks(5, 0), None)]);
    alice.hears(Says::Welcome(welcome(v1::Limits::default())));
    alice.hears(heads(&[v1::Head { own: marks(2, 1), peer: marks(3, 3), ..head("bob", 3) }]));
    assert_eq!(alice.marks(), [(3, 1)]);
}

#[test]
fn marks_begin_anew_with_a_new_log() {
    let mut alice = Alice::online();
    alice.hears_marks = true;
    alice.delivered("bob", 1);
    alice.hears(marked("bob", EPOCH, "bob", marks(1, 1)));
    alice.told();
    alice.hears(heads(&[v1::Head { epoch: EPOCH + 1, own: marks(1, 1), ..head("bob", 2) }]));
    assert_eq!(alice.told(), ["reset", "own 1/1"]);
    assert_eq!(alice.session.marks(&user("bob")), Some((Marks { delivered: 1, read: 1 }, Marks::default())));
}

#[test]
fn no_more_marks_go_at_a_time_than_a_server_takes() {
    let mut config = config();
    config.limits.marks_per_interval = 3;
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    ["a", "b", "c", "d", "e"].iter().for_each(|with| alice.delivered(with, 1));
    assert_eq!(alice.marks().len(), 3);
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.marks().len(), 2);
}

#[test]
fn while_she_types_it_is_said_again_until_she_stops_or_sends_it() {
    let mut alice = Alice::online();
    let types = |alice: &mut Alice, types| {
        assert!(alice.session.typing(alice.now, user("bob"), types));
        alice.drain();
    };
    let said = |alice: &mut Alice| -> Vec<bool> {
        let said = alice.said.drain(..).filter_map(|said| match said {
            Said::Typing(typing) => Some(typing.typing),
            _ => None,
        });
        said.collect()
    };
    types(&mut alice, true);
    types(&mut alice, true);
    assert_eq!(said(&mut alice), [true]);
    alice.wait(Duration::from_secs(9));
    assert_eq!(said(&mut alice), [true, true], "every 4 s");
    types(&mut alice, false);
    types(&mut alice, false);
    alice.wait(Duration::from_secs(9));
    assert_eq!(said(&mut alice), [false]);
    types(&mut alice, true);
    alice.submits(1, "bob").unwrap();
    alice.wait(Duration::from_secs(9));
    assert_eq!(said(&mut alice), [true], "the message itself says that she has stopped");
    types(&mut alice, true);
    alice.loses_link(None);
    assert!(!alice.session.typing(alice.now, user("bob"), true), "nobody would see it");
    alice.redials();
    alice.comes_back(v1::Limits::default());
    alice.wait(Duration::from_secs(9));
    assert_eq!(said(&mut alice), []);
}

#[test]
fn somebody_types_until_it_stops_says_something_or_is_not_heard_of_for_8_s() {
    let mut alice = Alice::online();
    let typing = |with: &str, typing| {
        Says::Typing(v1::Typing { conversation: wired(&user(with)), typing, user: with.into() })
    };
    alice.hears(typing("bob", true));
    alice.hears(typing("bob", true));
    alice.hears(typing("bob", false));
    alice.hears(typing("bob", false));
    assert_eq!(alice.told(), ["bob types", "bob stops"]);
    alice.hears(typing("bob", true));
    alice.delivered("bob", 1);
    assert_eq!(alice.told(), ["bob types", "bob stops", "1"]);
    alice.hears(typing("bob", true));
    alice.wait(Duration::from_secs(5));
    alice.hears(typing("bob", true));
    alice.wait(Duration::from_secs(7));
    assert_eq!(alice.told(), ["bob types"]);
    alice.loses_link(None);
    alice.wait(Duration::from_secs(1));
    assert_eq!(alice.told(), ["bob stops"], "connected or not");
}

#[test]
fn signs_of_typing_are_bounded_and_ones_that_cannot_be_are_ignored() {
    let mut config = config();
    (config.limits.typing, config.limits.typists) = (1, 1);
    let mut alice = Alice::online_as(config, Resume::default(), v1::Limits::default());
    assert!(alice.session.typing(alice.now, user("bob"), true));
    assert!(!alice.session.typing(alice.now, user("carol"), true));
    let typing = |with: &str, who: &str| {
        Says::Typing(v1::Typing { conversation: wired(&user(with)), typing: true, user: who.into() })
    };
    ["bob", "carol"].iter().for_each(|who| alice.hears(typing(who, who)));
    assert_eq!((alice.told(), alice.session.stats().typists_dropped), (vec!["bob types".to_owned()], 1));
    for (with, who) in [("carol", "bob"), ("alice", "alice"), ("carol", "")] {
        alice.hears(typing(with, who));
    }
    assert_eq!((alice.told(), alice.session.stats().protocol_errors), (vec![], 3));
}
