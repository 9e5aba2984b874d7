//! Messages on their way through the store: whose turn it is, and what must follow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use switchboard_engine::{
    Answer, ConnId, ConnectionPhase, MessageId, NewMessage, OwnedAction, Place, Probe, Recipient, Record,
    Request, Server, Subject, Ticket, Topic, UserId,
};

use super::frames::Sent;
use super::{Held, Judge, Moment, hold};

/// Messages of which nobody can say when their turn comes, and that may be delivered: so many are remembered.
const FREE_LIMIT: usize = 4096;

/// A message whose turn it is: all before it of its connection are settled.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// Where it came from.
    pub(super) origin: ConnId,
    pub(super) new: Box<NewMessage>,
    pub(super) outcome: Outcome,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored(Place),
    Earlier(Place),
    Not,
}

impl Outcome {
    const fn of(answer: &Answer) -> Self {
        match answer {
            Answer::MessageStored(place) => Self::Stored(*place),
            Answer::StoredEarlier(place) => Self::Earlier(*place),
            Answer::UserLoaded(_)
            | Answer::FileStored { .. }
            | Answer::HeadsLoaded { .. }
            | Answer::MessagesLoaded(_)
            | Answer::MarksStored(_)
            | Answer::Seen { .. }
            | Answer::ReceivedStored
            | Answer::UnreceivedLoaded { .. }
            | Answer::Denied(_)
            | Answer::Refused
            | Answer::Failed
            | Answer::Full => Self::Not,
        }
    }
}

/// One message of a connection, from its first request on.
#[derive(Clone, Debug)]
struct Entry {
    /// The request that it waits for.
    ticket: Ticket,
    /// None while its file is kept.
    new: Option<Box<NewMessage>>,
    outcome: Option<Outcome>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    /// By connection, in their order.
    queues: BTreeMap<ConnId, VecDeque<Entry>>,
    origins: BTreeMap<Ticket, ConnId>,
    /// Requests of which is not known over which connection their messages came.
    loose: BTreeMap<Ticket, UserId>,
    /// By sender: how many of those there are. The turns of such a sender are not certain.
    blurred: BTreeMap<UserId, usize>,
    /// What is stored and may be delivered at any time.
    free: BTreeSet<(UserId, MessageId)>,
    free_order: VecDeque<(UserId, MessageId)>,
    /// The file whose message is about to be asked for.
    filed: Option<Ticket>,
}

impl Messages {
    /// The engine asks for something. `origin` is the connection whose message it is about, and whether it speaks the session
    /// protocol, `answered` what the event answers.
    pub(super) fn asked(
        &mut self,
        ticket: Ticket,
        request: &Request,
        origin: Option<(ConnId, bool)>,
        answered: Option<&Request>,
    ) -> Held {
        let (origin, is_session) = (origin.map(|(conn, _)| conn), origin.is_some_and(|(_, is)| is));
        let new = request.message();
        let owner = request.file().map(|upload| &upload.owner);
        let Some(sender) = new.map(|new| &new.sender).or(owner) else { return Ok(()) };
        let of_file = self.filed.filter(|_| answered.is_some_and(|request| request.file().is_some()));
        let origin = origin.or_else(|| of_file.and_then(|file| self.origins.get(&file).copied()));
        let Some(origin) = origin else {
            self.loose.insert(ticket, sender.clone());
            *self.blurred.entry(sender.clone()).or_default() += 1;
            return Ok(());
        };
        self.origins.insert(ticket, origin);
        let queue = self.queues.entry(origin).or_default();
        if let Some(new) = new {
            let same = queue.iter().filter_map(|entry| entry.new.as_ref()).find(|other| {
                other.id == new.id && other.sender == new.sender && other.content != new.content
            });
            // The ids of sessions' messages are their clients', which may give two of them the same: which one is stored is for the store to say.
            hold(same.is_none() || is_session, "exactly-once", || {
                format!("two messages of {sender} that say different things are stored under one id")
            })?;
            if let Some(entry) =
                queue.iter_mut().find(|entry| Some(entry.ticket) == of_file && entry.new.is_none())
            {
                entry.ticket = ticket;
                entry.new = Some(Box::new(new.clone()));
                return Ok(());
            }
        }
        queue.push_back(Entry { ticket, new: new.cloned().map(Box::new), outcome: None });
        Ok(())
    }

