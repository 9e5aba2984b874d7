//! `replay`: one seed or file, with a full sweep after every event.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use switchboard_sim::text::TIME_LIMIT_US;
use switchboard_sim::{runner, world::Options};

use super::{CliError, Subject, chart, load};

/// What `replay` takes.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    subject: Subject,
    /// Stop at this virtual time, in microseconds; the healed phase is left out.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1..=TIME_LIMIT_US))]
    until: Option<u64>,
    /// Draw the run as a sequence chart, in SVG.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
}

/// Runs the subject and reports; true if everything holds.
pub(crate) fn replay(args: &ReplayArgs) -> Result<bool, CliError> {
    let schedule = load(&args.subject)?;
    let options = Options {
        sweep_every: 1,
        until_us: args.until,
        trace: args.chart.is_some(),
        target: args.subject.target,
        ..Options::default()
    };
    let outcome = runner::execute_caught(&schedule, options);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} steps, {} engine events, {} ms simulated, digest {:016x}",
        schedule.steps.len(),
        outcome.events,
        outcome.virtual_us / 1000,
        outcome.digest
    )?;
    match &outcome.violation {
        None => writeln!(out, "everything holds")?,
        Some(violation) => writeln!(out, "{violation}")?,
    }
    if let Some(path) = &args.chart {
        chart(path, &args.subject.to_string(), &schedule, &outcome)?;
        writeln!(out, "chart: {}", path.display())?;
    }
    Ok(outcome.violation.is_none())
}
