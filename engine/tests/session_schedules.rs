//! Random schedules of several devices against an honest server that loses, repeats and reorders what it
//! pushes, loses connections, turns requests away, restarts, and loses the ends of its logs.
// A panic is how a test fails, in its helpers too; numbers here are small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use switchboard_engine::{
    ClientAction, ClientEvent, Content, Frame, GroupId, History, Instant, LinkId, LogCursor, LogMarks, Marks,
    MessageId, PendingSubmit, Recipient, Resume, Session, SessionConfig, SessionNotification, SessionState,
    UserId,
};
use switchboard_proto::{
    Message as _,
    v1::{self, RejectCode, client_frame, conversation::Peer, server_frame},
};

/// Alice has two devices.
const DEVICES: [&str; 4] = ["alice", "alice", "bob", "carol"];
/// Whose conversations they are; the last one is a group, of which carol reads only from her joining on.
const LOGS: [&[&str]; 3] = [&["alice", "bob"], &["alice", "carol"], &["alice", "bob", "carol"]];
const GROUP: usize = 2;
const CAROL_JOINS: u64 = 3;
const PENDING: usize = 3;
const FETCHES: usize = 2;
const PAGE: usize = 3;
const CURSORS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Submit {
        device: usize,
        log: usize,
    },
    Older {
        device: usize,
        log: usize,
        before: u64,
    },
    /// The user sees a conversation but for its last so many messages.
    Read {
        device: usize,
        log: usize,
        unread: u64,
    },
    /// A dialled link opens, or cannot be opened.
    Dialled {
        device: usize,
        opens: bool,
    },
    /// The server reads so many frames.
    Serve {
        device: usize,
        frames: usize,
    },
    /// So many answers arrive.
    Answer {
        device: usize,
        frames: usize,
    },
    /// A pushed message arrives, out of turn.
    Push {
        device: usize,
        which: usize,
        repeated: bool,
    },
    LosePush {
        device: usize,
        which: usize,
    },
    Drop {
        device: usize,
        close: Option<u16>,
    },
    Goodbye {
        device: usize,
    },
    /// The server cannot do the next so many requests; what is submitted is stored all the same, or is not.
    Busy {
        requests: u32,
        stored: bool,
    },
    RestartServer,
    /// The server's store comes back from a backup that lacks the ends of its logs.
    Restore {
        lost: usize,
    },
    RestartDevice {
        device: usize,
    },
    Wait {
        ms: u64,
    },
    TimeOut {
        device: usize,
    },
}

fn step(restarts: bool) -> impl Strategy<Value = Step> {
    let device = || 0..DEVICES.len();
    let close = prop::sample::select(vec![None, Some(1001), Some(1013), Some(4002)]);
    prop_oneof![
        14 => (device(), 0..LOGS.len()).prop_map(|(device, log)| Step::Submit { device, log }),
        2 => (device(), 0..LOGS.len(), 0..6_u64)
            .prop_map(|(device, log, before)| Step::Older { device, log, before }),
        4 => (device(), 0..LOGS.len(), 0..3_u64)
            .prop_map(|(device, log, unread)| Step::Read { device, log, unread }),
        8 => (device(), prop::bool::weighted(0.9)).prop_map(|(device, opens)| Step::Dialled { device, opens }),
        24 => (device(), 1..6_usize).prop_map(|(device, frames)| Step::Serve { device, frames }),
        24 => (device(), 1..6_usize).prop_map(|(device, frames)| Step::Answer { device, frames }),
        16 => (device(), any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(device, which, repeated)| Step::Push { device, which, repeated }),
        5 => (device(), any::<usize>()).prop_map(|(device, which)| Step::LosePush { device, which }),
        3 => (device(), close).prop_map(|(device, close)| Step::Drop { device, close }),
        1 => device().prop_map(|device| Step::Goodbye { device }),
        3 => (1..5_u32, any::<bool>()).prop_map(|(requests, stored)| Step::Busy { requests, stored }),
        1 => Just(Step::RestartServer),
        1 => (0..3_usize).prop_map(|lost| Step::Restore { lost }),
        4 => device().prop_map(move |device| match restarts {
            true => Step::RestartDevice { device },
            false => Step::TimeOut { device },
        }),
        6 => (0..20_000_u64).prop_map(|ms| Step::Wait { ms }),
        10 => device().prop_map(|device| Step::TimeOut { device }),
    ]
}

#[derive(Clone, Debug)]
struct Stored {
    from: &'static str,
    id: Bytes,
    content: v1::Content,
}

#[derive(Default)]
struct Log {
    epoch: u64,
    messages: Vec<Stored>,
    /// By user.
    marks: BTreeMap<&'static str, Marks>,
}

