//! The store, by the runtime's contract: one gapless log a conversation, idempotent by (sender, id), membership
//! checked at commit, changes of the directory numbered in one sequence and announced after their commit. What
//! a node had not committed is lost with it.

use std::collections::BTreeMap;

use switchboard_engine::{
    Answer, DirectoryChange, DirectoryChangeKind, FileKind, GroupId, NewMessage, Recipient, Request, UserId,
    UserProfile,
};

use super::{
    Draw, Happening, World,
    queue::{Fate, Life, Queue},
    sut::Sut,
};
use crate::{
    canaries::StoreCanary,
    check::{Check, MessageKey, Table, pipelines::answer_name},
    choice::keyed,
    schedule::{GroupNo, Schedule, UserNo},
    spec::Spec,
    trace::{Lane, Via},
    wire::{self, Token},
};

/// How the store behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StoreMood {
    pub(super) slow_us: u64,
    pub(super) fail_permille: u64,
    pub(super) lose_permille: u64,
    pub(super) reorder_permille: u64,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    /// The deliberate bug that it has, if any.
    pub(super) canary: Option<StoreCanary>,
    pub(super) mood: StoreMood,
    /// By group, by user.
    pub(super) members: Vec<Vec<bool>>,
    avatars: Vec<u32>,
    revision: u64,
    heads: BTreeMap<(u32, u32), u64>,
    ids: Table<(u16, [u8; 16]), u64>,
    /// By node: when the last request is done, and when its answer arrives.
    last_us: Vec<(u64, u64)>,
    draws: Vec<u64>,
    per_node: usize,
    /// By shard: when the last announcement arrives.
    announced_us: Vec<u64>,
}

