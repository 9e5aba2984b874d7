//! What is in the frames that a server sends, and whether their recipients may have it.

use switchboard_engine::{ConnId, Event, Frame, GroupId, MessageId, OwnedAction, Place, Recipient, Request};
use switchboard_proto::v1::{Conversation, Delivery, conversation, server_frame};

use super::messages::{Outcome, Turn};
use super::{Cause, Held, Judge, Moment, hold};
use crate::wire::{HEARTBEAT, View, session};

/// Who the server's own messages come from.
const SYSTEM: &str = switchboard_engine::SYSTEM;

/// A frame, as far as it is about a message on its way through the store.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    Delivery(Box<Delivery>),
    Accepted {
        id: MessageId,
        place: Place,
    },
    Rejected {
        id: MessageId,
    },
    /// A stored message in its classic form.
    Classic {
        from: String,
        to: String,
        content: String,
        is_group: bool,
    },
}

impl Sent {
    pub(super) fn of(action: &OwnedAction, is_session: bool) -> Option<Self> {
        let OwnedAction::Send { frame: Frame::Message(bytes), .. } = action else { return None };
        if !is_session {
            return View::read(bytes).and_then(|view| Self::classic(&view));
        }
        match session::read(bytes)? {
            server_frame::Body::Delivery(delivery) => Some(Self::Delivery(Box::new(delivery))),
            server_frame::Body::Accepted(accepted) => Some(Self::Accepted {
                id: id(&accepted.message_id)?,
                place: Place {
                    epoch: accepted.epoch,
                    seq: accepted.seq,
                    stored_at_ms: accepted.stored_at_ms,
                },
            }),
            server_frame::Body::Rejected(rejected) => Some(Self::Rejected { id: id(&rejected.message_id)? }),
            server_frame::Body::Welcome(_)
            | server_frame::Body::Page(_)
            | server_frame::Body::Heartbeat(_)
            | server_frame::Body::Goodbye(_)
            | server_frame::Body::Heads(_)
            | server_frame::Body::Unfetched(_)
            | server_frame::Body::Marked(_)
            | server_frame::Body::Typing(_)
            | server_frame::Body::Presence(_)
            | server_frame::Body::Call(_)
            | server_frame::Body::Notice(_) => None,
        }
    }

    fn classic(view: &View<'_>) -> Option<Self> {
        let is_stored = (1..=5).contains(&view.content_type) && !view.to.is_empty();
        (is_stored && view.from != SYSTEM && view.kind != HEARTBEAT).then(|| Self::Classic {
            from: view.from.to_owned(),
            to: view.to.to_owned(),
            content: view.content.to_owned(),
            is_group: view.message_type == 2,
        })
    }

    /// Whether it is this message.
    pub(super) fn is(&self, turn: &Turn) -> bool {
        let (new, sender) = (&turn.new, turn.new.sender.as_str());
        match self {
            Self::Delivery(delivery) => delivery.message_id == new.id.0[..] && delivery.from == sender,
            Self::Classic { from, to, content, is_group } => {
                **content == *new.content
                    && match &new.recipient {
                        Recipient::User(user) => !is_group && from == sender && to == user.as_str(),
                        Recipient::Group(group) => *is_group && from == group.as_str() && to == sender,
                    }
            }
            Self::Accepted { .. } | Self::Rejected { .. } => false,
        }
    }

    /// Whether it tells its sender what became of it.
    pub(super) fn answers(&self, turn: &Turn) -> bool {
        match (self, turn.outcome) {
            (Self::Accepted { id, place }, Outcome::Stored(stored) | Outcome::Earlier(stored)) => {
                *id == turn.new.id && *place == stored
            }
            (Self::Rejected { id }, Outcome::Not) => *id == turn.new.id,
            (Self::Accepted { .. } | Self::Rejected { .. } | Self::Delivery(_) | Self::Classic { .. }, _) => {
                false
            }
        }
    }
}

fn id(bytes: &[u8]) -> Option<MessageId> {
    bytes.try_into().ok().map(MessageId)
}

