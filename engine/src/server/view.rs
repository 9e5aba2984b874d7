//! What can be seen of a server from outside: for debuggers, and for checks that have no world around it.

use super::{
    Server,
    connections::{Connection, Phase},
    stage::Stage,
    users::Load,
};
use crate::{
    id::{ConnId, GroupId, UserId},
    probe::Probe,
    time::Instant,
};

/// A connection as it is between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionView<'a> {
    /// Which.
    pub id: ConnId,
    /// Whose; none if it is closing.
    pub user: Option<&'a UserId>,
    /// How far it is.
    pub phase: ConnectionPhase,
    /// Whether it speaks the session protocol; never, if it is closing.
    pub is_session: bool,
    /// Frames that were sent to it and not written to the network.
    pub unflushed_frames: u64,
    /// What those and the held ones cost of the outbox.
    pub cost_bytes: u64,
    /// Pictures that wait for the one before them.
    pub held_frames: u64,
    /// Its messages that wait for the store.
    pub pending: usize,
    /// Whether it is a session that reads too slowly to be pushed anything.
    pub is_lagging: bool,
    /// Whether it is a classic connection that may have missed something: what is stored may wait, or have been sent before.
    pub may_have_missed: bool,
    /// When anything last came from the peer.
    pub received_at: Instant,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPhase {
    /// Its user is being loaded.
    Loading,
    /// It is a session that has not said Hello.
    Greeting,
    /// It has been welcomed.
    Online,
    /// It is to be closed once everything is written.
    Closing,
    /// It was cut off.
    Aborted,
}

impl<P: Probe> Server<P> {
    /// All connections, in the order of their slots.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionView<'_>> {
        self.connections.iter().map(|connection| self.view(connection))
    }

    /// This connection.
    #[must_use]
    pub fn connection(&self, id: ConnId) -> Option<ConnectionView<'_>> {
        self.connections.get(id).map(|connection| self.view(connection))
    }

    /// The groups that a user who is here is known to belong to, in the order in which they became known; none if the user
    /// is not here, or not loaded.
    pub fn groups_of(&self, user: &UserId) -> Option<impl Iterator<Item = &GroupId>> {
        let user = self.users.by_id(user.as_str()).filter(|user| matches!(user.load, Load::Done))?;
        Some(user.groups.iter().filter_map(|key| self.users.group(*key)).map(|group| &group.id))
    }

    fn view<'a>(&'a self, connection: &'a Connection) -> ConnectionView<'a> {
        let phase = match &connection.phase {
            Phase::Loading { .. } => ConnectionPhase::Loading,
            Phase::Greeting { .. } => ConnectionPhase::Greeting,
            Phase::Online { .. } => ConnectionPhase::Online,
            Phase::Closing => ConnectionPhase::Closing,
            Phase::Aborted => ConnectionPhase::Aborted,
        };
        let pipeline = connection.pipeline.and_then(|key| self.pipelines.get(key));
        let receipts = connection.receipts.as_deref();
        ConnectionView {
            id: connection.id,
            user: connection.user().and_then(|key| self.users.get(key)).map(|user| &user.id),
            phase,
            is_session: connection.session.is_some(),
            unflushed_frames: connection.outbox.unflushed_frames(),
            cost_bytes: connection.outbox.cost_bytes(),
            held_frames: connection.outbox.held_frames(),
            pending: pipeline.map_or(0, |pipeline| pipeline.entries.len()),
            is_lagging: connection.session.as_ref().is_some_and(|session| session.is_lagging),
            may_have_missed: receipts
                .is_some_and(|receipts| receipts.stage != Stage::InStep || receipts.logs() > 0),
            received_at: connection.received_at,
        }
    }
}
