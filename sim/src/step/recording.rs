//! A recording, walked: a step is something that the engine was told.

use std::path::PathBuf;
use std::time::Duration;

use switchboard_engine::{
    ConnId, Event, Instant, OwnedAction, Server, UserId,
    recording::{Acted, BUILD, Digests, Header, Step},
};

use super::timeline::Course;
use super::view::{CONNECTION, Row, Table, connection, counters, seconds};
use super::{Branch, Forked};
use crate::canaries::Planted;
use crate::recording::file::{Mark, Placed, ReadError, Reader, SavedState};
use crate::recording::files::Recording;
use crate::recording::judge::conn_of;
use crate::recording::name;
use crate::recording::player::{Cause, Player};
use crate::recording::replay::{ReplayError, Until};
use crate::script::from;

/// The course of a recording.
#[derive(Debug)]
pub struct RecordingCourse {
    title: String,
    paths: Vec<PathBuf>,
    probe: Planted,
    tape: Tape,
    start: RecordingPlace,
    started_at: Instant,
    is_same_build: bool,
}

/// An engine between two steps, and where in the recording that is.
#[derive(Clone, Debug)]
pub struct RecordingPlace {
    player: Player<Planted>,
    at: Spot,
    /// What it is told next.
    next: Option<(Instant, Cause)>,
    /// What it was told last.
    told: Option<(Instant, Cause)>,
    /// Whose the connection of the last step was before it.
    of: Option<UserId>,
    failure: Option<String>,
    /// Whether something has led to something else since the last digests of everything.
    has_differed: bool,
}

/// A place between two steps of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    /// The file.
    file: usize,
    /// Where in it; none: nothing of it was read.
    mark: Option<Mark>,
}

/// What a recording has next.
enum Bit {
    Begin { header: Box<Header>, state: Option<SavedState> },
    Step(Placed),
}

/// The files of a recording, from any place on.
#[derive(Debug)]
struct Tape {
    paths: Vec<PathBuf>,
    /// What is being read, and which file that is.
    open: Option<(usize, Reader)>,
    first_part: u32,
    has_ended: bool,
    damage: Option<String>,
}

impl Tape {
    /// What follows a place, which becomes the one behind that.
    fn next(&mut self, spot: &mut Spot) -> Result<Option<Bit>, ReadError> {
        while let Some(path) = self.paths.get(spot.file) {
            let Some(mark) = spot.mark else {
                let mut reader = Reader::open(path)?;
                let (header, expected) = (reader.header().clone(), self.first_part + spot.file as u32);
                if header.part != expected {
                    let (path, found) = (path.clone(), header.part);
                    return Err(ReadError::PartMissing { path, expected, found });
                }
                spot.mark = Some(reader.mark());
                let state = reader.take_state();
                self.open = Some((spot.file, reader));
                return Ok(Some(Bit::Begin { header: Box::new(header), state }));
            };
            let open = self.open.take().filter(|(file, reader)| *file == spot.file && reader.mark() == mark);
            let (_, mut reader) = match open {
                Some(open) => open,
                None => (spot.file, Reader::open_at(path, &mark)?),
            };
            if let Some(placed) = reader.next_step()? {
                spot.mark = Some(reader.mark());
                self.open = Some((spot.file, reader));
                return Ok(Some(Bit::Step(placed)));
            }
            self.has_ended = reader.has_ended();
            *spot = Spot { file: spot.file + 1, mark: None };
        }
        Ok(None)
    }
}

impl RecordingCourse {
    /// Of a recording of which nothing was read.
    ///
    /// # Errors
    /// If it begins in the middle and this build cannot go on from there.
    pub fn new(recording: &Recording, probe: Planted) -> Result<Self, ReplayError> {
        let header = recording.header().clone();
        let paths = recording.paths();
        let open = None;
        let mut tape =
            Tape { paths: paths.clone(), open, first_part: header.part, has_ended: false, damage: None };
        let mut at = Spot { file: 0, mark: None };
        let started_at = header.started_at;
        let state = match tape.next(&mut at)? {
            Some(Bit::Begin { state, .. }) => state,
            Some(Bit::Step(_)) | None => None,
        };
        let path = || paths.first().cloned().unwrap_or_default();
        let player = match state {
            None => Player::new(header.config.clone(), header.seed, started_at, probe),
            Some(state) if state.build != BUILD => {
                return Err(ReplayError::OtherBuild { path: path(), build: state.build });
            }
            Some(state) => {
                let server = Server::restore_with_probe(&state.bytes, probe);
                let server = server.map_err(|_| ReplayError::BadState { path: path() })?;
                Player::resumed(server, started_at)
            }
        };
        let planted = probe.0.map(|canary| format!(", with {canary}")).unwrap_or_default();
        let title =
            format!("{}, shard {} of {}{planted}", header.program, header.shard, header.shards.max(1));
        let (next, told, of, failure) = (None, None, None, None);
        let start = RecordingPlace { player, at, next, told, of, failure, has_differed: false };
        let is_same_build = header.build == BUILD;
        let mut course = Self { title, paths, probe, tape, start, started_at, is_same_build };
        let mut start = course.start.clone();
        course.read_on(&mut start, None);
        course.start = start;
        Ok(course)
    }

