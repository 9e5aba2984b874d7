//! `run`: a range of seeds.

use std::io::{self, Write};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use switchboard_sim::runner::{self, Plan, Summary};
use switchboard_sim::world::Target;

use super::{CliError, no_profile, parse_target, target_option};

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
    /// What stands in the shards: shipped or original.
    #[arg(long, default_value = "shipped", value_parser = parse_target)]
    target: Target,
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
        target: args.target,
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
        writeln!(out, "{}", json(&summary, args))?;
    } else {
        report(&mut out, &summary, args)?;
    }
    Ok(summary.failures.is_empty())
}

/// One line for each way to fail, and how to see the lowest seed that does.
fn report(out: &mut impl Write, summary: &Summary, args: &RunArgs) -> io::Result<()> {
    let profile = &args.profile;
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
    for fault in summary.faults() {
        let seed = fault.first.seed;
        writeln!(out, "{:>6} seeds, the first is {seed}: {}", fault.seeds, fault.first.violation)?;
        writeln!(out, "  {}", replay_command(seed, args))?;
    }
    writeln!(out, "{} seeds failed", summary.failures.len())
}

fn replay_command(seed: u64, args: &RunArgs) -> String {
    let target = target_option(args.target);
    format!("switchboard-sim replay {seed} --profile {}{target}", args.profile)
}

fn json(summary: &Summary, args: &RunArgs) -> serde_json::Value {
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            let violation = &failure.violation;
            serde_json::json!({
                "seed": failure.seed, "check": violation.check, "what": violation.what, "at_us": violation.at_us,
                "fault": violation.fault(), "replay": replay_command(failure.seed, args),
            })
        })
        .collect();
    serde_json::json!({
        "profile": args.profile,
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
