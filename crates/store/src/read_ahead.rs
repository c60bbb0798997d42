//! Reading nodes of maps before they are wanted, many at once: from a storage that is far away, one after the other would take a request's
//! time each.

use std::collections::HashSet;
use std::sync::Arc;

use cinderblock_backend::for_each_in_flight;

use crate::check::AHEAD;
use crate::error::Error;
use crate::id::{ChunkId, PackId};
use crate::map::Item;
use crate::pack::{Content, FRAME_TARGET_BYTES, PackReader};
use crate::record::Record;
use crate::repository::{Location, Repository};
use crate::usage::Reached;

/// Nodes that are looked at for what to read ahead: those below one node.
const LOOKED_AT: usize = crate::map::FAN_OUT as usize;

/// Stored bytes up to which frames that lie together are read in one request: 4 MiB.
const MAX_READ_BYTES: u64 = 4 << 20;

/// Records that are read at once: mostly of some KiB each, at most 16 MiB.
const RECORDS_AT_ONCE: usize = 32;

/// Packs that are read at once because records name them.
const PACKS_AT_ONCE: usize = 2 * AHEAD;

/// Frames of one pack that follow each other.
struct Run {
    pack: Arc<PackReader>,
    first: u32,
    /// One past the last.
    end: u32,
    bytes: u64,
}

impl Repository {
    /// Reads a node's frame, and with it those of `upcoming` ones, as many as half of the cache holds, if the storage wants several requests at once
    /// and the node's frame is not in memory. Only those in packs whose directory is in memory. It is a hint: whoever wants a node finds out what is wrong
    /// with it.
    pub(crate) fn read_ahead(&self, id: &ChunkId, upcoming: &mut dyn Iterator<Item = ChunkId>) {
        let in_flight = self.backend.requests_in_flight();
        if in_flight <= 1 {
            return;
        }
        let Some((pack, number)) = self.frame_nearby(*id).filter(|(pack, number)| !self.nodes.has(pack.id(), *number))
        else {
            return;
        };
        self.read_frames_of(vec![(pack, number)], upcoming);
    }

    /// How many nodes' frames are read together at most.
    fn nodes_at_once(&self) -> usize {
        (self.nodes.capacity() / 2).max(1)
    }

    fn read_frames_of(&self, mut frames: Vec<(Arc<PackReader>, u32)>, wanted: &mut dyn Iterator<Item = ChunkId>) {
        let mut seen: HashSet<(PackId, u32)> = frames.iter().map(|(pack, number)| (pack.id(), *number)).collect();
        for id in wanted.take(LOOKED_AT) {
            if frames.len() >= self.nodes_at_once() {
                break;
            }
            let Some((pack, number)) = self.frame_nearby(id) else { continue };
            if seen.insert((pack.id(), number)) && !self.nodes.has(pack.id(), number) {
                frames.push((pack, number));
            }
        }
        let in_flight = self.backend.requests_in_flight();
        let read = for_each_in_flight(in_flight, &runs(frames), |run| self.read_run(run).or(Ok::<(), Error>(())));
        debug_assert!(read.is_ok());
    }

    /// Records whose maps are walked together: each may bring a frame of nodes that is its own.
    pub(crate) fn records_at_once(&self) -> usize {
        self.backend.requests_in_flight().min(self.nodes_at_once()).clamp(1, RECORDS_AT_ONCE)
    }

    /// Has in memory the directories and nodes that the walk of these records' maps wants first, if the storage wants several requests at once: one
    /// after the other, each of many small backups would take a request's time for each of its packs and nodes. `loaded` has the packs that were
    /// read so before. It is a hint.
    pub(crate) fn prepare_to_reach<'a>(
        &self,
        records: impl Iterator<Item = &'a Record> + Clone,
        reached: &Reached,
        loaded: &mut HashSet<PackId>,
    ) {
        if self.backend.requests_in_flight() <= 1 {
            return;
        }
        let hints = records.clone().flat_map(|record| record.map_packs.iter().chain(&record.data_packs));
        // Each once: those that did not stay in memory are mostly walked to the end by then.
        // A record names for ever the packs that its backup was in; a collector may have copied them elsewhere, which the index knows.
        let index = self.index().ok().flatten();
        let is_there = |id: &PackId| index.as_ref().is_none_or(|index| index.has_pack(*id).unwrap_or(true));
        let packs: Vec<PackId> =
            hints.copied().filter(|id| loaded.insert(*id)).filter(is_there).take(PACKS_AT_ONCE).collect();
        self.load_packs(&packs);
        let roots = records.map(|record| &record.map).filter(|root| root.level > 0);
        let nodes = roots.flat_map(|root| &root.items).filter_map(|item| match item {
            Item::Child { id, .. } => Some(*id),
            Item::Zeros(_) => None,
        });
        let (nodes, mut places): (Vec<ChunkId>, _) = (nodes.collect(), Vec::new());
        self.locate_nearby(&nodes, &mut places);
        let is_new = |place: &Location| !reached.is_marked(place.pack.id(), place.slot);
        let nodes = nodes.iter().zip(&places).filter(|(_, place)| place.as_ref().is_some_and(is_new));
        self.read_frames_of(Vec::new(), &mut nodes.map(|(id, _)| *id));
    }

    /// Where a node is, if that is known without asking anybody.
    fn frame_nearby(&self, id: ChunkId) -> Option<(Arc<PackReader>, u32)> {
        let mut places = Vec::new();
        self.locate_nearby(&[id], &mut places);
        let place = places.pop().flatten().filter(|place| place.pack.content() == Content::Map)?;
        let directory = place.pack.directory();
        let frame = directory.place(place.slot)?.frame;
        // Nothing writes larger ones of nodes: many of those at once would take more memory than there is.
        let plain_bytes = directory.frames().get(frame as usize)?.plain_bytes as usize;
        (plain_bytes <= FRAME_TARGET_BYTES).then_some((place.pack, frame))
    }

    fn read_run(&self, run: &Run) -> Result<(), Error> {
        let directory = run.pack.directory();
        let from = directory.frame_offset(run.first).unwrap_or(0);
        let mut stored = vec![0; run.bytes as usize];
        self.backend.read_into(run.pack.object(), from, &mut stored)?;
        let mut plain = Vec::new();
        for number in run.first..run.end {
            let frame = run.pack.decode_frame(number, from, &mut stored, &mut plain)?;
            self.nodes.put(run.pack.id(), number, Arc::new(frame.plain.to_vec()));
        }
        Ok(())
    }
}

/// Frames that lie together as one.
fn runs(mut frames: Vec<(Arc<PackReader>, u32)>) -> Vec<Run> {
    frames.sort_by_key(|(pack, number)| (pack.id(), *number));
    let mut runs: Vec<Run> = Vec::new();
    for (pack, number) in frames {
        let Some(range) = pack.directory().frame_range(number) else { continue };
        let bytes = range.end - range.start;
        match runs.last_mut() {
            Some(run)
                if run.pack.id() == pack.id()
                    && run.end == number
                    && run.bytes.saturating_add(bytes) <= MAX_READ_BYTES =>
            {
                run.end += 1;
                run.bytes += bytes;
            }
            _ => runs.push(Run { pack, first: number, end: number + 1, bytes }),
        }
    }
    runs
}
