//! What the commands of the binary do.

mod backup;
mod chat;
mod doctor;
mod export;
mod folder;
mod group;
mod health;
mod openapi;
mod secret;
mod serve;
mod store;
mod token;
mod user;

pub use backup::{BackupError, backup};
pub use chat::{ChatError, InputError, OutputClosed, chat};
pub use doctor::doctor;
pub use export::{TransferError, export, import};
pub use folder::NoDatabase;
pub use group::{GroupError, group};
pub use health::{HealthError, health};
pub use openapi::openapi;
pub use serve::serve;
pub use store::{StoreError, store};
pub use token::{TokenError, token};
pub use user::{UserError, user};
