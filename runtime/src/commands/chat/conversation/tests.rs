//! What is told, and when.

use super::*;
use crate::client::State;
use std::time::Instant;
use switchboard_engine::{ClosedReason, Content, LossCause, Marks, Place, RejectReason};

struct NoClock(Instant);

impl Clock for NoClock {
    fn time(&self, _: i64) -> String {
        String::new()
    }

    fn until(&self, at: Instant) -> Duration {
        at - self.0
    }
}

struct Talk {
    conversation: Conversation,
    clock: NoClock,
}

fn user(id: &str) -> Recipient {
    Recipient::User(UserId::new(id).unwrap())
}

fn talk(manner: Manner) -> Talk {
    let style = Style { colours: false, times: false };
    let me = UserId::new("alice").unwrap();
    let conversation = Conversation::new(me, "ws://h:1".to_owned(), user("bob"), style, manner);
    Talk { conversation, clock: NoClock(Instant::now()) }
}

const TERMINAL: Manner = Manner { interactive: true };
const PIPE: Manner = Manner { interactive: false };
const ID: MessageId = MessageId([1; 16]);

impl Talk {
    fn told(&mut self, event: Event) -> Vec<String> {
        self.conversation.told(event, &self.clock).into_iter().map(text).collect()
    }

    fn waiting(&self) -> Event {
        let until = self.clock.0 + Duration::from_millis(2_100);
        Event::State(State::Waiting { until, failures: 1, cause: LossCause::Broken, error: None })
    }

    fn says(&mut self, conversation: &Recipient, id: MessageId, from: &str) -> Vec<String> {
        let from = UserId::new(from).unwrap();
        let own = from.as_str() == "alice";
        let seq = id.0[0].into();
        let message = LogMessage {
            seq,
            id,
            from,
            content: Content::text("hi"),
            stored_at_ms: 0,
            own,
            changed_seq: 0,
            is_recalled: false,
        };
        let conversation = conversation.clone();
        self.told(Event::Message { conversation, epoch: 1, message: Arc::new(message) })
    }
}

fn text(line: Line) -> String {
    match line {
        Line::Message(text) | Line::Status(text) => text,
    }
}

fn hi() -> Submission {
    Submission { what: "\"hi\"".to_owned(), is_message: true }
}

fn accepted() -> Event {
    Event::Accepted { id: ID, place: Place { epoch: 1, seq: 1, stored_at_ms: 0 } }
}

#[test]
fn a_message_typed_offline_is_told_to_wait_and_ticked_when_the_server_has_it() {
    for manner in [TERMINAL, PIPE] {
        let mut talk = talk(manner);
        let line = talk.conversation.taken(ID, hi(), true).unwrap();
        assert_eq!(text(line), "waiting for the connection: \"hi\"");
        assert!(talk.told(Event::State(State::CatchingUp)).is_empty());
        assert!(talk.conversation.was_online());
        assert_eq!(talk.told(Event::State(State::Online)), ["online as alice"]);
        assert_eq!(talk.told(accepted()), ["✓ \"hi\""]);
        assert_eq!((talk.conversation.unaccepted(), talk.conversation.lost()), (0, 0));
    }
}

#[test]
fn in_a_pipe_nothing_is_told_of_a_message_that_goes_out_at_once() {
    let mut talk = talk(PIPE);
    assert_eq!(talk.conversation.taken(ID, hi(), false), None);
    assert!(talk.told(accepted()).is_empty());
    assert!(talk.says(&user("bob"), ID, "alice").is_empty());
    assert_eq!(talk.says(&user("bob"), MessageId([2; 16]), "bob"), ["bob: hi"]);
}

#[test]
fn messages_caught_by_a_lost_connection_are_told_once() {
    let mut talk = talk(TERMINAL);
    for id in 1..=3 {
        assert_eq!(talk.conversation.taken(MessageId([id; 16]), hi(), false), None);
    }
    let offline = "offline: the connection broke; next try in 3 s";
    let waiting = talk.waiting();
    assert_eq!(talk.told(waiting.clone()), [offline, "waiting for the connection: \"hi\" and 2 more"]);
    assert!(talk.told(waiting).is_empty());
    assert_eq!(talk.told(accepted()), ["✓ \"hi\""]);
}

