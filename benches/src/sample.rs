//! Data to measure with.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A repeatable source of pseudo-random bytes (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The source whose bytes `seed` determines.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next_u64().to_le_bytes()[..part.len()]);
        }
    }

    /// Fills `bytes` with data that compresses to about half: random and constant stretches of
    /// 1 KiB in turn.
    pub fn fill_half_compressible(&mut self, bytes: &mut [u8]) {
        for pair in bytes.chunks_mut(2048) {
            let (random, constant) = pair.split_at_mut(pair.len().min(1024));
            self.fill(random);
            constant.fill(b'c');
        }
    }
}

/// The first `length` bytes of this system's programs (`/usr/bin`, by name, back to back): real
/// data, such as a server's volume is mostly made of.
///
/// # Errors
/// `/usr/bin` cannot be listed, or holds less than `length` bytes that can be read.
pub fn programs(length: usize) -> Result<Vec<u8>> {
    let folder = Path::new("/usr/bin");
    let list = || format!("cannot list {}", folder.display());
    let entries = fs::read_dir(folder).with_context(list)?.collect::<Result<Vec<_>, _>>().with_context(list)?;
    let mut paths: Vec<_> = entries
        .into_iter()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let mut bytes = Vec::with_capacity(length);
    for path in paths {
        if bytes.len() >= length {
            break;
        }
        if let Ok(program) = fs::read(path) {
            bytes.extend_from_slice(&program[..program.len().min(length - bytes.len())]);
        }
    }
    ensure!(bytes.len() == length, "{} holds less than {length} bytes", folder.display());
    Ok(bytes)
}

/// Writes `length` pseudo-random bytes, which `seed` determines, to the new file `path`.
///
/// # Errors
/// `path` exists, or cannot be written.
pub fn write_garbage(path: &Path, length: u64, seed: u64) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let mut file = File::create_new(path).with_context(context)?;
    let (mut random, mut bytes) = (Random::new(seed), vec![0; 1 << 20]);
    let mut left = length;
    while left > 0 {
        let part = &mut bytes[..left.min(1 << 20) as usize];
        random.fill(part);
        file.write_all(part).with_context(context)?;
        left -= part.len() as u64;
    }
    Ok(())
}

/// Overwrites one in `every` of the whole blocks of `block` bytes of the file `path`, chosen at
/// random, with data that compresses to about half. `seed` determines which and with what.
///
/// # Errors
/// The file cannot be written.
pub fn change_blocks(path: &Path, block: u64, every: u64, seed: u64) -> Result<()> {
    let context = || format!("cannot change {}", path.display());
    let file = File::options().write(true).open(path).with_context(context)?;
    let blocks = file.metadata().with_context(context)?.len() / block;
    let (mut random, mut bytes) = (Random::new(seed), vec![0; block as usize]);
    let mut changed = HashSet::new();
    while (changed.len() as u64) < blocks / every {
        let number = random.next_u64() % blocks;
        if changed.insert(number) {
            random.fill_half_compressible(&mut bytes);
            file.write_all_at(&bytes, number * block).with_context(context)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_change_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume");
        let length = 200 * 4096 + 5;
        write_garbage(&path, length, 7).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(before.len() as u64, length);
        change_blocks(&path, 4096, 100, 1).unwrap();
        let after = fs::read(&path).unwrap();
        assert_eq!(before.chunks(4096).zip(after.chunks(4096)).filter(|(one, other)| one != other).count(), 2);
        assert_eq!(before.len(), after.len());
    }

    #[test]
    fn half_compressible_data_compresses_to_about_half_and_never_repeats() {
        let mut random = Random::new(1);
        let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        random.fill_half_compressible(&mut one);
        random.fill_half_compressible(&mut other);
        assert_ne!(one, other);
        let ratio = zstd::bulk::compress(&one, 1).unwrap().len() as f64 / one.len() as f64;
        assert!((0.4..0.6).contains(&ratio), "{ratio}");
    }

    #[test]
    fn programs_are_as_long_as_asked_and_not_all_zero() {
        let bytes = programs(300_000).unwrap();
        assert_eq!(bytes.len(), 300_000);
        assert!(bytes.iter().any(|&b| b != 0));
    }
}
