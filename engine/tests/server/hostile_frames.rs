//! Frames of sessions that are wrong, late, said again or out of turn. Whoever says one is told what is wrong, or it is
//! counted under a name; nobody else hears anything of it, and nothing is changed.

use switchboard_engine::{CloseReason, ConnId, Event};
use switchboard_proto::{
    Message as _,
    v1::{
        self, Call, Content, Conversation, Cursor, Fetch, Heartbeat, Hello, Mark, Marks, Resync, ServerFrame,
        Submit, Typing, Watch, call::Kind, client_frame::Body, group_change, server_frame,
    },
};

use crate::{
    harness::{World, secs},
    hostile_scene::{Scene, Who, leads_to_nothing, signs_in_as},
    session_words::{
        call, change, conversation, edit, encode, entry, fetch, hello, mark, resync, signal, submit, typing,
        watch,
    },
    store::EPOCH,
};

const NOTHING: [&str; 0] = [];

fn long() -> String {
    "x".repeat(129)
}

/// Conversations that cannot be.
fn no_conversations() -> [Option<Conversation>; 6] {
    let named = |name: &str| Some(conversation(name));
    let long = long();
    [None, Some(Conversation { peer: None }), named(""), named("#"), named("System"), named(&long)]
}

#[test]
fn a_submit_that_is_wrong_in_itself_is_invalid() {
    let Body::Submit(right) = submit(7, "bob", "hi") else { unreachable!() };
    let content = |content: Content| Submit { content: Some(content), ..right.clone() };
    let text = right.content.clone().unwrap();
    let file = |name: &str| Content { kind: 2, text: String::new(), file: name.into(), ..text.clone() };
    let mut wrong: Vec<Submit> =
        no_conversations().map(|conversation| Submit { conversation, ..right.clone() }).into();
    wrong.extend([15, 17].map(|len| Submit { message_id: vec![7; len].into(), ..right.clone() }));
    wrong.push(Submit { content: None, ..right.clone() });
    wrong.extend([0, 6, 20, 24, u32::MAX].map(|kind| content(Content { kind, ..text.clone() })));
    wrong.extend(["", "..", "../secret", "a\\b", "a\nb", &"x".repeat(256)].map(|name| content(file(name))));
    wrong.extend([
        content(Content { text: String::new(), ..text.clone() }),
        content(Content { file: "f".into(), ..text.clone() }),
        content(Content { target_seq: 1, ..text.clone() }),
        content(Content { changed_seq: 1, ..text.clone() }),
        content(Content { recalled: true, ..text.clone() }),
        content(Content { change: Some(v1::GroupChange::default()), ..text }),
        content(edit(0, "hi")),
        content(edit(1, "")),
        content(Content { kind: 22, ..edit(0, "") }),
        content(Content { kind: 22, ..edit(1, "why") }),
        content(change(group_change::Kind::Leave, "")),
    ]);
    let to_crew = |content: Content| {
        let Body::Submit(submit) = entry(7, "#crew", content) else { unreachable!() };
        submit
    };
    use group_change::Kind as Change;
    wrong.extend([
        to_crew(change(Change::Unspecified, "bob")),
        to_crew(change(Change::Leave, "bob")),
        to_crew(change(Change::Kick, "")),
        to_crew(change(Change::Kick, "System")),
        to_crew(change(Change::SetRole, "bob")),
        to_crew(change(Change::Rename, "")),
        to_crew(Content { kind: 23, ..Content::default() }),
    ]);
    for submit in wrong {
        leads_to_nothing(Who::Alice, Body::Submit(submit), &["rejected 7: invalid"], Some("refused_invalid"));
    }
    let endless = Submit { message_id: vec![7; 999].into(), ..right };
    leads_to_nothing(Who::Alice, Body::Submit(endless), &["rejected 7: invalid"], Some("refused_invalid"));
}

#[test]
fn a_submit_under_the_id_of_another_conversations_message_is_a_conflict() {
    let again = submit(1, "carol", "hi");
    leads_to_nothing(Who::Bob, again, &["rejected 1: conflict"], Some("store_refused"));
}

