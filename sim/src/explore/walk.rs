//! One sequence of choices, carried out.

use core::fmt::Debug;

use switchboard_engine::{Probe, Shipped};

use super::{ExploreError, Space};
use crate::{
    canaries::{Bug, Planted, StoreCanary},
    check::Violation,
    counts::Counts,
    runner::caught,
    schedule::Schedule,
    trace::Mark,
    world::{Branching, Move},
};

/// What came of a sequence of choices.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Each choice in words.
    pub steps: Vec<String>,
    /// What does not hold, if anything.
    pub violation: Option<Violation>,
    /// The digest of the last state.
    pub state: u64,
    /// What happened, for a table.
    pub trace: Vec<Mark>,
}

/// Carries out choices as [`super::Counterexample`] has them, up to the first violation.
///
/// # Errors
/// If the space cannot be, or there is no such choice.
pub fn replay(space: &Space, choices: &[u64]) -> Result<Walk, ExploreError> {
    with_worlds(space, |worlds| {
        let mut world = worlds.make(true);
        let mut walk = Walk { steps: Vec::new(), violation: None, state: world.state(), trace: Vec::new() };
        for (place, choice) in choices.iter().enumerate() {
            let moves = moves(space, &*world);
            let chosen = usize::try_from(*choice).ok().and_then(|choice| moves.get(choice)).copied();
            let Some(chosen) = chosen else {
                return Err(ExploreError::NoSuchChoice { place, choice: *choice, there: moves.len() });
            };
            walk.steps.push(world.name_of(chosen));
            walk.violation = attempt(&mut *world, chosen, true);
            if walk.violation.is_some() {
                break;
            }
            walk.state = world.state();
        }
        walk.trace = world.take_trace();
        Ok(walk)
    })
}

/// Makes a move; a panic is a violation of the check `crash`.
pub(super) fn attempt<'s>(
    world: &mut (impl Branching<'s> + ?Sized),
    chosen: Move,
    sweep: bool,
) -> Option<Violation> {
    caught(|| world.go(chosen, sweep)).unwrap_or_else(Some)
}

/// The choices that there are.
pub(super) fn moves<'s>(space: &Space, world: &(impl Branching<'s> + ?Sized)) -> Vec<Move> {
    let mut moves = world.moves();
    moves.retain(|chosen| !space.without.iter().any(|kind| kind == chosen.kind()));
    moves
}

/// Makes worlds of one space.
pub(super) trait Worlds: Sync {
    fn make(&self, trace: bool) -> Box<dyn Branching<'_> + '_>;
}

struct Of<'s, P> {
    schedule: &'s Schedule,
    probe: P,
    store: Option<StoreCanary>,
}

impl<P: Probe + Counts + Clone + Debug + Sync> Worlds for Of<'_, P> {
    fn make(&self, trace: bool) -> Box<dyn Branching<'_> + '_> {
        Box::new(crate::world::branching(self.schedule, trace, &self.probe, self.store))
    }
}

/// Does something with the worlds of a space: of the engine as it is shipped, unless there is a bug planted.
pub(super) fn with_worlds<R>(
    space: &Space,
    work: impl FnOnce(&dyn Worlds) -> Result<R, ExploreError>,
) -> Result<R, ExploreError> {
    let schedule = &space.schedule().map_err(ExploreError::Space)?;
    match space.bug {
        None => work(&Of { schedule, probe: Shipped, store: None }),
        Some(Bug::Engine(canary)) => work(&Of { schedule, probe: Planted(Some(canary)), store: None }),
        Some(Bug::Store(store)) => work(&Of { schedule, probe: Shipped, store: Some(store) }),
    }
}
