//! Planning the reads of a file: its data in steps of the chunk grid, some at a time.

use std::os::fd::AsFd;

use cinderblock_chunker::{Coalesced, DataExtents, Extent, Grid};
use cinderblock_store::map::node_span;

use crate::error::Error;
use crate::source::FileSource;

/// Parts of a file to be read by one worker into one buffer: on the chunk grid, in order, within one leaf of the map.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub extents: Vec<Extent>,
    /// Sum of their lengths.
    pub bytes: usize,
}

/// Goes through the data of a file; what lies between is holes.
pub(super) struct Plan<'f> {
    extents: Coalesced<DataExtents<'f>>,
    /// What was not taken yet of the last extent.
    rest: Option<Extent>,
    leaf_bytes: u64,
    buffer_bytes: usize,
    path: String,
}

impl<'f> Plan<'f> {
    /// `buffer_bytes` is a multiple of the chunk size.
    pub(super) fn new(source: &'f FileSource, grid: Grid, buffer_bytes: usize) -> Result<Self, Error> {
        let path = source.path.display().to_string();
        let data = DataExtents::new(source.file.as_fd(), source.size);
        match Coalesced::new(data, grid, buffer_bytes as u64) {
            Ok(extents) => Ok(Self {
                extents,
                leaf_bytes: node_span(1, grid.chunk_size().bytes()),
                rest: None,
                buffer_bytes,
                path,
            }),
            Err(source) => Err(Error::Chunking { path, source }),
        }
    }

    /// The next extent, cut where a leaf of the map ends.
    fn next_extent(&mut self) -> Result<Option<Extent>, Error> {
        let extent = match self.rest.take() {
            Some(rest) => rest,
            None => match self.extents.next() {
                Some(Ok(extent)) => extent,
                Some(Err(source)) => return Err(Error::Chunking { path: self.path.clone(), source }),
                None => return Ok(None),
            },
        };
        let leaf_end = (extent.offset / self.leaf_bytes + 1) * self.leaf_bytes;
        if extent.end() <= leaf_end {
            return Ok(Some(extent));
        }
        self.rest = Some(Extent { offset: leaf_end, length: extent.end() - leaf_end });
        Ok(Some(Extent { offset: extent.offset, length: leaf_end - extent.offset }))
    }

    /// The next reads; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Reads>, Error> {
        let mut reads = Reads::default();
        while let Some(extent) = self.next_extent()? {
            let same_leaf = |first: &Extent| first.offset / self.leaf_bytes == extent.offset / self.leaf_bytes;
            let fits = reads.bytes + extent.length as usize <= self.buffer_bytes;
            if reads.extents.first().is_some_and(|first| !fits || !same_leaf(first)) {
                self.rest = match self.rest {
                    // What was cut off lies right behind.
                    Some(rest) => Some(Extent { offset: extent.offset, length: rest.end() - extent.offset }),
                    None => Some(extent),
                };
                break;
            }
            reads.bytes += extent.length as usize;
            reads.extents.push(extent);
        }
        Ok((!reads.extents.is_empty()).then_some(reads))
    }
}
