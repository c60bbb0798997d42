use crate::{ChunkSize, Extent};

/// The fixed grid of a volume: chunk `i` covers the bytes from `i * size` to `(i + 1) * size`, the last one to the end
/// of the volume.
///
/// ```
/// use cinderblock_chunker::{ChunkSize, Grid};
/// let grid = Grid::new(ChunkSize::DEFAULT, 100_000);
/// assert_eq!(grid.chunks(), 4);
/// assert_eq!((grid.offset(3), grid.length(3)), (Some(98_304), Some(1_696)));
/// assert_eq!(grid.offset(4), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    size: ChunkSize,
    volume_bytes: u64,
}

impl Grid {
    /// The grid of a volume of `volume_bytes` bytes. Every number is possible: 0 has no chunks.
    pub fn new(size: ChunkSize, volume_bytes: u64) -> Grid {
        Grid { size, volume_bytes }
    }

    /// The size of every chunk but, perhaps, the last.
    pub fn chunk_size(&self) -> ChunkSize {
        self.size
    }

    /// The size of the volume in bytes.
    pub fn volume_bytes(&self) -> u64 {
        self.volume_bytes
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u64 {
        self.volume_bytes.div_ceil(self.step())
    }

    /// The first byte of chunk `index`; `None` if there is no such chunk.
    pub fn offset(&self, index: u64) -> Option<u64> {
        index.checked_mul(self.step()).filter(|&offset| offset < self.volume_bytes)
    }

    /// The length of chunk `index` in bytes, from 1 to the chunk size; `None` if there is no such chunk.
    pub fn length(&self, index: u64) -> Option<u32> {
        let left = self.volume_bytes - self.offset(index)?;
        Some(u32::try_from(left).map_or(self.size.bytes(), |left| left.min(self.size.bytes())))
    }

    /// The chunk that holds the byte at `offset`; `None` behind the end of the volume.
    pub fn index_at(&self, offset: u64) -> Option<u64> {
        (offset < self.volume_bytes).then(|| offset / self.step())
    }

    /// The extent grown outwards to whole chunks, but not beyond the end of the volume.
    ///
    /// An extent that covers no byte of the volume stays one: its length is 0, its offset at most the volume's size.
    pub fn align(&self, extent: Extent) -> Extent {
        let mask = self.step() - 1;
        if extent.length == 0 || extent.offset >= self.volume_bytes {
            return Extent { offset: extent.offset.min(self.volume_bytes), length: 0 };
        }
        let offset = extent.offset & !mask;
        // Where rounding up overflows, the volume ends before that too.
        let end = extent.end().checked_add(mask).map_or(u64::MAX, |end| end & !mask).min(self.volume_bytes);
        Extent { offset, length: end - offset }
    }

    fn step(&self) -> u64 {
        u64::from(self.size.bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIB: u64 = 1 << 40;

    pub(crate) fn any_size() -> impl Strategy<Value = ChunkSize> {
        (12u32..=22).prop_map(|shift| ChunkSize::new(1 << shift).unwrap())
    }

    /// Grids of up to 16 TiB, half of them with a size within a few bytes of whole chunks.
    fn any_grid() -> impl Strategy<Value = Grid> {
        (any_size(), 0..=16 * TIB, any::<bool>(), 0..5u64).prop_map(|(size, bytes, near, more)| {
            let step = u64::from(size.bytes());
            let near_bytes = (bytes / step * step + more).saturating_sub(2);
            Grid::new(size, if near { near_bytes } else { bytes })
        })
    }

    #[test]
    fn an_empty_volume_has_no_chunks() {
        let grid = Grid::new(ChunkSize::DEFAULT, 0);
        assert_eq!(grid.chunks(), 0);
        assert_eq!((grid.offset(0), grid.length(0), grid.index_at(0)), (None, None, None));
        assert_eq!(grid.align(Extent { offset: 0, length: 1 }), Extent { offset: 0, length: 0 });
    }

    #[test]
    fn the_greatest_volume_there_can_be_does_not_overflow() {
        let grid = Grid::new(ChunkSize::DEFAULT, u64::MAX);
        let last = grid.chunks() - 1;
        assert_eq!(last, u64::MAX >> 15);
        assert_eq!(grid.length(last), Some(32_767));
        assert_eq!((grid.offset(last + 1), grid.offset(u64::MAX), grid.index_at(u64::MAX)), (None, None, None));
        let all = Extent { offset: 1, length: u64::MAX };
        assert_eq!(grid.align(all), Extent { offset: 0, length: u64::MAX });
    }

    proptest! {
        #[test]
        fn chunks_cover_the_volume_without_gap_or_overlap(grid in any_grid(), at in any::<prop::sample::Index>()) {
            let chunks = grid.chunks();
            prop_assert_eq!(grid.offset(chunks), None);
            prop_assert_eq!(grid.length(chunks), None);
            prop_assume!(chunks > 0);
            prop_assert_eq!(grid.offset(0), Some(0));
            let end = |i| grid.offset(i).unwrap() + u64::from(grid.length(i).unwrap());
            prop_assert_eq!(end(chunks - 1), grid.volume_bytes());
            let index = at.index(usize::try_from(chunks).unwrap()) as u64;
            prop_assert!((1..=grid.chunk_size().bytes()).contains(&grid.length(index).unwrap()));
            if index + 1 < chunks {
                prop_assert_eq!(grid.length(index), Some(grid.chunk_size().bytes()));
                prop_assert_eq!(Some(end(index)), grid.offset(index + 1));
            }
        }

        #[test]
        fn every_byte_is_in_the_chunk_that_claims_it(grid in any_grid(), offset in 0..17 * TIB) {
            match grid.index_at(offset) {
                None => prop_assert!(offset >= grid.volume_bytes()),
                Some(index) => {
                    let start = grid.offset(index).unwrap();
                    prop_assert!((start..start + u64::from(grid.length(index).unwrap())).contains(&offset));
                }
            }
        }

        #[test]
        fn an_aligned_extent_is_the_least_run_of_chunks_around_it(
            grid in any_grid(), offset in 0..17 * TIB, length in prop_oneof![0..100_000u64, 0..17 * TIB, Just(u64::MAX)],
        ) {
            let extent = Extent { offset, length };
            let aligned = grid.align(extent);
            let end = extent.end().min(grid.volume_bytes());
            if offset >= end {
                prop_assert_eq!(aligned, Extent { offset: offset.min(grid.volume_bytes()), length: 0 });
            } else {
                let last = grid.index_at(end - 1).unwrap();
                prop_assert_eq!(Some(aligned.offset), grid.offset(grid.index_at(offset).unwrap()));
                prop_assert_eq!(aligned.end(), grid.offset(last).unwrap() + u64::from(grid.length(last).unwrap()));
                prop_assert_eq!(grid.align(aligned), aligned);
            }
        }
    }
}
