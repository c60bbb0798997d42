//! A dense stream into `cinderblock backup -`: its rate and its memory, GiB by GiB.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::GIB;
use crate::limit::CHUNK;
use crate::measure::peak_mib;
use crate::sample::Random;

/// Bytes that go into the pipe at a time.
const PIECE: usize = 1 << 20;

/// Of each chunk that is new, so many bytes do not compress.
const NOISE: usize = CHUNK / 4;

/// What was seen when another GiB had gone into the pipe.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Point {
    /// GiB so far.
    pub gib: u64,
    /// MiB per second of the last one.
    pub mib_per_s: f64,
    /// MiB of memory at the command's peak so far.
    pub peak_mib: f64,
}

/// What the stream took; the command's `--json` is this.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    /// One for each GiB.
    pub points: Vec<Point>,
    /// Seconds from the command's start to its end.
    pub seconds: f64,
    /// Bytes of the repository.
    pub stored_bytes: u64,
}

/// Backs up a stream of `gib` GiB that is made on the way: of each GiB every other MiB is new, and compresses to about a quarter; the others are the new ones of an
/// earlier GiB, or of the same one. `tell` hears of each GiB.
///
/// # Errors
/// The command fails, or ends before it has read everything.
pub fn stream(program: &Path, work: &Path, gib: u64, mut tell: impl FnMut(&Point)) -> Result<Stream> {
    let (repository, cache, log) = (work.join("repository"), work.join("cache"), work.join("stream.log"));
    let command = |arguments: &[&str]| -> Result<Command> {
        let printed = OpenOptions::new().create(true).append(true).open(&log);
        let printed = printed.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command.arg("--repo").arg(&repository).arg("--cache-dir").arg(&cache).args(arguments);
        command.stdout(printed.try_clone()?).stderr(printed);
        Ok(command)
    };
    ensure!(command(&["init"])?.status()?.success(), "no repository could be made: see {}", log.display());
    let began = Instant::now();
    let mut child = command(&["backup", "-", "--volume-id", "stream"])?.stdin(Stdio::piped()).spawn()?;
    let mut pipe = child.stdin.take().context("the command has no input")?;
    let mut points = Vec::new();
    let mut piece = vec![0; PIECE];
    for done in 0..gib {
        let since = Instant::now();
        for number in 0..GIB / PIECE as u64 {
            fill(&mut piece, done, number);
            if let Err(error) = pipe.write_all(&piece) {
                let status = child.wait()?;
                bail!("the command ended at GiB {done} ({status}; {error}): see {}", log.display());
            }
        }
        let mib_per_s = 1024.0 / since.elapsed().as_secs_f64();
        let point = Point { gib: done + 1, mib_per_s, peak_mib: peak_mib(child.id())? };
        tell(&point);
        points.push(point);
    }
    drop(pipe);
    ensure!(child.wait()?.success(), "the command failed: see {}", log.display());
    let seconds = began.elapsed().as_secs_f64();
    Ok(Stream { points, seconds, stored_bytes: crate::command::bytes_in(&repository)? })
}

/// Fills a piece of the stream: an odd one is the new one before it, of this GiB or of an earlier one.
fn fill(piece: &mut [u8], gib: u64, number: u64) {
    let new = number & !1;
    let from = if number & 1 == 0 { gib } else { Random::new(gib << 32 | number).next_u64() % (gib + 1) };
    for (at, chunk) in (0..).zip(piece.chunks_mut(CHUNK)) {
        let (noise, rest) = chunk.split_at_mut(NOISE.min(chunk.len()));
        Random::new(from << 40 | new << 16 | at).fill(noise);
        rest.fill(b'c');
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn half_of_the_stream_is_new_and_half_was_there_before() {
        let (mut seen, mut new, mut old) = (HashSet::new(), 0, 0);
        let mut piece = vec![0; PIECE];
        for gib in 0..3 {
            for number in 0..64 {
                fill(&mut piece, gib, number);
                for chunk in piece.chunks(CHUNK) {
                    match seen.insert(*blake3::hash(chunk).as_bytes()) {
                        true => new += 1,
                        false => old += 1,
                    }
                }
            }
        }
        assert_eq!((new, old), (3 * 32 * 32, 3 * 32 * 32));
    }
}
