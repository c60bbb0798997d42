//! What a storage that is far away costs: the same steps through [`Throttled`](cinderblock_backend::Throttled), with and without latency.
//!
//! Each step is a process of its own, with the memory that the `cinderblock` command takes if nobody says otherwise, and with what a command
//! does besides: opening the repository, finding the backup.

mod report;
mod step;

pub use report::{Outcome, table};
pub use step::{Act, Far, Step};
