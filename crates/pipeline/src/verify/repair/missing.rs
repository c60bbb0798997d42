//! [`Missing`]: what backups need and no pack has.

use std::collections::{HashMap, HashSet};

use cinderblock_chunker::Extent;
use cinderblock_store::map::{PieceContent, UnreadableNode};
use cinderblock_store::{BackupId, ChunkId, Chunking, Error as StoreError, Repository, Session, VolumeId};

use crate::engine::Control;
use crate::error::Error;
use crate::verify::report::{DamagedBackup, in_full};
use crate::verify::{add_extent, merged, store};

/// Places in volumes that are remembered of each chunk and each node that is wanted.
const MAX_PLACES: usize = 4;

/// What backups lack.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Chunks, with some of the places that they had in volumes.
    pub chunks: HashMap<ChunkId, Vec<Extent>>,
    /// Nodes of maps, with some of the parts of volumes that they are about; none of maps that are cut by content.
    pub nodes: HashMap<ChunkId, Vec<Part>>,
    pub backups: Vec<Lacking>,
}

/// A part of volumes that a node is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub extent: Extent,
    /// Some of the backups that have the node there: those of which the other repository has a backup, too.
    pub backups: Vec<BackupId>,
}

/// A backup that lacks something.
#[derive(Debug)]
pub(super) struct Lacking {
    pub damaged: DamagedBackup,
    /// Chunks of its volume that it lacks.
    pub chunks: u64,
}

fn add_part(parts: &mut Vec<Part>, extent: Extent, backup: Option<BackupId>) {
    let has_room = parts.len() < MAX_PLACES;
    match parts.iter_mut().find(|part| part.extent == extent) {
        Some(part) if part.backups.len() < MAX_PLACES => part.backups.extend(backup),
        None if has_room => parts.push(Part { extent, backups: backup.into_iter().collect() }),
        _ => {}
    }
}

impl Missing {
    /// What backups need and what no pack has, as far as is known; with a session, also what only packs have that are about to be deleted. Backups that
    /// are `elsewhere`, too, are remembered as those that nodes may be made of.
    pub(super) fn find(
        repository: &Repository,
        session: Option<&Session<'_>>,
        (backups, elsewhere): (&[(VolumeId, BackupId)], &HashSet<BackupId>),
        control: &Control,
    ) -> Result<Self, Error> {
        let mut missing = Self::default();
        let chunk_bytes = u64::from(repository.descriptor().chunk_size.bytes());
        let mut places = Vec::new();
        // Whether any copy is there that is not known to be damaged.
        let mut searched: HashMap<ChunkId, bool> = HashMap::new();
        for (volume, id) in backups {
            let mut lacking = Lacking {
                damaged: DamagedBackup { volume: volume.clone(), id: *id, reason: None, lost: vec![] },
                chunks: 0,
            };
            let record = match repository.record(volume, *id) {
                Ok(record) => record,
                Err(StoreError::BackupNotFound { .. }) => continue,
                Err(error) if error.is_damage() => {
                    lacking.damaged.reason = Some(in_full(&error));
                    missing.backups.push(lacking);
                    continue;
                }
                Err(error) => return Err(store(error)),
            };
            let mut lost: Vec<Extent> = Vec::new();
            let (mut position, mut caught_up) = (0, false);
            let mut leaves = repository.leaves(&record, 0..record.volume_bytes);
            while let Some(leaf) = leaves.next() {
                control.cancel.check(false)?;
                let leaf = match leaf {
                    Ok(leaf) => {
                        position = leaf.offset + leaf.length;
                        leaf
                    }
                    Err(unreadable) if !unreadable.error.is_damage() => return Err(unreadable.error.into()),
                    // A collector may have moved it, and the index not know yet.
                    Err(UnreadableNode { error: StoreError::ChunkMissing { .. }, .. }) if !caught_up => {
                        caught_up = true;
                        repository.catch_up()?;
                        leaves = repository.leaves(&record, position..record.volume_bytes);
                        continue;
                    }
                    Err(unreadable) => {
                        position = unreadable.offset + unreadable.length;
                        let extent = Extent { offset: unreadable.offset, length: unreadable.length };
                        if let StoreError::ChunkMissing { id: node } = unreadable.error {
                            let parts = missing.nodes.entry(node).or_default();
                            if record.chunking == Chunking::Fixed {
                                add_part(parts, extent, elsewhere.contains(id).then_some(*id));
                            }
                        }
                        add_extent(&mut lost, extent);
                        lacking.chunks += unreadable.length.div_ceil(chunk_bytes);
                        continue;
                    }
                };
                let chunks: Vec<(ChunkId, Extent)> = leaf
                    .pieces
                    .iter()
                    .filter_map(|piece| match piece.content {
                        PieceContent::Chunk(id) => Some((id, Extent { offset: piece.offset, length: piece.length })),
                        PieceContent::Zeros => None,
                    })
                    .collect();
                let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
                match session {
                    Some(session) => session.locate(&ids, &mut places)?,
                    None => repository.locate(&ids, &mut places)?,
                }
                let absent: Vec<_> = chunks.iter().zip(&places).filter(|(_, place)| place.is_none()).collect();
                let unknown: HashSet<ChunkId> =
                    absent.iter().map(|((id, _), _)| *id).filter(|id| !searched.contains_key(id)).collect();
                if !unknown.is_empty() {
                    searched.extend(unknown.iter().map(|id| (*id, false)));
                    repository.search(&unknown, &mut |id, location| {
                        if session.is_none_or(|session| !session.avoids(location.pack.id())) {
                            searched.insert(id, true);
                        }
                    })?;
                }
                for ((id, extent), _) in absent {
                    if searched.get(id) == Some(&true) {
                        continue;
                    }
                    add_extent(&mut lost, *extent);
                    lacking.chunks += 1;
                    let places = missing.chunks.entry(*id).or_default();
                    if places.len() < MAX_PLACES {
                        places.push(*extent);
                    }
                }
            }
            lacking.damaged.lost = merged(lost);
            if !lacking.damaged.lost.is_empty() {
                missing.backups.push(lacking);
            }
        }
        Ok(missing)
    }
}
