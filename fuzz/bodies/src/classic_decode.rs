//! Messages of the classic protocol.

use bytes::Bytes;
use switchboard_engine::{
    Action, Answer, ConnId, Event, Frame, Instant, Place, Protocol, Request, SYSTEM, Server, ServerConfig,
    UserId, UserProfile,
};
use switchboard_proto::{Glance, Message as _, classic::Message};

/// What can be decoded means the same once it is encoded again; a glance sees the same as the decoder; and an engine that is sent it
/// passes on what was said, as its sender's.
pub fn classic_decode(data: &[u8]) {
    let decoded = Message::decode(data);
    match (&decoded, Glance::of(data)) {
        (Ok(message), Some(glance)) => {
            assert_eq!(glance, Glance::from(message), "a glance sees what is not there");
            let encoded = message.encode_to_vec();
            assert_eq!(encoded.len(), message.encoded_len());
            assert_eq!(Message::decode(&*encoded).as_ref(), Ok(message), "encoded, it means something else");
        }
        (Err(_), None) => {}
        (decoded, glance) => panic!("{decoded:?} beside {glance:?}"),
    }
    passed_on(data, decoded.ok().as_ref());
}

/// Has alice send it to a server on which bob is, too.
fn passed_on(data: &[u8], said: Option<&Message>) {
    let mut server = Server::new(ServerConfig::default(), 1, Instant::ZERO);
    let [alice, bob] = [ConnId::new(0, 1), ConnId::new(1, 1)];
    let mut events = Vec::new();
    for (conn, name) in [(alice, "alice"), (bob, "bob")] {
        if let Ok(user) = UserId::new(name) {
            events.push(Event::Connected { conn, user, protocol: Protocol::Classic });
        }
    }
    let mut is_welcomed = false;
    let mut is_closed = false;
    loop {
        let Some(event) = events.pop() else {
            if core::mem::replace(&mut is_welcomed, true) {
                break;
            }
            events.push(Event::Received { conn: alice, message: Bytes::copy_from_slice(data) });
            continue;
        };
        server.handle(Instant::ZERO, event);
        while let Some(action) = server.poll_action() {
            match action {
                Action::Request { ticket, request } => {
                    events.push(Event::Answered { ticket, answer: answer(&request) });
                }
                Action::Send { to, frame: Frame::Message(frame) } if is_welcomed && to.contains(&bob) => {
                    check(&frame, said);
                }
                Action::Close { conn, .. } => is_closed |= conn == alice,
                Action::Send { .. }
                | Action::Abort { .. }
                | Action::Publish(_)
                | Action::Tell(_)
                | Action::Subscribe(_)
                | Action::Unsubscribe(_)
                | Action::Stopped => {}
            }
        }
        server.check_invariants().unwrap_or_else(|broken| panic!("{broken:?}"));
    }
    assert_eq!(said.is_none(), is_closed, "who says what cannot be decoded is closed, and nobody else");
}

fn check(frame: &Bytes, said: Option<&Message>) {
    let heard = Message::decode(frame.clone());
    let (Ok(heard), Some(said)) = (&heard, said) else {
        panic!("bob hears {heard:?} of {said:?}");
    };
    assert!(heard.from == "alice" || heard.from == SYSTEM, "bob hears {} for alice", heard.from);
    if heard.from == "alice" {
        assert_eq!((&heard.content, &heard.to), (&said.content, &said.to));
    }
}

fn answer(request: &Request) -> Answer {
    match request {
        Request::LoadUser(_) => Answer::UserLoaded(UserProfile::default()),
        Request::StoreMessage(_) => Answer::MessageStored(Place { epoch: 1, seq: 1, stored_at_ms: 0 }),
        Request::LoadUnreceived { .. } => Answer::UnreceivedLoaded { unreceived: Vec::new(), next: None },
        Request::StoreFile(_)
        | Request::LoadHeads { .. }
        | Request::LoadMessages(_)
        | Request::StoreMarks(_)
        | Request::StoreSeen(_)
        | Request::LoadSeen { .. }
        | Request::StoreReceived(_) => Answer::Failed,
    }
}
