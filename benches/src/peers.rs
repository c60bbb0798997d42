//! cinderblock beside its peers and its own limit, all in one run.
//!
//! - [`recipe`] says what a tool's commands are, [`table`] has those of all tools, [`repository`] runs them.
//! - [`course`] is the course that each of them runs: backups, restores, a verification, with the same volumes.
//!   The [`limit`] of that work runs it too.
//! - [`growth`] measures what is stored as one volume is backed up again and again.
//! - [`results`] are the numbers, as JSON, and [`report`] their Markdown.

pub mod course;
pub mod growth;
pub mod limit;
pub mod recipe;
pub mod report;
pub mod repository;
pub mod results;
pub mod table;
