//! Several backups at once on one host, which share a cache folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::command::Cinderblock;
use crate::measure::Measured;
use crate::sample::{Random, change_blocks};

/// Bytes that are made at a time.
const PIECE: usize = 1 << 20;

/// Of so many pieces, one is the same in all volumes.
const SHARED_OF: u64 = 4;

/// A step, with all backups one after the other and at once.
#[derive(Debug)]
pub struct Parallel {
    /// What was done.
    pub step: &'static str,
    /// One at a time: all of them.
    pub in_turn: Measured,
    /// At once: the wall time is that of all together, the processor time the sum, the peak that of the largest process.
    pub at_once: Measured,
    /// Bytes of the repository after it, without the cache: one at a time, at once.
    pub stored_bytes: [u64; 2],
}

/// Makes volumes in `work` and backs them up, one after the other into one repository, at once into another; then again, unchanged, and again with
/// 1 % of their blocks changed. A quarter of each volume is the same in all, and in each repository before.
///
/// # Errors
/// A volume can't be made, or a command fails.
pub fn parallel(program: &Path, work: &Path, count: u64, mib: u64) -> Result<Vec<Parallel>> {
    let volumes: Vec<PathBuf> = (0..=count).map(|number| work.join(format!("volume-{number}.img"))).collect();
    for (number, path) in (0..).zip(&volumes) {
        make(path, number, mib)?;
    }
    let (first, volumes) = volumes.split_first().context("no volume was made")?;
    let mut sides = Vec::new();
    for name in ["in-turn", "at-once"] {
        let mut side = Cinderblock::init(program, &work.join(name), None)?;
        side.backup(first, "before")?;
        sides.push(side);
    }
    let mut done = Vec::new();
    for (number, step) in (0..).zip(["first", "unchanged", "1 % changed"]) {
        if number == 2 {
            volumes.iter().zip(7..).try_for_each(|(path, seed)| change_blocks(path, 32 << 10, 100, seed))?;
        }
        let began = Instant::now();
        let mut in_turn = Measured::default();
        for path in volumes {
            in_turn.add(&back_up(&sides[0], path)?);
        }
        in_turn.wall = began.elapsed().as_secs_f64();

        let began = Instant::now();
        let mut at_once = Measured::default();
        std::thread::scope(|threads| {
            let side = &sides[1];
            let all: Vec<_> = volumes.iter().map(|path| threads.spawn(move || back_up(side, path))).collect();
            all.into_iter().try_for_each(|one| {
                at_once.add(&one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
                Ok::<_, anyhow::Error>(())
            })
        })?;
        at_once.wall = began.elapsed().as_secs_f64();
        let stored_bytes = [sides[0].stored_bytes()?, sides[1].stored_bytes()?];
        done.push(Parallel { step, in_turn, at_once, stored_bytes });
    }
    Ok(done)
}

fn back_up(side: &Cinderblock, path: &Path) -> Result<Measured> {
    let name = path.file_stem().context("a volume has no name")?;
    side.run(["backup".into(), path.into(), "--volume-id".into(), name.into()])
}

/// A dense volume that compresses to half.
fn make(path: &Path, number: u64, mib: u64) -> Result<()> {
    let write = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new().create_new(true).write(true).open(path).with_context(write)?;
    let mut bytes = vec![0; PIECE];
    for piece in 0..mib {
        let owner = if piece % SHARED_OF == 0 { 0 } else { number };
        Random::new(((owner + 1) << 32) + piece).fill_half_compressible(&mut bytes);
        file.write_all(&bytes).with_context(write)?;
    }
    Ok(())
}
