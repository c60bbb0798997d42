//! Reading nodes of maps before they are wanted, many at once: from a storage that is far away, one after the other would take a request's
//! time each.

use std::collections::HashSet;
use std::sync::Arc;

use cinderblock_backend::for_each_in_flight;

use crate::error::Error;
use crate::id::{ChunkId, PackId};
use crate::pack::{Content, FRAME_TARGET_BYTES, PackReader};
use crate::repository::Repository;

/// Nodes that are looked at for what to read ahead: those below one node.
const LOOKED_AT: usize = crate::map::FAN_OUT as usize;

/// Stored bytes up to which frames that lie together are read in one request: 4 MiB.
const MAX_READ_BYTES: u64 = 4 << 20;

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
        let limit = (self.nodes.capacity() / 2).max(1);
        let mut seen: HashSet<(PackId, u32)> = HashSet::from([(pack.id(), number)]);
        let mut frames = vec![(pack, number)];
        for id in upcoming.take(LOOKED_AT) {
            if frames.len() >= limit {
                break;
            }
            let Some((pack, number)) = self.frame_nearby(id) else { continue };
            if seen.insert((pack.id(), number)) && !self.nodes.has(pack.id(), number) {
                frames.push((pack, number));
            }
        }
        let read = for_each_in_flight(in_flight, &runs(frames), |run| self.read_run(run).or(Ok::<(), Error>(())));
        debug_assert!(read.is_ok());
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
