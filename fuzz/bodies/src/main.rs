//! What is wanted of the corpora beside fuzzing: their inputs run and shown, and what they begin with.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchboard_fuzz::{TARGETS, Target, seeds::seeds};

/// Runs and shows inputs of fuzz targets. `cargo fuzz` does the fuzzing; fuzz/README.md says how.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The names of all targets.
    List,
    /// Gives a target these files; a panic says what does not hold.
    Run {
        /// The target.
        #[arg(value_parser = target)]
        target: Target,
        /// Its inputs.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Shows an input as the target sees it: a schedule or scripts, for switchboard-sim.
    Show {
        /// The target.
        #[arg(value_parser = target)]
        target: Target,
        /// Its input.
        file: PathBuf,
    },
    /// Writes inputs for a corpus to begin with: made of what is below sim, and of numbers.
    Seeds {
        /// The target.
        #[arg(value_parser = target)]
        target: Target,
        /// Where to write them.
        folder: PathBuf,
        /// How many of those that are made of numbers.
        #[arg(long, default_value_t = 100)]
        count: u64,
    },
}

fn target(name: &str) -> Result<Target, String> {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let found = TARGETS.iter().find(|target| target.name == name).copied();
    found.ok_or_else(|| format!("the targets are {}", names.join(", ")))
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

fn execute(command: Command) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        Command::List => TARGETS.iter().try_for_each(|target| writeln!(out, "{}", target.name)),
        Command::Run { target, files } => files.iter().try_for_each(|file| {
            writeln!(out, "{}", file.display())?;
            (target.run)(&read(file)?);
            Ok(())
        }),
        Command::Show { target, file } => {
            let input = read(&file)?;
            match target.show {
                Some(show) => write!(out, "{}", show(&input)),
                None => out.write_all(&input),
            }
        }
        Command::Seeds { target, folder, count } => {
            fs::create_dir_all(&folder)?;
            let sim = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim");
            for (number, seed) in seeds(target.name, &sim, count)?.into_iter().enumerate() {
                fs::write(folder.join(format!("seed-{number:04}")), seed)?;
            }
            Ok(())
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}
