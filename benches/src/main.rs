//! The command `switchboard-bench`.

mod cli;

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use switchboard_benches::idle::{self, IdlePair};
use switchboard_benches::{
    BenchError, Progress, Protocol, Report, broadcast, crew, direct, durable, group, mixed, peers, plot,
    resume, stall, storm,
};

use self::cli::{Cli, Command, CommonArgs, IdleArgs, IdleProtocol, PeersArgs};

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprint!("switchboard-bench: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            match error.downcast_ref() {
                Some(BenchError::Option { .. } | BenchError::NotLoopback(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs the command, and says whether all was reached.
fn run(command: &Command) -> Result<bool, Box<dyn Error>> {
    let progress = &mut Progress::on_terminal();
    match command {
        Command::Direct(args) => {
            finish(&args.common, &direct::run(&args.options()?, &args.common.target()?, progress)?)
        }
        Command::Broadcast(args) => {
            finish(&args.common, &broadcast::run(&args.options()?, &args.common.target()?, progress)?)
        }
        Command::Group(args) => {
            finish(&args.common, &group::run(&args.options()?, &args.common.target()?, progress)?)
        }
        Command::Durable(args) => {
            finish(&args.common, &durable::run(&args.options()?, &args.common.target()?, progress)?)
        }
        Command::Storm(args) => {
            finish(&args.common, &storm::run(&args.options()?, &args.targets()?, progress)?)
        }
        Command::Stall(args) => {
            finish(&args.common, &stall::run(&args.options()?, || args.common.target(), progress)?)
        }
        Command::Mixed(args) => {
            finish(&args.common, &mixed::run(&args.options()?, &args.common.target()?, progress)?)
        }
        Command::Resume(args) => {
            finish(&args.common, &resume::run(&args.options(), &args.common.target()?, progress)?)
        }
        Command::Idle(args) => run_idle(args, progress),
        Command::Peers(args) => run_peers(args, progress),
        Command::Crew => {
            crew::serve(BufReader::new(std::io::stdin()), std::io::stdout())?;
            Ok(true)
        }
    }
}

fn run_peers(args: &PeersArgs, progress: &mut Progress) -> Result<bool, Box<dyn Error>> {
    let report = peers::run(&args.options()?, progress)?;
    print!("{report}");
    write_json(args.json.as_deref(), &report)?;
    write_svg(args.svg.as_deref(), || report.chart())?;
    Ok(report.is_good())
}

fn run_idle(args: &IdleArgs, progress: &mut Progress) -> Result<bool, Box<dyn Error>> {
    let mut run = |protocol| -> Result<idle::IdleReport, Box<dyn Error>> {
        Ok(idle::run(&args.options(protocol)?, &args.targets()?, progress)?)
    };
    match args.protocol {
        IdleProtocol::Classic => finish(&args.common, &run(Protocol::Classic)?),
        IdleProtocol::Session => finish(&args.common, &run(Protocol::Session)?),
        IdleProtocol::Both if !args.common.target.is_empty() => {
            let rule = "classic or session with --target: what the first connections took stays taken";
            Err(BenchError::Option { option: "--protocol", rule }.into())
        }
        IdleProtocol::Both => {
            finish(&args.common, &IdlePair::of(run(Protocol::Classic)?, run(Protocol::Session)?))
        }
    }
}

/// Prints the report, writes it where it was asked to be, and says whether all was reached.
fn finish(common: &CommonArgs, report: &impl Report) -> Result<bool, Box<dyn Error>> {
    print!("{report}");
    write_json(common.json.as_deref(), report)?;
    write_svg(common.svg.as_deref(), || plot::of(report))?;
    Ok(report.shortfalls().is_empty())
}

fn write_json(path: Option<&Path>, report: &impl Serialize) -> Result<(), Box<dyn Error>> {
    let Some(path) = path else { return Ok(()) };
    let failed = |error: &dyn fmt::Display| format!("writing {}: {error}", path.display());
    let mut file = File::create(path).map_err(|error| failed(&error))?;
    serde_json::to_writer_pretty(&mut file, report).map_err(|error| failed(&error))?;
    file.write_all(b"\n").map_err(|error| failed(&error))?;
    Ok(())
}

fn write_svg(path: Option<&Path>, chart: impl FnOnce() -> String) -> Result<(), Box<dyn Error>> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, chart()).map_err(|error| format!("writing {}: {error}", path.display()))?;
    Ok(())
}