    /// Reads up to the next thing that the engine is told, and compares what was recorded of the last one with what has come of it.
    fn read_on(&mut self, place: &mut RecordingPlace, acted: Option<Acted>) {
        let mut pending = place.told.is_some();
        let mut settle = |place: &mut RecordingPlace, recorded: Option<Acted>| {
            if core::mem::take(&mut pending) && acted != recorded {
                let digest = |acted: Acted| format!("actions with the digest {:04x}", acted.number());
                let recorded = recorded.map_or_else(|| "nothing".to_owned(), digest);
                differ(place, format!("it led to something else when it was recorded: {recorded}"));
            }
        };
        loop {
            let bit = match self.tape.next(&mut place.at) {
                Ok(Some(bit)) => bit,
                Ok(None) => {
                    if self.tape.has_ended {
                        settle(place, None);
                    }
                    break;
                }
                Err(error) => {
                    self.tape.damage = Some(error.to_string());
                    // Nothing behind it is read.
                    place.at = Spot { file: self.paths.len(), mark: None };
                    break;
                }
            };
            let (at, cause) = match bit {
                Bit::Begin { header, state } => {
                    settle(place, None);
                    go_on(place, &header, state);
                    continue;
                }
                Bit::Step(Placed { at, step, .. }) => match step {
                    Step::Event(event) => (at, Cause::Event(event)),
                    Step::Timeout => (at, Cause::Timeout),
                    Step::Acted(recorded) => {
                        settle(place, Some(recorded));
                        continue;
                    }
                    Step::Digests(digests) => {
                        settle(place, None);
                        compare(place, digests, self.is_same_build);
                        continue;
                    }
                },
            };
            settle(place, None);
            place.next = Some((at, cause));
            return;
        }
        place.player.sweep();
    }
}

/// Another file begins. Whoever wrote it has taken the engine's state there, so that is done here too: the engine is another one by it.
fn go_on(place: &mut RecordingPlace, header: &Header, state: Option<SavedState>) {
    place.player.begin_part();
    place.has_differed = false;
    let bytes = place.player.snapshot();
    let Some(state) = state.filter(|state| state.build == BUILD) else { return };
    if bytes.as_deref() != Some(state.bytes.as_slice()) {
        differ(place, format!("part {} begins behind it, with another state", header.part));
    }
}

fn compare(place: &mut RecordingPlace, recorded: Digests, is_same_build: bool) {
    let (actions, state) = place.player.digests();
    if core::mem::take(&mut place.has_differed) {
        return;
    }
    if actions != recorded.actions {
        differ(place, "since the digests before, other actions were recorded".to_owned());
    } else if state != recorded.state && is_same_build {
        differ(place, "another state was recorded, and the same actions".to_owned());
    }
    place.has_differed = false;
}

fn differ(place: &mut RecordingPlace, what: String) {
    place.has_differed = true;
    place.failure.get_or_insert(what);
}

impl Course for RecordingCourse {
    type Place = RecordingPlace;

    fn start(&self) -> RecordingPlace {
        self.start.clone()
    }

    fn go(&mut self, place: &mut RecordingPlace) -> bool {
        if place.player.violation().is_some() {
            return false;
        }
        let Some((at, cause)) = place.next.take() else { return false };
        let conn = match &cause {
            Cause::Event(event) => conn_of(event),
            Cause::Timeout => None,
        };
        place.failure = None;
        place.of = conn.and_then(|conn| place.player.judge().user(conn)).cloned();
        let acted = place.player.tell(at, &cause);
        place.told = Some((at, cause));
        self.read_on(place, acted);
        if let Some(violation) = place.player.violation() {
            place.failure = Some(violation.to_string());
        }
        true
    }

    fn row(&self, place: &RecordingPlace) -> Row {
        let Some((at, cause)) = &place.told else { return Row::default() };
        Row {
            number: 0,
            at: at.saturating_since(self.started_at),
            who: who(&place.player, cause, place.of.as_ref()),
            told: name::cause_by(cause, place.player.judge()),
            actions: place.player.actions().len(),
            is_fault: false,
            failure: place.failure.clone(),
        }
    }

    fn story(&self, place: &RecordingPlace) -> Vec<String> {
        place.told.as_ref().map(|(_, cause)| story(&place.player, cause)).unwrap_or_default()
    }

    fn failure(&self, place: &RecordingPlace) -> Option<String> {
        place.failure.clone()
    }