impl Store {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let s = &schedule.settings;
        let mut members = vec![vec![false; s.users as usize]; schedule.groups.len()];
        for (group, list) in schedule.groups.iter().enumerate() {
            list.iter().for_each(|user| members[group][user.index()] = true);
        }
        Self {
            canary: None,
            mood: StoreMood::default(),
            members,
            avatars: vec![0; s.users as usize],
            revision: 0,
            heads: BTreeMap::new(),
            ids: Table::default(),
            last_us: vec![(0, 0); s.nodes as usize],
            draws: vec![0; s.users as usize],
            per_node: s.shards as usize,
            announced_us: vec![0; (s.nodes * s.shards) as usize],
        }
    }

    /// Takes a request: when and how it is done is decided now, by what it is about.
    #[allow(clippy::too_many_arguments, reason = "the parts of a world that is borrowed apart")]
    pub(super) fn submit(
        &mut self,
        schedule: &Schedule,
        check: &Check,
        queue: &mut Queue,
        now_us: u64,
        life: Life,
        ticket: u64,
        request: Request,
    ) {
        let item = self.item(check, &request);
        let draw = |purpose: Draw| keyed(schedule.seed, item, purpose as u64);
        let s = &schedule.settings;
        let delay_us =
            s.store_delay_us + draw(Draw::StoreDelay) % (s.store_jitter_us + self.mood.slow_us + 1);
        let fate = draw(Draw::StoreFate);
        let failed = fate % 1000 < self.mood.fail_permille;
        let answered = (fate >> 20) % 1000 >= self.mood.lose_permille;
        // What failed, or was never answered, may have been done all the same.
        let committed = (!failed && answered) || (fate >> 40).is_multiple_of(2);
        let last_us = &mut self.last_us[life.shard / self.per_node].0;
        let free = draw(Draw::StoreOrder) % 1000 < self.mood.reorder_permille;
        let at_us = if free { now_us + delay_us } else { (now_us + delay_us).max(*last_us) };
        *last_us = at_us.max(*last_us);
        let fate = Fate { committed, failed, answered };
        queue.push(at_us, Happening::Commit { life, ticket, request: Box::new(request), fate });
    }

    /// What a request is about, as a number that does not depend on other requests.
    fn item(&mut self, check: &Check, request: &Request) -> u64 {
        let token = match request {
            Request::LoadUser(user) => {
                let user = wire::index(user.as_str()).unwrap_or(0);
                self.draws[user as usize] += 1;
                return u64::from(user) << 40 | self.draws[user as usize] | 1 << 63;
            }
            Request::StoreMessage(new) => named(new),
            Request::StoreFile(upload) => Token::read(&upload.suffix),
        };
        let times =
            token.and_then(|token| check.message(token)).map_or(0, |key| check.said[key as usize].stored);
        let token = token.unwrap_or(Token { step: 0, nth: 0 });
        u64::from(token.step) << 32 | u64::from(token.nth) << 8 | u64::from(times)
    }

    fn load(&self, user: &UserId) -> Answer {
        let number = wire::index(user.as_str()).unwrap_or(0) as usize;
        let groups = self.members.iter().enumerate().filter(|(_, members)| members[number]);
        Answer::UserLoaded(UserProfile {
            avatar: avatar(number, self.avatars[number]),
            groups: groups.filter_map(|(group, _)| GroupId::new(&format!("g{group}")).ok()).collect(),
            revision: self.revision,
        })
    }

    fn store(&mut self, check: &mut Check, spec: &mut Spec, new: &NewMessage) -> Answer {
        let sender = wire::index(new.sender.as_str()).unwrap_or(0);
        if let Some(seq) = self.ids.get(&(sender, new.id.0)) {
            return Answer::MessageStored { seq: *seq };
        }
        let conversation = match &new.recipient {
            Recipient::User(user) => {
                let other = wire::index(user.as_str()).unwrap_or(0);
                (u32::from(sender.min(other)), u32::from(sender.max(other)))
            }
            Recipient::Group(group) => {
                let group = wire::index(group.as_str()).unwrap_or(0);
                let member = self.members.get(group as usize).is_some_and(|members| members[sender as usize]);
                if !member {
                    return Answer::Refused;
                }
                (u32::MAX, u32::from(group))
            }
        };
        let head = self.heads.entry(conversation).or_insert(0);
        *head += if self.canary == Some(StoreCanary::SeqSkips) && *head == 2 { 2 } else { 1 };
        let seq = *head;
        self.ids.insert((sender, new.id.0), seq);
        if self.canary == Some(StoreCanary::AnswersUncommitted) && seq.is_multiple_of(8) {
            return Answer::MessageStored { seq };
        }
        let times = if self.canary == Some(StoreCanary::StoresTwice) && seq == 3 { 2 } else { 1 };
        if let Some(key) = named(new).and_then(|token| check.message(token)) {
            if times == 2 {
                *self.heads.entry(conversation).or_insert(0) += 1;
                check.committed(key as MessageKey, conversation, seq);
                spec.committed(key, &check.said[key as usize], sender, conversation, seq);
            }
            let seq = seq + times - 1;
            check.committed(key as MessageKey, conversation, seq);
            spec.committed(key, &check.said[key as usize], sender, conversation, seq);
        }
        Answer::MessageStored { seq }
    }
}

/// The token of a stored message.
fn named(new: &NewMessage) -> Option<Token> {
    Token::read(&new.content).or_else(|| Token::read(&new.sender_name))
}

fn avatar(user: usize, version: u32) -> Box<str> {
    if version == 0 { Box::default() } else { format!("a{user}.{version}").into() }
}

/// What a change of the directory is called in traces.
fn change_name(change: &DirectoryChange) -> String {
    match &change.kind {
        DirectoryChangeKind::Joined(group) => format!("{} joined {group}", change.user),
        DirectoryChangeKind::Left(group) => format!("{} left {group}", change.user),
        DirectoryChangeKind::Avatar(_) => format!("{}'s picture", change.user),
    }
}

