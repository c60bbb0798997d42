//! What a repository holds, and how much of it backups reach.

use std::collections::{BTreeSet, HashMap, HashSet};

use cinderblock_backend::ObjectInfo;

use crate::ahead::Ahead;
use crate::error::Error;
use crate::id::{ChunkId, PackId};
use crate::layout;
use crate::map::{Item, Node};
use crate::pack::{Content, PackReader};
use crate::record::Record;
use crate::repository::{Location, Repository};

/// Chunks of a node that are located together: each may be in another pack, whose directory is in memory as long as its place is.
const LOCATED_AT_ONCE: usize = 64;

/// Sizes and counts of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Backups whose record can be read.
    pub backups: u64,
    /// Volumes that have a backup.
    pub volumes: u64,
    /// Sizes of the volumes of all backups, added up, in bytes.
    pub volume_bytes: u64,
    /// Bytes of all objects of the repository.
    pub stored_bytes: u64,
    /// Of these, packs of volume data.
    pub data_bytes: u64,
    /// Of these, packs of map nodes.
    pub map_bytes: u64,
    /// Of these, index segments.
    pub segment_bytes: u64,
    /// Of these, records.
    pub record_bytes: u64,
    /// Number of packs.
    pub packs: u64,
    /// Chunks that backups reach. One that is stored twice, by backups that ran at the same time, may count twice.
    pub chunks: u64,
    /// Plain bytes of these chunks.
    pub chunk_bytes: u64,
    /// Bytes in packs that no backup reaches. Of a frame that is reached in part, the part that is not, by plain length.
    pub unreferenced_bytes: u64,
    /// Chunks and map nodes that backups name and that are missing or unreadable.
    pub missing: u64,
}

/// Which slots of which packs backups reach: one bit a chunk.
#[derive(Debug, Default)]
pub struct Reached {
    packs: HashMap<PackId, Vec<u64>>,
    missing: HashSet<ChunkId>,
    /// Nodes that are missing or can't be read: what they reach is not known.
    unreadable_nodes: BTreeSet<ChunkId>,
}

impl Reached {
    /// Marks a slot; whether it was not marked before.
    fn mark(&mut self, pack: &PackReader, slot: u32) -> bool {
        let words = pack.directory().ids().len().div_ceil(64);
        let bits = self.packs.entry(pack.id()).or_insert_with(|| vec![0; words]);
        let Some(word) = bits.get_mut(slot as usize / 64) else { return false };
        let bit = 1 << (slot % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Marks all slots of a pack.
    pub(crate) fn mark_all(&mut self, pack: PackId, slots: usize) {
        self.packs.insert(pack, vec![u64::MAX; slots.div_ceil(64)]);
    }

    /// Forgets what is marked in a pack.
    pub(crate) fn unmark_all(&mut self, pack: PackId) {
        self.packs.remove(&pack);
    }

    /// Packs in which something is marked, in no particular order.
    pub(crate) fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.packs.keys().copied()
    }

    /// Whether this chunk or node was not found.
    pub(crate) fn misses(&self, id: &ChunkId) -> bool {
        self.missing.contains(id)
    }

    /// Whether everything that was wanted was found.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// How many chunks and nodes were not found.
    pub(crate) fn missing(&self) -> u64 {
        self.missing.len() as u64
    }

    /// Nodes that are missing or can't be read.
    pub(crate) fn unreadable_nodes(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.unreadable_nodes.iter().copied()
    }

    /// Whether a slot is marked.
    pub(crate) fn is_marked(&self, pack: PackId, slot: u32) -> bool {
        let word = self.packs.get(&pack).and_then(|bits| bits.get(slot as usize / 64));
        word.is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }
}

impl Repository {
    /// Marks everything that a backup reaches. Nodes that were reached before, through any backup, are not read again.
    ///
    /// # Errors
    /// What the storage or the index says; what is missing is remembered in `reached`.
    pub fn reach(&self, record: &Record, reached: &mut Reached) -> Result<(), Error> {
        self.reach_node(&record.map, reached)
    }

    /// Looks in all packs for what was not found, and marks it with all that it reaches: the index knows one place of each chunk, and
    /// where that can't be read, there may be another one.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub(crate) fn reach_missing(&self, reached: &mut Reached) -> Result<(), Error> {
        let mut hopeless: HashSet<ChunkId> = HashSet::new();
        loop {
            let wanted: HashSet<ChunkId> = reached.missing.difference(&hopeless).copied().collect();
            if wanted.is_empty() {
                return Ok(());
            }
            let mut found: Vec<(ChunkId, Location)> = Vec::new();
            self.search(&wanted, &mut |id, place| found.push((id, place)))?;
            for (id, place) in found {
                if !reached.missing.contains(&id) {
                    continue;
                }
                let node = match place.pack.content() {
                    Content::Data => None,
                    Content::Map => match self.node_at(&id, &place) {
                        Ok(node) => Some(node),
                        Err(error) if error.is_damage() => continue,
                        Err(error) => return Err(error),
                    },
                };
                reached.mark(&place.pack, place.slot);
                reached.missing.remove(&id);
                reached.unreadable_nodes.remove(&id);
                if let Some(node) = node {
                    self.reach_node(&node, reached)?;
                }
            }
            // What is missing below a node that was found is looked for next.
            hopeless.extend(wanted);
        }
    }

