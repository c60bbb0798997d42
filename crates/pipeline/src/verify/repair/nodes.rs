//! Nodes of maps, made again from the bytes of a volume.
//!
//! A node of a fixed map says which chunks are where, and equal volumes have equal nodes: whoever has the bytes of what a node is about can make it, and its id tells
//! whether it is the same one. Nodes of maps that are cut by content begin where those before them end, so that all of the volume would be needed: they are
//! left out.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use cinderblock_chunker::{DataExtents, Extent, is_zero};
use cinderblock_store::map::{Item, MAX_LEVEL, MapBuilder, Node, Shape};
use cinderblock_store::{ChunkId, Error as StoreError, Repository};

use super::heal::is_lost;
use crate::error::Error;
use crate::volume::BackupVolume;

/// Where the bytes are taken from.
pub(super) trait Bytes {
    /// The first part from byte `from` on, and before byte `end`, that may be other than zeros; none where there is no such part.
    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error>;

    /// Fills the buffer from byte `offset` on. False where that can't be had from here.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, Error>;
}

/// Whether a backup does not have the bytes any more; else it may give them another time.
fn is_gone(error: &StoreError) -> bool {
    error.is_damage() || matches!(error, StoreError::Backend(error) if error.is_unreadable())
}

impl Bytes for BackupVolume<'_> {
    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        match BackupVolume::next_data(self, from, end) {
            // Reading says so.
            Err(Error::Unrestorable { source, .. }) if is_gone(&source) => {
                Ok(Some(Extent { offset: from, length: end - from }))
            }
            other => other,
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        match self.read_at(offset, buffer) {
            Ok(()) => Ok(true),
            Err(Error::Unrestorable { source, .. }) if is_gone(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A volume that is open, with its path for messages.
pub(super) struct OpenVolume<'a> {
    pub file: &'a File,
    pub path: &'a Path,
}

impl Bytes for OpenVolume<'_> {
    fn next_data(&self, from: u64, end: u64) -> Result<Option<Extent>, Error> {
        // Where the file system can't say, reading does.
        let whole = Extent { offset: from, length: end - from };
        Ok(DataExtents::within(self.file.as_fd(), from..end).next().map(|data| data.unwrap_or(whole)))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(true),
            Err(error) if is_lost(self.file, &error) => Ok(false),
            Err(source) => Err(Error::ReadSource { path: self.path.display().to_string(), offset, source }),
        }
    }
}

/// Makes nodes of what the bytes of parts of volumes are: the nodes that are about such a part and nothing else.
pub(super) struct Maker<'a, F> {
    repository: &'a Repository,
    map: MapBuilder,
    wanted: F,
    made: Made,
}

/// Nodes by their ids.
type Made = Vec<(ChunkId, Vec<u8>)>;

/// Takes the wanted nodes that are complete, if any; called again and again.
pub(super) type Take<'t> = dyn FnMut(Made) -> Result<(), Error> + 't;

/// Takes finished nodes, and keeps the wanted ones.
fn keep<'k>(
    wanted: &'k impl Fn(&ChunkId) -> bool,
    made: &'k mut Made,
) -> impl FnMut(ChunkId, Vec<u8>) -> Result<(), StoreError> + 'k {
    |id, bytes| {
        made.extend(wanted(&id).then_some((id, bytes)));
        Ok(())
    }
}

impl<'a, F: Fn(&ChunkId) -> bool> Maker<'a, F> {
    /// For nodes that are wanted.
    pub(super) fn new(repository: &'a Repository, wanted: F) -> Self {
        let map = MapBuilder::new(Shape::Fixed, repository.ids().clone());
        Self { repository, map, wanted, made: Vec::new() }
    }

    fn push_zeros(&mut self, chunks: u64) -> Result<(), Error> {
        Ok(self.map.push_zeros(chunks, &mut keep(&self.wanted, &mut self.made))?)
    }

    fn push_chunk(&mut self, chunk: &[u8]) -> Result<(), Error> {
        if is_zero(chunk) {
            return self.push_zeros(1);
        }
        let id = self.repository.ids().chunk(chunk);
        Ok(self.map.push_chunk(id, chunk.len() as u32, &mut keep(&self.wanted, &mut self.made))?)
    }

    /// The wanted nodes that the end completes, and the nodes that are about all of the part, wanted or not.
    fn finish(self) -> Result<(Made, Vec<ChunkId>), Error> {
        let Self { repository, map, wanted, mut made } = self;
        let mut node = map.finish(&mut keep(&wanted, &mut made))?;
        let mut whole = Vec::new();
        // At the end of a volume there are nodes with one child: those of the height of the ones before them.
        while !matches!(node.items[..], [] | [Item::Zeros(_)]) {
            let bytes = node.encode();
            let id = repository.ids().node(&bytes);
            let level = node.level + 1;
            whole.push(id);
            made.extend(wanted(&id).then_some((id, bytes)));
            if level > MAX_LEVEL {
                break;
            }
            node = Node { items: vec![Item::Child { id, span: 1 }], ..Node::new(Shape::Fixed, level) };
        }
        Ok((made, whole))
    }

    /// Reads a part of a volume: what a node of a fixed map covers, whole chunks or up to the end of the volume. The nodes that are about all of it, wanted or not; none
    /// where some of its bytes can't be had.
    pub(super) fn read(mut self, part: Extent, from: &dyn Bytes, take: &mut Take<'_>) -> Result<Vec<ChunkId>, Error> {
        let chunk_bytes = u64::from(self.repository.descriptor().chunk_size.bytes());
        let mut chunk = vec![0; chunk_bytes as usize];
        let mut at = part.offset;
        while at < part.end() {
            let Some(data) = from.next_data(at, part.end())? else {
                self.push_zeros((part.end() - at).div_ceil(chunk_bytes))?;
                break;
            };
            let zeros = (data.offset.max(at) - at) / chunk_bytes;
            self.push_zeros(zeros)?;
            at += zeros * chunk_bytes;
            while at < data.end().min(part.end()) {
                let length = chunk_bytes.min(part.end() - at);
                let bytes = chunk.get_mut(..length as usize).unwrap_or_default();
                if !from.read(at, bytes)? {
                    return Ok(Vec::new());
                }
                self.push_chunk(bytes)?;
                take(std::mem::take(&mut self.made))?;
                at += length;
            }
        }
        let (made, whole) = self.finish()?;
        take(made)?;
        Ok(whole)
    }
}