/// What a device's user sees, and what the device keeps over a restart.
#[derive(Default)]
struct App {
    /// Of every conversation its epoch and the messages since the last Reset, by place.
    logs: BTreeMap<usize, (u64, BTreeMap<u64, [u8; 16]>)>,
    cursors: BTreeMap<usize, (u64, u64)>,
    pending: Vec<PendingSubmit>,
    fates: BTreeMap<[u8; 16], bool>,
    /// Every (conversation, epoch, place) ever told.
    told: BTreeSet<(usize, u64, u64)>,
    /// Without a fate, and told to wait.
    delayed: BTreeSet<[u8; 16]>,
    older_asked: u64,
    older_answered: u64,
    resets: BTreeMap<usize, u64>,
    /// Of every conversation its epoch, the user's own marks and the other side's.
    marks: BTreeMap<usize, (u64, Marks, Marks)>,
    /// The last place seen of every (conversation, epoch).
    read: BTreeMap<(usize, u64), u64>,
}

enum Wire {
    None,
    Dialled(LinkId),
    Open { link: LinkId, greeted: bool, submits: usize, fetches: usize },
}

struct Device {
    session: Session,
    user: &'static str,
    app: App,
    wire: Wire,
    to_server: VecDeque<Bytes>,
    answers: VecDeque<Bytes>,
    pushes: Vec<Bytes>,
}

struct World {
    now: Instant,
    logs: Vec<Log>,
    devices: Vec<Device>,
    submitted: u64,
    epochs: u64,
    busy: (u32, bool),
    /// Messages that a restored store has lost.
    lost: BTreeSet<[u8; 16]>,
    history: History,
}

fn config(user: &str, history: History) -> SessionConfig {
    let mut config = SessionConfig { history, ..SessionConfig::new(UserId::new(user).unwrap()) };
    config.limits.hello_cursors = CURSORS as u32;
    config.limits.early_messages = 4;
    config
}

fn recipient(log: usize, user: &str) -> Recipient {
    if log == GROUP {
        return Recipient::Group(GroupId::new("group").unwrap());
    }
    let other = LOGS[log].iter().find(|member| **member != user).unwrap();
    Recipient::User(UserId::new(other).unwrap())
}

fn conversation(log: usize, user: &str) -> Option<v1::Conversation> {
    let peer = match recipient(log, user) {
        Recipient::User(user) => Peer::User(user.as_str().into()),
        Recipient::Group(group) => Peer::Group(group.as_str().into()),
    };
    Some(v1::Conversation { peer: Some(peer) })
}

fn log_of(user: &str, conversation: &v1::Conversation) -> usize {
    (0..LOGS.len())
        .filter(|log| LOGS[*log].contains(&user))
        .find(|log| self::conversation(*log, user).as_ref() == Some(conversation))
        .expect("a conversation of the user")
}

fn first_seq(log: usize, user: &str) -> u64 {
    if log == GROUP && user == "carol" { CAROL_JOINS } else { 1 }
}

fn frame(body: server_frame::Body) -> Bytes {
    v1::ServerFrame { body: Some(body) }.encode_to_vec().into()
}

