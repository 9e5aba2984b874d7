//! The store's contract as a model: what it answers, what it keeps, and what it announces, without time.
//!
//! One gapless log a conversation, with an epoch of its own, idempotent by (sender, id) for ever; heads and logs
//! are read by those who take part, members of a group from their last joining on; membership is checked at the commit;
//! changes of the directory are numbered in one sequence. When a request is done, and whether at all, is up to
//! the world. The suite in `sim/tests/contract` holds this model and the runtime's store to the same cases.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use data_url::DataUrl;
use switchboard_engine::{
    Answer, Denial, DirectoryChange, DirectoryChangeKind, FileKind, FileSource, FileUpload, GroupId, Marks,
    NewMessage, Place, Recipient, Request, Subject, UserId, UserProfile,
};

use crate::check::Table;

mod amend;
mod backup;
mod groups;
mod marks;
mod reads;
mod received;
mod seen;

use groups::Group;

/// Defines the store's deliberate bugs: variant, name, what is wrong.
macro_rules! canaries {
    ($($variant:ident $name:literal $text:literal)*) => {
        /// Deliberate bugs of the simulator's store.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StoreCanary {
            $(#[doc = $text] $variant,)*
        }

        impl StoreCanary {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name that reports use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

canaries! {
    SeqSkips "store-seq-skips" "A place in the log is left out."
    SeqRepeats "store-seq-repeats" "A place in the log is given twice."
    RefusedTakesSeq "store-refused-takes-seq" "A message that is refused takes a place in the log."
    StoresTwice "store-stores-twice" "A message is stored twice."
    ForgetsIds "store-forgets-ids" "A message that is sent again is stored again."
    AnswersUncommitted "store-answers-uncommitted" "A message is acknowledged and not kept."
    AnswersEarly "store-answers-early" "A message is acknowledged, and committed with the next one; a crash loses it."
    AnswersSwapped "store-answers-swapped" "A message is given the answer of the one before."
    SplitsDirections "store-splits-directions" "The two directions of a direct conversation have a log each."
    MembershipUnchecked "store-membership-unchecked" "Who has left a group can still write to it."
    ChangeUnannounced "store-change-unannounced" "A change of the directory is not announced."
    RevisionRepeats "store-revision-repeats" "Two changes of the directory have one revision."
    ReceivedOverGaps "store-received-over-gaps" "What has arrived counts although something before it has not."
    MarksBackwards "store-marks-backwards" "Marks are what was asked for last, be that earlier."
    MarksBeyondHead "store-marks-beyond-head" "Marks are taken of messages that nobody has sent."
    MarksOfEveryLog "store-marks-of-every-log" "Marks of another log are taken."
    MarksOutliveMembers "store-marks-outlive-members" "Who joins a group again has the marks of before."
    StaleSnapshot "store-stale-snapshot" "A user is loaded as before the last change, with the new revision."
    RolesUnchecked "store-roles-unchecked" "Members do to a group what only its admins and owners may."
    KickKeepsMember "store-kick-keeps-member" "Who is removed from a group by a member of it stays in it."
    MutedMayWrite "store-muted-may-write" "Who is muted can write all the same."
    EditsOfOthers "store-edits-of-others" "Anybody may edit and recall what others have said."
    RecalledIsEdited "store-recalled-is-edited" "What was recalled is edited all the same."
    EditNotShown "store-edit-not-shown" "A message that was edited is given as it was."
    RecallKeepsText "store-recall-keeps-text" "A message that was recalled is given with its text."
    FormerReadsOn "store-former-reads-on" "Who has left a group reads what is said there afterwards."
}

/// Which conversation a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conversation {
    /// The one of two users, the lesser id first; of a user with itself if they are the same.
    Direct(UserId, UserId),
    /// A group's.
    Group(GroupId),
}

impl Conversation {
    /// The conversation of a sender and a recipient.
    #[must_use]
    pub fn of(sender: &UserId, recipient: &Recipient) -> Self {
        match recipient {
            Recipient::User(user) => Self::Direct(sender.min(user).clone(), sender.max(user).clone()),
            Recipient::Group(group) => Self::Group(group.clone()),
        }
    }

    /// The epoch of its log. Stores draw it at random; here it follows from the names, so that worlds in which
    /// the same was said are the same. No two conversations of a test have the same.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch_in(0)
    }

    /// The same once the store was set back so many times.
    pub(crate) fn epoch_in(&self, restored: u64) -> u64 {
        let (kind, one, other) = match self {
            Self::Direct(one, other) => ("user", one.as_str(), other.as_str()),
            Self::Group(group) => ("group", group.as_str(), ""),
        };
        // FNV-1a, and never 0, which is the epoch of no log.
        let bytes = [kind, one, other].into_iter().flat_map(|name| name.bytes().chain([0xff]));
        let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let bytes = bytes.chain(restored.to_le_bytes().into_iter().take_while(|_| restored > 0));
        bytes.fold(0xcbf2_9ce4_8422_2325, hash) | 1
    }
}

/// A committed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub conversation: Conversation,
    /// Its place there, gapless from 1.
    pub seq: u64,
    /// When it was committed.
    pub stored_at_ms: i64,
    /// What was stored.
    pub message: Box<NewMessage>,
}

