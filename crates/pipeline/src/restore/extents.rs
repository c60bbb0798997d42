//! Where an existing target holds data, asked in the order of the volume.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use cinderblock_chunker::{DataExtents, Extent};

use super::run::Failure;

/// A walk over the data extents of a file beside a walk over the volume.
#[derive(Debug)]
pub(super) struct DataWalk<'f> {
    extents: DataExtents<'f>,
    current: Option<Extent>,
}

impl<'f> DataWalk<'f> {
    pub(super) fn new(file: &'f File, bytes: u64) -> Self {
        Self { extents: DataExtents::new(file.as_fd(), bytes), current: None }
    }

    /// The first part from `from` on, and before `end`, that is not a hole. Ask in ascending order of `from`.
    pub(super) fn next_data(&mut self, from: u64, end: u64) -> Result<Option<Extent>, Failure> {
        while self.current.is_none_or(|extent| extent.end() <= from) {
            let Some(next) = self.extents.next() else { return Ok(None) };
            self.current = Some(next.map_err(|error| match error {
                cinderblock_chunker::Error::Seek { offset, source } => {
                    Failure::Target { operation: "reading", offset, source }
                }
                other => Failure::Target { operation: "reading", offset: from, source: io::Error::other(other) },
            })?);
        }
        Ok(self.current.and_then(|extent| {
            let (offset, end) = (extent.offset.max(from), extent.end().min(end));
            (offset < end).then(|| Extent { offset, length: end - offset })
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn only_data_within_the_asked_part_is_told() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 << 20).unwrap();
        file.write_all_at(&[1; 2 << 20], 4 << 20).unwrap();
        let mut walk = DataWalk::new(&file, 10 << 20);
        let mut data = Vec::new();
        for from in (0..10).map(|mib| mib << 20) {
            let found = walk.next_data(from, from + (1 << 20)).unwrap();
            data.extend(found.map(|extent| (extent.offset >> 20, extent.length >> 20)));
        }
        // A file system without holes tells of everything.
        assert!(data == [(4, 1), (5, 1)] || data.len() == 10, "{data:?}");
    }
}
