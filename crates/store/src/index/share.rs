//! [`Share`]: how the index and the directories in memory share a repository's memory.

use std::path::Path;

/// Of so many bytes of the index one is of filters and of the index's own index: 1.1 bytes a chunk, without which a look-up reads the disk.
const BYTES_PER_CACHED_BYTE: u64 = 22;

/// Bytes of memory for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// For blocks of the index, and for sorting when it is made.
    pub index_bytes: usize,
    /// For directories.
    pub neighbourhood_bytes: usize,
}

impl Share {
    /// What the index in this host's folder of a repository needs, within bounds: of three quarters of the memory it has a third, and two where
    /// it is so large; the directories have the rest.
    pub(crate) fn of(folder: &Path, memory_bytes: usize) -> Self {
        let wanted = usize::try_from(bytes_in(&super::folder(folder)) / BYTES_PER_CACHED_BYTE).unwrap_or(usize::MAX);
        let index_bytes = wanted.clamp(memory_bytes / 4, memory_bytes / 2);
        Self { index_bytes, neighbourhood_bytes: memory_bytes / 4 * 3 - index_bytes }
    }
}

/// Bytes of the files in a folder; 0 where there is none.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_index_gets_more_but_not_all() {
        let folder = tempfile::tempdir().unwrap();
        let share = || Share::of(folder.path(), 4 << 20);
        let mib = |index: usize, near: usize| Share { index_bytes: index << 20, neighbourhood_bytes: near << 20 };
        assert_eq!(share(), mib(1, 2));
        let index = folder.path().join("index");
        std::fs::create_dir(&index).unwrap();
        let file = std::fs::File::create(index.join("1.sst")).unwrap();
        let mut shares = Vec::new();
        for bytes in [1 << 20, 33 << 20, 1 << 40] {
            file.set_len(bytes).unwrap();
            shares.push(share());
        }
        let half = Share { index_bytes: 3 << 19, neighbourhood_bytes: 3 << 19 };
        assert_eq!(shares, [mib(1, 2), half, mib(2, 1)]);
    }
}