/// What the directory has of a user.
#[derive(Clone, Debug, Default)]
struct User {
    avatar: Box<str>,
    /// The groups before the last change, as a canary answers with.
    former: Option<Vec<GroupId>>,
}

/// The model of a store.
#[derive(Clone, Debug)]
pub struct SimStore {
    bug: Option<StoreCanary>,
    /// How often it was set back.
    restored: u64,
    /// Whether users that nobody has created come into being when they are named.
    provision: bool,
    users: BTreeMap<UserId, User>,
    /// Oldest first.
    groups: Vec<Group>,
    /// Changes of the directory that requests have made, and nobody was told of yet.
    announcements: Vec<DirectoryChange>,
    /// How far users are, as far as they have said so.
    marks: BTreeMap<(Conversation, UserId), Marks>,
    /// Up to where everything has arrived at the classic clients of users.
    received: BTreeMap<(UserId, Conversation), u64>,
    /// Who has come with a classic client.
    classic: BTreeSet<UserId>,
    revision: u64,
    changes: u64,
    heads: BTreeMap<Conversation, u64>,
    ids: Table<(UserId, [u8; 16]), Place>,
    log: Vec<Stored>,
    /// Names given to files, and how often.
    files: BTreeMap<Box<str>, u64>,
    /// Acknowledged, and not committed; only a canary has one.
    early: Option<Stored>,
    /// When users were last here.
    seen: BTreeMap<UserId, i64>,
    /// The last answer to a message.
    last: Answer,
}

/// How the names of files begin that are not there. All others are: sessions upload theirs past the engine.
const GONE: &str = "gone-";

impl SimStore {
    /// An empty store; `provision` says whether users come into being when they are loaded, write or are
    /// written to, as with open authentication.
    #[must_use]
    pub fn new(provision: bool) -> Self {
        Self {
            bug: None,
            restored: 0,
            provision,
            users: BTreeMap::new(),
            groups: Vec::new(),
            announcements: Vec::new(),
            marks: BTreeMap::new(),
            received: BTreeMap::new(),
            classic: BTreeSet::new(),
            revision: 0,
            changes: 0,
            heads: BTreeMap::new(),
            ids: Table::default(),
            log: Vec::new(),
            files: BTreeMap::new(),
            early: None,
            seen: BTreeMap::new(),
            last: Answer::Failed,
        }
    }

    /// Folds what decides its answers into a digest, but for the messages themselves, and for marks and where
    /// members read from, which only sessions ask.
    pub(crate) fn fold(&self, hasher: &mut impl core::hash::Hasher) {
        use core::hash::Hash as _;
        self.users.iter().for_each(|(user, state)| (user, &state.avatar).hash(hasher));
        self.groups.iter().for_each(|group| group.fold(hasher));
        self.revision.hash(hasher);
        self.restored.hash(hasher);
        self.heads.values().for_each(|head| head.hash(hasher));
        self.heads.keys().for_each(|conversation| match conversation {
            Conversation::Direct(one, other) => (one, other).hash(hasher),
            Conversation::Group(group) => group.hash(hasher),
        });
        self.classic.hash(hasher);
        self.received.values().for_each(|seq| seq.hash(hasher));
    }

