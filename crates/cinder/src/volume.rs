//! [`Volume`]: what a backup is made of, readable at any place.

use cinderblock_chunker::Extent;
use cinderblock_pipeline::{BackupVolume, VolumeFile};

use crate::error::Error;

/// A volume that is read at many places at once: a file, a device, or a backup in a repository.
pub trait Volume: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// The first part from byte `from` on and before `end` that may hold other bytes than zeros; none if all are zeros.
    ///
    /// # Errors
    /// What the volume's storage says.
    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error>;

    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    /// What the volume's storage says, or that the volume ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;

    /// The SHA-256 hashes of blocks of `block_bytes` that are known without reading them: appends one item for each of the
    /// `count` blocks from number `first` on. By default none is known.
    ///
    /// # Errors
    /// What the volume's storage says.
    fn known_hashes(
        &self,
        _block_bytes: u64,
        _first: u64,
        count: usize,
        hashes: &mut Vec<Option<[u8; 32]>>,
    ) -> Result<(), Error> {
        hashes.resize(hashes.len() + count, None);
        Ok(())
    }

    /// Fails where the volume is not any more what it was when it was opened.
    ///
    /// # Errors
    /// That it has changed.
    fn check_unchanged(&self) -> Result<(), Error>;
}

impl Volume for VolumeFile {
    fn size(&self) -> u64 {
        self.size()
    }

    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        Ok(self.next_data(from, end)?)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        Ok(self.read_at(offset, buffer)?)
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        Ok(self.check_size()?)
    }
}

impl Volume for BackupVolume<'_> {
    fn size(&self) -> u64 {
        self.size()
    }

    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        Ok(self.next_data(from, end)?)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        Ok(self.read_at(offset, buffer)?)
    }

    /// The repository keeps hashes of its chunks: they are known where a block is a chunk.
    fn known_hashes(
        &self,
        block_bytes: u64,
        first: u64,
        count: usize,
        hashes: &mut Vec<Option<[u8; 32]>>,
    ) -> Result<(), Error> {
        if block_bytes == u64::from(self.record().chunk_bytes) {
            let mut known = Vec::with_capacity(count);
            self.block_hashes(first..first + count as u64, &mut known)?;
            hashes.append(&mut known);
        } else {
            hashes.resize(hashes.len() + count, None);
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), Error> {
        Ok(())
    }
}
