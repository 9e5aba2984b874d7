//! Tells the engine of this build what another one was told, and compares what the two do.

use std::path::PathBuf;
use std::time::Duration;

use switchboard_engine::{
    Instant, Probe, Server,
    recording::{Acted, BUILD, Digests, Header, Step},
};

use super::file::{Placed, ReadError, SavedState};
use super::files::{Piece, Recording};
use super::name;
use super::player::{Cause, Player};
use crate::check::Violation;

/// How a recording is to be replayed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where to stop.
    pub until: Option<Until>,
    /// Go on where this build does something else, to the end.
    pub all_differences: bool,
    /// So many differences are described.
    pub differences: usize,
    /// Steps between two looks at the whole state; none: as many as make it cheap.
    pub sweep_every: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { until: None, all_differences: false, differences: 1, sweep_every: None }
    }
}

/// A place in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Behind so many steps.
    Step(u64),
    /// So long after the recording begins.
    Time(Duration),
}

impl core::str::FromStr for Until {
    type Err = String;

    /// A number of steps, or a time such as `250ms`, `1.5s`, `2m`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(step) = text.parse() {
            return Ok(Self::Step(step));
        }
        let time = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
            .into_iter()
            .find_map(|(unit, seconds)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * seconds));
        time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(Self::Time).ok_or_else(|| {
            format!(
                "{text} is no place in a recording: give a number of steps, or a time such as 250ms or 1.5s"
            )
        })
    }
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It begins in the middle, with a state that this build cannot read.
    #[error(
        "{path}: this recording begins in the middle, and only the version that wrote it can go on from there: \
         {build}, and this is {BUILD}. With the engine's first file, part 0, every version can replay it"
    )]
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// The build that wrote it.
        build: String,
    },
    /// The state is of this build, and is none.
    #[error("{path}: the engine's state cannot be read, though this very version has written it")]
    BadState {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Where this build does something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step; of an interval, its last one.
    pub step: u64,
    /// Its time, since the recording began.
    pub after: Duration,
    /// What the engine was told.
    pub told: String,
    /// What was recorded.
    pub recorded: String,
    /// What this build does.
    pub now: Vec<String>,
}

/// What came of a replay.
#[derive(Debug)]
pub struct Report {
    /// What the recording begins with.
    pub header: Header,
    /// Steps that the engine was told.
    pub steps: u64,
    /// The time that they took when they were recorded.
    pub recorded: Duration,
    /// Steps of which something else comes, or the state after them.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// What does not hold of this build, the step after which it was seen, and what that told the engine.
    pub violation: Option<(Violation, u64, String)>,
    /// Why it was not read to its end.
    pub damage: Option<ReadError>,
    /// Whether the engine stopped in order at its end.
    pub has_ended: bool,
    /// Whether the states could be compared: the recording is of this very build.
    pub is_same_build: bool,
}

/// A step that was just told, for those who want to see it.
#[derive(Debug)]
pub struct Shown<'a, P: Probe> {
    /// Its number, from 1.
    pub step: u64,
    /// Its time, since the recording began.
    pub after: Duration,
    /// What the engine was told.
    pub cause: &'a Cause,
    /// The engine, and what it has done.
    pub player: &'a Player<P>,
}

/// Replays a recording; `see` is shown every step.
///
/// # Errors
/// If it begins in the middle and this build cannot go on from there. A recording that is damaged further on is replayed up to there,
/// and the report says why no further.
pub fn replay<P: Probe + Clone>(
    recording: &mut Recording,
    probe: &P,
    options: &Options,
    mut see: impl FnMut(&Shown<'_, P>),
) -> Result<Report, ReplayError> {
    let mut run = Run::begin(recording, probe, options)?;
    loop {
        match recording.next_piece() {
            Ok(Some(Piece::Begin { path, header, state })) => run.go_on(&path, &header, state),
            Ok(Some(Piece::Step(placed))) => {
                if run.is_until(&placed) || !run.step(placed, &mut see) {
                    break;
                }
            }
            Ok(None) => {
                run.report.has_ended = recording.has_ended();
                break;
            }
            Err(error) => {
                run.report.damage = Some(error);
                break;
            }
        }
    }
    Ok(run.end())
}

struct Run<'o, P: Probe> {
    player: Player<P>,
    options: &'o Options,
    started_at: Instant,
    /// The last step, until it is known what was recorded of it.
    pending: Option<(Cause, Option<Acted>, Duration)>,
    /// Steps up to the last digests of everything, and differences until then.
    digests_at: u64,
    differing_before: u64,
    report: Report,
}

impl<'o, P: Probe + Clone> Run<'o, P> {
    fn begin(recording: &mut Recording, probe: &P, options: &'o Options) -> Result<Self, ReplayError> {
        let first = recording.next_piece()?;
        let Some(Piece::Begin { path, header, state }) = first else {
            return Err(ReadError::Empty { path: PathBuf::new() }.into());
        };
        let started_at = header.started_at;
        let mut player = match state {
            None => Player::new(header.config.clone(), header.seed, started_at, probe.clone()),
            Some(state) if state.build != BUILD => {
                return Err(ReplayError::OtherBuild { path, build: state.build });
            }
            Some(state) => {
                let server = Server::restore_with_probe(&state.bytes, probe.clone());
                Player::resumed(server.map_err(|_| ReplayError::BadState { path })?, started_at)
            }
        };
        if let Some(steps) = options.sweep_every {
            player.sweep_every(steps);
        }
        let report = Report {
            steps: 0,
            recorded: Duration::ZERO,
            differing: 0,
            differences: Vec::new(),
            violation: None,
            damage: None,
            has_ended: false,
            is_same_build: header.build == BUILD,
            header: *header,
        };
        Ok(Self { player, options, started_at, pending: None, digests_at: 0, differing_before: 0, report })
    }

