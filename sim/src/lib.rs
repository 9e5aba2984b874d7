//! The simulator: worlds of the shipped engines, driven through every disaster by a schedule.
//!
//! A [`schedule::Schedule`] is data: [`generate`] makes one from a seed, [`text`] reads and writes it. [`world`]
//! executes it without drawing a random number, and what does not hold comes back as a [`check::Violation`].
//!
//! ```
//! use switchboard_sim::{generate::generate, world};
//!
//! let schedule = generate(7, "small").expect("a profile of this name");
//! let outcome = world::execute(&schedule, world::Options::default());
//! assert_eq!(outcome.violation, None);
//! ```
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of users, shards and connections are the simulator's own, checked when a schedule is \
              read; a wrong one must stop the run at once, and a panic does"
)]

pub mod bus;
pub mod canaries;
pub mod chart;
pub mod check;
pub mod choice;
pub mod counts;
pub mod explore;
pub mod generate;
pub mod original;
pub mod recording;
pub mod runner;
pub mod schedule;
pub mod script;
pub mod shrink;
mod spec;
pub mod step;
pub mod store;
pub mod text;
pub mod trace;
mod wire;
pub mod world;
