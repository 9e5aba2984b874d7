//! Random requests, given to two stores in lockstep.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use switchboard_engine::{Answer, FileSource, GroupChange, Range, Recipient, Request, Role};
use switchboard_sim::store::StoreCanary;

use super::amend::{edit, recall};
use super::bench::{Bench, model};
use super::marks::{at, mark};
use super::received::{arrives, lacks};
use super::sides::{GROUPS, Sqlite, Strangers, USERS};

use super::{change_of, file, load, message, to_group, to_user, user};

/// A message: its sender, its id, and to whom it goes.
type Word = (&'static str, u8, Recipient);

/// Something that is done to both.
#[derive(Clone, Debug)]
enum Step {
    /// One after the other, or all at once: a store may commit those together.
    Say(Vec<Word>),
    Change {
        sender: &'static str,
        id: u8,
        group: &'static str,
        change: GroupChange,
    },
    Load(&'static str),
    Member {
        group: &'static str,
        user: &'static str,
        member: bool,
    },
    /// Leaves a group if it can, and joins it.
    Rejoin {
        group: &'static str,
        user: &'static str,
    },
    Avatar {
        user: &'static str,
        avatar: &'static str,
    },
    File {
        contents: &'static [u8],
        suffix: &'static str,
    },
    Leaves(&'static str),
    Seen {
        watcher: &'static str,
        user: &'static str,
    },
    Heads(&'static str),
    Amend {
        sender: &'static str,
        id: u8,
        of: Recipient,
        target_seq: u64,
        recalls: bool,
    },
    Mark {
        user: &'static str,
        of: Recipient,
        /// None: the one that it is.
        log: Option<u64>,
        marks: (u64, u64),
    },
    /// What has arrived at a user's classic clients, and then what has not.
    Arrive {
        user: &'static str,
        of: Recipient,
        given_up: u64,
        beyond: Vec<u64>,
    },
    Read {
        reader: &'static str,
        of: Recipient,
        from_seq: u64,
        backwards: bool,
        limit: u32,
    },
    Crash,
}

/// The witness is the bench's own.
const NAMES: [&str; 4] = ["alice", "bob", "carol", "stranger"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(&NAMES[..]);
    let to = || prop::sample::select(&["chess", "go", "nowhere"][..]);
    let recipient = prop_oneof![name().prop_map(to_user), to().prop_map(to_group), Just(to_group("chess"))];
    let contents: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n", b"ID3\x03 mp3", b"words", b""];
    let arrival = recipient.clone();
    let word = (name(), 0..12_u8, recipient.clone());
    let step = prop_oneof![
        14 => word.clone().prop_map(|word| Step::Say(vec![word])),
        3 => prop::collection::vec(word, 2..8).prop_map(Step::Say),
        12 => (name(), 0..40_u8, to(), changes()).prop_map(
            |(sender, id, group, change)| Step::Change { sender, id: 100 + id, group, change }
        ),
        3 => name().prop_map(Step::Load),
        4 => (to(), name(), any::<bool>())
            .prop_map(|(group, user, member)| Step::Member { group, user, member }),
        2 => (to(), name()).prop_map(|(group, user)| Step::Rejoin { group, user }),
        2 => (name(), prop::sample::select(&["", "one.png", "two.png"][..]))
            .prop_map(|(user, avatar)| Step::Avatar { user, avatar }),
        1 => (prop::sample::select(contents.to_vec()), prop::sample::select(&["png", "mp4", "html", ""][..]))
            .prop_map(|(contents, suffix)| Step::File { contents, suffix }),
        4 => name().prop_map(Step::Heads),
        9 => (name(), 0..20_u8, recipient.clone(), 1..4_u64, prop::bool::weighted(0.4)).prop_map(
            |(sender, id, of, target_seq, recalls)| Step::Amend { sender, id, of, target_seq, recalls }
        ),
        4 => (name(), recipient.clone(), prop::option::weighted(0.2, 0..6_u64), (0..6_u64, 0..6_u64))
            .prop_map(|(user, of, log, marks)| Step::Mark { user, of, log, marks }),
        1 => name().prop_map(Step::Leaves),
        2 => (name(), name()).prop_map(|(watcher, user)| Step::Seen { watcher, user }),
        4 => (name(), recipient, 0..6_u64, any::<bool>(), 1..4_u32).prop_map(
            |(reader, of, from_seq, backwards, limit)| Step::Read { reader, of, from_seq, backwards, limit }
        ),
        4 => (name(), arrival, 0..2_u64, prop::collection::btree_set(1..8_u64, 0..6)).prop_map(
            |(user, of, given_up, beyond)| {
                Step::Arrive { user, of, given_up, beyond: beyond.into_iter().collect() }
            }
        ),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..80)
}

fn changes() -> impl Strategy<Value = GroupChange> {
    let whom = || prop::sample::select(&NAMES[..]).prop_map(user);
    let role = prop::sample::select(&[Role::Member, Role::Admin, Role::Owner][..]);
    prop_oneof![
        1 => any::<bool>().prop_map(|invite_only| GroupChange::Create { name: "a group".into(), invite_only }),
        2 => Just(GroupChange::Join),
        2 => Just(GroupChange::Leave),
        3 => whom().prop_map(GroupChange::Invite),
        4 => whom().prop_map(GroupChange::Kick),
        3 => (whom(), role).prop_map(|(user, role)| GroupChange::SetRole(user, role)),
        4 => (whom(), prop::sample::select(&[0, i64::MAX][..]))
            .prop_map(|(user, until_ms)| GroupChange::Mute(user, until_ms)),
        1 => Just(GroupChange::Rename("another name".into())),
    ]
}

/// What a store says to a step, as far as both must say the same.
fn take(store: &mut Bench, place: usize, step: &Step) -> String {
    match step {
        Step::Say(words) => {
            let say = |(sender, id, recipient): &Word| {
                store.submit(message(sender, *id, recipient.clone(), &format!("words {place}")))
            };
            let tickets: Vec<_> = words.iter().map(say).collect();
            let answers: BTreeMap<_, _> = words.iter().map(|_| store.answer()).collect();
            assert!(answers.keys().eq(&tickets), "every request has its own answer");
            format!("{:?}", answers.into_values().collect::<Vec<_>>())
        }
        Step::Change { sender, id, group, change } => {
            format!("{:?}", store.ask(change_of(sender, *id, group, change.clone())))
        }
        Step::Load(user) => format!("{:?}", store.ask(load(user))),
        Step::Member { group, user, member } => store.set_member(group, user, *member).to_string(),
        Step::Rejoin { group, user } => {
            let left = store.set_member(group, user, false);
            format!("{left} {} {:?}", store.set_member(group, user, true), store.heads(user))
        }
        Step::Avatar { user, avatar } => store.set_avatar(user, avatar).to_string(),
        Step::File { contents, suffix } => {
            let answer = store.ask(file(FileSource::Bytes((*contents).into()), suffix));
            // Names are each store's own.
            if let Answer::FileStored { kind, .. } = answer {
                format!("{kind:?}")
            } else {
                format!("{answer:?}")
            }
        }
        Step::Mark { user, of, log, marks: (delivered, read) } => {
            let heads = store.heads(user);
            let right = heads.iter().find(|head| head.conversation == *of).map(|head| head.epoch);
            let log = &log.or(right).unwrap_or(0);
            format!("{:?}", mark(store, user, of.clone(), *log, at(*delivered, *read)))
        }
        Step::Arrive { user, of, given_up, beyond } => {
            let heads = store.heads(user);
            let right = heads.iter().find(|head| head.conversation == *of).map_or(0, |head| head.epoch);
            let answer = arrives(store, user, of.clone(), right, *given_up, beyond);
            let stranger = store.ask(load(user)) == Answer::Refused;
            format!("{answer:?} {:?}", (!stranger).then(|| lacks(store, user)))
        }
        Step::Leaves(who) => format!("{:?}", store.ask(Request::StoreSeen(user(who)))),
        Step::Seen { watcher, user: who } => {
            let (watcher, user) = (user(watcher), user(who));
            format!("{:?}", store.ask(Request::LoadSeen { watcher, user }))
        }
        Step::Amend { sender, id, of, target_seq, recalls } => {
            let request = match recalls {
                true => recall(sender, *id, of.clone(), *target_seq),
                false => edit(sender, *id, of.clone(), *target_seq, &format!("edit {place}")),
            };
            format!("{:?}", store.ask(request))
        }
        Step::Heads(user) => format!("{:?}", store.heads(user)),
        Step::Read { reader, of, from_seq, backwards, limit } => {
            let (reader, conversation) = (user(reader), of.clone());
            let (from_seq, backwards, limit) = (*from_seq, *backwards, *limit);
            let range = Range { reader, conversation, from_seq, backwards, limit, limit_bytes: 20 };
            format!("{:?}", store.read(range))
        }
        Step::Crash => {
            let told = store.announced();
            store.crash();
            format!("{told:?}")
        }
    }
}

/// All that is announced and stored in the end.
fn sum(store: &mut Bench) -> String {
    let mut sum = format!("{:?}", store.announced());
    for one in NAMES.iter().chain(&USERS) {
        for other in NAMES {
            sum += &format!("\n{one} {other} {:?}", store.history(one, &to_user(other)));
        }
    }
    for (group, _) in GROUPS {
        sum += &format!("\n{group} {:?}", store.history("alice", &to_group(group)));
    }
    sum
}

fn agree(mut one: Bench, mut other: Bench, steps: &[Step]) -> Result<(), TestCaseError> {
    for (place, step) in steps.iter().enumerate() {
        let (left, right) = (take(&mut one, place, step), take(&mut other, place, step));
        prop_assert_eq!(left, right, "step {}: {:?}", place, step);
    }
    prop_assert_eq!(sum(&mut one), sum(&mut other));
    Ok(())
}

fn runner(cases: u32) -> TestRunner {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(Config { cases, failure_persistence: None, ..Config::default() }, rng)
}

fn lockstep(strangers: Strangers) {
    let same = |steps: Vec<Step>| {
        agree(model(strangers, None), Bench::new(Box::new(Sqlite::open(strangers))), &steps)
    };
    runner(24).run(&steps(), same).unwrap();
}

#[test]
fn the_model_and_the_database_answer_the_same_where_strangers_are_refused() {
    lockstep(Strangers::Refused);
}

#[test]
fn the_model_and_the_database_answer_the_same_where_strangers_come_into_being() {
    lockstep(Strangers::Provisioned);
}

#[test]
fn random_requests_tell_every_planted_bug_from_the_model() {
    for bug in StoreCanary::ALL {
        let same = |steps: Vec<Step>| {
            agree(model(Strangers::Refused, None), model(Strangers::Refused, Some(*bug)), &steps)
        };
        let found = runner(2_048).run(&steps(), same);
        assert!(matches!(found, Err(TestError::Fail(..))), "{}: {found:?}", bug.name());
    }
}
