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
    BenchError, Progress, Protocol, Report, Target, broadcast, crew, direct, durable, end_with_this_process,
    group, mixed, peers, plot, resume, stall, storm,
};

use self::cli::{Cli, Command, CommonArgs, IdleArgs, IdleProtocol, PeersArgs};

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match end_with_this_process().map_err(Into::into).and_then(|()| run(&command)) {
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
            let options = args.options()?;
            finish(&args.common, &on(&args.common.target()?, |it| direct::run(&options, it, progress))?)
        }
        Command::Broadcast(args) => {
            let options = args.options()?;
            finish(&args.common, &on(&args.common.target()?, |it| broadcast::run(&options, it, progress))?)
        }
        Command::Group(args) => {
            let options = args.options()?;
            finish(&args.common, &on(&args.common.target()?, |it| group::run(&options, it, progress))?)
        }
        Command::Durable(args) => {
            let options = args.options()?;
            finish(&args.common, &on(&args.common.target()?, |it| durable::run(&options, it, progress))?)
        }
        Command::Storm(args) => {
            let options = args.options()?;
            finish(&args.common, &on_all(&args.targets()?, |all| storm::run(&options, all, progress))?)
        }
        Command::Stall(args) => {
            finish(&args.common, &stall::run(&args.options()?, || args.common.target(), progress)?)
        }
        Command::Mixed(args) => {
            let options = args.options()?;
            finish(&args.common, &on(&args.common.target()?, |it| mixed::run(&options, it, progress))?)
        }
        Command::Resume(args) => {
            let options = args.options();
            finish(&args.common, &on(&args.common.target()?, |it| resume::run(&options, it, progress))?)
        }
        Command::Idle(args) => run_idle(args, progress),
        Command::Peers(args) => run_peers(args, progress),
        Command::Crew => {
            crew::serve(BufReader::new(std::io::stdin()), std::io::stdout())?;
            Ok(true)
        }
    }
}

/// Runs a load, and says of a failure what is wrong with the server itself.
fn on<R>(target: &Target, load: impl FnOnce(&Target) -> Result<R, BenchError>) -> Result<R, Box<dyn Error>> {
    load(target).map_err(|error| explained(error, std::slice::from_ref(target)))
}

fn on_all<R>(
    targets: &[Target],
    load: impl FnOnce(&[Target]) -> Result<R, BenchError>,
) -> Result<R, Box<dyn Error>> {
    load(targets).map_err(|error| explained(error, targets))
}

fn explained(error: BenchError, targets: &[Target]) -> Box<dyn Error> {
    match targets.iter().find_map(Target::trouble) {
        Some(trouble) => format!("{trouble}: {error}").into(),
        None => error.into(),
    }
}

fn run_peers(args: &PeersArgs, progress: &mut Progress) -> Result<bool, Box<dyn Error>> {
    // A run that is cut off leaves its rounds, for --earlier; whether they can be written is told at the end.
    let keep = |report: &peers::PeersReport| drop(write_json(args.json.as_deref(), report));
    let report = peers::run(&args.options()?, progress, keep)?;
    print!("{report}");
    write_json(args.json.as_deref(), &report)?;
    write_svg(args.svg.as_deref(), || report.chart())?;
    Ok(report.is_good())
}

fn run_idle(args: &IdleArgs, progress: &mut Progress) -> Result<bool, Box<dyn Error>> {
    let mut run = |protocol| -> Result<idle::IdleReport, Box<dyn Error>> {
        let options = args.options(protocol)?;
        on_all(&args.targets()?, |all| idle::run(&options, all, progress))
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
