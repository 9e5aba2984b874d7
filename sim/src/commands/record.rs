//! `record`: one server of a run, recorded as servers in production are.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use switchboard_engine::Canary;
use switchboard_sim::{recording, world::Options};

use super::{CliError, Subject, load};

/// What `record` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where to write the recording.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Which server: the first to start is 0. Those of all shards start first, then those that replace others.
    #[arg(long, default_value_t = 0)]
    server: u32,
    /// With this deliberate bug in all engines.
    #[arg(long, value_name = "NAME", value_parser = super::parse_canary)]
    canary: Option<Canary>,
}

/// Runs the subject and writes the recording; true if everything holds.
pub(crate) fn record(args: &RecordArgs) -> Result<bool, CliError> {
    let schedule = load(&args.subject)?;
    let (outcome, file) = recording::record(&schedule, Options::default(), args.canary, args.server);
    let file = file.ok_or(CliError::NoSuchServer(args.server))?;
    fs::write(&args.out, &file).map_err(|source| CliError::Write { path: args.out.clone(), source })?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} bytes: {}", file.len(), args.out.display())?;
    match &outcome.violation {
        None => writeln!(out, "everything holds")?,
        Some(violation) => writeln!(out, "{violation}")?,
    }
    Ok(outcome.violation.is_none())
}