#[test]
fn what_the_server_cannot_store_for_now_is_told_once_with_the_reason_and_ticked_when_it_has_it() {
    for manner in [TERMINAL, PIPE] {
        let mut talk = talk(manner);
        let clock = NoClock(Instant::now());
        let delayed = |id| Event::Delayed { id, text: "the disk\u{1b} is full".into(), until: clock.0 };
        let (second, third) = (MessageId([2; 16]), MessageId([3; 16]));
        for id in [ID, second] {
            assert_eq!(talk.conversation.taken(id, hi(), false), None);
        }
        let told = "not stored yet: \"hi\": the disk␛ is full; trying again";
        assert_eq!(talk.told(delayed(ID)), [told]);
        assert_eq!(talk.told(delayed(second)), [""; 0]);
        let line = talk.conversation.taken(third, hi(), false).map(text);
        assert_eq!(line, manner.interactive.then(|| told.to_owned()), "who sits there wants to know");
        let who = text(talk.conversation.who_am_i(&State::Online, &clock));
        assert!(who.ends_with("; not sent yet: 3 (the disk␛ is full)"), "{who}");
        assert_eq!(talk.told(accepted()), ["✓ \"hi\""]);
        let reason = RejectReason::NoSuchConversation;
        assert_eq!(talk.told(Event::Rejected { id: second, reason, text: "no".into() }).len(), 1);
        assert!(text(talk.conversation.who_am_i(&State::Online, &clock)).ends_with("; not sent yet: 1"));
        assert_eq!(talk.told(delayed(third)), [told], "it begins again");
    }
}

#[test]
fn what_is_turned_away_is_told_with_the_reason_and_counted() {
    let mut talk = talk(TERMINAL);
    talk.conversation.taken(ID, hi(), false);
    let reason = RejectReason::NoSuchConversation;
    let rejected = Event::Rejected { id: ID, reason, text: "no such group".into() };
    assert_eq!(talk.told(rejected), ["not sent: \"hi\": the server does not take it: no such group"]);
    assert_eq!((talk.conversation.unaccepted(), talk.conversation.lost()), (0, 1));
    let kick = Submission { what: "removed bob".to_owned(), is_message: false };
    talk.conversation.taken(ID, kick, false);
    let rejected =
        Event::Rejected { id: ID, reason: RejectReason::Conflict, text: "he is\u{1b} no member".into() };
    assert_eq!(talk.told(rejected), ["not done: removed bob: he is␛ no member"]);
}

#[test]
fn what_was_said_here_is_not_shown_again_and_what_was_said_elsewhere_is() {
    let mut talk = talk(TERMINAL);
    talk.told(Event::CaughtUp);
    talk.conversation.taken(ID, hi(), false);
    assert!(talk.says(&user("bob"), ID, "alice").is_empty());
    assert_eq!(talk.says(&user("bob"), MessageId([2; 16]), "alice"), ["you: hi ✓"]);
    assert_eq!(talk.says(&user("carol"), MessageId([3; 16]), "alice"), ["[to carol] you: hi ✓"]);
}

#[test]
fn what_was_shown_as_the_past_is_not_shown_again() {
    let mut talk = talk(TERMINAL);
    let from = UserId::new("bob").unwrap();
    let content = Content::text("hi");
    let message = LogMessage {
        seq: 2,
        id: ID,
        from,
        content,
        stored_at_ms: 0,
        own: false,
        changed_seq: 0,
        is_recalled: false,
    };
    assert_eq!(talk.conversation.history(&[Arc::new(message)], &talk.clock).len(), 1);
    assert_eq!(talk.conversation.oldest_shown(), 2);
    assert!(talk.says(&user("bob"), MessageId([2; 16]), "bob").is_empty());
    assert_eq!(talk.says(&user("bob"), MessageId([3; 16]), "bob"), ["bob: hi"]);
}

#[test]
fn what_was_missed_elsewhere_is_counted_by_the_store_until_everything_was_told() {
    let mut talk = talk(TERMINAL);
    assert_eq!(talk.says(&user("bob"), ID, "bob"), ["bob: hi"]);
    assert!(talk.says(&user("carol"), ID, "carol").is_empty());
    let summary = |conversation, unread| Summary {
        conversation,
        name: "".into(),
        epoch: 1,
        last_seq: 9,
        own: Marks::default(),
        peer: Marks::default(),
        unread,
    };
    let unread = |talk: &Talk, summary| talk.conversation.unread(&summary).map(text);
    assert_eq!(unread(&talk, summary(user("carol"), 2)).unwrap(), "2 unread: /to carol");
    assert_eq!(unread(&talk, summary(user("carol"), 0)), None);
    assert_eq!(unread(&talk, summary(user("bob"), 2)), None);
    talk.told(Event::CaughtUp);
    assert_eq!(talk.says(&user("carol"), MessageId([3; 16]), "carol"), ["[to you] carol: hi"]);
}

