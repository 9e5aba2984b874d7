//! Sequences of events, told to one or two engines with one store.
//!
//! Bytes say what happens: who connects, what clients say, right or wrong, what the store answers and when, what the bus carries, when
//! time passes. A driver keeps to the engine's contract meanwhile. After every event `Server::check_invariants` must hold, a second
//! engine that was told the same must have done the same, and so must one that goes on from the other one's snapshot. Where store and
//! bus are honest, the judge of recordings must agree as well.

mod clients;
mod config;
mod node;
mod others;
mod world;

use arbitrary::Unstructured;

use self::world::World;

/// Bytes that are looked at: longer inputs are slower, and tell nothing more.
const LIMIT_BYTES: usize = 16 << 10;

/// What the engine promises holds, whatever happens in whichever order.
pub fn engine_events(data: &[u8]) {
    let data = data.get(..LIMIT_BYTES).unwrap_or(data);
    // What needs more bytes than there are does not happen.
    if let Ok(mut world) = World::new(&mut Unstructured::new(data)) {
        world.play();
    }
}

/// What the engines were told, as scripts for `switchboard-sim replay` and `shrink`: one behind the other, if there are several.
pub(crate) fn show(data: &[u8]) -> String {
    let data = data.get(..LIMIT_BYTES).unwrap_or(data);
    match World::new(&mut Unstructured::new(data)) {
        Ok(mut world) => {
            world.shows = true;
            world.play();
            world.scripts()
        }
        Err(_) => "; too short\n".to_owned(),
    }
}

/// What a client might say, made of these bytes; none if there are too few.
pub(crate) fn any_message(bytes: &[u8], is_session: bool) -> Option<Vec<u8>> {
    clients::message(&mut Unstructured::new(bytes), is_session).ok().map(|message| message.to_vec())
}
