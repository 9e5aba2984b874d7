//! What each call takes and gives.

mod accounts;
mod conversations;
mod groups;
