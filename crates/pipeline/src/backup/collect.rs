//! Taking results in the order of the volume: which chunks are new, the frames that they go into, and the map.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cinderblock_chunker::ChunkSize;
use cinderblock_store::map::{MapBuilder, Node, Shape};
use cinderblock_store::pack::frame::{self, Compression, EncodedFrame, FrameChunk};
use cinderblock_store::pack::{Content, FRAME_TARGET_BYTES, FinishedPack, PackBuilder};
use cinderblock_store::{ChunkId, PackId, Session, Statistics, merge_hints};

use crate::backup::hash::{Found, Hashed};
use crate::buffer::Buffer;
use crate::engine::Progress;
use crate::error::Error;

/// Bytes of a new chunk on their way into a frame.
#[derive(Debug)]
enum Bytes {
    /// In the buffer that they were read into.
    Read(Arc<Buffer>, Range<usize>),
    /// Copied: a few new chunks are not worth keeping a large buffer from being used again.
    Copied(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Read(buffer, range) => buffer.get(range.clone()).unwrap_or_default(),
            Bytes::Copied(bytes) => bytes,
        }
    }
}

/// New chunks that make up a frame.
#[derive(Debug, Default)]
pub(super) struct OpenFrame {
    chunks: Vec<FrameChunk>,
    parts: Vec<Bytes>,
    bytes: usize,
}

thread_local! {
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl OpenFrame {
    /// Hashes and compresses: a worker's part.
    pub(super) fn encode(self, hashed: bool, compression: Compression) -> Result<EncodedFrame, Error> {
        let OpenFrame { chunks, parts, .. } = self;
        if let Some(whole) = contiguous(&parts) {
            return Ok(frame::encode(whole, chunks, hashed, compression)?);
        }
        GATHERED.with_borrow_mut(|plain| {
            plain.clear();
            for part in &parts {
                plain.extend_from_slice(part.as_slice());
            }
            Ok(frame::encode(plain, chunks, hashed, compression)?)
        })
    }
}

/// All bytes, where they lie one after the other in one buffer: then nothing is copied.
fn contiguous(parts: &[Bytes]) -> Option<&[u8]> {
    let Some(Bytes::Read(first, range)) = parts.first() else { return None };
    let (start, mut end) = (range.start, range.start);
    for part in parts {
        match part {
            Bytes::Read(buffer, range) if Arc::ptr_eq(buffer, first) && range.start == end => end = range.end,
            _ => return None,
        }
    }
    first.get(start..end)
}

/// The state of a backup that is being collected.
pub(super) struct Collector<'a> {
    progress: &'a Progress,
    chunk_bytes: u64,
    shape: Shape,
    map: MapBuilder,
    /// How far the map is, in bytes of the volume.
    position: u64,
    /// New chunks (and nodes) of this backup that the index does not know yet.
    fresh: HashSet<ChunkId>,
    open: OpenFrame,
    /// Frames that are full, waiting for a worker.
    full: Vec<OpenFrame>,
    /// Encoded frames that came back before an earlier one.
    early: BTreeMap<u64, EncodedFrame>,
    /// Number of the frame that the data pack takes next.
    next_frame: u64,
    data: PackBuilder,
    nodes: NodePacker<'a>,
    data_packs: HashSet<PackId>,
    pub(super) statistics: Statistics,
}