impl<T: Sut> World<'_, T> {
    /// The store does what it was asked, unless who asked has died before.
    pub(super) fn commit(&mut self, life: Life, ticket: u64, request: &Request, fate: Fate) {
        if !self.lives(life) {
            return;
        }
        let answer = match request {
            _ if !fate.committed => Answer::Failed,
            Request::LoadUser(user) => self.store.load(user),
            Request::StoreMessage(new) => self.store.store(&mut self.check, &mut self.spec, new),
            Request::StoreFile(upload) => {
                let kinds = [FileKind::Other, FileKind::Image, FileKind::Audio, FileKind::Video];
                let kind = kinds[upload.suffix.len() % kinds.len()];
                Answer::FileStored { name: format!("f-{}", upload.suffix).into(), kind }
            }
        };
        let answer = if fate.failed { Answer::Failed } else { answer };
        self.trace.arrived(self.now_us);
        let way = (Lane::Store, self.lane(life.shard));
        if !fate.answered {
            let why = if fate.committed { "done, not answered" } else { "not done, not answered" };
            self.trace.sends_in_vain(self.now_us, way, why, || (Via::Store, answer_name(&answer)));
        }
        if fate.answered {
            self.trace.sends(self.now_us, self.queue.coming(), way, || {
                let yet = if fate.failed && fate.committed { ", but done" } else { "" };
                (Via::Store, format!("{}{yet}", answer_name(&answer)))
            });
            let last_us = &mut self.store.last_us[life.shard / self.store.per_node].1;
            *last_us = (self.now_us + 50).max(*last_us);
            self.queue.push(*last_us, Happening::Answer { life, ticket, answer });
        }
    }

    /// A membership changes, if it is a change.
    pub(super) fn change_member(&mut self, user: UserNo, group: GroupNo, member: bool) {
        let entry = &mut self.store.members[group.index()][user.index()];
        if core::mem::replace(entry, member) == member {
            return;
        }
        let id = self.groups[group.index()].clone();
        let kind = if member { DirectoryChangeKind::Joined(id) } else { DirectoryChangeKind::Left(id) };
        let revision = self.change_directory(user, kind);
        self.check.member(group.0, user.0, member, revision);
        let known_us = self.store.announced_us.iter().copied().max().unwrap_or(self.now_us);
        self.spec.membership(group.0, user.0, member, known_us);
    }

    /// A user has another picture.
    pub(super) fn change_avatar(&mut self, user: UserNo) {
        self.store.avatars[user.index()] += 1;
        let picture = avatar(user.index(), self.store.avatars[user.index()]);
        self.change_directory(user, DirectoryChangeKind::Avatar(picture));
    }

    fn change_directory(&mut self, user: UserNo, kind: DirectoryChangeKind) -> u64 {
        self.store.revision += 1;
        let revision = self.store.revision;
        self.check.revision = revision;
        let change = DirectoryChange { revision, user: self.users[user.index()].clone(), kind };
        for shard in 0..self.shards.len() {
            let item = revision << 16 | shard as u64;
            let s = self.schedule.settings;
            let delay_us = self.delay(
                item,
                Draw::Announce,
                s.store_delay_us,
                s.store_jitter_us + self.store.mood.slow_us,
            );
            let last_us = &mut self.store.announced_us[shard];
            *last_us = (self.now_us + delay_us).max(*last_us);
            let at_us = *last_us;
            let life = self.life(shard);
            let way = (Lane::Store, self.lane(shard));
            self.trace.sends(self.now_us, self.queue.coming(), way, || {
                (Via::Directory, format!("{}, revision {revision}", change_name(&change)))
            });
            self.queue.push(at_us, Happening::Directory { life, change: change.clone() });
        }
        revision
    }

    /// An engine is told of a change of the directory.
    pub(super) fn announce(&mut self, life: Life, change: DirectoryChange) {
        if !self.lives(life) {
            return;
        }
        self.trace.arrived(self.now_us);
        self.begin(life.shard);
        self.check.announced(life.shard, change.revision);
        self.feed(life.shard, switchboard_engine::Event::DirectoryChanged(change));
    }
}
