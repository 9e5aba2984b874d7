//! A script of events, walked: a step is one of its lines.

use std::rc::Rc;
use std::time::Duration;

use switchboard_engine::{Instant, UserId};

use super::recording::{OF_A_SERVER, concerns, story, tables, who};
use super::timeline::Course;
use super::view::{Row, Table};
use super::{Branch, Forked};
use crate::canaries::Planted;
use crate::recording::name;
use crate::recording::player::Cause;
use crate::script::run::{Driver, RunError};
use crate::script::{Line, Script};

/// The course of a script.
#[derive(Debug)]
pub struct ScriptCourse {
    title: String,
    script: Script,
    start: ScriptPlace,
}

/// An engine between two lines.
#[derive(Clone, Debug)]
pub struct ScriptPlace {
    driver: Rc<Driver<Planted>>,
    /// Lines so far.
    lines: usize,
    /// What it was told by the last one; none if that cannot happen.
    told: Option<Cause>,
    of: Option<UserId>,
}

impl ScriptCourse {
    /// Of a script.
    ///
    /// # Errors
    /// If it begins with a state that this build cannot read.
    pub fn new(script: Script, title: String, probe: Planted) -> Result<Self, RunError> {
        let driver = Rc::new(Driver::begin(&script, probe)?);
        let start = ScriptPlace { driver, lines: 0, told: None, of: None };
        Ok(Self { title, script, start })
    }

    fn line(&self, place: &ScriptPlace) -> Option<&Line> {
        self.script.lines.get(place.lines.checked_sub(1)?)
    }

    fn after(&self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns.saturating_sub(self.script.start_ns))
    }
}

impl Course for ScriptCourse {
    type Place = ScriptPlace;

    fn start(&self) -> ScriptPlace {
        self.start.clone()
    }

    fn go(&mut self, place: &mut ScriptPlace) -> bool {
        let Some(line) = self.script.lines.get(place.lines) else { return false };
        if place.driver.player.violation().is_some() {
            return false;
        }
        let driver = Rc::make_mut(&mut place.driver);
        place.of = line.conn().and_then(|conn| driver.player.judge().user(conn)).cloned();
        place.told = driver.tell(line);
        place.lines += 1;
        true
    }

    fn row(&self, place: &ScriptPlace) -> Row {
        let Some(line) = self.line(place) else { return Row::default() };
        let player = &place.driver.player;
        let (who, told, actions) = match &place.told {
            Some(cause) => (
                who(player, cause, place.of.as_ref()),
                name::cause_by(cause, player.judge()),
                player.actions().len(),
            ),
            None => (String::new(), format!("left out, as it cannot happen: {}", line.what), 0),
        };
        let told = format!("line {}: {told}", line.id);
        let at = self.after(line.at_ns);
        Row { number: 0, at, who, told, actions, is_fault: false, failure: self.failure(place) }
    }

    fn story(&self, place: &ScriptPlace) -> Vec<String> {
        match (&place.told, self.line(place)) {
            (Some(cause), _) => story(&place.driver.player, cause),
            (None, Some(line)) => vec![format!("left out, as it cannot happen: {}", line.what)],
            (None, None) => Vec::new(),
        }
    }

    fn failure(&self, place: &ScriptPlace) -> Option<String> {
        place.told.as_ref()?;
        place.driver.player.violation().map(ToString::to_string)
    }

    fn concerns(&self, place: &ScriptPlace, whom: &str) -> bool {
        let of = place.of.as_ref();
        place.told.as_ref().is_some_and(|cause| concerns(&place.driver.player, cause, of, whom))
    }

    fn look(&self, place: &ScriptPlace) -> (Duration, Vec<Table>, u64) {
        let at = self.line(place).map_or(Duration::ZERO, |line| self.after(line.at_ns));
        let player = &place.driver.player;
        let started_at = Instant::from_nanos(self.script.start_ns);
        (at, tables(player, started_at), player.server().full_digest())
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn fork(&mut self, _: u64, place: &ScriptPlace, branch: Branch) -> Result<Forked, String> {
        if branch != Branch::Cut {
            return Err(OF_A_SERVER.to_owned());
        }
        let lines = self.script.lines.get(..place.lines).unwrap_or_default().to_vec();
        Ok(Forked::Script(Box::new(Script { lines, ..self.script.clone() })))
    }
}
