//! What each call takes and gives.

mod accounts;
mod admin;
mod conversations;
mod groups;
mod media;
mod sending;
