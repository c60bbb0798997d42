//! [`MemoryIndex`]: an index in memory, for simulations that make thousands.

use std::collections::{BTreeMap, BTreeSet};

use cinderblock_backend::Backend;

use crate::damage::Notes;
use crate::error::Error;
use crate::id::{ChunkId, PackId, SegmentId};
use crate::index::{Index, PackEntry};
use crate::listing;
use crate::pack::{Content, PackReader};
use crate::seal::Seal;
use crate::segment::{self, PackSummary};

/// Chunks of all packs that segments name or that are there without one.
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    packs: BTreeMap<PackId, PackEntry>,
    chunks: BTreeMap<ChunkId, (PackId, u32)>,
}

impl MemoryIndex {
    pub(crate) fn load(backend: &dyn Backend, seal: &Seal, notes: &Notes) -> Result<Self, Error> {
        let mut index = Self::default();
        let segments: BTreeSet<SegmentId> = listing::segments(backend)?;
        let mut named = Vec::new();
        for id in segments {
            match segment::read(backend, seal, id) {
                Ok((_, packs)) => named.extend(packs),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        let there: BTreeMap<PackId, u64> = listing::packs(backend)?;
        // A pack that is lost must not hide a chunk's other copy: what is added last counts.
        let (here, lost): (Vec<_>, Vec<_>) = named.iter().partition(|pack| there.contains_key(&pack.id));
        lost.into_iter().chain(here).for_each(|pack| index.add(pack, notes));
        for id in there.into_keys() {
            if index.packs.contains_key(&id) {
                continue;
            }
            match PackReader::open(backend, seal, id) {
                Ok(pack) => index.add(&PackSummary::of_reader(&pack), notes),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(index)
    }

    fn add(&mut self, pack: &PackSummary, notes: &Notes) {
        let damaged = notes.get(&pack.id);
        let content = if pack.map { Content::Map } else { Content::Data };
        self.packs.insert(pack.id, PackEntry { id: pack.id, content, object_bytes: pack.object_bytes });
        let slots = pack.lists.ids.iter().zip(0..);
        let slots = slots.filter(|(_, slot)| damaged.is_none_or(|damaged| !damaged.contains(*slot)));
        self.chunks.extend(slots.map(|(id, slot)| (*id, (pack.id, slot))));
    }
}

impl Index for MemoryIndex {
    fn locate(&self, id: &ChunkId) -> Result<Option<(PackEntry, u32)>, Error> {
        let found = self.chunks.get(id).and_then(|(pack, slot)| Some((*self.packs.get(pack)?, *slot)));
        Ok(found)
    }

    fn packs_after(&self, _pack: &PackEntry, _count: u32) -> Result<Vec<PackId>, Error> {
        Ok(Vec::new())
    }

    fn has_pack(&self, id: PackId) -> Result<bool, Error> {
        Ok(self.packs.contains_key(&id))
    }

    fn packs(&self) -> Result<Vec<PackEntry>, Error> {
        Ok(self.packs.values().copied().collect())
    }
}
