//! Scripts of events: cut out of recordings, replayed, made small.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use switchboard_engine::Canary;
use switchboard_sim::canaries::Planted;
use switchboard_sim::recording::{files::Recording, replay::Until};
use switchboard_sim::script::{
    Script, from,
    run::{self, Outcome},
    rust,
    shrink::{self, Trial},
    text,
};

use super::{CliError, check_output, recorded, shrink::quoted};

/// What `convert` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// A recording: a file, or the folder of an engine's files.
    #[arg(value_name = "RECORDING")]
    recording: PathBuf,
    /// Begin behind so many steps, or after a time such as 250ms or 1.5s; by default at the beginning.
    #[arg(long, value_name = "STEP or TIME")]
    from: Option<Until>,
    /// End behind so many steps, or after a time; by default at the end.
    #[arg(long, value_name = "STEP or TIME")]
    until: Option<Until>,
    /// Where to write the script.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// With this deliberate bug in the engine.
    #[arg(long, value_name = "NAME", value_parser = super::parse_canary)]
    canary: Option<Canary>,
}

/// Whether a path is that of a script.
pub(super) fn is_script(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text::is_script(&text))
}

/// Whether a path is that of a script or a recording.
pub(super) fn is_script_or_recording(path: &Path) -> bool {
    recorded::is_recorded(path) || is_script(path)
}

/// Cuts a script out of a recording; true if everything holds in it.
pub(crate) fn convert(args: &ConvertArgs) -> Result<bool, CliError> {
    check_output(&args.recording, &args.out)?;
    let mut recording = one(&args.recording)?;
    let cut = from::cut(&mut recording, &Planted(args.canary), args.from, args.until)?;
    write(&args.out, &cut.script.to_string())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} events: {}", cut.script.lines.len(), args.out.display())?;
    if cut.report.differing > 0 {
        writeln!(out, "{} steps lead to something else than was recorded", cut.report.differing)?;
    }
    if let Some(damage) = &cut.report.damage {
        writeln!(out, "{damage}")?;
    }
    match &cut.report.violation {
        None => writeln!(out, "everything holds")?,
        Some((violation, step, _)) => writeln!(out, "{violation}\n  seen after step {step}")?,
    }
    Ok(cut.report.violation.is_none() && cut.report.damage.is_none())
}

/// Tells an engine what is in a script; true if everything holds.
pub(super) fn replay(path: &Path, canary: Option<Canary>, show: bool) -> Result<bool, CliError> {
    let script = read(path)?;
    let outcome = run::run(&script, Planted(canary))
        .map_err(|source| CliError::Run { path: path.to_owned(), source })?;
    let mut out = io::stdout().lock();
    if show {
        outcome.story.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    let (told, all) = (outcome.told.len(), script.lines.len());
    writeln!(out, "{told} events of {all} told, as the others cannot happen or come later")?;
    match &outcome.violation {
        None => writeln!(out, "everything holds")?,
        Some(violation) => writeln!(out, "{violation}")?,
    }
    Ok(outcome.violation.is_none())
}

/// Makes a script small, or what a recording has up to where it fails; never true, since something fails.
pub(super) fn shrink(
    path: &Path,
    to: &Path,
    rust_test: Option<&Path>,
    canary: Option<Canary>,
) -> Result<bool, CliError> {
    let (script, damage) = if is_script(path) {
        (read(path)?, None)
    } else {
        let cut = from::cut(&mut one(path)?, &Planted(canary), None, None)?;
        (cut.script, cut.report.damage)
    };
    let run_error = |source| CliError::Run { path: path.to_owned(), source };
    let trial = Trial { probe: Planted(canary), must_hold_without: canary.is_some() };
    let small = shrink::shrink(&script, &trial).map_err(run_error)?;
    // What fails may be behind the damage.
    let small = small.ok_or_else(|| damage.map_or(CliError::NothingFails, CliError::from))?;
    let outcome = run::run(&small, Planted(canary)).map_err(run_error)?;
    write(to, &small.to_string())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} events of {} are left: {}", small.lines.len(), script.lines.len(), to.display())?;
    tell(&mut out, &outcome)?;
    if let Some(rust_test) = rust_test {
        let name = rust_test.file_stem().unwrap_or_default().to_string_lossy();
        write(rust_test, &rust::test(&name, &small, &outcome))?;
        writeln!(out, "Rust test: {}", rust_test.display())?;
    }
    let planted = canary.map(|canary| format!(" --canary {canary}")).unwrap_or_default();
    writeln!(out, "switchboard-sim replay {}{planted}", quoted(&to.to_string_lossy()))?;
    Ok(false)
}

fn tell(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    outcome.story.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    outcome.violation.as_ref().map_or(Ok(()), |violation| writeln!(out, "{violation}"))
}

/// The recording of one engine.
pub(super) fn one(path: &Path) -> Result<Recording, CliError> {
    one_of(&[path.to_owned()])
}

/// The recording of one engine, in several files.
pub(super) fn one_of(paths: &[PathBuf]) -> Result<Recording, CliError> {
    let mut recordings = Recording::open(paths)?;
    let first = recordings.remove(0);
    if let Some(other) = recordings.first() {
        let (path, first) = (paths.first().cloned().unwrap_or_default(), first.header().shard);
        return Err(CliError::ManyEngines { path, first, other: other.header().shard });
    }
    Ok(first)
}

pub(super) fn read(path: &Path) -> Result<Script, CliError> {
    let text = fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| CliError::ParseEvents { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(|source| CliError::Write { path: path.to_owned(), source })
}