    fn reach_node(&self, node: &Node, reached: &mut Reached) -> Result<(), Error> {
        let ids: Vec<ChunkId> = node
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Child { id, .. } => Some(*id),
                Item::Zeros(_) => None,
            })
            .collect();
        let mut places = Vec::new();
        for ids in ids.chunks(LOCATED_AT_ONCE) {
            self.locate(ids, &mut places)?;
            for (id, place) in ids.iter().zip(places.drain(..)) {
                self.reach_item(node.level, id, place, reached)?;
            }
        }
        Ok(())
    }

    fn reach_item(&self, level: u8, id: &ChunkId, place: Option<Location>, reached: &mut Reached) -> Result<(), Error> {
        let Some(Location { pack, slot }) = place else {
            reached.missing.insert(*id);
            if level > 0 {
                reached.unreadable_nodes.insert(*id);
            }
            return Ok(());
        };
        if !reached.mark(&pack, slot) || level == 0 {
            return Ok(());
        }
        match self.node(id) {
            Ok(child) if child.level + 1 == level => self.reach_node(&child, reached),
            Err(error) if !error.is_damage() => Err(error),
            _ => {
                reached.missing.insert(*id);
                reached.unreadable_nodes.insert(*id);
                Ok(())
            }
        }
    }

    /// Works out what the repository holds. It reads every record, every map node once and every pack's directory. Where something
    /// is missing, it makes the index anew and looks again.
    ///
    /// # Errors
    /// What the storage or the index says.
    pub fn usage(&self) -> Result<Usage, Error> {
        let (usage, is_whole) = self.count()?;
        if is_whole {
            return Ok(usage);
        }
        // The index is only a cache: of two copies of a chunk it knows one, and that one may have been collected.
        self.forget_packs();
        self.rebuild_index()?;
        Ok(self.count()?.0)
    }

    /// The same by the index as it is; and whether it knew all that is needed.
    fn count(&self) -> Result<(Usage, bool), Error> {
        let mut usage = Usage::default();
        let mut packs = HashMap::new();
        self.backend.list("", &mut |info: ObjectInfo| {
            usage.stored_bytes += info.size;
            if let Some(id) = layout::parse_pack(&info.name) {
                packs.insert(id, info.size);
            } else if layout::parse_segment(&info.name).is_some() {
                usage.segment_bytes += info.size;
            } else if layout::parse_record(&info.name).is_some() {
                usage.record_bytes += info.size;
            }
            Ok(())
        })?;
        let mut reached = Reached::default();
        let mut volumes = HashSet::new();
        let mut loaded = HashSet::new();
        let at_once = self.records_at_once();
        for together in self.backups(None)?.chunks(at_once) {
            let mut records = Vec::with_capacity(together.len());
            let mut read = Ahead::new(at_once, together, |(volume, id)| self.unchecked_record(volume, *id));
            while let Some((_, read)) = read.next() {
                match read {
                    Ok(record) => records.push(record),
                    Err(Error::BackupNotFound { .. }) => {}
                    Err(error) if error.is_damage() => usage.missing += 1,
                    Err(error) => return Err(error),
                }
            }
            self.retain_valid(&mut records, |record| record.session)?;
            self.prepare_to_reach(records.iter(), &reached, &mut loaded);
            for record in records {
                usage.backups += 1;
                usage.volume_bytes += record.volume_bytes;
                self.reach(&record, &mut reached)?;
                volumes.insert(record.volume);
            }
        }
        usage.volumes = volumes.len() as u64;
        usage.missing += reached.missing.len() as u64;
        usage.packs = packs.len() as u64;
        for (id, object_bytes) in packs {
            let pack = match self.pack(id) {
                Ok(pack) => pack,
                Err(error) if error.is_damage() => {
                    usage.data_bytes += object_bytes;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match pack.content() {
                Content::Data => usage.data_bytes += object_bytes,
                Content::Map => usage.map_bytes += object_bytes,
            }
            usage.unreferenced_bytes += self.unreferenced(&pack, &reached, &mut usage.chunks, &mut usage.chunk_bytes);
        }
        Ok((usage, reached.is_whole()))
    }

    fn unreferenced(&self, pack: &PackReader, reached: &Reached, chunks: &mut u64, chunk_bytes: &mut u64) -> u64 {
        let directory = pack.directory();
        let (mut live_stored, mut reached_any) = (0, false);
        for (number, entry) in directory.frames().iter().enumerate() {
            let number = number as u32;
            let first = directory.first_slot(number).unwrap_or(0);
            let mut live = 0;
            for (slot, (_, place)) in (first..).zip(directory.frame_chunks(number)) {
                if reached.is_marked(pack.id(), slot) {
                    reached_any = true;
                    live += u64::from(place.length);
                    if pack.content() == Content::Data {
                        *chunks += 1;
                        *chunk_bytes += u64::from(place.length);
                    }
                }
            }
            live_stored += u64::from(entry.stored_bytes) * live / u64::from(entry.plain_bytes).max(1);
        }
        match reached_any {
            false => pack.object_bytes(),
            true => directory.stored_bytes().saturating_sub(live_stored),
        }
    }
}
