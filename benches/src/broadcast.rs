//! One client that sends to everybody.

use std::fmt;

use serde::Serialize;

use crate::fleet::Fleet;
use crate::load::{self, FRAMES_PER_WRITE, LoadReport, Pace, Plan, Timing, check, rules};
use crate::plot::Panel;
use crate::{BenchError, Progress, Protocol, Report, Target, wire};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BroadcastOptions {
    /// Clients; the first one sends, and everybody hears it, it itself included.
    pub clients: usize,
    /// Clients besides that read nothing after their welcome.
    pub stalled: usize,
    /// When it sends.
    pub pace: Pace,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long it takes.
    #[serde(flatten)]
    pub timing: Timing,
}

impl Default for BroadcastOptions {
    fn default() -> Self {
        let (pace, timing) = (Pace::InFlight(1), Timing::default());
        Self { clients: 1000, stalled: 0, pace, payload_bytes: 128, timing }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BroadcastReport {
    /// What was asked for.
    pub options: BroadcastOptions,
    /// What came of it.
    #[serde(flatten)]
    pub load: LoadReport,
}

/// Runs the load, and ends by itself.
///
/// # Errors
/// Wrong options, or no client could connect. All else that goes wrong is in the report's `shortfalls`.
pub fn run(
    options: &BroadcastOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<BroadcastReport, BenchError> {
    let BroadcastOptions { clients, stalled, pace, payload_bytes, timing } = *options;
    check([("--clients", "at least 1", clients > 0)])?;
    check(rules(pace, &timing, payload_bytes, 1))?;
    let (protocol, all) = (Protocol::Classic, clients.saturating_add(stalled));
    let mut fleet = Fleet::open(target.address, protocol, all, timing.connect_limit, progress)?;
    if let Some(sender) = fleet.connection(0) {
        let frame = wire::frame(2, &wire::broadcast(&wire::user(0), payload_bytes));
        sender.prepare(&frame, FRAMES_PER_WRITE);
    }
    let hears = (0..all).map(|client| (client < clients).then_some(0)).collect();
    let plan = Plan {
        protocol,
        pace,
        timing,
        payload_bytes,
        hears,
        stalled: (clients..all).collect(),
        signals: None,
    };
    let load = load::run(plan, &mut fleet, target, progress)?;
    Ok(BroadcastReport { options: options.clone(), load })
}

impl Report for BroadcastReport {
    fn shortfalls(&self) -> &[String] {
        &self.load.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        self.load.panels()
    }
}

impl fmt::Display for BroadcastReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BroadcastOptions { payload_bytes, pace, stalled, .. } = &self.options;
        write!(
            f,
            "broadcast: one sends to {} clients, {payload_bytes} bytes, {pace}",
            self.load.clients_ready
        )?;
        match stalled {
            0 => writeln!(f)?,
            stalled => writeln!(f, ", {stalled} besides that read nothing")?,
        }
        self.load.fmt(f)
    }
}