impl Judge {
    /// A frame is sent: to each once, to whom it is for, and not too early.
    pub(super) fn check_frame(
        &mut self,
        to: &[ConnId],
        frame: &Frame,
        moment: &Moment<'_>,
        turns: &[Turn],
    ) -> Held {
        let mut sorted = to.to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
        hold(twice.is_none(), "exactly-once", || {
            format!("one frame is sent to {:?} twice", twice.map(|pair| pair[0]))
        })?;
        let mut is_early = !matches!(frame, Frame::Message(_));
        let is_session = to.first().is_some_and(|conn| self.is_session(*conn));
        let others = to.iter().filter(|conn| self.seats.get(**conn).is_some_and(|seat| seat.user.is_some()));
        let is_mixed = others.clone().any(|conn| self.is_session(*conn) != is_session);
        hold(!is_mixed, "protocol", || "one frame is sent to connections of two protocols".to_owned())?;
        if let Frame::Message(bytes) = frame {
            if is_session {
                let Some(body) = session::read(bytes) else {
                    return Err((
                        "protocol",
                        "a frame is sent that is none of the session protocol".to_owned(),
                    ));
                };
                is_early = matches!(body, server_frame::Body::Welcome(_) | server_frame::Body::Goodbye(_));
                self.check_body(to, &body, moment, turns)?;
            } else {
                let Some(view) = View::read(bytes) else {
                    return Err(("protocol", "a frame is sent that is no message".to_owned()));
                };
                let is_welcome = view.from == SYSTEM && view.content == "welcome!";
                is_early = is_welcome;
                if is_welcome {
                    self.welcome(to, view.to, moment)?;
                } else {
                    self.check_classic(to, &view, moment, turns)?;
                }
            }
        }
        let limit_bytes = self.config.limits.outbox_bytes;
        to.iter()
            .try_for_each(|conn| self.seats.send(*conn, frame.payload().len() as u64, is_early, limit_bytes))
    }

    fn welcome(&mut self, to: &[ConnId], user: &str, moment: &Moment<'_>) -> Held {
        for conn in to {
            let Some(owner) = self.user(*conn).cloned() else { continue };
            hold(owner.as_str() == user, "no-leak", || format!("{conn} of {owner} is welcomed as {user}"))?;
            // A load is given up some time after it was first asked for, however often it was asked for since.
            if matches!(moment.cause, Cause::Timeout) || self.is_answer_of_before(moment) {
                self.members.given_up(&owner);
            }
            hold(self.members.has_loaded(&owner), "protocol", || {
                format!("{conn} of {owner} is welcomed, and what the directory knows of it is not loaded")
            })?;
            self.seats.welcomed(*conn);
        }
        Ok(())
    }

