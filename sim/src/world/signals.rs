//! What sessions say that is not stored: that somebody types, whom they watch, and calls. Applications say it as their
//! sessions let them; raw sessions say what their steps say, in turn or not, right or wrong.

use core::time::Duration;

use switchboard_engine::SessionConfig;

use super::{World, hostile::peer, sut::Sut};
use crate::{
    check::Payload,
    schedule::{ClientNo, To, UserNo},
    wire::signals,
};

/// How long an application believes that somebody types of whom nothing more is heard, in microseconds.
pub(crate) const TYPING_TIMEOUT_US: u64 = 2_500_000;

/// How often a session says that its user still types, in microseconds.
const TYPING_INTERVAL_US: u64 = 1_000_000;

/// What sessions are told of all this.
pub(super) fn configure(config: &mut SessionConfig) {
    config.typing_interval = Duration::from_micros(TYPING_INTERVAL_US);
    config.typing_timeout = Duration::from_micros(TYPING_TIMEOUT_US);
}

impl<T: Sut> World<'_, T> {
    /// Somebody types in a conversation, or has stopped.
    pub(super) fn typing(&mut self, client: ClientNo, to: To, types: bool, claims: UserNo) {
        self.send_frame(client, Payload::Sign, signals::typing(peer(to), types, claims.0));
        let Some(conversation) = self.recipient(to) else { return };
        let now = self.client_now();
        let app = self.devices[client.index()].app.as_mut();
        if let Some(session) = app.and_then(|app| app.session.as_mut()) {
            session.typing(now, conversation, types);
            self.pump_app(client);
        }
    }
}