#[test]
fn a_group_is_called_by_its_name_once_that_is_known() {
    let mut talk = talk(TERMINAL);
    let group = GroupId::new("1d9e1f5c-46a1-454b-9d23-f4d29627f595").unwrap();
    let lunch = GroupId::new("lunch").unwrap();
    talk.conversation.turn_to(Recipient::Group(group.clone()));
    assert_eq!(talk.conversation.prompt(), "group 1d9e1f5c-46a…> ");
    assert_eq!(talk.conversation.group(lunch.clone()), lunch);
    let change = GroupChange::Create { name: "lunch".into(), invite_only: true };
    let message = LogMessage {
        seq: 1,
        id: ID,
        from: UserId::new("bob").unwrap(),
        content: Content::change(change),
        stored_at_ms: 0,
        own: false,
        changed_seq: 0,
        is_recalled: false,
    };
    let conversation = Recipient::Group(group.clone());
    let told = talk.told(Event::Message { conversation, epoch: 1, message: Arc::new(message) });
    assert_eq!(told, ["bob created the group \"lunch\""]);
    assert_eq!(talk.conversation.prompt(), "lunch> ");
    assert_eq!(talk.conversation.group(lunch), group);
    assert_eq!(talk.conversation.group(GroupId::new("1d9e").unwrap()), group);
}

#[test]
fn whoever_was_invited_learns_what_the_group_is_called() {
    let mut talk = talk(TERMINAL);
    let group = GroupId::new("1d9e1f5c-46a1-454b-9d23-f4d29627f595").unwrap();
    let conversation = Recipient::Group(group);
    talk.conversation.turn_to(conversation.clone());
    let named = || Event::Named { conversation: conversation.clone(), name: "lunch".into() };
    assert_eq!(talk.told(named()), ["this group is \"lunch\""]);
    assert_eq!(talk.conversation.prompt(), "lunch> ");
    assert!(talk.told(named()).is_empty());
    // What it was called long ago does not matter.
    let change = GroupChange::Create { name: "breakfast".into(), invite_only: true };
    let content = Content::change(change);
    let from = UserId::new("bob").unwrap();
    let message = LogMessage {
        seq: 1,
        id: ID,
        from,
        content,
        stored_at_ms: 0,
        own: false,
        changed_seq: 0,
        is_recalled: false,
    };
    talk.conversation.history(&[Arc::new(message)], &talk.clock);
    assert_eq!(talk.conversation.prompt(), "lunch> ");
    let summary = Summary {
        conversation,
        name: "dinner".into(),
        epoch: 1,
        last_seq: 9,
        own: Marks::default(),
        peer: Marks::default(),
        unread: 2,
    };
    talk.conversation.known_before(&summary);
    assert_eq!(talk.conversation.prompt(), "dinner> ");
}

#[test]
fn whether_the_other_one_is_here_is_told_when_it_changes() {
    let mut talk = talk(TERMINAL);
    let presence = |name: &str, online, last_seen_ms| Event::Presence {
        user: UserId::new(name).unwrap(),
        online,
        last_seen_ms,
    };
    assert!(talk.told(presence("bob", false, None)).is_empty(), "of strangers one is told nothing");
    talk.says(&user("bob"), ID, "bob");
    assert_eq!(talk.told(presence("bob", true, None)), ["bob is online"]);
    assert_eq!(talk.told(presence("bob", false, None)), ["bob is away"]);
    assert_eq!(talk.told(presence("bob", true, None)), ["bob is online"]);
    assert!(talk.told(presence("bob", true, None)).is_empty());
    assert_eq!(talk.told(presence("bob", false, Some(7))), ["bob is away, last seen "]);
    assert!(talk.told(presence("carol", true, None)).is_empty());
}

#[test]
fn ticks_tell_what_has_arrived_and_what_was_read_once() {
    let mut talk = talk(TERMINAL);
    let marked = |delivered, read| Event::Marked {
        conversation: user("bob"),
        epoch: 1,
        own: false,
        marks: Marks { delivered, read },
    };
    for id in 1..=2 {
        talk.conversation.taken(MessageId([id; 16]), hi(), false);
        talk.says(&user("bob"), MessageId([id; 16]), "alice");
    }
    assert_eq!(talk.told(marked(2, 0)), ["✓✓ \"hi\""]);
    assert_eq!(talk.told(marked(2, 1)), ["✓✓ read \"hi\""]);
    assert!(talk.told(marked(2, 1)).is_empty());
    assert_eq!(talk.told(marked(3, 3)), ["✓✓ read \"hi\""]);
    assert!(talk.told(marked(4, 4)).is_empty(), "nothing of alice's is there");
    let types = |types| Event::Typing { conversation: user("bob"), user: UserId::new("bob").unwrap(), types };
    assert_eq!(talk.told(types(true)), ["bob is typing"]);
    assert!(talk.told(types(false)).is_empty());
}