    /// Users of these connections; those that are not known are left out.
    fn users<'a>(
        &'a self,
        to: &'a [ConnId],
    ) -> impl Iterator<Item = (ConnId, &'a switchboard_engine::UserId)> {
        to.iter().filter_map(|conn| self.user(*conn).map(|user| (*conn, user)))
    }

    fn check_classic(&self, to: &[ConnId], view: &View<'_>, moment: &Moment<'_>, turns: &[Turn]) -> Held {
        if view.from == SYSTEM || view.kind == HEARTBEAT {
            return Ok(());
        }
        if let Some(sent) = Sent::classic(view) {
            return self.check_stored(to, &sent, moment, turns);
        }
        if let Some(sender) = moment.conn().filter(|_| moment.is_received()).and_then(|conn| self.user(conn))
        {
            hold(view.from == sender.as_str(), "no-spoof", || {
                format!("what {sender} says is passed on as said by {}", view.from)
            })?;
        }
        let mut users = self.users(to);
        if !view.to.is_empty() {
            let stranger = users.find(|(_, user)| user.as_str() != view.to);
            return hold(stranger.is_none(), "no-leak", || {
                format!("{:?} is sent what is for {}", stranger, view.to)
            });
        }
        if view.kind == "webrtc" || view.content_type == 0 {
            let first = users.next().map(|(_, user)| user);
            let other = users.find(|(_, user)| Some(*user) != first);
            return hold(other.is_none(), "no-leak", || {
                format!("a signal of a call goes to {first:?} and {other:?}")
            });
        }
        Ok(())
    }

    /// A classic message that has been stored.
    fn check_stored(&self, to: &[ConnId], sent: &Sent, moment: &Moment<'_>, turns: &[Turn]) -> Held {
        let Sent::Classic { from, to: named, content, is_group } = sent else { return Ok(()) };
        for (conn, user) in self.users(to) {
            if !is_group {
                hold(user.as_str() == named, "no-leak", || {
                    format!("{conn} of {user} is sent what {from} said to {named}")
                })?;
                continue;
            }
            let Ok(group) = GroupId::new(from) else { continue };
            // What is read from the log for who has left the group may be from before that.
            let is_live = self.is_of_the_store(moment) || is_from_bus(moment);
            hold(!is_live || self.members.may(user, &group), "no-leak", || {
                format!("{conn} of {user} is sent what was said in the group {group}")
            })?;
            hold(user.as_str() != named, "no-leak", || {
                format!("{conn} is sent what its own user {user} has said")
            })?;
        }
        let sender = if *is_group { named } else { from };
        if self.is_resumed || !self.is_of_the_store(moment) || self.messages.is_uncertain(sender) {
            return Ok(());
        }
        // Two messages may say the same.
        let stored = turns.iter().find(|turn| sent.is(turn) && matches!(turn.outcome, Outcome::Stored(_)));
        let turn = stored.or_else(|| turns.iter().find(|turn| sent.is(turn)));
        let is_due = stored.is_some();
        hold(is_due, early_check(turn), || {
            format!(
                "what {sender} said is delivered, {content:?}, and it is not its turn: {:?}",
                turn.map(|t| t.outcome)
            )
        })
    }

    /// Whether the step is one in which nothing of a log is sent to anybody but what has just been stored.
    fn is_of_the_store(&self, moment: &Moment<'_>) -> bool {
        let is_message = matches!(self.answered, Some(Request::StoreMessage(_) | Request::StoreFile(_)));
        moment.is_received() || is_message
    }

    fn check_body(
        &mut self,
        to: &[ConnId],
        body: &server_frame::Body,
        moment: &Moment<'_>,
        turns: &[Turn],
    ) -> Held {
        use server_frame::Body;
        let said_by = moment.conn().filter(|_| moment.is_received()).and_then(|conn| self.user(conn));
        match body {
            Body::Welcome(welcome) => self.welcome(to, &welcome.user, moment),
            Body::Delivery(delivery) => self.check_delivery(to, delivery, moment, turns),
            Body::Accepted(accepted) => {
                let place =
                    Place { epoch: accepted.epoch, seq: accepted.seq, stored_at_ms: accepted.stored_at_ms };
                let Some(id) = id(&accepted.message_id) else { return Ok(()) };
                let sent = Sent::Accepted { id, place };
                let may = self.is_resumed
                    || turns.iter().any(|turn| sent.answers(turn))
                    || self.users(to).all(|(_, user)| self.messages.is_free(user.as_str(), id));
                hold(may, "accepted-is-durable", || {
                    format!(
                        "{to:?} is told that a message is stored, at {}, and the store has not said so",
                        place.seq
                    )
                })
            }
            Body::Page(_) => self.check_asked(to, "a page", reader(self.answered.as_ref())),
            Body::Heads(_) => self.check_asked(to, "heads", asker_of_heads(self.answered.as_ref())),
            Body::Typing(typing) => {
                let stranger = said_by.filter(|sender| sender.as_str() != typing.user);
                hold(stranger.is_none(), "no-spoof", || {
                    format!("{stranger:?} types, and {} is seen typing", typing.user)
                })?;
                let own = self.users(to).find(|(_, user)| user.as_str() == typing.user);
                hold(own.is_none(), "no-leak", || format!("{own:?} is told that it types itself"))?;
                let Some(group) = group_of(typing.conversation.as_ref()) else { return Ok(()) };
                let is_member = said_by.is_none_or(|sender| self.members.may(sender, &group));
                hold(is_member, "no-leak", || {
                    format!("{} types in the group {group}, and is no member", typing.user)
                })?;
                self.check_members(to, &group, "who types there")
            }
            Body::Marked(marked) => {
                let is_stored = matches!(self.answered, Some(Request::StoreMarks(_)))
                    || matches!(moment.cause, Cause::Event(Event::Told(_)))
                    || self.is_answer_of_before(moment);
                hold(is_stored, "accepted-is-durable", || {
                    format!("marks of {} are told, and the store has not said so", marked.user)
                })?;
                let other = self.users(to).find(|(_, user)| user.as_str() != marked.user);
                let is_of_group = group_of(marked.conversation.as_ref()).is_some();
                hold(!is_of_group || other.is_none(), "no-leak", || {
                    format!("{other:?} is told how far {} is with a group", marked.user)
                })
            }
            Body::Rejected(_)
            | Body::Heartbeat(_)
            | Body::Goodbye(_)
            | Body::Unfetched(_)
            | Body::Presence(_)
            | Body::Call(_)
            | Body::Notice(_) => Ok(()),
        }
    }

    /// Whether the store may answer what was asked for before the recording begins: nobody knows of such a request.
    fn is_answer_of_before(&self, moment: &Moment<'_>) -> bool {
        let is_answer = matches!(moment.cause, Cause::Event(Event::Answered { .. }));
        self.is_resumed && self.answered.is_none() && is_answer
    }

    /// What the store has answered goes to who has asked.
    fn check_asked(&self, to: &[ConnId], what: &str, asker: Option<&str>) -> Held {
        let Some(asker) = asker else { return Ok(()) };
        let other = self.users(to).find(|(_, user)| user.as_str() != asker);
        hold(other.is_none(), "no-leak", || format!("{other:?} is sent {what} that {asker} has asked for"))
    }

    fn check_members(&self, to: &[ConnId], group: &GroupId, what: &str) -> Held {
        let stranger = self.users(to).find(|(_, user)| !self.members.may(user, group));
        hold(stranger.is_none(), "no-leak", || format!("{stranger:?} is told of the group {group} {what}"))
    }

    /// A message is pushed to sessions.
    fn check_delivery(
        &self,
        to: &[ConnId],
        delivery: &Delivery,
        moment: &Moment<'_>,
        turns: &[Turn],
    ) -> Held {
        let sent = Sent::Delivery(Box::new(delivery.clone()));
        // Two messages may have one id.
        let stored = turns.iter().find(|turn| sent.is(turn) && matches!(turn.outcome, Outcome::Stored(_)));
        let turn = stored.or_else(|| turns.iter().find(|turn| sent.is(turn)));
        for (conn, user) in self.users(to) {
            let may = match delivery.conversation.as_ref().and_then(|of| of.peer.as_ref()) {
                Some(conversation::Peer::User(peer)) => {
                    let is_own = delivery.from == user.as_str();
                    let is_his = delivery.from == *peer;
                    let is_for = turn.is_none_or(|turn| match &turn.new.recipient {
                        Recipient::User(to) => user == to || *user == turn.new.sender,
                        Recipient::Group(_) => false,
                    });
                    (is_own || is_his) && is_for
                }
                Some(conversation::Peer::Group(group)) => {
                    let is_change = delivery.content.as_ref().is_some_and(|content| content.kind == 23);
                    // Whom a change concerns is told of it, member or not.
                    is_change || GroupId::new(group).is_ok_and(|group| self.members.may(user, &group))
                }
                None => false,
            };
            hold(may, "no-leak", || {
                format!("{conn} of {user} is sent what {} said to {:?}", delivery.from, delivery.conversation)
            })?;
        }
        if self.is_resumed || is_from_bus(moment) {
            return Ok(());
        }
        let is_free = id(&delivery.message_id).is_some_and(|id| self.messages.is_free(&delivery.from, id));
        let stored = match turn.map(|turn| turn.outcome) {
            Some(Outcome::Stored(place)) => Some(place),
            Some(Outcome::Earlier(_) | Outcome::Not) | None => None,
        };
        hold(is_free || stored.is_some(), early_check(turn), || {
            format!(
                "what {} said is delivered, and it is not its turn: {:?}",
                delivery.from,
                turn.map(|t| t.outcome)
            )
        })?;
        let is_there = stored.is_none_or(|place| {
            (place.epoch, place.seq, place.stored_at_ms)
                == (delivery.epoch, delivery.seq, delivery.stored_at_ms)
        });
        hold(is_there, "one-order", || {
            format!(
                "what {} said is delivered as {} of its log, and is stored at {stored:?}",
                delivery.from, delivery.seq
            )
        })
    }
}

/// Whether the step brings something that another engine has told.
const fn is_from_bus(moment: &Moment<'_>) -> bool {
    matches!(moment.cause, Cause::Event(Event::Published(_) | Event::Told(_)))
}

/// Which check a delivery breaks whose turn it is not.
const fn early_check(turn: Option<&Turn>) -> &'static str {
    match turn {
        Some(Turn { outcome: Outcome::Earlier(_), .. }) => "exactly-once",
        Some(Turn { outcome: Outcome::Not | Outcome::Stored(_), .. }) => "accepted-is-durable",
        None => "one-order",
    }
}

/// Who has asked for a part of a log.
fn reader(request: Option<&Request>) -> Option<&str> {
    let Some(Request::LoadMessages(range)) = request else { return None };
    Some(range.reader.as_str())
}

fn asker_of_heads(request: Option<&Request>) -> Option<&str> {
    let Some(Request::LoadHeads { user, .. }) = request else { return None };
    Some(user.as_str())
}

fn group_of(conversation: Option<&Conversation>) -> Option<GroupId> {
    match conversation?.peer.as_ref()? {
        conversation::Peer::Group(group) => GroupId::new(group).ok(),
        conversation::Peer::User(_) => None,
    }
}
