//! What is recorded is read again as it was, and what is no recording is told apart from one.
#![allow(
    clippy::unwrap_used,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use bytes::Bytes;
use core::time::Duration;
use proptest::{collection::vec, option, prelude::*};
use switchboard_engine::{
    Action, Answer, Audience, ConnId, Denial, DevicePolicy, DirectoryChange, DirectoryChangeKind, Event,
    FileKind, GroupChange, GroupId, Head, Instant, Limits, Marks, MessageId, Messages, Note, PeerFault,
    Place, Protocol, Received, Recipient, Record, Revocation, Role, ServerConfig, StoredMarks, StoredMessage,
    Subject, Ticket, Topic, UserId, UserProfile, Whose,
    recording::{
        Acted, ActionDigest, BUILD, Decoder, Digests, Encoder, Header, State, Step, StepError,
        file::{Block, Blocks, Codec, Fault, FileError, HEAD_BYTES, Kind, PREFIX_BYTES, prefix},
    },
};

fn user() -> impl Strategy<Value = UserId> {
    "[a-zé]{1,12}".prop_map(|id| UserId::new(&id).unwrap())
}

fn group() -> impl Strategy<Value = GroupId> {
    "[a-z]{1,12}".prop_map(|id| GroupId::new(&id).unwrap())
}

fn conn() -> impl Strategy<Value = ConnId> {
    any::<(u32, u32)>().prop_map(|(slot, generation)| ConnId::new(slot, generation))
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = Box<str>> {
    "\\PC{0,20}".prop_map(String::into_boxed_str)
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(MessageId)
}

fn place() -> impl Strategy<Value = Place> {
    any::<(u64, u64, i64)>().prop_map(|(epoch, seq, stored_at_ms)| Place { epoch, seq, stored_at_ms })
}

fn marks() -> impl Strategy<Value = Marks> {
    any::<(u64, u64)>().prop_map(|(delivered, read)| Marks { delivered, read })
}

fn recipient() -> impl Strategy<Value = Recipient> {
    prop_oneof![user().prop_map(Recipient::User), group().prop_map(Recipient::Group)]
}

fn topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        Just(Topic::Everyone),
        user().prop_map(Topic::User),
        group().prop_map(Topic::Group),
        user().prop_map(Topic::Presence),
    ]
}

fn head() -> impl Strategy<Value = Head> {
    (recipient(), any::<(u64, u64, u64)>(), marks(), marks()).prop_map(
        |(conversation, (epoch, seq, first_seq), own, peer)| Head {
            conversation,
            epoch,
            seq,
            first_seq,
            own,
            peer,
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)]
}

fn change() -> impl Strategy<Value = GroupChange> {
    prop_oneof![
        ("[a-z]{1,9}", any::<bool>())
            .prop_map(|(name, invite_only)| GroupChange::Create { name: name.into(), invite_only }),
        Just(GroupChange::Join),
        Just(GroupChange::Leave),
        user().prop_map(GroupChange::Invite),
        user().prop_map(GroupChange::Kick),
        (user(), role()).prop_map(|(user, role)| GroupChange::SetRole(user, role)),
        (user(), 0..i64::MAX).prop_map(|(user, until_ms)| GroupChange::Mute(user, until_ms)),
        "[a-z]{1,9}".prop_map(|name| GroupChange::Rename(name.into())),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Message),
        any::<u64>().prop_map(|target_seq| Subject::Edit { target_seq }),
        any::<u64>().prop_map(|target_seq| Subject::Recall { target_seq }),
        change().prop_map(|change| Subject::Change(Box::new(change))),
    ]
}

fn message() -> impl Strategy<Value = StoredMessage> {
    let texts = (text(), text(), text(), text());
    let numbers = (any::<u64>(), any::<u8>(), any::<i64>(), any::<u64>(), any::<bool>());
    (id(), user(), texts, numbers, subject()).prop_map(
        |(id, sender, (sender_name, avatar, content, url), numbers, subject)| {
            let (seq, content_type, stored_at_ms, changed_seq, is_recalled) = numbers;
            StoredMessage {
                seq,
                id,
                sender,
                sender_name,
                avatar,
                content_type,
                content,
                url,
                stored_at_ms,
                subject,
                changed_seq,
                is_recalled,
            }
        },
    )
}

