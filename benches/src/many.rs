//! Many volumes, and many backups: a repository of very many tiny backups, and several backups at once on one host.

mod fill;
mod parallel;

pub use fill::{Filled, Many, fill};
pub use parallel::{Parallel, parallel};
