//! Sparse volumes: much address space, little data.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::GIB;
use crate::command::Cinderblock;
use crate::extents::UNIT;
use crate::sample::Random;

/// A sparse volume, and what its backups took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sparse {
    /// Its size in TiB.
    pub tib: u64,
    /// Its data in GiB.
    pub data_gib: u64,
    /// Seconds of the first backup.
    pub first_seconds: f64,
    /// MiB of memory at its peak.
    pub first_peak_mib: f64,
    /// Seconds of the same again.
    pub unchanged_seconds: f64,
    /// MiB of memory at its peak.
    pub unchanged_peak_mib: f64,
}

/// What volumes of several sizes took; the command's `--json` is this.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sizes {
    /// One for each volume.
    pub points: Vec<Sparse>,
}

/// Makes a volume of `tib` TiB in `work`, with `data_gib` GiB in pieces of 1 MiB from end to end, and backs it up twice.
///
/// # Errors
/// The volume can't be made (the file system may have no files of that size), or a command fails.
pub fn sparse(program: &Path, work: &Path, tib: u64, data_gib: u64) -> Result<Sparse> {
    let (volume, folder) = (work.join("sparse.img"), work.join("sparse"));
    make(&volume, tib << 40, data_gib * GIB)?;
    let mut command = Cinderblock::init(program, &folder, None)?;
    let (_, first) = command.backup(&volume, "sparse")?;
    let (_, unchanged) = command.backup(&volume, "sparse")?;
    fs::remove_file(&volume).with_context(|| format!("cannot remove {}", volume.display()))?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(Sparse {
        tib,
        data_gib,
        first_seconds: first.wall,
        first_peak_mib: first.peak_mib,
        unchanged_seconds: unchanged.wall,
        unchanged_peak_mib: unchanged.peak_mib,
    })
}

/// A new sparse file of `bytes` bytes, with `data` bytes that compress to half: a piece of 1 MiB somewhere in each of as many equal parts, at a multiple of 4 KiB.
fn make(path: &Path, bytes: u64, data: u64) -> Result<()> {
    let context = || format!("cannot make the volume {} of {} GiB", path.display(), bytes / GIB);
    let pieces = data / UNIT as u64;
    ensure!(
        pieces > 0 && bytes / pieces > UNIT as u64,
        "the volume has to be larger than its data, and that not empty"
    );
    let file = File::create_new(path).with_context(context)?;
    file.set_len(bytes).with_context(context)?;
    let stride = bytes / pieces;
    let mut random = Random::new(16);
    let mut piece = vec![0; UNIT];
    for number in 0..pieces {
        random.fill_half_compressible(&mut piece);
        let within = random.next_u64() % ((stride - UNIT as u64) / 4096) * 4096;
        file.write_all_at(&piece, number * stride + within).with_context(context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_its_data_from_end_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse.img");
        make(&path, 64 << 30, 8 << 20).unwrap();
        let units = crate::extents::data_units(&File::open(&path).unwrap(), 4096).unwrap();
        assert_eq!(path.metadata().unwrap().len(), 64 << 30);
        assert_eq!(units.iter().map(|unit| unit.length as u64).sum::<u64>(), 8 << 20);
        assert!(units[0].offset < 8 << 30 && units[units.len() - 1].offset >= 56 << 30);
        assert!(make(&folder.path().join("none"), 1 << 30, 0).is_err());
    }
}
