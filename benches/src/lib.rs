//! Benchmarks of cinderblock.
//!
//! - The programs measure whole runs: `family` times the `cinderblock` command on a family of
//!   similar volumes, interleaved with its own limit; `limit` prints the limit alone; `cinder` times the commands for
//!   OpenStack Cinder's backups beside Cinder's own driver; `upkeep` times prune, gc and verify on a repository of
//!   many backups, beside restic and rustic where they are installed; `latency` times backup, restore and verify on a
//!   storage that is slow to answer; `index` fills the index with a hundred million chunks; `many` times list, prune, gc and verify on a repository of very many backups, and
//!   several backups at once; `large` times volumes of many TiB, and a long stream; `peers` times the steps of `family` and more beside all peers that
//!   are installed, and `plots` makes the plots of the documentation; `proxy` makes a storage over HTTP slow and faulty, and counts the requests.
//! - `benches/*.rs` measure the parts with criterion.
//!
//! The limit is what the same threads need for the work that no deduplicating backup can leave
//! out; [`limit`] says exactly what that is. A backup is judged by its ratio to it.
//!
//! ```
//! use cinderblock_benches::limit::Limit;
//!
//! let folder = tempfile::tempdir()?;
//! let volume = folder.path().join("volume.img");
//! std::fs::write(&volume, vec![7; 128 * 1024])?;
//!
//! let limit = Limit::new(2);
//! let first = limit.backup(&volume)?;
//! assert_eq!((first.chunks, first.new_chunks), (4, 1));
//! let again = limit.backup(&volume)?;
//! assert_eq!(again.new_chunks, 0);
//! # Ok::<(), anyhow::Error>(())
//! ```

pub mod cinder;
pub mod command;
pub mod extents;
pub mod index;
pub mod large;
pub mod latency;
pub mod limit;
pub mod machine;
pub mod many;
pub mod measure;
pub mod peers;
pub mod place;
pub mod plot;
pub mod proxy;
pub mod report;
pub mod rounds;
pub mod sample;
pub mod upkeep;
pub mod volumes;
