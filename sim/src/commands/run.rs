//! `run`: a range of seeds.

use std::io::{self, Write};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use switchboard_sim::runner::{self, Plan, Summary};

use super::{CliError, no_profile};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// First seed and the one after the last.
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..1000")]
    seeds: (u64, u64),
    /// Which kinds of worlds and faults.
    #[arg(long, default_value = "default")]
    profile: String,
    /// Threads; by default as many as there are cores.
    #[arg(long)]
    jobs: Option<usize>,
    /// Run each seed twice, and compare all actions.
    #[arg(long)]
    twice: bool,
    /// Engine events between two full sweeps of one engine.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    sweep_every: u32,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text} is no range of seeds; write A..B with A below B");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if first < end { Ok((first, end)) } else { Err(wrong()) }
}

/// Runs the seeds and reports; true if everything holds.
pub(crate) fn run(args: &RunArgs) -> Result<bool, CliError> {
    // A panic of a run is caught and reported as the violation `crash`; its text is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let plan = Plan {
        first: args.seeds.0,
        end: args.seeds.1,
        profile: args.profile.clone(),
        jobs: jobs.unwrap_or(1),
        twice: args.twice,
        sweep_every: args.sweep_every,
    };
    let bar = ProgressBar::new(plan.end - plan.first);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let summary =
        runner::run(&plan, |done| bar.set_position(done)).ok_or_else(|| no_profile(&args.profile))?;
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json(&summary, &args.profile))?;
    } else {
        report(&mut out, &summary, &args.profile)?;
    }
    Ok(summary.failures.is_empty())
}

/// Failures that the report lists one by one.
const LISTED: usize = 10;

fn report(out: &mut impl Write, summary: &Summary, profile: &str) -> io::Result<()> {
    let virtual_s = summary.virtual_time.as_secs_f64();
    let real_s = summary.real_time.as_secs_f64();
    writeln!(
        out,
        "{} seeds of profile {profile} in {real_s:.1} s: {} seeds/s, {} engine events ({}/s), {:.0} s simulated \
         ({:.0} times real time)",
        summary.seeds,
        summary.per_second(summary.seeds),
        summary.events,
        summary.per_second(summary.events),
        virtual_s,
        virtual_s / real_s,
    )?;
    let met: Vec<_> = summary.met.iter().map(|(verb, count)| format!("{verb} {count}")).collect();
    writeln!(out, "met: {}", met.join(", "))?;
    for failure in summary.failures.iter().take(LISTED) {
        writeln!(out, "seed {}: {}", failure.seed, failure.violation)?;
        writeln!(out, "  switchboard-sim replay {} --profile {profile}", failure.seed)?;
    }
    writeln!(out, "{} seeds failed", summary.failures.len())
}

fn json(summary: &Summary, profile: &str) -> serde_json::Value {
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            let violation = &failure.violation;
            serde_json::json!({
                "seed": failure.seed, "check": violation.check, "what": violation.what, "at_us": violation.at_us,
                "replay": format!("switchboard-sim replay {} --profile {profile}", failure.seed),
            })
        })
        .collect();
    serde_json::json!({
        "profile": profile,
        "seeds": summary.seeds,
        "engine_events": summary.events,
        "simulated_s": summary.virtual_time.as_secs(),
        "real_s": summary.real_time.as_secs_f64(),
        "seeds_per_second": summary.per_second(summary.seeds),
        "engine_events_per_second": summary.per_second(summary.events),
        "met": summary.met,
        "failures": failures,
    })
}
