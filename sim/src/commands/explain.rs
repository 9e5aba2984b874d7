//! `explain`: a run as a table.

use std::io::{self, Write};

use switchboard_sim::world::{Options, execute};

use super::{CliError, load, replay::ReplayArgs};

/// Runs the subject and shows who saw what when; true if everything holds.
pub(crate) fn explain(args: &ReplayArgs) -> Result<bool, CliError> {
    let schedule = load(&args.subject)?;
    let options = Options {
        sweep_every: 1,
        until_us: args.until,
        trace: true,
        target: args.subject.target,
        ..Options::default()
    };
    let outcome = execute(&schedule, options);
    let mut out = io::stdout().lock();
    writeln!(out, "{:>12}  {:<8} {:<8} what", "us", "from", "to")?;
    for mark in &outcome.trace {
        let to = if mark.from == mark.to { String::new() } else { mark.to.to_string() };
        writeln!(out, "{:>12}  {:<8} {:<8} {}", mark.at_us, mark.from.to_string(), to, mark.text)?;
    }
    match &outcome.violation {
        None => writeln!(out, "everything holds")?,
        Some(violation) => writeln!(out, "{violation}")?,
    }
    Ok(outcome.violation.is_none())
}
