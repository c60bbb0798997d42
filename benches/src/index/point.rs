//! [`Point`]: all that was measured at one number of chunks.

use std::fmt;

use serde::Serialize;

use crate::index::{Chunks, Followed, Looked, Made};

/// The results at one number of chunks.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// How many there are.
    pub chunks: u64,
    /// Bytes of the index on the disk, for each chunk.
    pub bytes_per_chunk: f64,
    /// Microseconds for a chunk that is not there, at full speed.
    pub miss_us: f64,
    /// Microseconds for any chunk, at full speed.
    pub random_hit_us: f64,
    /// Microseconds for a chunk of a pack whose directory is in memory.
    pub near_hit_us: f64,
    /// Milliseconds to open the index.
    pub open_ms: f64,
    /// Chunks a second that an index is made of segments with.
    pub rebuild_per_s: f64,
    /// Peak resident memory in MiB, of all steps.
    pub peak_mib: f64,
    /// How it was made.
    pub made: Made,
    /// Looking up, with less memory and with more.
    pub looked: Vec<Looked>,
    /// Following.
    pub followed: Vec<Followed>,
}

impl Point {
    /// Puts together what was measured. The last of `looked` is the one at full speed.
    #[must_use]
    pub fn new(chunks: Chunks, made: Made, looked: Vec<Looked>, followed: Vec<Followed>) -> Self {
        let count = chunks.count as f64;
        let full = looked.last();
        let of = |value: fn(&Looked) -> f64| full.map_or(f64::NAN, value);
        let peaks = looked.iter().map(|looked| looked.peak_mib).chain(followed.iter().map(|f| f.peak_mib));
        Self {
            chunks: chunks.count,
            bytes_per_chunk: made.bytes as f64 / count,
            miss_us: of(|looked| looked.miss_us),
            random_hit_us: of(|looked| looked.random_hit_us),
            near_hit_us: of(|looked| looked.near_hit_us),
            open_ms: of(|looked| looked.open_ms),
            rebuild_per_s: count / made.seconds,
            peak_mib: peaks.fold(made.peak_mib, f64::max),
            made,
            looked,
            followed,
        }
    }
}

/// The results of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// What it ran on.
    pub machine: String,
    /// By number of chunks.
    pub points: Vec<Point>,
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| chunks | disk B a chunk | made, million a second (MiB) | follow | `--memory` | open ms | miss µs | near hit µs | random hit µs | with directory µs | peak MiB |"
        )?;
        writeln!(f, "|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")?;
        for point in &self.points {
            let followed: Vec<_> =
                point.followed.iter().map(|f| format!("{} in {:.2} s", f.chunks, f.seconds)).collect();
            for (number, looked) in point.looked.iter().enumerate() {
                if number == 0 {
                    let (rate, peak) = (point.rebuild_per_s / 1e6, point.made.peak_mib);
                    write!(f, "| {} | {:.1} ", point.chunks, point.bytes_per_chunk)?;
                    write!(f, "| {rate:.2} ({peak:.0}) | {} ", followed.join(", "))?;
                } else {
                    write!(f, "| | | | ")?;
                }
                let Looked { memory_mib, open_ms, miss_us, near_hit_us, random_hit_us, .. } = looked;
                write!(f, "| {memory_mib} | {open_ms:.1} | {miss_us:.2} | {near_hit_us:.3} | {random_hit_us:.1} ")?;
                writeln!(f, "| {:.0} | {:.0} |", looked.random_hit_with_directory_us, looked.peak_mib)?;
            }
        }
        write!(f, "\n{}", self.machine)
    }
}