/// What a backup is, once everything is collected.
pub(super) struct Collected {
    pub root: Node,
    pub volume_bytes: u64,
    pub statistics: Statistics,
    pub data_packs: Vec<PackId>,
    pub map_packs: Vec<PackId>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        chunk_size: ChunkSize,
        shape: Shape,
        pack_bytes: usize,
        progress: &'a Progress,
    ) -> Self {
        Self {
            progress,
            chunk_bytes: chunk_size.bytes().into(),
            shape,
            map: MapBuilder::new(shape, session.repository().ids().clone()),
            position: 0,
            fresh: HashSet::new(),
            open: OpenFrame::default(),
            full: Vec::new(),
            early: BTreeMap::new(),
            next_frame: 0,
            data: session.pack_builder(Content::Data).with_target_bytes(pack_bytes),
            nodes: NodePacker::new(session, pack_bytes),
            data_packs: HashSet::new(),
            statistics: Statistics::default(),
        }
    }

    /// Takes the next segment of the volume, and what lies between it and the one before: zeros.
    pub(super) fn take(&mut self, hashed: Hashed, finished: &mut Vec<FinishedPack>) -> Result<(), Error> {
        let Hashed { chunks, buffer, packs, bytes } = hashed;
        self.statistics.read_bytes += bytes;
        Progress::add(&self.progress.read_bytes, bytes);
        self.data_packs.extend(packs);
        let new_bytes: u64 = chunks.iter().filter(|(_, f)| matches!(f, Found::Unknown(_))).map(|(e, _)| e.length).sum();
        let copy = new_bytes * 8 < buffer.as_ref().map_or(0, |buffer| buffer.len() as u64);
        let mut at = 0;
        for (extent, found) in chunks {
            let in_buffer = if matches!(found, Found::Kept(_)) { 0 } else { extent.length as usize };
            let range = at..at + in_buffer;
            at = range.end;
            let id = match found {
                Found::Zeros => continue,
                Found::Known(id) | Found::Kept(id) => id,
                Found::Unknown(id) => {
                    if let (Some(buffer), true) = (&buffer, self.fresh.insert(id)) {
                        let bytes = match copy {
                            true => Bytes::Copied(buffer.get(range).unwrap_or_default().to_vec()),
                            false => Bytes::Read(Arc::clone(buffer), range),
                        };
                        self.add_new(id, bytes);
                    }
                    id
                }
            };
            self.zeros_until(extent.offset, finished)?;
            self.statistics.chunks += 1;
            let (map, nodes, fresh) = (&mut self.map, &mut self.nodes, &mut self.fresh);
            map.push_chunk(id, extent.length as u32, &mut |id, bytes| nodes.add(id, bytes, fresh, finished))?;
            self.position = extent.end();
        }
        self.progress.done_bytes.store(self.position, Ordering::Relaxed);
        Ok(())
    }

    fn add_new(&mut self, id: ChunkId, bytes: Bytes) {
        let length = bytes.as_slice().len();
        if self.open.bytes > 0 && self.open.bytes + length > FRAME_TARGET_BYTES {
            self.full.push(std::mem::take(&mut self.open));
        }
        self.open.chunks.push(FrameChunk { id, length: length as u32 });
        self.open.parts.push(bytes);
        self.open.bytes += length;
        self.statistics.new_chunks += 1;
        self.statistics.new_bytes += length as u64;
        Progress::add(&self.progress.new_bytes, length as u64);
    }

    /// The map has zeros up to here.
    fn zeros_until(&mut self, offset: u64, finished: &mut Vec<FinishedPack>) -> Result<(), Error> {
        let gap = offset.saturating_sub(self.position);
        if gap == 0 {
            return Ok(());
        }
        let chunks = gap.div_ceil(self.chunk_bytes);
        self.statistics.zero_chunks += chunks;
        let span = if self.shape == Shape::Fixed { chunks } else { gap };
        let (map, nodes, fresh) = (&mut self.map, &mut self.nodes, &mut self.fresh);
        map.push_zeros(span, &mut |id, bytes| nodes.add(id, bytes, fresh, finished))?;
        self.position = offset;
        Ok(())
    }

    /// Frames for the workers.
    pub(super) fn take_full(&mut self) -> Vec<OpenFrame> {
        std::mem::take(&mut self.full)
    }

    /// The last frame, which is not full.
    pub(super) fn take_last(&mut self) -> Option<OpenFrame> {
        (self.open.bytes > 0).then(|| std::mem::take(&mut self.open))
    }

    /// Takes an encoded frame; packs get them in the order of the volume, so that neighbours stay neighbours.
    pub(super) fn take_frame(
        &mut self,
        number: u64,
        frame: EncodedFrame,
        finished: &mut Vec<FinishedPack>,
    ) -> Result<(), Error> {
        self.early.insert(number, frame);
        while let Some(frame) = self.early.remove(&self.next_frame) {
            self.next_frame += 1;
            Progress::add(&self.progress.stored_bytes, frame.stored_bytes() as u64);
            if let Some(pack) = self.data.push(frame)? {
                self.data_packs.insert(pack.id());
                finished.push(pack);
            }
        }
        Ok(())
    }

    /// The index knows these now: they need not be remembered any longer.
    pub(super) fn forget(&mut self, ids: &[ChunkId]) {
        for id in ids {
            self.fresh.remove(id);
        }
    }

    /// Ends the map and the packs. All frames are in.
    pub(super) fn finish(mut self, volume_bytes: u64, finished: &mut Vec<FinishedPack>) -> Result<Collected, Error> {
        self.zeros_until(volume_bytes, finished)?;
        if let Some(pack) = self.data.finish()? {
            self.data_packs.insert(pack.id());
            finished.push(pack);
        }
        let (nodes, fresh) = (&mut self.nodes, &mut self.fresh);
        let root = self.map.finish(&mut |id, bytes| nodes.add(id, bytes, fresh, finished))?;
        self.nodes.finish(finished)?;
        self.progress.done_bytes.store(volume_bytes, Ordering::Relaxed);
        let mut data_packs = Vec::new();
        merge_hints(&mut data_packs, self.data_packs);
        merge_hints(&mut self.nodes.used, []);
        Ok(Collected { root, volume_bytes, statistics: self.statistics, data_packs, map_packs: self.nodes.used })
    }
}