#[test]
fn a_fetch_that_is_wrong_in_itself_or_of_others_is_refused() {
    let Body::Fetch(right) = fetch(7, "bob", 1) else { unreachable!() };
    let mut wrong: Vec<Fetch> =
        no_conversations().map(|conversation| Fetch { conversation, ..right.clone() }).into();
    wrong.push(Fetch { from_seq: 0, ..right.clone() });
    for fetch in wrong {
        leads_to_nothing(Who::Alice, Body::Fetch(fetch), &["unfetched 7: invalid"], Some("refused_invalid"));
    }
    for of in ["#crew", "#nowhere"] {
        let frame = fetch(7, of, 1);
        let told = ["unfetched 7: no_such_conversation"];
        leads_to_nothing(Who::Mallory, frame, &told, Some("fetches_failed"));
    }
    // What others have said to each other is not what somebody has said to one of them.
    leads_to_nothing(Who::Mallory, fetch(7, "bob", 1), &["page 7 bob of 0: "], None);
    let endless = Fetch { from_seq: u64::MAX, limit: u32::MAX, ..right };
    leads_to_nothing(Who::Alice, Body::Fetch(endless), &["page 7 bob of 2: "], None);
}

#[test]
fn marks_that_are_wrong_repeated_or_of_others_are_counted_and_told_to_nobody() {
    let Body::Mark(right) = mark("bob", 2, 2) else { unreachable!() };
    let mut wrong: Vec<Mark> =
        no_conversations().map(|conversation| Mark { conversation, ..right.clone() }).into();
    let marks = |delivered_seq, read_seq| Some(Marks { delivered_seq, read_seq });
    wrong.push(Mark { epoch: 0, ..right.clone() });
    wrong.extend([None, marks(0, 0), marks(0, 1), marks(1, 2)].map(|marks| Mark { marks, ..right.clone() }));
    for mark in wrong {
        leads_to_nothing(Who::Alice, Body::Mark(mark), &[], Some("refused_marks"));
    }
    for (of, epoch) in [("bob", EPOCH + 1), ("carol", EPOCH), ("nobody", EPOCH), ("#nowhere", EPOCH)] {
        let mark = Mark { conversation: Some(conversation(of)), epoch, ..right.clone() };
        leads_to_nothing(Who::Alice, Body::Mark(mark), &[], Some("marks_refused"));
    }
    for of in ["bob", "#crew"] {
        leads_to_nothing(Who::Mallory, mark(of, 1, 1), &[], Some("marks_refused"));
    }
    // Late, or said before: her other device knows less.
    leads_to_nothing(Who::Laptop, mark("bob", 1, 0), &[], Some("marks_unmoved"));
    leads_to_nothing(Who::Alice, mark("bob", 1, 1), &[], Some("marks_unmoved"));
}

#[test]
fn typing_where_one_may_not_write_is_counted_and_told_to_nobody() {
    for conversation in no_conversations() {
        let typing = Typing { conversation, typing: true, user: "bob".into() };
        leads_to_nothing(Who::Alice, Body::Typing(typing), &[], Some("refused_typing"));
    }
    for (who, to) in [(Who::Mallory, "#crew"), (Who::Mallory, "#nowhere"), (Who::Alice, "#nowhere")] {
        for types in [true, false] {
            leads_to_nothing(who, typing(to, types), &[], Some("refused_typing"));
        }
    }
}

#[test]
fn a_watch_of_who_cannot_be_is_passed_over_and_one_that_is_repeated_tells_nothing() {
    let long = long();
    for who in [Who::Alice, Who::Bob] {
        let known = if who == Who::Alice { "bob" } else { "alice" };
        leads_to_nothing(who, watch(&[known]), &[], None);
        leads_to_nothing(who, watch(&[known, known, known]), &[], None);
        let odd = [known, "", "System", "line\nbreak", &long];
        leads_to_nothing(who, watch(&odd), &[], Some("watches_passed_over"));
    }
    leads_to_nothing(Who::Mallory, Body::Watch(Watch::default()), &[], None);
    let odd = watch(&["", "System", &long]);
    leads_to_nothing(Who::Mallory, odd, &[], Some("watches_passed_over"));
}

