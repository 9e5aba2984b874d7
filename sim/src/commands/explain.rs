//! `explain`: a run as a table.

use std::collections::BTreeMap;
use std::io::{self, Write};

use switchboard_sim::text::TIME_LIMIT_US;
use switchboard_sim::trace::{Kind, Lane, Mark, State};
use switchboard_sim::world::Options;
use switchboard_sim::{check::Violation, runner};

use super::{CliError, Subject, load};

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    subject: Subject,
    /// Stop at this virtual time, in microseconds; the healed phase is left out.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1..=TIME_LIMIT_US))]
    until: Option<u64>,
}

/// Runs the subject and shows who saw what when; true if everything holds.
pub(crate) fn explain(args: &ExplainArgs) -> Result<bool, CliError> {
    let schedule = load(&args.subject)?;
    let options = Options {
        sweep_every: 1,
        until_us: args.until,
        trace: true,
        target: args.subject.target,
        ..Options::default()
    };
    let outcome = runner::execute_caught(&schedule, options);
    table(&mut io::stdout().lock(), &outcome.trace, outcome.violation.as_ref())?;
    Ok(outcome.violation.is_none())
}

/// What is on its way: when it left, from where to where, and what it is.
type Sent<'a> = BTreeMap<u32, (u64, Lane, Lane, &'a str)>;

/// Writes a trace as a table, and what did not hold.
pub(super) fn table(out: &mut impl Write, trace: &[Mark], violation: Option<&Violation>) -> io::Result<()> {
    writeln!(out, "{:>12} {:>6}  {:<8} {:<8} what", "us", "step", "from", "to")?;
    let mut sent = Sent::new();
    let mut spans = BTreeMap::new();
    for mark in trace {
        let mut line = |from: &str, to: &str, what: &str| {
            writeln!(out, "{:>12} {:>6}  {from:<8} {to:<8} {what}", mark.at_us, "")
        };
        match &mark.kind {
            Kind::Step { id, text, .. } => {
                writeln!(out, "{:>12} {id:>6}  {text}", mark.at_us)?;
            }
            Kind::Note { lane, text } => line(&lane.to_string(), "", text)?,
            Kind::Sent { transfer, from, to, text, .. } => {
                sent.insert(*transfer, (mark.at_us, *from, *to, text));
            }
            Kind::Arrived { transfer } => {
                if let Some((left_us, from, to, text)) = sent.remove(transfer) {
                    let took = format!("{text} (after {} us)", mark.at_us - left_us);
                    line(&from.to_string(), &to.to_string(), &took)?;
                }
            }
            Kind::Lost { transfer, why } => {
                if let Some((left_us, from, to, text)) = sent.remove(transfer) {
                    let lost = format!("{text} (LOST: {why}; sent at {left_us})");
                    line(&from.to_string(), &to.to_string(), &lost)?;
                }
            }
            Kind::Began { span, lane, state, .. } => {
                spans.insert(*span, (*lane, *state));
                line(&lane.to_string(), "", &format!("begins: {}", state_name(*state)))?;
            }
            Kind::Ended { span } => {
                if let Some((lane, state)) = spans.remove(span) {
                    line(&lane.to_string(), "", &format!("ends: {}", state_name(state)))?;
                }
            }
        }
    }
    for (left_us, from, to, text) in sent.values() {
        let (from, to) = (from.to_string(), to.to_string());
        writeln!(out, "{left_us:>12} {:>6}  {from:<8} {to:<8} {text} (still on its way)", "")?;
    }
    match violation {
        None => writeln!(out, "everything holds"),
        Some(violation) => writeln!(out, "{violation}"),
    }
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Connected => "connected",
        State::HalfOpen => "has a dead connection and does not know",
        State::Paused => "does not read",
        State::Down => "down",
    }
}
