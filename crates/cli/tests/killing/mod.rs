//! Processes that are killed at random instants, and what has to be true of the repository afterwards.

pub mod chance;
pub mod deeds;
pub mod judge;
pub mod model;
pub mod process;
pub mod remains;
