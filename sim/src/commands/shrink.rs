//! `shrink`: the smallest schedule, or script of events, that fails like this one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use switchboard_engine::Canary;
use switchboard_sim::{
    runner, shrink,
    world::{Options, Target},
};

use super::{CliError, Subject, chart, check_output, load, scripts, target_option};

/// What `shrink` takes.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    subject: Subject,
    /// Where to write the small schedule.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where to write its sequence chart; by default beside the schedule, with the extension svg.
    #[arg(long, value_name = "FILE.svg", conflicts_with = "no_chart")]
    chart: Option<PathBuf>,
    /// Write no chart.
    #[arg(long)]
    no_chart: bool,
    /// Of a recording or a script of events: write a Rust test too that fails as long as the bug is there.
    #[arg(long, value_name = "FILE.rs")]
    rust_test: Option<PathBuf>,
    /// Of a recording or a script of events: with this deliberate bug in the engine, without which it has to hold.
    #[arg(long, value_name = "NAME", value_parser = super::parse_canary)]
    canary: Option<Canary>,
}

/// Shrinks the subject and writes what is left; never true, since something fails.
pub(crate) fn shrink(args: &ShrinkArgs) -> Result<bool, CliError> {
    std::panic::set_hook(Box::new(|_| {}));
    let path = Path::new(args.subject.name());
    check_output(path, &args.out)?;
    if scripts::is_script_or_recording(path) {
        return scripts::shrink(path, &args.out, args.rust_test.as_deref(), args.canary);
    }
    let chart_path = args.chart.clone().unwrap_or_else(|| args.out.with_extension("svg"));
    if !args.no_chart && chart_path == args.out {
        return Err(CliError::SamePath(chart_path));
    }
    let schedule = load(&args.subject)?;
    let target = args.subject.target;
    let small = match target {
        Target::Shipped => shrink::shrink(&schedule, &mut shrink::AsShipped::trying(&schedule)),
        Target::Original => shrink::shrink(&schedule, &mut shrink::AsOriginal),
    }
    .ok_or(CliError::NothingFails)?;
    fs::write(&args.out, small.to_string())
        .map_err(|source| CliError::Write { path: args.out.clone(), source })?;
    let options = Options { sweep_every: 1, trace: !args.no_chart, target, ..Options::default() };
    let outcome = runner::execute_caught(&small, options);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} steps of {} are left: {}",
        small.steps.len(),
        schedule.steps.len(),
        args.out.display()
    )?;
    if let Some(violation) = &outcome.violation {
        writeln!(out, "{violation}")?;
    }
    if !args.no_chart {
        let title = format!("{}, shrunk from {}", args.out.display(), args.subject);
        chart(&chart_path, &title, &small, &outcome)?;
        writeln!(out, "chart: {}", chart_path.display())?;
    }
    writeln!(out, "switchboard-sim replay {}{}", quoted(&args.out.to_string_lossy()), target_option(target))?;
    Ok(false)
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
