//! What the commands of the binary do.

mod group;
mod serve;

pub use group::{GroupError, group};
pub use serve::serve;