    /// An answer has come. Gives the messages whose turn it is now.
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        request: &Request,
        answer: &Answer,
        is_resumed: bool,
    ) -> Vec<Turn> {
        let (new, is_file) = (request.message(), request.file().is_some());
        if new.is_none() && !is_file {
            return Vec::new();
        }
        if let Some(new) = new
            && self.loose.contains_key(&ticket)
            && Outcome::of(answer) != Outcome::Not
        {
            self.set_free(&new.sender, new.id);
        }
        self.filed = is_file.then_some(ticket);
        if let Some(sender) = self.loose.remove(&ticket) {
            if let Some(count) = self.blurred.get_mut(&sender) {
                *count -= 1;
                if *count == 0 {
                    self.blurred.remove(&sender);
                }
            }
            return Vec::new();
        }
        let Some(origin) = self.origins.get(&ticket).copied() else { return Vec::new() };
        if !is_file || !matches!(answer, Answer::FileStored { .. }) {
            self.origins.remove(&ticket);
            if is_file {
                // What waited behind it is asked for now, and belongs to the same connection.
                self.origins.insert(ticket, origin);
            }
        }
        let Some(queue) = self.queues.get_mut(&origin) else { return Vec::new() };
        if let Some(entry) = queue.iter_mut().find(|entry| entry.ticket == ticket) {
            let is_kept = is_file && matches!(answer, Answer::FileStored { .. });
            entry.outcome = (!is_kept).then(|| Outcome::of(answer));
        }
        let mut turns = Vec::new();
        while let Some(outcome) = queue.front().and_then(|entry| entry.outcome) {
            let new = queue.pop_front().and_then(|entry| entry.new);
            turns.extend(new.map(|new| Turn { origin, new, outcome }));
        }
        if queue.is_empty() {
            self.queues.remove(&origin);
        }
        let blurred = |turn: &Turn| is_resumed || self.blurred.contains_key(&turn.new.sender);
        let (uncertain, certain): (Vec<_>, Vec<_>) = turns.into_iter().partition(blurred);
        for turn in &uncertain {
            self.set_free(&turn.new.sender, turn.new.id);
        }
        certain
    }

    fn set_free(&mut self, sender: &UserId, id: MessageId) {
        if self.free.insert((sender.clone(), id)) {
            self.free_order.push_back((sender.clone(), id));
        }
        if self.free_order.len() > FREE_LIMIT
            && let Some(oldest) = self.free_order.pop_front()
        {
            self.free.remove(&oldest);
        }
    }

    pub(super) fn is_free(&self, sender: &str, id: MessageId) -> bool {
        UserId::new(sender).is_ok_and(|sender| self.free.contains(&(sender, id)))
    }

    /// Whether anything of this sender may be delivered whose turn nobody can tell.
    pub(super) fn is_uncertain(&self, sender: &str) -> bool {
        let Ok(sender) = UserId::new(sender) else { return false };
        let any = (sender.clone(), MessageId([0; 16]));
        let has_free = self.free.range(any..).next().is_some_and(|(of, _)| *of == sender);
        has_free || self.blurred.contains_key(&sender)
    }
}

