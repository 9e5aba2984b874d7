//! `replay`: one seed or file, with a full sweep after every event; or what a server was told.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use switchboard_engine::Canary;
use switchboard_sim::text::TIME_LIMIT_US;
use switchboard_sim::{runner, world::Options};

use super::{CliError, Subject, chart, load, recorded, scripts};

/// What `replay` takes.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    subject: Subject,
    /// Of recordings, more of them.
    #[arg(value_name = "FILE")]
    more: Vec<PathBuf>,
    /// Stop there. Of a schedule, virtual time in microseconds; the healed phase is left out. Of a recording, behind so many
    /// steps, or after a time such as 250ms or 1.5s.
    #[arg(long, value_name = "US, STEP or TIME")]
    until: Option<String>,
    /// Of a recording: show the steps that concern this user, with what they lead to.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Of a recording: show every step, with what it leads to.
    #[arg(long)]
    show: bool,
    /// Of a recording: so many steps between two looks at the engine's whole state; by default few where there are few connections.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    sweep_every: Option<u64>,
    /// Of a recording: with this deliberate bug in the engine.
    #[arg(long, value_name = "NAME", value_parser = super::parse_canary)]
    canary: Option<Canary>,
    /// Draw the run as a sequence chart, in SVG.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
}

impl ReplayArgs {
    /// What is given must be for what is replayed, which is no recording.
    fn check_options(&self, is_script: bool) -> Result<(), CliError> {
        let (recordings, scripts) = ("a recording", "a recording or a script of events");
        let schedules = "a recording or a schedule";
        let options = [
            ("--user", self.user.is_some(), recordings),
            ("--sweep-every", self.sweep_every.is_some(), recordings),
            ("--show", self.show && !is_script, scripts),
            ("--canary", self.canary.is_some() && !is_script, scripts),
            ("--until", self.until.is_some() && is_script, schedules),
            ("--chart", self.chart.is_some() && is_script, schedules),
        ];
        let what = if is_script { "a script of events" } else { "a schedule" };
        match options.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((option, _, of)) => Err(CliError::NotOfThis { option, what, of }),
            None => Ok(()),
        }
    }
}

/// Runs the subject and reports; true if everything holds.
pub(crate) fn replay(args: &ReplayArgs) -> Result<bool, CliError> {
    let path = PathBuf::from(args.subject.name());
    if recorded::is_recorded(&path) {
        let paths: Vec<_> = core::iter::once(path).chain(args.more.iter().cloned()).collect();
        let until = args.until.as_deref().map(str::parse).transpose().map_err(CliError::Until)?;
        let (user, show, sweep_every) = (args.user.as_deref(), args.show, args.sweep_every);
        let view = recorded::View {
            until,
            user,
            show,
            sweep_every,
            chart: args.chart.as_deref(),
            canary: args.canary,
        };
        return recorded::replay(&paths, &view);
    }
    if scripts::is_script(&path) {
        args.check_options(true)?;
        return scripts::replay(&path, args.canary, args.show);
    }
    if let Some(more) = args.more.first() {
        return Err(CliError::NoRecording(more.clone()));
    }
    let schedule = load(&args.subject)?;
    args.check_options(false)?;
    let until_us = args.until.as_deref().map(parse_us).transpose()?;
    let options = Options {
        sweep_every: 1,
        until_us,
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

fn parse_us(text: &str) -> Result<u64, CliError> {
    let us = text.parse().ok().filter(|us| (1..=TIME_LIMIT_US).contains(us));
    us.ok_or_else(|| {
        CliError::Until(format!("{text} is no virtual time in microseconds, 1 to {TIME_LIMIT_US}"))
    })
}
