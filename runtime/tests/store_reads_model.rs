//! Random chats, read at random, against logs that are plain vectors.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod store_common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use store_common::{Fixture, group, heads, message, open_authentication, to_user, user};
use switchboard::store::{Conversation, Directory, NewGroup, NewUser};
use switchboard_engine::{
    Answer, Head, Messages, Place, Range, Recipient, Request, StoredMessage, Subject, UserId,
};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const GROUPS: [&str; 2] = ["chess", "alice"];

/// What happens in a chat.
#[derive(Clone, Debug)]
enum Step {
    Say { from: usize, to: Recipient, bytes: usize },
    Join { user: usize, group: usize },
    Leave { user: usize, group: usize },
    Read(Range),
    Heads { user: usize },
}

fn recipient() -> impl Strategy<Value = Recipient> {
    prop_oneof![
        (0..USERS.len()).prop_map(|n| to_user(USERS[n])),
        (0..GROUPS.len()).prop_map(|n| Recipient::Group(group(GROUPS[n]))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let place = prop_oneof![2 => Just(0), 6 => 1_u64..12, 1 => Just(u64::MAX)];
    // Sizes in tens, so that limits are met exactly.
    let limit_bytes = (0_u64..12).prop_map(|tens| 10 * tens);
    let range = (0..USERS.len(), recipient(), place, any::<bool>(), 0_u32..8, limit_bytes).prop_map(
        |(reader, conversation, from_seq, backwards, limit, limit_bytes)| {
            Step::Read(Range {
                reader: user(USERS[reader]),
                conversation,
                from_seq,
                backwards,
                limit,
                limit_bytes,
            })
        },
    );
    let membership = (0..USERS.len(), 0..GROUPS.len());
    prop_oneof![
        6 => (0..USERS.len(), recipient(), 0_usize..4)
            .prop_map(|(from, to, tens)| Step::Say { from, to, bytes: 10 * tens }),
        2 => membership.clone().prop_map(|(user, group)| Step::Join { user, group }),
        1 => membership.prop_map(|(user, group)| Step::Leave { user, group }),
        12 => range,
        1 => (0..USERS.len()).prop_map(|user| Step::Heads { user }),
    ]
}

/// A conversation, whoever looks at it: its users in their order, or its group.
type Key = (Option<(String, String)>, String);

fn key(one: &str, conversation: &Recipient) -> Key {
    match conversation {
        Recipient::User(other) => {
            let other = other.as_str();
            (Some((one.min(other).to_owned(), one.max(other).to_owned())), String::new())
        }
        Recipient::Group(group) => (None, group.as_str().to_owned()),
    }
}

#[derive(Default)]
struct Model {
    logs: BTreeMap<Key, (u64, Vec<StoredMessage>)>,
    /// From where on each (group, member) reads, and how far, if it has left.
    seats: BTreeMap<(String, String), (u64, Option<u64>)>,
}

impl Model {
    /// From where on somebody reads and how far; none who may not.
    fn readable(&self, reader: &str, conversation: &Recipient) -> Option<(u64, u64)> {
        match conversation {
            Recipient::User(_) => Some((1, u64::MAX)),
            Recipient::Group(group) => {
                let (first, last) = self.seats.get(&(group.as_str().to_owned(), reader.to_owned()))?;
                Some((*first, last.unwrap_or(u64::MAX)))
            }
        }
    }

    fn may_write(&self, sender: &str, conversation: &Recipient) -> bool {
        self.readable(sender, conversation).is_some_and(|(_, last)| last == u64::MAX)
    }

    fn read(&self, range: &Range) -> Answer {
        let reader = range.reader.as_str();
        let Some((first_seq, last_seq)) = self.readable(reader, &range.conversation) else {
            return Answer::Refused;
        };
        // Groups are made with their id as their name.
        let group_name: Box<str> = match &range.conversation {
            Recipient::Group(group) if last_seq == u64::MAX => group.as_str().into(),
            Recipient::Group(_) | Recipient::User(_) => "".into(),
        };
        let Some((epoch, log)) = self.logs.get(&key(reader, &range.conversation)) else {
            let messages = vec![];
            return Answer::MessagesLoaded(Messages {
                epoch: 0,
                head_seq: 0,
                first_seq,
                messages,
                group_name,
            });
        };
        let log: Vec<_> = log.iter().filter(|message| message.seq <= last_seq).collect();
        let mut wanted: Vec<&StoredMessage> =
            log.iter().copied().filter(|message| message.seq >= first_seq).collect();
        if range.backwards {
            wanted.retain(|message| range.from_seq == 0 || message.seq <= range.from_seq);
            wanted.reverse();
        } else {
            wanted.retain(|message| message.seq >= range.from_seq);
        }
        wanted.truncate(range.limit as usize);
        let mut messages: Vec<StoredMessage> = Vec::new();
        for message in wanted {
            let bytes: usize = messages.iter().chain([message]).map(|message| message.content.len()).sum();
            if !messages.is_empty() && bytes as u64 > range.limit_bytes {
                break;
            }
            messages.push(message.clone());
        }
        messages.sort_by_key(|message| message.seq);
        let (epoch, head_seq) = (*epoch, log.len() as u64);
        Answer::MessagesLoaded(Messages { epoch, head_seq, first_seq, messages, group_name })
    }

    fn heads(&self, reader: &str) -> Vec<Head> {
        let users = USERS.iter().map(|name| to_user(name));
        let groups = GROUPS.iter().map(|name| Recipient::Group(group(name)));
        let head = |conversation: Recipient| {
            let (first_seq, last_seq) = self.readable(reader, &conversation)?;
            let (epoch, log) = self.logs.get(&key(reader, &conversation))?;
            Some(Head {
                conversation,
                epoch: *epoch,
                seq: last_seq.min(log.len() as u64),
                first_seq,
                own: switchboard_engine::Marks::default(),
                peer: switchboard_engine::Marks::default(),
            })
        };
        users.chain(groups).filter_map(head).collect()
    }

    fn check(&self) {
        let mut epochs: Vec<u64> = self.logs.values().map(|(epoch, _)| *epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        assert_eq!(epochs.len(), self.logs.len(), "each log has its own epoch");
    }
}

struct Chat {
    fixture: Fixture,
    directory: Directory,
    model: Model,
    said: u64,
}

impl Chat {
    fn begin(folder: &std::path::Path) -> Self {
        let fixture = Fixture::open(folder, &open_authentication());
        let mut directory = fixture.store.directory().unwrap();
        let mut model = Model::default();
        for name in USERS {
            directory.create_user(&NewUser::new(user(name), name)).unwrap();
        }
        for (n, name) in GROUPS.into_iter().enumerate() {
            let owner = user(USERS[n]);
            let new = NewGroup {
                id: group(name),
                name: name.into(),
                notice: String::new(),
                owner,
                invite_only: true,
            };
            directory.create_group(&new).unwrap();
            model.seats.insert((name.to_owned(), USERS[n].to_owned()), (1, None));
        }
        let mut chat = Self { fixture, directory, model, said: 0 };
        GROUPS.into_iter().for_each(|name| assert_eq!(chat.follow(name), [1]));
        chat
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Say { from, to, bytes } => self.say(USERS[from], &to, bytes),
            Step::Join { user: name, group: of } => {
                let (name, of) = (USERS[name], GROUPS[of]);
                let joined = self.directory.join(&group(of), &user(name)).unwrap();
                assert_eq!(joined, !self.model.may_write(name, &Recipient::Group(group(of))));
                if let Some(first) = self.follow(of).first() {
                    self.model.seats.insert((of.to_owned(), name.to_owned()), (*first, None));
                }
            }
            Step::Leave { user: name, group: of } => {
                let (name, of) = (USERS[name], GROUPS[of]);
                let left = self.directory.leave(&group(of), &user(name)).unwrap();
                assert_eq!(left, self.model.may_write(name, &Recipient::Group(group(of))));
                if let Some(last) = self.follow(of).last() {
                    self.model.seats.get_mut(&(of.to_owned(), name.to_owned())).unwrap().1 = Some(*last);
                }
            }
            Step::Read(range) => {
                let expected = self.model.read(&range);
                assert_eq!(self.fixture.ask(Request::LoadMessages(Box::new(range))), expected);
            }
            Step::Heads { user } => self.compare_heads(USERS[user]),
        }
    }

    /// Takes what the directory has entered into a group's log into the model; gives the places.
    fn follow(&mut self, of: &str) -> Vec<u64> {
        let conversation = Conversation::Group(group(of));
        let Some(info) = self.directory.conversation(&conversation).unwrap() else { return Vec::new() };
        let log =
            self.model.logs.entry(key("", &Recipient::Group(group(of)))).or_insert((info.epoch, vec![]));
        let begin = log.1.len() as u64 + 1;
        let found = self.directory.history(&conversation, begin..=u64::MAX, u32::MAX).unwrap();
        let seqs: Vec<u64> = found.iter().map(|entry| entry.seq).collect();
        for entry in found {
            assert!(matches!(entry.subject, Subject::Change(_)));
            log.1.push(StoredMessage {
                seq: entry.seq,
                id: entry.id,
                sender: entry.sender,
                sender_name: entry.sender_name,
                avatar: "".into(),
                content_type: 23,
                content: "".into(),
                url: "".into(),
                stored_at_ms: entry.stored_at_ms,
                subject: entry.subject,
                changed_seq: 0,
                is_recalled: false,
            });
        }
        assert!(seqs.iter().copied().eq(begin..=info.head_seq));
        seqs
    }

    fn say(&mut self, from: &str, to: &Recipient, bytes: usize) {
        self.said += 1;
        let (id, content) = (self.said, "x".repeat(bytes));
        let request = message(from, id, to.clone(), &content);
        if !self.model.may_write(from, to) {
            assert_eq!(self.fixture.ask(request), Answer::Refused);
            return;
        }
        let Place { epoch, seq, stored_at_ms } = self.fixture.store(request);
        let log = self.model.logs.entry(key(from, to)).or_insert((epoch, Vec::new()));
        assert_eq!((log.0, log.1.len() as u64 + 1), (epoch, seq));
        log.1.push(StoredMessage {
            seq,
            id: store_common::message_id(id),
            sender: UserId::new(from).unwrap(),
            sender_name: format!("the {from}").into(),
            avatar: "".into(),
            content_type: 1,
            content: content.into(),
            url: "".into(),
            stored_at_ms,
            subject: switchboard_engine::Subject::Message,
            changed_seq: 0,
            is_recalled: false,
        });
    }

    fn compare_heads(&mut self, of: &str) {
        let sorted = |mut heads: Vec<Head>| {
            heads.sort_by_key(|head| format!("{:?}", head.conversation));
            heads
        };
        assert_eq!(sorted(heads(&mut self.fixture, of)), sorted(self.model.heads(of)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_said_and_whoever_comes_and_goes_each_reads_what_is_theirs(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut chat = Chat::begin(folder.path());
        for step in steps {
            chat.take(step);
        }
        for name in USERS {
            chat.compare_heads(name);
        }
        chat.model.check();
    }
}
