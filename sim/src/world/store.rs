//! When the store does what it is asked, how, and what is lost: what it does is up to [`SimStore`]. What a node
//! had not committed is lost with it.

use switchboard_engine::{
    Answer, DirectoryChange, DirectoryChangeKind, FileKind, GroupId, MessageId, Request, Subject, UserId,
};

use super::{
    Draw, Happening, World,
    queue::{Fate, Life, Queue},
    sut::Sut,
};
use crate::{
    check::{Check, Table, pipelines::answer_name},
    choice::keyed,
    counts::{Fault, Tally},
    schedule::{GroupNo, Schedule, UserNo},
    spec::Spec,
    store::{Conversation, SimStore},
    trace::{Lane, Via},
    wire::{self, Token, stored_token},
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
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) model: SimStore,
    /// Keys what varies.
    pub(super) seed: u64,
    pub(super) mood: StoreMood,
    /// By user: how many pictures there were.
    pictures: Vec<u32>,
    /// By node: when the last request is done, and when its answer arrives.
    last_us: Vec<(u64, u64)>,
    /// By submit: when its last request is done.
    submits_us: Table<(UserId, MessageId), u64>,
    draws: Vec<u64>,
    /// By user: how often something was read for their sessions.
    reads: Vec<u64>,
    per_node: usize,
    /// By shard: when the last announcement arrives.
    announced_us: Vec<u64>,
    /// Users from here on are unknown to the directory.
    known: u64,
    refuses_files: bool,
    pub(super) tally: Tally,
}

impl Store {
    pub(super) fn new(schedule: &Schedule, refuses_files: bool) -> Self {
        let s = &schedule.settings;
        let user = |number: usize| UserId::new(&format!("u{number}")).ok();
        let mut model = SimStore::new(false);
        let known = (s.users - s.unknown_users) as usize;
        (0..known).filter_map(user).for_each(|user| model.create_user(user));
        for (number, members) in schedule.groups.iter().enumerate() {
            if let Ok(group) = GroupId::new(&format!("g{number}")) {
                model.create_group(
                    group,
                    members
                        .iter()
                        .filter(|member| member.index() < known)
                        .filter_map(|member| user(member.index()))
                        .collect(),
                );
            }
        }
        Self {
            model,
            seed: schedule.seed,
            mood: StoreMood::default(),
            pictures: vec![0; s.users as usize],
            last_us: vec![(0, 0); s.nodes as usize],
            submits_us: Table::default(),
            draws: vec![0; s.users as usize],
            reads: vec![0; s.users as usize],
            per_node: s.shards as usize,
            announced_us: vec![0; (s.nodes * s.shards) as usize],
            known: known as u64,
            refuses_files,
            tally: Tally::default(),
        }
    }

    /// Whether the directory has a user.
    pub(super) fn knows(&self, user: UserNo) -> bool {
        u64::from(user.0) < self.known
    }

