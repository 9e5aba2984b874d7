//! Shutting down: what was accepted is settled, then everybody is told, a part at a time.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::Server;
use crate::{
    action::Action,
    close::CloseReason,
    digest::Digest,
    id::ConnId,
    probe::{Canary, Probe, Rule},
    time::Instant,
};

/// In how many steps connections are closed: enough that no step is felt, few enough that each closes many at once.
const DRAIN_STEPS: u32 = 20;

/// How far a shutdown is.
///
/// `Running ──► Settling ──► Draining ──► Stopped`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stopping {
    Running,
    /// Connections stay open until what was accepted from them is stored and delivered, or until then.
    /// Nothing more is accepted.
    Settling {
        until: Instant,
    },
    /// Connections are closed, the next of them then, the last ones with the last step.
    Draining {
        next_at: Instant,
        steps: u32,
    },
    /// All connections are closed or closing.
    Closing,
    Stopped,
}

impl Stopping {
    pub(super) fn fold(self, digest: &mut Digest<'_>) {
        match self {
            Self::Running => digest.word(0),
            Self::Settling { until } => {
                digest.word(1);
                digest.instant(until);
            }
            Self::Closing => digest.word(2),
            Self::Stopped => digest.word(3),
            Self::Draining { next_at, steps } => {
                digest.word(4);
                digest.instant(next_at);
                digest.word(steps.into());
            }
        }
    }
}

impl<P: Probe> Server<P> {
    /// Accepts nothing more; the rest follows when what was accepted is settled.
    pub(super) fn shutdown(&mut self) {
        if self.stopping == Stopping::Running {
            self.stopping = Stopping::Settling { until: self.now + self.config.close_timeout };
            self.end_graces();
            self.end_lost_calls();
        }
    }

    /// When a shutdown goes on by itself.
    pub(super) const fn next_of_shutdown(&self) -> Option<Instant> {
        match self.stopping {
            Stopping::Settling { until: at } | Stopping::Draining { next_at: at, .. } => Some(at),
            Stopping::Running | Stopping::Closing | Stopping::Stopped => None,
        }
    }

    /// Moves a shutdown on when nothing is left to wait for.
    pub(super) fn finish(&mut self) {
        if self.stopping == Stopping::Running {
            return;
        }
        let impatient = self.probe.canary(Canary::StoppedEarly);
        if let Stopping::Settling { until } = self.stopping {
            let hasty = self.probe.canary(Canary::ClosedBeforeSettled);
            let settled = hasty || (self.pipelines.is_empty() && self.early_bytes == 0);
            if settled || impatient || self.now >= until {
                let at_once = self.config.drain_time.is_zero() || self.probe.canary(Canary::DrainAtOnce);
                let steps = if at_once { 1 } else { DRAIN_STEPS };
                self.stopping = Stopping::Draining { next_at: self.now, steps };
            }
        }
        while let Stopping::Draining { next_at, steps } = self.stopping
            && self.now >= next_at
        {
            self.drain(next_at, steps);
        }
        let settled = self.users.len() == 0 && self.pipelines.is_empty() && self.presence.away() == 0;
        let drained = self.connections.len() == 0 && (settled || impatient);
        if self.stopping == Stopping::Closing && drained {
            self.stopping = Stopping::Stopped;
            self.probe.reached(Rule::Stopped);
            self.effects.push(Action::Stopped);
        }
    }

    /// Closes an equal part of the connections that are open, in the order of their slots.
    fn drain(&mut self, at: Instant, steps: u32) {
        let open: Vec<ConnId> =
            self.connections.iter().filter(|conn| conn.user().is_some()).map(|conn| conn.id).collect();
        let part = open.len().div_ceil(usize::try_from(steps.max(1)).unwrap_or(1));
        open.iter().take(part).for_each(|conn| self.close(*conn, CloseReason::GoingAway));
        self.stopping = if part == open.len() {
            Stopping::Closing
        } else {
            self.probe.reached(Rule::DrainStep);
            let next_at = at + self.config.drain_time / DRAIN_STEPS;
            Stopping::Draining { next_at, steps: steps.saturating_sub(1) }
        };
    }
}
