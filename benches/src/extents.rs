//! Which parts of a file hold data, and copies of files with and without their holes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes of one unit of work, and of every read: 1 MiB.
pub const UNIT: usize = 1 << 20;

/// A piece of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes: 1 to [`UNIT`].
    pub length: usize,
}

/// The data of a file as units, in order, none of which crosses a multiple of [`UNIT`].
///
/// Every extent that `SEEK_DATA` and `SEEK_HOLE` find is widened to the grid of `grain` bytes (a
/// divisor of [`UNIT`]) and cut off at the file's end. Holes are never read.
///
/// # Errors
/// The file's length cannot be read, or it cannot be seeked.
pub fn data_units(file: &File, grain: u64) -> Result<Vec<Unit>> {
    let end = file.metadata().context("cannot read the file's length")?.len();
    let mut units = Vec::new();
    let mut done = 0;
    while done < end {
        let start = match rustix::fs::seek(file, SeekFrom::Data(done)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error).context("cannot seek to data"),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(start)).context("cannot seek to a hole")?;
        let mut offset = (start / grain * grain).max(done);
        let stop = hole.next_multiple_of(grain).min(end);
        while offset < stop {
            let next = (offset / UNIT as u64 + 1) * UNIT as u64;
            let length = (next.min(stop) - offset) as usize;
            units.push(Unit { offset, length });
            offset += length as u64;
        }
        done = stop.max(hole);
    }
    Ok(units)
}

/// Copies `source` to the new file `target`, with its holes.
///
/// # Errors
/// `target` exists, or either file fails.
pub fn copy_sparse(source: &Path, target: &Path) -> Result<()> {
    let from = open(source)?;
    let to = create(target)?;
    to.set_len(from.metadata()?.len())?;
    let mut buffer = vec![0; UNIT];
    for unit in data_units(&from, 4096)? {
        let bytes = &mut buffer[..unit.length];
        from.read_exact_at(bytes, unit.offset).with_context(|| format!("cannot read {}", source.display()))?;
        to.write_all_at(bytes, unit.offset).with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(())
}

/// Copies `source` to the new file `target` without holes: every byte is written, zeros too.
///
/// # Errors
/// `target` exists, or either file fails.
pub fn copy_dense(source: &Path, target: &Path) -> Result<()> {
    let from = open(source)?;
    let to = create(target)?;
    let end = from.metadata()?.len();
    let mut buffer = vec![0; UNIT];
    let mut offset = 0;
    while offset < end {
        let bytes = &mut buffer[..(end - offset).min(UNIT as u64) as usize];
        from.read_exact_at(bytes, offset).with_context(|| format!("cannot read {}", source.display()))?;
        to.write_all_at(bytes, offset).with_context(|| format!("cannot write {}", target.display()))?;
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Fails where two files differ, naming the first byte that does.
///
/// # Errors
/// Their lengths or their bytes differ, or either cannot be read.
pub fn compare(one: &Path, other: &Path) -> Result<()> {
    let (length, wanted) = (open(one)?.metadata()?.len(), open(other)?.metadata()?.len());
    anyhow::ensure!(length == wanted, "{} and {} differ in length", one.display(), other.display());
    compare_beginning(one, other)
}

/// Fails where the file `whole` does not begin with the bytes of the file `beginning`, naming the
/// first byte that differs.
///
/// # Errors
/// It is shorter, their bytes differ, or either cannot be read.
pub fn compare_beginning(whole: &Path, beginning: &Path) -> Result<()> {
    let names = || format!("{} and {}", whole.display(), beginning.display());
    let (a, b) = (open(whole)?, open(beginning)?);
    let end = b.metadata()?.len();
    let (mut left, mut right) = (vec![0; UNIT], vec![0; UNIT]);
    let mut offset = 0;
    while offset < end {
        let length = (end - offset).min(UNIT as u64) as usize;
        a.read_exact_at(&mut left[..length], offset).with_context(names)?;
        b.read_exact_at(&mut right[..length], offset).with_context(names)?;
        if left[..length] != right[..length] {
            let at = left.iter().zip(&right).position(|(x, y)| x != y).unwrap_or(length);
            anyhow::bail!("{} differ at byte {}", names(), offset + at as u64);
        }
        offset += length as u64;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn create(path: &Path) -> Result<File> {
    File::create_new(path).with_context(|| format!("cannot create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sparse file of `length` bytes with `data` written at each place; `None` where the file
    /// system has no holes.
    fn sparse(folder: &Path, length: u64, data: &[(u64, usize)]) -> std::path::PathBuf {
        let path = folder.join("sparse");
        let file = File::create_new(&path).unwrap();
        file.set_len(length).unwrap();
        for &(offset, bytes) in data {
            file.write_all_at(&vec![1; bytes], offset).unwrap();
        }
        path
    }

    #[test]
    fn units_cover_data_on_the_grid_once_and_stop_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mib = UNIT as u64;
        let length = 16 * mib + 5000;
        let path = sparse(folder.path(), length, &[(40_000, 10), (3 * mib - 4096, 8192), (16 * mib + 4990, 10)]);
        let units = data_units(&File::open(path).unwrap(), 32 << 10).unwrap();
        let inside = |at: u64| units.iter().filter(|u| u.offset <= at && at < u.offset + u.length as u64).count();
        for at in [40_000, 40_009, 3 * mib - 4096, 3 * mib + 4095, length - 1] {
            assert_eq!(inside(at), 1, "byte {at}");
        }
        for pair in units.windows(2) {
            assert!(pair[0].offset + pair[0].length as u64 <= pair[1].offset);
        }
        for unit in &units {
            assert_eq!(unit.offset % (32 << 10), 0);
            let end = unit.offset + unit.length as u64;
            assert!(end.is_multiple_of(32 << 10) || end == length);
            assert_eq!(unit.offset / mib, (end - 1) / mib);
        }
    }

    #[test]
    fn copies_hold_the_same_bytes_and_only_the_sparse_one_has_holes() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let source = sparse(folder.path(), 8 << 20, &[(1 << 20, 100), (5 << 20, 70_000)]);
        let (thin, thick) = (folder.path().join("thin"), folder.path().join("thick"));
        copy_sparse(&source, &thin).unwrap();
        copy_dense(&source, &thick).unwrap();
        compare(&source, &thin).unwrap();
        compare(&source, &thick).unwrap();
        let allocated = |path: &Path| path.metadata().unwrap().blocks() * 512;
        assert!(allocated(&thin) <= allocated(&source));
        assert!(allocated(&thick) >= 8 << 20);
    }

    #[test]
    fn compare_names_the_first_byte_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let mut bytes = vec![3; UNIT + 10];
        std::fs::write(&a, &bytes).unwrap();
        bytes[UNIT + 4] = 4;
        std::fs::write(&b, &bytes).unwrap();
        let message = compare(&a, &b).unwrap_err().to_string();
        assert!(message.ends_with(&format!("differ at byte {}", UNIT + 4)), "{message}");
        std::fs::write(&b, &bytes[1..]).unwrap();
        assert!(compare(&a, &b).unwrap_err().to_string().ends_with("differ in length"));
    }
}