    /// What decides its answers: which messages it has, the checks know by their places in the log.
    pub(super) fn fold(&self, hasher: &mut impl core::hash::Hasher) {
        self.model.fold(hasher);
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
        let seed = self.seed;
        let draw = |purpose: Draw| keyed(seed, item, purpose as u64);
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
        let mut at_us = if free { now_us + delay_us } else { (now_us + delay_us).max(*last_us) };
        if let Request::StoreMessage(new) = &request {
            // Whoever asks: what is refused for good is not stored by an earlier request later.
            let submit_us = self.submits_us.entry((new.sender.clone(), new.id)).or_insert(0);
            at_us = at_us.max(*submit_us);
            *submit_us = at_us;
        }
        self.tally.add_if(at_us < *last_us, Fault::RequestReordered);
        self.tally.add_if(delay_us > s.store_delay_us + s.store_jitter_us, Fault::RequestSlow);
        self.tally.add_if(failed && !committed, Fault::RequestFailed);
        self.tally.add_if(failed && committed, Fault::RequestFailedAndDone);
        self.tally.add_if(!answered, Fault::RequestUnanswered);
        *last_us = at_us.max(*last_us);
        let back_us = 50 + draw(Draw::StoreBack) % (s.answer_jitter_us + 1);
        let fate = Fate { committed, failed, answered, back_us };
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
            Request::StoreMessage(new) => stored_token(new),
            Request::StoreFile(upload) => Token::read(&upload.suffix),
            Request::LoadHeads { user, .. } => return self.read_item(user, 0),
            Request::LoadMessages(range) => return self.read_item(&range.reader, 1),
            Request::StoreMarks(new) => return self.read_item(&new.user, 2),
            Request::StoreReceived(told) => return self.read_item(&told.user, 3),
            Request::LoadUnreceived { user, .. } => return self.read_item(user, 3),
            Request::StoreSeen(_) | Request::LoadSeen { .. } => None,
        };
        let times =
            token.and_then(|token| check.message(token)).map_or(0, |key| check.said[key as usize].stored);
        let token = token.unwrap_or(Token { step: 0, nth: 0 });
        u64::from(token.step) << 32 | u64::from(token.nth) << 8 | u64::from(times)
    }

    /// The same of what a user's sessions read.
    fn read_item(&mut self, user: &UserId, kind: u64) -> u64 {
        let user = wire::index(user.as_str()).unwrap_or(0);
        let Some(reads) = self.reads.get_mut(user as usize) else { return 0 };
        *reads += 1;
        u64::from(user) << 40 | *reads | (1 + 2 * kind) << 61
    }

    /// Does a request, and tells the checks what was committed.
    fn apply(&mut self, check: &mut Check, spec: &mut Spec, request: Request) -> Answer {
        let before = self.model.log().len();
        if let Request::StoreMarks(new) = &request {
            let answer = self.model.answer(request.clone());
            spec.marks_kept(new, &answer);
            return answer;
        }
        let seen = if let Request::StoreSeen(user) = &request { wire::index(user.as_str()) } else { None };
        if let Some(upload) = request.file().filter(|_| !self.refuses_files) {
            let name = format!("f-{}", upload.suffix).into();
            return Answer::FileStored { name, kind: FileKind::Other };
        }
        let length = request.file().map(|upload| upload.suffix.len());
        let comes = if let Request::LoadUnreceived { user, .. } = &request {
            wire::index(user.as_str())
        } else {
            None
        };
        let mut answer = self.model.answer(request);
        if let (Some(user), Answer::UnreceivedLoaded { .. }) = (comes, &answer) {
            spec.came(user);
        }
        self.committed(before, check, spec);
        if let (Answer::Seen { at_ms: Some(at_ms) }, Some(user)) = (&answer, seen) {
            spec.keeps_seen(user, *at_ms);
        }
        if let (Answer::FileStored { kind, .. }, Some(length)) = (&mut answer, length) {
            // The bytes of simulated files say nothing, so the lengths of their names say what they are.
            let kinds = [FileKind::Other, FileKind::Image, FileKind::Audio, FileKind::Video];
            *kind = kinds[length % kinds.len()];
        }
        answer
    }
}

impl Store {
    /// Tells the checks what was committed, from this entry of all on.
    fn committed(&self, from: usize, check: &mut Check, spec: &mut Spec) {
        for stored in self.model.log().get(from..).unwrap_or_default() {
            let log = log(&stored.conversation);
            if let Some(key) = stored_token(&stored.message).and_then(|token| check.message(token)) {
                check.committed(key, stored.seq);
                spec.committed(key, &check.said[key as usize], log, stored);
            } else if stored.message.subject != Subject::Message {
                check.entered(log, stored.seq);
                spec.entered(log, stored);
            }
        }
    }
}