fn denial() -> impl Strategy<Value = Denial> {
    prop_oneof![
        any::<i64>().prop_map(|until_ms| Denial::Muted { until_ms }),
        role().prop_map(Denial::NeedsRole),
        any::<u64>().prop_map(|limit_bytes| Denial::FilesFull { limit_bytes }),
        proptest::sample::select(vec![
            Denial::NotBelow,
            Denial::OtherOwner,
            Denial::EditOfOther,
            Denial::RecallOfOther,
            Denial::NoMessage,
            Denial::Recalled,
            Denial::Joined,
            Denial::AlreadyMember,
            Denial::NoMember,
            Denial::NoUser,
            Denial::SameRole,
            Denial::LastOwner,
            Denial::Oneself,
            Denial::OtherConversation,
            Denial::NoFile,
        ]),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let kind =
        proptest::sample::select(vec![FileKind::Other, FileKind::Image, FileKind::Audio, FileKind::Video]);
    let arrived = (head(), user(), any::<(u64, u64)>(), vec(any::<u64>(), 0..4)).prop_map(
        |(head, user, at, beyond)| {
            let conversation = head.conversation.clone();
            (head, Received { user, conversation, epoch: at.0, seq: at.1, beyond })
        },
    );
    prop_oneof![
        (text(), vec(group(), 0..4), any::<u64>()).prop_map(|(avatar, groups, revision)| {
            Answer::UserLoaded(UserProfile { avatar, groups, revision })
        }),
        place().prop_map(Answer::MessageStored),
        place().prop_map(Answer::StoredEarlier),
        (text(), kind).prop_map(|(name, kind)| Answer::FileStored { name, kind }),
        (vec(head(), 0..3), option::of(any::<u64>()))
            .prop_map(|(heads, next)| Answer::HeadsLoaded { heads, next }),
        (any::<(u64, u64, u64)>(), vec(message(), 0..3), text()).prop_map(
            |((epoch, head_seq, first_seq), messages, group_name)| {
                Answer::MessagesLoaded(Messages { epoch, head_seq, first_seq, messages, group_name })
            }
        ),
        (marks(), any::<bool>())
            .prop_map(|(marks, has_moved)| Answer::MarksStored(StoredMarks { marks, has_moved })),
        option::of(any::<i64>()).prop_map(|at_ms| Answer::Seen { at_ms }),
        Just(Answer::ReceivedStored),
        (vec(arrived, 0..3), option::of(any::<u64>()))
            .prop_map(|(unreceived, next)| Answer::UnreceivedLoaded { unreceived, next }),
        denial().prop_map(Answer::Denied),
        Just(Answer::Refused),
        Just(Answer::Failed),
        Just(Answer::Full),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let protocol = prop_oneof![Just(Protocol::Classic), Just(Protocol::Session)];
    let fault = proptest::sample::select(vec![
        PeerFault::Framing,
        PeerFault::TextMessage,
        PeerFault::InvalidUtf8,
        PeerFault::MessageTooLarge,
        PeerFault::ReceiveBudget,
    ]);
    let why =
        proptest::sample::select(vec![Revocation::SignedOut, Revocation::Banned, Revocation::Administrator]);
    let whose = prop_oneof![conn().prop_map(Whose::Connection), user().prop_map(Whose::User)];
    let audience = prop_oneof![user().prop_map(Audience::User), Just(Audience::Everyone)];
    let changed = prop_oneof![
        group().prop_map(DirectoryChangeKind::Joined),
        group().prop_map(DirectoryChangeKind::Left),
        text().prop_map(DirectoryChangeKind::Avatar),
    ];
    prop_oneof![
        (conn(), user(), protocol).prop_map(|(conn, user, protocol)| Event::Connected {
            conn,
            user,
            protocol
        }),
        (conn(), bytes()).prop_map(|(conn, message)| Event::Received { conn, message }),
        (conn(), bytes()).prop_map(|(conn, payload)| Event::Ping { conn, payload }),
        (conn(), bytes()).prop_map(|(conn, payload)| Event::Pong { conn, payload }),
        (conn(), fault).prop_map(|(conn, fault)| Event::Misbehaved { conn, fault }),
        conn().prop_map(|conn| Event::PeerClosed { conn }),
        (conn(), any::<u32>(), any::<u64>()).prop_map(|(conn, frames, payload_bytes)| Event::Flushed {
            conn,
            frames,
            payload_bytes
        }),
        conn().prop_map(|conn| Event::Disconnected { conn }),
        (any::<u64>(), answer())
            .prop_map(|(ticket, answer)| Event::Answered { ticket: Ticket(ticket), answer }),
        (topic(), option::of((id(), place())), bytes())
            .prop_map(|(topic, stored, message)| Event::Published(Record { topic, stored, message })),
        (topic(), bytes()).prop_map(|(topic, note)| Event::Told(Note { topic, note })),
        (any::<u64>(), user(), changed).prop_map(|(revision, user, kind)| Event::DirectoryChanged(
            DirectoryChange { revision, user, kind }
        )),
        (whose, why).prop_map(|(whose, why)| Event::Revoked { whose, why }),
        (audience, text()).prop_map(|(to, text)| Event::Announced { to, text }),
        Just(Event::Shutdown),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => event().prop_map(Step::Event),
        1 => Just(Step::Timeout),
        1 => (1..1_u16 << 14).prop_map(|number| Step::Acted(Acted::from_number(number).unwrap())),
        1 => any::<(u64, u64)>().prop_map(|(actions, state)| Step::Digests(Digests { actions, state })),
    ]
}

/// Encodes steps that come so long after each other. Digests are of the moment of the step before.
fn encoded(start: Instant, steps: &[(u64, Step)]) -> (Vec<u8>, Vec<String>) {
    let (mut now, mut encoder, mut expected) = (start, Encoder::new(start), Vec::new());
    for (after_ns, step) in steps {
        match step {
            Step::Event(event) => {
                now += Duration::from_nanos(*after_ns);
                encoder.event(now, event);
            }
            Step::Timeout => {
                now += Duration::from_nanos(*after_ns);
                encoder.timeout(now);
            }
            Step::Acted(acted) => encoder.acted(*acted),
            Step::Digests(digests) => encoder.digests(*digests),
        }
        expected.push(format!("{now:?} {step:?}"));
    }
    (encoder.take(), expected)
}

/// All steps until the end, or what is wrong.
fn decoded(start: Instant, bytes: Bytes) -> (Vec<String>, Option<StepError>) {
    let (mut decoder, mut steps) = (Decoder::new(start), Vec::new());
    decoder.feed(bytes);
    loop {
        match decoder.step() {
            Ok(Some((now, step))) => steps.push(format!("{now:?} {step:?}")),
            Ok(None) => return (steps, None),
            Err(error) => return (steps, Some(error)),
        }
    }
}

proptest! {
    #[test]
    fn steps_are_read_as_they_were_written(
        start in 0..u64::MAX / 2,
        steps in vec((0..1_u64 << 40, step()), 0..12),
    ) {
        let start = Instant::from_nanos(start);
        let (bytes, expected) = encoded(start, &steps);
        prop_assert_eq!(decoded(start, bytes.into()), (expected, None));
    }

    #[test]
    fn of_steps_that_are_cut_off_all_before_the_cut_are_there(
        steps in vec((0..1_u64 << 40, step()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (bytes, expected) = encoded(Instant::ZERO, &steps);
        let cut = cut.index(bytes.len());
        let (read, error) = decoded(Instant::ZERO, Bytes::from(bytes).slice(..cut));
        prop_assert!(read.len() < expected.len() && expected.starts_with(&read));
        prop_assert!(matches!(error, None | Some(StepError::Cut)), "{:?}", error);
    }

    #[test]
    fn bytes_that_are_no_steps_are_refused_and_no_harm_comes_of_them(bytes in vec(any::<u8>(), 0..300)) {
        decoded(Instant::ZERO, bytes.into());
    }

    #[test]
    fn blocks_are_read_as_they_were_written_and_damage_is_found(
        payloads in vec(vec(any::<u8>(), 0..64), 1..6),
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let mut file = prefix().to_vec();
        let mut ends = vec![file.len()];
        for (number, payload) in (0..).zip(&payloads) {
            let kind = [Kind::Header, Kind::State, Kind::Steps][(number as usize).min(2)];
            let block = Block { kind, codec: Codec::None, number, raw_len: 7, payload };
            file.extend(block.head().unwrap());
            file.extend(payload);
            ends.push(file.len());
        }
        let read = |file: &[u8]| {
            let mut blocks = Blocks::of(file)?;
            let mut found = Vec::new();
            let error = loop {
                match blocks.next_block() {
                    Ok(Some(block)) => found.push(block.payload.to_vec()),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            Ok::<_, FileError>((found, error))
        };
        prop_assert_eq!(read(&file), Ok((payloads.clone(), None)));
        let at = at.index(file.len());
        let whole = ends.iter().filter(|end| **end <= at).count().saturating_sub(1);
        let cut = read(&file[..at]);
        if at >= PREFIX_BYTES {
            let (found, error) = cut.unwrap();
            prop_assert_eq!(&found, &payloads[..whole]);
            let expected = (!ends.contains(&at)).then_some((ends[whole] as u64, Fault::Cut));
            prop_assert_eq!(error.map(|error| (error.offset, error.fault)), expected);
        }
        file[at] ^= flip;
        match read(&file) {
            Ok((found, Some(error))) => {
                prop_assert_eq!(&found, &payloads[..whole]);
                prop_assert_eq!(error.offset, ends[whole] as u64);
            }
            Ok((_, None)) => prop_assert!(false, "the damage at {} was not found", at),
            Err(error) => prop_assert!(at < PREFIX_BYTES && error.offset == 0),
        }
    }
}

#[test]
fn a_header_has_all_that_makes_an_engine() {
    let config = ServerConfig {
        devices: DevicePolicy::NewestWins,
        ping_interval: Duration::from_nanos(7),
        presence: false,
        drain_time: Duration::ZERO,
        peers: true,
        one_home: true,
        limits: Limits { admissions_per_second: 3, calls: 0, watches: 9, ..Limits::default() },
        ..ServerConfig::default()
    };
    let header = Header {
        program: "switchboard 0.1.0".to_owned(),
        build: BUILD.to_owned(),
        shard: 1,
        shards: 2,
        wall_ms: -5,
        started_at: Instant::from_nanos(3),
        seed: u64::MAX,
        part: 2,
        config,
        is_redacted: true,
    };
    assert_eq!(Header::decode(&header.encode()), Ok(header));
    assert_eq!(Header::decode(b""), Err(StepError::Missing("the configuration")));
    assert_eq!(Header::decode(b"\xff"), Err(StepError::Garbled));
}

#[test]
fn what_is_no_recording_or_of_another_version_is_told_apart() {
    let fault = |file: &[u8]| Blocks::of(file).map(|_| ()).unwrap_err().to_string();
    assert_eq!(fault(b""), "at byte 0: this is no recording of a server");
    assert_eq!(fault(b"\x7fELF\x02\x01\x01\x00 and so on"), "at byte 0: this is no recording of a server");
    let mut newer = prefix();
    newer[PREFIX_BYTES - 4] = 9;
    assert_eq!(fault(&newer), "at byte 0: a newer version has written this, in format 9; this one reads 1");
    let mut file = prefix().to_vec();
    for number in [0, 2] {
        let block = Block { kind: Kind::Steps, codec: Codec::Zstd, number, raw_len: 0, payload: &[] };
        file.extend(block.head().unwrap());
    }
    let mut blocks = Blocks::of(&file).unwrap();
    assert_eq!(blocks.next_block().unwrap().unwrap().codec, Codec::Zstd);
    let missing = blocks.next_block().unwrap_err();
    assert_eq!(missing.offset, (PREFIX_BYTES + HEAD_BYTES) as u64);
    assert_eq!(missing.to_string(), "at byte 32: block 1 is missing: block 2 follows");
}

#[test]
fn a_state_says_which_build_can_read_it() {
    let state = State::of_this_build(b"state");
    let payload = state.encode();
    assert_eq!(State::decode(&payload), Ok(state));
    assert_eq!(state.build, BUILD);
    assert_eq!(State::decode(&payload[..BUILD.len()]), Err(StepError::Garbled));
    assert_eq!(State::decode(b""), Err(StepError::Garbled));
    assert_eq!(State::decode(b"\x01\xff"), Err(StepError::Garbled));
}

#[test]
fn the_digest_of_a_step_is_of_its_actions_alone_and_that_of_all_of_their_order() {
    let conns = [ConnId::new(0, 1), ConnId::new(1, 1)];
    let digest_of = |steps: &[&[usize]]| {
        let mut digest = ActionDigest::default();
        let mut acted = Vec::new();
        for step in steps {
            for conn in *step {
                digest.add(&Action::Abort { conn: conns[*conn] });
            }
            acted.push(digest.end_step());
        }
        (acted, digest.finish())
    };
    let ((first, all), (second, other)) = (digest_of(&[&[0], &[], &[1]]), digest_of(&[&[1], &[], &[0]]));
    assert_eq!([first[0], first[1], first[2]], [second[2], None, second[0]]);
    assert_ne!(first[0], first[2]);
    assert_ne!(all, other);
    assert_ne!(digest_of(&[&[0, 1]]).1, all);
    assert!([0, 1 << 14].into_iter().all(|number| Acted::from_number(number).is_none()));
}
