//! What all reports have in common.

use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Usage;
use crate::plot::Panel;

/// How long messages took, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean_us: f64,
    /// Half of the messages took at most this.
    pub p50_us: f64,
    /// Nine of ten.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Latency {
    /// From a histogram of nanoseconds.
    #[allow(clippy::cast_precision_loss, reason = "the histogram keeps three digits")]
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}

/// The outcome of a measurement: a table for people, JSON for programs.
pub trait Report: fmt::Display + Serialize {
    /// What was asked for and not reached, in words; empty after a good run.
    fn shortfalls(&self) -> &[String];

    /// What of it can be drawn.
    fn panels(&self) -> Vec<Panel>;
}

/// What a process used during a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Used {
    /// CPU time, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory when the measurement began, in KiB.
    pub rss_kib_before: u64,
    /// Resident memory when it ended, in KiB.
    pub rss_kib_after: u64,
}

impl Used {
    pub(crate) fn between(before: Usage, after: Usage) -> Self {
        Self {
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            rss_kib_before: before.rss_kib,
            rss_kib_after: after.rss_kib,
        }
    }
}

/// One line of a table: a name and its value.
pub(crate) fn row(f: &mut fmt::Formatter<'_>, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "  {name:<24} {value}")
}

/// A line with percentiles.
pub(crate) fn latency_row(f: &mut fmt::Formatter<'_>, name: &str, l: &Latency) -> fmt::Result {
    let tail = format_args!(
        "p50 {:.0}  p90 {:.0}  p99 {:.0}  p99.9 {:.0}  max {:.0}",
        l.p50_us, l.p90_us, l.p99_us, l.p999_us, l.max_us
    );
    row(f, name, tail)
}

/// What a measurement gave in several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; the mean of the middle two if their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of one run.
    pub(crate) const fn single(value: f64) -> Self {
        Self { median: value, min: value, max: value }
    }

    /// None of no runs.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$} to {max:.digits$})")
    }
}

/// The end of every table: what was asked for and not reached.
pub(crate) fn shortfall_rows(f: &mut fmt::Formatter<'_>, shortfalls: &[String]) -> fmt::Result {
    for shortfall in shortfalls {
        row(f, "FELL SHORT", format_args!("{shortfall}"))?;
    }
    Ok(())
}