    /// Another file begins. Whoever wrote it has taken the engine's state there, so that is done here too.
    fn go_on(&mut self, path: &std::path::Path, header: &Header, state: Option<SavedState>) {
        self.settle(None);
        self.player.begin_part();
        (self.digests_at, self.differing_before) = (self.report.steps, self.report.differing);
        let bytes = self.player.snapshot();
        let Some(state) = state.filter(|state| state.build == BUILD) else { return };
        // Tables that only look things up are written down as they lie in memory, which is another way in an engine that began
        // with a file's state. The digest does not look at that.
        let is_same = || {
            let recorded = Server::restore(&state.bytes).map(|server| server.full_digest());
            recorded.is_ok_and(|recorded| recorded == self.player.server().full_digest())
        };
        if bytes.as_deref() != Some(state.bytes.as_slice()) && !is_same() && self.report.differing == 0 {
            let told = format!("{} begins, part {}", path.display(), header.part);
            self.differ(
                "another state".to_owned(),
                told,
                vec!["the state is not that of the file".to_owned()],
            );
        }
    }

    fn is_until(&self, placed: &Placed) -> bool {
        let is_step = matches!(placed.step, Step::Event(_) | Step::Timeout);
        is_step
            && match self.options.until {
                None => false,
                Some(Until::Step(step)) => self.player.steps() >= step,
                Some(Until::Time(time)) => placed.at.saturating_since(self.started_at) > time,
            }
    }

    /// Whether to go on.
    fn step(&mut self, placed: Placed, see: &mut impl FnMut(&Shown<'_, P>)) -> bool {
        match placed.step {
            Step::Event(event) => self.tell(placed.at, Cause::Event(event), see),
            Step::Timeout => self.tell(placed.at, Cause::Timeout, see),
            Step::Acted(acted) => self.settle(Some(acted)),
            Step::Digests(digests) => {
                self.settle(None);
                self.compare(digests);
            }
        }
        self.report.violation.is_none() && !self.has_seen_enough()
    }

    const fn has_seen_enough(&self) -> bool {
        self.report.differing > 0 && !self.options.all_differences
    }

    fn tell(&mut self, at: Instant, cause: Cause, see: &mut impl FnMut(&Shown<'_, P>)) {
        self.settle(None);
        if self.has_seen_enough() {
            return;
        }
        let acted = self.player.tell(at, &cause);
        let after = at.saturating_since(self.started_at);
        self.report.steps = self.player.steps();
        self.report.recorded = self.report.recorded.max(after);
        see(&Shown { step: self.report.steps, after, cause: &cause, player: &self.player });
        if let Some(violation) = self.player.violation() {
            self.report.violation = Some((violation.clone(), self.report.steps, self.told(&cause)));
        }
        self.pending = Some((cause, acted, after));
    }

    /// What was recorded of the last step, if it was not compared yet.
    fn settle(&mut self, recorded: Option<Acted>) {
        let Some((cause, acted, after)) = self.pending.take() else { return };
        if acted == recorded {
            return;
        }
        self.report.differing += 1;
        if self.report.differences.len() < self.options.differences {
            let digest = |acted: Acted| format!("actions with the digest {:04x}", acted.number());
            self.report.differences.push(Difference {
                step: self.report.steps,
                after,
                told: self.told(&cause),
                recorded: recorded.map_or_else(|| "nothing".to_owned(), digest),
                now: self.actions(),
            });
        }
    }

    fn compare(&mut self, recorded: Digests) {
        let (actions, state) = self.player.digests();
        let has_differed = self.report.differing > self.differing_before;
        let steps = self.digests_at + 1..=self.report.steps;
        (self.digests_at, self.differing_before) = (self.report.steps, self.report.differing);
        if has_differed {
            return;
        }
        let (first, last) = (steps.start(), steps.end());
        if actions != recorded.actions {
            let now = vec!["none of them by itself: a step's own digest has 14 bits".to_owned()];
            self.differ("other actions".to_owned(), format!("steps {first} to {last}"), now);
        } else if state != recorded.state && self.report.is_same_build {
            let now = vec!["the same actions all the same".to_owned()];
            self.differ("another state at the end".to_owned(), format!("steps {first} to {last}"), now);
        }
    }

    fn differ(&mut self, recorded: String, told: String, now: Vec<String>) {
        self.report.differing += 1;
        if self.report.differences.len() < self.options.differences {
            let (step, after) = (self.report.steps, self.report.recorded);
            self.report.differences.push(Difference { step, after, told, recorded, now });
        }
    }

    fn told(&self, cause: &Cause) -> String {
        name::cause_by(cause, self.player.judge())
    }

    fn actions(&self) -> Vec<String> {
        name::actions(self.player.actions(), self.player.judge())
    }

    fn end(mut self) -> Report {
        if self.report.damage.is_none() && self.report.has_ended {
            self.settle(None);
        }
        self.player.sweep();
        if let (None, Some(violation)) = (&self.report.violation, self.player.violation()) {
            self.report.violation =
                Some((violation.clone(), self.report.steps, "the end of the recording".to_owned()));
        }
        self.report
    }
}