#[test]
fn what_was_taken_back_is_named_and_the_last_own_message_is_known() {
    let mut talk = talk(TERMINAL);
    talk.told(Event::CaughtUp);
    assert_eq!(talk.conversation.last_own(), LastOwn::Nothing);
    talk.says(&user("bob"), MessageId([1; 16]), "alice");
    talk.says(&user("bob"), MessageId([2; 16]), "bob");
    talk.says(&user("carol"), MessageId([3; 16]), "alice");
    assert_eq!(talk.conversation.last_own(), LastOwn::At(1));
    let recall = |seq, target, from| LogMessage {
        seq,
        id: ID,
        from: UserId::new(from).unwrap(),
        content: Content::recall(target),
        stored_at_ms: 0,
        own: false,
        changed_seq: 0,
        is_recalled: false,
    };
    let mut told = |conversation, message| {
        talk.told(Event::Message { conversation, epoch: 1, message: Arc::new(message) })
    };
    assert_eq!(told(user("bob"), recall(4, 2, "bob")), ["bob took back \"hi\""]);
    assert_eq!(told(user("eve"), recall(4, 2, "eve")), ["[eve] eve took back a message"]);
}

#[test]
fn no_next_try_is_announced_to_whoever_leaves() {
    let mut talk = talk(TERMINAL);
    talk.conversation.leave();
    let waiting = talk.waiting();
    assert!(talk.told(waiting).is_empty());
    let closed = Event::State(State::Closed(ClosedReason::Application));
    assert_eq!(talk.told(closed), ["closed"]);
}

#[test]
fn the_last_message_said_is_the_last_one_though_it_has_no_place_yet() {
    let mut talk = talk(TERMINAL);
    talk.says(&user("bob"), MessageId([1; 16]), "alice");
    let said = |what: &str, is_message| Submission { what: what.to_owned(), is_message };
    talk.conversation.taken(MessageId([7; 16]), said("two", true), true);
    talk.conversation.taken(MessageId([8; 16]), said("edited: one", false), true);
    assert_eq!(talk.conversation.last_own(), LastOwn::Waits("two".to_owned()));
    // Another conversation's message changes nothing.
    talk.conversation.turn_to(user("carol"));
    assert_eq!(talk.conversation.last_own(), LastOwn::Nothing);
    talk.conversation.turn_to(user("bob"));
    // Accepted is enough: it need not have come back as a part of the conversation.
    let place = Place { epoch: 1, seq: 7, stored_at_ms: 0 };
    talk.told(Event::Accepted { id: MessageId([7; 16]), place });
    assert_eq!(talk.conversation.last_own(), LastOwn::At(7));
}

#[test]
fn what_is_left_behind_is_named_in_the_order_in_which_it_was_said() {
    let mut talk = talk(PIPE);
    for id in [3, 2, 1] {
        let what = format!("line {id}");
        talk.conversation.taken(MessageId([id; 16]), Submission { what, is_message: true }, false);
    }
    assert_eq!(talk.conversation.left_behind(2).unwrap(), "line 3 and 4 more");
    talk.told(Event::Accepted { id: MessageId([3; 16]), place: Place { epoch: 1, seq: 1, stored_at_ms: 0 } });
    assert_eq!(talk.conversation.left_behind(0).unwrap(), "line 2 and 1 more");
}

#[test]
fn what_was_said_in_a_log_that_is_gone_is_forgotten() {
    let mut talk = talk(TERMINAL);
    for seq in 1..=5 {
        talk.says(&user("bob"), MessageId([seq; 16]), "alice");
    }
    talk.says(&user("carol"), MessageId([6; 16]), "alice");
    assert_eq!(talk.told(Event::Reset { conversation: user("bob") }).len(), 1);
    assert_eq!(talk.conversation.last_own(), LastOwn::Nothing);
    let marks = Marks { delivered: 3, read: 3 };
    let marked = Event::Marked { conversation: user("bob"), epoch: 2, own: false, marks };
    assert!(talk.told(marked).is_empty());
    assert!(talk.says(&user("bob"), MessageId([1; 16]), "bob") == ["bob: hi"], "a new log begins at 1");
    talk.conversation.turn_to(user("carol"));
    assert_eq!(talk.conversation.last_own(), LastOwn::At(6));
}

#[test]
fn whoever_was_taken_over_is_told_what_a_message_waits_for() {
    let mut talk = talk(TERMINAL);
    talk.told(Event::State(State::Closed(ClosedReason::TakenOver)));
    let line = talk.conversation.taken(ID, hi(), true).unwrap();
    assert_eq!(text(line), "waiting until you /connect: \"hi\"");
    let waiting = talk.waiting();
    talk.told(waiting);
    let line = talk.conversation.taken(MessageId([2; 16]), hi(), true).unwrap();
    assert_eq!(text(line), "waiting for the connection: \"hi\"");
}
