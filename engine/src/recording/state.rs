//! Where a recording goes on: the state of its engine.

use alloc::vec::Vec;

use super::StepError;

/// Which engine this is: its version, and a number that is another one as soon as its source is. Programs of the same source have the
/// same, so one replays what the other has recorded.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "-", env!("SWITCHBOARD_ENGINE_SOURCE"));

/// The state of an engine between two steps, for a file that goes on where another one has ended.
///
/// ```text
/// payload = length of the build's name: u8, build, state
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State<'a> {
    /// The build whose state it is ([`BUILD`]); another one cannot read it.
    pub build: &'a str,
    /// What [`Server::snapshot`](crate::Server::snapshot) has given. To take it changes a little which of its places the engine uses
    /// next, so whoever replays the file before this one takes it too, at its end.
    pub bytes: &'a [u8],
}

impl<'a> State<'a> {
    /// The state of an engine of this build.
    #[must_use]
    pub const fn of_this_build(bytes: &'a [u8]) -> Self {
        Self { build: BUILD, bytes }
    }

    /// The state as a block's payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (len, build) = match u8::try_from(self.build.len()) {
            Ok(len) => (len, self.build),
            // No build is called so.
            Err(_) => (0, ""),
        };
        let mut payload = Vec::with_capacity(1 + build.len() + self.bytes.len());
        payload.push(len);
        payload.extend_from_slice(build.as_bytes());
        payload.extend_from_slice(self.bytes);
        payload
    }

    /// A state from the payload of [`State::encode`].
    ///
    /// # Errors
    /// If it is another payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, StepError> {
        let (len, rest) = payload.split_first().ok_or(StepError::Garbled)?;
        let (build, bytes) = rest.split_at_checked((*len).into()).ok_or(StepError::Garbled)?;
        let build = core::str::from_utf8(build).map_err(|_| StepError::Garbled)?;
        Ok(Self { build, bytes })
    }
}