#[test]
fn cursors_that_make_no_sense_are_passed_over() {
    let all = "heads alice/2 (peer has 1, read 1) #crew/1.";
    let odd = |conversation| Cursor { conversation, epoch: 1, seq: u64::MAX, ..Cursor::default() };
    let cursors = no_conversations().map(odd).into();
    leads_to_nothing(Who::Bob, Body::Resync(Resync { cursors }), &[all], None);
    leads_to_nothing(Who::Mallory, resync(&[("#crew", 1), ("bob", 2)]), &["heads ."], None);
}

/// A call's frame, and what a session is told that has no say in it.
fn no_such_call(who: Who, call: Call, user: &str) {
    let id = call.call_id.first().copied().unwrap_or_default();
    let told = format!("call {id} with {user}: over: no such call");
    leads_to_nothing(who, Body::Call(call), &[&told], Some("refused_calls"));
}

fn of_call(kind: Kind, id: u8, user: &str) -> Call {
    let Body::Call(call) = call(kind, id, user) else { unreachable!() };
    call
}

#[test]
fn who_has_no_part_in_a_call_or_says_what_it_is_not_in_a_state_for_is_told_so() {
    const KINDS: [Kind; 5] = [Kind::Unspecified, Kind::Accept, Kind::Decline, Kind::HangUp, Kind::Signal];
    for kind in KINDS {
        // Strangers, others, and her own device that does not have it.
        for (who, user) in [(Who::Mallory, "bob"), (Who::Carol, "alice"), (Who::Laptop, "bob")] {
            no_such_call(who, of_call(kind, 1, user), user);
        }
        // Late: it is over. And one that never was.
        for id in [2, 9] {
            no_such_call(Who::Alice, of_call(kind, id, "carol"), "carol");
        }
        // With somebody who is not in it.
        no_such_call(Who::Alice, of_call(kind, 1, "carol"), "carol");
        no_such_call(Who::Bob, of_call(kind, 1, &long()), "");
    }
    // Out of state: it was taken.
    for (who, user) in [(Who::Alice, "bob"), (Who::Bob, "alice")] {
        no_such_call(who, of_call(Kind::Decline, 1, user), user);
        no_such_call(who, of_call(Kind::Unspecified, 1, user), user);
        let unknown = Call { kind: 77, ..of_call(Kind::Unspecified, 1, user) };
        no_such_call(who, unknown, user);
    }
    no_such_call(Who::Alice, of_call(Kind::Accept, 1, "bob"), "bob");
    no_such_call(Who::Laptop, of_call(Kind::Ring, 1, "bob"), "bob");
    no_such_call(Who::Bob, of_call(Kind::Ring, 1, "alice"), "alice");
    // What only servers say changes nothing about that.
    for end in 1..=9 {
        let said = Call { end, outgoing: true, ..of_call(Kind::HangUp, 1, "alice") };
        no_such_call(Who::Carol, said, "alice");
    }
}

#[test]
fn a_ring_that_is_wrong_in_itself_rings_nowhere() {
    for (user, told) in [("mallory", "mallory"), ("", ""), ("System", ""), (&*long(), "")] {
        no_such_call(Who::Mallory, of_call(Kind::Ring, 7, user), told);
    }
    for len in [0, 1, 15, 17, 999] {
        let call = Call { call_id: vec![7; len].into(), ..of_call(Kind::Ring, 7, "bob") };
        no_such_call(Who::Carol, call, "bob");
    }
}

#[test]
fn what_is_said_of_a_call_twice_is_done_once_and_who_talks_rings_nobody() {
    leads_to_nothing(Who::Alice, call(Kind::Ring, 1, "bob"), &[], Some("calls_repeated"));
    leads_to_nothing(Who::Bob, call(Kind::Accept, 1, "alice"), &[], Some("calls_repeated"));
    // Not the same, under the same id.
    no_such_call(Who::Alice, of_call(Kind::Ring, 1, "carol"), "carol");
    // Another one of theirs, one that is over, and each other's.
    for (who, id, user) in
        [(Who::Alice, 7, "carol"), (Who::Laptop, 2, "carol"), (Who::Bob, 7, "alice"), (Who::Bob, 0, "alice")]
    {
        let told = format!("call {id} with {user}: over: busy");
        leads_to_nothing(who, call(Kind::Ring, id, user), &[&told], Some("calls_refused"));
    }
}

