//! Looking after a repository of many backups: verify, prune and gc, beside other tools.
//!
//! Every tool is given the same [generations](generations::Generations) of the family of volumes,
//! then verifies all stored data, drops the backups that a rule does not keep, and frees the space.
//! What the same bytes take in memory alone, decompressed and hashed, is the limit of verifying.

pub mod beside;
pub mod generations;
pub mod tools;
