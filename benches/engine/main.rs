//! What the engine and the codec cost by themselves, without sockets: `cargo run --release -p switchboard-engine-bench`.
//!
//! With `--instructions`, each is counted under `valgrind --tool=callgrind` instead of timed: a count does not vary with
//! what else the machine does. `--check FILE` compares the counts with those in the file, `--write FILE` writes them.

mod cases;
mod instructions;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nix::time::ClockId;

use self::cases::{CASES, Case, Subject};

/// Times, or counts the instructions of, the engine and the codec.
#[derive(Debug, Parser)]
struct Args {
    /// Only cases whose name has this in it
    filter: Option<String>,
    /// Time of each of the samples of a case, in milliseconds
    #[arg(long, default_value_t = 200)]
    sample_ms: u64,
    /// Samples of each case; the median is told
    #[arg(long, default_value_t = 7)]
    samples: usize,
    /// Counts instructions instead
    #[arg(long)]
    instructions: bool,
    /// Fails if a case takes more instructions than the file says, by more than a twentieth
    #[arg(long, value_name = "FILE", requires = "instructions")]
    check: Option<std::path::PathBuf>,
    /// Writes the counts
    #[arg(long, value_name = "FILE", requires = "instructions")]
    write: Option<std::path::PathBuf>,
    /// Runs one case so many times, to be counted by somebody else
    #[arg(long, num_args = 2, value_names = ["CASE", "TIMES"], hide = true)]
    only: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some([name, times]) = args.only.as_deref() {
        let case = CASES.iter().find(|case| case.name == name);
        let (Some(case), Ok(times)) = (case, times.parse()) else { return ExitCode::from(2) };
        let mut subject = (case.prepare)();
        elapsed(case, &mut *subject, times);
        return ExitCode::SUCCESS;
    }
    let is_wanted = |case: &&Case| args.filter.as_ref().is_none_or(|filter| case.name.contains(filter));
    let wanted: Vec<&Case> = CASES.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        eprintln!("no case has that in its name; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    if args.instructions {
        return match instructions::run(&wanted, args.check.as_deref(), args.write.as_deref()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    println!("{:<28} {:>12} {:>25} {:>14}", "", "ns each", "(smallest to largest)", "a second");
    for case in wanted {
        time(case, Duration::from_millis(args.sample_ms), args.samples.max(1));
    }
    ExitCode::SUCCESS
}

/// CPU time of this thread: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

/// Runs a subject so many times, and gives the CPU time that this took.
fn elapsed(case: &Case, subject: &mut dyn Subject, times: usize) -> Duration {
    // Reading the clock costs as much as a short run, so it is read around several, as many as may wait to be settled.
    let at_once = (1 << 16) / case.parts.clamp(1, 1 << 16);
    let (mut total, mut left) = (Duration::ZERO, times);
    while left > 0 {
        let some = left.min(at_once);
        let start = cpu_time();
        (0..some).for_each(|_| subject.run());
        total += cpu_time().saturating_sub(start);
        subject.settle();
        left -= some;
    }
    total
}

#[allow(clippy::cast_precision_loss, reason = "counts of runs are far below 2^52")]
fn time(case: &Case, sample: Duration, samples: usize) {
    let mut subject = (case.prepare)();
    let mut times = 1;
    while elapsed(case, &mut *subject, times) < sample {
        times *= 2;
    }
    let mut ns: Vec<f64> = (0..samples)
        .map(|_| elapsed(case, &mut *subject, times).as_nanos() as f64 / times as f64 / case.parts as f64)
        .collect();
    ns.sort_by(f64::total_cmp);
    let at = |place: usize| ns.get(place).copied().unwrap_or_default();
    let (min, median, max) = (at(0), at(ns.len() / 2), at(ns.len() - 1));
    let range = format!("({min:.1} to {max:.1})");
    println!("{:<28} {median:>12.1} {range:>25} {:>14.0}", case.name, 1e9 / median);
}
