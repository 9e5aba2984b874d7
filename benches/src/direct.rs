//! Pairs of clients that send to each other.

use std::fmt;

use serde::Serialize;

use crate::fleet::Fleet;
use crate::load::{self, FRAMES_PER_WRITE, LoadReport, Pace, Plan, Signals, Timing, check, rules};
use crate::plot::Panel;
use crate::{BenchError, Progress, Protocol, Report, Target, wire};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `contentType` 7, a call's signal: relayed, never stored.
    Relay,
    /// `contentType` 1 from one user to another: stored, delivered after the commit.
    Stored,
    /// A `Submit` of the session protocol: stored, acknowledged to its sender and delivered after the commit.
    Session,
}

impl Kind {
    /// What its clients speak.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Relay | Self::Stored => Protocol::Classic,
            Self::Session => Protocol::Session,
        }
    }
}

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectOptions {
    /// What is sent.
    pub kind: Kind,
    /// Clients; even, each sends to its neighbour.
    pub clients: usize,
    /// When each sends.
    pub pace: Pace,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long it takes.
    #[serde(flatten)]
    pub timing: Timing,
}

impl Default for DirectOptions {
    fn default() -> Self {
        Self {
            kind: Kind::Relay,
            clients: 200,
            pace: Pace::InFlight(16),
            payload_bytes: 128,
            timing: Timing::default(),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirectReport {
    /// What was asked for.
    pub options: DirectOptions,
    /// What came of it.
    #[serde(flatten)]
    pub load: LoadReport,
}

/// Runs the load, and ends by itself: connecting has its limit, waiting for the last messages takes at most 3 s.
///
/// # Errors
/// Wrong options, or no client could connect. All else that goes wrong is in the report's `shortfalls`.
pub fn run(
    options: &DirectOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<DirectReport, BenchError> {
    run_among(options, 0, None, target, progress)
}

/// The same among users whose numbers begin with `first`, which is even.
pub(crate) fn run_among(
    options: &DirectOptions,
    first: usize,
    signals: Option<&Signals>,
    target: &Target,
    progress: &mut Progress,
) -> Result<DirectReport, BenchError> {
    let DirectOptions { kind, clients, pace, payload_bytes, timing } = *options;
    check([("--clients", "even and at least 2", clients >= 2 && clients.is_multiple_of(2))])?;
    check(rules(pace, &timing, payload_bytes, clients))?;
    let protocol = kind.protocol();
    let mut fleet =
        Fleet::open_from(first, target.address, protocol, clients, timing.connect_limit, progress)?;
    for client in 0..clients {
        let Some(connection) = fleet.connection(client) else { continue };
        let (from, to) = (wire::user(first + client), wire::user(first + partner(client)));
        match protocol {
            Protocol::Classic => {
                let frame = wire::frame(2, &wire::message(kind, &from, &to, payload_bytes));
                let in_flight = match pace {
                    Pace::InFlight(count) => count,
                    Pace::PerSecond(_) => FRAMES_PER_WRITE,
                };
                connection.prepare(&frame, in_flight.min(FRAMES_PER_WRITE));
            }
            Protocol::Session => {
                connection.prepare_submits(&wire::user_conversation(&to), payload_bytes);
            }
        }
    }
    let hears = (0..clients).map(|client| Some(partner(client))).collect();
    let plan = Plan { protocol, pace, timing, payload_bytes, hears, stalled: Vec::new(), signals };
    let load = load::run(plan, &mut fleet, target, progress)?;
    Ok(DirectReport { options: options.clone(), load })
}

/// The neighbour that a client sends to, and gets from.
const fn partner(client: usize) -> usize {
    client ^ 1
}

impl Report for DirectReport {
    fn shortfalls(&self) -> &[String] {
        &self.load.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        self.load.panels()
    }
}

impl fmt::Display for DirectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DirectOptions { kind, payload_bytes, pace, .. } = &self.options;
        let (kind, clients) = (format!("{kind:?}").to_lowercase(), self.load.clients_ready);
        writeln!(f, "direct, {kind}: {clients} clients, {payload_bytes} bytes, {pace}")?;
        self.load.fmt(f)
    }
}