/// A conversation by the numbers of its users, or of its group.
pub(super) fn log(conversation: &Conversation) -> (u32, u32) {
    let number = |id: &str| wire::index(id).map_or(u32::MAX, u32::from);
    match conversation {
        Conversation::Direct(one, other) => {
            let (one, other) = (number(one.as_str()), number(other.as_str()));
            (one.min(other), one.max(other))
        }
        Conversation::Group(group) => (u32::MAX, number(group.as_str())),
    }
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
    pub(super) fn commit(&mut self, life: Life, ticket: u64, request: Request, fate: Fate) {
        if !self.lives(life) {
            return self.tally.add(Fault::RequestDied);
        }
        let answer = if fate.committed {
            // Who gets no answer may ask again; for a message, that must change nothing.
            if let (Request::StoreMessage(_), false) = (&request, fate.answered) {
                self.store.apply(&mut self.check, &mut self.spec, request.clone());
            }
            self.store.apply(&mut self.check, &mut self.spec, request)
        } else {
            undone(ticket)
        };
        let answer = if fate.failed { undone(ticket) } else { answer };
        self.trace.arrived(self.now_us);
        let told_us = self.follow_changes(life.shard);
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
            *last_us = (self.now_us + fate.back_us).max(*last_us).max(told_us);
            self.queue.push(*last_us, Happening::Answer { life, ticket, answer });
        }
    }

    /// Tells of what a request has changed in the directory. Gives when this shard knows it: before that it gets no
    /// answer.
    fn follow_changes(&mut self, shard: usize) -> u64 {
        let mut told_us = 0;
        for change in self.store.model.take_announcements() {
            let revision = change.revision;
            let (group, member) = match &change.kind {
                DirectoryChangeKind::Joined(group) => (group, true),
                DirectoryChangeKind::Left(group) => (group, false),
                DirectoryChangeKind::Avatar(_) => continue,
            };
            let numbers = (wire::index(group.as_str()), wire::index(change.user.as_str()));
            self.tell_shards(Some(change));
            if let (Some(group), Some(user)) = numbers
                && usize::from(group) < self.groups.len()
            {
                self.check.member(group, user, member, revision);
                let known_us = self.store.announced_us.iter().copied().max().unwrap_or(0).max(self.now_us);
                self.spec.membership(group, user, member, known_us);
            }
            told_us = self.store.announced_us[shard];
        }
        told_us
    }

    /// Whether the store has a user as a member of a group.
    pub(super) fn is_member(&self, user: UserNo, group: GroupNo) -> bool {
        self.store.model.is_member(&self.groups[group.index()], &self.users[user.index()])
    }

    /// Whether the store takes what a member writes to a group now.
    pub(super) fn may_write(&self, user: UserNo, group: GroupNo) -> bool {
        let (group, user) = (&self.groups[group.index()], &self.users[user.index()]);
        self.store.model.is_member(group, user) && !self.store.model.is_muted(group, user)
    }

    /// A membership changes, if it is a change.
    pub(super) fn change_member(&mut self, user: UserNo, group: GroupNo, member: bool) {
        if !self.store.knows(user) {
            return;
        }
        let before = self.is_member(user, group);
        let (group_id, user_id) = (&self.groups[group.index()], &self.users[user.index()]);
        let entries = self.store.model.log().len();
        let change = self.store.model.set_member(group_id, user_id, member);
        self.store.committed(entries, &mut self.check, &mut self.spec);
        // Nothing has changed if there is no such group yet.
        let member = self.is_member(user, group);
        if before != member {
            self.check.member(group.0, user.0, member, self.store.model.revision());
        }
        self.tell_shards(change);
        // With every node down nobody is told, and those that start know.
        let known_us = self.store.announced_us.iter().copied().max().unwrap_or(0).max(self.now_us);
        self.spec.membership(group.0, user.0, member, known_us);
    }

    /// A user has another picture.
    pub(super) fn change_avatar(&mut self, user: UserNo) {
        if !self.store.knows(user) {
            return;
        }
        let pictures = &mut self.store.pictures[user.index()];
        *pictures += 1;
        let picture = format!("a{}.{pictures}", user.index());
        let change = self.store.model.set_avatar(&self.users[user.index()], &picture);
        self.check.revision = self.store.model.revision();
        self.check.avatar(user.0, self.store.model.revision());
        self.tell_shards(change);
    }

    /// Every shard will be told of a change of the directory.
    fn tell_shards(&mut self, change: Option<DirectoryChange>) {
        let Some(change) = change else { return };
        let revision = change.revision;
        for shard in 0..self.shards.len() {
            // A process that is not there is told of nothing: it loads what it needs when it is.
            if !self.nodes[self.node_of(shard)].up {
                continue;
            }
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

/// What a store says that has not done something: half of the time, that it has no room.
const fn undone(ticket: u64) -> Answer {
    if ticket.is_multiple_of(2) { Answer::Full } else { Answer::Failed }
}