impl World {
    fn new(history: History) -> Self {
        let devices = DEVICES.iter().enumerate().map(|(number, user)| {
            let resume = Resume { device_id: [number as u8; 16], ..Resume::default() };
            Device {
                session: Session::new(config(user, history), number as u64, Instant::ZERO, resume),
                user,
                app: App::default(),
                wire: Wire::None,
                to_server: VecDeque::new(),
                answers: VecDeque::new(),
                pushes: Vec::new(),
            }
        });
        let mut world = Self {
            now: Instant::ZERO,
            logs: LOGS.iter().map(|_| Log::default()).collect(),
            devices: devices.collect(),
            submitted: 0,
            epochs: 0,
            busy: (0, false),
            lost: BTreeSet::new(),
            history,
        };
        for device in 0..DEVICES.len() {
            world.devices[device].session.connect(Instant::ZERO);
            world.drain(device);
        }
        world
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Submit { device, log } => self.submit(device, log),
            Step::Older { device, log, before } => {
                let user = self.devices[device].user;
                if LOGS[log].contains(&user) && before != 1 {
                    let Device { session, app, .. } = &mut self.devices[device];
                    let asked = session.fetch_older(self.now, recipient(log, user), before, 2);
                    app.older_asked += u64::from(asked.is_ok());
                    self.drain(device);
                }
            }
            Step::Read { device, log, unread } => self.see(device, log, unread),
            Step::Dialled { device, opens } => self.dialled(device, opens),
            Step::Serve { device, frames } => (0..frames).for_each(|_| _ = self.serve(device)),
            Step::Answer { device, frames } => (0..frames).for_each(|_| _ = self.answer(device)),
            Step::Push { device, which, repeated } => {
                let pushes = &mut self.devices[device].pushes;
                if !pushes.is_empty() {
                    let which = which % pushes.len();
                    let push = if repeated { pushes[which].clone() } else { pushes.remove(which) };
                    self.receive(device, push);
                }
            }
            Step::LosePush { device, which } => {
                let pushes = &mut self.devices[device].pushes;
                if !pushes.is_empty() {
                    pushes.remove(which % pushes.len());
                }
            }
            Step::Drop { device, close } => self.drop_link(device, close),
            Step::Goodbye { device } => {
                let goodbye =
                    v1::Goodbye { text: "restart".into(), reconnect_after_ms: 500, reconnect_spread_ms: 500 };
                if let Wire::Open { greeted: true, .. } = self.devices[device].wire {
                    self.devices[device].answers.push_back(frame(server_frame::Body::Goodbye(goodbye)));
                }
            }
            Step::Busy { requests, stored } => self.busy = (requests, stored),
            Step::RestartServer => (0..DEVICES.len()).for_each(|device| self.drop_link(device, Some(1001))),
            Step::Restore { lost } => self.restore(lost),
            Step::RestartDevice { device } => self.restart(device),
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms);
                (0..DEVICES.len()).for_each(|device| self.time_out(device));
            }
            Step::TimeOut { device } => {
                if let Some(due) = self.devices[device].session.poll_timeout() {
                    self.now = self.now.max(due);
                    self.time_out(device);
                }
            }
        }
    }

    fn submit(&mut self, device: usize, log: usize) {
        let user = self.devices[device].user;
        // Nobody says anything before joining.
        if !LOGS[log].contains(&user) || (self.logs[log].messages.len() as u64) + 1 < first_seq(log, user) {
            return;
        }
        self.submitted += 1;
        let mut id = [device as u8; 16];
        id[..8].copy_from_slice(&self.submitted.to_be_bytes());
        let content = Content::text(&self.submitted.to_string());
        let submit =
            PendingSubmit { id: MessageId(id), conversation: recipient(log, user), content: content.clone() };
        let Device { session, app, .. } = &mut self.devices[device];
        session.submit(self.now, submit.id, submit.conversation.clone(), content).unwrap();
        app.pending.push(submit);
        self.drain(device);
    }

    fn see(&mut self, device: usize, log: usize, unread: u64) {
        let Device { session, user, app, .. } = &mut self.devices[device];
        let Some((epoch, cursor)) = app.cursors.get(&log).copied() else { return };
        let seq = cursor.saturating_sub(unread);
        if session.mark_read(self.now, &recipient(log, user), seq) {
            app.read.insert((log, epoch), seq);
        }
        self.drain(device);
    }

    fn dialled(&mut self, device: usize, opens: bool) {
        if let Wire::Dialled(link) = self.devices[device].wire {
            let event =
                if opens { ClientEvent::Opened { link } } else { ClientEvent::ConnectFailed { link } };
            self.devices[device].wire = match opens {
                true => Wire::Open { link, greeted: false, submits: 0, fetches: 0 },
                false => Wire::None,
            };
            self.event(device, event);
        }
    }

    fn drop_link(&mut self, device: usize, close: Option<u16>) {
        if let Wire::Open { link, .. } = self.devices[device].wire {
            self.cut(device);
            self.event(device, ClientEvent::Disconnected { link, close });
        }
    }

    /// What is on its way over a link that is gone is gone too.
    fn cut(&mut self, device: usize) {
        let device = &mut self.devices[device];
        device.wire = Wire::None;
        device.to_server.clear();
        device.answers.clear();
        device.pushes.clear();
    }

    fn restore(&mut self, lost: usize) {
        (0..DEVICES.len()).for_each(|device| self.drop_link(device, Some(1001)));
        for log in &mut self.logs {
            // The backup is younger than carol's joining.
            let shortest = log.messages.len().min(CAROL_JOINS as usize - 1);
            let kept = log.messages.len().saturating_sub(lost).max(shortest);
            for message in log.messages.drain(kept..) {
                self.lost.insert(message.id.as_ref().try_into().unwrap());
            }
            let head = log.messages.len() as u64;
            for marks in log.marks.values_mut() {
                *marks = Marks { delivered: marks.delivered.min(head), read: marks.read.min(head) };
            }
            self.epochs += 1;
            log.epoch = if log.messages.is_empty() { 0 } else { self.epochs };
        }
    }

    /// The device's program ends and is started again with what it has kept.
    fn restart(&mut self, device: usize) {
        self.cut(device);
        let kept = &self.devices[device];
        let cursors = kept.app.cursors.iter().map(|(log, (epoch, seq))| LogCursor {
            conversation: recipient(*log, kept.user),
            epoch: *epoch,
            seq: *seq,
        });
        let resume = Resume {
            device_id: [device as u8; 16],
            cursors: cursors.collect(),
            marks: kept
                .app
                .kept_marks()
                .map(|(log, epoch, own, peer)| LogMarks {
                    conversation: recipient(log, kept.user),
                    epoch,
                    own,
                    peer,
                })
                .collect(),
            submits: kept.app.pending.clone(),
        };
        let sorted = |mut resume: Resume| {
            resume.cursors.sort_by_key(|cursor| format!("{cursor:?}"));
            resume.marks.sort_by_key(|marks| format!("{marks:?}"));
            resume
        };
        assert_eq!(sorted(kept.session.resume()), sorted(resume.clone()), "notifications say all of it");
        // Requests for older messages are not kept.
        let config = config(kept.user, self.history);
        let app = &mut self.devices[device].app;
        app.older_asked = app.older_answered;
        app.delayed.clear();
        self.devices[device].session = Session::new(config, device as u64 + 100, self.now, resume);
        self.devices[device].session.connect(self.now);
        self.drain(device);
    }

    fn time_out(&mut self, device: usize) {
        self.devices[device].session.handle_timeout(self.now);
        self.drain(device);
        let due = self.devices[device].session.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "no time-out in the past");
    }

    fn event(&mut self, device: usize, event: ClientEvent) {
        self.devices[device].session.handle(self.now, event);
        self.drain(device);
    }

    fn receive(&mut self, device: usize, message: Bytes) {
        if let Wire::Open { link, .. } = self.devices[device].wire {
            self.event(device, ClientEvent::Received { link, message });
        }
    }

    fn answer(&mut self, device: usize) -> bool {
        let Some(answer) = self.devices[device].answers.pop_front() else { return false };
        let body = v1::ServerFrame::decode(answer.clone()).unwrap().body.unwrap();
        if let Wire::Open { submits, fetches, .. } = &mut self.devices[device].wire {
            match body {
                server_frame::Body::Accepted(_) | server_frame::Body::Rejected(_) => *submits -= 1,
                server_frame::Body::Page(_) | server_frame::Body::Unfetched(_) => *fetches -= 1,
                _ => {}
            }
        }
        let goodbye = matches!(body, server_frame::Body::Goodbye(_));
        self.receive(device, answer);
        if goodbye {
            self.drop_link(device, Some(1001));
        }
        true
    }

    fn drain(&mut self, device: usize) {
        while let Some(action) = self.devices[device].session.poll_action() {
            match action {
                ClientAction::Connect { link } => self.devices[device].wire = Wire::Dialled(link),
                ClientAction::Send { link, frame } => {
                    let payload_bytes = frame.payload().len() as u64;
                    if let Frame::Message(message) = frame {
                        self.devices[device].to_server.push_back(message);
                    }
                    let flushed = ClientEvent::Flushed { link, frames: 1, payload_bytes };
                    self.devices[device].session.handle(self.now, flushed);
                }
                ClientAction::Close { link, .. } => {
                    self.cut(device);
                    let gone = ClientEvent::Disconnected { link, close: None };
                    self.devices[device].session.handle(self.now, gone);
                }
                ClientAction::Abort { .. } => self.cut(device),
                ClientAction::Notify(notification) => self.notified(device, notification),
            }
        }
        let Device { session, app, .. } = &self.devices[device];
        let stats = session.stats();
        assert_eq!(stats.submitted, stats.accepted + stats.rejected + session.pending_submits() as u64);
        assert_eq!(session.pending_submits(), app.pending.len());
        assert_eq!((stats.protocol_errors, stats.misplaced_events), (0, 0), "an honest server");
    }

    fn notified(&mut self, device: usize, notification: SessionNotification) {
        let Device { app, user, .. } = &mut self.devices[device];
        let log_of = |conversation: &Recipient| {
            (0..LOGS.len())
                .filter(|log| LOGS[*log].contains(user))
                .find(|log| recipient(*log, user) == *conversation)
                .unwrap()
        };
        match notification {
            SessionNotification::Message { conversation, epoch, message } => {
                let log = log_of(&conversation);
                let (known, cursor) = app.cursors.get(&log).copied().unwrap_or((epoch, 0));
                assert_eq!((epoch, message.seq), (known, cursor + 1), "in order, without gaps");
                assert!(app.told.insert((log, epoch, message.seq)), "told once in an epoch");
                assert_eq!(message.own, message.from.as_str() == *user);
                app.cursors.insert(log, (epoch, message.seq));
                app.logs.entry(log).or_insert((epoch, BTreeMap::new())).1.insert(message.seq, message.id.0);
            }
            SessionNotification::Skipped { conversation, epoch, seq } => {
                let log = log_of(&conversation);
                let (known, cursor) = app.cursors.get(&log).copied().unwrap_or((epoch, 0));
                assert!(epoch == known && seq > cursor);
                let history = self.history != History::All && cursor == 0;
                assert!(history || seq < first_seq(log, user), "only what may not be read is skipped");
                app.cursors.insert(log, (epoch, seq));
            }
            SessionNotification::Notice { .. } => panic!("nobody runs this server"),
            SessionNotification::Reset { conversation } => {
                let log = log_of(&conversation);
                let forgotten = (app.cursors.remove(&log).is_some(), app.marks.remove(&log).is_some());
                assert!(forgotten.0 || forgotten.1, "something is forgotten");
                app.logs.remove(&log);
                *app.resets.entry(log).or_default() += 1;
            }
            SessionNotification::Accepted { id, .. } => {
                assert!(app.fates.insert(id.0, true).is_none(), "one fate");
                app.pending.retain(|pending| pending.id != id);
                app.delayed.remove(&id.0);
            }
            SessionNotification::Delayed { id, until, .. } => {
                assert!(app.pending.iter().any(|pending| pending.id == id), "it has no fate");
                assert!(app.delayed.insert(id.0), "told once");
                assert!(until > self.now);
            }
            SessionNotification::Rejected { .. } => panic!("this server rejects nothing for good"),
            SessionNotification::Older { messages, first_seq, .. } => {
                app.older_answered += 1;
                assert!(messages.first().is_none_or(|message| message.seq >= first_seq));
            }
            SessionNotification::NoOlder { .. } => app.older_answered += 1,
            SessionNotification::Marked { conversation, epoch, own, marks } => {
                let log = log_of(&conversation);
                let known = app.marks.entry(log).or_insert((epoch, Marks::default(), Marks::default()));
                if known.0 != epoch {
                    *known = (epoch, Marks::default(), Marks::default());
                }
                let known = if own { &mut known.1 } else { &mut known.2 };
                assert_eq!(known.max_of(marks), marks, "marks only move forwards");
                assert!(*known != marks && marks.read <= marks.delivered);
                *known = marks;
            }
            SessionNotification::Typing { .. } => panic!("nobody types"),
            SessionNotification::Named { .. } => panic!("there are no groups"),
            SessionNotification::StateChanged(_)
            | SessionNotification::Presence { .. }
            | SessionNotification::Call { .. }
            | SessionNotification::CaughtUp => {}
        }
    }

    /// The server reads one frame of a device.
    fn serve(&mut self, device: usize) -> bool {
        let Some(message) = self.devices[device].to_server.pop_front() else { return false };
        let body = v1::ClientFrame::decode(message).unwrap().body.unwrap();
        let user = self.devices[device].user;
        let Wire::Open { greeted, submits, fetches, .. } = &mut self.devices[device].wire else {
            return false;
        };
        assert_eq!(matches!(body, client_frame::Body::Hello(_)), !*greeted, "Hello first, and once");
        match body {
            client_frame::Body::Hello(hello) => {
                *greeted = true;
                let limits = v1::Limits {
                    pending: PENDING as u32,
                    fetches: FETCHES as u32,
                    page_messages: PAGE as u32,
                    cursors: CURSORS as u32,
                    messages_per_second: 100,
                    message_burst: 20,
                    ..v1::Limits::default()
                };
                let welcome = v1::Welcome {
                    user: user.into(),
                    heartbeat_interval_ms: 15_000,
                    resync_interval_ms: 30_000,
                    limits: Some(limits),
                    ..v1::Welcome::default()
                };
                self.devices[device].answers.push_back(frame(server_frame::Body::Welcome(welcome)));
                self.heads(device, &hello.cursors);
            }
            client_frame::Body::Resync(resync) => self.heads(device, &resync.cursors),
            client_frame::Body::Heartbeat(heartbeat) => {
                self.devices[device].answers.push_back(frame(server_frame::Body::Heartbeat(heartbeat)));
            }
            client_frame::Body::Submit(submit) => {
                *submits += 1;
                assert!(*submits <= PENDING);
                self.store(device, submit);
            }
            client_frame::Body::Fetch(fetch) => {
                *fetches += 1;
                assert!(*fetches <= FETCHES);
                let answer = self.read(user, fetch);
                self.devices[device].answers.push_back(answer);
            }
            client_frame::Body::Mark(mark) => self.mark(device, &mark),
            client_frame::Body::Typing(_) | client_frame::Body::Watch(_) | client_frame::Body::Call(_) => {}
        }
        true
    }

    fn heads(&mut self, device: usize, cursors: &[v1::Cursor]) {
        assert!(cursors.len() <= CURSORS);
        let user = self.devices[device].user;
        for (number, log) in self.logs.iter().enumerate() {
            let (conversation, seq) = (conversation(number, user), log.messages.len() as u64);
            let (own, peer) = log.marks_for(number, user);
            let named = |cursor: &v1::Cursor| {
                cursor.conversation == conversation
                    && (cursor.epoch, cursor.seq) == (log.epoch, seq)
                    && (unwired(cursor.own), unwired(cursor.peer)) == (own, peer)
            };
            if LOGS[number].contains(&user) && seq > 0 && !cursors.iter().any(named) {
                let head = v1::Head {
                    conversation,
                    epoch: log.epoch,
                    seq,
                    first_seq: first_seq(number, user),
                    own: wired(own),
                    peer: wired(peer),
                };
                let heads = v1::Heads { heads: vec![head], last: false };
                self.devices[device].answers.push_back(frame(server_frame::Body::Heads(heads)));
            }
        }
        let last = v1::Heads { heads: Vec::new(), last: true };
        self.devices[device].answers.push_back(frame(server_frame::Body::Heads(last)));
    }

    fn store(&mut self, device: usize, submit: v1::Submit) {
        let user = self.devices[device].user;
        let number = log_of(user, submit.conversation.as_ref().unwrap());
        let (busy, stored) = self.busy;
        self.busy.0 = busy.saturating_sub(1);
        if busy == 0 || stored {
            self.commit(device, number, &submit);
        }
        let log = &self.logs[number];
        let answer = if busy > 0 {
            let code = if stored { RejectCode::Unavailable } else { RejectCode::Busy };
            let rejected =
                v1::Rejected { message_id: submit.message_id, code: code.into(), text: "later".into() };
            server_frame::Body::Rejected(rejected)
        } else {
            let place = log.messages.iter().position(|message| message.id == submit.message_id).unwrap();
            server_frame::Body::Accepted(v1::Accepted {
                message_id: submit.message_id,
                conversation: conversation(number, user),
                epoch: log.epoch,
                seq: place as u64 + 1,
                stored_at_ms: 0,
            })
        };
        self.devices[device].answers.push_back(frame(answer));
    }

    /// Stores a message unless it is stored, and pushes it to everybody else.
    fn commit(&mut self, device: usize, number: usize, submit: &v1::Submit) {
        let from = self.devices[device].user;
        let log = &mut self.logs[number];
        if log.messages.iter().any(|message| message.id == submit.message_id) {
            return;
        }
        if log.messages.is_empty() {
            self.epochs += 1;
            log.epoch = self.epochs;
        }
        let (id, content) = (submit.message_id.clone(), submit.content.clone().unwrap());
        log.messages.push(Stored { from, id, content });
        let (epoch, seq) = (log.epoch, log.messages.len() as u64);
        for (other, device_of_other) in self.devices.iter_mut().enumerate() {
            let user = device_of_other.user;
            let entitled = LOGS[number].contains(&user) && seq >= first_seq(number, user);
            if other != device && entitled && matches!(device_of_other.wire, Wire::Open { greeted: true, .. })
            {
                let delivery = delivery(&self.logs[number].messages[seq as usize - 1], seq);
                let delivery = v1::Delivery { conversation: conversation(number, user), epoch, ..delivery };
                // Not before the Welcome has arrived; afterwards at any time.
                match device_of_other.answers.is_empty() {
                    true => device_of_other.pushes.push(frame(server_frame::Body::Delivery(delivery))),
                    false => device_of_other.answers.push_back(frame(server_frame::Body::Delivery(delivery))),
                }
            }
        }
    }

    /// Moves marks forwards, and tells who is to know; a busy store loses them.
    fn mark(&mut self, device: usize, mark: &v1::Mark) {
        let user = self.devices[device].user;
        let number = log_of(user, mark.conversation.as_ref().unwrap());
        let log = &mut self.logs[number];
        let (marks, head) = (unwired(mark.marks), log.messages.len() as u64);
        assert!(marks.read <= marks.delivered && marks.delivered > 0 && mark.epoch > 0);
        if self.busy.0 > 0 || mark.epoch != log.epoch {
            return;
        }
        assert!(marks.delivered <= head, "nobody has what was not said");
        let known = log.marks.entry(user).or_default();
        let moved = known.max_of(marks);
        if moved == *known {
            return;
        }
        *known = moved;
        let epoch = log.epoch;
        for (other, device_of_other) in self.devices.iter_mut().enumerate() {
            let to = device_of_other.user;
            let entitled = to == user || (number != GROUP && LOGS[number].contains(&to));
            if other != device && entitled && matches!(device_of_other.wire, Wire::Open { greeted: true, .. })
            {
                let marked = frame(server_frame::Body::Marked(v1::Marked {
                    conversation: conversation(number, to),
                    epoch,
                    user: user.into(),
                    marks: wired(moved),
                }));
                match device_of_other.answers.is_empty() {
                    true => device_of_other.pushes.push(marked),
                    false => device_of_other.answers.push_back(marked),
                }
            }
        }
    }

    fn read(&mut self, user: &str, fetch: v1::Fetch) -> Bytes {
        if self.busy.0 > 0 {
            self.busy.0 -= 1;
            let code = RejectCode::Busy.into();
            let unfetched = v1::Unfetched { fetch_id: fetch.fetch_id, code, text: "later".into() };
            return frame(server_frame::Body::Unfetched(unfetched));
        }
        let number = log_of(user, fetch.conversation.as_ref().unwrap());
        let (log, first) = (&self.logs[number], first_seq(number, user));
        let head = log.messages.len() as u64;
        let limit = if fetch.limit == 0 { PAGE as u64 } else { u64::from(fetch.limit).min(PAGE as u64) };
        let range = if fetch.backwards {
            let to = if fetch.from_seq == 0 { head } else { fetch.from_seq.min(head) };
            (to + 1).saturating_sub(limit).max(first)..=to
        } else {
            let from = fetch.from_seq.max(first);
            from..=(from + limit - 1).min(head)
        };
        let messages = range.map(|seq| delivery(&log.messages[seq as usize - 1], seq)).collect();
        frame(server_frame::Body::Page(v1::Page {
            fetch_id: fetch.fetch_id,
            conversation: fetch.conversation,
            epoch: log.epoch,
            messages,
            head_seq: head,
            first_seq: first,
            group_name: String::new(),
        }))
    }

    /// No more faults: gives the virtual time until nothing is missing.
    fn heal(&mut self) -> Duration {
        self.busy = (0, false);
        let start = self.now;
        // Nothing is pushed any more: only what the devices ask for tells them what they lack.
        self.devices.iter_mut().for_each(|device| device.pushes.clear());
        while !self.has_converged() {
            for device in 0..DEVICES.len() {
                self.dialled(device, true);
                while self.serve(device) || self.answer(device) {}
            }
            if self.has_converged() {
                break;
            }
            let due = self.devices.iter().filter_map(|device| device.session.poll_timeout()).min();
            self.now = self.now.max(due.expect("something is to come"));
            (0..DEVICES.len()).for_each(|device| self.time_out(device));
            let healing = self.now.saturating_since(start);
            assert!(healing < Duration::from_secs(300), "not converged after {healing:?}");
        }
        self.now.saturating_since(start)
    }

    fn has_converged(&self) -> bool {
        self.devices.iter().all(|device| {
            let settled = device.app.pending.is_empty()
                && device.session.state() == SessionState::Online
                && device.app.older_asked == device.app.older_answered;
            settled && self.logs_of(device) == self.seen_by(device) && self.knows_marks(device)
        })
    }

    /// Whether a device and the server agree on all marks.
    fn knows_marks(&self, device: &Device) -> bool {
        self.logs_of(device).into_iter().all(|(number, ..)| {
            let known = device.session.marks(&recipient(number, device.user));
            known == Some(self.logs[number].marks_for(number, device.user))
        })
    }

    fn logs_of(&self, device: &Device) -> Vec<(usize, u64, u64)> {
        let logs = self
            .logs
            .iter()
            .enumerate()
            .filter(|(number, log)| LOGS[*number].contains(&device.user) && !log.messages.is_empty());
        logs.map(|(number, log)| (number, log.epoch, log.messages.len() as u64)).collect()
    }

    /// Without logs that the server has lost altogether.
    fn seen_by(&self, device: &Device) -> Vec<(usize, u64, u64)> {
        let cursors =
            device.app.cursors.iter().filter(|(number, _)| !self.logs[**number].messages.is_empty());
        cursors.map(|(number, (epoch, seq))| (*number, *epoch, *seq)).collect()
    }

    fn check(&self) {
        for device in &self.devices {
            for (number, (_, seen)) in &device.app.logs {
                let log = &self.logs[*number];
                if log.messages.is_empty() {
                    continue;
                }
                let first = match self.history {
                    History::All => first_seq(*number, device.user),
                    History::Latest(_) => *seen.keys().next().unwrap(),
                };
                let stored = log.messages.iter().enumerate().skip(first as usize - 1);
                let stored: BTreeMap<u64, [u8; 16]> =
                    stored.map(|(place, m)| (place as u64 + 1, m.id.as_ref().try_into().unwrap())).collect();
                assert_eq!(*seen, stored, "{} sees the whole log {number}", device.user);
            }
            self.check_marks(device);
            let resets: u64 = device.app.resets.values().sum();
            assert!(resets <= self.epochs, "no more resets than epochs");
        }
        let mut stored = BTreeMap::new();
        for message in self.logs.iter().flat_map(|log| &log.messages) {
            *stored.entry(<[u8; 16]>::try_from(message.id.as_ref()).unwrap()).or_insert(0) += 1;
        }
        for id in self.devices.iter().flat_map(|device| device.app.fates.keys()) {
            assert!(stored.get(id) == Some(&1) || self.lost.contains(id), "stored once");
        }
        assert_eq!(self.devices.iter().map(|d| d.app.fates.len() as u64).sum::<u64>(), self.submitted);
        self.check_order();
    }

    /// What others have said to a user and what the user has seen is marked.
    fn check_marks(&self, device: &Device) {
        for (number, epoch, _) in self.logs_of(device) {
            let log = &self.logs[number];
            let (own, _) = log.marks_for(number, device.user);
            let heard = log.messages.iter().enumerate().filter(|(place, message)| {
                message.from != device.user && device.app.told.contains(&(number, epoch, *place as u64 + 1))
            });
            let arrived = heard.map(|(place, _)| place as u64 + 1).max().unwrap_or(0);
            assert!(own.delivered >= arrived, "{} has {arrived} of {number}, not {own:?}", device.user);
            let read = device.app.read.get(&(number, epoch)).copied().unwrap_or(0);
            assert!(own.read >= read && own.read <= own.delivered, "{read} is seen, not {own:?}");
        }
    }

    /// What one device says in one conversation is stored in the order in which it was said.
    fn check_order(&self) {
        for log in &self.logs {
            for device in 0..DEVICES.len() {
                let said = log.messages.iter().filter(|message| message.id[15] == device as u8);
                let said: Vec<_> = said.map(|message| message.id.clone()).collect();
                assert!(said.is_sorted(), "in the order of submitting");
            }
        }
    }

    fn digests(&self) -> Vec<(u64, u64)> {
        self.devices.iter().map(|d| (d.session.state_digest(), d.session.full_digest())).collect()
    }
}

