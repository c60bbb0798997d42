//! Restore over another version of a volume, at the limit.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::FallocateFlags;

use super::archive::{Archive, FrameReader, Target, write};
use super::{CHUNK, Id, on_threads};
use crate::extents::{UNIT, data_units};

impl Archive {
    /// Restores the volume with that number (from 0, in the order given) over what is in the file `target`, writing only what
    /// differs; the wall seconds it took.
    ///
    /// # Errors
    /// There is no such volume, `target` is missing or cannot be written, or a frame is damaged.
    pub fn restore_over(&self, number: usize, target: &Path) -> Result<f64> {
        let volume = self.volumes.get(number).with_context(|| format!("there is no volume {number}"))?;
        let targets = volume.plan.iter().flat_map(|(_, targets)| targets);
        let map: HashMap<u64, Id> = targets.map(|target| (target.offset, target.chunk.id)).collect();
        let began = Instant::now();
        let open = || format!("cannot restore to {}", target.display());
        let file = File::options().read(true).write(true).open(target).with_context(open)?;
        file.set_len(volume.length).with_context(open)?;
        let same = self.keep_same(&file, &map).with_context(open)?;
        let next = AtomicUsize::new(0);
        on_threads(self.limit.threads, || {
            let mut reader = FrameReader::new()?;
            while let Some((frame, targets)) = volume.plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                let differ = |target: &&Target| !same.contains(&target.offset);
                let targets: Vec<Target> = targets.iter().filter(differ).copied().collect();
                if !targets.is_empty() {
                    write(&file, reader.read(&self.frames[*frame])?, &targets)?;
                }
            }
            Ok(())
        })
        .with_context(open)?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Reads what data `file` has, and makes holes where `map`, offsets and ids of a volume's chunks, has none; the offsets of the chunks
    /// that are there already.
    fn keep_same(&self, file: &File, map: &HashMap<u64, Id>) -> Result<HashSet<u64>> {
        let units = data_units(file, CHUNK as u64)?;
        let next = AtomicUsize::new(0);
        let parts = on_threads(self.limit.threads, || {
            let (mut same, mut buffer) = (Vec::new(), vec![0; UNIT]);
            while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                let bytes = &mut buffer[..unit.length];
                file.read_exact_at(bytes, unit.offset)?;
                let mut offset = unit.offset;
                for chunk in bytes.chunks(CHUNK) {
                    let length = chunk.len() as u64;
                    match map.get(&offset) {
                        Some(id) if blake3::hash(chunk).as_bytes() == id => same.push(offset),
                        Some(_) => {}
                        None if chunk.iter().all(|&byte| byte == 0) => {}
                        None => {
                            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                            rustix::fs::fallocate(file, punch, offset, length)?;
                        }
                    }
                    offset += length;
                }
            }
            Ok(same)
        })?;
        Ok(parts.into_iter().flatten().collect())
    }
}