impl Judge {
    /// What is published that is stored goes to its topic, and nowhere else.
    pub(super) fn check_published(record: &Record, turns: &[Turn]) -> Held {
        let Some((id, _)) = record.stored else { return Ok(()) };
        let is_for = |turn: &Turn| match (&record.topic, &turn.new.recipient) {
            (Topic::User(user), Recipient::User(to)) => user == to || *user == turn.new.sender,
            (Topic::Group(group), Recipient::Group(to)) => group == to,
            (Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_), _) => false,
        };
        // A session may give two messages one id. If the store takes the second, its turn can come together with that of the first.
        let mut of_id = turns.iter().filter(|turn| turn.new.id == id);
        let Some(first) = of_id.clone().next() else { return Ok(()) };
        hold(of_id.any(is_for), "no-leak", || {
            format!(
                "what {} said to {:?} is published to {:?}",
                first.new.sender, first.new.recipient, record.topic
            )
        })
    }

    /// What is stored is sent to all who are here, and whoever submits is answered.
    pub(super) fn check_turns<P: Probe>(
        &self,
        moment: &Moment<'_>,
        turns: &[Turn],
        server: &Server<P>,
    ) -> Held {
        for turn in turns {
            if let Outcome::Stored(_) = turn.outcome {
                self.check_delivered(moment, turn, server)?;
                self.check_told_others(moment, turn)?;
            }
            self.check_answered(moment, turn, server)?;
        }
        Ok(())
    }

    fn check_delivered<P: Probe>(&self, moment: &Moment<'_>, turn: &Turn, server: &Server<P>) -> Held {
        // Larger ones may find no room in what is empty.
        let is_small = (turn.new.content.len() as u64)
            < self.config.limits.lag_bytes.min(self.config.limits.outbox_bytes) / 4;
        if !is_small {
            return Ok(());
        }
        let sender = &turn.new.sender;
        let mut owed: Vec<ConnId> = Vec::new();
        match &turn.new.recipient {
            Recipient::User(to) => {
                owed.extend(self.members.of(to));
                let own =
                    self.members.of(sender).iter().filter(|conn| self.is_session(**conn) && sender != to);
                owed.extend(own);
            }
            Recipient::Group(group) => {
                for (user, conns) in self.members.certain(group) {
                    owed.extend(conns.iter().filter(|conn| user != sender || self.is_session(**conn)));
                }
            }
        }
        for conn in owed {
            let Some(seat) = self.seats.get(conn).filter(|_| conn != turn.origin) else { continue };
            let is_entry = turn.new.subject != Subject::Message;
            let was_there = self.seats.was_welcomed(conn);
            let view = server.connection(conn);
            let is_ready = view.is_some_and(|view| {
                view.phase == ConnectionPhase::Online && !view.is_lagging && !view.may_have_missed
            });
            if !was_there || !is_ready || !seat.is_open() || (is_entry && !seat.is_session) {
                continue;
            }
            let is_sent = moment.actions.iter().any(|action| {
                matches!(action, OwnedAction::Send { to, .. } if to.contains(&conn))
                    && Sent::of(action, seat.is_session).is_some_and(|sent| sent.is(turn))
            });
            hold(is_sent, "delivery", || {
                format!("{conn} is not sent what {sender} said to {:?}", turn.new.recipient)
            })?;
        }
        Ok(())
    }

    fn check_told_others(&self, moment: &Moment<'_>, turn: &Turn) -> Held {
        if !self.config.peers || turn.new.subject != Subject::Message {
            return Ok(());
        }
        let topic = match &turn.new.recipient {
            // Who is here may be nowhere else.
            Recipient::User(_) if self.config.one_home => return Ok(()),
            Recipient::User(to) => Topic::User(to.clone()),
            Recipient::Group(group) => Topic::Group(group.clone()),
        };
        let is_told = moment.actions.iter().any(|action| {
            matches!(action, OwnedAction::Publish(record)
                if record.topic == topic && record.stored.is_some_and(|(id, _)| id == turn.new.id))
        });
        hold(is_told, "delivery", || format!("what {} said is not published to {topic:?}", turn.new.sender))
    }

    fn check_answered<P: Probe>(&self, moment: &Moment<'_>, turn: &Turn, server: &Server<P>) -> Held {
        let is_session = self.is_session(turn.origin);
        let is_online =
            server.connection(turn.origin).is_some_and(|view| view.phase == ConnectionPhase::Online);
        if !is_session || !is_online {
            return Ok(());
        }
        let is_answered = moment.actions.iter().any(|action| {
            matches!(action, OwnedAction::Send { to, .. } if to.contains(&turn.origin))
                && Sent::of(action, true).is_some_and(|sent| sent.answers(turn))
        });
        hold(is_answered, "delivery", || {
            format!("{} is not told what became of what it submitted: {:?}", turn.origin, turn.outcome)
        })
    }
}