impl Log {
    /// A user's own marks and those of the other side.
    fn marks_for(&self, number: usize, user: &str) -> (Marks, Marks) {
        let of = |user: &str| self.marks.get(user).copied().unwrap_or_default();
        let other = LOGS[number].iter().find(|member| number != GROUP && **member != user);
        (of(user), other.map_or_else(Marks::default, |other| of(other)))
    }
}

impl App {
    /// Marks that are of the logs that the cursors are of.
    fn kept_marks(&self) -> impl Iterator<Item = (usize, u64, Marks, Marks)> {
        self.cursors.iter().filter_map(|(log, (epoch, _))| {
            let (of, own, peer) = self.marks.get(log).copied()?;
            (of == *epoch).then_some((*log, of, own, peer))
        })
    }
}

fn wired(marks: Marks) -> Option<v1::Marks> {
    let some = v1::Marks { delivered_seq: marks.delivered, read_seq: marks.read };
    (marks != Marks::default()).then_some(some)
}

fn unwired(marks: Option<v1::Marks>) -> Marks {
    marks.map_or_else(Marks::default, |marks| Marks { delivered: marks.delivered_seq, read: marks.read_seq })
}

fn delivery(stored: &Stored, seq: u64) -> v1::Delivery {
    v1::Delivery {
        seq,
        message_id: stored.id.clone(),
        from: stored.from.into(),
        content: Some(stored.content.clone()),
        ..v1::Delivery::default()
    }
}

fn run(steps: &[Step], history: History) -> World {
    let mut world = World::new(history);
    steps.iter().for_each(|step| world.run(step));
    world
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_log_is_told_in_order_and_every_submit_has_one_fate(
        steps in prop::collection::vec(step(false), 1..400)
    ) {
        let mut world = run(&steps, History::All);
        world.heal();
        world.check();
    }

    #[test]
    fn the_same_holds_for_devices_that_restart_with_what_they_have_kept(
        steps in prop::collection::vec(step(true), 1..400)
    ) {
        let mut world = run(&steps, History::All);
        world.heal();
        world.check();
    }

    #[test]
    fn the_same_holds_for_what_follows_when_only_the_latest_are_wanted(
        steps in prop::collection::vec(step(true), 1..300),
        latest in 0..4_u32,
    ) {
        let mut world = run(&steps, History::Latest(latest));
        world.heal();
        world.check();
    }

    #[test]
    fn the_same_schedule_leads_to_the_same_states(steps in prop::collection::vec(step(true), 1..150)) {
        prop_assert_eq!(run(&steps, History::All).digests(), run(&steps, History::All).digests());
    }
}
