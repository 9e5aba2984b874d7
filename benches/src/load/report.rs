//! What a load gives: a table, and bars.

use std::fmt;

use serde::Serialize;

use crate::plot::Panel;
use crate::report::{latency_row, row, shortfall_rows};
use crate::{Latency, Used};

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// Clients that sent or heard.
    pub clients_ready: usize,
    /// The time measured.
    pub measured_seconds: f64,
    /// Messages delivered in that time, counted for each recipient.
    pub delivered: u64,
    /// The same per second.
    pub delivered_per_second: f64,
    /// Messages sent, warm-up included, that had not come when the run ended, counted for each recipient.
    pub undelivered: u64,
    /// Messages that came and were not sent.
    pub unexpected: u64,
    /// From sending (closed loop), or from when a message was due (open loop: a generator or server that falls
    /// behind does not hide it, which is what corrects for coordinated omission), until it was read.
    pub latency: Latency,
    /// Of a session's messages: what came back to their senders.
    pub acknowledged: Option<Acknowledged>,
    /// What the server used in the measured time, if its process is known.
    pub server: Option<Used>,
    /// CPU time of the server for each delivered message, in microseconds.
    pub server_cpu_us_per_message: Option<f64>,
    /// What this generator used.
    pub generator: Used,
    /// Where the pace was not kept, in words; by that alone nothing is lost.
    pub late: Vec<String>,
    /// What was asked for and not reached, in words, the pace included; empty after a good run.
    pub shortfalls: Vec<String>,
}

/// What the senders of a session's messages were told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Acknowledged {
    /// `Accepted` in the measured time.
    pub accepted: u64,
    /// `Rejected`, warm-up included.
    pub rejected: u64,
    /// Messages sent, warm-up included, of which nothing was heard until the run ended.
    pub unanswered: u64,
    /// Until the `Accepted` was read, as for the deliveries.
    pub latency: Latency,
}

impl LoadReport {
    /// How long its messages took.
    pub(crate) fn panels(&self) -> Vec<Panel> {
        let mut panels = vec![Panel::of_latency("until delivered, us", &self.latency)];
        if let Some(acknowledged) = &self.acknowledged {
            panels.push(Panel::of_latency("until accepted, us", &acknowledged.latency));
        }
        panels
    }
}

/// The rows that every load's table has; what was asked for stands above them.
impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "delivered", format_args!("{} in {:.2} s", self.delivered, self.measured_seconds))?;
        row(f, "per second", format_args!("{:.0}", self.delivered_per_second))?;
        latency_row(f, "latency, us", &self.latency)?;
        if let Some(acknowledged) = &self.acknowledged {
            row(f, "accepted", format_args!("{}", acknowledged.accepted))?;
            latency_row(f, "until accepted, us", &acknowledged.latency)?;
        }
        match (&self.server, self.server_cpu_us_per_message) {
            (Some(used), per_message) => {
                let per_message = per_message.map_or("-".to_owned(), |us| format!("{us:.2}"));
                row(f, "server CPU, us/message", format_args!("{per_message} ({:.2} s)", used.cpu_seconds))?;
                let (before, after) = (used.rss_kib_before, used.rss_kib_after);
                row(f, "server memory, KiB", format_args!("{before} before, {after} after"))?;
            }
            (None, _) => {
                row(f, "server", format_args!("not measured: its process is not known or has ended"))?;
            }
        }
        row(f, "generator CPU, s", format_args!("{:.2}", self.generator.cpu_seconds))?;
        shortfall_rows(f, &self.shortfalls)
    }
}
