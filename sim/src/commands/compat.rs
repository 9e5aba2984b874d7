//! `compat`: whether this build does what older ones have recorded.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use switchboard_engine::Shipped;
use switchboard_sim::recording::{
    accept::accept,
    file::ReadError,
    files::Recording,
    replay::{self, Options},
};

use super::{CliError, recorded::tell_difference};

/// What `compat` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CompatArgs {
    /// Recordings, or folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What has changed is as it should be: write it into the files, which are parts 0 of their engines.
    #[arg(long)]
    accept: bool,
    /// Describe so many changes of each recording; all are counted.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Replays the recordings and lists what has changed; true if nothing has, or it is accepted.
pub(crate) fn compat(args: &CompatArgs) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    let mut is_same = true;
    let files: Vec<PathBuf> =
        args.files.iter().map(|path| files(path)).collect::<Result<Vec<_>, _>>()?.concat();
    for path in files {
        for mut recording in Recording::open(std::slice::from_ref(&path))? {
            let options = Options { all_differences: true, differences: args.limit, ..Options::default() };
            let report = replay::replay(&mut recording, &Shipped, &options, |_| {})?;
            let (steps, changed) = (report.steps, report.differing);
            writeln!(
                out,
                "{}: {changed} of {steps} steps lead to something else, by {}",
                path.display(),
                report.header.program
            )?;
            report.differences.iter().try_for_each(|difference| tell_difference(&mut out, difference))?;
            if let Some((violation, step, told)) = &report.violation {
                writeln!(out, "{violation}\n  seen after step {step}: {told}")?;
            }
            if let Some(damage) = report.damage {
                return Err(damage.into());
            }
            is_same &= report.violation.is_none() && (changed == 0 || args.accept);
            if args.accept && changed > 0 {
                let file = accept(&path)?;
                fs::write(&path, file).map_err(|source| CliError::Write { path: path.clone(), source })?;
                writeln!(out, "  written as it is now")?;
            }
        }
    }
    Ok(is_same)
}

/// The recordings that a path means, in the order of their names.
fn files(path: &std::path::Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let read = |source| CliError::Read { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    let is_recording = |path: &PathBuf| switchboard_sim::recording::file::is_recording(path);
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(is_recording).collect();
    files.sort();
    // Nothing that differs, as there is nothing, would pass for good.
    if files.is_empty() { Err(ReadError::Empty { path: path.to_owned() }.into()) } else { Ok(files) }
}
