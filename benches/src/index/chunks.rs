//! [`Chunks`]: chunks that are nothing but a number.

use std::path::Path;

use anyhow::Result;
use cinderblock_chunker::ChunkSize;
use cinderblock_store::pack::frame::{self, Compression, FrameChunk};
use cinderblock_store::pack::{Content, FinishedPack};
use cinderblock_store::{ChunkId, Repository, Session};

use crate::index::{Unsynced, open};
use crate::sample::Random;

/// Chunks in a frame: 256 KiB of 32 KiB each.
const FRAME_CHUNKS: u64 = 8;

/// Plain bytes of a chunk. Zeros compress to nothing; a length of more than 250 is encoded as that of real ones.
const CHUNK_BYTES: u32 = 300;

/// Chunks by number.
#[derive(Debug, Clone, Copy)]
pub struct Chunks {
    /// How many there are.
    pub count: u64,
    /// How many are in a pack: 32 MiB of chunks of 32 KiB that compress to 60 % are 1,700.
    pub in_a_pack: u64,
}

impl Chunks {
    /// The id of a chunk, there or not: uniformly distributed, as BLAKE3 makes them.
    #[must_use]
    pub fn id(number: u64) -> ChunkId {
        let mut bytes = [0; 32];
        Random::new(number.wrapping_mul(0xd134_2543_de82_ef95)).fill(&mut bytes);
        ChunkId::from_bytes(bytes)
    }

    /// Makes a repository of them in `folder`.
    ///
    /// # Errors
    /// What the storage says.
    pub fn make(self, folder: &Path) -> Result<()> {
        Repository::create(&Unsynced::open(&folder.join("repository"))?, ChunkSize::DEFAULT)?;
        let repository = open(folder, 256)?;
        self.add(&repository, 0)
    }

    /// Adds chunks that follow the first `from`.
    ///
    /// # Errors
    /// What the storage says.
    pub fn add(self, repository: &Repository, from: u64) -> Result<()> {
        let session = repository.start_session("a benchmark of the index")?;
        let mut next = from;
        while next < from + self.count {
            let end = (next + self.in_a_pack).min(from + self.count);
            if let Some(pack) = pack(&session, next, end)? {
                session.store_pack(&pack)?;
            }
            next = end;
        }
        session.flush()?;
        Ok(())
    }
}

fn pack(session: &Session<'_>, from: u64, to: u64) -> Result<Option<FinishedPack>> {
    let mut builder = session.pack_builder(Content::Data);
    let zeros = [0; FRAME_CHUNKS as usize * CHUNK_BYTES as usize];
    for first in (from..to).step_by(FRAME_CHUNKS as usize) {
        let numbers = first..to.min(first + FRAME_CHUNKS);
        let chunks: Vec<_> = numbers.map(|number| FrameChunk { id: Chunks::id(number), length: CHUNK_BYTES }).collect();
        let plain = &zeros[..chunks.len() * CHUNK_BYTES as usize];
        builder.push(frame::encode(plain, chunks, false, Compression::Zstd(1))?)?;
    }
    Ok(builder.finish()?)
}