#[test]
fn a_ring_under_the_id_of_others_call_ends_alone() {
    for (who, user, end) in
        [(Who::Mallory, "bob", "unreachable"), (Who::Carol, "alice", "busy"), (Who::Carol, "bob", "busy")]
    {
        let mut scene = Scene::new();
        let speaker = scene.conn(who);
        scene.world.frame(speaker, call(Kind::Ring, 1, user));
        assert_eq!(scene.world.sees(speaker), [format!("call 1 with {user}: over: {end}")]);
        // Said again, it is the id of a call that is over, which rings nowhere.
        scene.world.frame(speaker, call(Kind::Ring, 1, user));
        scene.world.passes(secs(2));
        assert_eq!(scene.world.sees(speaker), [format!("call 1 with {user}: over: unreachable")]);
        for conn in [scene.alice, scene.laptop, scene.bob] {
            assert_eq!(scene.world.sees(conn), NOTHING);
        }
        assert_eq!(scene.world.server().gauges().calls, 2);
        scene.goes_on();
    }
}

/// One frame of each kind that a client can say, right in itself.
fn one_of_each() -> [Body; 9] {
    [
        hello(&[("bob", 1)]),
        submit(7, "bob", "hi"),
        fetch(1, "bob", 1),
        Body::Heartbeat(Heartbeat { nonce: 1 }),
        resync(&[("bob", 1)]),
        mark("bob", 2, 2),
        typing("bob", true),
        watch(&["bob"]),
        call(Kind::Ring, 7, "bob"),
    ]
}

/// A session of this user that comes beside the others, does something, and is gone; as if it had come alone.
fn is_closed_without_a_trace(user: &str, reason: CloseReason, does: impl Fn(&mut World, ConnId)) {
    let (mut scene, mut idle) = (Scene::new(), Scene::new());
    let conn = scene.world.dials(user);
    does(&mut scene.world, conn);
    assert_eq!(scene.world.closed(conn), Some(reason), "{user}");
    let came = idle.world.dials(user);
    idle.world.leaves(came);
    scene.is_quiet_but_for(conn, "what came out of turn");
    assert_eq!(scene.world.server().state_digest(), idle.world.server().state_digest());
    scene.goes_on();
}

#[test]
fn whatever_comes_before_the_hello_or_is_a_second_one_is_out_of_turn() {
    for user in ["mallory", "alice"] {
        for frame in one_of_each().into_iter().filter(|frame| !matches!(frame, Body::Hello(_))) {
            is_closed_without_a_trace(user, CloseReason::OutOfTurn, |world, conn| {
                world.frame(conn, frame.clone());
                assert_eq!(world.sees(conn), NOTHING, "who broke the protocol is told nothing");
            });
        }
        is_closed_without_a_trace(user, CloseReason::OutOfTurn, |world, conn| {
            world.frame(conn, hello(&[]));
            world.frame(conn, hello(&[]));
        });
    }
}

#[test]
fn what_servers_say_and_what_is_no_frame_is_undecodable() {
    use server_frame::Body as Says;
    let said_by_servers = [
        Says::Marked(v1::Marked { user: "alice".into(), ..v1::Marked::default() }),
        Says::Typing(Typing { user: "alice".into(), ..Typing::default() }),
        Says::Presence(v1::Presence { user: "alice".into(), online: true, last_seen_ms: 1 }),
        Says::Call(of_call(Kind::Accept, 1, "bob")),
        Says::Goodbye(v1::Goodbye { text: "\u{1}".into(), ..v1::Goodbye::default() }),
        Says::Accepted(v1::Accepted { message_id: vec![7; 16].into(), epoch: 3, ..v1::Accepted::default() }),
        Says::Rejected(v1::Rejected { message_id: vec![7; 16].into(), ..v1::Rejected::default() }),
        Says::Unfetched(v1::Unfetched { fetch_id: 7, ..v1::Unfetched::default() }),
    ];
    let frames = said_by_servers.map(|body| ServerFrame { body: Some(body) }.encode_to_vec());
    let cut = one_of_each().map(|frame| {
        let bytes = encode(frame);
        bytes.slice(..bytes.len() - 1).to_vec()
    });
    let others = [Vec::new(), vec![0xff; 9], b"\x32\x02\x1a\x7f".to_vec(), b"\xfa\x01\x00".to_vec()];
    for bytes in frames.into_iter().chain(cut).chain(others) {
        is_closed_without_a_trace("mallory", CloseReason::UndecodableFrame, |world, conn| {
            world.frame(conn, hello(&[]));
            world.sends(conn, bytes.clone());
        });
    }
}

