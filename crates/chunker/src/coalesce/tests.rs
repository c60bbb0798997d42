use super::*;
use crate::ChunkSize;
use crate::grid::tests::any_size;
use proptest::prelude::*;

fn extent(offset: u64, length: u64) -> Extent {
    Extent { offset, length }
}

fn reads(extents: &[Extent], grid: Grid, maximum: u64) -> Vec<Extent> {
    let extents = extents.iter().map(|&extent| Ok(extent));
    Coalesced::new(extents, grid, maximum).unwrap().map(Result::unwrap).collect()
}

const CHUNK: u64 = 32 << 10;

#[test]
fn extents_that_share_a_chunk_are_read_once() {
    let grid = Grid::new(ChunkSize::DEFAULT, 100 * CHUNK);
    let touching = [extent(10, 10), extent(100, 10), extent(CHUNK - 1, 1), extent(CHUNK, 1)];
    assert_eq!(reads(&touching, grid, 8 * CHUNK), [extent(0, 2 * CHUNK)]);
    let inside = [extent(0, 5 * CHUNK), extent(10, 10), extent(CHUNK, CHUNK), extent(9 * CHUNK, 1)];
    assert_eq!(
        reads(&inside, grid, 2 * CHUNK),
        [extent(0, 2 * CHUNK), extent(2 * CHUNK, 2 * CHUNK), extent(4 * CHUNK, CHUNK), extent(9 * CHUNK, CHUNK)]
    );
}

#[test]
fn reads_end_with_the_volume() {
    let grid = Grid::new(ChunkSize::DEFAULT, 3 * CHUNK + 5);
    let extents = [extent(2 * CHUNK + 1, u64::MAX), extent(3 * CHUNK + 1, 1), extent(50 * CHUNK, CHUNK)];
    assert_eq!(reads(&extents, grid, 8 * CHUNK), [extent(2 * CHUNK, CHUNK + 5)]);
    assert_eq!(reads(&[extent(0, 0), extent(7, 0)], grid, CHUNK), []);
}

#[test]
fn a_failure_comes_after_what_was_found_before_it_and_ends_the_reads() {
    let grid = Grid::new(ChunkSize::DEFAULT, 100 * CHUNK);
    let failure = || Error::Seek { offset: 77, source: std::io::ErrorKind::Other.into() };
    let extents = [Ok(extent(0, 3 * CHUNK)), Err(failure()), Ok(extent(9 * CHUNK, 1))];
    let mut reads = Coalesced::new(extents, grid, 2 * CHUNK).unwrap();
    assert_eq!(reads.next().unwrap().unwrap(), extent(0, 2 * CHUNK));
    assert_eq!(reads.next().unwrap().unwrap(), extent(2 * CHUNK, CHUNK));
    assert!(matches!(reads.next(), Some(Err(Error::Seek { offset: 77, .. }))));
    assert!(reads.next().is_none() && reads.next().is_none());
}

#[test]
fn extents_out_of_order_are_refused() {
    let grid = Grid::new(ChunkSize::DEFAULT, 100 * CHUNK);
    let extents = [Ok(extent(CHUNK, 1)), Ok(extent(CHUNK - 1, 9))];
    let mut reads = Coalesced::new(extents, grid, CHUNK).unwrap();
    assert_eq!(reads.next().unwrap().unwrap(), extent(CHUNK, CHUNK));
    let error = reads.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "extent 32767+9 follows one that begins at byte 32768: extents must come in order");
    assert!(reads.next().is_none());
}

#[test]
fn a_greatest_length_must_hold_whole_chunks() {
    let grid = Grid::new(ChunkSize::DEFAULT, CHUNK);
    for maximum in [0, 1, CHUNK - 1, CHUNK + 4096] {
        let refused = Coalesced::new([], grid, maximum);
        assert!(matches!(refused, Err(Error::SplitLength { .. })), "{maximum}");
    }
    assert!(Coalesced::new([], grid, 3 * CHUNK).is_ok());
}

proptest! {
    #[test]
    fn reads_are_exactly_the_chunks_that_extents_touch(
        size in any_size(),
        volume_chunks in 0..300u64,
        volume_rest in 0..4096u64,
        maximum_chunks in 1..9u64,
        // Positions and lengths in eighths of a chunk, with a byte more or less.
        mut places in prop::collection::vec((0..2600u64, 0..60u64, 0..3u64), 0..40),
    ) {
        let step = u64::from(size.bytes());
        let grid = Grid::new(size, volume_chunks * step + volume_rest);
        let maximum = maximum_chunks * step;
        places.sort();
        let mut extents: Vec<_> = places
            .iter()
            .map(|&(offset, length, more)| extent(offset * step / 8 + more, (length * step / 8 + more).saturating_sub(1)))
            .collect();
        extents.sort_by_key(|extent| extent.offset);

        let mut touched = vec![false; grid.chunks() as usize];
        for extent in &extents {
            for (index, touched) in touched.iter_mut().enumerate() {
                let start = index as u64 * step;
                let end = (start + step).min(grid.volume_bytes());
                *touched |= extent.length > 0 && extent.offset < end && extent.end() > start;
            }
        }
        let mut read = vec![false; touched.len()];
        let mut end_before = 0;
        for extent in reads(&extents, grid, maximum) {
            prop_assert!(extent.length > 0 && extent.length <= maximum, "{}", extent);
            prop_assert!(extent.offset >= end_before, "{} begins before {}", extent, end_before);
            prop_assert_eq!(grid.align(extent), extent);
            end_before = extent.end();
            for index in extent.offset / step..extent.end().div_ceil(step) {
                read[index as usize] = true;
            }
        }
        prop_assert_eq!(read, touched);
    }
}