/// Packs the map's nodes that the repository does not have.
pub(crate) struct NodePacker<'a> {
    session: &'a Session<'a>,
    packs: PackBuilder,
    open: OpenFrame,
    /// Packs that hold nodes of this map.
    pub(crate) used: Vec<PackId>,
}

impl<'a> NodePacker<'a> {
    /// Into packs of so many bytes.
    pub(crate) fn new(session: &'a Session<'a>, pack_bytes: usize) -> Self {
        let packs = session.pack_builder(Content::Map).with_target_bytes(pack_bytes);
        Self { session, packs, open: OpenFrame::default(), used: Vec::new() }
    }

    /// Adds a node, if neither the repository has it nor `fresh`.
    pub(crate) fn add(
        &mut self,
        id: ChunkId,
        bytes: Vec<u8>,
        fresh: &mut HashSet<ChunkId>,
        finished: &mut Vec<FinishedPack>,
    ) -> Result<(), cinderblock_store::Error> {
        if fresh.contains(&id) {
            return Ok(());
        }
        let mut places = Vec::new();
        self.session.locate(&[id], &mut places)?;
        if let Some(place) = places.pop().flatten() {
            if !self.used.contains(&place.pack.id()) {
                self.used.push(place.pack.id());
            }
            return Ok(());
        }
        fresh.insert(id);
        if self.open.bytes > 0 && self.open.bytes + bytes.len() > FRAME_TARGET_BYTES {
            self.close(finished)?;
        }
        self.open.bytes += bytes.len();
        self.open.chunks.push(FrameChunk { id, length: bytes.len() as u32 });
        self.open.parts.push(Bytes::Copied(bytes));
        Ok(())
    }

    fn close(&mut self, finished: &mut Vec<FinishedPack>) -> Result<(), cinderblock_store::Error> {
        let open = std::mem::take(&mut self.open);
        if open.bytes == 0 {
            return Ok(());
        }
        let plain: Vec<u8> = open.parts.iter().flat_map(Bytes::as_slice).copied().collect();
        // Ids do not compress, but runs of one id do, and zstd gives up on the rest quickly.
        let frame = frame::encode(&plain, open.chunks, false, Compression::default())?;
        if let Some(pack) = self.packs.push(frame)? {
            self.used.push(pack.id());
            finished.push(pack);
        }
        Ok(())
    }

    /// Ends the last pack.
    pub(crate) fn finish(&mut self, finished: &mut Vec<FinishedPack>) -> Result<(), cinderblock_store::Error> {
        self.close(finished)?;
        if let Some(pack) = self.packs.finish()? {
            self.used.push(pack.id());
            finished.push(pack);
        }
        Ok(())
    }
}