#[test]
fn whatever_comes_after_the_close_or_the_end_or_during_a_shutdown_is_too_late() {
    let mut scene = Scene::new();
    let conn = signs_in_as(&mut scene.world, "mallory", 6);
    scene.hush();
    scene.world.stops_reading(conn);
    scene.world.frame(conn, hello(&[]));
    assert_eq!(scene.world.closed(conn), Some(CloseReason::OutOfTurn));
    for _ in 0..2 {
        let digest = scene.world.server().state_digest();
        for frame in one_of_each() {
            scene.world.frame(conn, frame);
        }
        assert_eq!(scene.world.server().state_digest(), digest);
        scene.is_quiet_but_for(conn, "what comes too late");
        scene.world.happens(Event::Disconnected { conn });
        scene.hush();
    }
    scene.goes_on();

    let mut scene = Scene::new();
    scene.world.store_holds();
    scene.world.submits(scene.bob, 7, "alice", "on its way");
    scene.world.happens(Event::Shutdown);
    scene.hush();
    for frame in one_of_each() {
        scene.world.frame(scene.mallory, frame);
    }
    scene.is_quiet_but_for(scene.mallory, "what comes too late");
    assert_eq!((scene.world.sees(scene.mallory), scene.world.stats().refused_stopping), (vec![], 9));
}

#[test]
fn a_stranger_who_says_again_what_others_have_said_says_it_as_itself() {
    let mut scene = Scene::new();
    let overheard = [
        submit(1, "alice", "hi"),
        mark("bob", 1, 1),
        fetch(1, "bob", 1),
        watch(&["bob"]),
        call(Kind::Ring, 1, "bob"),
        call(Kind::Accept, 1, "alice"),
        signal(1, "offer"),
        call(Kind::HangUp, 1, "bob"),
    ];
    overheard.into_iter().for_each(|frame| scene.world.frame(scene.mallory, frame));
    let told = scene.world.sees(scene.mallory);
    assert_eq!(
        told,
        [
            "accepted 1 as alice/1",
            "page 1 bob of 0: ",
            "bob is not here",
            "call 1 with bob: over: unreachable",
            "call 1 with alice: over: no such call",
            "call 1 with : over: no such call",
            "call 1 with bob: over: no such call",
        ]
    );
    // A message is anybody's to send: it is hers.
    for conn in [scene.alice, scene.laptop] {
        assert_eq!(scene.world.sees(conn), ["mallory/1 mallory: hi"]);
    }
    for conn in [scene.bob, scene.carol] {
        assert_eq!(scene.world.sees(conn), NOTHING);
    }
    scene.goes_on();
}

#[test]
fn a_hello_with_anothers_device_takes_no_session_of_another_user() {
    let mut scene = Scene::new();
    let conn = signs_in_as(&mut scene.world, "mallory", 1);
    assert_eq!(scene.world.sees(conn), ["welcome mallory", "heads ."], "and none of Alice's call");
    assert_eq!(scene.world.closed(scene.alice), None);
    for device in [vec![1; 15], vec![1; 17], Vec::new()] {
        let conn = scene.world.dials("alice");
        scene.world.frame(conn, Body::Hello(Hello { device_id: device.into(), cursors: Vec::new() }));
        assert_eq!(scene.world.closed(scene.alice), None, "a device of another length has no name");
        assert!(!scene.world.sees(conn).iter().any(|told| told.starts_with("call")));
    }
}