    /// Plants a bug, or takes it out again.
    pub fn plant(&mut self, bug: Option<StoreCanary>) {
        self.bug = bug;
    }

    /// Creates a user, if there is none of this id.
    pub fn create_user(&mut self, user: UserId) {
        self.users.entry(user).or_default();
    }

    /// Creates a group with its first members. That is how the world is at the beginning: it is no change, and
    /// is not announced.
    pub fn create_group(&mut self, group: GroupId, members: Vec<UserId>) {
        self.groups.push(Group::founded(group, members));
    }

    /// Does a request; what comes of it is committed when this returns.
    pub fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::LoadUser(user) => self.load(&user),
            Request::StoreMessage(message) => {
                self.commit_early();
                let answer = self.store_entry(message);
                let before = core::mem::replace(&mut self.last, answer.clone());
                let swapped = self.has(StoreCanary::AnswersSwapped) && self.log.len().is_multiple_of(3);
                if swapped { before } else { answer }
            }
            Request::StoreFile(upload) => self.keep(&upload),
            Request::LoadHeads { user, after } => self.load_heads(&user, after),
            Request::LoadMessages(range) => self.load_messages(&range),
            Request::StoreMarks(new) => self.store_marks(&new),
            Request::StoreSeen(user) => self.store_seen(user),
            Request::LoadSeen { watcher, user } => self.load_seen(&watcher, &user),
            Request::StoreReceived(told) => self.store_received(&told),
            Request::LoadUnreceived { user, after } => self.load_unreceived(&user, after),
        }
    }

    /// The store dies and comes back: what was not committed is lost, and everything else is there.
    pub fn crash(&mut self) {
        if let Some(lost) = self.early.take() {
            self.ids.remove(&(lost.message.sender.clone(), lost.message.id.0));
            self.heads.insert(lost.conversation, lost.seq - 1);
        }
    }

    /// Gives a user another picture, by its file name. Gives what is to be announced, as
    /// [`set_member`](Self::set_member) does.
    pub fn set_avatar(&mut self, user: &UserId, avatar: &str) -> Option<DirectoryChange> {
        let known = self.users.get_mut(user).filter(|known| &*known.avatar != avatar)?;
        known.avatar = avatar.into();
        self.change(user, DirectoryChangeKind::Avatar(avatar.into()))
    }

    /// Whether a user belongs to a group.
    #[must_use]
    pub fn is_member(&self, group: &GroupId, user: &UserId) -> bool {
        self.group(group).is_some_and(|group| group.membership(user).is_some())
    }

    /// The state of the directory: the revision of its last change, 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All messages, in the order of their commits.
    #[must_use]
    pub fn log(&self) -> &[Stored] {
        &self.log
    }

    fn has(&self, bug: StoreCanary) -> bool {
        self.bug == Some(bug)
    }

    fn change(&mut self, user: &UserId, kind: DirectoryChangeKind) -> Option<DirectoryChange> {
        self.changes += 1;
        let odd = !self.changes.is_multiple_of(2);
        self.revision += u64::from(odd || !self.has(StoreCanary::RevisionRepeats));
        let change = DirectoryChange { revision: self.revision, user: user.clone(), kind };
        (odd || !self.has(StoreCanary::ChangeUnannounced)).then_some(change)
    }

    /// Whether a user exists, or does from now on.
    fn admit(&mut self, user: &UserId) -> bool {
        if self.provision && !self.users.contains_key(user) {
            self.create_user(user.clone());
        }
        self.users.contains_key(user)
    }

    fn avatar(&self, user: &UserId) -> Box<str> {
        self.users.get(user).map(|user| user.avatar.clone()).unwrap_or_default()
    }

    fn groups_of(&self, user: &UserId) -> Vec<GroupId> {
        let of_user = self.groups.iter().filter(|group| group.membership(user).is_some());
        of_user.map(|group| group.id.clone()).collect()
    }

    fn load(&mut self, user: &UserId) -> Answer {
        if !self.admit(user) {
            return Answer::Refused;
        }
        let Some(known) = self.users.get(user) else { return Answer::Failed };
        let former = known.former.as_ref().filter(|_| self.has(StoreCanary::StaleSnapshot));
        Answer::UserLoaded(UserProfile {
            avatar: known.avatar.clone(),
            groups: former.cloned().unwrap_or_else(|| self.groups_of(user)),
            revision: self.revision,
        })
    }

    fn store_entry(&mut self, entry: Box<NewMessage>) -> Answer {
        match (entry.subject.clone(), entry.recipient.clone()) {
            (Subject::Message, _) => self.store(entry),
            (Subject::Change(change), Recipient::Group(group)) => self.change_group(entry, &change, &group),
            (Subject::Edit { target_seq } | Subject::Recall { target_seq }, _) => {
                self.amend(entry, target_seq)
            }
            // A user has no members.
            (Subject::Change(_), Recipient::User(_)) => Answer::Failed,
        }
    }

    fn store(&mut self, message: Box<NewMessage>) -> Answer {
        if !self.admit(&message.sender) {
            return Answer::Refused;
        }
        let allowed = match &message.recipient {
            Recipient::User(user) => self.admit(user),
            Recipient::Group(group) => self.may_write(group, &message.sender),
        };
        // A message that was stored once stays stored, even if its sender has left the group since.
        if let Some(answer) = self.stored_earlier(&message) {
            return answer;
        }
        if !allowed {
            if self.has(StoreCanary::RefusedTakesSeq) {
                let conversation = Conversation::of(&message.sender, &message.recipient);
                *self.heads.entry(conversation).or_insert(0) += 1;
            }
            return Answer::Refused;
        }
        let muted = match &message.recipient {
            Recipient::User(_) => None,
            Recipient::Group(group) => self.muted(group, &message.sender),
        };
        if let Some(denial) = muted.filter(|_| !self.has(StoreCanary::MutedMayWrite)) {
            return Answer::Denied(denial);
        }
        if matches!(message.content_type, 2..=5) && message.url.starts_with(GONE) {
            return Answer::Denied(Denial::NoFile);
        }
        self.append(message)
    }

    /// What a sender is told whose entry's id is in the store already. One that is in another conversation was never
    /// stored in this one.
    fn stored_earlier(&self, entry: &NewMessage) -> Option<Answer> {
        let id = (entry.sender.clone(), entry.id.0);
        let place = self.ids.get(&id).filter(|_| !self.has(StoreCanary::ForgetsIds))?;
        let conversation = Conversation::of(&entry.sender, &entry.recipient);
        let is_there = |stored: &&Stored| stored.seq == place.seq && stored.conversation == conversation;
        let is_it = |stored: &Stored| stored.message.id == entry.id && stored.message.sender == entry.sender;
        match self.log.iter().find(is_there).is_some_and(is_it) {
            true => Some(Answer::StoredEarlier(*place)),
            false => Some(Answer::Denied(Denial::OtherConversation)),
        }
    }

    /// Whether a member may not write to a group now.
    #[must_use]
    pub fn is_muted(&self, group: &GroupId, user: &UserId) -> bool {
        self.muted(group, user).is_some()
    }

    /// Why a member may not write to a group now; none if it may.
    fn muted(&self, group: &GroupId, user: &UserId) -> Option<Denial> {
        self.group(group)?.membership(user)?.muted(self.now_ms())
    }

    /// There is no clock here: the number of commits stands for their time.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.log.len()).unwrap_or(i64::MAX)
    }

    /// Gives an entry that may be stored its place.
    fn append(&mut self, message: Box<NewMessage>) -> Answer {
        let id = (message.sender.clone(), message.id.0);
        let conversation = match &message.recipient {
            Recipient::User(user) if self.has(StoreCanary::SplitsDirections) => {
                Conversation::Direct(message.sender.clone(), user.clone())
            }
            recipient @ (Recipient::User(_) | Recipient::Group(_)) => {
                Conversation::of(&message.sender, recipient)
            }
        };
        let bug = self.bug;
        let head = self.heads.entry(conversation.clone()).or_insert(0);
        *head += match bug {
            Some(StoreCanary::SeqSkips) if *head == 2 => 2,
            Some(StoreCanary::SeqRepeats) if *head == 2 => 0,
            _ => 1,
        };
        let seq = *head;
        let stored_at_ms = self.now_ms();
        let place = Place { epoch: self.epoch_of(&conversation), seq, stored_at_ms };
        self.ids.insert(id, place);
        self.write(Stored { conversation, seq, stored_at_ms, message });
        Answer::MessageStored(place)
    }

    fn may_write(&self, group: &GroupId, user: &UserId) -> bool {
        let unchecked = self.has(StoreCanary::MembershipUnchecked) && self.group(group).is_some();
        unchecked || self.is_member(group, user)
    }

    /// Puts a message that has its place into the log.
    fn write(&mut self, stored: Stored) {
        // What the directory enters is committed with what it changes.
        let bug = self.bug.filter(|_| stored.message.subject == Subject::Message);
        match bug {
            Some(StoreCanary::AnswersUncommitted) if stored.seq.is_multiple_of(8) => {}
            Some(StoreCanary::AnswersEarly) => self.early = Some(stored),
            Some(StoreCanary::StoresTwice) if stored.seq == 3 => {
                self.heads.insert(stored.conversation.clone(), 4);
                self.log.push(stored.clone());
                self.log.push(Stored { seq: 4, ..stored });
            }
            _ => self.log.push(stored),
        }
    }

    fn commit_early(&mut self) {
        self.log.extend(self.early.take());
    }

    /// Keeps a file: under its suffix as far as that is safe, with a number if the name was given before.
    fn keep(&mut self, upload: &FileUpload) -> Answer {
        let contents = match &upload.source {
            FileSource::Bytes(bytes) => Some(Cow::Borrowed(&**bytes)),
            FileSource::DataUrl(url) => decode(url).map(Cow::Owned),
        };
        let Some(contents) = contents.filter(|contents| !contents.is_empty()) else { return Answer::Refused };
        let safe = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '.';
        let name: String = upload.suffix.chars().filter(safe).collect();
        let times = self.files.entry(name.as_str().into()).or_insert(0);
        *times += 1;
        let name = if *times == 1 { format!("f-{name}") } else { format!("f-{name}-{times}") };
        Answer::FileStored { name: name.into(), kind: kind(&contents, &upload.suffix) }
    }
}

/// The contents of a `data:` URL; none if it is malformed.
fn decode(url: &str) -> Option<Vec<u8>> {
    DataUrl::process(url).ok()?.decode_to_vec().ok().map(|(contents, _)| contents)
}

/// What a file is by its first bytes, else by its suffix.
fn kind(contents: &[u8], suffix: &str) -> FileKind {
    use infer::MatcherType;
    if let Some(found) = infer::get(contents) {
        let kinds = [
            (MatcherType::Image, FileKind::Image),
            (MatcherType::Audio, FileKind::Audio),
            (MatcherType::Video, FileKind::Video),
        ];
        let kind = kinds.iter().find(|(matcher, _)| *matcher == found.matcher_type());
        return kind.map_or(FileKind::Other, |(_, kind)| *kind);
    }
    match suffix.trim_start_matches('.').to_ascii_lowercase().as_str() {
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "bmp" => FileKind::Image,
        "mp3" | "m4a" | "ogg" | "wav" | "flac" | "aac" => FileKind::Audio,
        "mp4" | "webm" | "mkv" | "mov" | "avi" => FileKind::Video,
        _ => FileKind::Other,
    }
}
