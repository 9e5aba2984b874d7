//! What each call takes and gives.

mod accounts;
