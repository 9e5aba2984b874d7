//! `replay` of what a server was told.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use switchboard_engine::{Canary, Probe};
use switchboard_sim::canaries::Planted;
use switchboard_sim::recording::{
    chart::Film,
    file::is_recording,
    files::Recording,
    name,
    replay::{self, Difference, Options, Report, Shown, Until},
};

use super::CliError;

/// How it is to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) until: Option<Until>,
    pub(super) user: Option<&'a str>,
    pub(super) show: bool,
    pub(super) sweep_every: Option<u64>,
    pub(super) chart: Option<&'a Path>,
    pub(super) canary: Option<Canary>,
}

/// Whether a path is that of recordings.
pub(super) fn is_recorded(path: &Path) -> bool {
    path.is_dir() || is_recording(path)
}

/// Replays recordings and reports; true if they are identical, and everything holds.
pub(super) fn replay(paths: &[PathBuf], view: &View<'_>) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    let mut is_all_well = true;
    for mut recording in Recording::open(paths)? {
        let header = recording.header();
        writeln!(out, "{}, shard {} of {}", header.program, header.shard, header.shards.max(1))?;
        let options = Options { until: view.until, sweep_every: view.sweep_every, ..Options::default() };
        let start = Instant::now();
        let mut shown = Ok(());
        let mut film = Film::default();
        let report = replay::replay(&mut recording, &Planted(view.canary), &options, |step| {
            if view.chart.is_some() {
                film.step(step);
            }
            if shown.is_ok()
                && (view.show
                    || view.user.is_some_and(|user| {
                        step.player.judge().concerns(user, step.cause, step.player.actions())
                    }))
            {
                shown = show(&mut out, step);
            }
        })?;
        shown?;
        is_all_well &= tell(&mut out, &report, start.elapsed())?;
        if let Some(path) = view.chart {
            let title = format!("{}, shard {}", report.header.program, report.header.shard);
            let svg = film.draw(
                &title,
                report.header.seed,
                report.violation.as_ref().map(|(violation, ..)| violation),
            );
            std::fs::write(path, svg).map_err(|source| CliError::Write { path: path.to_owned(), source })?;
            writeln!(out, "chart: {}", path.display())?;
        }
    }
    Ok(is_all_well)
}

fn show<P: Probe + Clone>(out: &mut impl Write, step: &Shown<'_, P>) -> io::Result<()> {
    let judge = step.player.judge();
    writeln!(out, "{:>8} {:>14}  {}", step.step, seconds(step.after), name::cause_by(step.cause, judge))?;
    for action in name::actions(step.player.actions(), judge) {
        writeln!(out, "{:>8} {:>14}    -> {action}", "", "")?;
    }
    Ok(())
}

/// Reports; true if all is well.
fn tell(out: &mut impl Write, report: &Report, took: Duration) -> io::Result<bool> {
    let Report { steps, recorded, .. } = report;
    if report.differing == 0 {
        let fast = recorded.as_secs_f64() / took.as_secs_f64().max(1e-9);
        writeln!(out, "identical: {steps} events, {} recorded, {fast:.0} times as fast", seconds(*recorded))?;
        if !report.is_same_build {
            writeln!(
                out,
                "the actions alone were compared: the states are those of another build, {}",
                report.header.build
            )?;
        }
    }
    for difference in &report.differences {
        tell_difference(out, difference)?;
    }
    if let Some((violation, step, told)) = &report.violation {
        writeln!(out, "{violation}")?;
        writeln!(out, "  seen after step {step}: {told}")?;
    }
    if let Some(damage) = &report.damage {
        writeln!(out, "{damage}")?;
        writeln!(out, "  everything before it was replayed")?;
    }
    Ok(report.differing == 0 && report.violation.is_none() && report.damage.is_none())
}

pub(super) fn tell_difference(out: &mut impl Write, difference: &Difference) -> io::Result<()> {
    let Difference { step, after, told, recorded, now } = difference;
    writeln!(out, "step {step} leads to something else, {} after the beginning: {told}", seconds(*after))?;
    writeln!(out, "  recorded: {recorded}")?;
    writeln!(out, "  this build: {}", if now.is_empty() { "nothing" } else { "" })?;
    now.iter().try_for_each(|action| writeln!(out, "    {action}"))
}

/// A time in seconds.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.6} s", time.as_secs_f64())
}
