use crate::{Error, Extent, Grid};
use std::iter::FusedIterator;

/// Makes reads of whole chunks out of extents: grown to the grid, joined where they then touch or overlap, split at a
/// greatest length.
///
/// What comes out covers every byte of the volume that went in, is aligned to the grid (the end of the volume apart), in
/// order, disjoint and never empty. Extents must come in the order of their offsets; they may overlap, be empty, and
/// reach beyond the volume.
///
/// ```
/// use cinderblock_chunker::{ChunkSize, Coalesced, Extent, Grid};
///
/// let grid = Grid::new(ChunkSize::DEFAULT, 10 << 20);
/// let extents = [(5, 10), (40_000, 60_000), (1 << 20, 1)].map(|(offset, length)| Ok(Extent { offset, length }));
/// let reads = Coalesced::new(extents, grid, 64 << 10)?.collect::<Result<Vec<_>, _>>()?;
/// let reads: Vec<_> = reads.iter().map(|read| (read.offset, read.length)).collect();
/// assert_eq!(reads, [(0, 65_536), (65_536, 65_536), (1 << 20, 32_768)]);
/// # Ok::<(), cinderblock_chunker::Error>(())
/// ```
#[derive(Debug)]
pub struct Coalesced<I> {
    extents: I,
    grid: Grid,
    maximum: u64,
    /// What is to be told next; more may still join it. Everything before its end was taken in.
    run: Extent,
    /// What was taken in and does not touch `run`.
    following: Option<Extent>,
    /// The offset of the extent that was taken in last.
    previous: u64,
    /// Nothing more is taken in.
    ended: bool,
    /// Told after all that was taken in before it.
    failed: Option<Error>,
}

impl<I: Iterator<Item = Result<Extent, Error>>> Coalesced<I> {
    /// Reads of at most `maximum` bytes that cover `extents` on the `grid`.
    ///
    /// # Errors
    /// [`Error::SplitLength`] if `maximum` is 0 or no multiple of the grid's chunk size.
    pub fn new(
        extents: impl IntoIterator<Item = Result<Extent, Error>, IntoIter = I>,
        grid: Grid,
        maximum: u64,
    ) -> Result<Coalesced<I>, Error> {
        let chunk_size = grid.chunk_size();
        if maximum == 0 || !maximum.is_multiple_of(u64::from(chunk_size.bytes())) {
            return Err(Error::SplitLength { maximum, chunk_size });
        }
        let run = Extent { offset: 0, length: 0 };
        let extents = extents.into_iter();
        Ok(Coalesced { extents, grid, maximum, run, following: None, previous: 0, ended: false, failed: None })
    }

    fn take_in(&mut self, extent: Extent) -> Result<(), Error> {
        if extent.offset < self.previous {
            return Err(Error::ExtentOrder { previous: self.previous, next: extent });
        }
        self.previous = extent.offset;
        let aligned = self.grid.align(extent);
        let taken = self.run.end();
        let offset = aligned.offset.max(taken);
        let length = aligned.end().saturating_sub(offset);
        if length == 0 {
            return Ok(());
        }
        let new = Extent { offset, length };
        if self.run.length == 0 {
            self.run = new;
        } else if offset == taken {
            self.run.length += length;
        } else {
            self.following = Some(new);
        }
        Ok(())
    }
}

impl<I: Iterator<Item = Result<Extent, Error>>> Iterator for Coalesced<I> {
    type Item = Result<Extent, Error>;

    /// The next extent to read. After an error, nothing more.
    ///
    /// # Errors
    /// Those of the extents it is made from, once everything before them was told; [`Error::ExtentOrder`] if they do
    /// not come in order.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let complete = self.ended || self.following.is_some();
            if self.run.length >= self.maximum || (complete && self.run.length > 0) {
                let read = Extent { offset: self.run.offset, length: self.run.length.min(self.maximum) };
                self.run = Extent { offset: read.end(), length: self.run.length - read.length };
                return Some(Ok(read));
            }
            if let Some(following) = self.following.take() {
                self.run = following;
                continue;
            }
            if self.ended {
                return self.failed.take().map(Err);
            }
            let outcome = match self.extents.next() {
                Some(extent) => extent.and_then(|extent| self.take_in(extent)),
                None => {
                    self.ended = true;
                    continue;
                }
            };
            if let Err(error) = outcome {
                self.ended = true;
                self.failed = Some(error);
            }
        }
    }
}

impl<I: Iterator<Item = Result<Extent, Error>>> FusedIterator for Coalesced<I> {}

#[cfg(test)]
mod tests;
