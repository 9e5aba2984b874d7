//! A script of a recording: the stretch between two places, with the state that the engine had at the first.

use std::collections::BTreeMap;

use switchboard_engine::{Event, OwnedAction, Probe, Server, Ticket, recording::BUILD};

use super::{Ask, Line, Script, What};
use crate::recording::file::SavedState;
use crate::recording::files::Recording;
use crate::recording::player::Cause;
use crate::recording::replay::{Options, ReplayError, Report, Until, replay};

/// A script, and what came of the recording up to its end.
#[derive(Debug)]
pub struct Cut {
    /// The script.
    pub script: Script,
    /// The replay.
    pub report: Report,
}

/// Cuts a script out of a recording. Without `from` it begins where the recording does. Of the replay, differences are
/// passed over: the script has what the engine was told.
///
/// # Errors
/// As [`replay`].
pub fn cut<P: Probe + Clone>(
    recording: &mut Recording,
    probe: &P,
    from: Option<Until>,
    until: Option<Until>,
) -> Result<Cut, ReplayError> {
    let header = recording.header().clone();
    let mut script = Script {
        seed: header.seed,
        start_ns: header.started_at.as_nanos(),
        config: header.config,
        state: None,
        lines: Vec::new(),
    };
    let start_ns = script.start_ns;
    let mut asked = BTreeMap::<Ticket, Ask>::new();
    let mut is_before = from.is_some() || header.part > 0;
    let options = Options { until, all_differences: true, ..Options::default() };
    let report = replay(recording, probe, &options, |step| {
        let at_ns = start_ns + u64::try_from(step.after.as_nanos()).unwrap_or(u64::MAX);
        if is_before {
            let is_there = match from {
                None => true,
                Some(Until::Step(first)) => step.step >= first,
                Some(Until::Time(time)) => step.after >= time,
            };
            if is_there {
                // The state after this step is where the script begins.
                script.state = snapshot(step.player.server());
                script.start_ns = at_ns;
                is_before = false;
            }
            return;
        }
        let id = u32::try_from(step.step).unwrap_or(u32::MAX);
        let what = match step.cause {
            Cause::Timeout => What::Timeout,
            Cause::Event(Event::Answered { ticket, answer }) => {
                let to = asked.remove(ticket).unwrap_or(Ask::Before(ticket.0));
                What::Answer { to, answer: answer.clone() }
            }
            Cause::Event(event) => What::Event(event.clone()),
        };
        script.lines.push(Line { id, at_ns, what });
        let requests = step.player.actions().iter().filter_map(|action| match action {
            OwnedAction::Request { ticket, .. } => Some(*ticket),
            OwnedAction::Send { .. }
            | OwnedAction::Close { .. }
            | OwnedAction::Abort { .. }
            | OwnedAction::Publish(_)
            | OwnedAction::Tell(_)
            | OwnedAction::Subscribe(_)
            | OwnedAction::Unsubscribe(_)
            | OwnedAction::Stopped => None,
        });
        asked.extend(requests.zip(0..).map(|(ticket, nth)| (ticket, Ask::Of { line: id, nth })));
    })?;
    Ok(Cut { script, report })
}

/// Of a copy: to take a state changes which places an engine takes next.
fn snapshot<P: Probe + Clone>(server: &Server<P>) -> Option<SavedState> {
    let bytes = server.clone().snapshot().ok()?;
    Some(SavedState { build: BUILD.to_owned(), bytes })
}
