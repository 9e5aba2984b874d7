//! `run`: many seeds, and what came of them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use switchboard_sim::counts::{Reached, Tally};
use switchboard_sim::runner::{self, Plan, Summary};
use switchboard_sim::world::Target;

use super::{CliError, no_profile, parse_target, progress_bar, target_option, threads};

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// First seed and the one after the last.
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..1000")]
    seeds: (u64, u64),
    /// Which kinds of worlds and faults.
    #[arg(long, default_value = "default")]
    profile: String,
    /// Threads; by default as many as there are cores.
    #[arg(long, value_parser = super::parse_jobs)]
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
    /// Report as one JSON object.
    ///
    /// Keys: `profile`, `seeds` (how many), `engine_events`, `simulated_s`, `real_s`, `seeds_per_second`,
    /// `engine_events_per_second`; `met`: verb of the schedule to how often it was met; `faults`: fault to how
    /// often it happened; `rules`: rule of the engine to how often it was reached; `rules_not_reached`: names;
    /// `failures`: objects of `seed`, `check`, `what`, `at_us`, `replay` and `shrink`, the last two command lines.
    #[arg(long)]
    json: bool,
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text} is no range of seeds; write A..B with A below B");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if first < end { Ok((first, end)) } else { Err(wrong()) }
}

/// Runs the seeds, reports, and says whether everything held.
pub(crate) fn run(args: &Args) -> Result<bool, CliError> {
    // A panic of a run is caught and reported as the violation `crash`; its text is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let plan = Plan {
        first: args.seeds.0,
        end: args.seeds.1,
        profile: args.profile.clone(),
        jobs: threads(args.jobs),
        twice: args.twice,
        sweep_every: args.sweep_every,
        target: args.target,
    };
    let bar = progress_bar(plan.end - plan.first, "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
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

/// Width of the report's lines, in characters.
const WIDTH: usize = 110;

fn report(out: &mut impl Write, summary: &Summary, args: &Args) -> io::Result<()> {
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
    writeln!(out, "\nsteps")?;
    table(out, summary.met.iter().map(|(verb, count)| (*verb, *count)))?;
    writeln!(out, "\nfaults that happened")?;
    table(out, faults(&summary.tally))?;
    if args.target == Target::Shipped {
        report_rules(out, &rules(&summary.reached))?;
    }
    report_failures(out, summary, args)
}

fn report_rules(out: &mut impl Write, rules: &[(&'static str, u64)]) -> io::Result<()> {
    writeln!(out, "\nrules of the engine reached, the rarest first")?;
    let mut rarest: Vec<_> = rules.iter().copied().filter(|(_, count)| *count > 0).collect();
    rarest.sort_by_key(|(_, count)| *count);
    table(out, rarest.into_iter())?;
    let missed = missed(rules);
    if missed.is_empty() {
        writeln!(out, "all {} rules were reached", rules.len())
    } else {
        writeln!(out, "rules that no seed reached: {}", missed.join(", "))
    }
}

/// The failures by what they have in common, each with the lines that reproduce and shrink its first seed.
fn report_failures(out: &mut impl Write, summary: &Summary, args: &Args) -> io::Result<()> {
    for fault in summary.faults() {
        let seed = fault.first.seed;
        let seeds = if fault.seeds == 1 { "seed" } else { "seeds" };
        writeln!(out, "\n{} {seeds}, the first is {seed}: {}", fault.seeds, fault.first.violation)?;
        writeln!(out, "  {}", replay(seed, args))?;
        writeln!(out, "  {}", shrink(seed, args))?;
    }
    writeln!(out, "\n{} of {} seeds failed", summary.failures.len(), summary.seeds)
}

/// Names with numbers, as many in a line as fit, in columns.
fn table<'a>(out: &mut impl Write, cells: impl Iterator<Item = (&'a str, u64)>) -> io::Result<()> {
    let cells: Vec<_> = cells.map(|(name, count)| (name, count.to_string())).collect();
    let names = cells.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let counts = cells.iter().map(|(_, count)| count.len()).max().unwrap_or(0);
    let columns = (WIDTH / (names + counts + 3)).max(1);
    for line in cells.chunks(columns) {
        let line: Vec<_> =
            line.iter().map(|(name, count)| format!("{name:<names$} {count:>counts$}")).collect();
        writeln!(out, "  {}", line.join("  "))?;
    }
    Ok(())
}

fn faults(tally: &Tally) -> impl Iterator<Item = (&'static str, u64)> {
    tally.iter().map(|(fault, count)| (fault.name(), count))
}

fn rules(reached: &Reached) -> Vec<(&'static str, u64)> {
    reached.iter().map(|(rule, count)| (rule.name(), count)).collect()
}

fn missed(rules: &[(&'static str, u64)]) -> Vec<&'static str> {
    rules.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect()
}

fn replay(seed: u64, args: &Args) -> String {
    format!("switchboard-sim replay {seed} --profile {}{}", args.profile, target_option(args.target))
}

fn shrink(seed: u64, args: &Args) -> String {
    let (profile, target) = (&args.profile, target_option(args.target));
    format!("switchboard-sim shrink {seed} --profile {profile}{target} --out {profile}-{seed}.schedule")
}

fn json(summary: &Summary, args: &Args) -> serde_json::Value {
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            let violation = &failure.violation;
            serde_json::json!({
                "seed": failure.seed, "check": violation.check, "what": violation.what, "at_us": violation.at_us,
                "fault": violation.fault(), "replay": replay(failure.seed, args),
                "shrink": shrink(failure.seed, args),
            })
        })
        .collect();
    let rules = rules(&summary.reached);
    let missed = missed(&rules);
    serde_json::json!({
        "profile": args.profile,
        "seeds": summary.seeds,
        "engine_events": summary.events,
        "simulated_s": summary.virtual_time.as_secs(),
        "real_s": summary.real_time.as_secs_f64(),
        "seeds_per_second": summary.per_second(summary.seeds),
        "engine_events_per_second": summary.per_second(summary.events),
        "met": summary.met,
        "faults": faults(&summary.tally).collect::<BTreeMap<_, _>>(),
        "rules": rules.into_iter().collect::<BTreeMap<_, _>>(),
        "rules_not_reached": missed,
        "failures": failures,
    })
}
