//! Counts instructions, so that a regression shows on a machine that is busy with something else.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cases::Case;

/// What a case may take more than it did: other versions of the compiler and of packages give other counts.
const TOLERANCE: f64 = 1.05;

/// The counts that were written once.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    /// Instructions for one message, or one recipient, by the case's name.
    instructions: BTreeMap<String, f64>,
}

/// Counts, prints, and says whether nothing takes more than it did.
pub(crate) fn run(
    cases: &[&Case],
    check: Option<&Path>,
    write: Option<&Path>,
) -> Result<bool, Box<dyn Error>> {
    let known: Counts = match check {
        Some(file) => serde_json::from_slice(
            &std::fs::read(file).map_err(|error| format!("reading {}: {error}", file.display()))?,
        )?,
        None => Counts::default(),
    };
    println!("{:<28} {:>14} {:>14}", "instructions each", "now", "before");
    let (mut counts, mut holds) = (Counts::default(), true);
    for case in cases.iter().filter(|case| case.times > 0) {
        let count = per_part(case)?;
        let before = known.instructions.get(case.name);
        let too_many = before.is_some_and(|before| count > before * TOLERANCE);
        holds &= !too_many;
        let before = before.map_or("-".to_owned(), |before| format!("{before:.1}"));
        let verdict = if too_many { "   TOO MANY" } else { "" };
        println!("{:<28} {count:>14.1} {before:>14}{verdict}", case.name);
        counts.instructions.insert(case.name.to_owned(), (count * 10.0).round() / 10.0);
    }
    if let Some(file) = write {
        std::fs::write(file, serde_json::to_string_pretty(&counts)? + "\n")
            .map_err(|error| format!("writing {}: {error}", file.display()))?;
    }
    Ok(holds)
}

/// The difference of two runs, so that what comes before the first message does not count.
#[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
fn per_part(case: &Case) -> Result<f64, Box<dyn Error>> {
    let few = case.times.div_ceil(5);
    let (less, more) = (total(case, few)?, total(case, few + case.times)?);
    Ok(more.saturating_sub(less) as f64 / (case.times * case.parts) as f64)
}

/// Instructions of this program, when it does nothing but to run a case so many times.
fn total(case: &Case, times: usize) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--only", case.name, &times.to_string()])
        .output()
        .map_err(|error| {
            format!("running valgrind, which counts the instructions (apt install valgrind): {error}")
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim().parse());
    match count {
        Some(Ok(count)) if output.status.success() => Ok(count),
        Some(_) | None => Err(format!("valgrind did not count {:?}: {said}", case.name).into()),
    }
}
