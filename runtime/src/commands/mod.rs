//! What the commands of the binary do.

mod chat;
mod group;
mod serve;
mod store;

pub use chat::{ChatError, InputError, OutputClosed, chat};
pub use group::{GroupError, group};
pub use serve::serve;
pub use store::{StoreError, store};
