//! Processes that are killed at random instants, and what has to be true of the repository afterwards.

// Every file of tests uses a part of this.
#![allow(dead_code)]

pub mod chance;
pub mod collector;
pub mod deeds;
pub mod judge;
pub mod model;
pub mod process;
pub mod remains;
pub mod rounds;
