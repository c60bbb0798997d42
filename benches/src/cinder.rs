//! Cinder's own backups: the `cinderblock cinder` commands beside OpenStack Cinder's real driver.
//!
//! Both do the same [steps](rounds::STEPS) on the same volume with the same options, in turn. What
//! is compared is not quite alike, to our disadvantage: of the real driver the seconds within its
//! `backup` and `restore` count, which its reference script prints, and not the two seconds that
//! Python needs to import Cinder; of ours the whole process, from before its start to after its end.

pub mod answer;
pub mod busy;
pub mod ours;
pub mod real;
pub mod report;
pub mod rounds;

/// The id of the volume, on both sides and in the repository.
const VOLUME_ID: &str = "11111111-1111-4111-8111-111111111111";

/// What both sides are told of a backup's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// `zstd`, `zlib`, `bz2` or `none`: names that both sides know.
    pub compression: String,
    /// Bytes of a data object; a multiple of 32,768.
    pub chunk_size: u64,
}