    fn concerns(&self, place: &RecordingPlace, whom: &str) -> bool {
        place.told.as_ref().is_some_and(|(_, cause)| concerns(&place.player, cause, place.of.as_ref(), whom))
    }

    fn look(&self, place: &RecordingPlace) -> (Duration, Vec<Table>, u64) {
        let at = place.told.as_ref().map_or(Duration::ZERO, |(at, _)| at.saturating_since(self.started_at));
        (at, tables(&place.player, self.started_at), place.player.server().full_digest())
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn end(&self) -> Option<String> {
        self.tape.damage.clone()
    }

    fn fork(&mut self, number: u64, _: &RecordingPlace, branch: Branch) -> Result<Forked, String> {
        if branch != Branch::Cut {
            return Err(OF_A_SERVER.to_owned());
        }
        let mut recordings = Recording::open(&self.paths).map_err(|error| error.to_string())?;
        let recording = recordings.first_mut().ok_or("the files are gone")?;
        let cut = from::cut(recording, &self.probe, None, Some(Until::Step(number)));
        cut.map(|cut| Forked::Script(Box::new(cut.script))).map_err(|error| error.to_string())
    }
}

/// Why there is no other branch of what one server was told.
pub(super) const OF_A_SERVER: &str = "a recording has no world that could go on in another way: write it up to here, edit that, and step through it";

/// Whom a step is about; `of` is whose the connection was before it.
pub(super) fn who(player: &Player<Planted>, cause: &Cause, of: Option<&UserId>) -> String {
    let event = match cause {
        Cause::Event(event) => event,
        Cause::Timeout => return "timer".to_owned(),
    };
    match event {
        Event::Connected { user, .. } => user.to_string(),
        Event::Answered { .. } => "store".to_owned(),
        Event::Published(_) | Event::Told(_) => "bus".to_owned(),
        Event::DirectoryChanged(change) => change.user.to_string(),
        Event::Revoked { .. } | Event::Announced { .. } | Event::Shutdown => "server".to_owned(),
        Event::Received { .. }
        | Event::Ping { .. }
        | Event::Pong { .. }
        | Event::Misbehaved { .. }
        | Event::PeerClosed { .. }
        | Event::Flushed { .. }
        | Event::Disconnected { .. } => {
            let user = conn_of(event).and_then(|conn| player.judge().user(conn)).or(of);
            user.map_or_else(String::new, ToString::to_string)
        }
    }
}

pub(super) fn story(player: &Player<Planted>, cause: &Cause) -> Vec<String> {
    let told = name::cause_by(cause, player.judge());
    let actions = name::actions(player.actions(), player.judge());
    core::iter::once(told).chain(actions.into_iter().map(|action| format!("  -> {action}"))).collect()
}

pub(super) fn concerns(player: &Player<Planted>, cause: &Cause, of: Option<&UserId>, whom: &str) -> bool {
    if player.judge().concerns(whom, cause, player.actions()) || of.is_some_and(|of| of.as_str() == whom) {
        return true;
    }
    let is_it = |conn: &ConnId| conn.to_string() == whom;
    let of_event = match cause {
        Cause::Event(event) => conn_of(event),
        Cause::Timeout => None,
    };
    of_event.as_ref().is_some_and(is_it)
        || player.actions().iter().any(|action| match action {
            OwnedAction::Send { to, .. } => to.iter().any(is_it),
            OwnedAction::Close { conn, .. } | OwnedAction::Abort { conn } => is_it(conn),
            OwnedAction::Request { .. }
            | OwnedAction::Publish(_)
            | OwnedAction::Tell(_)
            | OwnedAction::Subscribe(_)
            | OwnedAction::Unsubscribe(_)
            | OwnedAction::Stopped => false,
        })
}

/// An engine that has no world around it, in tables.
pub(super) fn tables(player: &Player<Planted>, started_at: Instant) -> Vec<Table> {
    let server = player.server();
    let rows = server.connections().map(|view| {
        let mut row = connection(server, &view, view.id.to_string());
        row.push(seconds(view.received_at.saturating_since(started_at)));
        row
    });
    let mut head = CONNECTION.to_vec();
    head.push("heard at");
    let connections = Table { name: "connections", key: 0, head, rows: rows.collect() };
    let after = |at: Instant| seconds(at.saturating_since(started_at));
    let requests = player.judge().requests();
    let mut rows: Vec<_> = requests
        .map(|(ticket, request, at)| vec![ticket.0.to_string(), after(at), name::request(request)])
        .collect();
    if let Some(due) = server.poll_timeout() {
        rows.push(vec!["deadline".to_owned(), after(due), "the next one".to_owned()]);
    }
    let waiting = Table { name: "waits for", key: 0, head: vec!["ticket", "when", "what"], rows };
    let [now, counters] = counters(core::iter::once(server));
    vec![connections, waiting, now, counters]
}
