//! A recording as this build would have made it: the same events, and what this build does with them.

use std::path::Path;

use switchboard_engine::{
    Shipped,
    recording::{BUILD, Digests, Encoder, Header, Step},
};

use super::file::{ReadError, Reader};
use super::player::{Cause, Player};
use super::write::Writer;

/// The file with the digests of this build; everything else stays.
///
/// # Errors
/// If it cannot be read to its end, or goes on where another one has ended.
pub fn accept(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut reader = Reader::open(path)?;
    let header = reader.header().clone();
    if header.part > 0 {
        return Err(ReadError::PartMissing { path: path.to_owned(), expected: 0, found: header.part });
    }
    let mut writer = Writer::new(&Header { build: BUILD.to_owned(), ..header.clone() });
    let mut encoder = Encoder::new(header.started_at);
    let mut player = Player::new(header.config, header.seed, header.started_at, Shipped);
    while let Some(placed) = reader.next_step()? {
        let cause = match placed.step {
            Step::Event(event) => {
                encoder.event(placed.at, &event);
                Cause::Event(event)
            }
            Step::Timeout => {
                encoder.timeout(placed.at);
                Cause::Timeout
            }
            Step::Acted(_) => continue,
            Step::Digests(_) => {
                let (actions, state) = player.digests();
                encoder.digests(Digests { actions, state });
                writer.steps(&mut encoder);
                continue;
            }
        };
        if let Some(acted) = player.tell(placed.at, &cause) {
            encoder.acted(acted);
        }
    }
    writer.steps(&mut encoder);
    Ok(writer.end())
}
